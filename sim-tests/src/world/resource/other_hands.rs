//! Branches that somebody else ends in the resource itself.
//!
//! The key-value store has no other hands, so it is told to end the branch as an operator would have it: the work comes into
//! effect or not, its locks are free, and a record of it, under a name of its own, takes the place of the prepared one, all in
//! one write. Towards the participant that branch is prepared as before, also after a restart, until it is told to end.

use super::{Observed, Shared};
use crate::plan::Host;
use crate::trace::BranchState;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{
    BranchId, Branches, FinishedBranch, Heuristic, HeuristicBranch, Kept, PreparedBranch, Recovered, ResourceError,
};
use undoubt_vocabulary::{BranchOutcome, CoordinatorId, LowWaterMark, Timestamp};

/// The name of who has ended a branch, in the store's records.
const OTHER_HAND: &str = "another hand";

/// The knowledge of branches that somebody else may end, or has ended.
#[derive(Debug, Default)]
pub(super) struct OtherHands {
    branches: Mutex<Known>,
    /// Held while another hand is at work.
    at_work: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// Prepared, and nobody has been told to end them.
    prepared: BTreeMap<BranchId, Timestamp>,
    ended: BTreeMap<BranchId, Ended>,
}

/// A branch that another hand has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    begun_at: Timestamp,
    pub(super) commit: bool,
    /// True if it was told to end, so that its end is known.
    is_known: bool,
}

impl Ended {
    fn by_other_hand(self) -> Heuristic {
        let decision = self.is_known.then_some(self.commit);
        let (who, reason) = (OTHER_HAND.to_owned(), String::new());
        Heuristic { commit: self.commit, at: self.begun_at, who, reason, decision }
    }
}

impl OtherHands {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing between taking and freeing it can panic.
        self.branches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on another hand may end it.
    pub(super) fn prepared(&self, branch: &BranchId, begun_at: Timestamp) {
        self.known().prepared.insert(branch.clone(), begun_at);
    }

    /// From now on none does: it is told to end.
    pub(super) fn told_to_end(&self, branch: &BranchId) {
        self.known().prepared.remove(branch);
    }

    /// Returns true if another hand has ended it, or is about to.
    pub(super) fn has_ended(&self, branch: &BranchId) -> bool {
        self.known().ended.contains_key(branch)
    }

    pub(super) fn forget(&self, branch: &BranchId) {
        self.known().ended.remove(branch);
    }

    /// Returns the ended branches that the low-water mark has passed, and forgets them.
    pub(super) fn take_over(&self, coordinator: CoordinatorId, over: &LowWaterMark) -> Vec<BranchId> {
        let passed = |branch: &BranchId, ended: &Ended| {
            ended.is_known && branch.coordinator == coordinator && over.is_over(branch.attempt_number)
        };
        self.known().ended.extract_if(.., |branch, ended| passed(branch, ended)).map(|(branch, _)| branch).collect()
    }
}

impl<R: Branches> Observed<R> {
    /// Returns how another hand has ended the branch, if one has; it waits for one that is at work.
    pub(super) async fn ended_by_other_hand(&self, branch: &BranchId) -> Option<Ended> {
        self.hands.told_to_end(branch);
        if !self.hands.has_ended(branch) {
            return None;
        }
        let _at_work = self.hands.at_work.lock().await;
        self.hands.known().ended.get(branch).copied()
    }

    /// It was told to commit, as another hand had done.
    pub(super) async fn note_as_told(&self, branch: &BranchId, ended: Ended) -> Result<(), ResourceError> {
        let ended = Ended { is_known: true, ..ended };
        self.resource.store_heuristic(branch.clone(), ended.begun_at, ended.by_other_hand()).await?;
        self.hands.known().ended.insert(branch.clone(), ended);
        Ok(())
    }

    /// It was told to abort, as another hand had done.
    pub(super) async fn leave_no_trace(&self, branch: &BranchId) -> Result<(), ResourceError> {
        self.resource.forget_heuristic(branch.clone()).await?;
        self.hands.forget(branch);
        Ok(())
    }

    /// It was told to end as an operator wants it, as another hand had done.
    pub(super) async fn leave_to_operator(
        &self,
        branch: &BranchId,
        ended: Ended,
        heuristic: Heuristic,
    ) -> Result<(), ResourceError> {
        self.resource.store_heuristic(branch.clone(), ended.begun_at, heuristic).await?;
        self.hands.forget(branch);
        Ok(())
    }

    /// Lets other hands do what they are to do.
    pub(super) async fn let_other_hands(&self, stop: CancellationToken) -> Result<(), ResourceError> {
        let stirred = self.shared.stirred(self.host);
        loop {
            let at_work = self.hands.at_work.lock().await;
            while let Some((branch, ended)) = next(&self.hands, &self.shared, self.host) {
                if let Host::Participant(number) = self.host {
                    let tx = branch.tx.to_string();
                    self.shared.finals().participants.entry(number).or_default().ended_by_others.insert(tx);
                }
                match self.resource.resolve(branch.clone(), ended.by_other_hand()).await {
                    Ok(_) => self.note(&branch, BranchState::Over),
                    // It cannot write at the moment either.
                    Err(ResourceError::Unavailable { .. }) => {
                        self.hands.forget(&branch);
                    }
                    Err(ends) => return Err(ends),
                }
            }
            drop(at_work);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = stirred.notified() => {}
            }
        }
    }

    /// What other hands have done shows only when the participant tells branches to end.
    pub(super) fn hide_other_hands(&self, recovered: &mut Recovered) {
        let mut known = self.hands.known();
        *known = Known::default();
        let in_doubt = recovered.prepared.iter().map(|prepared| (prepared.branch.clone(), prepared.begun_at));
        known.prepared.extend(in_doubt);
        let theirs = |record: &mut HeuristicBranch| record.heuristic.who == OTHER_HAND;
        for HeuristicBranch { branch, begun_at, heuristic } in recovered.heuristics.extract_if(.., theirs) {
            let is_known = heuristic.decision.is_some();
            known.ended.insert(branch.clone(), Ended { begun_at, commit: heuristic.commit, is_known });
            if is_known {
                let (outcome, result) = (BranchOutcome::Committed, Kept::Here(Bytes::new()));
                recovered.finished.push(FinishedBranch { branch, outcome, result });
            } else {
                recovered.prepared.push(PreparedBranch { branch, begun_at, result: None });
            }
        }
    }
}

/// Returns the oldest branch that is prepared, and how another hand ends it.
fn next(hands: &OtherHands, shared: &Shared, host: Host) -> Option<(BranchId, Ended)> {
    let mut known = hands.known();
    let (branch, begun_at) = known.prepared.iter().min_by_key(|(branch, begun_at)| (**begun_at, *branch))?;
    let (branch, begun_at) = (branch.clone(), *begun_at);
    let commit = shared.next_other_hand(host)?;
    known.prepared.remove(&branch);
    let ended = Ended { begun_at, commit, is_known: false };
    known.ended.insert(branch.clone(), ended);
    Some((branch, ended))
}
