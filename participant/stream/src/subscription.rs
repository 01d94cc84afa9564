//! A reaction's way through what it hears: its inboxes, one for each partition, and its parked keys.

#[cfg(doc)]
use crate::declarations::Reaction;
use crate::inbox::{Advance, Inbox, Verdict, Watermark};
use crate::parked::{Change, NotPossible, Parked, Reference};
use crate::reaction::Role;
use std::collections::BTreeMap;
use std::fmt;
use undoubt_vocabulary::{
    Event, EventId, Incarnation, ParticipantName, Partition, Position, Refusal, Timestamp, TopicName,
};

/// A part of a source's log that has an order of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    pub from: ParticipantName,
    pub topic: TopicName,
    pub partition: Partition,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.from, self.topic, self.partition)
    }
}

/// What to do about an event that came. Events of one source are received one after the other: each after what the one before led to is
/// stored, or let pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    Repetition,
    /// The source's own log is read, after this.
    Gap {
        after: Watermark,
    },
    PutBack {
        watermark: Watermark,
        found: EventId,
    },
    /// It is nothing to this reaction. A step of the watermark may be due, to be stored lazily.
    Passed(Option<Advance>),
    /// Its key is parked: this is stored.
    Parked {
        advance: Advance,
        change: Box<Change>,
    },
    /// Its key is parked, and there is no room.
    Full(NotPossible),
    /// The reaction [decides](Reaction::decide), and what comes of it is stored with the step of the watermark.
    React {
        role: Role,
        advance: Advance,
    },
}

/// How far a reaction has come with all that it hears.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscription {
    inboxes: BTreeMap<Source, Inbox>,
    /// The positions of sources up to which everything counts as dealt with; 0 of those that are missing.
    floors: BTreeMap<ParticipantName, Position>,
    pub parked: Parked,
}

impl Subscription {
    /// Returns what was found in the store after a start. A source that is missing is read from its start.
    pub fn found(watermarks: impl IntoIterator<Item = (Source, Watermark)>, parked: Parked) -> Subscription {
        let inboxes = watermarks.into_iter().map(|(source, watermark)| (source, Inbox::found(watermark))).collect();
        Subscription { inboxes, floors: BTreeMap::new(), parked }
    }

    /// Returns the position of a source up to which everything counts as dealt with.
    pub fn floor(&self, from: &ParticipantName) -> Position {
        self.floors.get(from).copied().unwrap_or_default()
    }

    /// Sets the position of a source up to which everything counts as dealt with, as it is stored.
    pub fn set_floor(&mut self, from: ParticipantName, floor: Position) {
        self.floors.insert(from, floor);
    }

    /// Returns the steps by which all watermarks in a source are given up, for its floor to be stored with them.
    pub fn given_up(&self, from: &ParticipantName) -> Vec<(Source, Advance)> {
        let of_source =
            self.inboxes.iter().filter(|(source, inbox)| source.from == *from && inbox.stored().0.is_some());
        of_source.map(|(source, inbox)| (source.clone(), inbox.given_up())).collect()
    }

    /// Returns the inbox of a source.
    pub fn inbox(&self, source: &Source) -> Inbox {
        self.inboxes.get(source).copied().unwrap_or_default()
    }

    /// Takes an event of a source. `role`: what it is to whoever subscribes, see [`Reaction::role_of`]; `None`: nothing.
    pub fn receive(&mut self, role: Option<Role>, source: &Source, event: &Event, now: Timestamp) -> Received {
        let floor = self.floor(&source.from);
        let inbox = self.inboxes.entry(source.clone()).or_default();
        let advance = match inbox.judge(event.into(), floor) {
            Verdict::Apply(advance) => advance,
            Verdict::Repetition => return Received::Repetition,
            Verdict::Gap { after } => return Received::Gap { after },
            Verdict::PutBack { watermark, found } => return Received::PutBack { watermark, found },
        };
        let Some(role) = role else {
            return Received::Passed(inbox.pass(advance));
        };
        if !self.parked.is_parked(&event.key) {
            return Received::React { role, advance };
        }
        match self.park(source, event, None, now) {
            Ok(change) => Received::Parked { advance, change: change.into() },
            Err(full) => Received::Full(full),
        }
    }

    /// Returns the change that parks an event. `refusal`: why, and after how many attempts; `None` behind others of its key.
    ///
    /// # Errors
    /// If there is no room: then the subscription stops before this event.
    pub fn park(
        &self,
        source: &Source,
        event: &Event,
        refusal: Option<(Refusal, u32)>,
        now: Timestamp,
    ) -> Result<Change, NotPossible> {
        let Source { from, topic, partition } = source.clone();
        self.parked.park(event.key.clone(), Reference { from, topic, partition, id: event.id() }, refusal, now)
    }

    /// Returns the steps of watermarks that are to be stored, of what was let pass of this source, for its place to be stored with them.
    pub fn unstored(&self, from: &ParticipantName) -> Vec<(Source, Advance)> {
        let behind = |(source, inbox): (&Source, &Inbox)| {
            let advance = Advance { from: inbox.stored(), to: inbox.reached() };
            (source.from == *from && advance.from != advance.to).then(|| (source.clone(), advance))
        };
        self.inboxes.iter().filter_map(behind).collect()
    }

    /// Returns the position of a source up to which nothing is needed of it any more: all of it is dealt with, as far as that is stored, and
    /// nothing is parked, for a parked event is read again. `place`: what is stored of the source's place. The incarnation there is known
    /// where it is an event that was dealt with last.
    pub fn needs_after(&self, from: &ParticipantName, place: Watermark) -> (Position, Option<Incarnation>) {
        let stored = self.inboxes.iter().filter(|(source, _)| source.from == *from).map(|(_, inbox)| inbox.stored());
        let dealt_with = stored.chain([place]).max_by_key(|watermark| watermark.position()).unwrap_or_default();
        let floor = self.floor(from);
        let (position, incarnation) = if dealt_with.position() < floor {
            (floor, None)
        } else {
            (dealt_with.position(), dealt_with.incarnation())
        };
        match self.parked.first_of(from) {
            Some(first) if first <= position => (Position(first.0 - 1), None),
            Some(_) | None => (position, incarnation),
        }
    }

    /// Notes that a step of the watermark is stored.
    pub fn advanced(&mut self, source: &Source, advance: Advance) {
        self.inboxes.entry(source.clone()).or_default().advanced(advance);
    }
}
