//! Branches that somebody else has ended, in the resource itself.

use super::SharedWorld;
use super::subject::{Subject, attempt, done};
use crate::resource::{Branches as _, Ended};

pub(super) async fn a_commit_of_what_another_hand_has_undone_says_so<W: SharedWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.prepare(&attempt(1), subject.world.put("k", "new")).await;
    subject.world.end_by_another_hand(&subject.resource, &attempt(1).branch, false).await;
    for _ in 0..2 {
        let ended = done("commit", subject.resource.commit(attempt(1).branch)).await;
        assert_eq!(ended, Ended::Gone, "a commit of what somebody else has undone is no success");
    }
    assert_eq!(subject.value("k").await, None, "nothing is done in place of what somebody else has undone");
}

pub(super) async fn an_abort_of_what_another_hand_has_committed_says_so<W: SharedWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.prepare(&attempt(1), subject.world.put("k", "new")).await;
    subject.world.end_by_another_hand(&subject.resource, &attempt(1).branch, true).await;
    for _ in 0..2 {
        let ended = done("abort", subject.resource.abort(attempt(1).branch)).await;
        assert_eq!(ended, Ended::Gone, "an abort of what somebody else has committed is no success");
    }
    assert_eq!(subject.value("k").await.as_deref(), Some("new"), "what somebody else has committed stays");
}

pub(super) async fn what_another_hand_has_ended_as_decided_is_as_told<W: SharedWorld>(world: &mut W) {
    for commit in [false, true] {
        let subject = Subject::fresh(world).await;
        subject.prepare(&attempt(1), subject.world.put("k", "new")).await;
        subject.world.end_by_another_hand(&subject.resource, &attempt(1).branch, commit).await;
        let branch = attempt(1).branch;
        let ended = match commit {
            true => done("commit", subject.resource.commit(branch)).await,
            false => done("abort", subject.resource.abort(branch)).await,
        };
        assert_eq!(ended, Ended::AsTold, "a branch that ended as it was decided is as it was told");
    }
}
