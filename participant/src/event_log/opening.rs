//! What a start finds of a log in its store.

use super::{Incarnations, OpenError, State, Topics, record, unreadable};
use crate::event_log::{EVENT, EVENT_LOG, MAX_READ_EVENTS};
use crate::resource::ResourceError;
use bytes::Bytes;
use prost::Message as _;
use std::collections::BTreeMap;
use undoubt_platform::{Direction, Store};
use undoubt_proto::record::{LogMark, LogTail, LogTails, StoredEvent, StoredReader, StoredTopic};
use undoubt_stream::log::{Lane, Positions};
use undoubt_stream::retention::{Mark, Reader, Retention};
use undoubt_vocabulary::{Incarnation, Partition, Position, ReaderName, Timestamp, Topic};

/// Refuses topics with another number of partitions than their events are in.
pub(super) fn check(store: &dyn Store, topics: &Topics) -> Result<(), OpenError> {
    for topic in topics.as_slice() {
        let key = record::topic_key(&topic.name);
        if let Some(stored) = store.get(EVENT_LOG, &key).map_err(ResourceError::from)? {
            let stored =
                StoredTopic::decode(stored).map_err(|cause| unreadable(EVENT_LOG, &key, &cause.into()))?.partitions;
            topics.check_partitions([(topic.name.as_str(), stored)])?;
        }
    }
    Ok(())
}

/// Returns the state of a log as a start finds it.
pub(super) fn found(store: &dyn Store, topics: &[Topic]) -> Result<State, ResourceError> {
    let (positions, bytes) = positions(store, topics)?;
    let tails_at = positions.last();
    let (incarnations, retention) = (incarnations(store)?, retention(store)?);
    Ok(State { positions, incarnations, is_begun: false, tails_at, bytes, retention, gap: None })
}

/// Finds where the log ends, the last position in each partition, and the bytes of all events.
fn positions(store: &dyn Store, topics: &[Topic]) -> Result<(Positions, u64), ResourceError> {
    let lane = |topic: &str, partition: u32| {
        let topic = topics.iter().position(|declared| declared.name.as_str() == topic)?;
        Some(Lane { topic: u16::try_from(topic).ok()?, partition: Partition(u16::try_from(partition).ok()?) })
    };
    let mut tails = BTreeMap::new();
    let (mut last, mut bytes) = (Position::START, 0);
    if let Some(stored) = store.get(EVENT_LOG, record::TAILS)? {
        let stored = LogTails::decode(stored).map_err(|cause| unreadable(EVENT_LOG, record::TAILS, &cause.into()))?;
        (last, bytes) = (Position(stored.position), stored.bytes);
        let known = |tail: LogTail| Some((lane(&tail.topic, tail.partition)?, Position(tail.position)));
        tails.extend(stored.tails.into_iter().filter_map(known));
    }
    loop {
        let page = store.scan(EVENT, &last.next().0.to_be_bytes(), None, Direction::Forward, MAX_READ_EVENTS)?;
        let is_last = page.len() < MAX_READ_EVENTS;
        for (key, value) in page {
            last = Position(record::number(&key).map_err(|cause| unreadable(EVENT, &key, &cause))?);
            let event = StoredEvent::decode(value).map_err(|cause| unreadable(EVENT, &key, &cause.into()))?;
            tails.extend(lane(&event.topic, event.partition).map(|lane| (lane, last)));
            bytes += super::stored_bytes(&event);
        }
        if is_last {
            return Ok((Positions::found(last, tails), bytes));
        }
    }
}

fn incarnations(store: &dyn Store) -> Result<Incarnations, ResourceError> {
    let (from, to) = (record::INCARNATION, record::AFTER_INCARNATIONS);
    let stored = store.scan(EVENT_LOG, from, Some(to), Direction::Forward, usize::MAX)?;
    let read = |(key, value): (Bytes, Bytes)| {
        let first = record::number(&key[from.len()..]).map_err(|cause| unreadable(EVENT_LOG, &key, &cause))?;
        let incarnation =
            Incarnation::try_from(&value[..]).map_err(|cause| unreadable(EVENT_LOG, &key, &cause.into()))?;
        Ok((Position(first), incarnation))
    };
    stored.into_iter().map(read).collect()
}

fn retention(store: &dyn Store) -> Result<Retention, ResourceError> {
    let mark = |value: Bytes| LogMark::decode(value).map(read_mark);
    let trimmed = match store.get(EVENT_LOG, record::TRIMMED)? {
        None => Mark::default(),
        Some(value) => mark(value).map_err(|cause| unreadable(EVENT_LOG, record::TRIMMED, &cause.into()))?,
    };
    let all = |from: &[u8], to: &[u8]| store.scan(EVENT_LOG, from, Some(to), Direction::Forward, usize::MAX);
    let marks = all(record::MARK, record::AFTER_MARKS)?
        .into_iter()
        .map(|(key, value)| mark(value).map_err(|cause| unreadable(EVENT_LOG, &key, &cause.into())));
    let marks = marks.collect::<Result<Vec<_>, _>>()?;
    let readers = all(record::READER, record::AFTER_READERS)?
        .into_iter()
        .map(|(key, value)| read_reader(&key, value).map_err(|cause| unreadable(EVENT_LOG, &key, &cause)));
    Ok(Retention::found(readers.collect::<Result<Vec<_>, _>>()?, marks, trimmed))
}

fn read_mark(LogMark { position, published_at_us, bytes }: LogMark) -> Mark {
    Mark { position: Position(position), published_at: Timestamp(published_at_us), bytes }
}

fn read_reader(key: &[u8], value: Bytes) -> Result<(ReaderName, Reader), record::Unreadable> {
    let name = std::str::from_utf8(&key[record::READER.len()..]).map_err(|_| record::Unreadable::Length)?.parse()?;
    let StoredReader { position, heard_at_us, dropped_at_us } = StoredReader::decode(value)?;
    let (heard_at, dropped_at) = (Timestamp(heard_at_us), dropped_at_us.map(Timestamp));
    Ok((name, Reader { after: Position(position), heard_at, dropped_at }))
}
