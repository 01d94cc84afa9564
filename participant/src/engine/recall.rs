//! Results that the resource tells again.
//!
//! Long results of what is over are not in memory but stored. Where one has to be said once more, because its answer was
//! lost, it is read when there is room to send it: after a session has broken, many may be asked for at once.

use super::Engine;
use super::calls::Done;
use crate::resource::Branches;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Semaphore;
use undoubt_participant_core::{BranchId, Input, StepId};
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;

/// Results that are read in one round, so that what else there is gets its turn in between.
const RECALLED_AT_A_TIME: usize = 8;

/// Steps that are undone at a time for which a long result was read.
const MAX_UNDOING: usize = 32;

/// The results that are to be said again, each once however often it was asked for.
#[derive(Debug)]
pub(super) struct Recalls {
    votes: BTreeSet<BranchId>,
    /// The steps, each with the attempt that came last: a coordinator that has restarted counts anew.
    outcomes: BTreeMap<StepId, u32>,
    undoing: Arc<Semaphore>,
}

impl Default for Recalls {
    fn default() -> Self {
        let undoing = Arc::new(Semaphore::new(MAX_UNDOING));
        Recalls { votes: BTreeSet::new(), outcomes: BTreeMap::new(), undoing }
    }
}

impl Recalls {
    pub(super) fn vote(&mut self, branch: BranchId) {
        self.votes.insert(branch);
    }

    pub(super) fn outcome(&mut self, step: StepId, attempt: u32) {
        self.outcomes.insert(step, attempt);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.votes.is_empty() && self.outcomes.is_empty()
    }

    pub(super) fn undoing(&self) -> Arc<Semaphore> {
        self.undoing.clone()
    }
}

impl<R: Branches> Engine<R> {
    /// Reads what there is room to send.
    pub(super) fn take_recalls(&mut self) {
        for _ in 0..RECALLED_AT_A_TIME {
            if self.recalls.is_empty() || !self.room.sends_large() {
                return;
            }
            // Until it is read and counts itself.
            let mut held = self.room.hold();
            held.add(MAX_RESULT_BYTES);
            let resource = self.resource.clone();
            if let Some(branch) = self.recalls.votes.pop_first() {
                self.call(move |patience| async move {
                    let _held = held;
                    let result = patience.until_done(|| resource.result_of(branch.clone())).await?;
                    Ok(result.map_or(Done::Nothing, |result| Done::Input(Input::VoteRecalled { branch, result })))
                });
            } else if let Some((step, attempt)) = self.recalls.outcomes.pop_first() {
                self.call(move |patience| async move {
                    let _held = held;
                    let result = patience.until_done(|| resource.result_of_step(step.clone())).await?;
                    let recalled = |result| Done::Input(Input::OutcomeRecalled { step, attempt, result });
                    Ok(result.map_or(Done::Nothing, recalled))
                });
            }
        }
    }
}
