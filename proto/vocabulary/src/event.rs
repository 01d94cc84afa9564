//! Events: what work publishes, and what is said of it in the log of the participant that did the work.

use crate::id::{InvalidId, ParticipantName, TxId, check_name, name};
use crate::time::Timestamp;
use bytes::Bytes;
use smol_str::SmolStr;
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_64;

/// The key of an event; at least one byte.
pub const MAX_EVENT_KEY_BYTES: usize = 1_024;

/// The data of an event.
pub const MAX_EVENT_DATA_BYTES: usize = 65_536;

/// The name of an event's schema, and of the form of its data.
pub const MAX_EVENT_LABEL_BYTES: usize = 256;

/// The events of one branch, step or reaction.
pub const MAX_EVENTS: usize = 256;

/// The partitions of a topic.
pub const MAX_PARTITIONS: u16 = 1_024;

name! {
    /// A topic's name: 1 to 64 characters of `a-z A-Z 0-9 . _ -`.
    TopicName, "a topic's name"
}

name! {
    /// The type of an event, for example `order.placed`: 1 to 64 characters of `a-z A-Z 0-9 . _ -`.
    EventType, "the type of an event"
}

name! {
    /// A subscription's name, unique at its participant: 1 to 64 characters of `a-z A-Z 0-9 . _ -`.
    SubscriptionName, "a subscription's name"
}

name! {
    /// A reaction's name, unique at its participant: 1 to 64 characters of `a-z A-Z 0-9 . _ -`.
    ReactionName, "a reaction's name"
}

/// The name under which a reader is registered at a log: a name, or two with a slash between them, of a participant and its subscription.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReaderName(SmolStr);

impl ReaderName {
    /// Returns the name of a participant's subscription.
    pub fn of(participant: &ParticipantName, subscription: &SubscriptionName) -> ReaderName {
        ReaderName(format!("{participant}/{subscription}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReaderName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            None => check_name("a reader's name", text)?,
            Some((participant, subscription)) => {
                check_name("the participant in a reader's name", participant)?;
                check_name("the subscription in a reader's name", subscription)?;
            }
        }
        Ok(ReaderName(text.into()))
    }
}

impl fmt::Display for ReaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in the log of a participant. Places are counted from 1 in the order in which work took effect, without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

impl Position {
    /// The place before the first event.
    pub const START: Position = Position(0);

    /// Returns the place after this one.
    #[must_use]
    pub fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A part of a topic, counted from 0. Events with one key are in one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub u16);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A topic, as the participant that publishes to it declares it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    pub name: TopicName,
    /// The number of its partitions: 1 to [`MAX_PARTITIONS`].
    pub partitions: u16,
    /// Each key is an entity with versions: events are appended to it, and counted.
    pub sourced: bool,
}

impl Topic {
    /// Returns the partition of a key: the XXH3 hash of its bytes with 64 bits, modulo the number of partitions.
    pub fn partition_of(&self, key: &[u8]) -> Partition {
        let partition = xxh3_64(key) % u64::from(self.partitions.max(1));
        Partition(u16::try_from(partition).expect("it is less than the number of partitions"))
    }
}

/// A life of a participant's log, from one start to the next: drawn at random, and stored with the first position of that life. A log
/// that goes on from an older copy has another one at positions that it had used before, so readers notice it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub [u8; 16]);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<&[u8]> for Incarnation {
    type Error = InvalidEvent;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidEvent> {
        bytes.try_into().map(Incarnation).map_err(|_| InvalidEvent::IncarnationLength { length: bytes.len() })
    }
}

/// The id of an event, unique for good: the incarnation that published it, and its position. As text they are joined by `-`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    pub incarnation: Incarnation,
    pub position: Position,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.incarnation, self.position)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The id that all events of one choreographed saga, or of one transaction, have in common: 1 to 64 bytes, as text like that of a
/// [transaction](TxId). Events of a transaction have its id, unless the work says otherwise.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorrelationId(pub TxId);

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for CorrelationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(CorrelationId)
    }
}

/// An event as work gives it, before it has a position.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NewEvent {
    pub topic: TopicName,
    pub key: Bytes,
    pub kind: EventType,
    /// The schema of its data, empty if none is named.
    pub schema: SmolStr,
    /// The media type of its data.
    pub content_type: SmolStr,
    pub data: Bytes,
    /// The version that the entity with this key has before: the work is refused if it has another. Of topics that are sourced alone.
    pub expect: Option<u64>,
    /// `None`: the transaction's id.
    pub correlation: Option<CorrelationId>,
    /// The event that led to this one.
    pub causation: Option<EventId>,
}

/// The media type of data in JSON.
pub const JSON: &str = "application/json";

/// The media type of data of which nothing is said.
pub const OCTETS: &str = "application/octet-stream";

impl NewEvent {
    /// Holds it to the limits.
    pub fn check(&self) -> Result<(), InvalidEvent> {
        let kind = || self.kind.clone();
        match self.key.len() {
            0 => return Err(InvalidEvent::EmptyKey { kind: kind() }),
            1..=MAX_EVENT_KEY_BYTES => {}
            length => return Err(InvalidEvent::KeyTooLong { kind: kind(), length }),
        }
        if self.data.len() > MAX_EVENT_DATA_BYTES {
            return Err(InvalidEvent::DataTooLong { kind: kind(), length: self.data.len() });
        }
        for (what, label) in [("schema", &self.schema), ("content type", &self.content_type)] {
            if label.len() > MAX_EVENT_LABEL_BYTES || !label.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
            {
                return Err(InvalidEvent::BadLabel { kind: kind(), what });
            }
        }
        Ok(())
    }

    /// Returns the bytes that it has, about, wherever it is kept.
    pub fn bytes(&self) -> usize {
        /// Names, positions and ids.
        const BESIDE_BYTES: usize = 256;
        BESIDE_BYTES + self.key.len() + self.data.len() + self.schema.len() + self.content_type.len()
    }
}

/// The reason why something is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    #[error(
        "the event {kind} has an empty key; give 1 to {MAX_EVENT_KEY_BYTES} bytes: events with one key keep their order"
    )]
    EmptyKey { kind: EventType },
    #[error("the key of the event {kind} has {length} bytes, more than the {MAX_EVENT_KEY_BYTES} allowed; shorten it")]
    KeyTooLong { kind: EventType, length: usize },
    #[error(
        "the data of the event {kind} have {length} bytes, more than the {MAX_EVENT_DATA_BYTES} allowed; publish where they are instead"
    )]
    DataTooLong { kind: EventType, length: usize },
    #[error(
        "the {what} of the event {kind} is not at most {MAX_EVENT_LABEL_BYTES} printable characters of ASCII; correct it"
    )]
    BadLabel { kind: EventType, what: &'static str },
    #[error("an incarnation has 16 bytes, not {length}")]
    IncarnationLength { length: usize },
}

/// An event in the log of a participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    pub position: Position,
    /// The incarnation that published it.
    pub incarnation: Incarnation,
    pub topic: TopicName,
    pub partition: Partition,
    /// The position of the event before it in its partition: [`Position::START`] if there is none.
    pub previous: Position,
    pub key: Bytes,
    pub kind: EventType,
    pub schema: SmolStr,
    pub content_type: SmolStr,
    pub data: Bytes,
    /// The time at which it was published, by the participant's clock.
    pub published_at: Timestamp,
    /// The version of its entity from then on; of topics that are sourced.
    pub version: Option<u64>,
    pub correlation: CorrelationId,
    pub causation: Option<EventId>,
}

impl Event {
    pub fn id(&self) -> EventId {
        EventId { incarnation: self.incarnation, position: self.position }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spread_over_partitions() {
        let topic = Topic { name: "orders".parse().unwrap(), partitions: 8, sourced: false };
        let mut hit = [0; 8];
        (0..800).for_each(|number: u32| hit[usize::from(topic.partition_of(&number.to_be_bytes()).0)] += 1);
        assert!(hit.iter().all(|count| (50..150).contains(count)), "{hit:?}");
    }
}
