//! A choreography: who publishes what, and who is moved by it, from what all its participants declare.
//!
//! * [`Choreography::check`] finds what cannot end well, with the way to it.
//! * [`Choreography::couplings`] says who has to know whom.
//! * [`draw`] makes pictures of it.
//! * [`from_saga`] makes one of a saga that a coordinator would carry out.

mod check;
mod circles;
mod counts;
mod couplings;
pub mod draw;
mod finding;
pub mod from_saga;
mod undoing;
mod ways;

use crate::declarations::{Beginning, Declarations, EventTemplate, Expiry, Heard, Reaction};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use undoubt_vocabulary::{EventType, ParticipantName, ReactionName, TopicName};

pub use couplings::Coupling;
pub use finding::{Finding, Node, Path, Weight};

/// Participants of one choreography.
pub const MAX_PARTICIPANTS: usize = 256;

/// Events of one saga, at most, if all goes as declared: more is a finding.
pub const MAX_EVENTS_OF_SAGA: u64 = 1_000;

/// Ways from the beginning of a saga to one reaction that are looked at.
pub const MAX_WAYS: usize = 100;

/// All participants' declarations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choreography {
    participants: BTreeMap<ParticipantName, Declarations>,
}

/// A reaction, or the expiry of what begins there, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId {
    pub participant: ParticipantName,
    pub name: ReactionName,
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.participant)
    }
}

/// The way in which an event comes to be published.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// By transactions of applications.
    Begin,
    Emit(StepId),
    Refused(StepId),
    Undone(StepId),
    /// The time is over of what begins with the event.
    Expired(Heard),
}

/// A reaction with its name throughout the choreography.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) participant: &'a ParticipantName,
    pub(crate) reaction: &'a Reaction,
}

impl Step<'_> {
    pub(crate) fn id(&self) -> StepId {
        StepId { participant: self.participant.clone(), name: self.reaction.name.clone() }
    }

    /// Returns an event that it publishes.
    pub(crate) fn event(&self, template: &EventTemplate) -> Heard {
        published(self.participant, &template.topic, &template.kind)
    }

    pub(crate) fn emits(&self) -> impl Iterator<Item = Heard> {
        self.reaction.emit.iter().map(|template| self.event(template))
    }

    pub(crate) fn refused(&self) -> Option<Heard> {
        self.reaction.refused.as_ref().map(|template| self.event(template))
    }

    pub(crate) fn undone(&self) -> Option<Heard> {
        self.reaction.undone.as_ref().map(|template| self.event(template))
    }
}

fn published(from: &ParticipantName, topic: &TopicName, kind: &EventType) -> Heard {
    Heard { from: from.clone(), topic: topic.clone(), kind: kind.clone() }
}

/// Why there is no choreography of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("participant {0} is given twice; leave one out")]
    Twice(ParticipantName),
    #[error("there are more than {MAX_PARTICIPANTS} participants; check parts that know each other by themselves")]
    TooMany,
}

impl Choreography {
    pub fn of(
        participants: impl IntoIterator<Item = (ParticipantName, Declarations)>,
    ) -> Result<Choreography, Unusable> {
        let mut choreography = Choreography::default();
        for (name, declarations) in participants {
            if choreography.participants.len() == MAX_PARTICIPANTS {
                return Err(Unusable::TooMany);
            }
            if choreography.participants.insert(name.clone(), declarations).is_some() {
                return Err(Unusable::Twice(name));
            }
        }
        Ok(choreography)
    }

    pub fn participants(&self) -> impl Iterator<Item = (&ParticipantName, &Declarations)> {
        self.participants.iter()
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        self.participants.iter().flat_map(|(participant, declarations)| {
            declarations.reactions.iter().map(move |reaction| Step { participant, reaction })
        })
    }

    /// Returns what begins, each with its event.
    pub(crate) fn beginnings(&self) -> impl Iterator<Item = (Heard, &Beginning)> {
        self.participants.iter().flat_map(|(name, declarations)| {
            let event = move |beginning: &Beginning| published(name, &beginning.topic, &beginning.kind);
            declarations.beginnings.iter().map(move |beginning| (event(beginning), beginning))
        })
    }

    /// Returns what expires, each with the event that is published then and the one with which it began.
    fn expiries(&self) -> impl Iterator<Item = (Heard, Heard, &Expiry)> {
        self.beginnings().filter_map(|(begun, beginning)| {
            let expiry = beginning.expire.as_ref()?;
            Some((published(&begun.from, &expiry.emit.topic, &expiry.emit.kind), begun, expiry))
        })
    }

    /// Returns each event with all ways in which it comes to be published.
    pub(crate) fn origins(&self) -> BTreeMap<Heard, Vec<Origin>> {
        let mut origins: BTreeMap<Heard, Vec<Origin>> = BTreeMap::new();
        let mut add = |event, origin| {
            let known = origins.entry(event).or_default();
            if !known.contains(&origin) {
                known.push(origin);
            }
        };
        self.beginnings().for_each(|(event, _)| add(event, Origin::Begin));
        self.expiries().for_each(|(event, begun, _)| add(event, Origin::Expired(begun)));
        for step in self.steps() {
            step.emits().for_each(|event| add(event, Origin::Emit(step.id())));
            step.refused().into_iter().for_each(|event| add(event, Origin::Refused(step.id())));
            step.undone().into_iter().for_each(|event| add(event, Origin::Undone(step.id())));
        }
        origins
    }

    /// Returns all participants that publish events, or are heard.
    pub fn publishers(&self) -> BTreeSet<ParticipantName> {
        let own = self.participants().filter(|(_, declarations)| !declarations.topics.is_empty()).map(|(name, _)| name);
        let heard = self.participants().flat_map(|(_, declarations)| declarations.heard().map(|heard| &heard.from));
        own.chain(heard).cloned().collect()
    }

    fn step(&self, id: &StepId) -> Option<Step<'_>> {
        let (participant, declarations) = self.participants.get_key_value(&id.participant)?;
        let reaction = declarations.reactions.iter().find(|reaction| reaction.name == id.name)?;
        Some(Step { participant, reaction })
    }

    /// Returns true if this reaction acts on the event.
    pub(crate) fn acts_on(&self, id: &StepId, event: &Heard) -> bool {
        self.step(id).is_some_and(|step| step.reaction.on == *event)
    }

    /// Returns true if the event undoes this reaction.
    pub(crate) fn is_undone_by(&self, id: &StepId, event: &Heard) -> bool {
        self.step(id).is_some_and(|step| step.reaction.undo_on.contains(event))
    }

    fn acting_on<'a>(&'a self, event: &'a Heard) -> impl Iterator<Item = Step<'a>> {
        self.steps().filter(move |step| step.reaction.on == *event)
    }

    fn undone_by<'a>(&'a self, event: &'a Heard) -> impl Iterator<Item = Step<'a>> {
        self.steps().filter(move |step| step.reaction.undo_on.contains(event))
    }

    /// Returns true if somebody is moved by the event, or is said to be.
    fn is_heard(&self, event: &Heard) -> bool {
        let outside = self.participants.get(&event.from).is_some_and(|declarations| {
            let topic = declarations.topics.iter().find(|declared| declared.topic.name == event.topic);
            topic.is_some_and(|declared| declared.heard_outside.contains(&event.kind))
        });
        outside
            || self.steps().any(|step| step.reaction.heard().any(|heard| heard == event))
            || self.expiries().any(|(_, _, expiry)| expiry.unless.contains(event))
    }
}

#[cfg(test)]
mod tests;
