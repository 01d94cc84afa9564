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

/// A transaction's id: at least one byte, at most this many.
pub const MAX_TX_ID_BYTES: usize = 64;

/// A participant's or a coordinator's name: at least one byte, at most this many.
pub const MAX_NAME_BYTES: usize = 64;

/// Branches of one transaction, or steps of one saga.
pub const MAX_BRANCHES_PER_TRANSACTION: usize = 64;

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
