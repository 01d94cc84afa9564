//! The way in which a call says what it is, and reads what its answer means. There is one so far, this project's own.
//!
//! | header | value |
//! | --- | --- |
//! | `idempotency-key` | names the call: the same for each repetition of it, and for nothing else |
//! | `undoubt-effect` | names what is done and undone: the same for an action and its compensation, for a try, its confirm and its cancel |
//! | `undoubt-transaction` | the transaction's id; of a reaction, the correlation of the event |
//! | `undoubt-step` | the step's place in its saga, from 0; absent of a branch |
//! | `undoubt-operation` | `action`, `compensation`, `completion`, `try`, `confirm` or `cancel` |
//! | `traceparent`, `tracestate` | the W3C trace context, where the transaction has one |
//!
//! A reaction to an event is as a branch there: an `action`, and its `compensation`.
//!
//! Characters of an id that are no visible ASCII are percent-encoded, and so are slashes and percent signs.

use crate::address::encoded;
use crate::verdict::{Verdict, verdict};
use std::fmt;
use undoubt_participant::resource::{BranchId, StepId};
use undoubt_vocabulary::{CorrelationId, EventId, StepIndex, SubscriptionName, TraceContext, TxId};

/// The thing that a service is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Action,
    Compensation,
    Completion,
    /// Whether a transaction that was begun has been done.
    CheckBack,
    Try,
    Confirm,
    Cancel,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Action => "action",
            Operation::Compensation => "compensation",
            Operation::Completion => "completion",
            Operation::CheckBack => "check-back",
            Operation::Try => "try",
            Operation::Confirm => "confirm",
            Operation::Cancel => "cancel",
        }
    }

    /// Returns true if others may use what it is answered, so that the whole answer is needed.
    pub fn has_result(self) -> bool {
        match self {
            Operation::Action | Operation::Try => true,
            Operation::Compensation
            | Operation::Completion
            | Operation::CheckBack
            | Operation::Confirm
            | Operation::Cancel => false,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The step or the branch for which a call is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    tx: TxId,
    step: Option<StepIndex>,
    effect: String,
}

impl Identity {
    pub fn of_step(step: &StepId) -> Identity {
        let StepId { coordinator, attempt_number, step, tx } = step;
        let effect = format!("{coordinator}/{}/{attempt_number}/{}", encoded(&tx.to_string()), step.0);
        Identity { tx: tx.clone(), step: Some(*step), effect }
    }

    /// Returns that of the branch at the participant of this name: a transaction may have others whose calls go to the same service.
    pub fn of_branch(branch: &BranchId, participant: &str) -> Identity {
        let BranchId { coordinator, attempt_number, tx } = branch;
        let effect = format!("{coordinator}/{}/{attempt_number}/at/{}", encoded(&tx.to_string()), encoded(participant));
        Identity { tx: tx.clone(), step: None, effect }
    }
}

impl Identity {
    /// Returns that of a reaction of the participant of this name to an event.
    pub fn of_reaction(
        participant: &str,
        subscription: &SubscriptionName,
        effect: EventId,
        correlation: &CorrelationId,
    ) -> Identity {
        let effect = format!("on/{effect}/by/{subscription}/at/{}", encoded(participant));
        Identity { tx: correlation.0.clone(), step: None, effect }
    }
}

/// A way of writing calls and reading their answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Convention {
    /// This project's own.
    #[default]
    Own,
}

impl Convention {
    /// Returns the headers that say what a call is.
    pub fn headers(
        self,
        identity: &Identity,
        operation: Operation,
        trace: Option<&TraceContext>,
    ) -> Vec<(&'static str, String)> {
        match self {
            Convention::Own => {
                let Identity { tx, step, effect } = identity;
                let mut headers = vec![
                    ("idempotency-key", format!("{effect}/{operation}")),
                    ("undoubt-effect", effect.clone()),
                    ("undoubt-transaction", encoded(&tx.to_string())),
                    ("undoubt-operation", operation.as_str().to_owned()),
                ];
                headers.extend(step.map(|step| ("undoubt-step", step.0.to_string())));
                if let Some(trace) = trace {
                    headers.push(("traceparent", trace.traceparent()));
                    let state = trace.state.as_str();
                    headers.extend((!state.is_empty()).then(|| ("tracestate", state.to_owned())));
                }
                headers
            }
        }
    }

    /// Returns what an answer means. `tried`: what is to be undone was answered with success before.
    pub fn verdict(self, operation: Operation, tried: bool, status: u16) -> Verdict {
        match self {
            Convention::Own => verdict(operation, tried, status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_vocabulary::{AttemptNumber, CoordinatorId};

    #[test]
    fn an_action_and_its_compensation_share_the_effect_and_no_two_calls_share_a_key() {
        let step = |tx: &[u8], index| StepId {
            coordinator: CoordinatorId([7; 16]),
            attempt_number: AttemptNumber(1 << 40 | 5),
            step: StepIndex(index),
            tx: TxId::new(tx).unwrap(),
        };
        let all = [step(b"order/1", 0), step(b"order/1", 1), step("\u{e4} b".as_bytes(), 0), step(b"\xff", 0)];
        let mut keys = std::collections::BTreeSet::new();
        for step in &all {
            let identity = Identity::of_step(step);
            let of = |operation| {
                let headers = Convention::Own.headers(&identity, operation, None);
                assert!(
                    headers.iter().all(|(_, value)| value.bytes().all(|byte| byte.is_ascii_graphic())),
                    "{headers:?}"
                );
                headers.into_iter().map(|(_, value)| value).take(2).collect::<Vec<_>>()
            };
            let (action, compensation) = (of(Operation::Action), of(Operation::Compensation));
            assert_eq!(action[1], compensation[1]);
            assert!(keys.insert(action[0].clone()) && keys.insert(compensation[0].clone()));
        }
        let branch =
            BranchId { tx: all[0].tx.clone(), attempt_number: all[0].attempt_number, coordinator: all[0].coordinator };
        for participant in ["http", "http-a", "0"] {
            let headers = Convention::Own.headers(&Identity::of_branch(&branch, participant), Operation::Try, None);
            assert!(keys.insert(headers[0].1.clone()) && keys.insert(headers[1].1.clone()), "{headers:?}");
            assert!(headers.iter().all(|(name, _)| *name != "undoubt-step"));
        }
    }
}
