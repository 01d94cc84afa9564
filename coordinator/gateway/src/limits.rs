//! The bounds of what callers can make a gateway hold, and of how long they may take.

use crate::body::{BODY_TIMEOUT, MAX_BODIES_BYTES, MAX_BODY_BYTES, MAX_READING_BYTES, ROOM_TIMEOUT};
use crate::connection::TAKING_TIMEOUT;
use crate::coordinators::{COORDINATOR_TIMEOUT, MAX_COORDINATORS};
use crate::routes::MAX_LISTED;
use crate::routes::waiting::MAX_WAIT;
use crate::run::{HEAD_TIMEOUT, MAX_HEAD_BYTES, MAX_HEADERS};
use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;

/// The bounds that no setting changes.
pub const LIMITS: &[Limit] = &[
    limit!(Bytes MAX_HEAD_BYTES, "The head of a request: its line and its headers.", "431, and the connection ends."),
    limit!(Count MAX_HEADERS, "Headers of a request.", "431, and the connection ends."),
    limit!(ms HEAD_TIMEOUT, "The head of a request, or a connection without one.", "The connection ends."),
    limit!(Bytes MAX_BODY_BYTES, "The body of a request.", "413, `MESSAGE_TOO_LARGE`."),
    limit!(ms BODY_TIMEOUT, "The body of a request, until it is whole.", "408, `MESSAGE_INCOMPLETE`."),
    limit!(Bytes MAX_BODIES_BYTES, "Bodies that are not whole, of all requests together.", "503, `TOO_MANY_REQUESTS`."),
    limit!(Bytes MAX_READING_BYTES, "Memory in which bodies are read as JSON, 16 bytes for each of theirs, of all requests together.", "The request waits, up to `ROOM_TIMEOUT`."),
    limit!(ms ROOM_TIMEOUT, "Waiting for room to read a body as JSON.", "503, `TOO_MANY_REQUESTS`."),
    limit!(Count MAX_LISTED, "Transactions, or entries of the audit record, in one answer.", "400, `INVALID_REQUEST`."),
    limit!(ms MAX_WAIT, "Waiting for an outcome (`wait`).", "400, `INVALID_REQUEST`; the outcome can be asked for again."),
    limit!(Count MAX_COORDINATORS, "Coordinators behind a gateway.", "The gateway does not start."),
    limit!(ms COORDINATOR_TIMEOUT, "A coordinator's answer to whether it serves, or has an id that may not be at its home.", "It counts as away: 503, and another id goes elsewhere."),
    limit!(ms TAKING_TIMEOUT, "An answer of which the caller takes nothing.", "The connection ends."),
];
