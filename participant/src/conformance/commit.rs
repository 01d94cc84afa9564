//! The effects of work, and when they are seen.

use super::BranchWorld;
use super::subject::{Attempt, Subject, assert_refused, attempt, done};
use crate::resource::{Branches as _, FinishedBranch, Kept, Recovered, Steps as _};
use bytes::Bytes;
use undoubt_vocabulary::{BranchOutcome, RefusalCode, Vote};

pub(super) async fn what_is_prepared_is_seen_only_once_committed<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    let work = subject.world.put("k", "new");
    subject.prepare(&attempt(1), work).await;
    subject.assert_locked("k", "what a prepared branch wrote is locked until its decision").await;
    subject.commit(&attempt(1)).await;
    assert_eq!(subject.value("k").await.as_deref(), Some("new"), "what was committed is seen, and its locks are free");
}

pub(super) async fn a_commit_survives_a_crash_and_may_be_repeated<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    let (first, again) = (attempt(1), attempt(2));
    subject.carry_out(&first, subject.world.add("k", 5, None)).await;
    subject.commit(&first).await;
    let (subject, recovered) = subject.crash().await;
    assert!(has_committed(&recovered, &first), "a commit is forced, and what the branch came to is stored with it");
    assert!(recovered.prepared.is_empty(), "a branch that has committed is not in doubt");
    subject.commit(&first).await;
    assert_eq!(subject.value("k").await.as_deref(), Some("5"), "a commit is done once, however often it is asked for");
    subject.carry_out(&again, subject.world.add("k", 5, None)).await;
    subject.commit(&first).await;
    assert_eq!(subject.value("k").await.as_deref(), Some("10"), "a repeated commit does not touch what came later");
}

pub(super) fn has_committed(recovered: &Recovered, attempt: &Attempt) -> bool {
    let same =
        |finished: &FinishedBranch| finished.branch == attempt.branch && finished.outcome == BranchOutcome::Committed;
    recovered.finished.iter().any(same)
}

pub(super) async fn an_abort_undoes_and_may_be_repeated_or_be_for_something_unknown<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.carry_out(&attempt(1), subject.world.put("k", "old")).await;
    subject.prepare(&attempt(2), subject.world.put("k", "new")).await;
    subject.abort(&attempt(2)).await;
    assert_eq!(
        subject.value("k").await.as_deref(),
        Some("old"),
        "what was aborted is not seen, and its locks are free"
    );
    subject.prepare(&attempt(3), subject.world.put("k", "newer")).await;
    subject.abort(&attempt(2)).await;
    subject.abort(&attempt(99)).await;
    subject.assert_locked("k", "an abort of one branch leaves the locks of another alone").await;
    subject.commit(&attempt(3)).await;
    assert_eq!(subject.value("k").await.as_deref(), Some("newer"), "an abort of one branch leaves another alone");
}

pub(super) async fn a_condition_that_does_not_hold_is_refused_and_leaves_nothing_behind<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.carry_out(&attempt(1), subject.world.add("k", 5, Some(0))).await;
    let vote = subject.vote(&attempt(2), subject.world.add("k", -6, Some(0))).await;
    assert_refused(&vote, RefusalCode::Condition, "a sum below its floor is refused");
    let vote = subject.vote_in_one_phase(&attempt(3), subject.world.add("k", -6, Some(0))).await;
    assert_refused(&vote, RefusalCode::Condition, "a sum below its floor is refused in one phase too");
    assert_eq!(subject.value("k").await.as_deref(), Some("5"), "a refusal leaves neither data nor locks");
    let (_, recovered) = subject.crash().await;
    assert!(recovered.prepared.is_empty(), "a refused branch is not in doubt after a crash");
}

pub(super) async fn work_in_one_phase_is_committed_at_once_and_remembered_with_its_result<W: BranchWorld>(
    world: &mut W,
) {
    let subject = Subject::fresh(world).await;
    let vote = subject.vote_in_one_phase(&attempt(1), subject.world.add("k", 5, None)).await;
    let Vote::Committed { result } = vote else { panic!("work in one phase is voted committed, not {vote:?}") };
    assert_eq!(subject.world.value(&result).as_deref(), Some("5"), "the vote carries what the work read");
    assert_eq!(subject.value("k").await.as_deref(), Some("5"), "it is seen at once, and its locks are free");
    tells_again(&subject, &result).await;
    let (subject, recovered) = subject.crash().await;
    let (branch, outcome) = (attempt(1).branch, BranchOutcome::Committed);
    let remembered = FinishedBranch { branch, outcome, result: Kept::Here(result.clone()) };
    assert_eq!(recovered.finished, [remembered], "what it came to survives a crash, with its result");
    tells_again(&subject, &result).await;
    assert_eq!(subject.value("k").await.as_deref(), Some("5"), "what was committed in one phase is forced");
}

/// Checks the result of the first attempt, if the resource tells results again at all.
async fn tells_again<W: BranchWorld>(subject: &Subject<'_, W>, result: &Bytes) {
    if subject.resource.recalls_results() {
        let again = done("result_of", subject.resource.result_of(attempt(1).branch)).await;
        assert_eq!(again.as_ref(), Some(result), "the result of a branch that committed in one phase is told again");
        let another = done("result_of", subject.resource.result_of(attempt(2).branch)).await;
        assert_eq!(another, None, "of what did not commit there is nothing to tell");
    }
}

pub(super) async fn reading_in_one_phase_leaves_no_trace<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.carry_out(&attempt(1), subject.world.put("k", "old")).await;
    assert_eq!(subject.value("k").await.as_deref(), Some("old"), "what is committed is read");
    subject.carry_out(&attempt(2), subject.world.put("k", "new")).await;
    let (_, recovered) = subject.crash().await;
    assert_eq!(recovered.finished.len(), 2, "only what was written is remembered, not what was read");
}
