//! Branches that tests prepare and end by hand.

use bytes::Bytes;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_mariadb::MariaDb;
use undoubt_participant::resource::{BranchId, Branches as _, ResourceError, StepId, Steps as _};
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Direction, Execution, Prepare, Refusal, RunStep, StepIndex, StepOutcome, Timestamp,
    TxId, Vote,
};

/// The coordinator of all branches here.
pub const COORDINATOR: CoordinatorId = CoordinatorId(*b"the coordinator.");

/// Returns the branch of the transaction with this number.
pub fn branch(number: u64) -> BranchId {
    let tx = TxId::new(format!("tx-{number}")).unwrap();
    BranchId { tx, attempt_number: AttemptNumber(number), coordinator: COORDINATOR }
}

pub fn call(number: u64, execution: Execution, timeout: Duration, work: Bytes) -> (BranchId, Prepare) {
    let id = branch(number);
    let (tx, attempt_number, begun_at) = (id.tx.clone(), id.attempt_number, Timestamp(number));
    (id, Prepare { tx, attempt_number, begun_at, timeout, execution, work })
}

/// Prepares in two phases, with ten seconds for it.
pub async fn vote(resource: &MariaDb, number: u64, work: Bytes) -> Result<Vote, ResourceError> {
    let (id, prepare) = call(number, Execution::TwoPhase, Duration::from_secs(10), work);
    resource.prepare(id, prepare, CancellationToken::new()).await
}

/// Prepares, which must succeed.
pub async fn prepare(resource: &MariaDb, number: u64, work: Bytes) {
    let vote = vote(resource, number, work).await;
    assert!(matches!(vote, Ok(Vote::Prepared { .. })), "{vote:?}");
}

/// Returns the refusal of a vote.
pub fn refused(vote: Result<Vote, ResourceError>) -> Refusal {
    match vote {
        Ok(Vote::Refused(refusal)) => refusal,
        other => panic!("a refusal was expected, not {other:?}"),
    }
}

/// Returns the only step of the saga with this number, which is run in one direction.
pub fn step(number: u64, work: Bytes, direction: Direction) -> (StepId, RunStep) {
    let BranchId { tx, attempt_number, coordinator } = branch(number);
    let (step, begun_at, timeout) = (StepIndex(0), Timestamp(number), Duration::from_secs(20));
    let run = RunStep {
        tx: tx.clone(),
        attempt_number,
        step,
        direction,
        acted_elsewhere: false,
        check_back: false,
        attempt: 1,
        begun_at,
        timeout,
        work,
        inputs: vec![Bytes::new()],
    };
    (StepId { coordinator, attempt_number, step, tx }, run)
}

/// Runs an action, and returns its result.
pub async fn act(resource: &MariaDb, number: u64, work: Bytes) -> Bytes {
    let (id, run) = step(number, work, Direction::Forward);
    match resource.act(id, run, CancellationToken::new()).await {
        Ok(StepOutcome::Done { result, .. }) => result,
        other => panic!("an action with nobody in its way is done, not {other:?}"),
    }
}

/// Ends a step as this says.
pub async fn end(resource: &MariaDb, (id, run): (StepId, RunStep)) -> Result<StepOutcome, ResourceError> {
    match run.direction {
        Direction::Completing => resource.complete(id, run).await,
        Direction::Compensating | Direction::Forward => resource.compensate(id, run).await,
    }
}
