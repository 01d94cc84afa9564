//! What a coordinator wants done.

use crate::input::{Client, Question};
use crate::record::Record;
use bytes::Bytes;
use std::fmt;
use std::time::Duration;
use undoubt_vocabulary::{
    AbortReason, BranchOutcome, Outcome, ParticipantName, RefusalCode, Ticket, ToParticipant, TxId, Vote,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    Append {
        record: Record,
        /// Somebody waits for it; see the crate's contract.
        forced: bool,
    },
    Send {
        to: ParticipantName,
        message: ToParticipant,
    },
    Answer {
        client: Client,
        tx: TxId,
        answer: Answer,
    },
    Arm {
        tx: TxId,
        ticket: Ticket,
        timer: Timer,
    },
    /// Read the ended record of the question's transaction, and come back with [`crate::Input::LookedUp`] before
    /// anything else is put in.
    LookUp(Question),
    /// Something to remember in the transaction's history.
    Note {
        tx: TxId,
        note: Note,
    },
    /// The transaction is over and no longer held here.
    Retired {
        tx: TxId,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// On stable storage.
    Outcome {
        outcome: Outcome,
        results: Vec<(ParticipantName, Bytes)>,
    },
    /// Under way, not decided.
    Pending,
    Rejected(Rejection),
}

/// Why something asked of a coordinator was not done. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    #[error("the coordinator is still reading its log; try again in a moment")]
    Recovering,
    #[error("the coordinator is draining and takes no new transactions; submit to another, or after its restart")]
    Draining,
    #[error(
        "{max_open_transactions} transactions are open, which is the most this coordinator holds (max_open_transactions); try again later, or raise it"
    )]
    TooManyOpen { max_open_transactions: usize },
    #[error(
        "{max_waiters} clients wait for this transaction already, the most there may be; ask for its status instead"
    )]
    TooManyWaiters { max_waiters: usize },
    #[error("this id was submitted before with other content; use a new id for a new transaction")]
    OtherContent,
    #[error("a transaction needs at least one branch; name the participants and their work")]
    NoBranches,
    #[error("{given} branches are more than the {max} a transaction may have; split it")]
    TooManyBranches { given: usize, max: usize },
    #[error("participant {participant} has two branches; put all of its work into one")]
    TwoBranches { participant: ParticipantName },
    #[error("the work of all branches has {given} bytes, more than the {max} allowed; make it smaller")]
    TooLarge { given: usize, max: usize },
    #[error("the deadline had passed when the transaction arrived; nothing was done; give it more time")]
    DeadlinePassed,
    #[error(
        "there is no trace of a transaction with this id: it was never committed, or it was collected after its retention"
    )]
    NotFound,
    #[error("the transaction is not decided yet, so nothing can be forgotten; cancel it, or wait for its deadline")]
    NotDecided,
    #[error("it is too late to cancel: the transaction is being committed")]
    TooLate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// The transaction's deadline.
    Deadline { after: Duration },
    /// Repeat what is not acknowledged; the driver makes the pause from the number of attempts so far: exponential,
    /// jittered, capped (R6).
    Retry { attempt: u32 },
}

/// One line of a transaction's history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    Begun { branches: usize },
    Recovered { stage: &'static str },
    Sent { to: ParticipantName, message: &'static str },
    Voted { from: ParticipantName, vote: &'static str, code: Option<RefusalCode> },
    Confirmed { from: ParticipantName, held: bool },
    Decided { outcome: Outcome },
    Logged { stage: &'static str },
    Finished { from: ParticipantName, outcome: BranchOutcome },
    Inquired { from: ParticipantName },
    DeadlinePassed,
    Retried { attempt: u32 },
    Forgotten,
}

impl Note {
    pub fn event(&self) -> &'static str {
        match self {
            Note::Begun { .. } => "begun",
            Note::Recovered { .. } => "recovered",
            Note::Sent { .. } => "sent",
            Note::Voted { .. } => "voted",
            Note::Confirmed { .. } => "confirmed",
            Note::Decided { .. } => "decided",
            Note::Logged { .. } => "logged",
            Note::Finished { .. } => "finished",
            Note::Inquired { .. } => "inquired",
            Note::DeadlinePassed => "deadline-passed",
            Note::Retried { .. } => "retried",
            Note::Forgotten => "forgotten",
        }
    }

    pub fn participant(&self) -> Option<&ParticipantName> {
        match self {
            Note::Sent { to: name, .. }
            | Note::Voted { from: name, .. }
            | Note::Confirmed { from: name, .. }
            | Note::Finished { from: name, .. }
            | Note::Inquired { from: name } => Some(name),
            Note::Begun { .. }
            | Note::Recovered { .. }
            | Note::Decided { .. }
            | Note::Logged { .. }
            | Note::DeadlinePassed
            | Note::Retried { .. }
            | Note::Forgotten => None,
        }
    }

    pub(crate) fn vote(from: &ParticipantName, vote: &Vote) -> Note {
        let (vote, code) = match vote {
            Vote::Prepared { .. } => ("prepared", None),
            Vote::ReadOnly { .. } => ("read-only", None),
            Vote::Committed { .. } => ("committed", None),
            Vote::Refused(refusal) => ("refused", Some(refusal.code)),
        };
        Note::Voted { from: from.clone(), vote, code }
    }
}

impl fmt::Display for Note {
    /// The detail, without event and participant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Begun { branches } => write!(f, "{branches} branches"),
            Note::Recovered { stage } | Note::Logged { stage } => f.write_str(stage),
            Note::Sent { message, .. } => f.write_str(message),
            Note::Voted { vote, code: None, .. } => f.write_str(vote),
            Note::Voted { vote, code: Some(code), .. } => write!(f, "{vote}: {code}"),
            Note::Confirmed { held: true, .. } => f.write_str("read locks held"),
            Note::Confirmed { held: false, .. } => f.write_str("read locks lost"),
            Note::Decided { outcome } => write!(f, "{outcome}"),
            Note::Finished { outcome, .. } => write!(f, "{outcome}"),
            Note::Retried { attempt } => write!(f, "attempt {attempt}"),
            Note::Inquired { .. } | Note::DeadlinePassed | Note::Forgotten => Ok(()),
        }
    }
}

impl Answer {
    pub(crate) fn committed(results: Vec<(ParticipantName, Bytes)>) -> Answer {
        Answer::Outcome { outcome: Outcome::Committed, results }
    }

    pub(crate) fn aborted(reason: AbortReason) -> Answer {
        Answer::Outcome { outcome: Outcome::Aborted(reason), results: Vec::new() }
    }
}
