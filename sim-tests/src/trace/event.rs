//! The vocabulary of traces.

use super::Standing;
use crate::plan::{Direction, Host};
use serde::Serialize;

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Simulated time since the start.
    pub at_us: u64,
    /// `None`: the world itself.
    pub host: Option<Host>,
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// The process was started.
    Started,
    /// Recovery is over.
    Serving,
    /// About a log that may have been put back.
    Standing {
        what: Standing,
    },
    /// It ended by itself, saying why: a disk that failed, a log that it refuses.
    Stopped {
        why: String,
    },
    Crashed {
        point: Option<String>,
        power: bool,
    },
    Paused,
    Resumed,
    /// A new session of the coordinator's was welcomed: what was on its way in the one before is lost.
    SessionStands {
        with: Host,
    },
    /// A session's message leaves the host. `number` is its own in this run; a repetition has its own too.
    Sent {
        to: Host,
        direction: Direction,
        message: String,
        tx: String,
        attempt_number: u64,
        number: u64,
    },
    /// It arrives. `of` is the number of what was sent; a duplicate arrives twice.
    Received {
        from: Host,
        message: String,
        tx: String,
        attempt_number: u64,
        of: Option<u64>,
    },
    /// The coordinator's own note of what happens to a transaction.
    Noted {
        tx: String,
        phase: Option<Phase>,
        note: String,
    },
    /// A branch changes its state at a participant. It holds locks in all states but the last.
    Branch {
        tx: String,
        state: BranchState,
    },
    /// A client asks.
    Requested {
        tx: String,
        what: String,
    },
    /// A client hears, or gives up.
    Answered {
        tx: String,
        answer: String,
    },
    /// Something on the disk.
    Disk {
        what: String,
    },
    /// A reader of events hears something that is no event.
    Read {
        what: String,
    },
    /// A reaction has done its work, or undone it, in the saga or transaction of this id.
    Reacted {
        subscription: String,
        tx: String,
    },
    /// A fault strikes; `index` is its place in the plan. `ends_at_us` if it lasts.
    Fault {
        index: usize,
        what: String,
        ends_at_us: Option<u64>,
    },
    /// From here on nothing goes wrong any more.
    Healed,
}

/// The phase of a transaction at its coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Preparing,
    Confirming,
    /// The record of a commit is being written.
    LoggingCommit,
    Committing,
    /// The record of a delegation is being written.
    LoggingDelegation,
    Delegated,
    Settling,
    LoggingEnd,
    /// A saga: the record of its beginning is being written.
    LoggingBeginning,
    /// A saga: actions are under way.
    Acting,
    /// A saga: the record that it compensates is being written.
    LoggingCompensation,
    Compensating,
    Stuck,
    /// A saga that is decided, with semantic locks to be ended.
    Closing,
    Ended,
}

/// The state of a branch at its participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BranchState {
    Executing,
    Prepared,
    ReadOnly,
    Committing,
    Aborting,
    Resolving,
    /// A saga's step: its action is under way.
    Acting,
    Compensating,
    Over,
}

impl BranchState {
    /// Returns true if the branch holds its locks beyond the end of its process.
    pub fn is_stable(self) -> bool {
        match self {
            BranchState::Prepared | BranchState::Committing | BranchState::Aborting | BranchState::Resolving => true,
            BranchState::Executing
            | BranchState::ReadOnly
            | BranchState::Acting
            | BranchState::Compensating
            | BranchState::Over => false,
        }
    }
}
