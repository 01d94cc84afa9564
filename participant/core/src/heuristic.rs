//! An operator's decision about a branch in doubt (R3).

use undoubt_vocabulary::{BranchOutcome, Timestamp};

/// Kept until an operator forgets it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Heuristic {
    pub commit: bool,
    pub at: Timestamp,
    pub who: String,
    pub reason: String,
    /// What the coordinator had decided, once that is known: `true` is commit.
    pub decision: Option<bool>,
}

impl Heuristic {
    /// Whether it is certain that the coordinator has heard of it: it waits for everybody who is to commit.
    pub fn is_reported(&self) -> bool {
        self.commit && self.decision == Some(true)
    }

    pub fn outcome(&self) -> BranchOutcome {
        if self.commit { BranchOutcome::HeuristicallyCommitted } else { BranchOutcome::HeuristicallyAborted }
    }
}
