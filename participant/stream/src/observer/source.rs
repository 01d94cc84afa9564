//! One participant's log, as the observer reads it.

use crate::inbox::Watermark;
use std::collections::BTreeSet;
use undoubt_vocabulary::{EventId, Incarnation, Position, Timestamp};

/// How far a log was read, and whose lives it consists of, as far as they were met. It is stored with what was made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    pub watermark: Watermark,
    pub incarnations: BTreeSet<Incarnation>,
}

/// How it stands with a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact<'a> {
    /// The last position that its log was known to have.
    pub stable: Position,
    /// The time at which all that it had was read; `None`: never since the start.
    pub caught_up_at: Option<Timestamp>,
    /// Since when it cannot be read, and why.
    pub away: Option<(Timestamp, &'a str)>,
    /// The time since which it was listened to.
    pub listening_since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    place: Place,
    stable: Position,
    caught_up_at: Option<Timestamp>,
    surveyed_at: Option<Timestamp>,
    away: Option<(Timestamp, String)>,
    /// The same of its subscriptions: they cannot be asked about.
    unasked: Option<(Timestamp, String)>,
    listening_since: Timestamp,
}

impl Source {
    pub(super) fn found(place: Place, listening_since: Timestamp) -> Source {
        let stable = place.watermark.position();
        Source { place, stable, caught_up_at: None, surveyed_at: None, away: None, unasked: None, listening_since }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn heard(
        &mut self,
        events: impl Iterator<Item = EventId>,
        through: Watermark,
        stable: Position,
        at: Timestamp,
    ) {
        let lives = events.map(|event| event.incarnation).chain(through.incarnation());
        self.place.incarnations.extend(lives);
        self.place.watermark = through;
        self.stable = stable;
        self.away = None;
        if through.position() >= stable {
            self.caught_up_at = Some(at);
        }
    }

    pub(super) fn surveyed(&mut self, asked_at: Timestamp) {
        self.surveyed_at = Some(asked_at);
        self.unasked = None;
    }

    pub(super) fn unasked(&mut self, why: String, at: Timestamp) {
        let since = self.unasked.as_ref().map_or(at, |(since, _)| *since);
        self.unasked = Some((since, why));
    }

    pub(super) fn away(&mut self, why: String, at: Timestamp) {
        let since = self.away.as_ref().map_or(at, |(since, _)| *since);
        self.away = Some((since, why));
    }

    pub(super) fn begin_again(&mut self, place: Place) {
        let listening_since = self.listening_since;
        let away = self.away.take();
        *self = Source { away, ..Source::found(place, listening_since) };
    }

    pub(super) fn contact(&self) -> Contact<'_> {
        Contact {
            stable: self.stable,
            caught_up_at: self.caught_up_at,
            away: self.away.as_ref().or(self.unasked.as_ref()).map(|(since, why)| (*since, why.as_str())),
            listening_since: self.listening_since,
        }
    }

    /// Returns the time up to which it was heard: all of its log was read, and its subscriptions were asked.
    pub(super) fn heard_until(&self) -> Option<Timestamp> {
        self.caught_up_at.min(self.surveyed_at)
    }

    /// Returns true if it has been read up to this place of its present log.
    pub(super) fn has_read(&self, place: Watermark) -> bool {
        place.0.is_none_or(|event| {
            self.place.incarnations.contains(&event.incarnation) && self.place.watermark.position() >= event.position
        })
    }

    /// Returns true if whoever has dealt with everything up to `through` has dealt with this event.
    pub(super) fn covers(&self, through: Watermark, event: EventId) -> bool {
        through.0.is_some_and(|last| {
            self.place.incarnations.contains(&last.incarnation)
                && self.place.incarnations.contains(&event.incarnation)
                && last.position >= event.position
        })
    }
}
