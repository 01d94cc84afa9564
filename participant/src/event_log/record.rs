//! The records of the log, and their keys.
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `event` | position, 8 bytes big-endian | `StoredEvent` |
//! | `entity` | topic, 0, length of the key (2 bytes), key, version (8 bytes) | position, 8 bytes |
//! | `event-log` | `tails` | `LogTails` |
//! | `event-log` | `incarnation/`, the first position that it published (8 bytes) | 16 bytes |
//! | `event-log` | `topic/`, its name | `StoredTopic` |
//! | `event-log` | `mark/`, its position (8 bytes) | `LogMark` |
//! | `event-log` | `trimmed` | `LogMark`: the one up to which events were dropped |
//! | `event-log` | `reader/`, its name | `StoredReader` |

use bytes::Bytes;
use smol_str::SmolStr;
use undoubt_platform::Family;
use undoubt_proto::record::{LogMark, StoredEvent, StoredReader};
use undoubt_stream::retention::{Mark, Reader};
use undoubt_vocabulary::{
    CorrelationId, Event, EventId, Incarnation, InvalidEvent, InvalidId, NewEvent, Partition, Position, ReaderName,
    Timestamp, Topic, TopicName, TxId,
};

/// The events, by their positions.
pub const EVENT: Family = Family("event");

/// The positions of the events of each entity, by their versions.
pub const ENTITY: Family = Family("entity");

/// The state of the log itself.
pub const EVENT_LOG: Family = Family("event-log");

pub(super) const TAILS: &[u8] = b"tails";
pub(super) const INCARNATION: &[u8] = b"incarnation/";
pub(super) const AFTER_INCARNATIONS: &[u8] = b"incarnation0";
pub(super) const TRIMMED: &[u8] = b"trimmed";
pub(super) const MARK: &[u8] = b"mark/";
pub(super) const AFTER_MARKS: &[u8] = b"mark0";
pub(super) const READER: &[u8] = b"reader/";
pub(super) const AFTER_READERS: &[u8] = b"reader0";
const TOPIC: &[u8] = b"topic/";

/// The reason why a record is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is no record: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error(transparent)]
    Event(#[from] InvalidEvent),
    #[error("its key or value has another length than it should")]
    Length,
    #[error("it has a partition that there is not")]
    Partition,
}

pub(super) fn topic_key(topic: &TopicName) -> Vec<u8> {
    [TOPIC, topic.as_str().as_bytes()].concat()
}

pub(super) fn incarnation_key(first: Position) -> Vec<u8> {
    [INCARNATION, &first.0.to_be_bytes()].concat()
}

pub(super) fn mark_key(position: Position) -> Vec<u8> {
    [MARK, &position.0.to_be_bytes()].concat()
}

pub(super) fn mark(Mark { position, published_at, bytes }: Mark) -> LogMark {
    LogMark { position: position.0, published_at_us: published_at.0, bytes }
}

pub(super) fn reader_key(name: &ReaderName) -> Vec<u8> {
    [READER, name.as_str().as_bytes()].concat()
}

pub(super) fn reader(Reader { after, heard_at, dropped_at }: Reader) -> StoredReader {
    StoredReader { position: after.0, heard_at_us: heard_at.0, dropped_at_us: dropped_at.map(|at| at.0) }
}

/// Returns the beginning of the keys of an entity's versions.
pub(super) fn entity_prefix(topic: &str, key: &[u8]) -> Vec<u8> {
    let length = u16::try_from(key.len()).expect("the key of an event is at most 1,024 bytes");
    [topic.as_bytes(), &[0], &length.to_be_bytes(), key].concat()
}

pub(super) fn entity_key(topic: &str, key: &[u8], version: u64) -> Vec<u8> {
    let mut whole = entity_prefix(topic, key);
    whole.extend_from_slice(&version.to_be_bytes());
    whole
}

/// Reads a number of eight bytes, which positions and versions are.
pub(super) fn number(bytes: &[u8]) -> Result<u64, Unreadable> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| Unreadable::Length)
}

/// Returns an event as it is stored, before it has a place. `tx`: the transaction that publishes it.
pub fn unplaced(event: NewEvent, topic: &Topic, version: Option<u64>, tx: &TxId) -> StoredEvent {
    let NewEvent { topic: name, key, kind, schema, content_type, data, expect: _, correlation, causation } = event;
    let (incarnation, position) = causation.map_or((Bytes::new(), 0), |EventId { incarnation, position }| {
        (Bytes::copy_from_slice(&incarnation.0), position.0)
    });
    StoredEvent {
        topic: name.as_str().to_owned(),
        partition: topic.partition_of(&key).0.into(),
        previous: 0,
        key,
        r#type: kind.as_str().to_owned(),
        schema: schema.into(),
        content_type: content_type.into(),
        data,
        published_at_us: 0,
        version,
        correlation: correlation.map_or_else(|| tx.to_bytes(), |CorrelationId(id)| id.to_bytes()),
        caused_by_incarnation: incarnation,
        caused_by_position: position,
    }
}

/// Reads an event at this position.
pub fn read(position: Position, incarnation: Incarnation, stored: StoredEvent) -> Result<Event, Unreadable> {
    let caused_by = |incarnation: &[u8]| {
        let position = Position(stored.caused_by_position);
        Ok::<_, InvalidEvent>(EventId { incarnation: incarnation.try_into()?, position })
    };
    let causation = match &stored.caused_by_incarnation {
        none if none.is_empty() => None,
        some => Some(caused_by(some)?),
    };
    Ok(Event {
        position,
        incarnation,
        topic: stored.topic.parse()?,
        partition: Partition(u16::try_from(stored.partition).map_err(|_| Unreadable::Partition)?),
        previous: Position(stored.previous),
        key: stored.key,
        kind: stored.r#type.parse()?,
        schema: SmolStr::from(stored.schema),
        content_type: SmolStr::from(stored.content_type),
        data: stored.data,
        published_at: Timestamp(stored.published_at_us),
        version: stored.version,
        correlation: CorrelationId(TxId::new(&stored.correlation)?),
        causation,
    })
}
