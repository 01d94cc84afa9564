//! The closing of an open saga, which is its pivot: from its record on, steps are completed, and none is undone.

use super::{Acted, At, Saga, State};
use crate::context::Context;
use crate::effect::{Note, Rejection};
use crate::input::Client;
use crate::saga::log::Written;
use undoubt_vocabulary::Direction;

impl Saga {
    /// Closes the saga. The client hears the outcome: of several who close and cancel, the first that is on record counts.
    ///
    /// # Errors
    /// [`Rejection::StepUnsettled`]: an action is under way, or nobody knows what became of it.
    pub(crate) fn ask_to_close(&mut self, client: Client, wait: bool, cx: &mut Context<'_>) -> Result<(), Rejection> {
        let Some(opening) = &mut self.opening else { return Err(Rejection::NotBegun) };
        if self.state == State::Open {
            let unsettled =
                self.steps.iter().find(|step| !step.at.is_settled(Direction::Forward) || step.word_unrecorded);
            if let Some(step) = unsettled {
                let (step, state) = (step.definition.name.clone(), step.at.state());
                return Err(Rejection::StepUnsettled { step, state });
            }
            opening.closed = true;
            self.note(Note::CloseAsked, cx);
            self.state = State::LoggingClose;
            self.settle_what_needs_no_completion();
            self.wait_for(client, wait, cx);
            if self.is_settled() {
                // Nothing is to be completed, so nothing is sent that would have to wait for the record.
                self.finish(false, cx);
            } else {
                self.append(Written::Closed, true, cx);
            }
            return Ok(());
        }
        if self.state == State::Beginning {
            return Err(Rejection::Beginning);
        }
        self.wait_for(client, wait, cx);
        Ok(())
    }

    pub(super) fn settle_what_needs_no_completion(&mut self) {
        for step in self.steps.iter_mut().filter(|step| step.definition.completion.is_none()) {
            match &step.at {
                At::Done { result, pending } => {
                    step.acted = Acted { result: result.clone(), pending: *pending };
                    step.at = At::Completed;
                }
                At::Elsewhere => step.at = At::Completed,
                At::Waiting
                | At::Doubtful
                | At::Running(_)
                | At::Unanswered { .. }
                | At::Refused(_)
                | At::Completed
                | At::Undone
                | At::Skipped => {}
            }
        }
    }
}
