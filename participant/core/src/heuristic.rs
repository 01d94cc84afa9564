//! The end of a branch in doubt by somebody other than its coordinator (R3).

use undoubt_vocabulary::{BranchOutcome, Timestamp};

/// The name that stands for whoever ended a branch in the resource itself.
pub const UNKNOWN_HAND: &str = "somebody else, in the resource itself";

/// The heuristic outcome of a branch, which its coordinator did not end. Kept until an operator forgets it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Heuristic {
    pub commit: bool,
    pub at: Timestamp,
    pub who: String,
    pub reason: String,
    /// The coordinator's decision, once that is known: `true` is commit.
    pub decision: Option<bool>,
}

impl Heuristic {
    /// Returns the outcome of a branch that somebody other than an operator has ended.
    pub(crate) fn by_unknown_hand(commit: bool, at: Timestamp, decision: Option<bool>) -> Heuristic {
        let reason = "it was found when the branch was to end the other way".to_owned();
        Heuristic { commit, at, who: UNKNOWN_HAND.to_owned(), reason, decision }
    }

    /// Returns true if it is certain that the coordinator has heard of it: it waits for everybody who is to commit.
    pub fn is_reported(&self) -> bool {
        self.commit && self.decision == Some(true)
    }

    pub fn outcome(&self) -> BranchOutcome {
        if self.commit { BranchOutcome::HeuristicallyCommitted } else { BranchOutcome::HeuristicallyAborted }
    }
}
