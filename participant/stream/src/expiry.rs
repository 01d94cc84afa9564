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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declarations::Declarations;
    use bytes::Bytes;
    use undoubt_vocabulary::event::JSON;

    const SHOP: &str = r#"
[[topic]]
name = "orders"

[[begin]]
topic = "orders"
type = "order.placed"
expire = { after = "30s", emit = { topic = "orders", type = "order.expired", data = { item = "{data.item}" } }, unless = [
  { from = "bank", topic = "payments", type = "payment.taken" }
] }
"#;

    fn beginning() -> Beginning {
        Declarations::read(SHOP).unwrap().beginnings.remove(0)
    }

    fn placed(data: &'static str) -> Facts {
        let event = NewEvent {
            topic: "orders".parse().unwrap(),
            key: Bytes::from_static(b"17"),
            kind: "order.placed".parse().unwrap(),
            schema: "".into(),
            content_type: JSON.into(),
            data: data.into(),
            expect: None,
            correlation: None,
            causation: None,
        };
        Facts::of_new(&event, &"saga-1".parse().unwrap())
    }

    fn timer() -> Timer {
        let timer = beginning().timer(&placed(r#"{"item":"shoe"}"#), Timestamp(5)).unwrap();
        timer.expect("it expires")
    }

    #[test]
    fn the_timer_is_filled_in_when_the_saga_begins() {
        let Timer { due, id, event } = timer();
        assert_eq!((due, id.reaction.as_str()), (Timestamp(30_000_005), "order.expired"));
        assert_eq!((event.key, event.data), (Bytes::from_static(b"17"), Bytes::from_static(br#"{"item":"shoe"}"#)));
        assert_eq!(
            (event.correlation, Some(id.correlation)),
            (Some("saga-1".parse().unwrap()), Some("saga-1".parse().unwrap()))
        );
        assert!(beginning().timer(&placed("{}"), Timestamp(5)).is_err(), "the work that publishes it is refused");
    }

    #[test]
    fn whichever_comes_first_holds() {
        let expired = timer().due(None);
        assert_eq!((expired.events.len(), expired.barrier.as_ref().map(Barrier::as_str)), (1, Some("done")));
        assert_eq!(ended(expired.barrier.as_ref()), Written::default());
        assert_eq!(timer().due(expired.barrier.as_ref()), Written::default(), "it is published once");
        let in_time = ended(None);
        assert_eq!((in_time.events.len(), in_time.barrier.as_ref().map(Barrier::as_str)), (0, Some("never done")));
        assert_eq!(timer().due(in_time.barrier.as_ref()), Written::default());
    }

    #[test]
    fn it_ends_with_what_was_declared_alone() {
        let expiry = beginning().expire.expect("it expires");
        let ends = |from: &str, kind: &str| {
            expiry.ends_with(&from.parse().unwrap(), &"payments".parse().unwrap(), &kind.parse().unwrap())
        };
        assert!(ends("bank", "payment.taken") && !ends("bank", "payment.refused") && !ends("shop", "payment.taken"));
    }
}
