//! What a start finds in the store. A record that cannot be read stops it; nothing is skipped (R8).

use super::record::{self, CoordinatorEntry, Unreadable};
use super::schema::{self, BRANCH, COORDINATOR, FINISHED, HEURISTIC, PENDING, STEP};
use super::{Branch, KeyValue, Known, Stage};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::sync::Arc;
use undoubt_lock::{Age, Mode};
use undoubt_participant::resource::{
    self, BranchId, CoordinatorMarks, FinishedBranch, HeuristicBranch, Kept, Recovered, RecoveredStep, ResourceError,
    SHORT_RESULT_BYTES, StepId, StepState,
};
use undoubt_platform::{Direction, Family};
use undoubt_proto::record::step_barrier::State;
use undoubt_proto::record::{PreparedBranch, StepBarrier};
use undoubt_vocabulary::{CoordinatorId, Epoch, Ticket, Timestamp, TxId};

/// Records read at a time; of those that may hold a result of a megabyte fewer.
const SCAN_PAGE_RECORDS: usize = 1_024;
const RESULTS_PAGE_RECORDS: usize = 16;

pub(super) fn recover(kv: &KeyValue) -> Result<Recovered, ResourceError> {
    let mut coordinators = BTreeMap::new();
    each(kv, COORDINATOR, |key, value| {
        let (id, known) = match record::read_coordinator(key, value)? {
            CoordinatorEntry::Epoch(id, epoch) => (id, kv.note(id, epoch, Ticket::default())),
            CoordinatorEntry::Fence(id, fence) => (id, kv.note(id, Epoch::default(), fence)),
        };
        coordinators.insert(id, known);
        Ok(())
    })?;
    let mut recovered =
        Recovered { coordinators: coordinators.into_iter().map(marks).collect(), ..Recovered::default() };
    each(kv, BRANCH, |key, value| {
        let (id, record) = record::read_prepared(key, value)?;
        // The result has memory of its own, since it stays longer than the record.
        let result = Bytes::copy_from_slice(&record.result);
        let (branch, begun_at) = (id.clone(), Timestamp(record.begun_at_us));
        recovered.prepared.push(resource::PreparedBranch { branch, begun_at, result: Some(result) });
        resume(kv, id, record);
        Ok(())
    })?;
    each(kv, FINISHED, |key, value| {
        let (branch, outcome, result) = record::read_finished(key, value)?;
        let result = Kept::up_to(SHORT_RESULT_BYTES, result);
        recovered.finished.push(FinishedBranch { branch, outcome, result });
        Ok(())
    })?;
    each(kv, STEP, |key, value| {
        let (step, state, barrier) = record::read_step(key, value)?;
        recovered.steps.push(resume_step(kv, step, state, barrier));
        Ok(())
    })?;
    each(kv, PENDING, |_, value| record::read_mark(value).map(drop))?;
    each(kv, HEURISTIC, |key, value| {
        let (branch, begun_at, heuristic) = record::read_heuristic(key, value)?;
        recovered.heuristics.push(HeuristicBranch { branch, begun_at, heuristic });
        Ok(())
    })?;
    Ok(recovered)
}

fn marks((id, known): (CoordinatorId, Known)) -> CoordinatorMarks {
    CoordinatorMarks { id, epoch: known.epoch, low_water_mark: known.fence }
}

/// When the transaction began whose heuristic outcome is stored; `None` if there is none of this attempt.
pub(super) fn begun_at_of_heuristic(kv: &KeyValue, branch: &BranchId) -> Result<Option<Timestamp>, ResourceError> {
    let key = branch.tx.to_bytes();
    let Some(value) = kv.store.get(HEURISTIC, &key)? else { return Ok(None) };
    let (stored, begun_at, _) =
        record::read_heuristic(key.clone(), value).map_err(|cause| unreadable(HEURISTIC, key, &cause))?;
    Ok((stored == *branch).then_some(begun_at))
}

/// The result that is stored of a one-phase branch.
pub(super) fn result_of(kv: &KeyValue, branch: &BranchId) -> Result<Option<Bytes>, ResourceError> {
    let key = schema::finished_key(branch);
    let Some(value) = kv.store.get(FINISHED, &key)? else { return Ok(None) };
    let (_, _, result) =
        record::read_finished(key.clone(), value).map_err(|cause| unreadable(FINISHED, key, &cause))?;
    Ok(Some(result))
}

/// Returns the result that is stored of an action in effect.
pub(super) fn result_of_step(kv: &KeyValue, step: &StepId) -> Result<Option<Bytes>, ResourceError> {
    Ok(match barrier(kv, step)? {
        Some((State::Acted, barrier)) => Some(barrier.result),
        Some((State::Compensated | State::Empty | State::Unspecified, _)) | None => None,
    })
}

/// Returns what is stored of a step.
pub(super) fn state_of_step(kv: &KeyValue, step: &StepId) -> Result<Option<StepState>, ResourceError> {
    Ok(barrier(kv, step)?.map(|(state, barrier)| state_of(state, barrier.result, !barrier.pending.is_empty())))
}

fn barrier(kv: &KeyValue, step: &StepId) -> Result<Option<(State, StepBarrier)>, ResourceError> {
    let key = schema::step_key(step);
    let Some(value) = kv.store.get(STEP, &key)? else { return Ok(None) };
    let (_, state, barrier) = record::read_step(key.clone(), value).map_err(|cause| unreadable(STEP, key, &cause))?;
    Ok(Some((state, barrier)))
}

/// A prepared branch holds again what it held before: what it read shared, what it writes exclusively.
fn resume(kv: &KeyValue, id: BranchId, record: PreparedBranch) {
    let begun_at = Timestamp(record.begun_at_us);
    let own = |key: &Bytes| Bytes::copy_from_slice(key);
    let read = record.read_keys.iter().map(|key| (own(key), Mode::Shared));
    let written = record.writes.iter().map(|write| (own(&write.key), Mode::Exclusive));
    kv.locks.lock_recovered(&Age { begun_at, tx: id.tx.clone() }, &read.chain(written).collect());
    let stage = Stage::prepared(record.writes);
    kv.branches().insert(id.tx.clone(), Arc::new(Branch { id, begun_at, stage }));
}

fn resume_step(kv: &KeyValue, step: StepId, state: State, barrier: StepBarrier) -> RecoveredStep {
    let StepBarrier { state: _, result, pending, released: _ } = barrier;
    let state = state_of(state, result, !pending.is_empty());
    // They have memory of their own, since they stay longer than the result beside them.
    kv.marks.put(step.clone(), pending.iter().map(|key| Bytes::copy_from_slice(key)).collect());
    RecoveredStep { step, state }
}

fn state_of(state: State, result: Bytes, pending: bool) -> StepState {
    match state {
        State::Acted => StepState::Acted { result: Kept::up_to(SHORT_RESULT_BYTES, result), pending },
        State::Compensated => StepState::Compensated,
        State::Empty => StepState::Empty,
        State::Unspecified => unreachable!("it was refused when it was read"),
    }
}

fn each(
    kv: &KeyValue,
    family: Family,
    mut visit: impl FnMut(Bytes, Bytes) -> Result<(), Unreadable>,
) -> Result<(), ResourceError> {
    let records = if [FINISHED, STEP].contains(&family) { RESULTS_PAGE_RECORDS } else { SCAN_PAGE_RECORDS };
    let mut from = Bytes::new();
    loop {
        let page = kv.store.scan(family, &from, None, Direction::Forward, records)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = successor(last);
        for (key, value) in page {
            visit(key.clone(), value).map_err(|cause| unreadable(family, key, &cause))?;
        }
    }
}

/// The lowest key above this one.
pub(super) fn successor(key: &Bytes) -> Bytes {
    let mut next = BytesMut::from(&key[..]);
    next.extend_from_slice(&[0]);
    next.freeze()
}

pub(super) fn unreadable(family: Family, key: Bytes, cause: &Unreadable) -> ResourceError {
    // A key of any family that is not too long for it reads as a transaction's id: itself, or hexadecimal digits.
    let key = TxId::new(key.clone()).map_or_else(|_| format!("{key:?}"), |key| key.to_string());
    let cause = format!(
        "the record {key} in the family '{}' cannot be read: {cause}. Nothing was skipped. Restore the folder from a \
         backup, or start the version that wrote it",
        family.0
    );
    ResourceError::Stopped { cause }
}
