//! Armed timers: those that can do nothing any more are dropped, as firing would change nothing.

use super::Process;
use crate::scenario::{Scenario, step_number};
use undoubt_coordinator_core::{BranchView, Timer, TransactionView};
use undoubt_vocabulary::{AttemptNumber, Direction, PartState, StepIndex, TransactionPhase, TxId};

impl Process {
    /// A step waits for one thing at a time, so its last timer is the one that counts.
    pub(super) fn arm(&mut self, tx: TxId, attempt_number: AttemptNumber, timer: Timer) {
        if let Some(step) = step(timer) {
            self.timers
                .retain(|(other, of, armed)| *other != tx || *of != attempt_number || self::step(*armed) != Some(step));
        }
        self.timers.insert((tx, attempt_number, timer));
    }

    pub(super) fn drop_idle_timers(&mut self) {
        let core = &self.core;
        self.timers.retain(|(tx, _, timer)| match step(*timer) {
            Some(_) => core.view(tx).is_some_and(|view| is_awaited(&view, *timer)),
            None => true,
        });
    }

    /// Returns true if anything comes of it when it fires now.
    pub(crate) fn is_useful(&self, tx: &TxId, timer: Timer) -> bool {
        self.core.view(tx).is_some_and(|view| !view.paused && is_awaited(&view, timer))
    }

    /// Steps that wait for an operator.
    pub(crate) fn stuck(&self) -> Vec<(TxId, StepIndex)> {
        let stuck = self.core.views().filter(|view| view.phase == TransactionPhase::Stuck).flat_map(|view| {
            let steps = view.branches.iter().filter(|branch| branch.state == PartState::Stuck);
            steps.filter_map(number).map(|step| (view.tx.clone(), step)).collect::<Vec<_>>()
        });
        stuck.collect()
    }

    /// Steps that an operator may settle, though they are not stuck.
    pub(crate) fn unsettled(&self) -> Vec<(TxId, StepIndex)> {
        let unsettled_states = [
            PartState::Waiting,
            PartState::InDoubt,
            PartState::Acting,
            PartState::Compensating,
            PartState::Completing,
            PartState::WaitingToRetry,
        ];
        let is_unsettled = |state: PartState| unsettled_states.contains(&state);
        let sagas = self.core.views().filter(|view| view.saga && self.is_serving());
        let unsettled = sagas.flat_map(|view| {
            let steps = view.branches.iter().filter(|branch| is_unsettled(branch.state));
            steps.filter_map(number).map(|step| (view.tx.clone(), step)).collect::<Vec<_>>()
        });
        unsettled.collect()
    }

    /// Returns the number that is the name of the step at this place.
    pub(crate) fn number_of(&self, tx: &TxId, place: StepIndex) -> Option<StepIndex> {
        number(self.core.view(tx)?.branches.get(usize::from(place.0))?)
    }

    /// Returns true if anything comes of the deadline when it passes: an open saga that was closed or turned back heeds none.
    pub(crate) fn heeds_deadline(&self, tx: &TxId) -> bool {
        let heeds_none = |phase| {
            matches!(phase, TransactionPhase::LoggingClose | TransactionPhase::Completing | TransactionPhase::Closed)
        };
        self.core.view(tx).is_none_or(|view| !heeds_none(view.phase))
    }

    /// Breakers are open, perhaps, and their pause has not been over in this process' life.
    pub(crate) fn may_end_pause(&self, scenario: &Scenario) -> bool {
        scenario.breakers && self.clock == 0 && self.silent_at.is_some()
    }

    /// Returns true if somebody has let it wait, should its deadline pass now.
    pub(super) fn is_unanswered(&self, tx: &TxId) -> bool {
        self.core.view(tx).is_some_and(|view| {
            matches!(
                view.phase,
                TransactionPhase::Preparing | TransactionPhase::Confirming | TransactionPhase::Delegated
            )
        })
    }
}

/// Returns the number that is the name of the step.
fn number(branch: &BranchView) -> Option<StepIndex> {
    branch.step.as_ref().and_then(step_number)
}

fn step(timer: Timer) -> Option<StepIndex> {
    match timer {
        Timer::Attempt { step, .. } | Timer::StepRetry { step, .. } => Some(step),
        Timer::Deadline { .. } | Timer::Retry { .. } => None,
    }
}

fn is_awaited(view: &TransactionView, timer: Timer) -> bool {
    let state = |step: StepIndex| view.branches.get(usize::from(step.0)).map(|branch| branch.state);
    match timer {
        Timer::Attempt { step, direction: Direction::Forward, .. } => state(step) == Some(PartState::Acting),
        Timer::Attempt { step, direction: Direction::Compensating, .. } => state(step) == Some(PartState::Compensating),
        Timer::Attempt { step, direction: Direction::Completing, .. } => state(step) == Some(PartState::Completing),
        Timer::StepRetry { step, .. } => state(step) == Some(PartState::WaitingToRetry),
        Timer::Retry { .. } => view.unacknowledged || view.phase == TransactionPhase::Closing,
        Timer::Deadline { .. } => true,
    }
}
