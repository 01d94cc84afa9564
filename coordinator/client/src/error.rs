//! One error for each kind of operation. Every variant says what is known and what to do.

use std::time::Duration;
use undoubt_proto::convert::Malformed;
use undoubt_vocabulary::{InvalidId, InvalidSaga, ParticipantName, StuckStep, TxId};
use undoubt_work::InvalidWork;

#[derive(Clone, Debug, thiserror::Error)]
#[error("{address:?} is no address to connect to: {why}; write it like http://127.0.0.1:7400")]
pub struct InvalidAddress {
    pub address: String,
    pub why: String,
}

/// A transaction that can be refused without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    #[error("the transaction has no branches; give at least one participant some work")]
    NoBranches,
    #[error("the transaction has {count} branches, more than the {max} allowed; split it")]
    TooManyBranches { count: usize, max: usize },
    #[error("{0}")]
    Participant(InvalidId),
    #[error("{0}")]
    Step(InvalidId),
    #[error(
        "{participant} was given raw work together with other work, which cannot be merged; put all of a \
         participant's work into one branch"
    )]
    NotMergeable { participant: ParticipantName },
    #[error("{participant} was given no work with which it could keep the outcome; give that first")]
    NoWorkForOutcome { participant: String },
    #[error("the work for {participant} has {length} bytes, more than the {max} allowed; split the transaction")]
    WorkTooLarge { participant: ParticipantName, length: usize, max: usize },
    #[error("the transaction's work has {length} bytes in all, more than the {max} allowed; split it")]
    TooLarge { length: usize, max: usize },
    #[error("the work for {participant} is invalid: {cause}")]
    Work { participant: ParticipantName, cause: InvalidWork },
    #[error("the transaction has branches and steps; give branches for two-phase commit, or steps for a saga or auto")]
    Mixed,
    #[error(
        "auto chooses between two-phase commit and a saga of the same steps, and there are none; give steps, or leave it out"
    )]
    AutoWithoutSteps,
    #[error("step {step} names {named}, and there is no such step; correct the name")]
    NoSuchStep { step: String, named: String },
    #[error("{path}: {cause}")]
    StepWork { path: String, cause: InvalidWork },
    #[error("the saga cannot be carried out: {0}")]
    Saga(InvalidSaga),
}

/// A call ended without a definite answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no answer from {address} within {after:.1?}, last because: {cause}")]
pub struct Unanswered {
    pub address: String,
    pub after: Duration,
    pub cause: String,
    /// Some attempt may have taken effect.
    pub maybe_received: bool,
}

/// What went wrong with submitting. An abort is no error.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    #[error("the coordinator refused transaction {tx} as invalid: {message}")]
    Refused { tx: TxId, message: String },
    #[error("transaction {tx} names a participant the coordinator does not know: {message}; configure it there")]
    UnknownParticipant { tx: TxId, message: String },
    #[error(
        "the id {tx} was used before with other content ({message}); draw a new id for new work, and repeat only the \
         very same"
    )]
    IdReused { tx: TxId, message: String },
    /// It is no coordinator, or does not let this client in.
    #[error(
        "transaction {tx} was not taken, for {address} offers this to nobody like you: {message}; ask a coordinator"
    )]
    NotOffered { tx: TxId, address: String, message: String },
    /// None of this call's attempts was let in, so none of them did anything.
    #[error("transaction {tx} was not accepted: {cause}; nothing was done, submit it again later under the same id")]
    NotAccepted { tx: TxId, cause: Box<Unanswered> },
    /// It may have committed, may have aborted, or may still do either.
    #[error(
        "the outcome of transaction {tx} is unknown: {cause}; it may have committed or not. To find out, submit the \
         same again under the same id, or ask with `undoubt wait {tx}`"
    )]
    OutcomeUnknown { tx: TxId, cause: Box<Unanswered> },
    /// The saga is not decided, and goes on once an operator has ended a step.
    #[error(
        "transaction {tx} is stuck: {stuck}; it goes on once an operator has ended that with `undoubt resolve-step`"
    )]
    Stuck { tx: TxId, stuck: Box<StuckStep> },
    #[error(
        "the coordinator's answer about transaction {tx} makes no sense: {cause}; its outcome is unknown. Use client \
         and coordinator of the same version"
    )]
    Malformed { tx: TxId, cause: Malformed },
    #[error("the coordinator failed on transaction {tx}, whose outcome is unknown ({code:?}): {message}")]
    Unexpected { tx: TxId, code: tonic::Code, message: String },
}

/// What went wrong with asking for something.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(
        "the coordinator has no trace of transaction {tx}: it was never committed, or it ended longer ago than \
         outcomes are kept"
    )]
    NotFound { tx: TxId },
    #[error("the coordinator refused the request: {message}")]
    Refused { message: String },
    /// It is no coordinator, or does not let this client in.
    #[error("what was asked is not offered to you there: {message}; ask a coordinator")]
    NotOffered { message: String },
    #[error("{0}; see whether the coordinator runs there, then ask again")]
    Unanswered(#[from] Unanswered),
    #[error("the coordinator's answer makes no sense: {0}; use client and coordinator of the same version")]
    Malformed(#[from] Malformed),
    #[error("the coordinator failed ({code:?}): {message}")]
    Unexpected { code: tonic::Code, message: String },
}

/// What went wrong with waiting for an outcome.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    #[error("transaction {tx} is still undecided after {after:.1?}; wait longer, or cancel it")]
    StillPending { tx: TxId, after: Duration },
    #[error(
        "transaction {tx} is stuck: {stuck}; it goes on once an operator has ended that with `undoubt resolve-step`"
    )]
    Stuck { tx: TxId, stuck: Box<StuckStep> },
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// What went wrong with cancelling.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    #[error("transaction {tx} cannot be cancelled any more: {message}")]
    TooLate { tx: TxId, message: String },
    /// It is asked for, unless nobody heard of it. A saga takes as long as its compensations do.
    #[error(
        "transaction {tx} was asked to be cancelled, and its end was not heard of: {cause}; if it was heard, it goes on \
         being undone. See `undoubt status {tx}`, or wait with `undoubt wait {tx}`"
    )]
    NotOver { tx: TxId, cause: Box<Unanswered> },
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// What went wrong with an operator's request to a coordinator or a participant.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("{address} knows nothing of transaction {tx}; it may be over, or belong elsewhere")]
    NotFound { address: String, tx: TxId },
    #[error("{address} cannot do that in its present state: {message}")]
    WrongState { address: String, message: String },
    #[error("{address} refused the request: {message}; correct it")]
    Refused { address: String, message: String },
    #[error("{address} does not offer this to operators: {message}; ask another address")]
    NotOffered { address: String, message: String },
    #[error("{0}; nothing was done, see whether it runs there, then try again")]
    NotReached(Unanswered),
    /// Such requests are not repeated by themselves: a second one would be answered as too late.
    #[error("{0}; it may have been done or not: look before you repeat it")]
    Unclear(Unanswered),
    #[error("the answer of {address} makes no sense: {cause}; use the same version on both sides")]
    Malformed { address: String, cause: Malformed },
    #[error("{address} failed ({code:?}): {message}")]
    Unexpected { address: String, code: tonic::Code, message: String },
}
