//! The check-back of an open saga: what is asked when its time is over, instead of turning it back.
//!
//! It is a step that joins then. Done closes the saga, failed turns it back, and anything else is asked again, without end, unless
//! somebody closes or cancels the saga meanwhile.

use super::{At, Joined, Run, Saga, State, Step, WaitsFor};
use crate::context::Context;
use crate::effect::{Note, Timer};
use crate::low_water_mark::Hold;
use crate::saga::log::Written;
use std::sync::Arc;
use undoubt_vocabulary::saga::CHECK_BACK;
use undoubt_vocabulary::{AbortReason, AttemptNumber, ParticipantName, Refusal, RefusalCode, SagaStep};

impl Step {
    pub(super) fn is_check_back(&self) -> bool {
        self.joined.is_some() && self.definition.name.as_str() == CHECK_BACK
    }
}

impl Saga {
    /// Returns the participant that is to be asked now, because the time is over.
    pub(crate) fn to_be_asked(&self) -> Option<ParticipantName> {
        let check_back = self.opening.as_ref()?.check_back.as_ref()?;
        let is_due = self.overdue && !self.held && self.state == State::Open && self.is_free();
        let is_asked = self.steps.iter().any(Step::is_check_back);
        (is_due && !is_asked).then(|| check_back.participant.clone())
    }

    /// Asks, under this attempt number, once that is on record.
    pub(crate) fn ask_back(&mut self, attempt_number: AttemptNumber, cx: &mut Context<'_>) {
        let Some(check_back) = self.opening.as_ref().and_then(|opening| opening.check_back.clone()) else { return };
        self.note(Note::DeadlinePassed, cx);
        cx.peers.low_water_marks.open(&check_back.participant, attempt_number, Hold::WhileYoung);
        let SagaStep { name, participant, .. } = &*check_back;
        self.note(Note::Joined { at: participant.clone(), step: name.clone() }, cx);
        let joined = Joined::unrecorded(attempt_number);
        self.steps.push(Step { joined: Some(joined), ..Step::new(Arc::clone(&check_back), At::Waiting) });
        self.append(Written::Joined(self.steps.len() - 1), true, cx);
    }

    /// Handles that the local transaction has been done.
    pub(super) fn handle_checked(&mut self, step: usize, run: Run, cx: &mut Context<'_>) {
        if self.unsettled().is_some() || !self.is_free() {
            // Once its other steps are settled, it is asked again; unless it ends with its parent.
            return self.ask_later(step, run, cx);
        }
        self.begin_to_close(cx);
    }

    /// Handles that it was refused, or not answered.
    pub(super) fn handle_not_checked(&mut self, step: usize, run: Run, refusal: Option<Refusal>, cx: &mut Context<'_>) {
        match refusal {
            Some(refusal) if refusal.code == RefusalCode::Condition && self.is_free() => {
                let by = self.steps[step].definition.participant.clone();
                self.compensate(AbortReason::Refused { by, refusal }, cx);
            }
            refusal => {
                let SagaStep { name, participant, retry, .. } = &*self.steps[step].definition;
                if run.attempt == retry.max_attempts {
                    let (by, step, direction) = (participant.clone(), name.clone(), run.direction);
                    self.note(Note::HeldUp { by, step, direction, refusal: refusal.clone() }, cx);
                }
                self.steps[step].refused = refusal;
                self.ask_later(step, run, cx);
            }
        }
    }

    fn ask_later(&mut self, step: usize, run: Run, cx: &mut Context<'_>) {
        self.steps[step].at = At::Running(Run { waits_for: WaitsFor::Pause, ..run });
        let retry = self.steps[step].definition.retry;
        let timer = Timer::StepRetry {
            step: super::step_index(step),
            direction: run.direction,
            attempt: run.attempt,
            first_pause: retry.first_pause,
            max_pause: retry.max_pause,
        };
        cx.arm(&self.tx, self.attempt_number, timer);
    }

    /// Settles the check-back, as the saga ends without its answer or after it.
    pub(super) fn ask_no_more(&mut self, at: &At) {
        for step in self.steps.iter_mut().filter(|step| step.is_check_back()) {
            step.at = at.clone();
        }
    }
}
