//! Attempts that a participant still knows, for a coordinator whose log has lost them.

use crate::id::{AttemptNumber, TxId};
use crate::saga::StepIndex;

/// An attempt, as far as a participant keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KnownAttempt {
    pub attempt_number: AttemptNumber,
    pub tx: TxId,
    pub state: KnownState,
    /// The saga's steps whose actions are in effect.
    pub in_effect: Vec<StepIndex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KnownState {
    Prepared,
    Committed,
    Heuristic,
    Steps,
}
