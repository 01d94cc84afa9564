//! The names of states, as plans and the table of faults and states have them.

/// The state in which nothing is under way.
pub const IDLE: &str = "idle";

/// The phases of a transaction at its coordinator, by their names in traces.
pub const PHASES: [&str; 14] = [
    "preparing",
    "confirming",
    "logging-commit",
    // A branch of this name has a phase of this name as well: they share a column.
    "committing",
    "logging-delegation",
    "delegated",
    "settling",
    "logging-end",
    "logging-beginning",
    "acting",
    "logging-compensation",
    "compensating",
    "stuck",
    "closing",
];

/// The states of a branch at its participant, by their names in traces.
pub const BRANCHES: [&str; 8] =
    ["executing", "prepared", "read-only", "committing", "aborting", "resolving", "acting", "compensating"];

/// The states that nobody is in any more, so that no fault can meet them.
pub const OVER: [&str; 2] = ["ended", "over"];
