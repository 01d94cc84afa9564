//! The bounds of a participant that no setting changes.

use crate::admin::MAX_MARKS_LISTED;
use crate::admin::listing::MAX_PAGE_ROWS;
use crate::engine::MAX_QUEUED_COMMANDS;
use crate::engine::commands::{MAX_RECALLED_ATTEMPTS, MAX_RECEIVED_BYTES};
use crate::engine::waiting_work::MAX_WAITING_BYTES;
use crate::outbox::MAX_MESSAGES_PER_BATCH;
use crate::resource::SHORT_RESULT_BYTES;
use crate::room::MAX_UNSENT_BYTES;
use crate::session::{HELLO_TIMEOUT, UNREAD_TIMEOUT};
use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;
use undoubt_vocabulary::proof::MAX_SUCCESSIONS;

/// The bounds that users can meet.
pub const LIMITS: &[Limit] = &[
    limit!(ms HELLO_TIMEOUT, "From the beginning of a session's stream to its hello, and from a challenge to its proof.", "The session ends with `DEADLINE_EXCEEDED`."),
    limit!(ms UNREAD_TIMEOUT, "The time in which a coordinator has to read a batch.", "Its session ends."),
    limit!(Count MAX_SUCCESSIONS, "Former keys whose word a coordinator shows for its own.", "`INVALID_REQUEST`, field `successions`; a coordinator forgets its oldest."),
    limit!(Count MAX_PAGE_ROWS, "Branches and steps on one page of a list.", "The page ends, with a cursor."),
    limit!(Count MAX_MARKS_LISTED, "Semantic locks on one page of a list.", "The page ends, with a cursor."),
    limit!(Count MAX_QUEUED_COMMANDS, "Requests and batches that wait for the engine.", "More wait before it."),
    limit!(Bytes MAX_RECEIVED_BYTES, "Work that was received and that the engine has not taken yet.", "Sessions are not read meanwhile."),
    limit!(Bytes MAX_WAITING_BYTES, "Work that waits for room for its results.", "Sessions are not read, or what is new is refused with `unavailable`."),
    limit!(Bytes MAX_UNSENT_BYTES, "Results that are not written, and messages that are not sent.", "Work waits."),
    limit!(Count MAX_MESSAGES_PER_BATCH, "Messages in one batch to a coordinator.", "The next batch has the rest."),
    limit!(Count MAX_RECALLED_ATTEMPTS, "Attempts in one answer to a coordinator that asks what is known of it.", "It asks for the next."),
    limit!(Bytes SHORT_RESULT_BYTES, "A result that is kept in memory though it could be read again.", "Longer ones are read from the store."),
];
