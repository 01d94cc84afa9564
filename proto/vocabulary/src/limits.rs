//! Bounds of what crosses the wire or is stored (R9), and how they fit into each other (R13).
//!
//! Each is checked where data enters, and named in the error. What one stage may hand on is below what the next one takes:
//!
//! | stage | bound | below |
//! | --- | --- | --- |
//! | a client sends | [`MAX_TRANSACTION_BYTES`] of work | [`MAX_REQUEST_BYTES`] |
//! | a branch or a step is sent | [`MAX_WORK_BYTES`] and [`MAX_STEP_INPUT_BYTES`] | [`MAX_COORDINATOR_BATCH_BYTES`] |
//! | many share a batch | [`USUAL_COORDINATOR_BATCH_BYTES`] | [`MAX_COORDINATOR_BATCH_BYTES`] |
//! | a branch or a step answers | [`MAX_RESULT_BYTES`] | [`MAX_PARTICIPANT_BATCH_BYTES`] |
//! | many answers share a batch | [`USUAL_PARTICIPANT_BATCH_BYTES`] | [`MAX_PARTICIPANT_BATCH_BYTES`] |
//! | a transaction gathers | [`MAX_TRANSACTION_RESULT_BYTES`] | [`MAX_RECORD_BYTES`], [`MAX_RESPONSE_BYTES`] |
//! | a record | [`MAX_RECORD_BYTES`] | [`MAX_STORE_QUEUE_BYTES`], with a batch of [`MAX_RECORDS_BATCH_BYTES`] before it and all callbacks |
//!
//! The assertions below keep it so.

use crate::limit;
use crate::limit::Limit;

/// A transaction's id: at least one byte, at most this many.
pub const MAX_TX_ID_BYTES: usize = 64;

/// A participant's or a coordinator's name: at least one byte, at most this many.
pub const MAX_NAME_BYTES: usize = 64;

/// Branches of one transaction, or steps of one saga.
pub const MAX_BRANCHES_PER_TRANSACTION: usize = 64;

/// Open sagas that are nested in each other, the outermost included.
pub const MAX_NESTED_SAGAS: usize = 8;

/// Attempts below a low-water mark that are still open, for each coordinator and participant.
pub const MAX_STILL_OPEN: usize = 1_024;

/// The work of one branch, as the resource manager's own bytes.
pub const MAX_WORK_BYTES: usize = 1 << 20;

/// The work of all branches of one transaction together; of a saga with its compensations.
pub const MAX_TRANSACTION_BYTES: usize = 4 << 20;

/// The result of a branch or a step (values read).
pub const MAX_RESULT_BYTES: usize = 1 << 20;

/// The results of all branches or steps of one transaction together.
pub const MAX_TRANSACTION_RESULT_BYTES: usize = 8 << 20;

/// The results of earlier steps that one step is given together.
pub const MAX_STEP_INPUT_BYTES: usize = 2 << 20;

/// Explanations in refusals are cut to this length.
pub const MAX_DETAIL_BYTES: usize = 512;

/// Clients that may wait for one transaction at the same time.
pub const MAX_WAITERS_PER_TRANSACTION: usize = 64;

/// One request of a client: a transaction of the largest size, or a batch of many small ones.
pub const MAX_REQUEST_BYTES: usize = 16 << 20;

/// One answer to a client or an operator.
pub const MAX_RESPONSE_BYTES: usize = 128 << 20;

/// One batch from a coordinator to a participant.
pub const MAX_COORDINATOR_BATCH_BYTES: usize = 4 << 20;

/// One batch from a participant to a coordinator.
pub const MAX_PARTICIPANT_BATCH_BYTES: usize = 64 << 20;

/// The bytes that the entries of one message's lists may take in memory: an empty one is two bytes on the wire, and a
/// hundred times as many once it is read.
pub const MAX_ENTRIES_BYTES: usize = 32 << 20;

/// A coordinator closes a batch before it has more than this; a message that alone has more is a batch of its own.
pub const USUAL_COORDINATOR_BATCH_BYTES: usize = 1 << 20;

/// The same of a participant.
pub const USUAL_PARTICIPANT_BATCH_BYTES: usize = 2 << 20;

/// A message of a session without its work, inputs and results: ids, numbers, and what the encoding adds.
pub const MAX_MESSAGE_OVERHEAD_BYTES: usize = 2 << 10;

/// One transaction's record in the coordinator's log, with all that is stored beside it at the same time.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

/// Records gather for one write up to this size; the last may exceed it by itself.
pub const MAX_RECORDS_BATCH_BYTES: usize = 8 << 20;

/// The bytes that may wait for a store's writer, and so the most of one batch.
pub const MAX_STORE_QUEUE_BYTES: usize = 64 << 20;

/// Callbacks promised and not kept yet.
pub const MAX_CALLBACKS: usize = 10_000;

/// The URL of a callback.
pub const MAX_URL_BYTES: usize = 2_048;

/// The bytes that a transaction's record holds besides work and results: names, outcomes, the lines of its history.
const MAX_RECORD_OVERHEAD_BYTES: usize = 1 << 20;

const _: () = {
    assert!(MAX_WORK_BYTES <= MAX_TRANSACTION_BYTES);
    assert!(2 * MAX_TRANSACTION_BYTES <= MAX_REQUEST_BYTES);
    assert!(MAX_WORK_BYTES + MAX_STEP_INPUT_BYTES + MAX_MESSAGE_OVERHEAD_BYTES < MAX_COORDINATOR_BATCH_BYTES);
    assert!(USUAL_COORDINATOR_BATCH_BYTES < MAX_COORDINATOR_BATCH_BYTES);
    assert!(USUAL_PARTICIPANT_BATCH_BYTES < MAX_PARTICIPANT_BATCH_BYTES);
    assert!(MAX_RESULT_BYTES <= MAX_STEP_INPUT_BYTES && MAX_STEP_INPUT_BYTES <= MAX_TRANSACTION_RESULT_BYTES);
    assert!(MAX_RESULT_BYTES + MAX_MESSAGE_OVERHEAD_BYTES < MAX_PARTICIPANT_BATCH_BYTES);
    assert!(MAX_TRANSACTION_RESULT_BYTES + MAX_RECORD_OVERHEAD_BYTES < MAX_RESPONSE_BYTES);
    assert!(
        MAX_TRANSACTION_BYTES + MAX_TRANSACTION_RESULT_BYTES + MAX_RECORD_OVERHEAD_BYTES < MAX_RECORD_BYTES,
        "a record that holds all a transaction may send and gather"
    );
    let callbacks = MAX_CALLBACKS * (MAX_URL_BYTES + MAX_TX_ID_BYTES);
    assert!(MAX_RECORDS_BATCH_BYTES + MAX_RECORD_BYTES + callbacks < MAX_STORE_QUEUE_BYTES);
};

/// The bounds that users can meet.
pub const LIMITS: &[Limit] = &[
    limit!(Bytes MAX_TX_ID_BYTES, "A transaction's id; at least 1.", "`INVALID_REQUEST`, field `tx`."),
    limit!(Bytes MAX_NAME_BYTES, "A name of a participant, a coordinator, a step or an identity; at least 1.", "`INVALID_REQUEST`, or the server does not start."),
    limit!(Count MAX_BRANCHES_PER_TRANSACTION, "Branches of one transaction, or steps of one saga.", "`TOO_MANY_BRANCHES`; of a saga `INVALID_SAGA`."),
    limit!(Count MAX_NESTED_SAGAS, "Open sagas nested in each other, the outermost included.", "`NO_PARENT`."),
    limit!(Count MAX_STILL_OPEN, "Attempts of open sagas that a low-water mark passes, for each coordinator and participant.", "The mark waits for the next of them, as it does for others, and the participant keeps what came after that. A longer list than that is refused with `INVALID_REQUEST`, and the session ends."),
    limit!(Bytes MAX_WORK_BYTES, "The work of one branch or step.", "`TOO_LARGE`, field `branches.NAME.work`."),
    limit!(Bytes MAX_TRANSACTION_BYTES, "The work of all branches of one transaction together; of a saga with its compensations.", "`TOO_LARGE`."),
    limit!(Bytes MAX_RESULT_BYTES, "The result of a branch or a step.", "The transaction aborts, or compensates, with `too-large`; past the pivot the step is stuck."),
    limit!(Bytes MAX_TRANSACTION_RESULT_BYTES, "The results of all branches or steps of one transaction together.", "The same."),
    limit!(Bytes MAX_STEP_INPUT_BYTES, "The results of earlier steps that one step is given together.", "The step is refused with `too-large`."),
    limit!(Bytes MAX_DETAIL_BYTES, "An explanation in a refusal.", "It is cut."),
    limit!(Count MAX_WAITERS_PER_TRANSACTION, "Clients that wait for one transaction at the same time.", "`TOO_MANY_WAITERS`."),
    limit!(Bytes MAX_REQUEST_BYTES, "One request of a client.", "`MESSAGE_TOO_LARGE`."),
    limit!(Bytes MAX_RESPONSE_BYTES, "One answer to a client or an operator.", "The client reads no larger one."),
    limit!(Bytes MAX_COORDINATOR_BATCH_BYTES, "One batch from a coordinator to a participant.", "`MESSAGE_TOO_LARGE`, and the session ends. No coordinator sends a larger one."),
    limit!(Bytes MAX_PARTICIPANT_BATCH_BYTES, "One batch from a participant to a coordinator.", "The session ends. No participant should send a larger one."),
    limit!(Bytes MAX_ENTRIES_BYTES, "The memory that the entries of one message's lists take once it is read.", "`INVALID_ARGUMENT` without a reason."),
    limit!(Bytes MAX_RECORD_BYTES, "One transaction's record in the coordinator's log, with what is stored beside it.", "What would make it larger is refused before, by the bounds above."),
    limit!(Bytes MAX_STORE_QUEUE_BYTES, "What waits for a store's writer, and so the most of one batch.", "More waits."),
    limit!(Count MAX_CALLBACKS, "Callbacks promised and not kept yet.", "`TOO_MANY_CALLBACKS`."),
    limit!(Bytes MAX_URL_BYTES, "The URL of a callback.", "`INVALID_REQUEST`, field `callback`."),
];
