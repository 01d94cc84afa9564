//! What a participant is told.

use crate::branch_id::BranchId;
use crate::heuristic::Heuristic;
use crate::kept::Kept;
use crate::release::Release;
use crate::step::{StepId, StepState};
use bytes::Bytes;
use undoubt_vocabulary::{CoordinatorId, Epoch, StepOutcome, Ticket, Timestamp, ToParticipant, TxId, Vote};

/// One stream from a coordinator. The driver draws the number, never the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session(pub u64);

/// An operator who waits for an answer. The driver draws the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operator(pub u64);

/// What survived in the resource, before anything else is put in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Recovered {
    Coordinator {
        id: CoordinatorId,
        epoch: Epoch,
        fence: Ticket,
    },
    /// It holds its locks again.
    Prepared {
        branch: BranchId,
        begun_at: Timestamp,
        result: Bytes,
    },
    /// One that committed. `result` matters for one-phase branches only.
    Committed {
        branch: BranchId,
        result: Kept,
    },
    Heuristic {
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    },
    /// The barrier of a saga's step.
    Step {
        step: StepId,
        state: StepState,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    Recovered(Recovered),
    /// A coordinator opens a session.
    Hello {
        session: Session,
        coordinator: CoordinatorId,
        epoch: Epoch,
    },
    /// The epoch that a hello brought is durable.
    EpochRecorded {
        session: Session,
    },
    SessionClosed {
        session: Session,
    },
    /// A batch's fence, before its messages.
    Fence {
        session: Session,
        fence: Ticket,
    },
    Received {
        session: Session,
        message: ToParticipant,
    },
    /// The resource manager has voted, durably where the vote needs it.
    Executed {
        branch: BranchId,
        vote: Vote,
    },
    /// The commit is durable.
    Committed {
        branch: BranchId,
    },
    Aborted {
        branch: BranchId,
    },
    /// The operator's decision is durable.
    Resolved {
        branch: BranchId,
    },
    /// The operator's decision is forgotten, durably.
    Forgotten {
        operator: Operator,
    },
    /// The action is in effect with its barrier, durably, or was refused.
    ActionRan {
        step: StepId,
        outcome: StepOutcome,
    },
    /// The result with which a one-phase branch committed, as it is stored.
    VoteRecalled {
        branch: BranchId,
        result: Bytes,
    },
    /// The result of an action that is in effect, as it is stored; for the attempt that came again.
    OutcomeRecalled {
        step: StepId,
        attempt: u32,
        result: Bytes,
    },
    /// The action is undone with its barrier, durably, or undoing it was refused.
    CompensationRan {
        step: StepId,
        outcome: StepOutcome,
    },
    /// The empty compensation is durable.
    EmptyStored {
        step: StepId,
    },
    /// The saga has no semantic locks here any more, durably.
    SagaClosed {
        coordinator: CoordinatorId,
        ticket: Ticket,
        tx: TxId,
    },
    /// The saga's semantic locks are gone on an operator's word, durably.
    MarksReleased {
        coordinator: CoordinatorId,
        ticket: Ticket,
        tx: TxId,
    },
    /// From time to time: ask about what is in doubt.
    SweepDue,
    /// An operator decides alone.
    Resolve {
        tx: TxId,
        heuristic: Heuristic,
        operator: Operator,
    },
    /// An operator has seen to a heuristic outcome.
    Forget {
        tx: TxId,
        operator: Operator,
    },
    /// An operator releases the semantic locks of this coordinator's saga.
    ReleaseMarks {
        coordinator: CoordinatorId,
        tx: TxId,
        release: Release,
        operator: Operator,
    },
}
