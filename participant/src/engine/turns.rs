//! Calls that the core goes on without: it does not remember that they are under way. What it wants next for the same
//! transaction is held back until they are done, so that no two calls for a transaction's branch meet (contract of
//! [`crate::resource`]).

use std::collections::VecDeque;
use undoubt_participant_core::Effect;
use undoubt_vocabulary::{DigestMap, TxId};

/// The effects that are held back while a call of their transaction is under way, by transaction: few, since the core
/// wants nothing more once a call is held back that it waits for.
#[derive(Debug, Default)]
pub(super) struct InTurn(DigestMap<TxId, VecDeque<Effect>>);

impl InTurn {
    /// Hands the effect on, or holds it back.
    pub(super) fn pass(&mut self, effect: Effect) -> Option<Effect> {
        // Mostly no such call is under way, and nothing has to be looked up.
        if self.0.is_empty() {
            return Some(effect);
        }
        match branch_of(&effect).and_then(|tx| self.0.get_mut(tx)) {
            Some(held) => {
                held.push_back(effect);
                None
            }
            None => Some(effect),
        }
    }

    /// # Panics
    /// If such a call is under way for the transaction already: it would have been held back.
    pub(super) fn begin(&mut self, tx: TxId) {
        assert!(self.0.insert(tx, VecDeque::new()).is_none(), "two calls for one transaction's branch meet");
    }

    /// Returns the effects that were held back meanwhile, in their order.
    pub(super) fn end(&mut self, tx: &TxId) -> VecDeque<Effect> {
        self.0.remove(tx).unwrap_or_default()
    }
}

/// Returns the transaction whose branch the effect has a call for.
fn branch_of(effect: &Effect) -> Option<&TxId> {
    match effect {
        Effect::Execute { branch, .. }
        | Effect::Cancel { branch }
        | Effect::Settle { branch }
        | Effect::Commit { branch }
        | Effect::Abort { branch }
        | Effect::Confirm { branch }
        | Effect::Release { branch }
        | Effect::Resolve { branch, .. }
        | Effect::StoreHeuristic { branch, .. }
        | Effect::ForgetHeuristic { branch, .. } => Some(&branch.tx),
        Effect::RecordEpoch { .. }
        | Effect::RecordPin { .. }
        | Effect::RememberSeen { .. }
        | Effect::RememberName { .. }
        | Effect::StorePutBack { .. }
        | Effect::AcceptLoss { .. }
        | Effect::Welcome { .. }
        | Effect::Close { .. }
        | Effect::Send { .. }
        | Effect::RunAction { .. }
        | Effect::CancelAction { .. }
        | Effect::FinishStep { .. }
        | Effect::RecallVote { .. }
        | Effect::RecallOutcome { .. }
        | Effect::StoreEmpty { .. }
        | Effect::CloseSaga { .. }
        | Effect::ReleaseMarks { .. }
        | Effect::Collect { .. }
        | Effect::Answer { .. } => None,
    }
}
