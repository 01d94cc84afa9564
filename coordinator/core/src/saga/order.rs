//! The order of steps: what may run when, and whether the saga may still compensate.

use super::{At, Run, Saga, State, Step};
use crate::context::Context;
use crate::record::Completions;
use undoubt_vocabulary::{Direction, SagaStep};

impl Saga {
    /// Runs whatever has nothing to wait for any more.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) {
        let direction = match self.state {
            State::Forward | State::Open => Direction::Forward,
            State::Compensating => Direction::Compensating,
            State::Completing => Direction::Completing,
            State::Beginning
            | State::LoggingClose
            | State::Kept
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
        if self.state == state {
            self.advance_children(direction, cx);
            self.follow_parent(cx);
        }
    }

    fn is_ready(&self, step: usize, direction: Direction) -> bool {
        match (direction, &self.steps[step].at) {
            (Direction::Forward, At::Waiting) if !self.steps[step].has_joined() => false,
            (Direction::Forward, At::Waiting | At::Doubtful) => self.before(step).all(|before| {
                let known = &self.steps[before];
                known.is_passed(Direction::Forward) && (known.on_record || !self.waits_for_record(step))
            }),
            (Direction::Compensating, At::Done { .. } | At::Doubtful | At::Elsewhere) => {
                !self.waits_for_child(step, direction)
                    && self.after(step).all(|after| self.steps[after].is_passed(Direction::Compensating))
            }
            (Direction::Completing, At::Done { .. } | At::Elsewhere) => {
                !self.waits_for_child(step, direction)
                    && self.completed_before(step).all(|before| self.steps[before].is_passed(Direction::Completing))
            }
            (_, At::Running(_) | At::Refused(_) | At::Undone | At::Completed | At::Skipped)
            | (Direction::Forward, At::Done { .. } | At::Elsewhere | At::Unanswered { .. }) => false,
            (Direction::Compensating | Direction::Completing, At::Waiting | At::Unanswered { .. })
            | (Direction::Completing, At::Doubtful) => {
                unreachable!("a saga that compensates or was closed has settled what it never sent or does not know")
            }
        }
    }

    /// Returns true if there is nothing left to do in the direction that it goes, and its end has not been decided.
    pub(super) fn is_settled(&self) -> bool {
        match self.state {
            State::Forward => self.all_settled(Direction::Forward),
            State::LoggingCompensation | State::Compensating => {
                self.children_are_settled() && self.all_settled(Direction::Compensating)
            }
            State::LoggingClose | State::Completing => {
                self.children_are_settled() && self.all_settled(Direction::Completing)
            }
            State::Beginning
            | State::Open
            | State::Kept
            | State::Deciding
            | State::Closing { .. }
            | State::Ending { .. }
            | State::Ended => false,
        }
    }

    pub(super) fn all_settled(&self, direction: Direction) -> bool {
        self.steps.iter().all(|step| step.at.is_settled(direction))
    }

    /// Returns steps that have to be done directly before this one.
    pub(super) fn before(&self, step: usize) -> impl Iterator<Item = usize> + '_ {
        self.steps[step].definition.after.iter().map(|before| usize::from(before.0))
    }

    /// Returns steps that wait directly for this one; of an open saga all that joined later, as they are undone before it.
    pub(super) fn after(&self, step: usize) -> impl Iterator<Item = usize> + '_ {
        let waits = move |after: &usize| self.before(*after).any(|before| before == step);
        (0..self.steps.len()).filter(move |after| if self.opening.is_some() { *after > step } else { waits(after) })
    }

    /// Returns the steps that are to be completed before this one.
    fn completed_before(&self, step: usize) -> std::ops::Range<usize> {
        match self.opening.as_ref().map(|opening| opening.terms.completions) {
            Some(Completions::Together | Completions::TwoPhase) | None => 0..0,
            Some(Completions::AsJoined) => 0..step,
            Some(Completions::Reversed) => step + 1..self.steps.len(),
        }
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
            State::Beginning | State::Open => true,
            State::Forward => !self.all_settled(Direction::Forward),
            State::LoggingClose
            | State::Completing
            | State::Kept
            | State::LoggingCompensation
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
    pub(super) fn is_passed(&self, direction: Direction) -> bool {
        self.at.is_settled(direction) && !self.word_unrecorded
    }
}

impl At {
    pub(super) fn is_settled(&self, direction: Direction) -> bool {
        match (direction, self) {
            (_, At::Refused(_) | At::Skipped)
            | (Direction::Forward, At::Done { .. } | At::Elsewhere)
            | (Direction::Compensating, At::Undone)
            | (Direction::Completing, At::Completed) => true,
            (_, At::Waiting | At::Doubtful | At::Running(_) | At::Unanswered { .. })
            | (Direction::Forward, At::Undone | At::Completed)
            | (Direction::Compensating, At::Done { .. } | At::Elsewhere | At::Completed)
            | (Direction::Completing, At::Done { .. } | At::Elsewhere | At::Undone) => false,
        }
    }

    pub(super) fn may_be_in_effect(&self) -> bool {
        match self {
            At::Waiting | At::Undone | At::Refused(_) => false,
            At::Running(Run { in_effect, .. }) => *in_effect,
            At::Doubtful | At::Elsewhere | At::Unanswered { .. } | At::Done { .. } | At::Completed | At::Skipped => {
                true
            }
        }
    }
}
