//! The inputs of a coordinator.

use crate::effect::Timer;
use crate::record::{DIGEST_UNKNOWN, EndedRecord, Stage, Terms, Unfinished};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use undoubt_vocabulary::{Abilities, AttemptNumber, Epoch, ParticipantName, SagaStep, StepName, ToCoordinator, TxId};

/// A client who waits for an answer. The driver draws the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client(pub u64);

/// A transaction as it was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Submission {
    pub tx: TxId,
    /// Collision-free hash of the content: the same id with another digest is refused (R10).
    pub digest: [u8; 32],
    pub content: Content,
    /// The time from now until the decision; of a saga, until its pivot is done, or without a pivot all of it.
    pub timeout: Duration,
    pub client: Client,
    /// True if the answer is given when the outcome is known; else it is given as soon as the transaction is accepted.
    pub wait: bool,
}

impl Submission {
    /// Returns true if its content is that of a record with this digest, as far as that is known.
    pub(crate) fn has(&self, digest: &[u8; 32]) -> bool {
        self.digest == *digest || *digest == DIGEST_UNKNOWN
    }
}

/// An open saga as a client begins it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Beginning {
    pub tx: TxId,
    /// Collision-free hash of the terms.
    pub digest: [u8; 32],
    pub terms: Terms,
    /// The question that is asked when its time is over, instead of turning it back.
    pub check_back: Option<Arc<SagaStep>>,
    /// The open saga that it is a part of: closed and cancelled with that one.
    pub parent: Option<TxId>,
    /// The only caller from whom steps and an end of it are taken, if there is one; whoever lets callers in heeds that.
    pub owner: Option<Arc<str>>,
    /// The time from now until it compensates, or is asked about, unless it is closed before.
    pub timeout: Duration,
    pub client: Client,
}

/// A step that is to join an open saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Joining {
    pub tx: TxId,
    pub step: SagaStep,
    /// Collision-free hash of the step: the same name with another digest is refused.
    pub digest: [u8; 32],
    pub client: Client,
    /// True if the answer is given when it is known what the action came to; else once it is on record that it joined.
    pub wait: bool,
}

/// The work of a submission, and the way it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    TwoPhase(Vec<(ParticipantName, Bytes)>),
    Saga(Vec<SagaStep>),
    /// Two-phase commit of the steps' actions where that can be, else the saga.
    Auto {
        steps: Vec<SagaStep>,
        /// The reason why it must not be a saga, whatever else would speak for one.
        two_phase_only: Option<&'static str>,
    },
}

impl Content {
    /// Returns the bytes of all work, compensations included.
    pub fn work_bytes(&self) -> usize {
        match self {
            Content::TwoPhase(branches) => branches.iter().map(|(_, work)| work.len()).sum(),
            Content::Saga(steps) | Content::Auto { steps, .. } => steps.iter().map(SagaStep::work_bytes).sum(),
        }
    }

    /// Returns the participants, one for each branch or step.
    pub fn participants(&self) -> impl Iterator<Item = &ParticipantName> {
        let (branches, steps): (&[_], &[SagaStep]) = match self {
            Content::TwoPhase(branches) => (branches, &[]),
            Content::Saga(steps) | Content::Auto { steps, .. } => (&[], steps),
        };
        branches.iter().map(|(name, _)| name).chain(steps.iter().map(|step| &step.participant))
    }
}

/// The way in which an operator ends a step that is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StepResolution {
    /// Try it again, with all its attempts.
    Retry,
    /// Go on without it: nobody vouches for its effect.
    Skip,
    /// The step has been done by other means.
    Done,
}

impl StepResolution {
    pub fn as_str(self) -> &'static str {
        match self {
            StepResolution::Retry => "retry",
            StepResolution::Skip => "skip",
            StepResolution::Done => "done",
        }
    }
}

impl fmt::Display for StepResolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A request of a client or an operator, or a participant's message. It may concern a transaction that has ended, whose
/// stored record then answers it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    Submit(Submission),
    /// Begin an open saga.
    Begin(Beginning),
    /// Let a step join an open saga.
    Join(Box<Joining>),
    /// Close an open saga. With `wait` the client hears how it ended, else as soon as it is accepted.
    Close {
        tx: TxId,
        client: Client,
        wait: bool,
    },
    /// A client waits for the outcome.
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
    /// An operator ends a stuck step.
    ResolveStep {
        tx: TxId,
        step: StepName,
        resolution: StepResolution,
        client: Client,
    },
    /// A message of a participant.
    Message {
        from: ParticipantName,
        message: ToCoordinator,
    },
}

impl Request {
    pub fn tx(&self) -> &TxId {
        match self {
            Request::Submit(submission) => &submission.tx,
            Request::Begin(beginning) => &beginning.tx,
            Request::Join(joining) => &joining.tx,
            Request::Close { tx, .. }
            | Request::Await { tx, .. }
            | Request::Cancel { tx, .. }
            | Request::Forget { tx, .. }
            | Request::ResolveStep { tx, .. } => tx,
            Request::Message { message, .. } => message.tx(),
        }
    }
}

#[allow(
    clippy::large_enum_variant,
    reason = "inputs are handed over one at a time, and boxed ones would cost an allocation each"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// One unfinished transaction found in the log, before [`Input::RecoveryDone`].
    Recovered(Unfinished),
    /// The epoch of this start is another than was thought when the log was opened, and higher. Before
    /// [`Input::RecoveryDone`].
    EpochTaken(Epoch),
    /// The records of some ended transactions are being dropped from the log, or were by an earlier start; this is the latest of
    /// their attempts. Of none that is as late it is known any more that it did not commit. Before the drop can be seen.
    Forgotten {
        latest: AttemptNumber,
    },
    /// The whole log was read, and nobody has seen more of it than it holds: from here on an unknown transaction is an aborted one (R4).
    RecoveryDone {
        paused: bool,
    },
    Request(Request),
    /// The answer to [`crate::Effect::LookUp`].
    LookedUp {
        request: Request,
        ended: Option<EndedRecord>,
    },
    /// A session with this participant stands; whatever was sent before may be lost.
    Connected {
        participant: ParticipantName,
        /// The abilities that it has; nothing else is asked of it.
        abilities: Abilities,
    },
    Disconnected {
        participant: ParticipantName,
    },
    /// The record of this stage is on stable storage.
    Appended {
        tx: TxId,
        attempt_number: AttemptNumber,
        stage: Stage,
    },
    /// The record of this stage is not written, and never will be; nothing of it is. Takes the place of
    /// [`Input::Appended`].
    NotAppended {
        tx: TxId,
        attempt_number: AttemptNumber,
        stage: Stage,
        /// The reason, for people.
        cause: String,
    },
    Fired {
        tx: TxId,
        attempt_number: AttemptNumber,
        timer: Timer,
    },
    /// A client that waited for this transaction does so no longer; it gets no answer.
    ClientLeft {
        tx: TxId,
        client: Client,
    },
    /// Stop driving recovered transactions.
    PauseRecovery,
    ResumeRecovery,
    /// Take no new transactions.
    Drain,
}
