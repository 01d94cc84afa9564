//! A transaction as an operator sees it.

use super::{BranchVote, State, Transaction};
use bytes::Bytes;
use undoubt_vocabulary::{
    AttemptNumber, BranchOutcome, Outcome, PartName, PartState, ParticipantName, StepName, StuckStep, Timestamp,
    TransactionPhase, TxId,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionView {
    pub tx: TxId,
    pub attempt_number: AttemptNumber,
    pub begun_at: Timestamp,
    /// Then there is one branch for each step, and results are named by the steps.
    pub saga: bool,
    pub phase: TransactionPhase,
    /// Only if it is stable.
    pub outcome: Option<Outcome>,
    pub results: Vec<(PartName, Bytes)>,
    pub branches: Vec<BranchView>,
    /// Decided to commit, and not everybody has acknowledged.
    pub unacknowledged: bool,
    pub paused: bool,
    /// The step of a saga that waits for an operator.
    pub stuck: Option<StuckStep>,
    /// Its record cannot be carried out, for this cause.
    pub unusable_because: Option<String>,
    /// The open saga that it is nested in.
    pub parent: Option<TxId>,
    /// The sagas that are nested in it and have not ended.
    pub children: Vec<TxId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchView {
    pub participant: ParticipantName,
    /// Of a saga: which step.
    pub step: Option<StepName>,
    pub state: PartState,
    pub outcome: Option<BranchOutcome>,
    /// The last refusal by its participant, while a step with no way but on is refused.
    pub detail: Option<String>,
}

impl Transaction {
    pub(crate) fn view(&self) -> TransactionView {
        let outcome = self.stable_outcome();
        let branch = |branch: &super::Branch| BranchView {
            participant: branch.participant.clone(),
            step: None,
            state: branch.vote.state(),
            outcome: branch.outcome,
            detail: None,
        };
        TransactionView {
            tx: self.tx.clone(),
            attempt_number: self.attempt_number,
            begun_at: self.begun_at,
            saga: false,
            phase: self.state.phase(),
            results: if outcome.is_some() { self.results() } else { Vec::new() },
            outcome,
            branches: self.branches.iter().map(branch).collect(),
            unacknowledged: self.is_unacknowledged(),
            paused: self.held,
            stuck: None,
            unusable_because: None,
            parent: None,
            children: Vec::new(),
        }
    }

    /// Returns the outcome, once its record is stable.
    pub(super) fn stable_outcome(&self) -> Option<Outcome> {
        match &self.state {
            State::Committing { .. } => Some(Outcome::Committed),
            State::LoggingEnd { outcome, answered: true } => Some(outcome.clone()),
            State::Preparing
            | State::Confirming
            | State::LoggingCommit
            | State::LoggingDelegation
            | State::Delegated { .. }
            | State::Settling { .. }
            | State::LoggingEnd { answered: false, .. }
            | State::FallenBack(_)
            | State::Ended => None,
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        match self.state {
            State::LoggingEnd { .. } => true,
            State::Preparing
            | State::Confirming
            | State::LoggingCommit
            | State::Committing { .. }
            | State::LoggingDelegation
            | State::Delegated { .. }
            | State::Settling { .. }
            | State::FallenBack(_)
            | State::Ended => false,
        }
    }

    /// Waiting in the second phase, where only an answer ends the wait.
    pub(crate) fn is_unacknowledged(&self) -> bool {
        match self.state {
            State::Committing { .. } | State::Settling { .. } => true,
            State::Preparing
            | State::Confirming
            | State::LoggingCommit
            | State::LoggingDelegation
            | State::Delegated { .. }
            | State::LoggingEnd { .. }
            | State::FallenBack(_)
            | State::Ended => false,
        }
    }

    /// Returns true if a cancellation can still lead to an abort, or waits with others for what a single branch has
    /// come to.
    pub(crate) fn is_cancellable(&self) -> bool {
        match self.state {
            State::Preparing
            | State::Confirming
            | State::LoggingDelegation
            | State::Delegated { .. }
            | State::Settling { .. } => true,
            State::LoggingCommit
            | State::Committing { .. }
            | State::LoggingEnd { .. }
            | State::FallenBack(_)
            | State::Ended => false,
        }
    }
}

impl State {
    fn phase(&self) -> TransactionPhase {
        match self {
            State::Preparing => TransactionPhase::Preparing,
            State::Confirming => TransactionPhase::Confirming,
            State::LoggingCommit => TransactionPhase::LoggingCommit,
            State::Committing { .. } => TransactionPhase::Committing,
            State::LoggingDelegation => TransactionPhase::LoggingDelegation,
            State::Delegated { .. } => TransactionPhase::Delegated,
            State::Settling { .. } => TransactionPhase::Settling,
            State::LoggingEnd { outcome: Outcome::Committed, .. } => TransactionPhase::EndingCommitted,
            State::LoggingEnd { outcome: Outcome::Aborted(_), .. } => TransactionPhase::EndingAborted,
            State::FallenBack(_) => TransactionPhase::FallingBack,
            State::Ended => TransactionPhase::Ended,
        }
    }
}

impl BranchVote {
    fn state(self) -> PartState {
        match self {
            BranchVote::Awaited => PartState::Awaited,
            BranchVote::Prepared => PartState::Prepared,
            BranchVote::ReadOnly => PartState::ReadOnly,
            BranchVote::Confirmed => PartState::ReadOnlyLeft,
            BranchVote::Committed => PartState::Committed,
            BranchVote::Refused => PartState::Refused,
        }
    }
}
