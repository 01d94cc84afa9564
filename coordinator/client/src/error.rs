//! One error for each kind of operation. Every variant says what is known and what to do.
//!
//! What an error displays is whole: it contains its cause, which is therefore no [`source`](std::error::Error::source)
//! as well, so that nothing is told twice. Variants that only hold another error display that one.

use std::time::Duration;
use undoubt_proto::convert::{KnownOutcome, Malformed};
use undoubt_vocabulary::{InvalidId, InvalidSaga, ParticipantName, Refusal, StuckStep, TxId};
use undoubt_work::InvalidWork;

/// An address that nobody can be reached at. Correct it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} is no address to connect to: {why}; write it like http://127.0.0.1:7400")]
#[non_exhaustive]
pub struct InvalidAddress {
    /// The address as it was given, without what may be a password.
    pub address: String,
    /// What is wrong with it.
    pub why: String,
}

/// A fault of what was submitted that shows without asking anybody. Nothing was sent: correct it, and submit it under the
/// same id or a new one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSubmission {
    /// A transaction in which nobody has anything to do. Give at least one participant some work.
    #[error("the transaction has no branches; give at least one participant some work")]
    NoBranches,
    /// More participants than one transaction may have. Split it.
    #[error("the transaction has {count} branches, more than the {max} allowed; split it")]
    TooManyBranches {
        /// How many it has.
        count: usize,
        /// How many it may have.
        max: usize,
    },
    /// A saga without steps. Give at least one.
    #[error("there are no steps; give at least one")]
    NoSteps,
    /// A name of a participant or of a step that cannot be one. Correct it.
    #[error(transparent)]
    Name(InvalidId),
    /// A participant's works cannot be made one. Give it one work that does all.
    #[error(
        "{participant} was given raw work together with other work, which cannot be merged; put all of a \
         participant's work into one branch"
    )]
    NotMergeable {
        /// Whose works they are.
        participant: ParticipantName,
    },
    /// The outcome is to be kept at a participant that has no work with which it could. Give the work first.
    #[error("{participant} was given no work with which it could keep the outcome; give that first")]
    NoWorkForOutcome {
        /// The participant as it was named.
        participant: String,
    },
    /// One participant's work is too large. Split the transaction.
    #[error("the work for {participant} has {length} bytes, more than the {max} allowed; split the transaction")]
    WorkTooLarge {
        /// Whose work it is.
        participant: ParticipantName,
        /// How many bytes it has.
        length: usize,
        /// How many it may have.
        max: usize,
    },
    /// The works are too large together. Split the transaction.
    #[error("the transaction's work has {length} bytes in all, more than the {max} allowed; split it")]
    TooLarge {
        /// How many bytes they have.
        length: usize,
        /// How many they may have.
        max: usize,
    },
    /// Work that could never be done. Correct it.
    #[error("the work for {participant} is invalid: {cause}")]
    Work {
        /// Whose work it is.
        participant: ParticipantName,
        /// What is wrong with it.
        cause: InvalidWork,
    },
    /// A step that comes after, or uses the result of, one that is not there. Correct the name.
    #[error("step {step} names {named}, and there is no such step; correct the name")]
    NoSuchStep {
        /// The step that names another.
        step: String,
        /// The name of which there is no step.
        named: String,
    },
    /// Work that could never be done in its place in the saga. Correct it.
    #[error("{path}: {cause}")]
    StepWork {
        /// The place, like `steps[2].action[0]`.
        path: String,
        /// What is wrong with it.
        cause: InvalidWork,
    },
    /// A saga that could not be carried out, or not be undone. Correct it.
    #[error("the saga cannot be carried out: {0}")]
    Saga(InvalidSaga),
}

/// A call ended without a definite answer. To be built by tests of what an application does then, too.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no answer from {address} within {after:.1?}, last because: {cause}")]
pub struct Unanswered {
    /// The address that was called.
    pub address: String,
    /// How long it was tried.
    pub after: Duration,
    /// Why the last attempt failed.
    pub cause: String,
    /// The stable word of that reason, for programs; `None` if there was no answer, or it gives none.
    pub reason: Option<String>,
    /// Some attempt may have taken effect.
    pub maybe_received: bool,
}

/// The reason why an open saga was not begun, or a step did not join it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The action was refused and left nothing behind. The saga is as open as before.
    #[error("step {step} of saga {tx} was refused: {refusal}; nothing of it is in effect, and the saga is still open")]
    Refused {
        /// The saga's id.
        tx: TxId,
        /// The step's name.
        step: String,
        /// The participant's refusal.
        refusal: Box<Refusal>,
    },
    /// The action may be in effect. Run it again, or cancel the saga.
    #[error(
        "step {step} of saga {tx} was not answered in {attempts} attempts, and may be in effect; run it again, or cancel the saga"
    )]
    Unanswered {
        /// The saga's id.
        tx: TxId,
        /// The step's name.
        step: String,
        /// The number of attempts.
        attempts: u32,
    },
    /// An operator went on without the step.
    #[error("an operator went on without step {step} of saga {tx}, so nobody vouches for its effect")]
    Skipped {
        /// The saga's id.
        tx: TxId,
        /// The step's name.
        step: String,
    },
    /// The step has no action to be run.
    #[error("step {step} of saga {tx} has no action to be run; join it, and do its action yourself")]
    NoAction {
        /// The saga's id.
        tx: TxId,
        /// The step's name.
        step: String,
    },
    /// The saga takes no steps any more.
    #[error("saga {tx} takes no steps any more{}", known.decided.as_ref().map_or(String::new(), |outcome| format!(": {outcome}")))]
    Over {
        /// The saga's id.
        tx: TxId,
        /// Its outcome, if it has ended.
        known: Box<KnownOutcome>,
    },
    /// The call itself failed.
    #[error(transparent)]
    Call(#[from] SubmitError),
}

/// What went wrong with submitting. An abort is no error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// It was not sent. Correct it.
    #[error(transparent)]
    Invalid(#[from] InvalidSubmission),
    /// The coordinator found a fault that shows only there. Nothing was done: correct it.
    #[error("the coordinator refused transaction {tx} as invalid: {message}")]
    Refused {
        /// The id under which it was submitted.
        tx: TxId,
        /// The message of the coordinator.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
    /// Nothing was done. Correct the name, or configure the participant at the coordinator.
    #[error("transaction {tx} names a participant the coordinator does not know: {message}; configure it there")]
    UnknownParticipant {
        /// The id under which it was submitted.
        tx: TxId,
        /// The message of the coordinator.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
    /// Another transaction has this id; of this one nothing was done. Draw a new id for new work.
    #[error(
        "the id {tx} was used before with other content ({message}); draw a new id for new work, and repeat only the \
         very same"
    )]
    IdReused {
        /// The id under which both were submitted.
        tx: TxId,
        /// The message of the coordinator.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
    /// It does not stand so that this could be done, and this call did nothing. What was done of it before may be in effect: the
    /// message says how it stands.
    #[error("transaction {tx}: {message}")]
    NotPossible {
        /// Its id.
        tx: TxId,
        /// The message of the coordinator.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
    /// It is no coordinator, or does not let this client in. Nothing was done: ask another address.
    #[error(
        "transaction {tx} was not taken, for {address} offers this to nobody like you: {message}; ask a coordinator"
    )]
    NotOffered {
        /// The id under which it was submitted.
        tx: TxId,
        /// The address that was called.
        address: Box<str>,
        /// What is said there.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<Box<str>>,
    },
    /// None of this call's attempts was let in, so none of them did anything. Submit it again later, under the same id.
    #[error("transaction {tx} was not accepted: {cause}; nothing was done, submit it again later under the same id")]
    NotAccepted {
        /// The id under which it was submitted.
        tx: TxId,
        /// How long it was tried, and why that was in vain.
        cause: Box<Unanswered>,
    },
    /// It may have committed, may have aborted, or may still do either. Find out, by submitting the very same again under the
    /// same id or with [`Client::wait`](crate::Client::wait); never by the same work under a new id.
    #[error(
        "the outcome of transaction {tx} is unknown: {cause}; it may have committed or not. To find out, submit the \
         same again under the same id, or wait for the outcome of that id"
    )]
    OutcomeUnknown {
        /// The id under which it was submitted.
        tx: TxId,
        /// How long it was tried, and why that was in vain.
        cause: Box<Unanswered>,
    },
    /// The saga is not decided, and goes on once an operator has ended a step, with
    /// [`Client::resolve_step`](crate::Client::resolve_step). Tell one, then wait for the outcome.
    #[error("transaction {tx} is stuck: {stuck}; it goes on once an operator has resolved that step")]
    Stuck {
        /// The id under which it was submitted.
        tx: TxId,
        /// The step that has to be ended.
        stuck: Box<StuckStep>,
    },
    /// The outcome is unknown. Use a client and a coordinator of the same version, then find out as after
    /// [`OutcomeUnknown`](SubmitError::OutcomeUnknown).
    #[error(
        "the coordinator's answer about transaction {tx} makes no sense: {cause}; its outcome is unknown. Use client \
         and coordinator of the same version"
    )]
    Malformed {
        /// The id under which it was submitted.
        tx: TxId,
        /// What makes no sense.
        cause: Malformed,
    },
    /// The outcome is unknown. See why the coordinator failed, then find out as after
    /// [`OutcomeUnknown`](SubmitError::OutcomeUnknown).
    #[error("the coordinator failed on transaction {tx}, whose outcome is unknown ({code:?}): {message}")]
    Unexpected {
        /// The id under which it was submitted.
        tx: TxId,
        /// The status that was answered.
        code: tonic::Code,
        /// The message of the coordinator.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
}

/// What went wrong with asking for something. Asking does nothing, so it may be repeated at any time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Submitting it now would run it. After an unknown outcome: it was not committed, if that was not long ago.
    #[error(
        "the coordinator has no trace of transaction {tx}: it was never committed, or it ended longer ago than \
         outcomes are kept"
    )]
    NotFound {
        /// The id that was asked for.
        tx: TxId,
    },
    /// Correct the request.
    #[error("the coordinator refused the request: {message}")]
    Refused {
        /// The message of the coordinator.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
    /// It is no coordinator, or does not let this client in. Ask another address.
    #[error("what was asked is not offered to you there: {message}; ask a coordinator")]
    NotOffered {
        /// What is said there.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
    /// Ask again later.
    #[error("{0}; see whether the coordinator runs there, then ask again")]
    Unanswered(Unanswered),
    /// Use a client and a coordinator of the same version.
    #[error("the coordinator's answer makes no sense: {0}; use client and coordinator of the same version")]
    Malformed(Malformed),
    /// See why the coordinator failed.
    #[error("the coordinator failed ({code:?}): {message}")]
    Unexpected {
        /// The status that was answered.
        code: tonic::Code,
        /// The message of the coordinator.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
}

impl From<Unanswered> for QueryError {
    fn from(cause: Unanswered) -> Self {
        QueryError::Unanswered(cause)
    }
}

impl From<Malformed> for QueryError {
    fn from(cause: Malformed) -> Self {
        QueryError::Malformed(cause)
    }
}

/// What went wrong with waiting for an outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// It goes on, whether anybody waits or not. Wait again, or cancel it.
    #[error("transaction {tx} is still undecided after {after:.1?}; wait longer, or cancel it")]
    StillPending {
        /// The id that was waited for.
        tx: TxId,
        /// How long it was waited for.
        after: Duration,
    },
    /// The saga goes on once an operator has ended a step, with [`Client::resolve_step`](crate::Client::resolve_step). Tell
    /// one, then wait again.
    #[error("transaction {tx} is stuck: {stuck}; it goes on once an operator has resolved that step")]
    Stuck {
        /// The id that was waited for.
        tx: TxId,
        /// The step that has to be ended.
        stuck: Box<StuckStep>,
    },
    /// The coordinator could not be asked, or does not know the id.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// What went wrong with cancelling.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CancelError {
    /// It is decided, or is a saga whose pivot may be done. Take its outcome as it comes.
    #[error("transaction {tx} cannot be cancelled any more: {message}")]
    TooLate {
        /// The id that was to be cancelled.
        tx: TxId,
        /// What the coordinator says; how it ended, if it has.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
    /// It was asked for, unless nobody heard of it. A saga takes as long as its compensations do. Wait for its outcome, or
    /// cancel it again.
    #[error(
        "transaction {tx} was asked to be cancelled, and its end was not heard of: {cause}; if it was heard, it goes on \
         being undone. Wait for its outcome, or cancel it again"
    )]
    NotOver {
        /// The id that was to be cancelled.
        tx: TxId,
        /// How long it was waited for, and why that was in vain.
        cause: Box<Unanswered>,
    },
    /// The coordinator could not be asked, or does not know the id.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// What went wrong with an operator's request to a coordinator or a participant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// Nothing was done. See whether it is the right address.
    #[error("{address} knows nothing of transaction {tx}; it may be over, or belong elsewhere")]
    NotFound {
        /// The address that was called.
        address: String,
        /// The id that it was about.
        tx: TxId,
    },
    /// Nothing was done. The message says what has to come first.
    #[error("{address} cannot do that in its present state: {message}")]
    WrongState {
        /// The address that was called.
        address: String,
        /// What is said there.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
    /// Nothing was done. Correct the request.
    #[error("{address} refused the request: {message}; correct it")]
    Refused {
        /// The address that was called.
        address: String,
        /// What is said there.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
    /// Nothing was done, and would not be. Ask another address.
    #[error("{address} does not offer this to operators: {message}; ask another address")]
    NotOffered {
        /// The address that was called.
        address: String,
        /// What is said there.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
    /// Nothing was done. See whether it runs there, then try again.
    #[error("{0}; nothing was done, see whether it runs there, then try again")]
    NotReached(Unanswered),
    /// It may have been done or not: look before you repeat it. Such requests are not repeated by themselves: a second one
    /// would be answered as too late.
    #[error("{0}; it may have been done or not: look before you repeat it")]
    Unclear(Unanswered),
    /// Whether anything was done is unclear. Use the same version on both sides, and look before you repeat it.
    #[error("the answer of {address} makes no sense: {cause}; use the same version on both sides")]
    Malformed {
        /// The address that was called.
        address: String,
        /// What makes no sense.
        cause: Malformed,
    },
    /// Whether anything was done is unclear. See why it failed, and look before you repeat it.
    #[error("{address} failed ({code:?}): {message}")]
    Unexpected {
        /// The address that was called.
        address: String,
        /// The status that was answered.
        code: tonic::Code,
        /// What is said there.
        message: String,
        /// The stable word of its reason, for programs; `None` if it gives none.
        reason: Option<String>,
    },
}
