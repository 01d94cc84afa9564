//! A saga as an operator sees it.

use super::{At, Run, Saga, State, Step, WaitsFor};
use crate::transaction::{BranchView, TransactionView};
use undoubt_vocabulary::{BranchOutcome, Direction, PartState, TransactionPhase};

impl Saga {
    pub(crate) fn view(&self) -> TransactionView {
        let branch = |step: &Step| BranchView {
            participant: step.definition.participant.clone(),
            step: Some(step.definition.name.clone()),
            state: step.at.state(),
            outcome: step
                .at
                .outcome(self.is_undecided())
                .filter(|_| !(step.at == At::Completed && self.is_provisional())),
            detail: match &step.at {
                At::Refused(refusal) => Some(refusal.to_string()),
                At::Running(_) => step.refused.as_ref().map(ToString::to_string),
                At::Waiting
                | At::Doubtful
                | At::Elsewhere
                | At::Unanswered { .. }
                | At::Done { .. }
                | At::Completed
                | At::Undone
                | At::Skipped => None,
            },
        };
        let announced = self.is_announced();
        TransactionView {
            tx: self.tx.clone(),
            attempt_number: self.attempt_number,
            begun_at: self.begun_at,
            saga: !self.is_two_phase(),
            phase: self.phase(),
            outcome: announced.then(|| self.outcome()),
            results: if announced { self.results() } else { Vec::new() },
            branches: self.steps.iter().map(branch).collect(),
            unacknowledged: false,
            stuck: self.stuck(),
            paused: self.held,
            unusable_because: None,
            parent: self.parent().cloned(),
            children: self.children().cloned().collect(),
        }
    }

    fn phase(&self) -> TransactionPhase {
        let stuck = |step: &Step| step.at.state() == PartState::Stuck;
        match self.state {
            State::Beginning => TransactionPhase::Beginning,
            State::Forward | State::Open | State::Completing | State::Compensating if self.steps.iter().any(stuck) => {
                TransactionPhase::Stuck
            }
            State::Forward => TransactionPhase::Running,
            State::Open => TransactionPhase::Open,
            State::LoggingClose => TransactionPhase::LoggingClose,
            State::Completing => TransactionPhase::Completing,
            State::Kept => TransactionPhase::Closed,
            State::LoggingCompensation => TransactionPhase::LoggingCompensation,
            State::Compensating => TransactionPhase::Compensating,
            State::Closing { .. } => TransactionPhase::Closing,
            State::Deciding | State::Ending { .. } => TransactionPhase::Ending,
            State::Ended => TransactionPhase::Ended,
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        match self.state {
            State::Ending { .. } => true,
            State::Beginning
            | State::Forward
            | State::Open
            | State::LoggingClose
            | State::Completing
            | State::Kept
            | State::LoggingCompensation
            | State::Compensating
            | State::Deciding
            | State::Closing { .. }
            | State::Ended => false,
        }
    }

    /// Steps are still to be done or undone.
    pub(super) fn is_undecided(&self) -> bool {
        match self.state {
            State::Beginning
            | State::Forward
            | State::Open
            | State::LoggingClose
            | State::Completing
            | State::Kept
            | State::LoggingCompensation
            | State::Compensating => true,
            State::Deciding | State::Closing { .. } | State::Ending { .. } | State::Ended => false,
        }
    }
}

impl At {
    pub(super) fn state(&self) -> PartState {
        match self {
            At::Waiting => PartState::Waiting,
            At::Doubtful => PartState::InDoubt,
            At::Running(Run { waits_for: WaitsFor::Answer, direction: Direction::Forward, .. }) => PartState::Acting,
            At::Running(Run { waits_for: WaitsFor::Answer, direction: Direction::Compensating, .. }) => {
                PartState::Compensating
            }
            At::Running(Run { waits_for: WaitsFor::Answer, direction: Direction::Completing, .. }) => {
                PartState::Completing
            }
            At::Elsewhere => PartState::Joined,
            At::Unanswered { .. } => PartState::InDoubt,
            At::Refused(_) => PartState::Refused,
            At::Completed => PartState::Completed,
            At::Running(Run { waits_for: WaitsFor::Pause, .. }) => PartState::WaitingToRetry,
            At::Running(Run { waits_for: WaitsFor::Operator, .. }) => PartState::Stuck,
            At::Running(Run { waits_for: WaitsFor::Record, .. }) => PartState::Resolving,
            At::Done { pending: false, .. } => PartState::Done,
            At::Done { pending: true, .. } => PartState::DoneWithLocks,
            At::Undone => PartState::Undone,
            At::Skipped => PartState::Skipped,
        }
    }

    /// What nothing can change any more.
    fn outcome(&self, undecided: bool) -> Option<BranchOutcome> {
        match self {
            At::Done { .. } if !undecided => Some(BranchOutcome::Committed),
            At::Completed => Some(BranchOutcome::Committed),
            At::Undone | At::Refused(_) => Some(BranchOutcome::Aborted),
            At::Skipped => Some(BranchOutcome::Unknown),
            At::Waiting | At::Doubtful | At::Running(_) | At::Elsewhere | At::Unanswered { .. } | At::Done { .. } => {
                None
            }
        }
    }
}
