//! The phases of transactions, read from a coordinator's notes.

use crate::trace::Phase;

/// Returns the phase after a note; `None` if it doesn't change.
pub(super) fn phase_after(before: Option<Phase>, event: &str, detail: &str) -> Option<Phase> {
    match (event, detail) {
        ("begun", saga) if saga.starts_with("saga") || saga == "open saga" => Some(Phase::LoggingBeginning),
        ("logged" | "recovered", "begun") | ("recovered", "opened" | "closed") => Some(Phase::Acting),
        ("compensating", _) => Some(Phase::LoggingCompensation),
        ("logged" | "recovered", "compensation") => Some(Phase::Compensating),
        ("stuck", _) => Some(Phase::Stuck),
        ("resolved", _) => Some(Phase::Acting),
        ("sent", "close") => Some(Phase::Closing),
        ("begun", "1 branches") => Some(Phase::LoggingDelegation),
        ("begun", _) => Some(Phase::Preparing),
        ("sent", "confirm") => Some(Phase::Confirming),
        ("sent", "settle") => Some(Phase::Settling),
        ("decided", "committed") => match before {
            Some(Phase::Preparing | Phase::Confirming) => Some(Phase::LoggingCommit),
            _ => Some(Phase::LoggingEnd),
        },
        ("decided", _) => Some(Phase::LoggingEnd),
        ("logged" | "recovered", "committed") => Some(Phase::Committing),
        ("logged", "delegated") => Some(Phase::Delegated),
        ("recovered", "delegated") => Some(Phase::Settling),
        ("retired", _) => Some(Phase::Ended),
        _ => None,
    }
}

pub(super) fn shown(event: &str, detail: &str, participant: &str) -> String {
    [event, participant, detail].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_logged_before_it_is_carried_out_and_an_abort_ends_at_once() {
        assert_eq!(phase_after(None, "begun", "2 branches"), Some(Phase::Preparing));
        assert_eq!(phase_after(Some(Phase::Preparing), "decided", "committed"), Some(Phase::LoggingCommit));
        assert_eq!(phase_after(Some(Phase::LoggingCommit), "logged", "committed"), Some(Phase::Committing));
        assert_eq!(phase_after(Some(Phase::Preparing), "decided", "aborted: cancelled"), Some(Phase::LoggingEnd));
        assert_eq!(phase_after(Some(Phase::Preparing), "voted", "prepared"), None);
    }

    #[test]
    fn a_saga_is_logged_before_it_acts_and_again_before_it_compensates() {
        assert_eq!(phase_after(None, "begun", "saga of 2 steps"), Some(Phase::LoggingBeginning));
        assert_eq!(phase_after(Some(Phase::LoggingBeginning), "logged", "begun"), Some(Phase::Acting));
        assert_eq!(phase_after(Some(Phase::Acting), "compensating", "cancelled"), Some(Phase::LoggingCompensation));
        assert_eq!(phase_after(Some(Phase::LoggingCompensation), "logged", "compensation"), Some(Phase::Compensating));
    }

    #[test]
    fn notes_leave_out_what_is_not_there() {
        assert_eq!(shown("voted", "prepared", "p1"), "voted p1 prepared");
        assert_eq!(shown("retired", "", ""), "retired");
    }
}
