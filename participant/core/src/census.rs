//! A count of what is open here. It is taken when somebody asks, so that nothing is counted in the meantime.

use crate::participant::Participant;
use undoubt_vocabulary::{Timestamp, TxId};

/// What is open at a participant, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Branches that are not finished.
    pub open: usize,
    /// The branches that have voted prepared and do not know the decision.
    pub in_doubt: usize,
    /// The time at which the oldest transaction in doubt began, by its coordinator's clock, and its id.
    pub oldest_in_doubt: Option<(Timestamp, TxId)>,
    /// Branches that somebody else has ended, of which their coordinator has yet to hear.
    pub heuristic: usize,
    pub steps_under_way: usize,
    pub max_open: usize,
}

impl Participant {
    /// Counts what is open. It looks at each branch once, and copies none.
    pub fn census(&self) -> Census {
        let mut oldest: Option<(Timestamp, &TxId)> = None;
        let (mut in_doubt, mut heuristic) = (0, 0);
        for (tx, branch) in self.branches_in_any_order() {
            heuristic += usize::from(branch.is_heuristic());
            if branch.is_in_doubt() {
                in_doubt += 1;
                let this = (branch.begun_at, tx);
                oldest = Some(oldest.map_or(this, |oldest| oldest.min(this)));
            }
        }
        Census {
            open: self.open_branches(),
            in_doubt,
            oldest_in_doubt: oldest.map(|(begun_at, tx)| (begun_at, tx.clone())),
            heuristic,
            steps_under_way: self.steps_under_way(),
            max_open: self.limits().max_open_branches,
        }
    }
}
