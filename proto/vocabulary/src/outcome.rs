//! The votes of branches and the outcomes of transactions.

use crate::id::ParticipantName;
use bytes::Bytes;
use std::fmt;

/// A branch's answer to a prepare.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vote {
    /// Durable, with all that is needed to commit after a crash (R2). `result` holds what the work read.
    Prepared { result: Bytes },
    /// The branch has written nothing; its locks are held in memory until it is asked to confirm.
    ReadOnly { result: Bytes },
    /// The branch was executed in one phase: committed, durably.
    Committed { result: Bytes },
    /// The branch left nothing behind.
    Refused(Refusal),
}

/// The refusal of a branch or a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Refusal {
    /// The cause, for programs.
    pub code: RefusalCode,
    /// The explanation for people: what was refused and what to do, at most [`crate::limits::MAX_DETAIL_BYTES`] bytes.
    pub detail: String,
}

impl Refusal {
    /// Returns a refusal; of a detail that is too long only the beginning is kept.
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > crate::limits::MAX_DETAIL_BYTES {
            let cut = (0..=crate::limits::MAX_DETAIL_BYTES).rev().find(|&at| detail.is_char_boundary(at));
            detail.truncate(cut.unwrap_or(0));
        }
        Refusal { code, detail }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

/// The kind of a refusal. Codes below the line may succeed when the same work is submitted again under a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalCode {
    /// A condition of the work does not hold: a floor, a ceiling, a compare-and-set.
    Condition,
    /// The work cannot be read or is not allowed.
    InvalidWork,
    /// The work or its result is over a limit.
    TooLarge,
    // -- worth another try --
    /// Wait-die: an older transaction holds a lock (R12).
    LockConflict,
    /// A lock was not granted before the transaction's deadline.
    LockTimeout,
    /// The participant cannot take work now: no disk space, or it is stopping.
    Unavailable,
    /// The prepare came after its transaction was over (R11), or a step's action after its compensation.
    Late,
    /// The work respects semantic locks, and an unfinished saga holds one.
    Pending,
    /// It is not known whether the work took effect. Only of a saga's step, whose action counts as in effect until another attempt
    /// says otherwise.
    Unclear,
}

impl RefusalCode {
    /// Returns true if the same work may succeed when submitted again.
    pub fn is_transient(self) -> bool {
        match self {
            RefusalCode::Condition | RefusalCode::InvalidWork | RefusalCode::TooLarge => false,
            RefusalCode::LockConflict
            | RefusalCode::LockTimeout
            | RefusalCode::Unavailable
            | RefusalCode::Late
            | RefusalCode::Pending
            | RefusalCode::Unclear => true,
        }
    }

    /// Returns the label, for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusalCode::Condition => "condition",
            RefusalCode::InvalidWork => "invalid-work",
            RefusalCode::TooLarge => "too-large",
            RefusalCode::LockConflict => "lock-conflict",
            RefusalCode::LockTimeout => "lock-timeout",
            RefusalCode::Unavailable => "unavailable",
            RefusalCode::Late => "late",
            RefusalCode::Pending => "pending",
            RefusalCode::Unclear => "unclear",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The decision on a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// All of it takes effect.
    Committed,
    /// Nothing of it takes effect, or all that did is undone.
    Aborted(AbortReason),
}

/// The reason why a transaction aborted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AbortReason {
    /// A participant refused a branch or a step.
    Refused {
        /// The participant.
        by: ParticipantName,
        /// What it said.
        refusal: Refusal,
    },
    /// The deadline passed before these branches answered.
    DeadlinePassed {
        /// Their participants.
        unanswered: Vec<ParticipantName>,
    },
    /// A saga's step was tried as often as its policy allows, and this participant did not answer the last attempt.
    Unanswered {
        /// The participant.
        by: ParticipantName,
        /// How often it was tried.
        attempts: u32,
    },
    /// A read-only branch no longer held its locks when every vote was in.
    ReadLocksLost {
        /// Its participant.
        by: ParticipantName,
    },
    /// A one-phase branch had not committed when its coordinator asked after a silence.
    NotExecuted {
        /// Its participant.
        by: ParticipantName,
    },
    /// An operator gave up on a one-phase branch, which alone knows whether it committed; or on a saga, at the step of this
    /// participant among others. Reported as damage where anything took effect, or may have.
    GivenUp {
        /// The participant.
        on: ParticipantName,
    },
    /// A client or an operator cancelled it before the decision.
    Cancelled,
    /// The coordinator has its whole log and no commit decision in it (presumed abort).
    Presumed,
    /// A bound of the coordinator's own was met at this branch or step: what it handed back could not be kept, or what
    /// it was to be given is too much. The refusal says which bound, and whether another try may do.
    TooMuch {
        /// The branch's or step's participant.
        at: ParticipantName,
        /// What the coordinator says.
        refusal: Refusal,
    },
    /// Its record could not be carried out, and an operator has given it up. Reported as damage.
    Unusable {
        /// Why not.
        cause: String,
    },
}

impl AbortReason {
    /// Returns a short word for tables and for counting.
    pub fn label(&self) -> &'static str {
        match self {
            AbortReason::Refused { refusal, .. } => refusal.code.as_str(),
            AbortReason::DeadlinePassed { .. } => "deadline",
            AbortReason::Unanswered { .. } => "unanswered",
            AbortReason::ReadLocksLost { .. } => "read-locks-lost",
            AbortReason::NotExecuted { .. } => "not-executed",
            AbortReason::GivenUp { .. } => "given-up",
            AbortReason::Cancelled => "cancelled",
            AbortReason::Presumed => "presumed",
            AbortReason::TooMuch { refusal, .. } => refusal.code.as_str(),
            AbortReason::Unusable { .. } => "unusable",
        }
    }
}

impl AbortReason {
    /// Returns the participant that caused it, if one did.
    pub fn participant(&self) -> Option<&ParticipantName> {
        match self {
            AbortReason::Refused { by, .. }
            | AbortReason::TooMuch { at: by, .. }
            | AbortReason::Unanswered { by, .. }
            | AbortReason::ReadLocksLost { by }
            | AbortReason::NotExecuted { by }
            | AbortReason::GivenUp { on: by } => Some(by),
            AbortReason::DeadlinePassed { .. }
            | AbortReason::Presumed
            | AbortReason::Cancelled
            | AbortReason::Unusable { .. } => None,
        }
    }

    /// Returns true if the same work may succeed when it is submitted under a new id.
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            AbortReason::Refused { refusal, .. } | AbortReason::TooMuch { refusal, .. } => refusal.code.is_transient(),
            AbortReason::Unanswered { .. }
            | AbortReason::ReadLocksLost { .. }
            | AbortReason::NotExecuted { .. }
            | AbortReason::DeadlinePassed { .. }
            | AbortReason::Presumed => true,
            AbortReason::GivenUp { .. } | AbortReason::Cancelled | AbortReason::Unusable { .. } => false,
        }
    }
}

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AbortReason::Refused { by, refusal } => write!(f, "{by} refused ({refusal})"),
            // Nobody had been asked: the client of an open saga let it pass.
            AbortReason::DeadlinePassed { unanswered } if unanswered.is_empty() => write!(f, "the deadline passed"),
            AbortReason::DeadlinePassed { unanswered } => {
                write!(f, "the deadline passed without an answer from")?;
                unanswered.iter().try_for_each(|name| write!(f, " {name}"))
            }
            AbortReason::Unanswered { by, attempts: 1 } => write!(f, "{by} did not answer the only attempt in time"),
            AbortReason::Unanswered { by, attempts } => {
                write!(f, "{by} did not answer the last of {attempts} attempts in time")
            }
            AbortReason::ReadLocksLost { by } => write!(f, "{by} lost its read locks before every vote was in"),
            AbortReason::NotExecuted { by } => write!(f, "{by} had not executed it"),
            AbortReason::GivenUp { on } => {
                write!(f, "an operator gave up on {on}, which alone knows what took effect there")
            }
            AbortReason::Cancelled => write!(f, "cancelled before the decision"),
            AbortReason::Presumed => write!(f, "no commit decision is in the coordinator's log"),
            AbortReason::TooMuch { at, refusal } => write!(f, "too much for the coordinator, met at {at} ({refusal})"),
            AbortReason::Unusable { cause } => {
                write!(f, "an operator gave it up, for its record could not be carried out: {cause}")
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Committed => write!(f, "committed"),
            Outcome::Aborted(reason) => write!(f, "aborted: {reason}"),
        }
    }
}

/// The outcome of one branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BranchOutcome {
    /// Its work is in effect.
    Committed,
    /// Its work is not in effect.
    Aborted,
    /// An operator decided alone (R3).
    HeuristicallyCommitted,
    /// An operator decided alone (R3).
    HeuristicallyAborted,
    /// The participant has no trace of a branch it must have prepared: its storage lost an acknowledged vote. Also an
    /// operator's statement that nobody will ever know. The transaction's result is a hazard.
    Unknown,
}

impl BranchOutcome {
    /// Returns the label, for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            BranchOutcome::Committed => "committed",
            BranchOutcome::Aborted => "aborted",
            BranchOutcome::HeuristicallyCommitted => "heuristically-committed",
            BranchOutcome::HeuristicallyAborted => "heuristically-aborted",
            BranchOutcome::Unknown => "unknown",
        }
    }
}

impl fmt::Display for BranchOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
