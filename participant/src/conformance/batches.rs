//! Branches that come together.

use super::commit::has_committed;
use super::subject::{Attempt, Subject, assert_refused, attempt, call, done};
use super::{BranchWorld, Locking, PATIENCE};
use crate::resource::{BranchId, Branches as _, Cancellations, PreparedBranch, Preparing, ResourceError, Voted};
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::collections::BTreeMap;
use std::time::Duration;
use undoubt_vocabulary::{Execution, RefusalCode, Vote};

/// Longer than the suite waits for anything.
const NO_END: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) async fn branches_that_come_together_are_each_voted_and_committed<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.carry_out(&attempt(1), subject.world.put("read", "old")).await;
    let mut calls = vec![
        (attempt(2), subject.world.put("a", "2")),
        (attempt(3), subject.world.add("low", -1, Some(0))),
        (attempt(4), subject.world.get("read")),
        (attempt(5), subject.world.put("b", "5")),
    ];
    let is_wait_die = subject.world.locking() == Locking::WaitDie;
    if is_wait_die {
        calls.push((attempt(6), subject.world.put("a", "6")));
    }
    let votes = votes(preparing(&subject, &calls, &mut Cancellations::default())).await;
    let vote = |number: u64| match votes.get(&attempt(number).branch) {
        Some(vote) => vote,
        None => panic!("each of the branches that come together is voted, also number {number}"),
    };
    assert!(matches!(vote(2), Vote::Prepared { .. }), "{:?}", vote(2));
    assert_refused(vote(3), RefusalCode::Condition, "a condition of one does not hold");
    let reads = subject.world.votes_read_only();
    assert_eq!(matches!(vote(4), Vote::ReadOnly { .. }), reads, "{:?}", vote(4));
    assert!(matches!(vote(5), Vote::Prepared { .. }), "{:?}", vote(5));
    if is_wait_die {
        assert_refused(vote(6), RefusalCode::LockConflict, "an older one that came with it has the lock");
    }
    assert_eq!(votes.len(), calls.len(), "nobody else is voted");
    if reads {
        assert!(subject.confirm(&attempt(4)).await, "it has held what it read");
    } else {
        subject.commit(&attempt(4)).await;
    }
    // One of them was committed before.
    commit_together(&subject, [1, 2, 5]).await;
    assert_eq!(subject.value("a").await.as_deref(), Some("2"), "what was committed together is seen");
    assert_eq!(subject.value("b").await.as_deref(), Some("5"), "what was committed together is seen, all of it");
    assert_eq!(subject.value("read").await.as_deref(), Some("old"), "a repeated commit changes nothing");
    let (_, recovered) = subject.crash().await;
    assert!(recovered.prepared.is_empty(), "what was committed together is not in doubt");
    let committed = |number| has_committed(&recovered, &attempt(number));
    assert!(committed(2) && committed(5), "commits that come together are forced");
}

pub(super) async fn branches_prepared_together_survive_a_crash<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    let calls = [(attempt(1), subject.world.put("a", "1")), (attempt(2), subject.world.put("b", "2"))];
    votes(preparing(&subject, &calls, &mut Cancellations::default())).await;
    let (subject, recovered) = subject.crash().await;
    let found: Vec<BranchId> = recovered.prepared.into_iter().map(|PreparedBranch { branch, .. }| branch).collect();
    assert!(calls.iter().all(|(attempt, _)| found.contains(&attempt.branch)), "votes that come together are forced");
    subject.assert_locked("a", "each has its locks again").await;
    subject.assert_locked("b", "each has its locks again").await;
    // A newer attempt may have come under the id of one that is committed again.
    subject.commit(&attempt(1)).await;
    let newer = Attempt { begun_at: attempt(3).begun_at, ..attempt(1) };
    let newer = Attempt {
        branch: BranchId { attempt_number: attempt(3).branch.attempt_number, ..newer.branch.clone() },
        ..newer
    };
    subject.prepare(&newer, subject.world.put("a", "newer")).await;
    commit_together(&subject, [1, 2]).await;
    subject.assert_locked("a", "a repeated commit leaves a newer attempt alone").await;
}

pub(super) async fn what_keeps_one_branch_waiting_keeps_no_other<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    let (holder, another) = (attempt(9), attempt(8));
    subject.prepare(&holder, subject.world.put("k", "holder")).await;
    subject.prepare(&another, subject.world.put("j", "another")).await;
    let calls = [
        (attempt(1), subject.world.get("k")),
        (attempt(2), subject.world.put("free", "2")),
        (attempt(3), subject.world.put("j", "cancelled")),
    ];
    let mut cancellations = Cancellations::default();
    let mut preparing = preparing(&subject, &calls, &mut cancellations);
    let mut next = async || {
        let votes = tokio::time::timeout(PATIENCE, preparing.next()).await;
        let votes = votes.expect("what keeps one branch waiting keeps no other").expect("all have been voted");
        let Voted { votes, .. } = votes.expect("it works");
        let [(branch, vote)] = votes.try_into().expect("one at a time");
        (branch, vote)
    };
    let (branch, vote) = next().await;
    assert_eq!(branch, attempt(2).branch, "the free one is voted first: {vote:?}");
    cancellations.token(&attempt(3).branch).cancel();
    let (branch, vote) = next().await;
    assert_eq!(branch, attempt(3).branch, "one wait is cancelled, the other goes on: {vote:?}");
    assert!(matches!(vote, Vote::Refused(_)), "{vote:?}");
    subject.commit(&holder).await;
    let (branch, vote) = next().await;
    let Vote::ReadOnly { result } = vote else { panic!("who waited is granted its lock in the end, not {vote:?}") };
    assert_eq!(branch, attempt(1).branch);
    assert_eq!(subject.world.value(&result).as_deref(), Some("holder"), "who waited reads what the holder wrote");
}

fn preparing<W: BranchWorld>(
    subject: &Subject<'_, W>,
    calls: &[(Attempt, Bytes)],
    cancellations: &mut Cancellations,
) -> FuturesUnordered<Preparing> {
    let calls = calls.iter().map(|(attempt, work)| call(Execution::TwoPhase, NO_END, attempt, work.clone()));
    subject.resource.prepare_all(calls.collect(), cancellations).into_iter().collect()
}

async fn votes(preparing: FuturesUnordered<Preparing>) -> BTreeMap<BranchId, Vote> {
    let told = async { Ok(preparing.collect::<Vec<Result<Voted, ResourceError>>>().await) };
    let told = done("prepare", told).await;
    told.into_iter().flat_map(|voted| voted.expect("it works").votes).collect()
}

async fn commit_together<W: BranchWorld>(subject: &Subject<'_, W>, numbers: impl IntoIterator<Item = u64>) {
    let branches = numbers.into_iter().map(|number| attempt(number).branch).collect();
    let committing = subject.resource.commit_all(branches).into_iter().map(|(_, committed)| committed);
    for committed in done("commit", async { Ok(join_all(committing).await) }).await {
        committed.expect("it works");
    }
}
