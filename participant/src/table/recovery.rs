//! The state that a start finds in the table. A record that cannot be read stops it; nothing is skipped (R8).

use super::record::{self, CoordinatorEntry, Unreadable};
use super::schema::{self, BRANCH, COORDINATOR, FINISHED, HEURISTIC, STEP};
use super::{Barrier, Known, TransactionTable};
use crate::resource::{
    BranchId, CoordinatorMarks, FinishedBranch, HeuristicBranch, Kept, Pin, PreparedBranch, Recovered, RecoveredStep,
    ResourceError, SHORT_RESULT_BYTES, StepId, StepState,
};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use undoubt_platform::{Direction, Family};
use undoubt_proto::record::StepBarrier;
use undoubt_vocabulary::{AttemptNumber, BranchOutcome, CoordinatorId, Epoch, LowWaterMark, Timestamp, TxId};

/// Records read at a time; of those that may hold a result of a megabyte fewer.
const SCAN_PAGE_RECORDS: usize = 1_024;
const RESULTS_PAGE_RECORDS: usize = 16;

pub(super) fn recover(
    table: &TransactionTable,
    mut each_prepared: impl FnMut(&PreparedBranch, Bytes) -> Result<(), Unreadable>,
    mut each_step: impl FnMut(&StepId, &StepBarrier),
) -> Result<Recovered, ResourceError> {
    let mut stored: BTreeMap<CoordinatorId, Stored> = BTreeMap::new();
    each(table, COORDINATOR, |key, value| {
        match record::read_coordinator(key, value)? {
            CoordinatorEntry::Epoch(id, epoch) => stored.entry(id).or_default().epoch = epoch,
            CoordinatorEntry::LowWaterMark(id, below) => stored.entry(id).or_default().below = below,
            CoordinatorEntry::StillOpen(id, still_open) => stored.entry(id).or_default().still_open = still_open,
            CoordinatorEntry::Pin(id, epoch, pin) => stored.entry(id).or_default().pin = Some((epoch, pin)),
        }
        Ok(())
    })?;
    let known = stored.into_iter().map(|(id, Stored { epoch, below, still_open, pin })| {
        (id, table.note(id, epoch, &LowWaterMark::new(below, still_open), pin))
    });
    let coordinators = known.map(marks).collect();
    let mut recovered = Recovered { coordinators, ..Recovered::default() };
    each(table, BRANCH, |key, value| {
        let (branch, record) = record::read_prepared(key, value.clone())?;
        // The result has memory of its own, since it stays longer than the record.
        let result = Some(Bytes::copy_from_slice(&record.result));
        let prepared = PreparedBranch { branch, begun_at: Timestamp(record.begun_at_us), result };
        each_prepared(&prepared, value)?;
        recovered.prepared.push(prepared);
        Ok(())
    })?;
    each(table, FINISHED, |key, value| {
        let (branch, outcome, result) = record::read_finished(key, value)?;
        let result = Kept::up_to(SHORT_RESULT_BYTES, result);
        recovered.finished.push(FinishedBranch { branch, outcome, result });
        Ok(())
    })?;
    each(table, STEP, |key, value| {
        let (step, state, barrier) = record::read_step(key, value)?;
        each_step(&step, &barrier);
        let state = state_of(state, barrier.result, !barrier.pending.is_empty());
        recovered.steps.push(RecoveredStep { step, state });
        Ok(())
    })?;
    each(table, HEURISTIC, |key, value| {
        let (branch, begun_at, heuristic) = record::read_heuristic(key, value)?;
        recovered.heuristics.push(HeuristicBranch { branch, begun_at, heuristic });
        Ok(())
    })?;
    Ok(recovered)
}

/// The records of one coordinator.
#[derive(Default)]
struct Stored {
    epoch: Epoch,
    below: AttemptNumber,
    still_open: Vec<AttemptNumber>,
    pin: Option<(Epoch, Pin)>,
}

fn marks((id, known): (CoordinatorId, Known)) -> CoordinatorMarks {
    CoordinatorMarks {
        id,
        epoch: known.epoch,
        low_water_mark: known.low_water_mark,
        pin: known.pin.map(|(_, pin)| pin),
    }
}

/// Returns true if a heuristic outcome is stored of this attempt.
pub(super) fn has_heuristic(table: &TransactionTable, branch: &BranchId) -> Result<bool, ResourceError> {
    let key = branch.tx.to_bytes();
    let Some(value) = table.store.get(HEURISTIC, &key)? else { return Ok(false) };
    let (stored, _, _) =
        record::read_heuristic(key.clone(), value).map_err(|cause| unreadable(HEURISTIC, key, &cause))?;
    Ok(stored == *branch)
}

pub(super) fn finished(
    table: &TransactionTable,
    branch: &BranchId,
) -> Result<Option<(BranchOutcome, Bytes)>, ResourceError> {
    let key = schema::finished_key(branch);
    let Some(value) = table.store.get(FINISHED, &key)? else { return Ok(None) };
    let (_, outcome, result) =
        record::read_finished(key.clone(), value).map_err(|cause| unreadable(FINISHED, key, &cause))?;
    Ok(Some((outcome, result)))
}

pub(super) fn barrier(
    table: &TransactionTable,
    step: &StepId,
) -> Result<Option<(Barrier, StepBarrier)>, ResourceError> {
    let key = schema::step_key(step);
    let Some(value) = table.store.get(STEP, &key)? else { return Ok(None) };
    let (_, state, barrier) = record::read_step(key.clone(), value).map_err(|cause| unreadable(STEP, key, &cause))?;
    Ok(Some((state, barrier)))
}

/// Returns the state of a step whose barrier says this.
pub fn state_of(barrier: Barrier, result: Bytes, pending: bool) -> StepState {
    match barrier {
        Barrier::Acted => StepState::Acted { result: Kept::up_to(SHORT_RESULT_BYTES, result), pending },
        Barrier::Compensated => StepState::Compensated,
        Barrier::Completed => StepState::Completed,
        Barrier::Empty => StepState::Empty,
        Barrier::Attempted => StepState::Attempted,
        Barrier::Unspecified => unreachable!("it was refused when it was read"),
    }
}

fn each(
    table: &TransactionTable,
    family: Family,
    mut visit: impl FnMut(Bytes, Bytes) -> Result<(), Unreadable>,
) -> Result<(), ResourceError> {
    let records = if [FINISHED, STEP].contains(&family) { RESULTS_PAGE_RECORDS } else { SCAN_PAGE_RECORDS };
    let mut from = Bytes::new();
    loop {
        let page = table.store.scan(family, &from, None, Direction::Forward, records)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = successor(last);
        for (key, value) in page {
            visit(key.clone(), value).map_err(|cause| unreadable(family, key, &cause))?;
        }
    }
}

/// Returns the lowest key above this one.
pub fn successor(key: &Bytes) -> Bytes {
    let mut next = BytesMut::from(&key[..]);
    next.extend_from_slice(&[0]);
    next.freeze()
}

/// Returns the error of a record that cannot be read.
pub fn unreadable(family: Family, key: Bytes, cause: &Unreadable) -> ResourceError {
    // A key of any family that is not too long for it reads as a transaction's id: itself, or hexadecimal digits.
    let key = TxId::new(key.clone()).map_or_else(|_| format!("{key:?}"), |key| key.to_string());
    let cause = format!(
        "the record {key} in the family '{}' cannot be read: {cause}. Nothing was skipped. Restore the folder from a \
         backup, or start the version that wrote it",
        family.0
    );
    ResourceError::Stopped { cause }
}
