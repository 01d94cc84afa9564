//! What a coordinator writes to its log.

use bytes::Bytes;
use std::sync::Arc;
use undoubt_vocabulary::{AbortReason, BranchOutcome, Outcome, ParticipantName, SagaStep, Ticket, Timestamp, TxId};

/// Which record of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    Delegated,
    Committed,
    Ended,
    /// A saga has begun.
    Begun,
    /// A step of a saga has made progress.
    Stepped,
    /// A saga goes back.
    Turned,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    Open(OpenRecord),
    Saga(SagaRecord),
    Ended(EndedRecord),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenKind {
    /// The only branch may have committed by itself (R7).
    Delegated,
    /// Decided to commit (R1).
    Committed,
}

/// A transaction that recovery must carry on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenRecord {
    pub kind: OpenKind,
    pub tx: TxId,
    pub ticket: Ticket,
    pub begun_at: Timestamp,
    pub digest: [u8; 32],
    /// Those that have to acknowledge (committed) or to be asked (delegated).
    pub participants: Vec<ParticipantName>,
    /// Read-only branches that have left already.
    pub read_only: Vec<ParticipantName>,
    pub results: Vec<(ParticipantName, Bytes)>,
}

/// A saga that recovery must carry on. Written anew with all its progress each time it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SagaRecord {
    pub tx: TxId,
    pub ticket: Ticket,
    pub begun_at: Timestamp,
    pub digest: [u8; 32],
    /// When it turns back, unless it is past its pivot.
    pub deadline: Timestamp,
    pub steps: Vec<Arc<SagaStep>>,
    /// Set: it goes back, for this reason.
    pub turned: Option<AbortReason>,
    /// One for each step.
    pub progress: Vec<Progress>,
}

/// How far a step is known to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// Not begun, or under way: its action may be in effect or not.
    Pending,
    /// Its action is in effect.
    Done { result: Bytes, pending: bool },
    /// Its action is not in effect, and never will be.
    Undone,
    /// An operator did without it: nobody vouches for its effect.
    Skipped,
}

/// What recovery finds of a transaction that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unfinished {
    TwoPhase(OpenRecord),
    Saga(SagaRecord),
}

impl Unfinished {
    pub fn tx(&self) -> &TxId {
        match self {
            Unfinished::TwoPhase(open) => &open.tx,
            Unfinished::Saga(saga) => &saga.tx,
        }
    }
}

/// How a transaction ended. Kept for its retention time; replaces the open record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndedRecord {
    /// It ended as a saga: branches and results are named by the steps, and an abort means that all was undone.
    pub saga: bool,
    pub tx: TxId,
    pub ticket: Ticket,
    pub begun_at: Timestamp,
    pub digest: [u8; 32],
    pub outcome: Outcome,
    pub branches: Vec<(ParticipantName, BranchOutcome)>,
    pub results: Vec<(ParticipantName, Bytes)>,
}

impl Record {
    pub fn stage(&self) -> Stage {
        match self {
            Record::Open(OpenRecord { kind: OpenKind::Delegated, .. }) => Stage::Delegated,
            Record::Open(OpenRecord { kind: OpenKind::Committed, .. }) => Stage::Committed,
            Record::Saga(SagaRecord { turned: Some(_), .. }) => Stage::Turned,
            Record::Saga(saga) if saga.progress.iter().all(|step| *step == Progress::Pending) => Stage::Begun,
            Record::Saga(_) => Stage::Stepped,
            Record::Ended(_) => Stage::Ended,
        }
    }

    pub fn tx(&self) -> &TxId {
        match self {
            Record::Open(open) => &open.tx,
            Record::Saga(saga) => &saga.tx,
            Record::Ended(ended) => &ended.tx,
        }
    }

    pub fn ticket(&self) -> Ticket {
        match self {
            Record::Open(open) => open.ticket,
            Record::Saga(saga) => saga.ticket,
            Record::Ended(ended) => ended.ticket,
        }
    }
}

impl EndedRecord {
    /// Some branch ended otherwise than was decided, or nobody knows how (R3).
    pub fn is_damaged(&self) -> bool {
        // No step is heuristic: such an outcome is of an earlier attempt by two-phase commit, whose work is there twice.
        let twice = |branch| self.saga && branch == BranchOutcome::HeuristicallyCommitted;
        self.branches.iter().any(|(_, branch)| twice(*branch) || damages(&self.outcome, *branch))
    }

    /// Adds a branch's heuristic outcome that became known after the end (R3). Branches keep their order; those of a
    /// transaction that was presumed aborted, whose record names none, come in the order of their names.
    pub fn with_branch(mut self, participant: ParticipantName, outcome: BranchOutcome) -> EndedRecord {
        let saga = self.saga;
        let same = |known: BranchOutcome| match known {
            BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted => true,
            // A step may be called like a participant.
            BranchOutcome::Committed | BranchOutcome::Aborted | BranchOutcome::Unknown => !saga,
        };
        match self.branches.iter_mut().find(|(name, known)| *name == participant && same(*known)) {
            Some((_, known)) => *known = outcome,
            None if saga => self.branches.push((participant, outcome)),
            None => {
                let at = self.branches.partition_point(|(name, _)| *name < participant);
                self.branches.insert(at, (participant, outcome));
            }
        }
        self
    }
}

fn damages(outcome: &Outcome, branch: BranchOutcome) -> bool {
    match (outcome, branch) {
        (_, BranchOutcome::Unknown) => true,
        (Outcome::Committed, BranchOutcome::Committed | BranchOutcome::HeuristicallyCommitted) => false,
        (Outcome::Committed, BranchOutcome::Aborted | BranchOutcome::HeuristicallyAborted) => true,
        (Outcome::Aborted(_), BranchOutcome::Aborted | BranchOutcome::HeuristicallyAborted) => false,
        (Outcome::Aborted(_), BranchOutcome::Committed | BranchOutcome::HeuristicallyCommitted) => true,
    }
}
