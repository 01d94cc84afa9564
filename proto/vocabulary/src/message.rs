//! What coordinator and participant say to each other. The wire form is `session.proto`, which states the contract of
//! each message; these are its values.

use crate::id::{Ticket, TxId};
use crate::outcome::{BranchOutcome, Vote};
use crate::saga::{Half, RunStep, StepIndex, StepOutcome};
use crate::time::Timestamp;
use bytes::Bytes;
use std::time::Duration;

/// How a branch is to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Execution {
    /// Prepare, vote, and wait for the decision.
    TwoPhase,
    /// The only branch of its transaction: commit at once (R7).
    OnePhase,
}

/// A branch's work, and what its execution needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prepare {
    pub tx: TxId,
    pub ticket: Ticket,
    /// When the transaction began, by its coordinator's clock: its age in wait-die (R12).
    pub begun_at: Timestamp,
    /// How long the branch may still wait for locks, counted from receipt.
    pub timeout: Duration,
    pub execution: Execution,
    /// Opaque to all but the resource manager.
    pub work: Bytes,
}

/// From a coordinator to a participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ToParticipant {
    Prepare(Prepare),
    /// To a read-only branch, once every vote is in: say whether you still hold your locks, then leave.
    Confirm {
        tx: TxId,
        ticket: Ticket,
    },
    Commit {
        tx: TxId,
        ticket: Ticket,
    },
    /// Abort is presumed: never acknowledged.
    Abort {
        tx: TxId,
        ticket: Ticket,
    },
    /// To a one-phase branch that kept silent: commit no more, and say what became of you.
    Settle {
        tx: TxId,
        ticket: Ticket,
    },
    /// Answer to an inquiry: not decided yet, keep your locks.
    Undecided {
        tx: TxId,
        ticket: Ticket,
    },
    /// The coordinator has durably noted a heuristic outcome.
    Noted {
        tx: TxId,
        ticket: Ticket,
    },
    /// Run one half of a saga's step.
    Run(RunStep),
    /// The saga is over: its semantic locks end. Answered with [`ToCoordinator::Closed`].
    Close {
        tx: TxId,
        ticket: Ticket,
    },
}

/// From a participant to a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ToCoordinator {
    Vote {
        tx: TxId,
        ticket: Ticket,
        vote: Vote,
    },
    Confirmed {
        tx: TxId,
        ticket: Ticket,
        held: bool,
    },
    /// Answers a commit or a settle, and reports a heuristic outcome once the decision is known.
    Finished {
        tx: TxId,
        ticket: Ticket,
        outcome: BranchOutcome,
    },
    /// A branch in doubt asks for the decision.
    Inquiry {
        tx: TxId,
        ticket: Ticket,
    },
    /// Answers [`ToParticipant::Run`].
    Ran {
        tx: TxId,
        ticket: Ticket,
        step: StepIndex,
        half: Half,
        attempt: u32,
        outcome: StepOutcome,
    },
    /// No semantic lock of this saga is left here, durably.
    Closed {
        tx: TxId,
        ticket: Ticket,
    },
}

impl ToParticipant {
    /// The bytes of its work and inputs.
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

    pub fn ticket(&self) -> Ticket {
        match self {
            ToParticipant::Prepare(prepare) => prepare.ticket,
            ToParticipant::Run(run) => run.ticket,
            ToParticipant::Confirm { ticket, .. }
            | ToParticipant::Commit { ticket, .. }
            | ToParticipant::Abort { ticket, .. }
            | ToParticipant::Settle { ticket, .. }
            | ToParticipant::Undecided { ticket, .. }
            | ToParticipant::Noted { ticket, .. }
            | ToParticipant::Close { ticket, .. } => *ticket,
        }
    }

    /// The message's name, as traces and crash points use it.
    pub fn name(&self) -> &'static str {
        match self {
            ToParticipant::Prepare(_) => "prepare",
            ToParticipant::Confirm { .. } => "confirm",
            ToParticipant::Commit { .. } => "commit",
            ToParticipant::Abort { .. } => "abort",
            ToParticipant::Settle { .. } => "settle",
            ToParticipant::Undecided { .. } => "undecided",
            ToParticipant::Noted { .. } => "noted",
            ToParticipant::Run(RunStep { half: Half::Action, .. }) => "act",
            ToParticipant::Run(RunStep { half: Half::Compensation, .. }) => "compensate",
            ToParticipant::Close { .. } => "close",
        }
    }
}

impl ToCoordinator {
    /// The bytes that the branch or the step hands back, and those of its explanations.
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

    pub fn ticket(&self) -> Ticket {
        match self {
            ToCoordinator::Vote { ticket, .. }
            | ToCoordinator::Confirmed { ticket, .. }
            | ToCoordinator::Finished { ticket, .. }
            | ToCoordinator::Inquiry { ticket, .. }
            | ToCoordinator::Ran { ticket, .. }
            | ToCoordinator::Closed { ticket, .. } => *ticket,
        }
    }

    /// The message's name, as traces and crash points use it.
    pub fn name(&self) -> &'static str {
        match self {
            ToCoordinator::Vote { .. } => "vote",
            ToCoordinator::Confirmed { .. } => "confirmed",
            ToCoordinator::Finished { .. } => "finished",
            ToCoordinator::Inquiry { .. } => "inquiry",
            ToCoordinator::Ran { half: Half::Action, .. } => "acted",
            ToCoordinator::Ran { half: Half::Compensation, .. } => "compensated",
            ToCoordinator::Closed { .. } => "closed",
        }
    }
}
