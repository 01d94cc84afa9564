//! The conversion of outcomes: how transactions and branches ended.

use super::{Malformed, field};
use crate::v1;
use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_vocabulary::limits::MAX_BRANCHES_PER_TRANSACTION;
use undoubt_vocabulary::{AbortReason, BranchOutcome, EventId, Outcome, PartName, ParticipantName, StuckStep};
use v1::abort_reason::Reason;
use v1::branch_result::Part;

/// A transaction as its coordinator tells of it: the decision if there is one, and what the branches read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KnownOutcome {
    /// `None`: not decided yet.
    pub decided: Option<Outcome>,
    /// The results of the branches that answered, while the coordinator still has them.
    pub results: BTreeMap<PartName, Bytes>,
    /// The step that an operator has to end before the transaction, which is not decided, goes on.
    pub stuck: Option<StuckStep>,
    /// It is a nested saga that is closed, and ends with its parent: it is not decided.
    pub closed: bool,
    /// How far it is applied, if that was asked for.
    pub applied: Option<Applied>,
}

/// How far a transaction is applied at its participants, and which events it has published there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Applied {
    /// All have acknowledged what was decided: it is in effect everywhere.
    pub everywhere: bool,
    /// The last event that it has published at each participant, as far as that is known: who has read a log up to there has seen all
    /// of its events. Of a participant that is missing, what it has published has the transaction's id as its correlation.
    pub tokens: BTreeMap<ParticipantName, EventId>,
}

impl From<KnownOutcome> for v1::Outcome {
    fn from(known: KnownOutcome) -> Self {
        let worth_retrying = matches!(&known.decided, Some(Outcome::Aborted(reason)) if reason.is_worth_retrying());
        let (state, abort_reason) = match known.decided {
            None => (v1::State::Pending, None),
            Some(Outcome::Committed) => (v1::State::Committed, None),
            Some(Outcome::Aborted(reason)) => (v1::State::Aborted, Some(reason.into())),
        };
        let results = known
            .results
            .into_iter()
            .map(|(part, result)| v1::BranchResult { part: Some(part.into()), result })
            .collect();
        let stuck = known.stuck.map(v1::StuckStep::from);
        v1::Outcome {
            state: state.into(),
            abort_reason,
            results,
            stuck,
            worth_retrying,
            closed: known.closed,
            applied: known.applied.map(Into::into),
        }
    }
}

impl TryFrom<v1::Outcome> for KnownOutcome {
    type Error = Malformed;

    fn try_from(wire: v1::Outcome) -> Result<Self, Malformed> {
        let decided = match (field::known("outcome.state", wire.state)?, wire.abort_reason) {
            (v1::State::Unspecified, _) => return Err(Malformed::Missing { field: "outcome.state" }),
            (v1::State::Pending, None) => None,
            (v1::State::Committed, None) => Some(Outcome::Committed),
            (v1::State::Aborted, reason) => {
                Some(Outcome::Aborted(field::required("outcome.abort_reason", reason)?.try_into()?))
            }
            (v1::State::Pending | v1::State::Committed, Some(_)) => {
                return Err(Malformed::Unexpected { field: "outcome.abort_reason" });
            }
        };
        let stuck = match (wire.stuck, &decided) {
            (Some(stuck), None) => Some(stuck.try_into()?),
            (Some(_), Some(_)) => return Err(Malformed::Unexpected { field: "outcome.stuck" }),
            (None, _) => None,
        };
        if wire.closed && decided.is_some() {
            return Err(Malformed::Unexpected { field: "outcome.closed" });
        }
        let applied = wire.applied.map(Applied::try_from).transpose()?;
        if applied.is_some() && decided.is_none() && !wire.closed {
            return Err(Malformed::Unexpected { field: "outcome.applied" });
        }
        Ok(KnownOutcome { decided, results: results(wire.results)?, stuck, closed: wire.closed, applied })
    }
}

impl From<Applied> for v1::Applied {
    fn from(Applied { everywhere, tokens }: Applied) -> Self {
        let token = |(participant, last): (ParticipantName, EventId)| v1::Token {
            participant: participant.to_string(),
            last: Some(last.into()),
        };
        v1::Applied { everywhere, tokens: tokens.into_iter().map(token).collect() }
    }
}

impl TryFrom<v1::Applied> for Applied {
    type Error = Malformed;

    fn try_from(wire: v1::Applied) -> Result<Self, Malformed> {
        field::at_most("outcome.applied.tokens", wire.tokens.len(), MAX_BRANCHES_PER_TRANSACTION)?;
        let mut tokens = BTreeMap::new();
        for v1::Token { participant, last } in wire.tokens {
            let name = field::participant("outcome.applied.tokens.participant", &participant)?;
            let last = field::required("outcome.applied.tokens.last", last)?.try_into()?;
            if tokens.insert(name, last).is_some() {
                return Err(Malformed::Repeated { field: "outcome.applied.tokens", name: participant });
            }
        }
        Ok(Applied { everywhere: wire.everywhere, tokens })
    }
}

fn results(wire: Vec<v1::BranchResult>) -> Result<BTreeMap<PartName, Bytes>, Malformed> {
    field::at_most("outcome.results", wire.len(), MAX_BRANCHES_PER_TRANSACTION)?;
    let mut results = BTreeMap::new();
    for v1::BranchResult { part, result } in wire {
        let part: PartName = field::required("outcome.results.part", part)?.try_into()?;
        if results.insert(part.clone(), field::result("outcome.results.result", result)?).is_some() {
            return Err(Malformed::Repeated { field: "outcome.results", name: part.to_string() });
        }
    }
    Ok(results)
}

impl From<PartName> for Part {
    fn from(name: PartName) -> Self {
        match name {
            PartName::Branch(participant) => Part::Participant(participant.to_string()),
            PartName::Step(step) => Part::Step(step.to_string()),
        }
    }
}

impl TryFrom<Part> for PartName {
    type Error = Malformed;

    fn try_from(wire: Part) -> Result<Self, Malformed> {
        Ok(match wire {
            Part::Participant(name) => PartName::Branch(field::participant("outcome.results.participant", &name)?),
            Part::Step(name) => PartName::Step(field::step("outcome.results.step", &name)?),
        })
    }
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        KnownOutcome { decided: Some(outcome), results: BTreeMap::new(), stuck: None, closed: false, applied: None }
            .into()
    }
}

impl TryFrom<v1::Outcome> for Outcome {
    type Error = Malformed;

    fn try_from(wire: v1::Outcome) -> Result<Self, Malformed> {
        KnownOutcome::try_from(wire)?.decided.ok_or(Malformed::Undecided)
    }
}

impl From<AbortReason> for v1::AbortReason {
    fn from(reason: AbortReason) -> Self {
        let reason = match reason {
            AbortReason::Refused { by, refusal } => {
                Reason::Refused(v1::RefusedBy { participant: by.to_string(), refusal: Some(refusal.into()) })
            }
            AbortReason::DeadlinePassed { unanswered } => Reason::DeadlinePassed(v1::DeadlinePassed {
                unanswered: unanswered.iter().map(ParticipantName::to_string).collect(),
            }),
            AbortReason::Unanswered { by, attempts } => {
                Reason::Unanswered(v1::UnansweredBy { participant: by.to_string(), attempts })
            }
            AbortReason::ReadLocksLost { by } => Reason::ReadLocksLost(by.to_string()),
            AbortReason::NotExecuted { by } => Reason::NotExecuted(by.to_string()),
            AbortReason::GivenUp { on } => Reason::GivenUp(on.to_string()),
            AbortReason::Cancelled => Reason::Cancelled(v1::Cancelled {}),
            AbortReason::Presumed => Reason::Presumed(v1::Presumed {}),
            AbortReason::TooMuch { at, refusal } => {
                Reason::TooMuch(v1::RefusedBy { participant: at.to_string(), refusal: Some(refusal.into()) })
            }
            AbortReason::Unusable { cause } => Reason::Unusable(cause),
        };
        v1::AbortReason { reason: Some(reason) }
    }
}

impl TryFrom<v1::AbortReason> for AbortReason {
    type Error = Malformed;

    fn try_from(wire: v1::AbortReason) -> Result<Self, Malformed> {
        Ok(match field::required("abort_reason.reason", wire.reason)? {
            Reason::Refused(v1::RefusedBy { participant, refusal }) => AbortReason::Refused {
                by: field::participant("abort_reason.refused.participant", &participant)?,
                refusal: field::required("abort_reason.refused.refusal", refusal)?.try_into()?,
            },
            Reason::DeadlinePassed(v1::DeadlinePassed { unanswered }) => {
                let field = "abort_reason.deadline_passed.unanswered";
                field::at_most(field, unanswered.len(), MAX_BRANCHES_PER_TRANSACTION)?;
                let names: Result<_, _> = unanswered.iter().map(|name| field::participant(field, name)).collect();
                AbortReason::DeadlinePassed { unanswered: names? }
            }
            Reason::Unanswered(v1::UnansweredBy { participant, attempts }) => AbortReason::Unanswered {
                by: field::participant("abort_reason.unanswered.participant", &participant)?,
                attempts,
            },
            Reason::ReadLocksLost(name) => {
                AbortReason::ReadLocksLost { by: field::participant("abort_reason.read_locks_lost", &name)? }
            }
            Reason::NotExecuted(name) => {
                AbortReason::NotExecuted { by: field::participant("abort_reason.not_executed", &name)? }
            }
            Reason::GivenUp(name) => AbortReason::GivenUp { on: field::participant("abort_reason.given_up", &name)? },
            Reason::Cancelled(v1::Cancelled {}) => AbortReason::Cancelled,
            Reason::Presumed(v1::Presumed {}) => AbortReason::Presumed,
            Reason::TooMuch(v1::RefusedBy { participant, refusal }) => AbortReason::TooMuch {
                at: field::participant("abort_reason.too_much.participant", &participant)?,
                refusal: field::required("abort_reason.too_much.refusal", refusal)?.try_into()?,
            },
            Reason::Unusable(cause) => AbortReason::Unusable { cause },
        })
    }
}

impl From<BranchOutcome> for v1::BranchOutcome {
    fn from(outcome: BranchOutcome) -> Self {
        match outcome {
            BranchOutcome::Committed => v1::BranchOutcome::Committed,
            BranchOutcome::Aborted => v1::BranchOutcome::Aborted,
            BranchOutcome::HeuristicallyCommitted => v1::BranchOutcome::HeuristicallyCommitted,
            BranchOutcome::HeuristicallyAborted => v1::BranchOutcome::HeuristicallyAborted,
            BranchOutcome::Unknown => v1::BranchOutcome::Unknown,
        }
    }
}

impl TryFrom<v1::BranchOutcome> for BranchOutcome {
    type Error = Malformed;

    fn try_from(wire: v1::BranchOutcome) -> Result<Self, Malformed> {
        Ok(match wire {
            v1::BranchOutcome::Unspecified => return Err(Malformed::Missing { field: "branch outcome" }),
            v1::BranchOutcome::Committed => BranchOutcome::Committed,
            v1::BranchOutcome::Aborted => BranchOutcome::Aborted,
            v1::BranchOutcome::HeuristicallyCommitted => BranchOutcome::HeuristicallyCommitted,
            v1::BranchOutcome::HeuristicallyAborted => BranchOutcome::HeuristicallyAborted,
            v1::BranchOutcome::Unknown => BranchOutcome::Unknown,
        })
    }
}

/// Reads a branch outcome from its number, as messages and records carry it in the field called `field`.
pub fn branch_outcome(field: &'static str, value: i32) -> Result<BranchOutcome, Malformed> {
    let wire: v1::BranchOutcome = field::known(field, value)?;
    wire.try_into().map_err(|_: Malformed| Malformed::Missing { field })
}
