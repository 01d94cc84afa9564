//! Prepares that land though nobody waits for them any more.

use super::subject::{Subject, attempt, done};
use super::{LateWorld, PATIENCE};
use crate::resource::{Branches as _, PreparedBranch, Resource as _, ResourceError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(super) async fn a_prepare_that_lands_late_is_found_and_ends_as_it_is_told<W: LateWorld>(world: &mut W) {
    for commit in [false, true] {
        let subject = Subject::fresh(world).await;
        let (stop, background) = in_background(&subject);
        subject.prepare(&attempt(1), subject.world.put("own", "own")).await;
        land(&subject, 2).await;
        for _ in 0..2 {
            let found = found(&subject).await;
            let found: Vec<_> = found.iter().map(|found| (&found.branch, found.begun_at)).collect();
            let late = attempt(2);
            assert_eq!(
                found,
                [(&late.branch, late.begun_at)],
                "what landed late is found until it is told to end, and nothing else"
            );
        }
        subject.assert_locked("k", "what landed late holds its locks").await;
        match commit {
            true => subject.commit(&attempt(2)).await,
            false => subject.abort(&attempt(2)).await,
        }
        assert_eq!(subject.resource.found(), [], "what is told to end is not found any more");
        let expected = commit.then_some("late");
        assert_eq!(subject.value("k").await.as_deref(), expected, "what landed late ends as it is told");
        subject.carry_out(&attempt(3), subject.world.put("k", "next")).await;
        subject.commit(&attempt(1)).await;
        stop.cancel();
        done("background", async { background.await.expect("it does not panic") }).await;
    }
}

pub(super) async fn a_prepare_that_landed_late_survives_a_crash<W: LateWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    let (stop, background) = in_background(&subject);
    land(&subject, 2).await;
    found(&subject).await;
    stop.cancel();
    done("background", async { background.await.expect("it does not panic") }).await;
    let (subject, recovered) = subject.crash().await;
    let recovered: Vec<_> = recovered.prepared.iter().map(|prepared| &prepared.branch).collect();
    assert_eq!(recovered, [&attempt(2).branch], "what landed late is in doubt after a crash");
    assert_eq!(subject.resource.found(), [], "what is recovered is not found once more");
    subject.abort(&attempt(2)).await;
    assert_eq!(subject.value("k").await, None, "what landed late ends as it is told after a crash, too");
}

async fn land<W: LateWorld>(subject: &Subject<'_, W>, number: u64) {
    let late = attempt(number);
    subject.world.land_late(&subject.resource, &late.branch, late.begun_at, "k", "late").await;
}

/// Waits until something is found.
async fn found<W: LateWorld>(subject: &Subject<'_, W>) -> Vec<PreparedBranch> {
    let looking = async {
        loop {
            let found = subject.resource.found();
            if !found.is_empty() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("what landed late is found")
}

type Background = JoinHandle<Result<(), ResourceError>>;

fn in_background<W: LateWorld>(subject: &Subject<'_, W>) -> (CancellationToken, Background) {
    let (resource, stop) = (subject.resource.clone(), CancellationToken::new());
    let until = stop.clone();
    (stop, tokio::spawn(async move { resource.background(until).await }))
}
