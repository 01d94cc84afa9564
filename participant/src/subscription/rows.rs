//! The rows that are kept of subscriptions, for adapters that have a store or a table.
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `inbox` | `watermark/`, subscription, 0, source, 0, topic, 0, partition (2 bytes) | `StoredWatermark` |
//! | `inbox` | `place/`, subscription, 0, source | `StoredWatermark` |
//! | `parked` | subscription, 0, turn (8 bytes) | `StoredParkedEvent` |
//! | `given-up` | subscription, 0, turn (8 bytes), incarnation (16 bytes), position (8 bytes) | `StoredGivenUp` |
//! | `reaction` | reaction, 0, correlation | `StoredReaction` |
//! | `timer` | name, 0, due (8 bytes), correlation | `StoredEvent`: what is published then |
//!
//! The watermarks are in memory too: a store has one owner, so what is there is what is stored or queued.

use super::store::{InboxId, Place, StoredParked, StoredSubscriptions};
use crate::event_log::Unreadable;
use crate::resource::ResourceError;
use bytes::Bytes;
use prost::Message as _;
use smol_str::SmolStr;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use undoubt_platform::{Batch, Direction, Family, Store};
use undoubt_proto::record::stored_reaction::State;
use undoubt_proto::record::{StoredEvent, StoredGivenUp, StoredParkedEvent, StoredReaction, StoredWatermark};
use undoubt_stream::barrier::{Barrier, BarrierId, Undo};
use undoubt_stream::expiry::Timer;
use undoubt_stream::inbox::{Advance, Watermark};
use undoubt_stream::parked::{Change, GivenUp, Operator, ParkedEvent, Reference, Turn};
use undoubt_stream::subscription::Source;
use undoubt_vocabulary::{
    CorrelationId, EventId, Incarnation, NewEvent, Partition, Position, ReactionName, SubscriptionName, Timestamp, TxId,
};

/// How far subscriptions have come.
pub const INBOX: Family = Family("inbox");

/// The events that wait for an operator.
pub const PARKED: Family = Family("parked");

/// The events that operators have given up.
pub const GIVEN_UP: Family = Family("given-up");

/// The barriers of reactions.
pub const REACTION: Family = Family("reaction");

/// What is to be published when a time is over.
pub const TIMER: Family = Family("timer");

/// The families of subscriptions.
pub const FAMILIES: [Family; 5] = [INBOX, PARKED, GIVEN_UP, REACTION, TIMER];

const WATERMARK: &[u8] = b"watermark/";
const PLACE: &[u8] = b"place/";

/// The rows, and the watermarks as they are stored or queued.
#[derive(Debug, Default)]
pub struct Rows {
    watermarks: Mutex<BTreeMap<InboxId, Watermark>>,
}

impl Rows {
    fn watermarks(&self) -> MutexGuard<'_, BTreeMap<InboxId, Watermark>> {
        self.watermarks.lock().expect("nothing panics between two watermarks")
    }

    /// Reads all but barriers.
    pub fn read(&self, store: &dyn Store) -> Result<StoredSubscriptions, ResourceError> {
        let all = |family| store.scan(family, b"", None, Direction::Forward, usize::MAX);
        let stored = StoredSubscriptions::read(all(INBOX)?, all(PARKED)?)?;
        *self.watermarks() = stored.watermarks.iter().cloned().collect();
        Ok(stored)
    }

    /// Returns a barrier.
    pub fn barrier(&self, store: &dyn Store, id: &BarrierId) -> Result<Option<Barrier>, ResourceError> {
        let key = barrier_key(id);
        store.get(REACTION, &key)?.map(|value| read_barrier(&key, value)).transpose()
    }

    /// Returns the timer of this name that is due first, with its key.
    pub fn next_timer(&self, store: &dyn Store, name: &ReactionName) -> Result<Option<(Timer, Bytes)>, ResourceError> {
        let (from, to) = timer_keys(name);
        let first = store.scan(TIMER, &from, Some(&to), Direction::Forward, 1)?;
        let Some((key, value)) = first.into_iter().next() else { return Ok(None) };
        Ok(Some((read_timer(name, &key, value)?, key)))
    }

    /// Takes the steps of watermarks, and puts them into the batch; `Err` names one that is elsewhere, and none is taken. The batch is
    /// queued before another one's steps are taken, or they are [taken back](Self::take_back).
    pub fn advance(&self, batch: &mut Batch, advances: &[(InboxId, Advance)]) -> Result<(), (InboxId, Watermark)> {
        let mut watermarks = self.watermarks();
        for (inbox, advance) in advances {
            let stored = watermarks.get(inbox).copied().unwrap_or_default();
            if stored != advance.from {
                return Err((inbox.clone(), stored));
            }
        }
        for (inbox, advance) in advances {
            let (key, value) = watermark_row(inbox, advance.to);
            batch.put(INBOX, key, value);
            watermarks.insert(inbox.clone(), advance.to);
        }
        Ok(())
    }

    /// Takes steps back of a batch that was not written.
    pub fn take_back(&self, advances: &[(InboxId, Advance)]) {
        let mut watermarks = self.watermarks();
        for (inbox, advance) in advances {
            watermarks.insert(inbox.clone(), advance.from);
        }
    }
}

impl StoredSubscriptions {
    /// Reads the rows of the families [`INBOX`] and [`PARKED`].
    pub fn read(
        inbox: impl IntoIterator<Item = (Bytes, Bytes)>,
        parked: impl IntoIterator<Item = (Bytes, Bytes)>,
    ) -> Result<StoredSubscriptions, ResourceError> {
        let mut stored = StoredSubscriptions::default();
        for (key, value) in inbox {
            read_inbox(&key, value, &mut stored).map_err(|cause| unreadable(INBOX, &key, &cause))?;
        }
        for (key, value) in parked {
            stored.parked.push(read_parked(&key, value).map_err(|cause| unreadable(PARKED, &key, &cause))?);
        }
        Ok(stored)
    }
}

/// Returns the row of the family [`INBOX`] that says where a watermark is.
pub fn watermark_row(inbox: &InboxId, watermark: Watermark) -> (Vec<u8>, Vec<u8>) {
    (watermark_key(inbox), watermark_record(watermark).encode_to_vec())
}

/// Reads the value of such a row.
pub fn read_watermark(value: Bytes) -> Result<Watermark, ResourceError> {
    let read = watermark_and_floor(value).map_err(|cause| unreadable(INBOX, b"watermark", &cause));
    read.map(|(watermark, _)| watermark)
}

pub fn put_place(batch: &mut Batch, Place { subscription, from, watermark, floor }: &Place) {
    let key = [PLACE, subscription.as_str().as_bytes(), &[0], from.as_str().as_bytes()].concat();
    let record = StoredWatermark { floor: floor.0, ..watermark_record(*watermark) };
    batch.put(INBOX, key, record.encode_to_vec());
}

pub fn put_parked(batch: &mut Batch, subscription: &SubscriptionName, change: &Change) {
    match change {
        Change::Park { key, turn, event } | Change::Refused { key, turn, event } => {
            batch.put(PARKED, parked_key(subscription, *turn), parked_record(key, event).encode_to_vec());
        }
        Change::Applied { key: _, turn } => batch.delete(PARKED, parked_key(subscription, *turn)),
        Change::GiveUp { key, turn, given_up: GivenUp { parked, by: Operator { who, reason }, at } } => {
            let parked_key = parked_key(subscription, *turn);
            // Turns may come again; an event does not.
            let id = parked.event.id;
            let given_up_key = [&parked_key[..], &id.incarnation.0, &id.position.0.to_be_bytes()].concat();
            let (who, reason, parked) = (who.clone(), reason.clone(), Some(parked_record(key, parked)));
            let record = StoredGivenUp { parked, who, reason, at_us: at.0 };
            batch.put(GIVEN_UP, given_up_key, record.encode_to_vec());
            batch.delete(PARKED, parked_key);
        }
    }
}

pub fn put_barrier(batch: &mut Batch, id: &BarrierId, barrier: &Barrier) {
    batch.put(REACTION, barrier_key(id), barrier_record(barrier).encode_to_vec());
}

/// Puts a timer.
pub fn put_timer(batch: &mut Batch, timer: &Timer) {
    let (key, value) = timer_row(timer);
    batch.put(TIMER, key, value);
}

/// Returns the row of a timer in the family [`TIMER`].
pub fn timer_row(Timer { due, id, event }: &Timer) -> (Vec<u8>, Vec<u8>) {
    let correlation = id.correlation.0.as_bytes();
    let key = [id.reaction.as_str().as_bytes(), &[0], &due.0.to_be_bytes(), correlation].concat();
    (key, event_record(event).encode_to_vec())
}

/// Returns the first key of the family [`TIMER`] that timers of this name may have, and the first behind them.
pub fn timer_keys(name: &ReactionName) -> (Vec<u8>, Vec<u8>) {
    let with = |end: u8| [name.as_str().as_bytes(), &[end]].concat();
    (with(0), with(1))
}

/// Reads a row of the family [`TIMER`] with one of these keys.
pub fn read_timer(name: &ReactionName, key: &[u8], value: Bytes) -> Result<Timer, ResourceError> {
    timer(name, key, value).map_err(|cause| unreadable(TIMER, key, &cause))
}

fn timer(name: &ReactionName, key: &[u8], value: Bytes) -> Result<Timer, Unreadable> {
    let rest = key.get(name.as_str().len() + 1..).ok_or(Unreadable::Length)?;
    let (due, correlation) = rest.split_first_chunk::<8>().ok_or(Unreadable::Length)?;
    let correlation = CorrelationId(TxId::new(correlation)?);
    let event = read_event(StoredEvent::decode(value)?)?;
    let id = BarrierId { correlation, reaction: name.clone() };
    Ok(Timer { due: Timestamp(u64::from_be_bytes(*due)), id, event })
}

fn watermark_key(InboxId { subscription, source: Source { from, topic, partition } }: &InboxId) -> Vec<u8> {
    let name = |text: &str| text.as_bytes().to_vec();
    let parts = [name(subscription.as_str()), name(from.as_str()), name(topic.as_str())];
    let mut key = WATERMARK.to_vec();
    for part in parts {
        key.extend_from_slice(&part);
        key.push(0);
    }
    key.extend_from_slice(&partition.0.to_be_bytes());
    key
}

fn watermark_record(Watermark(event): Watermark) -> StoredWatermark {
    event.map_or_else(StoredWatermark::default, |EventId { incarnation, position }| StoredWatermark {
        incarnation: Bytes::copy_from_slice(&incarnation.0),
        position: position.0,
        floor: 0,
    })
}

/// Returns the watermark, and the floor, which places have.
fn watermark_and_floor(value: Bytes) -> Result<(Watermark, Position), Unreadable> {
    let StoredWatermark { incarnation, position, floor } = StoredWatermark::decode(value)?;
    let floor = Position(floor);
    if incarnation.is_empty() {
        return Ok((Watermark(None), floor));
    }
    let incarnation = Incarnation::try_from(&incarnation[..])?;
    Ok((EventId { incarnation, position: Position(position) }.into(), floor))
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable::Length)
}

fn read_inbox(key: &Bytes, value: Bytes, stored: &mut StoredSubscriptions) -> Result<(), Unreadable> {
    let (watermark, floor) = watermark_and_floor(value)?;
    if let Some(rest) = key.strip_prefix(PLACE) {
        let (subscription, from) = text(rest)?.split_once('\0').ok_or(Unreadable::Length)?;
        stored.places.push(Place { subscription: subscription.parse()?, from: from.parse()?, watermark, floor });
        return Ok(());
    }
    let rest = key.strip_prefix(WATERMARK).ok_or(Unreadable::Length)?;
    let (names, partition) = rest.split_last_chunk::<2>().ok_or(Unreadable::Length)?;
    let mut names = text(names)?.split('\0');
    let mut name = || names.next().ok_or(Unreadable::Length);
    let subscription = name()?.parse()?;
    let (from, topic) = (name()?.parse()?, name()?.parse()?);
    let source = Source { from, topic, partition: Partition(u16::from_be_bytes(*partition)) };
    stored.watermarks.push((InboxId { subscription, source }, watermark));
    Ok(())
}

fn parked_key(subscription: &SubscriptionName, Turn(turn): Turn) -> Vec<u8> {
    [subscription.as_str().as_bytes(), &[0], &turn.to_be_bytes()].concat()
}

fn parked_record(key: &Bytes, ParkedEvent { event, parked_at, attempts, refusal }: &ParkedEvent) -> StoredParkedEvent {
    StoredParkedEvent {
        key: key.clone(),
        source: event.from.as_str().to_owned(),
        topic: event.topic.as_str().to_owned(),
        partition: event.partition.0.into(),
        incarnation: Bytes::copy_from_slice(&event.id.incarnation.0),
        position: event.id.position.0,
        parked_at_us: parked_at.0,
        attempts: *attempts,
        refusal: refusal.clone().map(Into::into),
    }
}

fn read_parked(key: &Bytes, value: Bytes) -> Result<StoredParked, Unreadable> {
    let (subscription, turn) = key.split_last_chunk::<8>().ok_or(Unreadable::Length)?;
    let subscription = text(subscription)?.strip_suffix('\0').ok_or(Unreadable::Length)?;
    let record = StoredParkedEvent::decode(value)?;
    let event = Reference {
        from: record.source.parse()?,
        topic: record.topic.parse()?,
        partition: Partition(u16::try_from(record.partition).map_err(|_| Unreadable::Partition)?),
        id: EventId {
            incarnation: Incarnation::try_from(&record.incarnation[..])?,
            position: Position(record.position),
        },
    };
    let refusal = record.refusal.map(TryInto::try_into).transpose().map_err(|_| Unreadable::Length)?;
    let parked_at = Timestamp(record.parked_at_us);
    let event = ParkedEvent { event, parked_at, attempts: record.attempts, refusal };
    Ok(StoredParked {
        subscription: subscription.parse()?,
        key: record.key,
        turn: Turn(u64::from_be_bytes(*turn)),
        event,
    })
}

/// Returns the key of a barrier in the family [`REACTION`].
pub fn barrier_key(BarrierId { correlation, reaction }: &BarrierId) -> Vec<u8> {
    [reaction.as_str().as_bytes(), &[0], correlation.0.as_bytes()].concat()
}

fn barrier_record(barrier: &Barrier) -> StoredReaction {
    match barrier {
        Barrier::Acted { on, undo: Undo { work, undone } } => StoredReaction {
            state: State::Acted.into(),
            on_incarnation: on.map(|on| Bytes::copy_from_slice(&on.incarnation.0)).unwrap_or_default(),
            on_position: on.map_or(0, |on| on.position.0),
            undo_work: work.clone(),
            undone: undone.as_deref().map(event_record),
        },
        Barrier::Compensated => StoredReaction { state: State::Compensated.into(), ..StoredReaction::default() },
        Barrier::Empty => StoredReaction { state: State::Empty.into(), ..StoredReaction::default() },
    }
}

/// Reads a row of that family.
pub fn read_barrier(key: &[u8], value: Bytes) -> Result<Barrier, ResourceError> {
    barrier(value).map_err(|cause| unreadable(REACTION, key, &cause))
}

fn barrier(value: Bytes) -> Result<Barrier, Unreadable> {
    let record = StoredReaction::decode(value)?;
    match record.state() {
        State::Unspecified => Err(Unreadable::Length),
        State::Compensated => Ok(Barrier::Compensated),
        State::Empty => Ok(Barrier::Empty),
        State::Acted => {
            let on = match &record.on_incarnation[..] {
                [] => None,
                some => {
                    Some(EventId { incarnation: Incarnation::try_from(some)?, position: Position(record.on_position) })
                }
            };
            let undone = record.undone.map(read_event).transpose()?.map(Box::new);
            Ok(Barrier::Acted { on, undo: Undo { work: record.undo_work, undone } })
        }
    }
}

/// Returns an event that is not published yet, as it is stored.
fn event_record(event: &NewEvent) -> StoredEvent {
    StoredEvent {
        topic: event.topic.as_str().to_owned(),
        key: event.key.clone(),
        r#type: event.kind.as_str().to_owned(),
        schema: event.schema.to_string(),
        content_type: event.content_type.to_string(),
        data: event.data.clone(),
        correlation: event.correlation.as_ref().map(|CorrelationId(id)| id.to_bytes()).unwrap_or_default(),
        ..StoredEvent::default()
    }
}

/// Reads an event that is not published yet.
pub(crate) fn read_event(record: StoredEvent) -> Result<NewEvent, Unreadable> {
    let correlation = match &record.correlation[..] {
        [] => None,
        some => Some(CorrelationId(TxId::new(some)?)),
    };
    Ok(NewEvent {
        topic: record.topic.parse()?,
        key: record.key,
        kind: record.r#type.parse()?,
        schema: SmolStr::from(record.schema),
        content_type: SmolStr::from(record.content_type),
        data: record.data,
        expect: None,
        correlation,
        causation: None,
    })
}

fn unreadable(Family(family): Family, key: &[u8], cause: &Unreadable) -> ResourceError {
    let key = undoubt_work::text::shown(key);
    ResourceError::Stopped { cause: format!("the record {key} of the family {family} cannot be read: {cause}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_platform::store::memory::Memory;
    use undoubt_vocabulary::{Refusal, RefusalCode};

    fn id(position: u64) -> EventId {
        EventId { incarnation: Incarnation([3; 16]), position: Position(position) }
    }

    async fn write(store: &dyn Store, batch: Batch) {
        store.write(batch, undoubt_platform::Durability::Forced).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_stored_is_found_again_and_a_watermark_moves_from_where_it_is_alone() {
        let (memory, rows) = (Memory::default(), Rows::default());
        let store = memory.open(&FAMILIES).unwrap();
        let (from, topic) = ("shop".parse().unwrap(), "orders".parse().unwrap());
        let source = Source { from, topic, partition: Partition(7) };
        let inbox = InboxId { subscription: "reserve".parse().unwrap(), source: source.clone() };
        let step = |from, to| [(inbox.clone(), Advance { from, to })];
        let mut batch = Batch::default();
        rows.advance(&mut batch, &step(Watermark(None), id(4).into())).unwrap();
        let place = Place {
            subscription: inbox.subscription.clone(),
            from: source.from.clone(),
            watermark: id(5).into(),
            floor: Position(2),
        };
        put_place(&mut batch, &place);
        let Source { from, topic, partition } = source;
        let event = Reference { from, topic, partition, id: id(4) };
        let refusal = Some(Refusal::new(RefusalCode::Condition, "no"));
        let event = ParkedEvent { event, parked_at: Timestamp(9), attempts: 2, refusal };
        let change = Change::Park { key: "k".into(), turn: Turn(3), event: event.clone() };
        put_parked(&mut batch, &inbox.subscription, &change);
        let barrier_id = BarrierId { correlation: "c".parse().unwrap(), reaction: "reserve".parse().unwrap() };
        let undone = NewEvent {
            topic: "stock".parse().unwrap(),
            key: "k".into(),
            kind: "stock.released".parse().unwrap(),
            schema: "".into(),
            content_type: "application/json".into(),
            data: "{}".into(),
            expect: None,
            correlation: Some("c".parse().unwrap()),
            causation: None,
        };
        let undo = Undo { work: Some("w".into()), undone: Some(Box::new(undone)) };
        let acted = Barrier::Acted { on: Some(id(4)), undo };
        put_barrier(&mut batch, &barrier_id, &acted);
        write(&store, batch).await;
        let again = Rows::default();
        let found = again.read(&store).unwrap();
        assert_eq!(found.watermarks, [(inbox.clone(), id(4).into())]);
        assert_eq!(found.places, [place]);
        let parked = StoredParked { subscription: inbox.subscription.clone(), key: "k".into(), turn: Turn(3), event };
        assert_eq!(found.parked, [parked]);
        assert_eq!(again.barrier(&store, &barrier_id).unwrap(), Some(acted));
        let mut batch = Batch::default();
        let moved = again.advance(&mut batch, &step(id(3).into(), id(5).into()));
        assert_eq!(moved, Err((inbox.clone(), id(4).into())));
        assert!(batch.is_empty());
        again.advance(&mut batch, &step(id(4).into(), id(5).into())).unwrap();
        again.take_back(&step(id(4).into(), id(5).into()));
        again.advance(&mut batch, &step(id(4).into(), id(6).into())).unwrap();
    }
}
