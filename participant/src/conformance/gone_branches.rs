//! Branches that somebody else has ended, in the resource itself.

use super::PATIENCE;
use super::SharedWorld;
use super::subject::{Subject, attempt};
use crate::resource::{Branches as _, Ended, ResourceError};
use std::time::Duration;

pub(super) async fn a_commit_of_what_another_hand_has_undone_says_so<W: SharedWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.prepare(&attempt(1), subject.world.put("k", "new")).await;
    subject.world.end_by_another_hand(&subject.resource, &attempt(1).branch, false).await;
    for _ in 0..2 {
        let ended = ended(async || subject.resource.commit(attempt(1).branch).await).await;
        assert_eq!(ended, Ended::Gone, "a commit of what somebody else has undone is no success");
    }
    assert_eq!(subject.value("k").await, None, "nothing is done in place of what somebody else has undone");
}

pub(super) async fn an_abort_of_what_another_hand_has_committed_says_so<W: SharedWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.prepare(&attempt(1), subject.world.put("k", "new")).await;
    subject.world.end_by_another_hand(&subject.resource, &attempt(1).branch, true).await;
    for _ in 0..2 {
        let ended = ended(async || subject.resource.abort(attempt(1).branch).await).await;
        assert_eq!(ended, Ended::Gone, "an abort of what somebody else has committed is no success");
    }
    assert_eq!(subject.value("k").await.as_deref(), Some("new"), "what somebody else has committed stays");
}

pub(super) async fn an_abort_of_what_another_hand_has_committed_says_so_after_a_crash<W: SharedWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.prepare(&attempt(1), subject.world.put("k", "new")).await;
    subject.world.end_by_another_hand(&subject.resource, &attempt(1).branch, true).await;
    let (subject, _) = subject.crash().await;
    let ended = ended(async || subject.resource.abort(attempt(1).branch).await).await;
    assert_eq!(ended, Ended::Gone, "an abort of what somebody else has committed is no success");
}

pub(super) async fn what_another_hand_has_ended_as_decided_is_as_told<W: SharedWorld>(world: &mut W) {
    for commit in [false, true] {
        let subject = Subject::fresh(world).await;
        subject.prepare(&attempt(1), subject.world.put("k", "new")).await;
        subject.world.end_by_another_hand(&subject.resource, &attempt(1).branch, commit).await;
        let branch = attempt(1).branch;
        let ended = match commit {
            true => ended(async || subject.resource.commit(branch.clone()).await).await,
            false => ended(async || subject.resource.abort(branch.clone()).await).await,
        };
        assert_eq!(ended, Ended::AsTold, "a branch that ended as it was decided is as it was told");
    }
}

/// Repeats a call as the server does: the other hand may have ended its session too, and then it is unclear what became of it.
pub(super) async fn ended(call: impl AsyncFn() -> Result<Ended, ResourceError>) -> Ended {
    let repeated = async {
        loop {
            match call().await {
                Ok(ended) => return ended,
                Err(ResourceError::Unclear { .. } | ResourceError::Unavailable { .. }) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("a branch that another hand has ended ends, but: {error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, repeated).await.expect("a branch that another hand has ended ends")
}
