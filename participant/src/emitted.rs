//! The last events that branches and steps have published, on their way from the resource to the answers that tell them.
//!
//! They decide nothing, so the core does not know of them. A resource notes one before the call returns that has published it, and the
//! engine takes it when it hears of that call's end: what is noted is no more than what is under way.

use crate::resource::{BranchId, StepId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use undoubt_participant_core::Input;
use undoubt_vocabulary::{BranchOutcome, DigestMap, EventId, StepOutcome, ToCoordinator, Vote};

/// The place where a resource notes what its work has published.
#[derive(Clone, Debug, Default)]
pub struct Emitted(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    branches: DigestMap<BranchId, EventId>,
    steps: BTreeMap<StepId, EventId>,
}

impl Emitted {
    /// Notes the last event of a branch that has committed.
    pub fn note_branch(&self, branch: BranchId, last: EventId) {
        self.noted().branches.insert(branch, last);
    }

    /// Notes the last event of a step that has run.
    pub fn note_step(&self, step: StepId, last: EventId) {
        self.noted().steps.insert(step, last);
    }

    /// Takes what the call has published whose end this is.
    pub(crate) fn take(&self, end: &Input) -> Option<EventId> {
        if let Input::Executed { branch, .. } | Input::Committed { branch } | Input::Gone { branch, .. } = end {
            return self.noted().branches.remove(branch);
        }
        if let Input::ActionRan { step, .. } | Input::StepFinished { step, .. } = end {
            return self.noted().steps.remove(step);
        }
        None
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().expect("nobody panics with the notes half changed")
    }
}

/// Returns true if a message says that something is in effect, so that what it has published may be told with it.
pub(crate) fn is_told_with(message: &ToCoordinator) -> bool {
    match message {
        ToCoordinator::Vote { vote, .. } => matches!(vote, Vote::Committed { .. }),
        ToCoordinator::Finished { outcome, .. } => *outcome == BranchOutcome::Committed,
        ToCoordinator::Ran { outcome, .. } => matches!(outcome, StepOutcome::Done { .. }),
        ToCoordinator::Confirmed { .. } | ToCoordinator::Inquiry { .. } | ToCoordinator::Closed { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Incarnation, Position};

    #[test]
    fn what_was_noted_is_told_once_and_for_its_own_coordinator() {
        let emitted = Emitted::default();
        let branch = |coordinator| BranchId {
            tx: "t".parse().unwrap(),
            attempt_number: AttemptNumber(7),
            coordinator: CoordinatorId([coordinator; 16]),
        };
        let last = EventId { incarnation: Incarnation([3; 16]), position: Position(9) };
        emitted.note_branch(branch(1), last);
        assert_eq!(emitted.take(&Input::Committed { branch: branch(2) }), None);
        assert_eq!(emitted.take(&Input::Committed { branch: branch(1) }), Some(last));
        assert_eq!(emitted.take(&Input::Committed { branch: branch(1) }), None);
    }
}
