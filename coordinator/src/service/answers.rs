//! Answers as outcomes and gRPC statuses.

use crate::callback::NotSubmitted;
use crate::engine::Replied;
use crate::limits::{Exceeded, Limit};
use std::collections::BTreeMap;
use tonic::Status;
use undoubt_coordinator_core::{Answer, Rejection, StepAnswer};
use undoubt_platform::Reason;
use undoubt_platform::reason::{milliseconds, retry_after};
use undoubt_proto::convert::KnownOutcome;
use undoubt_proto::v1;
use undoubt_vocabulary::StuckStep;

pub(crate) fn outcome_of(replied: Replied) -> Result<v1::Outcome, Status> {
    match replied {
        Replied::Core(Answer::Outcome { outcome, results }) => Ok(KnownOutcome {
            decided: Some(outcome),
            results: results.into_iter().collect(),
            stuck: None,
            closed: false, applied: None,
        }
        .into()),
        Replied::Core(Answer::Pending) => Ok(undecided(None)),
        Replied::Core(Answer::Stuck(stuck)) => Ok(undecided(Some(stuck))),
        Replied::Core(Answer::Closed) => Ok(v1::Outcome { closed: true, ..undecided(None) }),
        // Only who joins a step is told of it.
        Replied::Core(Answer::Step(_)) => Ok(undecided(None)),
        Replied::Core(Answer::Rejected(rejection)) => Err(status_of(&rejection)),
        Replied::Again(_) => Err(decided_but(&Reason::NoRoomForAnswer.refuse("there is no room for the answer"))),
        Replied::NoRoom(why) => Err(Reason::NoWorkTaken.refuse(format!("no new transactions are taken: {why}"))),
        Replied::UnknownParticipant(name) => Err(Reason::UnknownParticipant.refuse(format!(
            "participant {name} is not configured at this coordinator; see `undoubt participants` for those that are"
        ))),
        Replied::Exceeded(exceeded) => Err(exceeded_by(&exceeded)),
        Replied::NotOwner => Err(Reason::NotOwner.refuse(
            "the transaction was begun as its owner's alone (owner_only), and whoever asks is another; ask as the identity that began it, or \
             have an operator cancel it",
        )),
    }
}

/// Returns what is told to who has a step join: what became of it, or of its saga.
pub(super) fn joined(replied: Replied) -> Result<v1::JoinResponse, Status> {
    use v1::join_response::State;
    let state = match replied {
        Replied::Core(Answer::Step(step)) => match step {
            StepAnswer::Joined => State::Joined(v1::StepJoined {}),
            StepAnswer::Running => State::Running(v1::StepRunning {}),
            StepAnswer::Done { result } => State::Done(v1::StepDone { result, pending: false }),
            StepAnswer::Refused(refusal) => State::Refused(refusal.into()),
            StepAnswer::Unanswered { attempts } => State::Unanswered(v1::StepUnanswered { attempts }),
            StepAnswer::Skipped => State::Skipped(v1::StepSkippedByOperator {}),
        },
        other @ (Replied::Core(
            Answer::Outcome { .. } | Answer::Pending | Answer::Stuck(_) | Answer::Closed | Answer::Rejected(_),
        )
        | Replied::Again(_)
        | Replied::NoRoom(_)
        | Replied::UnknownParticipant(_)
        | Replied::Exceeded(_)
        | Replied::NotOwner) => State::Ended(outcome_of(other)?),
    };
    Ok(v1::JoinResponse { state: Some(state) })
}

fn exceeded_by(exceeded: &Exceeded) -> Status {
    let reason = match exceeded.limit {
        Limit::Rate(_) => Reason::TooManySubmissions,
        Limit::Share { .. } => Reason::ShareTaken,
    };
    let known = [
        ("identity", exceeded.who.as_deref().unwrap_or_default().to_owned()),
        ("limit", exceeded.limit.setting().to_owned()),
        ("value", exceeded.limit.value().to_string()),
    ];
    reason.refuse_until(exceeded.after, exceeded.to_string(), known)
}

fn undecided(stuck: Option<StuckStep>) -> v1::Outcome {
    KnownOutcome { decided: None, results: BTreeMap::new(), stuck, closed: false, applied: None }.into()
}

fn status_of(rejection: &Rejection) -> Status {
    let reason = match rejection {
        Rejection::Recovering | Rejection::RecoveryPaused => Reason::Recovering,
        Rejection::Draining => Reason::Draining,
        Rejection::BeingNoted => Reason::BeingNoted,
        Rejection::TooManyOpen { .. } => Reason::TooManyOpen,
        Rejection::TooMuchOpen { .. } => Reason::TooMuchOpen,
        Rejection::TooMuchGathered { .. } => Reason::TooMuchGathered,
        Rejection::TooManyWaiters { .. } => Reason::TooManyWaiters,
        Rejection::OtherContent => Reason::OtherContent,
        Rejection::NoBranches => Reason::NoBranches,
        Rejection::TooManyBranches { .. } => Reason::TooManyBranches,
        Rejection::TwoBranches { .. } => Reason::TwoBranches,
        Rejection::TooLarge { .. } => Reason::TooLarge,
        Rejection::InvalidSaga(_) => Reason::InvalidSaga,
        Rejection::NeitherWay { .. } => Reason::NeitherWay,
        Rejection::Lacks { .. } => Reason::LacksAbility,
        Rejection::NoSuchStep { .. } => Reason::NoSuchStep,
        Rejection::DeadlinePassed => Reason::DeadlinePassed,
        Rejection::NotFound => Reason::NotFound,
        Rejection::NotDecided => Reason::NotDecided,
        Rejection::TooLate => Reason::TooLate,
        Rejection::NothingToForget => Reason::NothingToForget,
        Rejection::StepSettled { .. } => Reason::StepSettled,
        Rejection::NotASaga => Reason::NotASaga,
        Rejection::Unusable { .. } => Reason::Unusable,
        Rejection::NotStuck { .. } => Reason::NotStuck,
        Rejection::NotOpen { .. } => Reason::NotOpen,
        Rejection::NotBegun => Reason::NotBegun,
        Rejection::Beginning => Reason::BeingBegun,
        Rejection::OtherStep { .. } => Reason::OtherStep,
        Rejection::TooManySteps { .. } => Reason::TooManyBranches,
        Rejection::TooManyBegun { .. } => Reason::TooManyBegun,
        Rejection::NoParent { .. } => Reason::NoParent,
        Rejection::ParentEnding { .. } => Reason::NotOpen,
        Rejection::NestedUnsettled { .. } => Reason::StepUnsettled,
        Rejection::StepUnsettled { .. } => Reason::StepUnsettled,
    };
    reason.refuse(rejection.to_string())
}

/// Returns the status for what was done, and can be told later. RESOURCE_EXHAUSTED says that nothing was done.
pub(super) fn decided_but(no_room: &Status) -> Status {
    let why = no_room.message();
    Reason::OutcomeKnown.refuse(format!("the outcome is known, and asking again under the same id tells it: {why}"))
}

/// Returns the status for what was decided, and whose answer waited for room until its record was gone.
pub(super) fn collected() -> Status {
    Reason::RecordCollected.refuse(
        "the transaction was decided, but its record was collected (retention_s) before there was room for its answer; \
         read less at a time, or raise retention_s",
    )
}

/// The same as an error of one request of many.
pub(super) fn error_of(status: &Status) -> v1::SubmitError {
    let retry_after_ms = retry_after(status).map(milliseconds).unwrap_or_default();
    let reason = Reason::of(status).map(|reason| reason.as_str().to_owned()).unwrap_or_default();
    v1::SubmitError { code: status.code().into(), message: status.message().to_owned(), retry_after_ms, reason }
}

pub(super) fn not_submitted(why: NotSubmitted) -> Status {
    match why {
        NotSubmitted::Full(full) => Reason::TooManyCallbacks.refuse(full.to_string()),
        NotSubmitted::NotNow(_) => Reason::NoWorkTaken.refuse(why.to_string()),
        NotSubmitted::BeingTaken => Reason::BeingTaken.refuse(why.to_string()),
        NotSubmitted::Log(error) => internal(error),
        NotSubmitted::Gone(engine) => engine.into(),
    }
}

pub(super) fn not_found(what: &str) -> Status {
    Reason::NotFound.refuse(format!(
        "there is no trace of this {what}: it was never committed, or it was collected after its retention"
    ))
}

pub(super) fn internal(error: impl std::fmt::Display) -> Status {
    Reason::Internal.refuse(error.to_string())
}
