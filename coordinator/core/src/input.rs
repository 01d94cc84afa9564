//! What a coordinator is told.

use crate::effect::Timer;
use crate::record::{EndedRecord, OpenRecord, Stage};
use bytes::Bytes;
use std::time::Duration;
use undoubt_vocabulary::{ParticipantName, Ticket, ToCoordinator, TxId};

/// Somebody who waits for an answer. The driver draws the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client(pub u64);

/// A transaction as it was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Submission {
    pub tx: TxId,
    /// Collision-free hash of the content: the same id with another digest is refused (R10).
    pub digest: [u8; 32],
    pub branches: Vec<(ParticipantName, Bytes)>,
    /// From now until the decision.
    pub timeout: Duration,
    pub client: Client,
    /// Answer when the outcome is known; else as soon as the transaction is accepted.
    pub wait: bool,
}

/// Something that may concern a transaction that has ended, so that its stored record decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    Submit(Submission),
    /// Somebody wants to hear the outcome.
    Await {
        tx: TxId,
        client: Client,
    },
    /// Abort it unless it is decided; the client hears how it ended.
    Cancel {
        tx: TxId,
        client: Client,
    },
    /// An operator gives up on the branches that have not acknowledged.
    Forget {
        tx: TxId,
        client: Client,
    },
    Received {
        from: ParticipantName,
        message: ToCoordinator,
    },
}

impl Question {
    pub fn tx(&self) -> &TxId {
        match self {
            Question::Submit(submission) => &submission.tx,
            Question::Await { tx, .. } | Question::Cancel { tx, .. } | Question::Forget { tx, .. } => tx,
            Question::Received { message, .. } => message.tx(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// One unfinished transaction found in the log, before [`Input::RecoveryDone`].
    Recovered(OpenRecord),
    /// The whole log was read: from here on an unknown transaction is an aborted one (R4).
    RecoveryDone {
        paused: bool,
    },
    Asked(Question),
    /// Answers [`crate::Effect::LookUp`].
    LookedUp {
        question: Question,
        ended: Option<EndedRecord>,
    },
    /// A session with this participant stands; whatever was sent before may be lost.
    Connected {
        participant: ParticipantName,
    },
    Disconnected {
        participant: ParticipantName,
    },
    /// The record of this stage is on stable storage.
    Appended {
        tx: TxId,
        ticket: Ticket,
        stage: Stage,
    },
    Fired {
        tx: TxId,
        ticket: Ticket,
        timer: Timer,
    },
    /// A client that waited for this transaction does so no longer; it gets no answer.
    Gone {
        tx: TxId,
        client: Client,
    },
    /// Stop driving recovered transactions.
    PauseRecovery,
    ResumeRecovery,
    /// Take no new transactions.
    Drain,
}
