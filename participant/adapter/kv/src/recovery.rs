//! The state that a start takes up again: locks of what is prepared, and marks of steps.

use super::schema::PENDING;
use super::{Branch, Effects, KeyValue, Stage, publish, record};
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;
use undoubt_lock::{Age, Mode};
use undoubt_participant::resource::{PreparedBranch, Recovered, ResourceError, StepId};
use undoubt_participant::table::{Unreadable, successor, unreadable};
use undoubt_platform::{Direction, Family};
use undoubt_proto::record::{KeyValueBranch, StepBarrier};

/// Marks read at a time.
const SCAN_PAGE_RECORDS: usize = 1_024;

pub(super) fn recover(kv: &KeyValue) -> Result<Recovered, ResourceError> {
    let recovered = kv.table.recover(
        |prepared, record| resume(kv, prepared, KeyValueBranch::decode(record)?),
        |step, barrier| resume_step(kv, step, barrier),
    )?;
    each(kv, PENDING, |value| record::read_mark(value).map(drop))?;
    Ok(recovered)
}

/// Lets a prepared branch hold again what it held before: what it read shared, what it writes exclusively.
fn resume(kv: &KeyValue, prepared: &PreparedBranch, record: KeyValueBranch) -> Result<(), Unreadable> {
    let own = |key: &Bytes| Bytes::copy_from_slice(key);
    let read = record.read_keys.iter().map(|key| (own(key), Mode::Shared));
    let written = record.writes.iter().map(|write| (own(&write.key), Mode::Exclusive));
    let appended = record.events.iter().filter(|event| event.version.is_some());
    let appended = appended.map(|event| (publish::entity_lock(&event.topic, &event.key), Mode::Exclusive));
    let (id, begun_at) = (prepared.branch.clone(), prepared.begun_at);
    kv.locks.lock_recovered(&Age { begun_at, tx: id.tx.clone() }, &read.chain(written).chain(appended).collect());
    let stage = Stage::prepared(Effects { writes: record.writes, events: record.events });
    kv.branches().insert(id.tx.clone(), Arc::new(Branch { id, begun_at, stage }));
    Ok(())
}

fn resume_step(kv: &KeyValue, step: &StepId, barrier: &StepBarrier) {
    // They have memory of their own, since they stay longer than the result beside them.
    kv.marks.put(step.clone(), barrier.pending.iter().map(|key| Bytes::copy_from_slice(key)).collect());
}

fn each(kv: &KeyValue, family: Family, visit: impl Fn(Bytes) -> Result<(), Unreadable>) -> Result<(), ResourceError> {
    let mut from = Bytes::new();
    loop {
        let page = kv.store.scan(family, &from, None, Direction::Forward, SCAN_PAGE_RECORDS)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = successor(last);
        for (key, value) in page {
            visit(value).map_err(|cause| unreadable(family, key, &cause))?;
        }
    }
}
