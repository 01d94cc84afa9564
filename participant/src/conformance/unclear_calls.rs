//! Calls whose answer was lost: what became of them is found out, never guessed.

use super::PATIENCE;
use super::UnclearWorld;
use super::server::step;
use super::subject::{Subject, attempt, call, done};
use crate::resource::{Branches as _, Ended, ResourceError, StepState, Steps as _};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use undoubt_vocabulary::{Direction, Execution};

/// The pause before a call is repeated.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn an_unclear_prepare_is_over_once_it_is_aborted<W: UnclearWorld>(world: &mut W) {
    for takes_effect in [false, true] {
        let subject = Subject::fresh(world).await;
        let (branch, prepare) = call(Execution::TwoPhase, PATIENCE, &attempt(1), subject.world.put("k", "unclear"));
        subject.world.lose_the_next_answer(&subject.resource, takes_effect);
        assert_unclear("prepare", subject.resource.prepare(branch, prepare, CancellationToken::new()).await);
        let ended = repeated("abort", || subject.resource.abort(attempt(1).branch)).await;
        assert_eq!(ended, Ended::AsTold, "nobody else has ended it");
        subject.carry_out(&attempt(2), subject.world.put("k", "next")).await;
        let (subject, recovered) = subject.crash().await;
        assert!(recovered.prepared.is_empty(), "once an unclear prepare is aborted, nothing of it is in doubt");
        assert_eq!(
            subject.value("k").await.as_deref(),
            Some("next"),
            "an unclear prepare that is aborted leaves nothing"
        );
    }
}

pub(super) async fn what_became_of_an_unclear_branch_in_one_phase_is_told<W: UnclearWorld>(world: &mut W) {
    for takes_effect in [false, true] {
        let subject = Subject::fresh(world).await;
        let (branch, prepare) = call(Execution::OnePhase, PATIENCE, &attempt(1), subject.world.add("k", 5, None));
        subject.world.lose_the_next_answer(&subject.resource, takes_effect);
        assert_unclear("prepare", subject.resource.prepare(branch.clone(), prepare, CancellationToken::new()).await);
        let settled = repeated("settle", || subject.resource.settle(branch.clone())).await;
        let value = settled.as_ref().and_then(|result| subject.world.value(result));
        assert_eq!(value, subject.value("k").await, "what became of an unclear branch is told as it is");
    }
}

pub(super) async fn what_became_of_an_unclear_action_is_told<W: UnclearWorld>(world: &mut W) {
    for takes_effect in [false, true] {
        let subject = Subject::fresh(world).await;
        let one = step(1, 0);
        let run = one.run(Direction::Forward, 1, subject.world.put("k", "acted"));
        subject.world.lose_the_next_answer(&subject.resource, takes_effect);
        assert_unclear("act", subject.resource.act(one.id.clone(), run, CancellationToken::new()).await);
        let settled = repeated("settle_step", || subject.resource.settle_step(one.id.clone())).await;
        let acted = matches!(settled, Some(StepState::Acted { .. }));
        assert_eq!(acted, subject.value("k").await.is_some(), "what became of an unclear action is told as it is");
        assert!(acted || settled.is_none(), "an action that took no effect has no barrier: {settled:?}");
    }
}

pub(super) async fn what_became_of_an_unclear_compensation_is_told<W: UnclearWorld>(world: &mut W) {
    for takes_effect in [false, true] {
        let subject = Subject::fresh(world).await;
        let one = step(1, 0);
        let run = one.run(Direction::Forward, 1, subject.world.put("k", "acted"));
        done("act", subject.resource.act(one.id.clone(), run, CancellationToken::new())).await;
        let mut run = one.run(Direction::Compensating, 1, subject.world.put("k", "undone"));
        run.inputs.push(Bytes::new());
        subject.world.lose_the_next_answer(&subject.resource, takes_effect);
        assert_unclear("compensate", subject.resource.compensate(one.id.clone(), run).await);
        let settled = repeated("settle_step", || subject.resource.settle_step(one.id.clone())).await;
        let undone = subject.value("k").await.as_deref() == Some("undone");
        assert_eq!(settled == Some(StepState::Compensated), undone, "what became of it is told as it is");
        assert!(
            undone || matches!(settled, Some(StepState::Acted { .. })),
            "else the action is in effect: {settled:?}"
        );
    }
}

pub(super) async fn what_became_of_an_unclear_completion_is_told<W: UnclearWorld>(world: &mut W) {
    for takes_effect in [false, true] {
        let subject = Subject::fresh(world).await;
        let one = step(1, 0);
        let run = one.run(Direction::Forward, 1, subject.world.put("k", "acted"));
        done("act", subject.resource.act(one.id.clone(), run, CancellationToken::new())).await;
        let mut run = one.run(Direction::Completing, 1, subject.world.put("k", "completed"));
        run.inputs.push(Bytes::new());
        subject.world.lose_the_next_answer(&subject.resource, takes_effect);
        assert_unclear("complete", subject.resource.complete(one.id.clone(), run).await);
        let settled = repeated("settle_step", || subject.resource.settle_step(one.id.clone())).await;
        let completed = subject.value("k").await.as_deref() == Some("completed");
        assert_eq!(settled == Some(StepState::Completed), completed, "what became of it is told as it is");
        assert!(
            completed || matches!(settled, Some(StepState::Acted { .. })),
            "else the action is in effect as before: {settled:?}"
        );
    }
}

pub(super) async fn what_became_of_an_unclear_end_of_what_was_done_elsewhere_is_told<W: UnclearWorld>(world: &mut W) {
    for (direction, state) in
        [(Direction::Compensating, StepState::Compensated), (Direction::Completing, StepState::Completed)]
    {
        for takes_effect in [false, true] {
            let subject = Subject::fresh(world).await;
            let one = step(1, 0);
            let mut run = one.run(direction, 1, subject.world.put("k", "ended"));
            run.inputs.push(Bytes::new());
            run.acted_elsewhere = true;
            subject.world.lose_the_next_answer(&subject.resource, takes_effect);
            let ended = match direction {
                Direction::Completing => subject.resource.complete(one.id.clone(), run).await,
                Direction::Compensating | Direction::Forward => subject.resource.compensate(one.id.clone(), run).await,
            };
            assert_unclear("what ends a step", ended);
            let settled = repeated("settle_step", || subject.resource.settle_step(one.id.clone())).await;
            let ended = subject.value("k").await.is_some();
            assert_eq!(settled, ended.then(|| state.clone()), "what became of it is told as it is");
        }
    }
}

pub(super) async fn an_unclear_commit_may_be_repeated<W: UnclearWorld>(world: &mut W) {
    for takes_effect in [false, true] {
        let subject = Subject::fresh(world).await;
        subject.prepare(&attempt(1), subject.world.add("k", 5, None)).await;
        subject.world.lose_the_next_answer(&subject.resource, takes_effect);
        assert_unclear("commit", subject.resource.commit(attempt(1).branch).await);
        let ended = repeated("commit", || subject.resource.commit(attempt(1).branch)).await;
        assert_eq!(ended, Ended::AsTold, "a commit that was unclear is repeated");
        assert_eq!(subject.value("k").await.as_deref(), Some("5"), "a commit that was unclear is done once");
    }
}

/// Repeats a call as the server does: not now, and unclear once more, are no failures yet.
async fn repeated<T, F: Future<Output = Result<T, ResourceError>>>(what: &str, call: impl Fn() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Err(ResourceError::Unclear { .. } | ResourceError::Unavailable { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return done(what, std::future::ready(answer)).await,
        }
    }
}

fn assert_unclear<T: std::fmt::Debug>(what: &str, answer: Result<T, ResourceError>) {
    assert!(
        matches!(answer, Err(ResourceError::Unclear { .. })),
        "{what} says that it is unclear what became of it, not {answer:?}"
    );
}
