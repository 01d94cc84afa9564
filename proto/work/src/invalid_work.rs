//! The faults of work.

use crate::call::{MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, MAX_CALL_NAME_BYTES, MAX_CALLS};
use crate::event::Source;
use crate::http::{MAX_REQUEST_BODY_BYTES, MAX_REQUEST_HEADER_BYTES, MAX_REQUEST_HEADERS, Method};
use crate::kv::{MAX_KEY_BYTES, MAX_OPERATIONS, MAX_VALUE_BYTES};
use crate::template::MAX_PARAMETERS;
use crate::wire::Malformed;
use undoubt_vocabulary::event::{InvalidEvent, MAX_EVENTS};
use undoubt_vocabulary::{EventType, InvalidId, Refusal, RefusalCode};

/// The reason why work is not taken, by whoever builds it or by a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWork {
    #[error("it has no operations; give at least one")]
    NoOperations,
    #[error("it has no calls; give at least one")]
    NoCalls,
    #[error("it has {count} calls, more than the {MAX_CALLS} allowed; split the work")]
    TooManyCalls { count: usize },
    #[error(
        "{name} is no name of a procedure: those have 1 to {MAX_CALL_NAME_BYTES} characters of a-z A-Z 0-9 . _ -; correct it"
    )]
    ProcedureName { name: String },
    #[error(
        "{name} is no name of an argument: those have 1 to {MAX_CALL_NAME_BYTES} characters of a-z A-Z 0-9 _, and no digit first; \
         correct it"
    )]
    ArgumentName { name: String },
    #[error("the call of {procedure} has {count} arguments, more than the {MAX_ARGUMENTS} allowed; give fewer")]
    TooManyArguments { procedure: String, count: usize },
    #[error("the call of {procedure} has the argument {name} twice; leave one out")]
    ArgumentTwice { procedure: String, name: String },
    #[error("the argument {name} has neither a value nor a reference; give one, null too")]
    ArgumentWithoutValue { name: String },
    #[error(
        "the argument {name} of {procedure} has {length} bytes, more than the {MAX_ARGUMENT_BYTES} allowed; give less, or in pieces"
    )]
    ArgumentTooLong { procedure: String, name: String, length: usize },
    #[error("undo is for what undoes a step; leave it out of an action")]
    UndoTooEarly,
    #[error(
        "what is enlisted is prepared, and a saga's steps commit at once: submit it by two-phase commit, or give the step other work"
    )]
    EnlistedInSaga,
    #[error("it has no request; give one")]
    NoRequest,
    #[error("{name} is no method that is sent; give one of {}", Method::ALL.map(Method::as_str).join(", "))]
    Method { name: String },
    #[error("the URL {url} cannot be called: {why}")]
    Url { url: String, why: &'static str },
    #[error("the header {name} cannot be sent: {why}")]
    Header { name: String, why: &'static str },
    #[error("a request has {count} headers, more than the {MAX_REQUEST_HEADERS} allowed; give fewer")]
    TooManyHeaders { count: usize },
    #[error(
        "the headers of a request have {length} bytes, more than the {MAX_REQUEST_HEADER_BYTES} allowed; shorten them"
    )]
    HeadersTooLong { length: usize },
    #[error(
        "the body of a request has {length} bytes, more than the {MAX_REQUEST_BODY_BYTES} allowed; let the service fetch the rest"
    )]
    BodyTooLong { length: usize },
    #[error("a request or an event has {count} parameters, more than the {MAX_PARAMETERS} allowed; give fewer")]
    TooManyParameters { count: usize },
    #[error("the parameter {name}: {why}")]
    Parameter { name: String, why: &'static str },
    #[error("a branch is ended by a confirm or a cancel; give both, or neither in a step of a saga")]
    HalfAnEnding,
    #[error(
        "confirm and cancel end a branch of two-phase commit; a saga's step has one request in `do`, and one in `undo`"
    )]
    EndingInSaga,
    #[error("a branch needs a request that confirms and one that cancels what it tried; give all three")]
    NoEnding,
    #[error("it has {count} events, more than the {MAX_EVENTS} allowed; split the work")]
    TooManyEvents { count: usize },
    #[error("{0}")]
    Event(InvalidEvent),
    #[error("{0}")]
    Name(InvalidId),
    #[error("the data of the event {kind} are no JSON ({cause}); correct them, or give them as bytes")]
    EventJson { kind: EventType, cause: String },
    #[error(
        "the values that the data of the event {kind} take from elsewhere have more than the {max_bytes} bytes allowed; publish where \
         they are instead"
    )]
    EventValuesTooLong { kind: EventType, max_bytes: usize },
    #[error("it has {count} operations, more than the {MAX_OPERATIONS} allowed; split the work")]
    TooManyOperations { count: usize },
    #[error("it refers to step {step}, which is no earlier step of a saga that it is part of; correct the name")]
    NoSuchInput { step: String },
    #[error("{from} cannot be referred to: {why}; refer to one that leaves a value")]
    NoSuchValue { from: Source, why: &'static str },
    #[error(
        "pend marks what may yet be undone, so it is for actions before the pivot, and not for what undoes them; leave it out"
    )]
    PendTooLate,
    #[error(
        "respect-pending may be refused for as long as another saga takes, and from the pivot on, or while compensating, \
         there is no other way: leave it out, or let a step before the pivot respect what is pending"
    )]
    RespectTooLate,
    #[error("{what} is for {}; leave it out", if *what == "value-from" { "put and cas" } else { "cas" })]
    NothingToGive { what: &'static str },
    #[error("{what} stands beside the value that it would give; leave one of the two out")]
    GivenTwice { what: &'static str },
    #[error("an operation has an empty key; keys have 1 to {MAX_KEY_BYTES} bytes")]
    EmptyKey,
    #[error("key {key} has {length} bytes, more than the {MAX_KEY_BYTES} allowed; shorten it")]
    KeyTooLong { key: String, length: usize },
    #[error("a value for key {key} has {length} bytes, more than the {MAX_VALUE_BYTES} allowed; split it")]
    ValueTooLong { key: String, length: usize },
    #[error("the work is no undoubt.work.v1.Work ({cause}); encode it as work.proto says")]
    Unreadable { cause: String },
    #[error(
        "the work has {kind}, a kind of work that this resource does not do; it does {does}. Send it to a resource that does \
         it, or update this participant"
    )]
    OtherKind { kind: String, does: &'static str },
    #[error("{place} has a field {number}, which is not known here; leave it out, or update this participant")]
    UnknownField { place: String, number: u64 },
    #[error("operation {at} has no kind that is known here; set one, or update this participant")]
    NoKind { at: usize },
}

impl InvalidWork {
    /// Returns how a resource refuses it.
    pub fn code(&self) -> RefusalCode {
        match self {
            InvalidWork::Event(InvalidEvent::KeyTooLong { .. } | InvalidEvent::DataTooLong { .. })
            | InvalidWork::EventValuesTooLong { .. }
            | InvalidWork::TooManyEvents { .. }
            | InvalidWork::TooManyOperations { .. }
            | InvalidWork::TooManyCalls { .. }
            | InvalidWork::TooManyArguments { .. }
            | InvalidWork::ArgumentTooLong { .. }
            | InvalidWork::TooManyHeaders { .. }
            | InvalidWork::HeadersTooLong { .. }
            | InvalidWork::BodyTooLong { .. }
            | InvalidWork::TooManyParameters { .. }
            | InvalidWork::KeyTooLong { .. }
            | InvalidWork::ValueTooLong { .. } => RefusalCode::TooLarge,
            InvalidWork::Event(
                InvalidEvent::EmptyKey { .. }
                | InvalidEvent::BadLabel { .. }
                | InvalidEvent::IncarnationLength { .. }
                | InvalidEvent::NoId { .. },
            )
            | InvalidWork::Name(_)
            | InvalidWork::EventJson { .. }
            | InvalidWork::NoOperations
            | InvalidWork::NoCalls
            | InvalidWork::ProcedureName { .. }
            | InvalidWork::ArgumentName { .. }
            | InvalidWork::ArgumentTwice { .. }
            | InvalidWork::ArgumentWithoutValue { .. }
            | InvalidWork::UndoTooEarly
            | InvalidWork::EnlistedInSaga
            | InvalidWork::NoRequest
            | InvalidWork::Method { .. }
            | InvalidWork::Url { .. }
            | InvalidWork::Header { .. }
            | InvalidWork::Parameter { .. }
            | InvalidWork::HalfAnEnding
            | InvalidWork::EndingInSaga
            | InvalidWork::NoEnding
            | InvalidWork::NoSuchInput { .. }
            | InvalidWork::NoSuchValue { .. }
            | InvalidWork::PendTooLate
            | InvalidWork::RespectTooLate
            | InvalidWork::NothingToGive { .. }
            | InvalidWork::GivenTwice { .. }
            | InvalidWork::EmptyKey
            | InvalidWork::Unreadable { .. }
            | InvalidWork::OtherKind { .. }
            | InvalidWork::UnknownField { .. }
            | InvalidWork::NoKind { .. } => RefusalCode::InvalidWork,
        }
    }
}

impl From<InvalidWork> for Refusal {
    fn from(invalid: InvalidWork) -> Self {
        Refusal::new(invalid.code(), invalid.to_string())
    }
}

impl From<InvalidEvent> for InvalidWork {
    fn from(invalid: InvalidEvent) -> Self {
        InvalidWork::Event(invalid)
    }
}

impl From<InvalidId> for InvalidWork {
    fn from(invalid: InvalidId) -> Self {
        InvalidWork::Name(invalid)
    }
}

impl From<Malformed> for InvalidWork {
    fn from(malformed: Malformed) -> Self {
        InvalidWork::Unreadable { cause: malformed.to_string() }
    }
}
