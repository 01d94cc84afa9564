//! Keys of the table's families.

use crate::resource::{BranchId, StepId};
use bytes::Bytes;
use undoubt_platform::Family;
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, InvalidId, StepIndex, TxId};

/// Branches that are prepared, by transaction.
pub const BRANCH: Family = Family("branch");
/// The outcomes of branches, by coordinator and attempt number.
pub const FINISHED: Family = Family("finished");
/// Barriers of steps, by coordinator, attempt number and step.
pub const STEP: Family = Family("step");
/// Heuristic outcomes, by transaction.
pub const HEURISTIC: Family = Family("heuristic");
/// Epochs, low-water marks, what is still open below them, and pinned keys, by coordinator.
pub const COORDINATOR: Family = Family("coordinator");
pub use undoubt_platform::audit::AUDIT;

/// The platform's: whose store this is, and its log.
pub const META: Family = Family("meta");

const EPOCH: &[u8] = b"epoch/";
const LOW_WATER_MARK: &[u8] = b"low-water-mark/";
const PIN: &[u8] = b"pin/";
const STILL_OPEN: &[u8] = b"still-open/";
const COORDINATOR_ID_BYTES: usize = 16;
const ATTEMPT_NUMBER_BYTES: usize = 8;
const STEP_BYTES: usize = 2;

pub(super) fn finished_key(branch: &BranchId) -> Bytes {
    joined(&[&attempt_number_key(branch.coordinator, branch.attempt_number), branch.tx.as_bytes()])
}

pub(super) fn step_key(step: &StepId) -> Bytes {
    joined(&[
        &attempt_number_key(step.coordinator, step.attempt_number),
        &step.step.0.to_be_bytes(),
        step.tx.as_bytes(),
    ])
}

/// Returns the key at which the finished branches of this attempt number begin, and its steps.
pub(super) fn attempt_number_key(coordinator: CoordinatorId, attempt_number: AttemptNumber) -> Bytes {
    joined(&[&coordinator.0, &attempt_number.0.to_be_bytes()])
}

pub(super) fn epoch_key(coordinator: CoordinatorId) -> Bytes {
    joined(&[EPOCH, &coordinator.0])
}

pub(super) fn low_water_mark_key(coordinator: CoordinatorId) -> Bytes {
    joined(&[LOW_WATER_MARK, &coordinator.0])
}

pub(super) fn still_open_key(coordinator: CoordinatorId) -> Bytes {
    joined(&[STILL_OPEN, &coordinator.0])
}

pub(super) fn pin_key(coordinator: CoordinatorId) -> Bytes {
    joined(&[PIN, &coordinator.0])
}

/// Reads a key of the family `finished`; `None` if it is too short.
pub(super) fn read_finished_key(key: &Bytes) -> Option<Result<BranchId, InvalidId>> {
    let (coordinator, rest) = key.split_first_chunk::<COORDINATOR_ID_BYTES>()?;
    let (attempt_number, tx) = rest.split_first_chunk::<ATTEMPT_NUMBER_BYTES>()?;
    let attempt_number = AttemptNumber(u64::from_be_bytes(*attempt_number));
    Some(TxId::new(key.slice_ref(tx)).map(|tx| BranchId {
        tx,
        attempt_number,
        coordinator: CoordinatorId(*coordinator),
    }))
}

/// Reads a key of the family `step`; `None` if it is too short.
pub(super) fn read_step_key(key: &Bytes) -> Option<Result<StepId, InvalidId>> {
    let (coordinator, rest) = key.split_first_chunk::<COORDINATOR_ID_BYTES>()?;
    let (attempt_number, rest) = rest.split_first_chunk::<ATTEMPT_NUMBER_BYTES>()?;
    let (step, tx) = rest.split_first_chunk::<STEP_BYTES>()?;
    let (attempt_number, step) =
        (AttemptNumber(u64::from_be_bytes(*attempt_number)), StepIndex(u16::from_be_bytes(*step)));
    let coordinator = CoordinatorId(*coordinator);
    Some(TxId::new(key.slice_ref(tx)).map(|tx| StepId { coordinator, attempt_number, step, tx }))
}

/// The meaning of a key of the family `coordinator`.
pub(super) enum CoordinatorKey {
    Epoch(CoordinatorId),
    LowWaterMark(CoordinatorId),
    Pin(CoordinatorId),
    StillOpen(CoordinatorId),
}

/// Reads a key of the family `coordinator`; `None` if it is none.
pub(super) fn read_coordinator_key(key: &[u8]) -> Option<CoordinatorKey> {
    let id = |prefix: &[u8]| CoordinatorId::try_from(key.strip_prefix(prefix)?).ok();
    let epoch = id(EPOCH).map(CoordinatorKey::Epoch);
    let low_water_mark = || id(LOW_WATER_MARK).map(CoordinatorKey::LowWaterMark);
    let still_open = || id(STILL_OPEN).map(CoordinatorKey::StillOpen);
    epoch.or_else(low_water_mark).or_else(|| id(PIN).map(CoordinatorKey::Pin)).or_else(still_open)
}

fn joined(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}
