//! Auto's second way: an attempt by two-phase commit that nobody answered goes on as a saga.
//!
//! The saga has an attempt number of its own. The record of its beginning is at once the durable abort of the attempt,
//! since that is presumed (R1): whoever inquires with the attempt's number hears abort, before and after a crash. Until
//! that record is stable the attempt's number stays open in the low-water mark.

use super::{Context, Event, State, Transaction};
use crate::effect::Note;
use crate::open_transaction::Admitted;
use crate::saga::{Former, Saga};
use std::time::Duration;
use undoubt_vocabulary::{AbortReason, AttemptNumber, Refusal, RefusalCode, SagaStep};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fallback {
    pub(crate) steps: Vec<SagaStep>,
    /// The saga's timeout, counted anew from its beginning.
    pub(crate) timeout: Duration,
}

impl Transaction {
    pub(super) fn falls_back(&self, reason: &AbortReason) -> bool {
        let undecided = match self.state {
            State::Preparing | State::Confirming => true,
            // A single branch commits by itself, as a step would: the saga could do no better.
            State::LoggingDelegation
            | State::Delegated { .. }
            | State::Settling { .. }
            | State::LoggingCommit
            | State::Committing { .. }
            | State::LoggingEnd { .. }
            | State::FallenBack(_)
            | State::Ended => false,
        };
        let unanswered = match reason {
            AbortReason::DeadlinePassed { .. }
            | AbortReason::Refused { refusal: Refusal { code: RefusalCode::Unavailable, .. }, .. } => true,
            // Only sagas' steps have attempts.
            AbortReason::Refused { .. }
            | AbortReason::Unanswered { .. }
            | AbortReason::ReadLocksLost { .. }
            | AbortReason::NotExecuted { .. }
            | AbortReason::GivenUp { .. }
            | AbortReason::Cancelled
            | AbortReason::TooMuch { .. }
            | AbortReason::Unusable { .. }
            | AbortReason::Presumed => false,
        };
        self.fallback.is_some() && undecided && unanswered
    }

    pub(crate) fn has_fallen_back(&self) -> bool {
        match self.state {
            State::FallenBack(_) => true,
            State::Preparing
            | State::Confirming
            | State::LoggingDelegation
            | State::Delegated { .. }
            | State::Settling { .. }
            | State::LoggingCommit
            | State::Committing { .. }
            | State::LoggingEnd { .. }
            | State::Ended => false,
        }
    }

    /// Returns the saga that takes the place of an attempt that has fallen back, with those who wait for it.
    pub(crate) fn go_on_as_saga(&mut self, attempt_number: AttemptNumber, cx: &mut Context<'_>) -> Saga {
        let State::FallenBack(reason) = &self.state else {
            unreachable!("only an attempt that has fallen back goes on as a saga");
        };
        let Fallback { steps, timeout } = self.fallback.take().expect("only what has a second way falls back");
        cx.note(&self.tx, Note::Chosen { saga: true, why: format!("two-phase commit was aborted, {reason}") });
        cx.peers.breakers.over(self.attempt_number, cx.now);
        let former = Former {
            attempt_number: self.attempt_number,
            participants: self.branches.iter().map(|branch| branch.participant.clone()).collect(),
        };
        let admitted = Admitted { tx: self.tx.clone(), attempt_number, digest: self.digest, begun_at: cx.now, timeout };
        let mut saga = Saga::begin(admitted, steps, Some(former), cx);
        for client in std::mem::take(&mut self.waiters) {
            saga.wait_for(client, true, cx);
        }
        saga
    }

    /// Teaches the breakers who answers, by every two-phase commit, however it was chosen.
    pub(super) fn update_breakers(&self, event: &Event, cx: &mut Context<'_>) {
        match event {
            Event::Voted { branch, .. } | Event::Confirmed { branch, .. } | Event::Finished { branch, .. } => {
                cx.peers.breakers.answered(&self.branches[*branch].participant);
            }
            Event::DeadlinePassed => match self.state {
                State::Preparing | State::Confirming | State::Delegated { .. } => {
                    self.unanswered().iter().for_each(|silent| cx.peers.breakers.silent(silent, cx.now));
                }
                State::LoggingDelegation
                | State::Settling { .. }
                | State::LoggingCommit
                | State::Committing { .. }
                | State::LoggingEnd { .. }
                | State::FallenBack(_)
                | State::Ended => {}
            },
            Event::Inquired { .. }
            | Event::Connected { .. }
            | Event::RetryDue { .. }
            | Event::Logged { .. }
            | Event::Cancelled
            | Event::Forgotten
            | Event::Resumed => {}
        }
    }
}
