//! The events of one subscription that wait for an operator, key by key.
//!
//! What cannot be applied parks its key: it and every later event of that key wait in their order, and other keys go on. Only references
//! are kept; the events stay in their sources' logs. A retry goes through a key's events in order; when none is left the key is not parked
//! any more. Each change is a value: it is stored, in one write with what goes along, and then noted here.

use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_vocabulary::{
    EventId, ParticipantName, Partition, Position, Refusal, SubscriptionName, Timestamp, TopicName,
};
use undoubt_work::text::shown;

/// Parked events of one subscription, where a setting says nothing.
pub const DEFAULT_MAX_PARKED_EVENTS: usize = 10_000;

/// The place of an event among the parked ones of its subscription: they are counted as they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Turn(pub u64);

/// A reference to an event, which stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    pub from: ParticipantName,
    pub topic: TopicName,
    pub partition: Partition,
    pub id: EventId,
}

/// An event that waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParkedEvent {
    pub event: Reference,
    pub parked_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was refused last; `None` if it only waits behind others.
    pub refusal: Option<Refusal>,
}

/// An event that an operator has given up: its effect is missing for good, and this says so for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GivenUp {
    pub parked: ParkedEvent,
    pub by: Operator,
    pub at: Timestamp,
}

/// Who gives something up, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operator {
    pub who: String,
    pub reason: String,
}

/// A change, to be stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The event is added. Its position is stored in the same write, and only if no event of the subscription has the turn: a reader that
    /// was replaced does not know the latest.
    Park { key: Bytes, turn: Turn, event: ParkedEvent },
    /// A retry was refused.
    Refused { key: Bytes, turn: Turn, event: ParkedEvent },
    /// A retry succeeded: the event is removed, in the same write with the work. It is stored only if the event is there.
    Applied { key: Bytes, turn: Turn },
    /// The event is removed, and the record of it is kept. It is stored only if the event is there.
    GiveUp { key: Bytes, turn: Turn, given_up: GivenUp },
}

/// Why there is no such change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPossible {
    #[error(
        "subscription {subscription} has {count} parked events, as many as max_parked_events allows, and stops with all keys; retry, skip or \
         drop what is parked, or raise max_parked_events"
    )]
    Full { subscription: SubscriptionName, count: usize },
    #[error(
        "the key {} of subscription {subscription} is not parked; a list of what is parked has the keys",
        shown(key)
    )]
    NotParked { subscription: SubscriptionName, key: Bytes },
    #[error("no event with the turn {} is parked under the key {} of subscription {subscription}; list the key", turn.0, shown(key))]
    NoSuchTurn { subscription: SubscriptionName, key: Bytes, turn: Turn },
}

/// The parked keys of one subscription, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parked {
    subscription: SubscriptionName,
    max_parked_events: usize,
    keys: BTreeMap<Bytes, BTreeMap<Turn, ParkedEvent>>,
    count: usize,
    next: Turn,
}

impl Parked {
    /// Returns what was found in the store after a start.
    pub fn found(
        subscription: SubscriptionName,
        max_parked_events: usize,
        found: impl IntoIterator<Item = (Bytes, Turn, ParkedEvent)>,
    ) -> Parked {
        let empty = Parked { subscription, max_parked_events, keys: BTreeMap::new(), count: 0, next: Turn::default() };
        found.into_iter().fold(empty, |mut parked, (key, turn, event)| {
            parked.note(&Change::Park { key, turn, event });
            parked
        })
    }

    /// Returns the number of parked events.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns true if events of this key wait.
    pub fn is_parked(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key)
    }

    /// Returns the parked keys with their events in order.
    pub fn keys(&self) -> impl Iterator<Item = (&Bytes, &BTreeMap<Turn, ParkedEvent>)> {
        self.keys.iter()
    }

    /// Returns the change that parks an event, and so its key. `refusal`: why; `None` if the key was parked before.
    ///
    /// # Errors
    /// If there are too many: then the subscription stops before this event, until there is room.
    pub fn park(
        &self,
        key: Bytes,
        event: Reference,
        refusal: Option<(Refusal, u32)>,
        parked_at: Timestamp,
    ) -> Result<Change, NotPossible> {
        if self.count >= self.max_parked_events {
            return Err(NotPossible::Full { subscription: self.subscription.clone(), count: self.count });
        }
        let (refusal, attempts) = refusal.map_or((None, 0), |(refusal, attempts)| (Some(refusal), attempts));
        Ok(Change::Park { key, turn: self.next, event: ParkedEvent { event, parked_at, attempts, refusal } })
    }

    /// Returns the lowest position of a source at which an event is parked.
    pub fn first_of(&self, from: &ParticipantName) -> Option<Position> {
        let events = self.keys.values().flat_map(BTreeMap::values).map(|parked| &parked.event);
        events.filter(|reference| reference.from == *from).map(|reference| reference.id.position).min()
    }

    /// Returns the event of this key that is retried next; `None` if the key is not parked, or not any more.
    pub fn next_of(&self, key: &[u8]) -> Option<(Turn, &ParkedEvent)> {
        self.keys.get(key)?.first_key_value().map(|(turn, event)| (*turn, event))
    }

    /// Returns the change of a retry that succeeded.
    pub fn retried(&self, key: &Bytes, turn: Turn) -> Result<Change, NotPossible> {
        self.get(key, turn).map(|_| Change::Applied { key: key.clone(), turn })
    }

    /// Returns the change of a retry that was refused: it stays parked, and what is behind it too.
    pub fn refused(&self, key: &Bytes, turn: Turn, refusal: Refusal) -> Result<Change, NotPossible> {
        let parked = self.get(key, turn)?.clone();
        let event = ParkedEvent { attempts: parked.attempts.saturating_add(1), refusal: Some(refusal), ..parked };
        Ok(Change::Refused { key: key.clone(), turn, event })
    }

    /// Returns the change by which an operator leaves one event out, for good. The key stays parked if there are others.
    pub fn skip(&self, key: &Bytes, turn: Turn, by: Operator, at: Timestamp) -> Result<Change, NotPossible> {
        let given_up = GivenUp { parked: self.get(key, turn)?.clone(), by, at };
        Ok(Change::GiveUp { key: key.clone(), turn, given_up })
    }

    /// Returns the changes by which an operator leaves out all that is parked under a key, for good. They are one write.
    pub fn drop_key(&self, key: &Bytes, by: &Operator, at: Timestamp) -> Result<Vec<Change>, NotPossible> {
        let turns = self.keys.get(key).ok_or_else(|| self.not_parked(key))?.keys();
        turns.map(|turn| self.skip(key, *turn, by.clone(), at)).collect()
    }

    fn get(&self, key: &Bytes, turn: Turn) -> Result<&ParkedEvent, NotPossible> {
        let events = self.keys.get(key).ok_or_else(|| self.not_parked(key))?;
        let subscription = self.subscription.clone();
        events.get(&turn).ok_or_else(|| NotPossible::NoSuchTurn { subscription, key: key.clone(), turn })
    }

    fn not_parked(&self, key: &Bytes) -> NotPossible {
        NotPossible::NotParked { subscription: self.subscription.clone(), key: key.clone() }
    }

    /// Notes a change that is stored.
    pub fn note(&mut self, change: &Change) {
        match change {
            Change::Park { key, turn, event } => {
                let new = self.keys.entry(key.clone()).or_default().insert(*turn, event.clone()).is_none();
                self.count += usize::from(new);
                self.next = self.next.max(Turn(turn.0 + 1));
            }
            Change::Refused { key, turn, event } => {
                if let Some(parked) = self.keys.get_mut(key).and_then(|events| events.get_mut(turn)) {
                    *parked = event.clone();
                }
            }
            Change::Applied { key, turn } | Change::GiveUp { key, turn, .. } => {
                if let Some(events) = self.keys.get_mut(key) {
                    self.count -= usize::from(events.remove(turn).is_some());
                    if events.is_empty() {
                        self.keys.remove(key);
                    }
                }
            }
        }
    }
}
