//! The log of the events that branches and steps publish, over the store in which their work is kept.
//!
//! The events of a piece of work are written in the batch that makes it take effect: it publishes them or has not happened. They get their
//! positions at the moment at which that batch is queued, under one lock, so that positions are in the order in which work takes effect.
//! They are read once the batch is on stable storage.

mod incarnations;
mod keeping;
mod opening;
mod reading;
mod record;
mod source;
mod topics;

use crate::resource::ResourceError;
use crate::subscription::put_timer;
use futures::FutureExt as _;
use prost::Message as _;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use undoubt_platform::{Batch, Clock, Direction, Durability, Family, Store, StoreError, Written};
use undoubt_proto::record::{LogTail, LogTails, StoredEvent, StoredTopic};
use undoubt_stream::declarations::MAX_TOPICS;
use undoubt_stream::log::{Lane, Positions};
use undoubt_stream::retention::{Mark, Retention};
use undoubt_vocabulary::{Incarnation, NewEvent, Partition, Position, Refusal, Topic, TopicName, TxId};

pub use incarnations::Incarnations;
pub use record::{ENTITY, EVENT, EVENT_LOG, Unreadable, read, unplaced};
pub use source::{
    After, EventSource, EventsRead, KeepError, LogState, MAX_READ_BYTES, MAX_READ_EVENTS, ReadError, Readers,
};
pub use topics::{Topics, other_version};

/// The families of the log.
pub const FAMILIES: [Family; 3] = [EVENT, ENTITY, EVENT_LOG];

/// The bytes that an event is stored with beside its own.
pub const BESIDE_EVENT_BYTES: usize = 64;

/// The positions after which the tails of all partitions are written anew, and a mark up to which events may be dropped: a start reads no
/// more events than these.
const TAILS_AFTER: u64 = 1_024;

/// The reason why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the topic {topic} is declared twice; leave one out")]
    Twice { topic: TopicName },
    #[error("{count} topics are declared, more than the {MAX_TOPICS} allowed")]
    TooMany { count: usize },
    #[error(
        "the topic {topic} is declared with {declared} partitions, and its events are in {stored}: keys would change their partitions, and \
         lose their order. Declare {stored}, or publish to a topic with another name"
    )]
    OtherPartitions { topic: TopicName, declared: u16, stored: u32 },
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

/// The log over a store. Cheap to share.
pub struct EventLog {
    store: Arc<dyn Store>,
    topics: Topics,
    incarnation: Incarnation,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    stable: watch::Sender<Position>,
}

struct State {
    positions: Positions,
    incarnations: Incarnations,
    /// What the first write of this start has to bring along: the incarnation, and the topics that are new.
    is_begun: bool,
    tails_at: Position,
    /// The bytes of all events so far, those that were dropped among them.
    bytes: u64,
    retention: Retention,
    /// The reason why a position will be missing for good, if one will.
    gap: Option<String>,
}

impl std::fmt::Debug for EventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLog").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl EventLog {
    /// Opens the log of a store that has its [`FAMILIES`]. `incarnation` is drawn anew for each start.
    pub fn open(
        store: Arc<dyn Store>,
        topics: Topics,
        incarnation: Incarnation,
        clock: Arc<dyn Clock>,
    ) -> Result<EventLog, OpenError> {
        opening::check(store.as_ref(), &topics)?;
        let state = opening::found(store.as_ref(), topics.as_slice())?;
        let stable = watch::Sender::new(state.positions.stable());
        let state = Arc::new(Mutex::new(state));
        Ok(EventLog { store, topics, incarnation, clock, state, stable })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Returns the topic to which an event is published, and the version that its entity has from then on, if it has versions. The
    /// caller keeps others from appending to the entity until the event is written or given up.
    pub fn admit(&self, event: &NewEvent, before: Option<u64>, tx: &TxId) -> Result<(&Topic, Option<u64>), Refusal> {
        let topic = self.topics.admit(event, tx)?;
        let version = topic.sourced.then(|| topics::next_version(event, before.unwrap_or(0))).transpose()?;
        Ok((topic, version))
    }

    /// Returns true if the keys of this topic are entities with versions.
    pub fn is_sourced(&self, topic: &str) -> bool {
        self.topics.is_sourced(topic)
    }

    /// Returns the version of an entity: 0 if nothing was ever appended to it.
    pub fn version_of(&self, topic: &TopicName, key: &[u8]) -> Result<u64, ResourceError> {
        let from = record::entity_prefix(topic.as_str(), key);
        let to = record::entity_key(topic.as_str(), key, u64::MAX);
        let last = self.store.scan(ENTITY, &from, Some(&to), Direction::Backward, 1)?;
        let Some((found, _)) = last.into_iter().next() else { return Ok(0) };
        let version = record::number(&found[from.len()..]);
        version.map_err(|cause| unreadable(ENTITY, &found, &cause))
    }

    /// Queues a batch with events, before it returns. They have their positions then, unless the batch is refused at once.
    pub fn write(&self, mut batch: Batch, events: &[StoredEvent], durability: Durability) -> (Vec<Position>, Written) {
        if events.is_empty() {
            return (Vec::new(), self.store.write(batch, durability));
        }
        let now = self.clock.now();
        let mut state = self.state();
        if let Some(cause) = &state.gap {
            return (Vec::new(), Written::ready(Err(StoreError::Stopped { cause: cause.clone() })));
        }
        let allotted = state.positions.allot(events.iter().map(|event| self.lane(event)));
        let first = allotted.places[0].position;
        let last = allotted.last().expect("there is an event");
        let mut bytes = 0;
        for (event, place) in events.iter().zip(&allotted.places) {
            let placed = StoredEvent { previous: place.previous.0, published_at_us: now.0, ..event.clone() };
            bytes += stored_bytes(&placed);
            batch.put_with(EVENT, place.position.0.to_be_bytes(), |bytes| {
                placed.encode(bytes).expect("a vector takes any message");
            });
            if let Some(timer) = self.topics.timer_of(event, now) {
                put_timer(&mut batch, &timer);
            }
            if let Some(version) = event.version {
                batch.put(
                    ENTITY,
                    record::entity_key(&event.topic, &event.key, version),
                    place.position.0.to_be_bytes(),
                );
            }
        }
        let begins = !state.is_begun;
        if begins {
            self.begin(first, &mut batch);
        }
        let brings_tails = last.0 - state.tails_at.0 >= TAILS_AFTER;
        let bytes = state.bytes + bytes;
        let mark = Mark { position: last, published_at: now, bytes };
        if brings_tails {
            batch.put(EVENT_LOG, record::TAILS, self.tails(&state.positions, bytes).encode_to_vec());
            batch.put(EVENT_LOG, record::mark_key(last), record::mark(mark).encode_to_vec());
        }
        let mut written = self.store.write(batch, durability);
        let answered = (&mut written).now_or_never();
        if let Some(Err(refused)) = answered {
            state.positions.take_back(&allotted);
            return (Vec::new(), Written::ready(Err(refused)));
        }
        if begins {
            state.is_begun = true;
            state.incarnations.begin(first, self.incarnation);
        }
        state.bytes = bytes;
        if brings_tails {
            state.tails_at = last;
            state.retention.note_mark(mark);
        }
        let positions = allotted.places.iter().map(|place| place.position).collect();
        let noting = (self.state.clone(), self.stable.clone());
        let note = move |answer: &Result<(), StoreError>| note(&noting, last, durability, answer);
        if let Some(done) = answered {
            drop(state);
            note(&done);
            return (positions, Written::ready(done));
        }
        (positions, written.observed_by(note))
    }

    fn lane(&self, event: &StoredEvent) -> Lane {
        let topic = self.topics.as_slice().iter().position(|topic| topic.name.as_str() == event.topic);
        // A topic that was taken out since the branch was prepared: its events have a lane of their own.
        let topic = topic.and_then(|topic| u16::try_from(topic).ok()).unwrap_or(u16::MAX);
        Lane { topic, partition: Partition(u16::try_from(event.partition).unwrap_or(u16::MAX)) }
    }

    /// Brings along what a log has before its first event of this start.
    fn begin(&self, first: Position, batch: &mut Batch) {
        batch.put(EVENT_LOG, record::incarnation_key(first), self.incarnation.0);
        for topic in self.topics.as_slice() {
            let stored = StoredTopic { partitions: topic.partitions.into() };
            batch.put(EVENT_LOG, record::topic_key(&topic.name), stored.encode_to_vec());
        }
    }

    fn tails(&self, positions: &Positions, bytes: u64) -> LogTails {
        let tail = |(lane, position): (&Lane, &Position)| {
            let topic = self.topics.as_slice().get(usize::from(lane.topic))?;
            let (topic, partition) = (topic.name.as_str().to_owned(), lane.partition.0.into());
            Some(LogTail { topic, partition, position: position.0 })
        };
        LogTails { position: positions.last().0, tails: positions.tails().iter().filter_map(tail).collect(), bytes }
    }
}

/// Returns the bytes that an event takes in the log, about.
fn stored_bytes(event: &StoredEvent) -> u64 {
    u64::try_from(event.encoded_len() + BESIDE_EVENT_BYTES).unwrap_or(u64::MAX)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nobody panics with the log half changed")
}

/// Notes what came of a write that holds events up to this position.
fn note(
    (state, stable): &(Arc<Mutex<State>>, watch::Sender<Position>),
    last: Position,
    durability: Durability,
    answer: &Result<(), StoreError>,
) {
    match answer {
        Ok(()) if durability == Durability::Forced => {
            let mut state = lock(state);
            if state.positions.note_stable(last) {
                let reached = state.positions.stable();
                stable.send_replace(reached);
            }
        }
        Ok(()) => {}
        Err(error) => lock(state).gap = Some(format!("events up to position {last} were not written: {error}")),
    }
}

fn unreadable(Family(family): Family, key: &[u8], cause: &Unreadable) -> ResourceError {
    let key = undoubt_work::text::shown(key);
    ResourceError::Stopped { cause: format!("the record {key} of the family {family} cannot be read: {cause}") }
}

#[cfg(test)]
mod tests;
