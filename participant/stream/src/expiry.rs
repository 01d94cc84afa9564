//! The end of the time in which a choreographed saga should have ended.
//!
//! Whoever began it waits, and nobody else: the timer is written with the event that begins the saga, and its end is a reaction with a
//! barrier like any other. It "acts" when it is due, and is "undone" by an event with which the saga ends: whichever comes first holds.

use crate::barrier::{Barrier, BarrierId, Undo, Written};
use crate::declarations::{Beginning, Expiry, Heard};
use crate::facts::{Facts, Unfit};
use undoubt_vocabulary::{EventType, NewEvent, ParticipantName, Timestamp, TopicName};

/// A timer, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timer {
    pub due: Timestamp,
    pub id: BarrierId,
    /// Is published when it is due.
    pub event: NewEvent,
}

impl Beginning {
    /// Returns true if this event begins a saga of this kind.
    pub fn begins(&self, topic: &TopicName, kind: &EventType) -> bool {
        (&self.topic, &self.kind) == (topic, kind)
    }

    /// Returns the timer to write with the event that begins a saga; `None` if it does not expire.
    ///
    /// # Errors
    /// If what expires cannot be filled in from the event: then the work that publishes it is refused.
    pub fn timer(&self, facts: &Facts, now: Timestamp) -> Result<Option<Timer>, Unfit> {
        let Some(expiry) = &self.expire else { return Ok(None) };
        let id = BarrierId { correlation: facts.correlation.clone(), reaction: expiry.name.clone() };
        let event = expiry.emit.fill(facts, None)?;
        Ok(Some(Timer { due: now.plus(expiry.after), id, event }))
    }
}

impl Expiry {
    /// Returns true if the saga has ended with this event.
    pub fn ends_with(&self, from: &ParticipantName, topic: &TopicName, kind: &EventType) -> bool {
        self.unless.iter().any(|Heard { from: f, topic: t, kind: k }| (f, t, k) == (from, topic, kind))
    }
}

impl Timer {
    /// Returns what is written when it is due. `barrier`: what is stored under its id.
    pub fn due(self, barrier: Option<&Barrier>) -> Written {
        match barrier {
            None => {
                let undo = Undo { work: None, undone: None };
                Written { barrier: Some(Barrier::Acted { on: None, undo }), events: vec![self.event] }
            }
            Some(Barrier::Acted { .. } | Barrier::Compensated | Barrier::Empty) => Written::default(),
        }
    }
}

/// Returns what is written when the saga has ended. `barrier`: what is stored under the timer's id. What has expired has expired: whatever
/// hears of it undoes what was done.
pub fn ended(barrier: Option<&Barrier>) -> Written {
    match barrier {
        None => Written { barrier: Some(Barrier::Empty), events: Vec::new() },
        Some(Barrier::Acted { .. } | Barrier::Compensated | Barrier::Empty) => Written::default(),
    }
}
