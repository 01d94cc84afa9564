//! What participants made of each other's events, put together for the checkers.
//!
//! All work of a reaction publishes an event, in the same write, that names the one that led to it. So a participant's log tells on which
//! events it has acted, in which order, and how often, for good.

#[cfg(test)]
pub(super) mod sample;

use crate::plan::{Host, Shape};
use crate::run::{Account, EventName, Inbox, Participant, Published, Run};
use std::collections::{BTreeMap, BTreeSet};
use undoubt_stream::declarations::{Heard, Reaction};

/// Events that somebody hears of, as a declaration has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) source: Participant,
    pub(super) topic: String,
    pub(super) kind: String,
}

impl Kind {
    fn of(heard: &Heard) -> Option<Kind> {
        let Ok(Host::Participant(source)) = heard.from.as_str().parse() else { return None };
        Some(Kind { source, topic: heard.topic.as_str().to_owned(), kind: heard.kind.as_str().to_owned() })
    }

    pub(super) fn is(&self, event: &Published) -> bool {
        (self.topic.as_str(), self.kind.as_str()) == (event.topic.as_str(), event.kind.as_str())
    }
}

/// A reaction, as far as checkers look at it.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) on: Kind,
    pub(super) undo_on: Vec<Kind>,
    /// The types of what it publishes when it has acted, and when it is refused.
    answers: BTreeSet<String>,
    pub(super) done: String,
}

impl Declared {
    fn of(reaction: &Reaction) -> Option<Declared> {
        let done = reaction.emit.first()?.kind.as_str().to_owned();
        let refused = reaction.refused.iter().map(|refused| refused.kind.as_str().to_owned());
        Some(Declared {
            name: reaction.name.as_str().to_owned(),
            on: Kind::of(&reaction.on)?,
            undo_on: reaction.undo_on.iter().filter_map(Kind::of).collect(),
            answers: refused.chain([done.clone()]).collect(),
            done,
        })
    }

    /// Returns true if it can be undone: then it has barriers.
    pub(super) fn has_barrier(&self) -> bool {
        !self.undo_on.is_empty()
    }

    /// Returns what it has published about events, in order, each with the event.
    pub(super) fn answers<'a>(&self, account: &'a Account) -> Vec<(EventName, &'a Published)> {
        let own = account.published.iter().filter(|event| self.answers.contains(&event.kind));
        own.filter_map(|event| Some((event.caused_by?, event))).collect()
    }
}

/// Returns all reactions of a participant.
pub(super) fn declared(shape: &Shape, participant: Participant) -> Vec<Declared> {
    let declarations = shape.declarations(participant);
    declarations.reactions.iter().filter_map(Declared::of).collect()
}

/// The logs of a run, as they are in the end.
pub(super) struct Logs<'a> {
    run: &'a Run,
    ids: BTreeMap<Participant, BTreeSet<EventName>>,
}

impl<'a> Logs<'a> {
    pub(super) fn of(run: &'a Run) -> Logs<'a> {
        let ids = |(at, log): (&u8, &Vec<Published>)| (*at, log.iter().map(Published::id).collect());
        Logs { run, ids: run.finals.logs.iter().map(ids).collect() }
    }

    pub(super) fn has(&self, source: Participant, event: EventName) -> bool {
        self.ids.get(&source).is_some_and(|ids| ids.contains(&event))
    }

    /// Returns an event that some log was seen to hold.
    pub(super) fn known(&self, source: Participant, event: EventName) -> Option<&'a Published> {
        self.run.finals.known_events.get(&(source, event))
    }

    /// Returns true if a disk has lost what was stable at this position.
    pub(super) fn has_lost(&self, source: Participant, event: EventName) -> bool {
        self.run.finals.lost_events.contains(&(source, event.1))
    }

    pub(super) fn events(&self, source: Participant) -> impl Iterator<Item = &'a Published> + use<'a> {
        self.run.finals.logs.get(&source).into_iter().flatten()
    }

    /// Returns the events of one kind that come up to a watermark; none if its source has lost the watermark's event since, so that
    /// nobody can say what came before that.
    pub(super) fn before(&self, account: &Account, subscription: &str, kind: &Kind) -> Vec<&'a Published> {
        let reached = |event: &Published| {
            let inbox = inbox_of(subscription, kind.source, event);
            let watermark = account.watermarks.get(&inbox);
            watermark.is_some_and(|watermark| self.has(kind.source, *watermark) && event.position <= watermark.1)
        };
        self.events(kind.source).filter(|event| kind.is(event) && reached(event)).collect()
    }
}

pub(super) fn inbox_of(subscription: &str, source: Participant, event: &Published) -> Inbox {
    Inbox { subscription: subscription.to_owned(), source, topic: event.topic.clone(), partition: event.partition }
}

/// Returns the last account of each participant: how its store is in the end.
pub(super) fn last_accounts(run: &Run) -> BTreeMap<Participant, &Account> {
    run.finals.accounts.iter().map(|account| (account.participant, account)).collect()
}

/// Returns true if the event waits for an operator, or one has given it up.
pub(super) fn is_parked(account: &Account, subscription: &str, event: EventName) -> bool {
    let mut parked = account.parked.iter().chain(&account.given_up);
    parked.any(|parked| parked.subscription == subscription && parked.event == event)
}

/// `p2 at 1234 ms`
pub(super) fn name_of(account: &Account) -> String {
    match account.at_us {
        0 => format!("p{}", account.participant),
        us => format!("p{} at its start after {} ms", account.participant, us / 1_000),
    }
}
