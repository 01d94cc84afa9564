//! An open saga in the log: its header, and a record for each step that has joined it.

use std::collections::BTreeMap;
use undoubt_coordinator_core::{JoinedRecord, OpenedRecord, OpenedState, Progress, Unfinished};
use undoubt_vocabulary::{Direction, Outcome, StepIndex, StepName, TxId};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OpenSaga {
    pub(crate) header: OpenedRecord,
    /// The records of its steps, by their places.
    pub(crate) steps: BTreeMap<StepIndex, JoinedRecord>,
}

impl OpenSaga {
    pub(super) fn new(header: OpenedRecord) -> OpenSaga {
        OpenSaga { header, steps: BTreeMap::new() }
    }

    pub(super) fn unfinished(&self) -> Unfinished {
        Unfinished::Opened(self.header.clone(), self.steps.values().cloned().collect())
    }

    /// Returns true if it is on record that it was closed, be it turned back since with its parent.
    pub(crate) fn was_closed(&self) -> bool {
        matches!(self.header.state, OpenedState::Closed | OpenedState::Reverting(_))
    }

    /// Returns the open saga that it is a part of.
    pub(crate) fn parent(&self) -> Option<&TxId> {
        self.header.parent.as_ref().map(|parent| &parent.tx)
    }

    pub(crate) fn named(&self, name: &StepName) -> Option<&JoinedRecord> {
        self.steps.values().find(|joined| joined.step.name == *name)
    }

    /// Returns how it comes out, which is decided once it was closed or compensates.
    pub(crate) fn decided(&self) -> Option<Outcome> {
        match &self.header.state {
            OpenedState::Open => None,
            // What a nested one comes to is decided with its parent.
            OpenedState::Closed => self.header.parent.is_none().then_some(Outcome::Committed),
            OpenedState::Compensating(reason) | OpenedState::Reverting(reason) => {
                Some(Outcome::Aborted(reason.clone()))
            }
        }
    }

    /// Returns how it came out, once every step is settled.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.decided().filter(|_| self.steps.values().all(|joined| is_finished(joined, self.direction())))
    }

    pub(crate) fn direction(&self) -> Direction {
        match self.header.state {
            OpenedState::Open => Direction::Forward,
            OpenedState::Closed => Direction::Completing,
            OpenedState::Compensating(_) | OpenedState::Reverting(_) => Direction::Compensating,
        }
    }
}

/// Returns true if it is on record that nothing is left to do for the step in this direction.
pub(crate) fn is_finished(joined: &JoinedRecord, direction: Direction) -> bool {
    let has_work = joined.step.work(direction).is_some();
    match (&joined.progress, direction) {
        (Progress::Refused(_) | Progress::Skipped, _)
        | (Progress::Done { .. } | Progress::Completed { .. }, Direction::Forward)
        | (Progress::Undone, Direction::Compensating)
        | (Progress::Completed { .. }, Direction::Completing) => true,
        (Progress::Pending, Direction::Completing) => !has_work && joined.step.action.is_none(),
        (Progress::Pending, Direction::Forward | Direction::Compensating)
        | (Progress::Done { .. }, Direction::Compensating | Direction::Completing)
        | (Progress::Completed { .. }, Direction::Compensating) => !has_work,
        (Progress::Undone, Direction::Forward | Direction::Completing) => false,
    }
}
