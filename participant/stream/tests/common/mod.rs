//! A store of one participant, and what its readers do with it, for the tests beside it.

#![allow(dead_code, reason = "each test uses a part of it")]

use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_stream::barrier::{Barrier, BarrierId, Written};
use undoubt_stream::declarations::{Declarations, Reaction};
use undoubt_stream::inbox::{Advance, Watermark};
use undoubt_stream::parked::{Change, GivenUp, Parked, ParkedEvent, Turn};
use undoubt_stream::subscription::{Source, Subscription};
use undoubt_vocabulary::event::JSON;
use undoubt_vocabulary::{Event, EventId, Incarnation, NewEvent, Partition, Position, Timestamp};

pub const NOW: Timestamp = Timestamp(1_000_000);

/// Reserves what is ordered, until a payment is refused.
pub const STOCK: &str = r#"
[[topic]]
name = "stock"

[[on]]
name = "reserve"
from = "shop"
topic = "orders"
type = "order.placed"
do = ["add stock/{data.item} -1 floor=0"]
emit = { topic = "stock", type = "stock.reserved", data = { left = "{result.0}" } }
undo-on = [{ from = "bank", topic = "payments", type = "payment.refused" }]
undo = ["add stock/{data.item} 1"]
undone = { topic = "stock", type = "stock.released", data = { left = "{result.0}" } }
attempts = 2
"#;

pub fn reaction(text: &str) -> Reaction {
    Declarations::read(text).unwrap().reactions.remove(0)
}

pub fn source(from: &str, topic: &str, partition: u16) -> Source {
    Source { from: from.parse().unwrap(), topic: topic.parse().unwrap(), partition: Partition(partition) }
}

pub fn id(life: u8, position: u64) -> EventId {
    EventId { incarnation: Incarnation([life; 16]), position: Position(position) }
}

/// Returns an event of the first life of a source's log.
pub fn event(source: &Source, position: u64, previous: u64, kind: &str, key: &str, saga: &str) -> Event {
    Event {
        position: Position(position),
        incarnation: Incarnation([1; 16]),
        topic: source.topic.clone(),
        partition: source.partition,
        previous: Position(previous),
        key: Bytes::copy_from_slice(key.as_bytes()),
        kind: kind.parse().unwrap(),
        schema: "".into(),
        content_type: JSON.into(),
        data: Bytes::from(format!("{{\"item\":\"{key}\"}}")),
        published_at: NOW,
        version: None,
        correlation: saga.parse().unwrap(),
        causation: None,
    }
}

/// One write: all of it is stored, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Batch {
    pub advance: Option<(Source, Advance)>,
    pub barrier: Option<(BarrierId, Barrier)>,
    pub changes: Vec<Change>,
    pub events: Vec<NewEvent>,
}

impl Batch {
    pub fn of(advance: Option<(Source, Advance)>, id: &BarrierId, written: Written) -> Batch {
        let barrier = written.barrier.map(|barrier| (id.clone(), barrier));
        Batch { advance, barrier, changes: Vec::new(), events: written.events }
    }
}

/// What of the store is compared before a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    All,
    /// A fault: the position is not compared.
    NoPosition,
    /// A fault: that no other event has the turn of one that is parked is not.
    NoTurn,
    /// A fault: that what is unparked is parked is not.
    NoParked,
}

/// What one subscription has in its participant's store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Store {
    pub watermarks: BTreeMap<Source, Watermark>,
    pub barriers: BTreeMap<BarrierId, Barrier>,
    pub parked: BTreeMap<(Bytes, Turn), ParkedEvent>,
    pub given_up: Vec<GivenUp>,
}

impl Store {
    pub fn load(&self, reaction: &Reaction, max_parked_events: usize) -> Subscription {
        let parked = self.parked.iter().map(|((key, turn), event)| (key.clone(), *turn, event.clone()));
        let parked = Parked::found(reaction.subscription(), max_parked_events, parked);
        Subscription::found(self.watermarks.clone(), parked)
    }

    pub fn barrier(&self, reaction: &Reaction, event: &Event) -> (BarrierId, Option<Barrier>) {
        let id = BarrierId { correlation: event.correlation.clone(), reaction: reaction.name.clone() };
        let barrier = self.barriers.get(&id).cloned();
        (id, barrier)
    }

    /// Stores a batch; returns false, and stores nothing, if what it goes by is not what is stored.
    pub fn write(&mut self, batch: &Batch, guard: Guard) -> bool {
        let stored = |source: &Source| self.watermarks.get(source).copied().unwrap_or_default();
        let in_place = batch.advance.iter().all(|(source, advance)| stored(source) == advance.from);
        let in_turn = batch.changes.iter().all(|change| match change {
            Change::Park { turn, .. } => guard == Guard::NoTurn || !self.parked.keys().any(|(_, taken)| taken == turn),
            Change::Refused { key, turn, .. } | Change::Applied { key, turn } | Change::GiveUp { key, turn, .. } => {
                guard == Guard::NoParked || self.parked.contains_key(&(key.clone(), *turn))
            }
        });
        if !(in_place || guard == Guard::NoPosition) || !in_turn {
            return false;
        }
        if let Some((source, advance)) = &batch.advance {
            self.watermarks.insert(source.clone(), advance.to);
        }
        self.barriers.extend(batch.barrier.clone());
        for change in &batch.changes {
            match change.clone() {
                Change::Park { key, turn, event } | Change::Refused { key, turn, event } => {
                    self.parked.insert((key, turn), event);
                }
                Change::Applied { key, turn } => {
                    self.parked.remove(&(key, turn));
                }
                Change::GiveUp { key, turn, given_up } => {
                    self.parked.remove(&(key, turn));
                    self.given_up.push(given_up);
                }
            }
        }
        true
    }
}
