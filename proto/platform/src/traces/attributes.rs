//! The names of what spans say, where OpenTelemetry's conventions have none.

pub const TX: &str = "undoubt.tx";
pub const MODE: &str = "undoubt.mode";
pub const OUTCOME: &str = "undoubt.outcome";
pub const PARTICIPANT: &str = "undoubt.participant";
pub const STEP: &str = "undoubt.step";
pub const ATTEMPT: &str = "undoubt.attempt";
/// The answer of a participant: a vote, or how a branch or a step ended.
pub const ANSWER: &str = "undoubt.answer";
/// The stage of a transaction that a record stands for.
pub const STAGE: &str = "undoubt.stage";
/// The transaction was carried on from the log.
pub const RECOVERED: &str = "undoubt.recovered";
/// The process ended before the transaction did.
pub const INTERRUPTED: &str = "undoubt.interrupted";
/// The time for which a branch waited for locks, in milliseconds.
pub const LOCK_WAIT_MS: &str = "undoubt.lock_wait_ms";
/// OpenTelemetry's own: the kind of a failure.
pub const ERROR_TYPE: &str = "error.type";
