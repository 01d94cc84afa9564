//! A saga as an operator sees it.

use super::{At, Run, Saga, State, Step, WaitsFor};
use crate::transaction::{BranchView, TransactionView};
use undoubt_vocabulary::{BranchOutcome, Direction};

impl Saga {
    pub(crate) fn view(&self) -> TransactionView {
        let branch = |step: &Step| BranchView {
            participant: step.definition.participant.clone(),
            step: Some(step.definition.name.clone()),
            state: step.at.as_str(),
            outcome: step.at.outcome(self.is_undecided()),
            detail: step.refused.as_ref().filter(|_| matches!(step.at, At::Running(_))).map(ToString::to_string),
        };
        let announced = self.is_announced();
        TransactionView {
            tx: self.tx.clone(),
            attempt_number: self.attempt_number,
            begun_at: self.begun_at,
            saga: true,
            phase: self.phase(),
            outcome: announced.then(|| self.outcome()),
            results: if announced { self.results() } else { Vec::new() },
            branches: self.steps.iter().map(branch).collect(),
            unacknowledged: false,
            stuck: self.stuck(),
            paused: self.held,
            unusable_because: None,
        }
    }

    fn phase(&self) -> &'static str {
        let stuck = |step: &Step| step.at.as_str() == "stuck";
        match self.state {
            State::Beginning => "beginning",
            State::Forward | State::Compensating if self.steps.iter().any(stuck) => "stuck",
            State::Forward => "running",
            State::LoggingCompensation => "logging-compensation",
            State::Compensating => "compensating",
            State::Closing { .. } => "closing",
            State::Deciding | State::Ending { .. } => "ending",
            State::Ended => "ended",
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        match self.state {
            State::Ending { .. } => true,
            State::Beginning
            | State::Forward
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
            State::Beginning | State::Forward | State::LoggingCompensation | State::Compensating => true,
            State::Deciding | State::Closing { .. } | State::Ending { .. } | State::Ended => false,
        }
    }
}

impl At {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            At::Waiting => "waiting",
            At::Doubtful => "in-doubt",
            At::Running(Run { waits_for: WaitsFor::Answer, direction: Direction::Forward, .. }) => "acting",
            At::Running(Run { waits_for: WaitsFor::Answer, direction: Direction::Compensating, .. }) => "compensating",
            At::Running(Run { waits_for: WaitsFor::Pause, .. }) => "waiting-to-retry",
            At::Running(Run { waits_for: WaitsFor::Operator, .. }) => "stuck",
            At::Running(Run { waits_for: WaitsFor::Record, .. }) => "resolving",
            At::Done { pending: false, .. } => "done",
            At::Done { pending: true, .. } => "done-with-locks",
            At::Undone => "undone",
            At::Skipped => "skipped",
        }
    }

    /// What nothing can change any more.
    fn outcome(&self, undecided: bool) -> Option<BranchOutcome> {
        match self {
            At::Done { .. } if !undecided => Some(BranchOutcome::Committed),
            At::Undone => Some(BranchOutcome::Aborted),
            At::Skipped => Some(BranchOutcome::Unknown),
            At::Waiting | At::Doubtful | At::Running(_) | At::Done { .. } => None,
        }
    }
}
