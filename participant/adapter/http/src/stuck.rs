//! Confirms and cancels that services refuse, which have no other way on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use undoubt_participant::resource::BranchId;
use undoubt_vocabulary::Refusal;

/// The branches of which health tells; of more only the number.
const MAX_WARNINGS: usize = 16;

/// The branches whose end is refused: how often, and what was said last.
#[derive(Debug, Default)]
pub(crate) struct Stuck(Mutex<BTreeMap<BranchId, (u32, String)>>);

impl Stuck {
    /// Notes a refusal, and returns how many there were.
    pub(crate) fn refused(&self, branch: &BranchId, what: &str, refusal: &Refusal) -> u32 {
        let mut all = self.all();
        let (count, said) = all.entry(branch.clone()).or_default();
        *count = count.saturating_add(1);
        *said = format!("the {what} of transaction {} is refused: {}", branch.tx, refusal.detail);
        if *count == 1 {
            tracing::error!(tx = %branch.tx, what, refusal = %refusal, "a service refuses to end a branch; it is asked again");
        }
        *count
    }

    pub(crate) fn is_over(&self, branch: &BranchId) {
        self.all().remove(branch);
    }

    pub(crate) fn count(&self) -> u64 {
        self.all().len() as u64
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let all = self.all();
        let todo = "let the service take it, or the branch counts as ended the other way (http.max_refused_endings)";
        all.values().take(MAX_WARNINGS).map(|(count, said)| format!("{said} ({count} times); {todo}")).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<BranchId, (u32, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
