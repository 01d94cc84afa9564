//! One branch, as the participant sees it.
//!
//! ```text
//! Executing ──▶ Prepared ──▶ Committing ──▶ Finished
//!     │  │          │  └────▶ Aborting ──────▶ │
//!     │  │          └───────▶ Resolving ──▶ Heuristic
//!     │  └──▶ ReadOnly ──▶ Confirming ────────▶ │
//!     │          └─────────(abort)────────────▶ │
//!     └─────(refused, or committed in one phase)▶
//! ```
//!
//! A finished branch is remembered until the low-water mark passes it, so that whatever comes late is recognised (R11).

use crate::branch_id::BranchId;
use crate::heuristic::Heuristic;
use crate::input::Operator;
use crate::kept_result::{Kept, counted};
use bytes::Bytes;
use undoubt_vocabulary::{Execution, Prepare, Timestamp, Vote};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Branch {
    pub(crate) id: BranchId,
    pub(crate) begun_at: Timestamp,
    pub(crate) state: State,
    /// True if it was in doubt at the last sweep already.
    pub(crate) swept: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// The resource manager works on it.
    Executing {
        execution: Execution,
        then: Then,
    },
    /// Voted, in doubt.
    Prepared {
        result: Bytes,
    },
    /// Voted; its locks are in memory.
    ReadOnly {
        result: Bytes,
    },
    /// Voted read-only; the resource manager is asked whether it has held its locks until now, and frees them.
    Confirming,
    Committing,
    /// `next` came meanwhile: a later attempt of the same transaction.
    Aborting {
        next: Option<Prepare>,
    },
    Resolving {
        heuristic: Heuristic,
        operator: Operator,
    },
    Heuristic {
        heuristic: Heuristic,
        noted: bool,
    },
    Finished(Finished),
}

/// The next thing to do when the resource manager has done the work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    Vote,
    /// The transaction was aborted meanwhile.
    Undo {
        next: Option<Prepare>,
    },
}

/// The memory of a branch that is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Finished {
    Committed,
    /// One-phase. The vote is repeated to whoever asks.
    CommittedAlone {
        result: Kept,
    },
    /// The resource has found at its start that it has committed, which says nothing of who committed it. Its coordinator is asked.
    Unexplained {
        result: Kept,
    },
    /// The branch held its locks until it was asked to confirm, and has left.
    Left,
    /// One-phase, and it only read. Forgotten once a new session begins: the vote may be lost with the old one, and nobody
    /// was told what it read, so a prepare that is repeated reads anew.
    Read,
    /// The branch said no by itself. The vote is repeated to whoever asks.
    Refused(Vote),
    Aborted,
}

impl Branch {
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.state, State::Finished(_))
    }

    /// Returns true if somebody else has ended it, and its coordinator has yet to hear of it.
    pub(crate) fn is_heuristic(&self) -> bool {
        matches!(self.state, State::Heuristic { .. })
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        matches!(self.state, State::Prepared { .. })
    }

    pub(crate) fn is_unexplained(&self) -> bool {
        matches!(self.state, State::Finished(Finished::Unexplained { .. }))
    }
}

impl State {
    /// Returns the bytes that it keeps: its result, to be said again, or the work of an attempt that comes next.
    pub(crate) fn kept_bytes(&self) -> usize {
        match self {
            State::Prepared { result } | State::ReadOnly { result } => counted(result.len()),
            State::Finished(Finished::CommittedAlone { result } | Finished::Unexplained { result }) => result.counted(),
            State::Executing { then: Then::Undo { next: Some(next) }, .. } | State::Aborting { next: Some(next) } => {
                next.work.len()
            }
            State::Executing { then: Then::Vote | Then::Undo { next: None }, .. }
            | State::Confirming
            | State::Committing
            | State::Aborting { next: None }
            | State::Resolving { .. }
            | State::Heuristic { .. }
            | State::Finished(
                Finished::Committed | Finished::Left | Finished::Read | Finished::Refused(_) | Finished::Aborted,
            ) => 0,
        }
    }

    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            State::Executing { .. } => "preparing",
            State::Prepared { .. } => "prepared",
            State::ReadOnly { .. } => "read-only",
            State::Confirming => "confirming",
            State::Committing => "committing",
            State::Aborting { .. } => "aborting",
            State::Resolving { .. } => "being resolved",
            State::Heuristic { heuristic, .. } => heuristic.outcome().as_str(),
            State::Finished(_) => "finished",
        }
    }
}

/// A branch as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchView {
    pub id: BranchId,
    pub begun_at: Timestamp,
    pub state: &'static str,
    pub in_doubt: bool,
    pub heuristic: Option<Heuristic>,
}

impl Branch {
    pub(crate) fn view(&self) -> BranchView {
        let heuristic = match &self.state {
            State::Heuristic { heuristic, .. } => Some(heuristic.clone()),
            State::Executing { .. }
            | State::Prepared { .. }
            | State::ReadOnly { .. }
            | State::Confirming
            | State::Committing
            | State::Aborting { .. }
            | State::Resolving { .. }
            | State::Finished(_) => None,
        };
        BranchView {
            id: self.id.clone(),
            begun_at: self.begun_at,
            state: self.state.as_str(),
            in_doubt: self.is_in_doubt(),
            heuristic,
        }
    }
}
