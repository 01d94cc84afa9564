//! The bounds of this library.

use crate::submit_many::{MAX_BATCH_BYTES, MAX_BATCH_TRANSACTIONS};
use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;

/// The bounds that applications can meet, beside those of [`ClientOptions`](crate::ClientOptions).
pub const LIMITS: &[Limit] = &[
    limit!(Count MAX_BATCH_TRANSACTIONS, "Transactions in one batch of `submit_many`.", "The next batch has the rest."),
    limit!(Bytes MAX_BATCH_BYTES, "One batch of `submit_many`; a transaction alone may be larger.", "The next batch has the rest."),
];
