//! What a coordinator writes to its log.

use bytes::Bytes;
use undoubt_vocabulary::{BranchOutcome, Outcome, ParticipantName, Ticket, Timestamp, TxId};

/// Which record of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    Delegated,
    Committed,
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    Open(OpenRecord),
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

/// How a transaction ended. Kept for its retention time; replaces the open record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndedRecord {
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
            Record::Ended(_) => Stage::Ended,
        }
    }

    pub fn tx(&self) -> &TxId {
        match self {
            Record::Open(open) => &open.tx,
            Record::Ended(ended) => &ended.tx,
        }
    }

    pub fn ticket(&self) -> Ticket {
        match self {
            Record::Open(open) => open.ticket,
            Record::Ended(ended) => ended.ticket,
        }
    }
}

impl EndedRecord {
    /// Some branch ended otherwise than was decided, or nobody knows how (R3).
    pub fn is_damaged(&self) -> bool {
        self.branches.iter().any(|(_, branch)| damages(&self.outcome, *branch))
    }

    /// Adds a branch's heuristic outcome that became known after the end (R3). Branches keep their order; those of a
    /// transaction that was presumed aborted, whose record names none, come in the order of their names.
    pub fn with_branch(mut self, participant: ParticipantName, outcome: BranchOutcome) -> EndedRecord {
        match self.branches.iter_mut().find(|(name, _)| *name == participant) {
            Some((_, known)) => *known = outcome,
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
