//! Branches that tests prepare and end by hand.

use bytes::Bytes;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_mariadb::MariaDb;
use undoubt_participant::resource::{BranchId, Branches as _, ResourceError};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Execution, Prepare, Refusal, Timestamp, TxId, Vote};

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
