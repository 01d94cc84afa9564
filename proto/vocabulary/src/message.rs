//! The messages between coordinator and participant. The wire form is `session.proto`, which states the contract of
//! each message; these are its values.

use crate::id::{AttemptNumber, TxId};
use crate::outcome::{BranchOutcome, Vote};
use crate::protocol::Ability;
use crate::saga::{Direction, RunStep, StepIndex, StepOutcome};
use crate::time::Timestamp;
use bytes::Bytes;
use std::time::Duration;

/// The way in which a branch is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Execution {
    /// Prepare, vote, and wait for the decision.
    TwoPhase,
    /// The only branch of its transaction: commit at once (R7).
    OnePhase,
}

impl Execution {
    /// Returns how each branch of a transaction with so many is executed.
    pub fn of(branches: usize) -> Execution {
        if branches == 1 { Execution::OnePhase } else { Execution::TwoPhase }
    }

    /// Returns what its participant has to be able to do.
    pub fn ability(self) -> Ability {
        match self {
            Execution::OnePhase => Ability::OnePhase,
            Execution::TwoPhase => Ability::TwoPhase,
        }
    }
}

/// A branch's work, and what its execution needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prepare {
    pub tx: TxId,
    pub attempt_number: AttemptNumber,
    /// The time at which the transaction began, by its coordinator's clock: its age in wait-die (R12).
    pub begun_at: Timestamp,
    /// The time for which the branch may still wait for locks, counted from receipt.
    pub timeout: Duration,
    pub execution: Execution,
    /// Opaque to all but the resource manager.
    pub work: Bytes,
}

/// A message from a coordinator to a participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ToParticipant {
    Prepare(Prepare),
    /// Asks a read-only branch, once every vote is in, whether it still holds its locks, and to leave.
    Confirm {
        tx: TxId,
        attempt_number: AttemptNumber,
    },
    Commit {
        tx: TxId,
        attempt_number: AttemptNumber,
    },
    /// Abort is presumed: never acknowledged.
    Abort {
        tx: TxId,
        attempt_number: AttemptNumber,
        /// False if nothing is known of the attempt, and it may be one that was committed, acknowledged by all, and forgotten.
        certain: bool,
    },
    /// Asks a one-phase branch that kept silent to commit no more, and to say what became of it.
    Settle {
        tx: TxId,
        attempt_number: AttemptNumber,
    },
    /// The answer to an inquiry: not decided yet, keep your locks.
    Undecided {
        tx: TxId,
        attempt_number: AttemptNumber,
    },
    /// The coordinator has durably noted a heuristic outcome.
    Noted {
        tx: TxId,
        attempt_number: AttemptNumber,
    },
    /// Run the action or the compensation of a saga's step.
    Run(RunStep),
    /// The saga is over: its semantic locks end. Answered with [`ToCoordinator::Closed`].
    Close {
        tx: TxId,
        attempt_number: AttemptNumber,
    },
}

/// A message from a participant to a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ToCoordinator {
    Vote {
        tx: TxId,
        attempt_number: AttemptNumber,
        vote: Vote,
    },
    Confirmed {
        tx: TxId,
        attempt_number: AttemptNumber,
        held: bool,
    },
    /// The answer to a commit or a settle, and the report of a heuristic outcome once the decision is known.
    Finished {
        tx: TxId,
        attempt_number: AttemptNumber,
        outcome: BranchOutcome,
    },
    /// A branch in doubt asks for the decision; so does one that was found committed, nobody knows at whose word.
    Inquiry {
        tx: TxId,
        attempt_number: AttemptNumber,
    },
    /// The answer to [`ToParticipant::Run`].
    Ran {
        tx: TxId,
        attempt_number: AttemptNumber,
        step: StepIndex,
        direction: Direction,
        attempt: u32,
        outcome: StepOutcome,
    },
    /// The answer to a close: no semantic lock of this saga is left here, durably.
    Closed {
        tx: TxId,
        attempt_number: AttemptNumber,
    },
}

impl ToParticipant {
    /// Returns the bytes of its work and inputs.
    pub fn payload_bytes(&self) -> usize {
        match self {
            ToParticipant::Prepare(prepare) => prepare.work.len(),
            ToParticipant::Run(run) => run.payload_bytes(),
            ToParticipant::Confirm { .. }
            | ToParticipant::Commit { .. }
            | ToParticipant::Abort { .. }
            | ToParticipant::Settle { .. }
            | ToParticipant::Undecided { .. }
            | ToParticipant::Noted { .. }
            | ToParticipant::Close { .. } => 0,
        }
    }

    /// Gives its work and inputs memory of their own, where they were part of a larger message.
    pub fn unshare(&mut self) {
        let unshare = |bytes: &mut Bytes| *bytes = Bytes::copy_from_slice(bytes);
        match self {
            ToParticipant::Prepare(prepare) => unshare(&mut prepare.work),
            ToParticipant::Run(run) => std::iter::once(&mut run.work).chain(&mut run.inputs).for_each(unshare),
            ToParticipant::Confirm { .. }
            | ToParticipant::Commit { .. }
            | ToParticipant::Abort { .. }
            | ToParticipant::Settle { .. }
            | ToParticipant::Undecided { .. }
            | ToParticipant::Noted { .. }
            | ToParticipant::Close { .. } => {}
        }
    }

    pub fn tx(&self) -> &TxId {
        match self {
            ToParticipant::Prepare(prepare) => &prepare.tx,
            ToParticipant::Run(run) => &run.tx,
            ToParticipant::Confirm { tx, .. }
            | ToParticipant::Commit { tx, .. }
            | ToParticipant::Abort { tx, .. }
            | ToParticipant::Settle { tx, .. }
            | ToParticipant::Undecided { tx, .. }
            | ToParticipant::Noted { tx, .. }
            | ToParticipant::Close { tx, .. } => tx,
        }
    }

    pub fn attempt_number(&self) -> AttemptNumber {
        match self {
            ToParticipant::Prepare(prepare) => prepare.attempt_number,
            ToParticipant::Run(run) => run.attempt_number,
            ToParticipant::Confirm { attempt_number, .. }
            | ToParticipant::Commit { attempt_number, .. }
            | ToParticipant::Abort { attempt_number, .. }
            | ToParticipant::Settle { attempt_number, .. }
            | ToParticipant::Undecided { attempt_number, .. }
            | ToParticipant::Noted { attempt_number, .. }
            | ToParticipant::Close { attempt_number, .. } => *attempt_number,
        }
    }

    /// Returns the message's name, as traces and crash points use it.
    pub fn name(&self) -> &'static str {
        match self {
            ToParticipant::Prepare(_) => "prepare",
            ToParticipant::Confirm { .. } => "confirm",
            ToParticipant::Commit { .. } => "commit",
            ToParticipant::Abort { .. } => "abort",
            ToParticipant::Settle { .. } => "settle",
            ToParticipant::Undecided { .. } => "undecided",
            ToParticipant::Noted { .. } => "noted",
            ToParticipant::Run(RunStep { direction: Direction::Forward, .. }) => "act",
            ToParticipant::Run(RunStep { direction: Direction::Compensating, .. }) => "compensate",
            ToParticipant::Run(RunStep { direction: Direction::Completing, .. }) => "complete",
            ToParticipant::Close { .. } => "close",
        }
    }
}

impl ToCoordinator {
    /// Returns the bytes that the branch or the step hands back, and those of its explanations.
    pub fn payload_bytes(&self) -> usize {
        match self {
            ToCoordinator::Vote { vote, .. } => match vote {
                Vote::Prepared { result } | Vote::ReadOnly { result } | Vote::Committed { result } => result.len(),
                Vote::Refused(refusal) => refusal.detail.len(),
            },
            ToCoordinator::Ran { outcome, .. } => match outcome {
                StepOutcome::Done { result, .. } => result.len(),
                StepOutcome::Empty => 0,
                StepOutcome::Refused(refusal) => refusal.detail.len(),
            },
            ToCoordinator::Confirmed { .. }
            | ToCoordinator::Finished { .. }
            | ToCoordinator::Inquiry { .. }
            | ToCoordinator::Closed { .. } => 0,
        }
    }

    pub fn tx(&self) -> &TxId {
        match self {
            ToCoordinator::Vote { tx, .. }
            | ToCoordinator::Confirmed { tx, .. }
            | ToCoordinator::Finished { tx, .. }
            | ToCoordinator::Inquiry { tx, .. }
            | ToCoordinator::Ran { tx, .. }
            | ToCoordinator::Closed { tx, .. } => tx,
        }
    }

    pub fn attempt_number(&self) -> AttemptNumber {
        match self {
            ToCoordinator::Vote { attempt_number, .. }
            | ToCoordinator::Confirmed { attempt_number, .. }
            | ToCoordinator::Finished { attempt_number, .. }
            | ToCoordinator::Inquiry { attempt_number, .. }
            | ToCoordinator::Ran { attempt_number, .. }
            | ToCoordinator::Closed { attempt_number, .. } => *attempt_number,
        }
    }

    /// Returns the message's name, as traces and crash points use it.
    pub fn name(&self) -> &'static str {
        match self {
            ToCoordinator::Vote { .. } => "vote",
            ToCoordinator::Confirmed { .. } => "confirmed",
            ToCoordinator::Finished { .. } => "finished",
            ToCoordinator::Inquiry { .. } => "inquiry",
            ToCoordinator::Ran { direction: Direction::Forward, .. } => "acted",
            ToCoordinator::Ran { direction: Direction::Compensating, .. } => "compensated",
            ToCoordinator::Ran { direction: Direction::Completing, .. } => "completed",
            ToCoordinator::Closed { .. } => "closed",
        }
    }
}
