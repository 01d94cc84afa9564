//! What may run when, and whether the saga may still turn back.

use super::{At, Run, Saga, State, Step};
use crate::context::Context;
use undoubt_vocabulary::{Half, SagaStep};

impl Saga {
    /// Runs whatever has nothing to wait for any more.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) {
        let half = match self.state {
            State::Forward => Half::Action,
            State::Back => Half::Compensation,
            State::Beginning
            | State::Turning
            | State::Deciding
            | State::Closing { .. }
            | State::Ending { .. }
            | State::Ended => return,
        };
        let state = self.state;
        for step in 0..self.steps.len() {
            // A step that cannot be sent may have turned the saga back.
            if self.state == state && self.is_ready(step, half) {
                self.start(step, half, cx);
            }
        }
    }

    fn is_ready(&self, step: usize, half: Half) -> bool {
        match (half, &self.steps[step].at) {
            (Half::Action, At::Waiting | At::Doubtful) => self.before(step).all(|before| {
                let known = &self.steps[before];
                known.is_passed(Half::Action) && (known.on_record || !self.waits_for_record(step))
            }),
            (Half::Compensation, At::Done { .. } | At::Doubtful) => {
                self.after(step).all(|after| self.steps[after].is_passed(Half::Compensation))
            }
            (Half::Action, At::Running(_) | At::Done { .. } | At::Undone | At::Skipped)
            | (Half::Compensation, At::Running(_) | At::Undone | At::Skipped) => false,
            (Half::Compensation, At::Waiting) => unreachable!("a saga that turns back settles what it never sent"),
        }
    }

    /// There is nothing left to do in the direction that it goes, and its end has not been decided.
    pub(super) fn is_settled(&self) -> bool {
        match self.state {
            State::Forward => self.all_settled(Half::Action),
            State::Turning | State::Back => self.all_settled(Half::Compensation),
            State::Beginning | State::Deciding | State::Closing { .. } | State::Ending { .. } | State::Ended => false,
        }
    }

    fn all_settled(&self, half: Half) -> bool {
        self.steps.iter().all(|step| step.at.is_settled(half))
    }

    /// Steps that have to be done directly before this one.
    pub(super) fn before(&self, step: usize) -> impl Iterator<Item = usize> + '_ {
        self.steps[step].definition.after.iter().map(|before| usize::from(before.0))
    }

    /// Steps that wait directly for this one.
    pub(super) fn after(&self, step: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.steps.len()).filter(move |after| self.before(*after).any(|before| before == step))
    }

    /// It is sent only once the steps before it are on record as done; see the module's rules.
    pub(super) fn waits_for_record(&self, step: usize) -> bool {
        let SagaStep { pivot, uses, .. } = &*self.steps[step].definition;
        *pivot || !uses.is_empty()
    }

    fn pivot(&self) -> Option<usize> {
        self.steps.iter().position(|step| step.definition.pivot)
    }

    /// Whether the saga may still turn back: nothing decides it, and its pivot is certainly not in effect.
    pub(super) fn may_turn(&self) -> bool {
        let undecided = match self.state {
            State::Beginning => true,
            State::Forward => !self.all_settled(Half::Action),
            State::Turning
            | State::Back
            | State::Deciding
            | State::Closing { .. }
            | State::Ending { .. }
            | State::Ended => false,
        };
        undecided && self.pivot().is_none_or(|pivot| !self.steps[pivot].at.may_be_in_effect())
    }
}

impl Step {
    /// Others may go on from here.
    fn is_passed(&self, half: Half) -> bool {
        self.at.is_settled(half) && !self.word_unrecorded
    }
}

impl At {
    pub(super) fn is_settled(&self, half: Half) -> bool {
        match (half, self) {
            (Half::Action, At::Done { .. } | At::Skipped) => true,
            (Half::Compensation, At::Undone | At::Skipped) => true,
            (Half::Action, At::Waiting | At::Doubtful | At::Running(_) | At::Undone)
            | (Half::Compensation, At::Waiting | At::Doubtful | At::Running(_) | At::Done { .. }) => false,
        }
    }

    pub(super) fn may_be_in_effect(&self) -> bool {
        match self {
            At::Waiting | At::Undone => false,
            At::Running(Run { in_effect, .. }) => *in_effect,
            At::Doubtful | At::Done { .. } | At::Skipped => true,
        }
    }
}
