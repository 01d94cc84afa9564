//! What is stored where.
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `data` | the key | the value |
//! | `branch` | transaction id | `PreparedBranch` |
//! | `finished` | coordinator id (16 bytes), ticket (8, big-endian), transaction id | `FinishedBranch` |
//! | `step` | coordinator id (16 bytes), ticket (8, big-endian), step (2, big-endian), transaction id | `StepBarrier` |
//! | `pending` | the marked key | `PendingMark` |
//! | `heuristic` | transaction id | `HeuristicBranch` |
//! | `coordinator` | `epoch/`, coordinator id | 4 bytes, big-endian |
//! | `coordinator` | `fence/`, coordinator id | 8 bytes, big-endian |
//! | `meta` | the platform's | whose folder this is |
//!
//! What is finished and what is known of steps is in the order of tickets, so that a fence drops each as one range.

use bytes::Bytes;
use undoubt_participant::resource::{BranchId, StepId};
use undoubt_platform::Family;
use undoubt_vocabulary::{CoordinatorId, InvalidId, StepIndex, Ticket, TxId};

pub(super) const DATA: Family = Family("data");
pub(super) const BRANCH: Family = Family("branch");
pub(super) const FINISHED: Family = Family("finished");
pub(super) const STEP: Family = Family("step");
pub(super) const PENDING: Family = Family("pending");
pub(super) const HEURISTIC: Family = Family("heuristic");
pub(super) const COORDINATOR: Family = Family("coordinator");

/// Where the identity of the folder is kept.
pub const META: Family = Family("meta");

/// All families; open the store with these.
pub const FAMILIES: [Family; 8] = [DATA, BRANCH, FINISHED, STEP, PENDING, HEURISTIC, COORDINATOR, META];

const EPOCH: &[u8] = b"epoch/";
const FENCE: &[u8] = b"fence/";
const COORDINATOR_ID_BYTES: usize = 16;
const TICKET_BYTES: usize = 8;
const STEP_BYTES: usize = 2;

pub(super) fn finished_key(branch: &BranchId) -> Bytes {
    joined(&[&ticket_key(branch.coordinator, branch.ticket), branch.tx.as_bytes()])
}

pub(super) fn step_key(step: &StepId) -> Bytes {
    joined(&[&ticket_key(step.coordinator, step.ticket), &step.step.0.to_be_bytes(), step.tx.as_bytes()])
}

/// Where the finished branches of this ticket begin, and its steps.
pub(super) fn ticket_key(coordinator: CoordinatorId, ticket: Ticket) -> Bytes {
    joined(&[&coordinator.0, &ticket.0.to_be_bytes()])
}

pub(super) fn epoch_key(coordinator: CoordinatorId) -> Bytes {
    joined(&[EPOCH, &coordinator.0])
}

pub(super) fn fence_key(coordinator: CoordinatorId) -> Bytes {
    joined(&[FENCE, &coordinator.0])
}

/// Reads a key of the family `finished`; `None` if it is too short.
pub(super) fn read_finished_key(key: &Bytes) -> Option<Result<BranchId, InvalidId>> {
    let (coordinator, rest) = key.split_first_chunk::<COORDINATOR_ID_BYTES>()?;
    let (ticket, tx) = rest.split_first_chunk::<TICKET_BYTES>()?;
    let ticket = Ticket(u64::from_be_bytes(*ticket));
    Some(TxId::new(key.slice_ref(tx)).map(|tx| BranchId { tx, ticket, coordinator: CoordinatorId(*coordinator) }))
}

/// Reads a key of the family `step`; `None` if it is too short.
pub(super) fn read_step_key(key: &Bytes) -> Option<Result<StepId, InvalidId>> {
    let (coordinator, rest) = key.split_first_chunk::<COORDINATOR_ID_BYTES>()?;
    let (ticket, rest) = rest.split_first_chunk::<TICKET_BYTES>()?;
    let (step, tx) = rest.split_first_chunk::<STEP_BYTES>()?;
    let (ticket, step) = (Ticket(u64::from_be_bytes(*ticket)), StepIndex(u16::from_be_bytes(*step)));
    let coordinator = CoordinatorId(*coordinator);
    Some(TxId::new(key.slice_ref(tx)).map(|tx| StepId { coordinator, ticket, step, tx }))
}

/// What a key of the family `coordinator` is about.
pub(super) enum CoordinatorKey {
    Epoch(CoordinatorId),
    Fence(CoordinatorId),
}

/// Reads a key of the family `coordinator`; `None` if it is none.
pub(super) fn read_coordinator_key(key: &[u8]) -> Option<CoordinatorKey> {
    let id = |rest: &[u8]| CoordinatorId::try_from(rest).ok();
    match (key.strip_prefix(EPOCH), key.strip_prefix(FENCE)) {
        (Some(rest), _) => id(rest).map(CoordinatorKey::Epoch),
        (None, Some(rest)) => id(rest).map(CoordinatorKey::Fence),
        (None, None) => None,
    }
}

fn joined(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}
