//! Records as they are put into batches and read back.

use super::schema::{self, BRANCH, COORDINATOR, CoordinatorKey, FINISHED, HEURISTIC, STEP};
use crate::heuristic;
use crate::resource::{BranchId, Heuristic, Pin, StepId};
use bytes::{BufMut, Bytes};
use prost::Message;
use std::ops::Range;
use undoubt_platform::{Batch, Family};
use undoubt_proto::convert::{Malformed, branch_outcome};
use undoubt_proto::record::step_barrier::State;
use undoubt_proto::record::{FinishedBranch, HeuristicBranch, PinnedKey, PreparedBranch, StepBarrier};
use undoubt_proto::v1;
use undoubt_vocabulary::{AttemptNumber, BranchOutcome, CoordinatorId, Epoch, InvalidId, PublicKey, Timestamp, TxId};

/// The reason why a record cannot be understood. It was written whole, so it was damaged since, or written by a newer
/// version.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("its key has the wrong form")]
    Key,
    #[error("its value has {0} bytes, which is not the length of its number")]
    NumberLength(usize),
    #[error("its value is no such record: {0}")]
    Value(#[from] prost::DecodeError),
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// An entry of the family `coordinator`.
pub(super) enum CoordinatorEntry {
    Epoch(CoordinatorId, Epoch),
    LowWaterMark(CoordinatorId, AttemptNumber),
    StillOpen(CoordinatorId, Vec<AttemptNumber>),
    Pin(CoordinatorId, Epoch, Pin),
}

/// Puts the record of a prepared branch, with what the adapter needs beside it, in one message: `own` has other fields.
pub(super) fn put_prepared(batch: &mut Batch, tx: &TxId, record: &PreparedBranch, own: &impl Message) {
    batch.put_with(BRANCH, tx.as_bytes(), |bytes| {
        record.encode_raw(bytes);
        own.encode_raw(bytes);
    });
}

pub(super) fn delete_prepared(batch: &mut Batch, branch: &BranchId) {
    batch.delete(BRANCH, branch.tx.as_bytes());
}

pub(super) fn put_finished(batch: &mut Batch, branch: &BranchId, outcome: BranchOutcome, result: Bytes) {
    let outcome = v1::BranchOutcome::from(outcome).into();
    put(batch, FINISHED, schema::finished_key(branch), &FinishedBranch { outcome, result });
}

pub(super) fn delete_finished(batch: &mut Batch, coordinator: CoordinatorId, attempt_numbers: Range<AttemptNumber>) {
    let key = |attempt_number| schema::attempt_number_key(coordinator, attempt_number);
    batch.delete_range(FINISHED, key(attempt_numbers.start), key(attempt_numbers.end));
}

pub(super) fn put_barrier(batch: &mut Batch, step: &StepId, barrier: &StepBarrier) {
    put(batch, STEP, schema::step_key(step), barrier);
}

pub(super) fn delete_step(batch: &mut Batch, step: &StepId) {
    batch.delete(STEP, schema::step_key(step));
}

pub(super) fn delete_steps(batch: &mut Batch, coordinator: CoordinatorId, attempt_numbers: Range<AttemptNumber>) {
    let key = |attempt_number| schema::attempt_number_key(coordinator, attempt_number);
    batch.delete_range(STEP, key(attempt_numbers.start), key(attempt_numbers.end));
}

pub(super) fn put_heuristic(batch: &mut Batch, branch: &BranchId, begun_at: Timestamp, decided: Heuristic) {
    let record = HeuristicBranch {
        attempt_number: branch.attempt_number.0,
        coordinator_id: Bytes::copy_from_slice(&branch.coordinator.0),
        begun_at_us: begun_at.0,
        heuristic: Some(heuristic::to_wire(decided)),
    };
    put(batch, HEURISTIC, branch.tx.as_bytes(), &record);
}

pub(super) fn delete_heuristic(batch: &mut Batch, branch: &BranchId) {
    batch.delete(HEURISTIC, branch.tx.as_bytes());
}

pub(super) fn put_epoch(batch: &mut Batch, coordinator: CoordinatorId, epoch: Epoch) {
    batch.put(COORDINATOR, schema::epoch_key(coordinator), epoch.0.to_be_bytes());
}

pub(super) fn put_low_water_mark(batch: &mut Batch, coordinator: CoordinatorId, low_water_mark: AttemptNumber) {
    batch.put(COORDINATOR, schema::low_water_mark_key(coordinator), low_water_mark.0.to_be_bytes());
}

/// Puts the attempts that are still open below the low-water mark. Where there are none there is no such key, as with versions that
/// did not know it: those refuse a folder that has it, and so do not take what is still open for over.
pub(super) fn put_still_open(batch: &mut Batch, coordinator: CoordinatorId, still_open: &[AttemptNumber]) {
    let key = schema::still_open_key(coordinator);
    if still_open.is_empty() {
        return batch.delete(COORDINATOR, key);
    }
    batch.put_with(COORDINATOR, key, |bytes| still_open.iter().for_each(|attempt| bytes.put_u64(attempt.0)));
}

pub(super) fn put_pin(batch: &mut Batch, coordinator: CoordinatorId, (epoch, pin): (Epoch, Pin)) {
    let Pin { key, vouched } = pin;
    put(
        batch,
        COORDINATOR,
        schema::pin_key(coordinator),
        &PinnedKey { public_key: key.0.to_vec().into(), vouched, epoch: epoch.0 },
    );
}

pub(super) fn read_prepared(key: Bytes, value: Bytes) -> Result<(BranchId, PreparedBranch), Unreadable> {
    let record = PreparedBranch::decode(value)?;
    Ok((branch_id(key, record.attempt_number, &record.coordinator_id)?, record))
}

pub(super) fn read_finished(key: Bytes, value: Bytes) -> Result<(BranchId, BranchOutcome, Bytes), Unreadable> {
    let branch = schema::read_finished_key(&key).ok_or(Unreadable::Key)??;
    let record = FinishedBranch::decode(value)?;
    Ok((branch, branch_outcome("outcome", record.outcome)?, record.result))
}

pub(super) fn read_step(key: Bytes, value: Bytes) -> Result<(StepId, State, StepBarrier), Unreadable> {
    let step = schema::read_step_key(&key).ok_or(Unreadable::Key)??;
    let barrier = StepBarrier::decode(value)?;
    let unknown = Malformed::UnknownValue { field: "state", value: barrier.state };
    match State::try_from(barrier.state) {
        Ok(State::Unspecified) | Err(_) => Err(unknown.into()),
        Ok(state @ (State::Acted | State::Compensated | State::Completed | State::Empty | State::Attempted)) => {
            Ok((step, state, barrier))
        }
    }
}

pub(super) fn read_heuristic(key: Bytes, value: Bytes) -> Result<(BranchId, Timestamp, Heuristic), Unreadable> {
    let record = HeuristicBranch::decode(value)?;
    let decided = record.heuristic.ok_or(Malformed::Missing { field: "heuristic" })?;
    let branch = branch_id(key, record.attempt_number, &record.coordinator_id)?;
    Ok((branch, Timestamp(record.begun_at_us), heuristic::from_wire(decided)?))
}

pub(super) fn read_coordinator(key: Bytes, value: Bytes) -> Result<CoordinatorEntry, Unreadable> {
    let wrong_length = || Unreadable::NumberLength(value.len());
    Ok(match schema::read_coordinator_key(&key).ok_or(Unreadable::Key)? {
        CoordinatorKey::Epoch(id) => {
            let number = value[..].try_into().map_err(|_| wrong_length())?;
            CoordinatorEntry::Epoch(id, Epoch(u32::from_be_bytes(number)))
        }
        CoordinatorKey::LowWaterMark(id) => {
            let number = value[..].try_into().map_err(|_| wrong_length())?;
            CoordinatorEntry::LowWaterMark(id, AttemptNumber(u64::from_be_bytes(number)))
        }
        CoordinatorKey::StillOpen(id) => {
            let (numbers, rest) = value.as_chunks();
            if !rest.is_empty() {
                return Err(wrong_length());
            }
            let attempts = numbers.iter().map(|number| AttemptNumber(u64::from_be_bytes(*number)));
            CoordinatorEntry::StillOpen(id, attempts.collect())
        }
        CoordinatorKey::Pin(id) => {
            let PinnedKey { public_key, vouched, epoch } = PinnedKey::decode(value)?;
            let key = public_key[..].try_into().map_err(|_| Unreadable::NumberLength(public_key.len()))?;
            CoordinatorEntry::Pin(id, Epoch(epoch), Pin { key: PublicKey(key), vouched })
        }
    })
}

fn put(batch: &mut Batch, family: Family, key: impl AsRef<[u8]>, record: &impl Message) {
    batch.put_with(family, key, |bytes| record.encode_raw(bytes));
}

fn branch_id(tx: Bytes, attempt_number: u64, coordinator: &[u8]) -> Result<BranchId, InvalidId> {
    Ok(BranchId {
        tx: TxId::new(tx)?,
        attempt_number: AttemptNumber(attempt_number),
        coordinator: CoordinatorId::try_from(coordinator)?,
    })
}
