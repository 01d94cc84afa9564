//! What is known of those who react to events.

use super::{Participant, Published};
use std::collections::{BTreeMap, BTreeSet};

/// The id of an event: the incarnation that published it, and its position there.
pub type EventName = ([u8; 16], u64);

/// A partition of a source's topic, as a subscription reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inbox {
    pub subscription: String,
    pub source: Participant,
    pub topic: String,
    pub partition: u32,
}

/// What a participant's store shows of its subscriptions, at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub participant: Participant,
    pub at_us: u64,
    /// The events up to which it has dealt with everything.
    pub watermarks: BTreeMap<Inbox, EventName>,
    /// The events that wait for an operator, and those that one has given up, each with its key.
    pub parked: Vec<Parked>,
    pub given_up: Vec<Parked>,
    /// What is stored of reactions that can be undone, by their names and the trip.
    pub barriers: BTreeMap<(String, String), Barrier>,
    /// Its log of events, as far as its reactions publish.
    pub published: Vec<Published>,
    /// The keys of the trips that have left their rows, by the trip.
    pub trips: BTreeMap<String, String>,
    /// Seats that are taken, by their keys.
    pub seats: BTreeMap<String, i64>,
    /// How many changes the view has taken, by what was changed.
    pub viewed: BTreeMap<String, i64>,
    /// The time limits that are not over: the trips.
    pub timers: BTreeSet<String>,
}

/// An event that could not be applied, or that waits behind one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    pub subscription: String,
    pub source: Participant,
    pub key: String,
    pub event: EventName,
}

/// What is stored of a reaction in one trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// It is in effect.
    Acted,
    /// It was in effect, and has been undone.
    Undone,
    /// It never was, and never will be.
    Never,
}

/// How a subscription stands with a source in the end, as its participant tells an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub participant: Participant,
    pub subscription: String,
    pub source: Participant,
    /// It reads nothing more until somebody has looked at it.
    pub stopped: Option<String>,
    /// The parked events that are listed, of all sources.
    pub parked: BTreeSet<EventName>,
}
