//! The promises about locks: who waits for whom, and for how long (R12).

use super::subject::{SHORT_WAIT, Subject, assert_refused, attempt};
use super::{BranchWorld, PATIENCE};
use futures::future::join;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_vocabulary::{RefusalCode, Vote};

/// Longer than the suite has patience.
const NO_END: Duration = PATIENCE.saturating_mul(100);

pub(super) async fn a_younger_transaction_is_refused_where_an_older_one_has_the_lock<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.prepare(&attempt(1), subject.world.put("k", "older")).await;
    let vote = subject.vote(&attempt(2), subject.world.put("k", "younger")).await;
    assert_refused(&vote, RefusalCode::LockConflict, "a younger transaction does not wait for an older one");
    subject.prepare(&attempt(3), subject.world.put("another", "free")).await;
    subject.commit(&attempt(1)).await;
    assert_eq!(subject.value("k").await.as_deref(), Some("older"), "who was refused left nothing behind");
}

pub(super) async fn an_older_transaction_waits_for_a_younger_one_and_sees_what_it_did<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    let (older, younger) = (attempt(1), attempt(2));
    subject.prepare(&younger, subject.world.put("k", "younger")).await;
    let (vote, ()) = join(subject.vote(&older, subject.world.get("k")), subject.commit(&younger)).await;
    let Vote::ReadOnly { result } = vote else { panic!("the older one is granted its lock in the end, not {vote:?}") };
    let seen = subject.world.value(&result);
    assert_eq!(seen.as_deref(), Some("younger"), "who waited for a lock reads what its holder wrote");
}

pub(super) async fn a_wait_for_locks_ends_at_its_timeout<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.prepare(&attempt(2), subject.world.put("k", "younger")).await;
    let work = subject.world.put("k", "older");
    let vote = subject.vote_within(SHORT_WAIT, &attempt(1), work, CancellationToken::new()).await;
    assert_refused(&vote, RefusalCode::LockTimeout, "a lock that does not become free in time is refused");
    subject.commit(&attempt(2)).await;
    assert_eq!(subject.value("k").await.as_deref(), Some("younger"), "who stopped waiting left nothing behind");
}

pub(super) async fn a_wait_that_is_cancelled_ends_and_leaves_nothing_behind<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    let (older, younger) = (attempt(1), attempt(2));
    subject.prepare(&younger, subject.world.put("k", "younger")).await;
    let cancelled = CancellationToken::new();
    let waiting = subject.vote_within(NO_END, &older, subject.world.put("k", "older"), cancelled.clone());
    let (vote, ()) = join(waiting, async { cancelled.cancel() }).await;
    assert!(matches!(vote, Vote::Refused(_)), "a wait that is cancelled ends with a refusal, not {vote:?}");
    subject.commit(&younger).await;
    assert_eq!(subject.value("k").await.as_deref(), Some("younger"), "who was cancelled left nothing behind");
}

pub(super) async fn a_read_only_branch_keeps_its_locks_until_it_is_confirmed<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.carry_out(&attempt(1), subject.world.put("k", "old")).await;
    assert_read_only(subject.vote(&attempt(2), subject.world.get("k")).await);
    assert_read_only(subject.vote(&attempt(3), subject.world.get("k")).await);
    let write = || subject.world.put("k", "new");
    for holder in [attempt(2), attempt(3)] {
        let vote = subject.vote_briefly(&attempt(4), write()).await;
        let expected = subject.world.locking().refuses_with();
        assert_refused(&vote, expected, "what was read stays as it is until every reader has left");
        assert!(subject.confirm(&holder).await, "a reader that is asked has held what it read");
        assert!(!subject.confirm(&holder).await, "a reader that has left holds nothing any more");
    }
    let vote = subject.vote_in_one_phase(&attempt(4), write()).await;
    assert!(matches!(vote, Vote::Committed { .. }), "the last reader's leaving frees the lock: {vote:?}");
    assert_read_only(subject.vote(&attempt(5), subject.world.get("k")).await);
    let (_, recovered) = subject.crash().await;
    assert!(recovered.prepared.is_empty(), "a read-only branch stores nothing");
}

pub(super) async fn a_read_only_branch_that_has_lost_its_locks_says_so<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    assert_read_only(subject.vote(&attempt(1), subject.world.get("k")).await);
    let (subject, _) = subject.crash().await;
    assert!(!subject.confirm(&attempt(1)).await, "what a reader held is gone with its process, and it says so");
    assert!(!subject.confirm(&attempt(99)).await, "who has not voted has held nothing");
}

pub(super) async fn aborting_a_read_only_branch_frees_its_locks<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    assert_read_only(subject.vote(&attempt(1), subject.world.get("k")).await);
    subject.abort(&attempt(1)).await;
    subject.carry_out(&attempt(2), subject.world.put("k", "new")).await;
}

fn assert_read_only(vote: Vote) {
    assert!(matches!(vote, Vote::ReadOnly { .. }), "work that only reads is voted read-only, not {vote:?}");
}
