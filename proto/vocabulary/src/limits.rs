//! Bounds of what crosses the wire or is stored. Each is checked where data enters, and named in the error.

/// A transaction's id: at least one byte, at most this many.
pub const MAX_TX_ID_BYTES: usize = 64;

/// A participant's or a coordinator's name: at least one byte, at most this many.
pub const MAX_NAME_BYTES: usize = 64;

/// Branches of one transaction.
pub const MAX_BRANCHES_PER_TRANSACTION: usize = 64;

/// The work of one branch, as the resource manager's own bytes.
pub const MAX_WORK_BYTES: usize = 1 << 20;

/// The work of all branches of one transaction together.
pub const MAX_TRANSACTION_BYTES: usize = 4 << 20;

/// What a branch hands back with its vote (values read).
pub const MAX_RESULT_BYTES: usize = 1 << 20;

/// Explanations in refusals are cut to this length.
pub const MAX_DETAIL_BYTES: usize = 512;

/// Clients that may wait for one transaction at the same time.
pub const MAX_WAITERS_PER_TRANSACTION: usize = 64;
