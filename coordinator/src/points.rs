//! The points at which a process can be made to crash: before and after each log write and each send.

use undoubt_coordinator_core::Stage;
use undoubt_vocabulary::{Direction, ToParticipant};

/// The name of every point, for those who sweep them.
pub const CRASH_POINTS: &[&str] = &[
    "before-append-delegated",
    "after-append-delegated",
    "before-append-committed",
    "after-append-committed",
    "before-append-ended",
    "after-append-ended",
    "before-append-begun",
    "after-append-begun",
    "before-append-stepped",
    "after-append-stepped",
    "before-append-compensation",
    "after-append-compensation",
    "before-send-prepare",
    "after-send-prepare",
    "before-send-confirm",
    "after-send-confirm",
    "before-send-commit",
    "after-send-commit",
    "before-send-abort",
    "after-send-abort",
    "before-send-settle",
    "after-send-settle",
    "before-send-act",
    "after-send-act",
    "before-send-compensate",
    "after-send-compensate",
    "before-send-close",
    "after-send-close",
    "before-send-undecided",
    "after-send-undecided",
    "before-send-noted",
    "after-send-noted",
    "before-answer",
    "after-answer",
];

pub(crate) fn before_append(stage: Stage) -> &'static str {
    match stage {
        Stage::Delegated => "before-append-delegated",
        Stage::Committed => "before-append-committed",
        Stage::Ended => "before-append-ended",
        Stage::Begun => "before-append-begun",
        Stage::Stepped => "before-append-stepped",
        Stage::Compensating => "before-append-compensation",
        Stage::Opened => "before-append-opened",
        Stage::Joined => "before-append-joined",
        Stage::Closed => "before-append-closed",
    }
}

pub(crate) fn after_append(stage: Stage) -> &'static str {
    match stage {
        Stage::Delegated => "after-append-delegated",
        Stage::Committed => "after-append-committed",
        Stage::Ended => "after-append-ended",
        Stage::Begun => "after-append-begun",
        Stage::Stepped => "after-append-stepped",
        Stage::Compensating => "after-append-compensation",
        Stage::Opened => "after-append-opened",
        Stage::Joined => "after-append-joined",
        Stage::Closed => "after-append-closed",
    }
}

/// Returns the points before and after a message is handed to the stream.
pub(crate) fn around_send(message: &ToParticipant) -> (&'static str, &'static str) {
    match message {
        ToParticipant::Prepare(_) => ("before-send-prepare", "after-send-prepare"),
        ToParticipant::Confirm { .. } => ("before-send-confirm", "after-send-confirm"),
        ToParticipant::Commit { .. } => ("before-send-commit", "after-send-commit"),
        ToParticipant::Abort { .. } => ("before-send-abort", "after-send-abort"),
        ToParticipant::Settle { .. } => ("before-send-settle", "after-send-settle"),
        ToParticipant::Undecided { .. } => ("before-send-undecided", "after-send-undecided"),
        ToParticipant::Noted { .. } => ("before-send-noted", "after-send-noted"),
        ToParticipant::Run(run) => match run.direction {
            Direction::Forward => ("before-send-act", "after-send-act"),
            Direction::Compensating => ("before-send-compensate", "after-send-compensate"),
            Direction::Completing => ("before-send-complete", "after-send-complete"),
        },
        ToParticipant::Close { .. } => ("before-send-close", "after-send-close"),
    }
}
