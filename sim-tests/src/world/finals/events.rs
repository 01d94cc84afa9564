//! The logs of events on participants' disks.

use crate::disk::Contents;
use crate::run::Published;
use bytes::Bytes;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_participant::event_log::{EVENT, EVENT_LOG};
use undoubt_platform::Family;
use undoubt_proto::record::StoredEvent;
use undoubt_vocabulary::{Event, Incarnation, TxId};

/// Stands before the first position of an incarnation.
const INCARNATION: &[u8] = b"incarnation/";

/// Returns the log that a disk has, in the order of positions. What cannot be read there is left out, and so missing.
pub(in crate::world) fn read_log(contents: &Contents) -> Vec<Published> {
    let incarnations = incarnations(contents);
    let incarnation_at = |position: u64| incarnations.range(..=position).next_back().map_or([0; 16], |(_, own)| *own);
    let read = |(key, value): (&Bytes, &Bytes)| {
        let position = number(key)?;
        let stored = StoredEvent::decode(value.clone()).ok()?;
        Some(Published {
            position,
            incarnation: incarnation_at(position),
            topic: stored.topic,
            partition: stored.partition,
            previous: stored.previous,
            key: text(&stored.key),
            version: stored.version,
            correlation: TxId::new(&stored.correlation).map(|id| id.to_string()).unwrap_or_default(),
            published_at_us: stored.published_at_us,
            caused_by: Some(&stored.caused_by_incarnation[..])
                .and_then(|own| Some((own.try_into().ok()?, stored.caused_by_position))),
            kind: stored.r#type,
            data: text(&stored.data),
        })
    };
    contents.pairs(EVENT).filter_map(read).collect()
}

/// Returns the incarnation of the last events.
pub(in crate::world) fn newest_incarnation(contents: &Contents) -> Option<Incarnation> {
    incarnations(contents).into_iter().next_back().map(|(_, own)| Incarnation(own))
}

fn incarnations(contents: &Contents) -> BTreeMap<u64, [u8; 16]> {
    let own = |(key, value): (&Bytes, &Bytes)| {
        let first = number(key.strip_prefix(INCARNATION)?)?;
        Some((first, value[..].try_into().ok()?))
    };
    contents.pairs(EVENT_LOG).filter_map(own).collect()
}

/// Returns an event as it was told.
pub(in crate::world) fn told(event: Event) -> Published {
    Published {
        position: event.position.0,
        incarnation: event.incarnation.0,
        topic: event.topic.as_str().to_owned(),
        partition: event.partition.0.into(),
        previous: event.previous.0,
        key: text(&event.key),
        version: event.version,
        correlation: event.correlation.to_string(),
        published_at_us: event.published_at.0,
        kind: event.kind.to_string(),
        caused_by: event.causation.map(|cause| (cause.incarnation.0, cause.position.0)),
        data: text(&event.data),
    }
}

/// Returns the positions of events among these keys of a participant's disk.
pub(in crate::world) fn positions(
    participant: u8,
    keys: &BTreeSet<(Family, Bytes)>,
) -> impl Iterator<Item = (u8, u64)> + '_ {
    keys.iter().filter(|(family, _)| *family == EVENT).filter_map(move |(_, key)| Some((participant, number(key)?)))
}

fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
