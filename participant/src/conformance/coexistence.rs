//! Steps of sagas beside branches.

use super::saga::assert_refused;
use super::server::{Server, step};
use super::subject::{SHORT_WAIT, Subject, attempt, done};
use super::{BranchWorld, PATIENCE};
use crate::resource::Steps as _;
use futures::future::join;
use tokio_util::sync::CancellationToken;
use undoubt_vocabulary::{Direction, RefusalCode, StepOutcome};

pub(super) async fn a_branch_prepared_under_the_same_id_keeps_its_locks<W: BranchWorld>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let branch = attempt(1);
    server.subject.prepare(&branch, server.subject.world.put("k", "branch")).await;
    let mut beside = step(2, 0);
    beside.id.tx = branch.branch.tx.clone();
    server.done(&beside, server.subject.world.put("another", "step")).await;
    server.subject.assert_locked("k", "an action leaves the locks of a branch under the same id alone").await;
    let undo = server.subject.world.put("another", "undone");
    server.compensate(&beside, 1, undo).await;
    server.subject.assert_locked("k", "a compensation leaves the locks of a branch under the same id alone").await;
    server.subject.commit(&branch).await;
    assert_eq!(server.subject.value("k").await.as_deref(), Some("branch"), "the branch commits as if nothing had been");
}

pub(super) async fn an_actions_wait_for_locks_ends_when_it_has_to<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.prepare(&attempt(2), subject.world.put("k", "younger")).await;
    let older = step(1, 0);
    let mut run = older.run(Direction::Forward, 1, subject.world.put("k", "older"));
    run.timeout = SHORT_WAIT;
    let outcome = done("act", subject.resource.act(older.id.clone(), run.clone(), CancellationToken::new())).await;
    assert_refused(&outcome, RefusalCode::LockTimeout, "an action's lock that does not become free in time is refused");
    run.timeout = PATIENCE.saturating_mul(100);
    let cancelled = CancellationToken::new();
    let waiting = done("act", subject.resource.act(older.id.clone(), run, cancelled.clone()));
    let (outcome, ()) = join(waiting, async { cancelled.cancel() }).await;
    assert!(matches!(outcome, StepOutcome::Refused(_)), "an action that is called off is refused, not {outcome:?}");
    subject.commit(&attempt(2)).await;
    assert_eq!(subject.value("k").await.as_deref(), Some("younger"), "an action that stopped waiting left nothing");
}
