//! The form of an outcome in JSON: one for the command line, for callbacks, and for whatever else tells outcomes.

use crate::outcome::{AbortReason, Outcome};
use serde::Serialize;

/// How a transaction stands, as JSON: `{"state": "committed", "abort": null}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutcomeForm {
    /// pending, closed (a nested saga that ends with its parent), committed, aborted
    pub state: &'static str,
    /// Why it aborted; `null` unless it did.
    pub abort: Option<AbortForm>,
}

/// The reason of an abort, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AbortForm {
    /// condition, invalid-work, too-large, lock-conflict, lock-timeout, unavailable, late, pending, deadline, unanswered,
    /// read-locks-lost, not-executed, given-up, cancelled, presumed, unusable
    pub reason: &'static str,
    /// The participant that caused it, if one did.
    pub participant: Option<String>,
    /// For people.
    pub message: String,
    /// The same work may succeed under a new id.
    pub worth_retrying: bool,
}

impl OutcomeForm {
    /// Returns the form of an outcome; `None`: it is not decided yet.
    pub fn new(outcome: Option<&Outcome>) -> OutcomeForm {
        match outcome {
            None => OutcomeForm { state: "pending", abort: None },
            Some(Outcome::Committed) => OutcomeForm { state: "committed", abort: None },
            Some(Outcome::Aborted(reason)) => OutcomeForm { state: "aborted", abort: Some(reason.into()) },
        }
    }
}

impl OutcomeForm {
    /// Returns the form of a nested saga that is closed, and ends with its parent.
    pub fn closed() -> OutcomeForm {
        OutcomeForm { state: "closed", abort: None }
    }
}

impl From<&AbortReason> for AbortForm {
    fn from(reason: &AbortReason) -> AbortForm {
        AbortForm {
            reason: reason.label(),
            participant: reason.participant().map(ToString::to_string),
            message: reason.to_string(),
            worth_retrying: reason.is_worth_retrying(),
        }
    }
}
