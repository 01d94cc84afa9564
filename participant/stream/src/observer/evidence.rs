//! What participants say of their subscriptions, and from when on it counts.

use super::saga::Seen;
use super::source::Source;
use crate::inbox::Watermark;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_vocabulary::{EventId, ParticipantName, Position, SubscriptionName, Timestamp};

/// How the subscriptions of a participant stand. What it holds was asked for in this order: how far they are, what they have parked and
/// given up, the participant's own log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Survey {
    pub asked_at: Timestamp,
    pub subscriptions: BTreeMap<SubscriptionName, Surveyed>,
    /// The end of the participant's log, asked for last: what the subscriptions have published is there.
    pub log: Position,
}

/// How one subscription stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Surveyed {
    /// How far it is with each source; one that it has stopped reading is left out.
    pub through: BTreeMap<ParticipantName, Watermark>,
    /// The events that wait for an operator, each with its last refusal; `None`: it waits behind others of its key.
    pub parked: BTreeMap<EventId, Option<String>>,
    /// The events that operators have given up.
    pub given_up: BTreeSet<EventId>,
    /// There are more parked or given up events than these: of no other one can be told whether it was dealt with.
    pub is_cut: bool,
    /// What holds it up, source by source.
    pub held_up: BTreeMap<ParticipantName, String>,
}

/// What a subscription did with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dealing {
    /// It has not come to it, as far as is known. Some: what holds it up.
    NotYet(Option<String>),
    Dealt,
    Parked(Option<String>),
    GivenUp,
}

/// The latest surveys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Evidence {
    /// Those that speak of more than was read, with the participant's log.
    pending: BTreeMap<(ParticipantName, SubscriptionName), (Surveyed, Position)>,
    adopted: BTreeMap<(ParticipantName, SubscriptionName), Surveyed>,
}

impl Evidence {
    pub(super) fn take(&mut self, of: &ParticipantName, survey: Survey) {
        for (name, surveyed) in survey.subscriptions {
            self.pending.insert((of.clone(), name), (surveyed, survey.log));
        }
    }

    /// Lets those count that speak of nothing that was not read.
    pub(super) fn adopt(&mut self, sources: &BTreeMap<ParticipantName, Source>) {
        let (adopted, pending) = std::mem::take(&mut self.pending).into_iter().partition::<BTreeMap<_, _>, _>(
            |((participant, _), (surveyed, log))| {
                let own = sources.get(participant).is_none_or(|own| own.place().watermark.position() >= *log);
                let read = |(from, through): (&ParticipantName, &Watermark)| {
                    sources.get(from).is_some_and(|source| source.has_read(*through))
                };
                own && surveyed.through.iter().all(read)
            },
        );
        self.pending = pending;
        self.adopted.extend(adopted.into_iter().map(|(name, (surveyed, _))| (name, surveyed)));
    }

    /// Takes back whatever goes by the log of a participant.
    pub(super) fn forget_source(&mut self, from: &ParticipantName) {
        self.pending.clear();
        self.adopted.retain(|(of, _), surveyed| of != from && !surveyed.through.contains_key(from));
    }

    /// Returns what a subscription did with an event.
    pub(super) fn dealing(
        &self,
        participant: &ParticipantName,
        subscription: &SubscriptionName,
        event: &Seen,
        source: Option<&Source>,
    ) -> Dealing {
        let Some(surveyed) = self.adopted.get(&(participant.clone(), subscription.clone())) else {
            return Dealing::NotYet(None);
        };
        if let Some(refusal) = surveyed.parked.get(&event.id) {
            return Dealing::Parked(refusal.clone());
        }
        if surveyed.given_up.contains(&event.id) {
            return Dealing::GivenUp;
        }
        let from = &event.event.from;
        let through = surveyed.through.get(from).copied().unwrap_or_default();
        if source.is_some_and(|source| source.covers(through, event.id)) && !surveyed.is_cut {
            Dealing::Dealt
        } else {
            Dealing::NotYet(surveyed.held_up.get(from).cloned())
        }
    }
}
