//! The work of participants, and the results that they hand back: one [`Work`] that grows by kinds, and one [`Results`]
//! of values that carry their kind. Both are opaque to everybody between whoever submits them and the resource.
//!
//! | form | of work | of results |
//! | --- | --- | --- |
//! | built | [`kv::KvWork`], [`call::CallWork`], [`http::HttpWork`], [`event::Emit`], [`Work::enlisted`], [`Work::raw`] | [`Value`], [`call::CallResult`], [`http::HttpResult`] |
//! | text | [`Work::from_str`](std::str::FromStr), [`Work::texts`], [`GRAMMAR`] | [`Results::shown`] |
//! | JSON | `Deserialize` of [`Work`], [`OBJECTS`] | `Serialize` of [`Results`] |
//! | bytes (`work.proto`) | [`Work::encode`], [`kv::read`], [`call::read`], [`http::read`], [`enlisted::read`], [`event::read`] | [`Results::encode`], [`Results::encode_calls`], [`Results::encode_answer`], [`Results::read`] |
//!
//! A new kind is a module beside [`kv`], a name in `kinds.rs`, a variant in `work.rs` with what it answers there, and the
//! adapter that does it. Clients, command lines and gateways name no kind, save where one is built.
//!
//! Pure: no I/O, clock, thread or randomness.

pub mod call;
mod datum;
pub mod enlisted;
pub mod event;
pub mod http;
mod invalid_work;
mod json;
mod kinds;
pub mod kv;
pub mod reference;
mod results;
pub mod template;
pub mod text;
mod wire;
mod work;

use call::{MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, MAX_CALL_NAME_BYTES, MAX_CALLS};
use http::{MAX_REQUEST_BODY_BYTES, MAX_REQUEST_HEADER_BYTES, MAX_REQUEST_HEADERS};
use kv::{MAX_KEY_BYTES, MAX_OPERATIONS, MAX_VALUE_BYTES};
use template::MAX_PARAMETERS;
use undoubt_vocabulary::event::{MAX_EVENT_DATA_BYTES, MAX_EVENT_KEY_BYTES, MAX_EVENT_LABEL_BYTES, MAX_EVENTS};
use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;

pub use call::json::OBJECTS as CALL_OBJECTS;
pub use call::text::GRAMMAR as CALL_GRAMMAR;
pub use datum::Datum;
pub use enlisted::GRAMMAR as ENLISTED_GRAMMAR;
pub use event::json::OBJECTS as EVENT_OBJECTS;
pub use event::text::GRAMMAR as EVENT_GRAMMAR;
pub use http::json::OBJECTS as HTTP_OBJECTS;
pub use http::text::GRAMMAR as HTTP_GRAMMAR;
pub use invalid_work::InvalidWork;
pub use json::raw_from_text;
pub use kv::json::OBJECTS;
pub use kv::text::GRAMMAR;
pub use reference::{Cell, Input, Inputs, Place, Reference};
pub use results::{FORM_BYTES, Results, Value};
pub use work::{NotMergeable, PlaceInSaga, Work};

/// The bounds that users can meet.
pub const LIMITS: &[Limit] = &[
    limit!(Bytes MAX_KEY_BYTES, "A key of the key-value store; at least 1.", "The client refuses the work; the participant refuses it with `too-large`, an empty one with `invalid-work`."),
    limit!(Bytes MAX_VALUE_BYTES, "A value of the key-value store.", "The client refuses the work; the participant refuses it with `too-large`."),
    limit!(Count MAX_OPERATIONS, "Operations of one branch or step.", "The same."),
    limit!(Count MAX_CALLS, "Calls of procedures of one branch or step.", "The client refuses the work; the participant refuses it with `too-large`."),
    limit!(Count MAX_ARGUMENTS, "Arguments of one call.", "The same."),
    limit!(Bytes MAX_ARGUMENT_BYTES, "A value of an argument.", "The same."),
    limit!(Bytes MAX_CALL_NAME_BYTES, "The name of a procedure or an argument; at least 1.", "The client refuses the work; the participant refuses it with `invalid-work`."),
    limit!(Bytes MAX_REQUEST_BODY_BYTES, "The body of an HTTP request of a branch or a step.", "The client refuses the work; the participant refuses it with `too-large`."),
    limit!(Count MAX_REQUEST_HEADERS, "Headers of one HTTP request.", "The same."),
    limit!(Bytes MAX_REQUEST_HEADER_BYTES, "All headers of one HTTP request, names and values.", "The same."),
    limit!(Count MAX_PARAMETERS, "Values that one HTTP request or one event takes from elsewhere by their names.", "The same."),
    limit!(Count MAX_EVENTS, "Events of one branch or step.", "The same."),
    limit!(Bytes MAX_EVENT_KEY_BYTES, "The key of an event; at least 1.", "The client refuses the work; the participant refuses it with `too-large`, an empty one with `invalid-work`."),
    limit!(Bytes MAX_EVENT_DATA_BYTES, "The data of an event.", "The client refuses the work; the participant refuses it with `too-large`."),
    limit!(Bytes MAX_EVENT_LABEL_BYTES, "The name of the schema of an event's data, and their media type.", "The client refuses the work; the participant refuses it with `invalid-work`."),
];
