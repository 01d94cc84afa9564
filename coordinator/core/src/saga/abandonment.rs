//! An operator gives the saga up, whatever it waits for. The price is his: what is not settled stays as it is, and nobody
//! looks after it any more.

use super::{At, Run, Saga, State};
use crate::context::Context;
use crate::effect::Note;
use crate::input::Client;
use std::collections::BTreeSet;
use undoubt_vocabulary::{AbortReason, Direction, ParticipantName};

impl Saga {
    /// Gives the saga up; the client hears once the end is on stable storage. If the outcome was decided before, only
    /// the closing of semantic locks is given up, which is no damage: participants drop them with the low-water mark,
    /// or when an operator releases them.
    pub(crate) fn forget(&mut self, client: Client, cx: &mut Context<'_>) {
        self.waiters.insert(client);
        let callers = self.take_callers();
        self.waiters.extend(callers);
        match self.state {
            State::Beginning
            | State::Forward
            | State::Open
            | State::LoggingClose
            | State::Completing
            | State::Kept
            | State::LoggingCompensation
            | State::Compensating => {
                self.note(Note::Forgotten, cx);
                if self.may_compensate() {
                    let reason = self.given_up_on().map_or(AbortReason::Cancelled, |on| AbortReason::GivenUp { on });
                    self.compensating = Some(reason);
                }
                // A coordinator before this one may have sent compensations that the log knows nothing of.
                let undoing = self.recovered && self.state == State::Compensating;
                for step in &mut self.steps {
                    step.at = step.at.given_up(undoing);
                }
                self.forgotten = true;
                self.note(Note::Decided { outcome: self.outcome() }, cx);
                self.end(false, cx);
            }
            State::Deciding | State::Closing { .. } => {
                let answered = self.is_announced();
                self.note(Note::Forgotten, cx);
                self.forgotten = true;
                self.end(answered, cx);
            }
            // Its end is being recorded.
            State::Ending { .. } | State::Ended => {}
        }
    }

    /// Tells whom it can reach that the saga is over: others need not wait for the low-water mark.
    pub(super) fn close_what_was_forgotten(&self, cx: &mut Context<'_>) {
        if !self.forgotten {
            return;
        }
        let left: BTreeSet<&ParticipantName> =
            self.steps.iter().filter(|step| step.may_hold_locks()).map(|step| &step.definition.participant).collect();
        left.into_iter().for_each(|participant| self.send_close(participant, cx));
    }

    /// Returns the participant of a step that is not settled.
    fn given_up_on(&self) -> Option<ParticipantName> {
        let unsettled = self.steps.iter().find(|step| !step.at.is_settled(Direction::Forward));
        Some(unsettled.or(self.steps.first())?.definition.participant.clone())
    }
}

impl At {
    /// Returns what the record of the end says of the step: nothing more than is known.
    fn given_up(&self, undoing: bool) -> At {
        match self {
            At::Waiting | At::Running(Run { direction: Direction::Forward, in_effect: false, .. }) => At::Undone,
            At::Done { .. } if undoing => At::Skipped,
            At::Doubtful | At::Elsewhere | At::Unanswered { .. } | At::Running(_) => At::Skipped,
            At::Done { .. } | At::Refused(_) | At::Completed | At::Undone | At::Skipped => self.clone(),
        }
    }
}
