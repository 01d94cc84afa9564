//! The bounds of a coordinator that no setting changes.

use crate::callback::call::CALL_TIMEOUT;
use crate::callback::promises::{MAX_PROMISES_OF_ONE, MAX_PROMISES_TO_ONE};
use crate::callback::share::{MAX_CALLS, MAX_CALLS_TO_ONE};
use crate::callback::signature::MIN_SECRET_BYTES;
use crate::engine::MAX_QUEUED_COMMANDS;
use crate::engine::handle::MAX_QUEUED_COMMAND_BYTES;
use crate::history::MAX_EVENTS_PER_TRANSACTION;
use crate::history::watched::{MAX_BYTES_KEPT, MAX_EVENTS_KEPT, MAX_EVENTS_QUEUED_PER_WATCHER};
use crate::operator::MAX_DAMAGED_COUNTED;
use crate::service::DEFAULT_AWAIT_MS;
use crate::service::listing::{MAX_PAGE_BYTES, MAX_PAGE_RECORDS_READ, MAX_PAGE_ROWS};
use crate::service::requests::MAX_APPLIED_WITHIN_MS;
use crate::session::sender::MAX_MESSAGES_PER_BATCH;
use crate::witness::MAX_LISTED_PER_LOSS;
use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::{Limit, Unit};

/// The bounds that users can meet.
pub const LIMITS: &[Limit] = &[
    Limit {
        unit: Unit::Milliseconds,
        ..limit!(Count DEFAULT_AWAIT_MS, "An `Await` that names no time.", "`NOT_DECIDED_YET`.")
    },
    Limit {
        unit: Unit::Milliseconds,
        ..limit!(Count MAX_APPLIED_WITHIN_MS, "The wait of a submission or a close until it is applied.", "`INVALID_REQUEST`.")
    },
    limit!(Count MAX_PAGE_ROWS, "Transactions on one page of a list.", "The page ends, with a cursor."),
    limit!(Bytes MAX_PAGE_BYTES, "One page of a list.", "The page ends, with a cursor."),
    limit!(Count MAX_PAGE_RECORDS_READ, "Ended transactions that are looked at for one page.", "The page ends, with a cursor, though few may fit."),
    limit!(Count MAX_DAMAGED_COUNTED, "Damaged transactions that `Describe` counts.", "It tells this number where there are more."),
    limit!(Count MAX_EVENTS_PER_TRANSACTION, "Events in the history of one transaction.", "Events in the middle are left out."),
    limit!(Count MAX_EVENTS_KEPT, "Events that are kept for watches that go on.", "Older ones are lost to a watch that comes back: it is told."),
    limit!(Bytes MAX_BYTES_KEPT, "Their texts.", "The same."),
    limit!(Count MAX_EVENTS_QUEUED_PER_WATCHER, "Events that a watcher is behind.", "It goes on from those that are kept, and is told what it has missed."),
    limit!(Count MAX_QUEUED_COMMANDS, "Requests and messages that wait for the engine.", "More wait before it."),
    limit!(Bytes MAX_QUEUED_COMMAND_BYTES, "What they bring along.", "More wait before it."),
    limit!(Count MAX_MESSAGES_PER_BATCH, "Messages in one batch to a participant.", "The next batch has the rest."),
    limit!(Count MAX_PROMISES_TO_ONE, "Callbacks promised to one host.", "`TOO_MANY_CALLBACKS`."),
    limit!(Count MAX_PROMISES_OF_ONE, "Callbacks promised for one transaction.", "`TOO_MANY_CALLBACKS`."),
    limit!(Count MAX_CALLS, "Callbacks under way.", "More wait."),
    limit!(Count MAX_CALLS_TO_ONE, "Callbacks under way to one host.", "More wait."),
    limit!(ms CALL_TIMEOUT, "One callback, with connecting.", "It is made again."),
    limit!(Bytes MIN_SECRET_BYTES, "The secret with which callbacks are signed, at least.", "The coordinator does not start."),
    limit!(Count MAX_LISTED_PER_LOSS, "Transactions that are listed as damaged for one loss of a participant.", "The latest are listed; it is told that there were more."),
];
