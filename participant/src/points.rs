//! The points at which a process can be made to crash: around what the resource manager makes durable, and around each
//! send.

use undoubt_vocabulary::{Direction, ToCoordinator};

/// The name of every point, for those who sweep them.
pub const CRASH_POINTS: &[&str] = &[
    "before-execute",
    "after-execute",
    "before-commit",
    "after-commit",
    "before-abort",
    "after-abort",
    "before-act",
    "after-act",
    "before-compensate",
    "after-compensate",
    "before-send-vote",
    "after-send-vote",
    "before-send-confirmed",
    "after-send-confirmed",
    "before-send-finished",
    "after-send-finished",
    "before-send-inquiry",
    "after-send-inquiry",
    "before-send-acted",
    "after-send-acted",
    "before-send-compensated",
    "after-send-compensated",
    "before-send-closed",
    "after-send-closed",
];

/// The points around the write of a hello's epoch and key. They are reached at the beginning of sessions, where no transaction's state
/// tells one crash from another, so nobody sweeps them.
pub const SESSION_POINTS: &[&str] = &[BEFORE_RECORD_EPOCH, AFTER_RECORD_EPOCH];

pub(crate) const BEFORE_RECORD_EPOCH: &str = "before-record-epoch";
pub(crate) const AFTER_RECORD_EPOCH: &str = "after-record-epoch";

/// Returns the points before and after a message is handed to the stream.
pub(crate) fn around_send(message: &ToCoordinator) -> (&'static str, &'static str) {
    match message {
        ToCoordinator::Vote { .. } => ("before-send-vote", "after-send-vote"),
        ToCoordinator::Confirmed { .. } => ("before-send-confirmed", "after-send-confirmed"),
        ToCoordinator::Finished { .. } => ("before-send-finished", "after-send-finished"),
        ToCoordinator::Inquiry { .. } => ("before-send-inquiry", "after-send-inquiry"),
        ToCoordinator::Ran { direction: Direction::Forward, .. } => ("before-send-acted", "after-send-acted"),
        ToCoordinator::Ran { direction: Direction::Completing, .. } => {
            ("before-send-completed", "after-send-completed")
        }
        ToCoordinator::Ran { direction: Direction::Compensating, .. } => {
            ("before-send-compensated", "after-send-compensated")
        }
        ToCoordinator::Closed { .. } => ("before-send-closed", "after-send-closed"),
    }
}
