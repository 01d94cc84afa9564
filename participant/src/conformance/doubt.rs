//! Branches in doubt: across crashes, at an operator's hands, and what is remembered of them.

use super::BranchWorld;
use super::subject::{ANOTHER_COORDINATOR, Attempt, COORDINATOR, Subject, attempt, attempt_of, done};
use crate::resource::{Branches as _, Heuristic, HeuristicBranch, PreparedBranch, Recovered, Resource as _};
use undoubt_vocabulary::{AttemptNumber, LowWaterMark, Timestamp};

pub(super) async fn a_prepared_branch_survives_a_crash_with_its_locks<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    let result = subject.prepare(&attempt(1), subject.world.put("k", "new")).await;
    let (subject, recovered) = subject.crash().await;
    let Attempt { branch, begun_at } = attempt(1);
    let result = subject.world.keeps_results().then_some(result);
    let in_doubt = PreparedBranch { branch, begun_at, result };
    assert_eq!(recovered.prepared, [in_doubt], "a vote of prepared is forced (R2), with all that belongs to it");
    subject.assert_locked("k", "what is in doubt is locked again after a crash").await;
    subject.prepare(&attempt(2), subject.world.put("another", "free")).await;
    let (subject, recovered) = subject.crash().await;
    assert_eq!(recovered.prepared.len(), 2, "what is in doubt survives one crash after another");
    subject.assert_locked("k", "what is in doubt is locked again after a second crash").await;
}

pub(super) async fn a_branch_in_doubt_commits_after_a_crash<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.prepare(&attempt(1), subject.world.put("k", "new")).await;
    let (subject, _) = subject.crash().await;
    subject.commit(&attempt(1)).await;
    assert_eq!(subject.value("k").await.as_deref(), Some("new"), "a prepared branch can commit after a crash (R2)");
    let (subject, recovered) = subject.crash().await;
    assert!(recovered.prepared.is_empty(), "a commit after a crash is forced like any other");
    assert_eq!(subject.value("k").await.as_deref(), Some("new"), "what was committed after a crash survives another");
}

pub(super) async fn a_branch_in_doubt_aborts_after_a_crash<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.prepare(&attempt(1), subject.world.put("k", "new")).await;
    let (subject, _) = subject.crash().await;
    subject.abort(&attempt(1)).await;
    assert_eq!(subject.value("k").await, None, "a prepared branch can abort after a crash");
    // The next forced write makes the abort durable too.
    subject.carry_out(&attempt(2), subject.world.put("k", "newer")).await;
    let (subject, recovered) = subject.crash().await;
    assert!(recovered.prepared.is_empty(), "an abort is kept, at the latest once something after it is");
    assert_eq!(subject.value("k").await.as_deref(), Some("newer"), "what was aborted does not come back");
}

pub(super) async fn an_operators_commit_is_done_and_kept_until_it_is_forgotten<W: BranchWorld>(world: &mut W) {
    an_operators_decision_is_done_and_kept_until_it_is_forgotten(world, true).await;
}

pub(super) async fn an_operators_abort_is_done_and_kept_until_it_is_forgotten<W: BranchWorld>(world: &mut W) {
    an_operators_decision_is_done_and_kept_until_it_is_forgotten(world, false).await;
}

async fn an_operators_decision_is_done_and_kept_until_it_is_forgotten<W: BranchWorld>(world: &mut W, commit: bool) {
    let subject = Subject::fresh(world).await;
    let Attempt { branch, begun_at } = attempt(2);
    subject.carry_out(&attempt(1), subject.world.put("k", "old")).await;
    subject.prepare(&attempt(2), subject.world.put("k", "new")).await;
    let alone = Heuristic { commit, at: Timestamp(9), who: "ada".into(), reason: "lost".into(), decision: None };
    done("resolve", subject.resource.resolve(branch.clone(), alone.clone())).await;
    let expected = Some(if commit { "new" } else { "old" });
    assert_eq!(subject.value("k").await.as_deref(), expected, "an operator's decision is done, its locks are free");
    subject.carry_out(&attempt(3), subject.world.put("k", "later")).await;
    done("resolve", subject.resource.resolve(branch.clone(), alone.clone())).await;

    let (subject, recovered) = subject.crash().await;
    let kept =
        |heuristic: &Heuristic| [HeuristicBranch { branch: branch.clone(), begun_at, heuristic: heuristic.clone() }];
    assert_eq!(recovered.heuristics, kept(&alone), "an operator's decision is kept (R3)");
    assert!(recovered.prepared.is_empty(), "a branch that an operator resolved is no longer in doubt");
    assert_eq!(subject.value("k").await.as_deref(), Some("later"), "an operator's decision is done only once");

    let compared = Heuristic { decision: Some(!commit), ..alone };
    done("store_heuristic", subject.resource.store_heuristic(branch.clone(), begun_at, compared.clone())).await;
    let (subject, recovered) = subject.crash().await;
    assert_eq!(recovered.heuristics, kept(&compared), "the coordinator's decision is kept beside the operator's (R3)");

    done("forget_heuristic", subject.resource.forget_heuristic(branch.clone())).await;
    done("forget_heuristic", subject.resource.forget_heuristic(branch.clone())).await;
    let (_, recovered) = subject.crash().await;
    assert!(recovered.heuristics.is_empty(), "what an operator forgets is gone");
}

pub(super) async fn a_low_water_mark_drops_what_is_finished_below_it_and_nothing_else<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    let (below, at, above) = (attempt(4), attempt(5), attempt(300));
    let (elsewhere, in_doubt) = (attempt_of(ANOTHER_COORDINATOR, 4), attempt(3));
    for finished in [&below, &at, &above, &elsewhere] {
        subject.carry_out(finished, subject.world.put("k", "v")).await;
    }
    subject.prepare(&in_doubt, subject.world.put("held", "v")).await;
    done("collect", subject.resource.collect(COORDINATOR, AttemptNumber(5).into())).await;
    done("collect", subject.resource.collect(COORDINATOR, AttemptNumber(2).into())).await;
    // The next forced write makes it durable.
    subject.prepare(&attempt(301), subject.world.put("another", "v")).await;

    let (subject, recovered) = subject.crash().await;
    let remembers = |attempt: &Attempt| recovered.finished.iter().any(|finished| finished.branch == attempt.branch);
    assert!(!remembers(&below), "what is finished below the low-water mark is dropped");
    assert!(remembers(&at) && remembers(&above), "what is finished at or above the low-water mark stays");
    assert!(remembers(&elsewhere), "one coordinator's low-water mark is nothing to another's branches");
    assert_eq!(low_water_mark(&recovered), Some(AttemptNumber(5).into()), "the highest low-water mark is remembered");
    let stays = recovered.prepared.iter().any(|prepared| prepared.branch == in_doubt.branch);
    assert!(stays, "a branch that is in doubt below the low-water mark stays until its decision");
    subject.assert_locked("held", "a branch that is in doubt below the low-water mark keeps its locks").await;
}

pub(super) fn low_water_mark(recovered: &Recovered) -> Option<LowWaterMark> {
    recovered.coordinators.iter().find(|marks| marks.id == COORDINATOR).map(|marks| marks.low_water_mark.clone())
}
