//! The metrics of a coordinator: their names, labels and meanings.

use undoubt_platform::metrics::Metric;

/// The metrics of a coordinator.
pub const METRICS: &[Metric] = &[
    BEGUN,
    ENDED,
    DAMAGED_ENDS,
    DURATION,
    REJECTED,
    OPEN,
    MAX_OPEN,
    OLDEST,
    UNACKNOWLEDGED,
    OLDEST_UNACKNOWLEDGED,
    STUCK,
    OLDEST_STUCK,
    UNUSABLE,
    PAUSED,
    DAMAGED,
    WORK,
    MAX_WORK,
    GATHERED,
    MAX_GATHERED,
    COMMANDS,
    MAX_COMMANDS,
    COMMAND_BYTES,
    MAX_COMMAND_BYTES,
    GATHERING,
    MAX_GATHERING,
    REFUSING,
    PHASE,
    EPOCH,
    RECOVERY,
    RECOVERED,
    CONNECTED,
    SESSIONS,
    CONNECT_FAILURES,
    AWAY,
    OPEN_WITH,
    QUEUED,
    QUEUED_BYTES,
    SPARED,
    UNNUMBERED,
];

pub(super) const BEGUN: Metric = Metric::counter(
    "undoubt_coordinator_transactions_begun",
    &["mode"],
    "Transactions that were begun, by mode; one that auto turns from two-phase commit to a saga begins in both",
);
pub(super) const ENDED: Metric = Metric::counter(
    "undoubt_coordinator_transactions_ended",
    &["mode", "outcome", "reason"],
    "Transactions that ended, by the way that they ended; an abort with the label of its reason",
);
pub(super) const DAMAGED_ENDS: Metric = Metric::counter(
    "undoubt_coordinator_transactions_ended_damaged",
    &["mode"],
    "Those of them of which some branch ended otherwise than was decided, or nobody knows how",
);
pub(super) const DURATION: Metric = Metric::histogram(
    "undoubt_coordinator_transaction_duration_seconds",
    &["mode"],
    "Time from a transaction's beginning to the record of its end, which all participants have acknowledged",
);
pub(super) const REJECTED: Metric = Metric::counter(
    "undoubt_coordinator_requests_rejected",
    &["reason"],
    "Requests about transactions that were rejected, by the reason; nothing was changed by them",
);
pub(super) const OPEN: Metric =
    Metric::gauge("undoubt_coordinator_transactions_open", &["mode"], "Transactions that have not ended");
pub(super) const MAX_OPEN: Metric = Metric::gauge(
    "undoubt_coordinator_transactions_open_max",
    &[],
    "The bound of all that are open (max_open_transactions)",
);
pub(super) const OLDEST: Metric = Metric::gauge(
    "undoubt_coordinator_transactions_open_oldest_seconds",
    &["mode"],
    "Age of the oldest that is open; 0 if none is",
);
pub(super) const UNACKNOWLEDGED: Metric = Metric::gauge(
    "undoubt_coordinator_transactions_unacknowledged",
    &[],
    "Transactions that are decided, and wait for a participant's acknowledgement",
);
pub(super) const OLDEST_UNACKNOWLEDGED: Metric = Metric::gauge(
    "undoubt_coordinator_transactions_unacknowledged_oldest_seconds",
    &[],
    "Age of the oldest of them; 0 if there is none",
);
pub(super) const STUCK: Metric =
    Metric::gauge("undoubt_coordinator_transactions_stuck", &[], "Sagas that go on only with an operator");
pub(super) const OLDEST_STUCK: Metric = Metric::gauge(
    "undoubt_coordinator_transactions_stuck_oldest_seconds",
    &[],
    "Age of the oldest of them, since its beginning; 0 if there is none",
);
pub(super) const UNUSABLE: Metric = Metric::gauge(
    "undoubt_coordinator_transactions_unusable",
    &[],
    "Transactions whose record cannot be carried out, held until an operator ends them",
);
pub(super) const PAUSED: Metric = Metric::gauge(
    "undoubt_coordinator_transactions_paused",
    &[],
    "Transactions that recovery has found and that wait until an operator resumes it",
);
pub(super) const DAMAGED: Metric = Metric::gauge(
    "undoubt_coordinator_transactions_damaged",
    &[],
    "Ended transactions that are damaged and that no operator has seen to; counted up to 10000",
);
pub(super) const WORK: Metric =
    Metric::gauge("undoubt_coordinator_open_work_bytes", &[], "Work of all open transactions");
pub(super) const MAX_WORK: Metric = Metric::gauge(
    "undoubt_coordinator_open_work_max_bytes",
    &[],
    "The bound of undoubt_coordinator_open_work_bytes (max_open_bytes)",
);
pub(super) const GATHERED: Metric =
    Metric::gauge("undoubt_coordinator_gathered_bytes", &[], "Results that open transactions have gathered");
pub(super) const MAX_GATHERED: Metric = Metric::gauge(
    "undoubt_coordinator_gathered_max_bytes",
    &[],
    "The bound of undoubt_coordinator_gathered_bytes (max_gathered_bytes)",
);
pub(super) const COMMANDS: Metric =
    Metric::gauge("undoubt_coordinator_queue_commands", &[], "Requests and messages that wait for the engine");
pub(super) const MAX_COMMANDS: Metric =
    Metric::gauge("undoubt_coordinator_queue_max_commands", &[], "The bound of undoubt_coordinator_queue_commands");
pub(super) const COMMAND_BYTES: Metric =
    Metric::gauge("undoubt_coordinator_queue_bytes", &[], "What they bring along, of those that bring more than 4 KiB");
pub(super) const MAX_COMMAND_BYTES: Metric =
    Metric::gauge("undoubt_coordinator_queue_max_bytes", &[], "The bound of undoubt_coordinator_queue_bytes");
pub(super) const GATHERING: Metric =
    Metric::gauge("undoubt_coordinator_log_gathering_bytes", &[], "Records that wait for the write under way");
pub(super) const MAX_GATHERING: Metric = Metric::gauge(
    "undoubt_coordinator_log_gathering_max_bytes",
    &[],
    "The bound of undoubt_coordinator_log_gathering_bytes",
);
pub(super) const REFUSING: Metric = Metric::gauge(
    "undoubt_coordinator_refusing_work",
    &[],
    "1 while no new transactions are taken for want of room, or because the log cannot be written",
);
pub(super) const PHASE: Metric =
    Metric::gauge("undoubt_coordinator_phase", &["phase"], "1 for the phase that it is in");
pub(super) const EPOCH: Metric = Metric::gauge("undoubt_coordinator_epoch", &[], "The number of its starts");
pub(super) const RECOVERY: Metric = Metric::gauge(
    "undoubt_coordinator_recovery_duration_seconds",
    &[],
    "Time from the start until it served; absent before",
);
pub(super) const RECOVERED: Metric =
    Metric::gauge("undoubt_coordinator_recovered_transactions", &[], "Open transactions that the last start found");
pub(super) const CONNECTED: Metric = Metric::gauge(
    "undoubt_coordinator_participant_connected",
    &["participant"],
    "1 while there is a session with the participant",
);
pub(super) const SESSIONS: Metric = Metric::counter(
    "undoubt_coordinator_participant_sessions",
    &["participant"],
    "Sessions that were begun with the participant; all but the first are reconnections",
);
pub(super) const CONNECT_FAILURES: Metric = Metric::counter(
    "undoubt_coordinator_participant_connect_failures",
    &["participant"],
    "Attempts to begin a session that failed",
);
pub(super) const AWAY: Metric = Metric::gauge(
    "undoubt_coordinator_participant_away_seconds",
    &["participant"],
    "Time since the last session with the participant ended, or since the start; 0 while there is one",
);
pub(super) const OPEN_WITH: Metric = Metric::gauge(
    "undoubt_coordinator_participant_transactions_open",
    &["participant"],
    "Open transactions that the participant takes part in",
);
pub(super) const QUEUED: Metric = Metric::gauge(
    "undoubt_coordinator_participant_queue_messages",
    &["participant"],
    "Messages that wait to be sent to the participant",
);
pub(super) const QUEUED_BYTES: Metric =
    Metric::gauge("undoubt_coordinator_participant_queue_bytes", &["participant"], "Their bytes");
pub(super) const SPARED: Metric = Metric::gauge(
    "undoubt_coordinator_participant_breaker_open",
    &["participant"],
    "1 while auto spares the participant two-phase commit, since it did not answer in time",
);
pub(super) const UNNUMBERED: Metric = Metric::gauge(
    "undoubt_coordinator_participant_unnumbered",
    &["participant"],
    "1 if the participant does not number its writes: an older copy of it would not be noticed",
);
