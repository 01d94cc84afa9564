//! Keys of the table's families.

use crate::resource::{BranchId, StepId};
use bytes::Bytes;
use undoubt_platform::Family;
use undoubt_vocabulary::{CoordinatorId, InvalidId, StepIndex, Ticket, TxId};

/// Branches that are prepared, by transaction.
pub const BRANCH: Family = Family("branch");
/// What branches came to, by coordinator and ticket.
pub const FINISHED: Family = Family("finished");
/// Barriers of steps, by coordinator, ticket and step.
pub const STEP: Family = Family("step");
/// Heuristic outcomes, by transaction.
pub const HEURISTIC: Family = Family("heuristic");
/// Epochs and low-water marks, by coordinator.
pub const COORDINATOR: Family = Family("coordinator");
/// The platform's: whose store this is, and its log.
pub const META: Family = Family("meta");

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
