//! The closing of an open saga, which is its pivot: from its record on, steps are completed, and none is undone. Where they are
//! completed by two-phase commit, the close begins that, and nothing is on record of it before its decision is.

use super::{Acted, At, Saga, State, Step};
use crate::context::Context;
use crate::effect::{Note, Rejection};
use crate::input::Client;
use crate::open_transaction::Admitted;
use crate::saga::log::Written;
use crate::transaction::Transaction;
use undoubt_vocabulary::{AttemptNumber, Direction, Execution, SagaStep, time_left};

impl Saga {
    /// Closes the saga. The client hears the outcome: of several who close and cancel, the first that is on record counts.
    ///
    /// # Errors
    /// [`Rejection::StepUnsettled`]: an action is under way, or nobody knows what became of it.
    pub(crate) fn ask_to_close(&mut self, client: Client, wait: bool, cx: &mut Context<'_>) -> Result<(), Rejection> {
        if self.opening.is_none() {
            return Err(Rejection::NotBegun);
        }
        if self.state == State::Open && self.is_free() {
            if let Some(step) = self.unsettled() {
                let (step, state) = (step.definition.name.clone(), step.at.state());
                return Err(Rejection::StepUnsettled { step, state });
            }
            self.wait_for(client, wait, cx);
            self.begin_to_close(cx);
            return Ok(());
        }
        if self.state == State::Beginning {
            return Err(Rejection::Beginning);
        }
        self.wait_for(client, wait, cx);
        Ok(())
    }

    /// Returns the two-phase commit of all that has joined, for the client who closes it and all who wait. `attempt_number`: a new
    /// one, for participants may have seen their low-water marks pass that of the beginning.
    ///
    /// # Errors
    /// [`Rejection::StepUnsettled`]: it is not on record yet that a step joined.
    /// [`Rejection::RecoveryPaused`]: it came from the log, and an operator has paused all that did.
    /// [`Rejection::Lacks`]: a participant cannot prepare.
    pub(crate) fn go_on_as_two_phase(
        &mut self,
        attempt_number: AttemptNumber,
        (client, wait): (Client, bool),
        cx: &mut Context<'_>,
    ) -> Result<Transaction, Rejection> {
        if self.held {
            return Err(Rejection::RecoveryPaused);
        }
        if let Some(step) = self.unsettled() {
            let (step, state) = (step.definition.name.clone(), step.at.state());
            return Err(Rejection::StepUnsettled { step, state });
        }
        let branch = |step: &Step| {
            let SagaStep { participant, completion, .. } = &*step.definition;
            (participant.clone(), completion.clone().unwrap_or_default())
        };
        let branches: Vec<_> = self.steps.iter().map(branch).collect();
        let ability = Execution::of(branches.len()).ability();
        if let Some((participant, _)) = branches.iter().find(|(participant, _)| cx.peers.lacks(participant, ability)) {
            return Err(Rejection::Lacks { participant: participant.clone(), ability });
        }
        self.note(Note::CloseAsked, cx);
        let (tx, digest, begun_at) = (self.tx.clone(), self.digest, self.begun_at);
        let timeout = time_left(begun_at, self.deadline, cx.now);
        let admitted = Admitted { tx, attempt_number, digest, begun_at, timeout };
        let mut transaction = Transaction::begin(admitted, branches, None, (client, wait), cx);
        transaction.owner = self.owner().cloned();
        for client in self.take_waiters() {
            transaction.wait_for(client, true, cx);
        }
        Ok(transaction)
    }

    /// Returns true if a close begins the two-phase commit of what has joined.
    pub(crate) fn is_to_be_committed(&self) -> bool {
        self.is_two_phase() && self.state == State::Open && !self.steps.is_empty()
    }

    /// Returns a step of which nobody knows yet what became of it.
    pub(super) fn unsettled(&self) -> Option<&Step> {
        let is_unsettled =
            |step: &&Step| !step.is_check_back() && (!step.at.is_settled(Direction::Forward) || step.word_unrecorded);
        self.steps.iter().find(is_unsettled)
    }

    /// Closes the saga, every step of which is settled.
    pub(super) fn begin_to_close(&mut self, cx: &mut Context<'_>) {
        if let Some(opening) = &mut self.opening {
            opening.closed = true;
        }
        self.note(Note::CloseAsked, cx);
        self.state = State::LoggingClose;
        self.settle_what_needs_no_completion();
        self.tell_that_it_ends(cx);
        if self.is_settled() && !self.is_provisional() {
            // Nothing is to be completed, so nothing is sent that would have to wait for the record.
            self.finish(false, cx);
        } else {
            self.append(Written::Closed, true, cx);
        }
    }

    pub(super) fn settle_what_needs_no_completion(&mut self) {
        self.ask_no_more(&At::Completed);
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
