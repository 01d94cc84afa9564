//! The calls of a participant to its resource, and who waits for them.

use std::fmt;
use undoubt_participant_core::{BranchId, Heuristic, StepId};
use undoubt_vocabulary::{AttemptNumber, Direction, Execution, Prepare, RunStep, TxId};

/// Whatever waits for a call; it asks for one thing at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Caller {
    Branch(TxId),
    Step(StepId),
    /// A saga that is to be closed, or whose semantic locks are to be released.
    Saga(AttemptNumber, TxId),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Execute {
        branch: BranchId,
        prepare: Prepare,
        locks: LocksOf,
        cancelled: bool,
    },
    Confirm {
        branch: BranchId,
    },
    Commit {
        branch: BranchId,
    },
    Abort {
        branch: BranchId,
    },
    Resolve {
        branch: BranchId,
        heuristic: Heuristic,
    },
    /// The call that finds out what became of an execution that is unclear.
    ClearUp {
        branch: BranchId,
        execution: Execution,
    },
    Act {
        step: StepId,
        run: RunStep,
        locks: LocksOf,
        cancelled: bool,
    },
    /// The compensation or the completion of a step.
    Finish {
        step: StepId,
        run: RunStep,
        locks: LocksOf,
    },
    StoreEmpty {
        step: StepId,
    },
    CloseSaga {
        attempt_number: AttemptNumber,
        tx: TxId,
    },
    ReleaseMarks {
        attempt_number: AttemptNumber,
        tx: TxId,
    },
}

/// The state of an execution's locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LocksOf {
    NotAsked,
    Waiting,
    /// The call had to wait for locks, and holds them now.
    Granted,
}

impl Call {
    /// Returns true if nothing but another's release or its own end can move it.
    pub(crate) fn waits_for_locks(&self) -> bool {
        self.locks() == Some(LocksOf::Waiting) && !self.is_cancelled()
    }

    /// Returns true if it was cancelled before it had its locks. If it has not begun, it may not have noticed.
    pub(crate) fn may_stop(&self) -> bool {
        matches!(self.locks(), Some(LocksOf::NotAsked | LocksOf::Waiting)) && self.is_cancelled()
    }

    pub(crate) fn may_carry_on(&self) -> bool {
        self.locks() != Some(LocksOf::Waiting)
    }

    fn locks(&self) -> Option<LocksOf> {
        match self {
            Call::Execute { locks, .. } | Call::Act { locks, .. } | Call::Finish { locks, .. } => Some(*locks),
            Call::Confirm { .. }
            | Call::Commit { .. }
            | Call::Abort { .. }
            | Call::Resolve { .. }
            | Call::ClearUp { .. }
            | Call::StoreEmpty { .. }
            | Call::CloseSaga { .. }
            | Call::ReleaseMarks { .. } => None,
        }
    }

    pub(super) fn set_locks(&mut self, now: LocksOf) {
        match self {
            Call::Execute { locks, .. } | Call::Act { locks, .. } | Call::Finish { locks, .. } => *locks = now,
            Call::Confirm { .. }
            | Call::Commit { .. }
            | Call::Abort { .. }
            | Call::Resolve { .. }
            | Call::ClearUp { .. }
            | Call::StoreEmpty { .. }
            | Call::CloseSaga { .. }
            | Call::ReleaseMarks { .. } => {}
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        matches!(self, Call::Execute { cancelled: true, .. } | Call::Act { cancelled: true, .. })
    }

    /// The decision is known, and its locks are about to be freed.
    pub(super) fn is_leaving(&self) -> bool {
        match self {
            Call::Confirm { .. } | Call::Commit { .. } | Call::Abort { .. } | Call::ClearUp { .. } => true,
            // A step that has its locks waits for nothing any more.
            Call::Act { locks, .. } | Call::Finish { locks, .. } => *locks == LocksOf::Granted,
            Call::Execute { .. }
            | Call::Resolve { .. }
            | Call::StoreEmpty { .. }
            | Call::CloseSaga { .. }
            | Call::ReleaseMarks { .. } => false,
        }
    }

    pub(super) fn caller(&self) -> Caller {
        match self {
            Call::Execute { branch, .. }
            | Call::Confirm { branch }
            | Call::Commit { branch }
            | Call::Abort { branch }
            | Call::Resolve { branch, .. }
            | Call::ClearUp { branch, .. } => Caller::Branch(branch.tx.clone()),
            Call::Act { step, .. } | Call::Finish { step, .. } | Call::StoreEmpty { step } => {
                Caller::Step(step.clone())
            }
            Call::CloseSaga { attempt_number, tx } | Call::ReleaseMarks { attempt_number, tx } => {
                Caller::Saga(*attempt_number, tx.clone())
            }
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Call::Execute { .. } => "prepare",
            Call::Confirm { .. } => "confirm",
            Call::Commit { .. } => "commit",
            Call::Abort { .. } => "abort",
            Call::Resolve { .. } => "resolve",
            Call::ClearUp { .. } => "find out what became of",
            Call::Act { .. } => "act",
            Call::Finish { run: RunStep { direction: Direction::Completing, .. }, .. } => "complete",
            Call::Finish { .. } => "compensate",
            Call::StoreEmpty { .. } => "note as empty",
            Call::CloseSaga { .. } => "close",
            Call::ReleaseMarks { .. } => "release",
        }
    }
}

impl Caller {
    /// Returns the owner of its locks. A step has a name of its own, for a branch of the same transaction may hold locks here;
    /// it is the younger of the two.
    pub(crate) fn owner(&self) -> TxId {
        match self {
            Caller::Branch(tx) | Caller::Saga(_, tx) => tx.clone(),
            Caller::Step(step) => {
                let name = format!("{}/{}#{}", step.tx, step.attempt_number, step.step.0);
                TxId::new(name.into_bytes()).expect("a scenario's ids are short")
            }
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Branch(tx) => write!(f, "{tx}"),
            Caller::Step(StepId { tx, attempt_number, step, .. }) => {
                write!(f, "step {} of {tx}/{attempt_number}", step.0)
            }
            Caller::Saga(attempt_number, tx) => write!(f, "{tx}/{attempt_number}"),
        }
    }
}
