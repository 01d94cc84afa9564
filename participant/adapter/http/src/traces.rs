//! The traces that calls belong to, until they are made.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use undoubt_participant::resource::{BranchId, StepId, TracedCall};
use undoubt_vocabulary::TraceContext;

/// The calls of which the trace is known; of more it is not handed on.
const MAX_TRACED: usize = 4_096;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Traced {
    Step(StepId),
    Branch(BranchId),
}

#[derive(Debug, Default)]
pub(crate) struct Contexts(Mutex<BTreeMap<Traced, TraceContext>>);

impl Contexts {
    pub(crate) fn put(&self, call: TracedCall<'_>, context: TraceContext) {
        let key = match call {
            TracedCall::Step(step) => Traced::Step(step.clone()),
            TracedCall::Branch(branch) => Traced::Branch(branch.clone()),
        };
        let mut all = self.all();
        if all.len() < MAX_TRACED || all.contains_key(&key) {
            all.insert(key, context);
        }
    }

    pub(crate) fn of_branch(&self, branch: &BranchId) -> Option<TraceContext> {
        self.all().get(&Traced::Branch(branch.clone())).cloned()
    }

    /// Returns the context of a step's next call, which is its only one.
    pub(crate) fn take_of_step(&self, step: &StepId) -> Option<TraceContext> {
        self.all().remove(&Traced::Step(step.clone()))
    }

    /// Forgets a branch that waits for its end, or has ended.
    pub(crate) fn forget_branch(&self, branch: &BranchId) {
        self.all().remove(&Traced::Branch(branch.clone()));
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Traced, TraceContext>> {
        // Nothing between taking and freeing it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
