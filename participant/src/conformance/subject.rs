//! The resource under test, and what the rules do with it.

use super::{BranchWorld, PATIENCE, World};
use crate::resource::{BranchId, Branches as _, Ended, Recovered, Resource as _, ResourceError, Room};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Execution, ParticipantName, Prepare, Refusal, RefusalCode, Timestamp, TxId, Vote,
};

pub(super) const COORDINATOR: CoordinatorId = CoordinatorId(*b"conformance-one.");
pub(super) const ANOTHER_COORDINATOR: CoordinatorId = CoordinatorId(*b"conformance-two.");

/// The participant that serves the resource under test.
pub(super) const OWNER: &str = "conformance";

/// Meant to run out.
pub(super) const SHORT_WAIT: Duration = Duration::from_millis(20);

/// Younger than every other transaction of the suite.
const YOUNGEST: u64 = 1_000_000;

/// A branch of a transaction that began at the moment of its number: the lower, the older. Its attempt number is the
/// number too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) branch: BranchId,
    pub(super) begun_at: Timestamp,
}

pub(super) fn attempt(number: u64) -> Attempt {
    attempt_of(COORDINATOR, number)
}

pub(super) fn attempt_of(coordinator: CoordinatorId, number: u64) -> Attempt {
    // At most 53 bytes, of the 64 allowed.
    let tx = TxId::new(format!("{coordinator}-{number}")).expect("a short id");
    Attempt { branch: BranchId { tx, attempt_number: AttemptNumber(number), coordinator }, begun_at: Timestamp(number) }
}

pub(crate) struct Subject<'w, W: World> {
    pub(crate) world: &'w mut W,
    pub(crate) resource: Arc<W::Resource>,
    pub(crate) room: Room,
}

impl<'w, W: World> Subject<'w, W> {
    pub(super) async fn fresh(world: &'w mut W) -> Self {
        let (resource, room) = (Arc::new(world.fresh().await), Room::default());
        resource.use_room(room.clone());
        let recovered = done("recover", resource.recover(&owner())).await;
        let recovered = Recovered { log: None, ..recovered };
        assert_eq!(recovered, Recovered::default(), "a fresh resource has nothing to recover but its log");
        Subject { world, resource, room }
    }

    /// Crashes, opens again, and recovers.
    pub(super) async fn crash(self) -> (Self, Recovered) {
        let Subject { world, resource, room } = self;
        drop(resource);
        let resource = Arc::new(world.reopen().await);
        resource.use_room(room.clone());
        let recovered = done("recover", resource.recover(&owner())).await;
        (Subject { world, resource, room }, recovered)
    }

    /// Returns the value committed, read beside the contract.
    pub(super) async fn value(&self, key: &str) -> Option<String> {
        self.world.read(&self.resource, key).await
    }
}

impl<W: BranchWorld> Subject<'_, W> {
    /// Prepares in two phases, with all the time it may need.
    pub(super) async fn vote(&self, attempt: &Attempt, work: Bytes) -> Vote {
        self.vote_within(PATIENCE, attempt, work, CancellationToken::new()).await
    }

    pub(super) async fn vote_within(
        &self,
        timeout: Duration,
        attempt: &Attempt,
        work: Bytes,
        cancelled: CancellationToken,
    ) -> Vote {
        self.execute(Execution::TwoPhase, timeout, attempt, work, cancelled).await
    }

    pub(super) async fn vote_in_one_phase(&self, attempt: &Attempt, work: Bytes) -> Vote {
        self.execute(Execution::OnePhase, PATIENCE, attempt, work, CancellationToken::new()).await
    }

    async fn execute(
        &self,
        execution: Execution,
        timeout: Duration,
        attempt: &Attempt,
        work: Bytes,
        cancelled: CancellationToken,
    ) -> Vote {
        let (branch, prepare) = call(execution, timeout, attempt, work);
        done("prepare", self.resource.prepare(branch, prepare, cancelled)).await
    }

    /// Prepares, which must succeed.
    pub(super) async fn prepare(&self, attempt: &Attempt, work: Bytes) -> Bytes {
        match self.vote(attempt, work).await {
            Vote::Prepared { result } => result,
            other @ (Vote::ReadOnly { .. } | Vote::Committed { .. } | Vote::Refused(_)) => {
                panic!("work that writes, with nobody in its way, is voted prepared, not {other:?}")
            }
        }
    }

    pub(super) async fn commit(&self, attempt: &Attempt) {
        let ended = done("commit", self.resource.commit(attempt.branch.clone())).await;
        assert_eq!(ended, Ended::AsTold, "nobody else has ended it");
    }

    pub(super) async fn abort(&self, attempt: &Attempt) {
        let ended = done("abort", self.resource.abort(attempt.branch.clone())).await;
        assert_eq!(ended, Ended::AsTold, "nobody else has ended it");
    }

    pub(super) async fn confirm(&self, attempt: &Attempt) -> bool {
        done("confirm", self.resource.confirm(attempt.branch.clone())).await
    }

    /// Prepares and commits.
    pub(super) async fn carry_out(&self, attempt: &Attempt, work: Bytes) {
        self.prepare(attempt, work).await;
        self.commit(attempt).await;
    }

    /// Asserts that nobody may write what a prepared branch has locked.
    pub(super) async fn assert_locked(&self, key: &str, why: &str) {
        let vote = self.vote_briefly(&attempt(YOUNGEST), self.world.put(key, "locked-out")).await;
        assert_refused(&vote, self.world.locking().refuses_with(), why);
    }

    /// Returns the vote in one phase, without waiting for locks for long.
    pub(super) async fn vote_briefly(&self, attempt: &Attempt, work: Bytes) -> Vote {
        self.execute(Execution::OnePhase, SHORT_WAIT, attempt, work, CancellationToken::new()).await
    }
}

fn owner() -> ParticipantName {
    OWNER.parse().expect("a name")
}

/// Returns the call that the server makes.
pub(super) fn call(execution: Execution, timeout: Duration, attempt: &Attempt, work: Bytes) -> (BranchId, Prepare) {
    let Attempt { branch, begun_at } = attempt.clone();
    let prepare =
        Prepare { tx: branch.tx.clone(), attempt_number: branch.attempt_number, begun_at, timeout, execution, work };
    (branch, prepare)
}

pub(super) fn assert_refused(vote: &Vote, expected: RefusalCode, why: &str) {
    match vote {
        Vote::Refused(Refusal { code, .. }) => assert_eq!(*code, expected, "{why}"),
        Vote::Prepared { .. } | Vote::ReadOnly { .. } | Vote::Committed { .. } => {
            panic!("{why}: expected a refusal ({expected}), not {vote:?}")
        }
    }
}

/// Awaits a call that has to succeed.
pub(super) async fn done<T>(what: &str, call: impl Future<Output = Result<T, ResourceError>>) -> T {
    match tokio::time::timeout(2 * PATIENCE, call).await {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => panic!("{what} succeeds on a resource that works, but: {error}"),
        Err(_) => panic!("{what} answers; nothing came for {:?}", 2 * PATIENCE),
    }
}
