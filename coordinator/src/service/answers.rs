//! Answers as outcomes and gRPC statuses.

use crate::callback::NotSubmitted;
use crate::engine::Replied;
use std::collections::BTreeMap;
use tonic::Status;
use tonic::metadata::MetadataValue;
use undoubt_coordinator_core::{Answer, Rejection};
use undoubt_proto::convert::KnownOutcome;
use undoubt_proto::v1;
use undoubt_vocabulary::StuckStep;

/// When to come back, for those who were refused for want of room.
const RETRY_AFTER_MS: u32 = 100;
const RETRY_AFTER_KEY: &str = "retry-after-ms";

pub(crate) fn outcome_of(replied: Replied) -> Result<v1::Outcome, Status> {
    match replied {
        Replied::Core(Answer::Outcome { outcome, results }) => {
            Ok(KnownOutcome { decided: Some(outcome), results: results.into_iter().collect(), stuck: None }.into())
        }
        Replied::Core(Answer::Pending) => Ok(undecided(None)),
        Replied::Core(Answer::Stuck(stuck)) => Ok(undecided(Some(stuck))),
        Replied::Core(Answer::Rejected(rejection)) => Err(status_of(&rejection)),
        Replied::Again(_) => Err(decided_but(&Status::resource_exhausted("there is no room for the answer"))),
        Replied::NoRoom(why) => Err(exhausted(&format!("no new transactions are taken: {why}"))),
        Replied::UnknownParticipant(name) => Err(Status::not_found(format!(
            "participant {name} is not configured at this coordinator; see `undoubt participants` for those that are"
        ))),
    }
}

fn undecided(stuck: Option<StuckStep>) -> v1::Outcome {
    KnownOutcome { decided: None, results: BTreeMap::new(), stuck }.into()
}

fn status_of(rejection: &Rejection) -> Status {
    let message = rejection.to_string();
    match rejection {
        Rejection::Recovering | Rejection::Draining | Rejection::BeingNoted => not_let_in(Status::unavailable(message)),
        Rejection::TooManyOpen { .. }
        | Rejection::TooMuchOpen { .. }
        | Rejection::TooMuchGathered { .. }
        | Rejection::TooManyWaiters { .. } => exhausted(&message),
        Rejection::OtherContent => Status::already_exists(message),
        Rejection::NoBranches
        | Rejection::TooManyBranches { .. }
        | Rejection::TwoBranches { .. }
        | Rejection::TooLarge { .. }
        | Rejection::InvalidSaga(_)
        | Rejection::NeitherWay { .. }
        | Rejection::Lacks { .. }
        | Rejection::NoSuchStep { .. } => Status::invalid_argument(message),
        Rejection::DeadlinePassed => Status::deadline_exceeded(message),
        Rejection::NotFound => Status::not_found(message),
        Rejection::NotDecided
        | Rejection::TooLate
        | Rejection::NothingToForget
        | Rejection::StepSettled { .. }
        | Rejection::NotASaga
        | Rejection::Unusable { .. }
        | Rejection::NotStuck { .. } => Status::failed_precondition(message),
    }
}

fn exhausted(message: &str) -> Status {
    not_let_in(Status::resource_exhausted(message))
}

/// For what was done, and can be told later. RESOURCE_EXHAUSTED says that nothing was done.
pub(super) fn decided_but(no_room: &Status) -> Status {
    Status::unavailable(format!(
        "the outcome is known, and asking again under the same id tells it: {}",
        no_room.message()
    ))
}

/// For what was decided, and whose answer waited for room until its record was gone.
pub(super) fn collected() -> Status {
    Status::data_loss(
        "the transaction was decided, but its record was collected (retention_s) before there was room for its answer; \
         read less at a time, or raise retention_s",
    )
}

/// The hint also says that nothing was done with the request.
fn not_let_in(mut status: Status) -> Status {
    status.metadata_mut().insert(RETRY_AFTER_KEY, MetadataValue::from(RETRY_AFTER_MS));
    status
}

/// The same as an error of one request of many.
pub(super) fn error_of(status: &Status) -> v1::SubmitError {
    let retry_after_ms = status.metadata().get(RETRY_AFTER_KEY).map_or(0, |_| RETRY_AFTER_MS);
    v1::SubmitError { code: status.code().into(), message: status.message().to_owned(), retry_after_ms }
}

pub(super) fn not_submitted(why: NotSubmitted) -> Status {
    match why {
        NotSubmitted::Full(full) => exhausted(&full.to_string()),
        NotSubmitted::NotNow(_) => exhausted(&why.to_string()),
        NotSubmitted::BeingTaken => not_let_in(Status::unavailable(why.to_string())),
        NotSubmitted::Log(error) => internal(error),
        NotSubmitted::Gone(engine) => engine.into(),
    }
}

pub(super) fn not_found(what: &str) -> Status {
    Status::not_found(format!(
        "there is no trace of this {what}: it was never committed, or it was collected after its retention"
    ))
}

pub(super) fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}
