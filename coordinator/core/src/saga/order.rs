//! The order of steps: what may run when, and whether the saga may still compensate.

use super::{At, Run, Saga, State, Step};
use crate::context::Context;
use undoubt_vocabulary::{Direction, SagaStep};

impl Saga {
    /// Runs whatever has nothing to wait for any more.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) {
        let direction = match self.state {
            State::Forward => Direction::Forward,
            State::Compensating => Direction::Compensating,
            State::Beginning
            | State::LoggingCompensation
            | State::Deciding
            | State::Closing { .. }
            | State::Ending { .. }
            | State::Ended => return,
        };
        let state = self.state;
        for step in 0..self.steps.len() {
            // A step that cannot be sent may have had the saga compensated.
            if self.state == state && self.is_ready(step, direction) {
                self.start(step, direction, cx);
            }
        }
    }

    fn is_ready(&self, step: usize, direction: Direction) -> bool {
        match (direction, &self.steps[step].at) {
            (Direction::Forward, At::Waiting | At::Doubtful) => self.before(step).all(|before| {
                let known = &self.steps[before];
                known.is_passed(Direction::Forward) && (known.on_record || !self.waits_for_record(step))
            }),
            (Direction::Compensating, At::Done { .. } | At::Doubtful) => {
                self.after(step).all(|after| self.steps[after].is_passed(Direction::Compensating))
            }
            (Direction::Forward, At::Running(_) | At::Done { .. } | At::Undone | At::Skipped)
            | (Direction::Compensating, At::Running(_) | At::Undone | At::Skipped) => false,
            (Direction::Compensating, At::Waiting) => {
                unreachable!("a saga that compensates settles what it never sent")
            }
        }
    }

    /// Returns true if there is nothing left to do in the direction that it goes, and its end has not been decided.
    pub(super) fn is_settled(&self) -> bool {
        match self.state {
            State::Forward => self.all_settled(Direction::Forward),
            State::LoggingCompensation | State::Compensating => self.all_settled(Direction::Compensating),
            State::Beginning | State::Deciding | State::Closing { .. } | State::Ending { .. } | State::Ended => false,
        }
    }

    fn all_settled(&self, direction: Direction) -> bool {
        self.steps.iter().all(|step| step.at.is_settled(direction))
    }

    /// Returns steps that have to be done directly before this one.
    pub(super) fn before(&self, step: usize) -> impl Iterator<Item = usize> + '_ {
        self.steps[step].definition.after.iter().map(|before| usize::from(before.0))
    }

    /// Returns steps that wait directly for this one.
    pub(super) fn after(&self, step: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.steps.len()).filter(move |after| self.before(*after).any(|before| before == step))
    }

    /// Returns true if the step is sent only once the steps before it are on record as done; see the module's rules.
    pub(super) fn waits_for_record(&self, step: usize) -> bool {
        let SagaStep { pivot, uses, .. } = &*self.steps[step].definition;
        *pivot || !uses.is_empty()
    }

    fn pivot(&self) -> Option<usize> {
        self.steps.iter().position(|step| step.definition.pivot)
    }

    /// Returns true if the saga may still compensate: nothing decides it, and its pivot is certainly not in effect.
    pub(super) fn may_compensate(&self) -> bool {
        let undecided = match self.state {
            State::Beginning => true,
            State::Forward => !self.all_settled(Direction::Forward),
            State::LoggingCompensation
            | State::Compensating
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
    fn is_passed(&self, direction: Direction) -> bool {
        self.at.is_settled(direction) && !self.word_unrecorded
    }
}

impl At {
    pub(super) fn is_settled(&self, direction: Direction) -> bool {
        match (direction, self) {
            (Direction::Forward, At::Done { .. } | At::Skipped) => true,
            (Direction::Compensating, At::Undone | At::Skipped) => true,
            (Direction::Forward, At::Waiting | At::Doubtful | At::Running(_) | At::Undone)
            | (Direction::Compensating, At::Waiting | At::Doubtful | At::Running(_) | At::Done { .. }) => false,
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
