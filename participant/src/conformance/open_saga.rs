//! Steps of open sagas: completions, and actions that their callers do themselves.

use super::World;
use super::saga::{assert_refused, cut_short};
use super::server::{Server, Step, step};
use super::subject::Subject;
use crate::resource::{Recovered, StepState, Steps as _};
use bytes::Bytes;
use undoubt_vocabulary::{AttemptNumber, Direction, LowWaterMark, RefusalCode, RunStep, StepOutcome};

/// The moments at which a call is cut short: after so many turns of it.
const MOMENTS: usize = 6;

pub(super) async fn a_resource_that_takes_the_steps_of_open_sagas_says_so<W: World>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    assert!(subject.resource.takes_open_sagas(), "coordinators let steps with completions join only where it says so");
}

pub(super) async fn a_completion_that_comes_twice_completes_once<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let one = step(1, 0);
    server.done(&one, server.subject.world.add("k", 5, None)).await;
    let work = server.subject.world.add("k", 3, None);
    for attempt in 1..3 {
        assert_done(&server.complete(&one, attempt, work.clone()).await, "a completion with nobody in its way is done");
        assert_value(&server, "8", "a completion does its work once, and its locks are free").await;
    }
    for attempt in 3..5 {
        server = server.crash().await;
        let outcome = server.complete(&one, attempt, work.clone()).await;
        assert_done(&outcome, "a crash does not change a completion's answer");
        assert_value(&server, "8", "a completion does its work once, whatever crashes").await;
    }
    let late = server.subject.world.put("k", "late");
    let outcome = server.act(&one, 9, late.clone()).await;
    assert_refused(&outcome, RefusalCode::Late, "an action after its completion is late, also after a crash");
    let outcome = server.compensate(&one, 9, late).await;
    assert_refused(&outcome, RefusalCode::Late, "what was completed is not undone, also after a crash");
    assert_value(&server, "8", "what comes after a completion changes nothing").await;
    let (_, recovered) = server.subject.crash().await;
    assert_eq!(state(&recovered, &one), Some(StepState::Completed), "what was completed is told after a crash");
}

pub(super) async fn a_refused_completion_leaves_the_action_in_effect_and_may_succeed_later<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let (one, other) = (step(1, 0), step(2, 0));
    server.done(&one, server.subject.world.put("k", "5")).await;
    let work = server.subject.world.add("k", -7, Some(0));
    let refused = server.complete(&one, 1, work.clone()).await;
    assert_refused(&refused, RefusalCode::Condition, "a completion below its floor is refused");
    let (subject, recovered) = server.subject.crash().await;
    assert!(
        matches!(state(&recovered, &one), Some(StepState::Acted { .. })),
        "what was not completed is still in effect"
    );
    let mut server = Server::restart(subject).await;
    assert_value(&server, "5", "a refused completion changes nothing, and leaves no locks").await;
    server.done(&other, server.subject.world.put("k", "8")).await;
    assert_done(&server.complete(&one, 2, work).await, "what was refused once may be completed later");
    assert_value(&server, "1", "a completion does its work when it can").await;
}

/// Crashes in the midst of a call, which has to leave either both or none.
pub(super) async fn an_end_and_its_barrier_are_stored_together<W: World>(world: &mut W) {
    let one = step(1, 0);
    for (direction, acted_elsewhere) in
        [(Direction::Completing, false), (Direction::Completing, true), (Direction::Compensating, true)]
    {
        for moment in 0..MOMENTS {
            let mut server = Server::fresh(world).await;
            let mut run = one.run(direction, 1, server.subject.world.put("k", "ended"));
            let result = match acted_elsewhere {
                true => Bytes::new(),
                false => match server.done(&one, server.subject.world.put("k", "done")).await {
                    StepOutcome::Done { result, .. } => result,
                    StepOutcome::Empty | StepOutcome::Refused(_) => unreachable!("it has to be done"),
                },
            };
            run.inputs.push(result);
            run.acted_elsewhere = acted_elsewhere;
            let subject = server.subject;
            cut_short(moment, end(&subject, &one, run)).await;
            let (subject, recovered) = subject.crash().await;
            let ended = state(&recovered, &one) == Some(ended_by(direction));
            let seen = subject.value("k").await.as_deref() == Some("ended");
            if ended || !subject.world.works_elsewhere() {
                assert_eq!(ended, seen, "what ends a step and its barrier are stored together or not at all");
            }
        }
    }
}

async fn end<W: World>(subject: &Subject<'_, W>, step: &Step, run: RunStep) {
    let ended = match run.direction {
        Direction::Completing => subject.resource.complete(step.id.clone(), run).await,
        Direction::Compensating | Direction::Forward => subject.resource.compensate(step.id.clone(), run).await,
    };
    drop(ended);
}

pub(super) async fn what_was_done_elsewhere_is_ended_once<W: World>(world: &mut W) {
    for direction in [Direction::Compensating, Direction::Completing] {
        let mut server = Server::fresh(world).await;
        let one = step(1, 0);
        let work = server.subject.world.add("k", 3, None);
        for attempt in 1..3 {
            let outcome = server.end_elsewhere(&one, direction, attempt, work.clone()).await;
            assert_done(&outcome, "what its caller has done himself is ended, though nothing is known of it");
            assert_value(&server, "3", "the end of what was done elsewhere does its work once").await;
        }
        for attempt in 3..5 {
            server = server.crash().await;
            let outcome = server.end_elsewhere(&one, direction, attempt, work.clone()).await;
            assert_done(&outcome, "a crash does not change the answer");
            assert_value(&server, "3", "what was done elsewhere is ended once, whatever crashes").await;
        }
        let outcome = server.act(&one, 9, server.subject.world.put("k", "late")).await;
        assert_refused(&outcome, RefusalCode::Late, "an action after its step was ended is late, also after a crash");
        let opposite = match direction {
            Direction::Compensating => Direction::Completing,
            Direction::Completing | Direction::Forward => Direction::Compensating,
        };
        let outcome = server.end_elsewhere(&one, opposite, 9, server.subject.world.put("k", "late")).await;
        assert_refused(&outcome, RefusalCode::Late, "a step that was ended is not ended the other way");
        assert_value(&server, "3", "what comes after a step's end changes nothing").await;
        let (_, recovered) = server.subject.crash().await;
        assert_eq!(state(&recovered, &one), Some(ended_by(direction)), "how it was ended is told after a crash");
    }
}

pub(super) async fn a_refused_end_of_what_was_done_elsewhere_leaves_nothing_behind_and_may_succeed_later<W: World>(
    world: &mut W,
) {
    for direction in [Direction::Compensating, Direction::Completing] {
        let mut server = Server::fresh(world).await;
        let (one, other) = (step(1, 0), step(2, 0));
        let work = server.subject.world.add("k", -5, Some(0));
        let refused = server.end_elsewhere(&one, direction, 1, work.clone()).await;
        assert_refused(&refused, RefusalCode::Condition, "a sum below its floor is refused");
        let again = server.end_elsewhere(&one, direction, 1, work.clone()).await;
        assert_eq!(again, refused, "the same attempt is answered the same");
        let (subject, recovered) = server.subject.crash().await;
        assert!(recovered.steps.is_empty(), "a refusal leaves no barrier of what was done elsewhere");
        assert_eq!(subject.value("k").await, None, "a refusal changes nothing, and leaves no locks");
        let mut server = Server::restart(subject).await;
        server.done(&other, server.subject.world.put("k", "7")).await;
        assert_done(&server.end_elsewhere(&one, direction, 2, work).await, "what was refused once may be ended later");
        assert_value(&server, "2", "it does its work when it can").await;
    }
}

pub(super) async fn a_low_water_mark_drops_the_ends_below_it<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let work = server.subject.world.put("k", "v");
    for saga in [3, 5] {
        let (completed, completed_elsewhere, undone_elsewhere) = (step(saga, 0), step(saga, 1), step(saga, 2));
        server.done(&completed, work.clone()).await;
        assert_done(&server.complete(&completed, 1, work.clone()).await, "it is completed");
        for (step, direction) in
            [(completed_elsewhere, Direction::Completing), (undone_elsewhere, Direction::Compensating)]
        {
            assert_done(&server.end_elsewhere(&step, direction, 1, work.clone()).await, "it is ended");
        }
    }
    server.low_water_mark(AttemptNumber(5)).await;
    // The next forced write makes it durable.
    server.done(&step(301, 0), server.subject.world.put("another", "v")).await;
    let (_, recovered) = server.subject.crash().await;
    let mut kept: Vec<_> = recovered.steps.iter().map(|kept| kept.step.attempt_number.0).collect();
    kept.sort_unstable();
    assert_eq!(kept, [5, 5, 5, 301], "the ends below the low-water mark are dropped, the others stay");
}

pub(super) async fn ends_of_what_is_still_open_below_a_low_water_mark_stay<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let (acted, elsewhere) = (step(3, 0), step(3, 1));
    server.done(&acted, server.subject.world.put("k", "v")).await;
    server.done(&step(4, 0), server.subject.world.put("another", "v")).await;
    let passed = LowWaterMark::new(AttemptNumber(5), [AttemptNumber(3)]);
    server.low_water_mark(passed.clone()).await;
    let mut server = server.crash().await;
    server.low_water_mark(passed).await;
    let completion = server.subject.world.put("k", "completed");
    assert_done(&server.complete(&acted, 1, completion).await, "what is still open is completed");
    let work = server.subject.world.put("elsewhere", "v");
    let ended = server.end_elsewhere(&elsewhere, Direction::Completing, 1, work).await;
    assert_done(&ended, "what was done elsewhere is ended, though the low-water mark had passed its saga by then");
    server.low_water_mark(LowWaterMark::new(AttemptNumber(9), [AttemptNumber(3)])).await;
    let mut server = server.crash().await;
    let again = server.subject.world.put("k", "completed again");
    assert_done(
        &server.complete(&acted, 1, again).await,
        "its end is remembered, though a low-water mark has passed it",
    );
    assert_value(&server, "completed", "a completion does its work once").await;
    server.low_water_mark(AttemptNumber(9)).await;
    // The next forced write makes it durable.
    server.done(&step(301, 0), server.subject.world.put("another", "v")).await;
    let (_, recovered) = server.subject.crash().await;
    let kept: Vec<_> = recovered.steps.iter().map(|kept| kept.step.attempt_number.0).collect();
    assert_eq!(kept, [301], "the ends of what was still open are dropped once it is over");
}

pub(super) async fn semantic_locks_end_with_their_steps_completion<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let Some(work) = server.subject.world.put_pending("k", "one") else { return };
    let (completed, open) = (step(1, 0), step(1, 1));
    server.done(&completed, work.clone()).await;
    let another = server.subject.world.put_pending("another", "two").unwrap_or(work);
    server.done(&open, another).await;
    let mut server = server.crash().await;
    let refused = server.complete(&completed, 1, server.subject.world.add("k2", -1, Some(0))).await;
    assert_refused(&refused, RefusalCode::Condition, "a sum below its floor is refused");
    assert_eq!(server.owners_of_marks().await.len(), 2, "a refused completion leaves the semantic locks as they were");
    assert_done(&server.complete(&completed, 2, server.subject.world.put("k", "done")).await, "it is completed");
    assert_eq!(
        server.owners_of_marks().await,
        std::slice::from_ref(&open.id),
        "a step's semantic locks end with its completion, and no other's"
    );
    let server = server.crash().await;
    assert_eq!(server.owners_of_marks().await, [open.id], "semantic locks that have ended stay so after a crash");
}

fn ended_by(direction: Direction) -> StepState {
    match direction {
        Direction::Completing => StepState::Completed,
        Direction::Compensating | Direction::Forward => StepState::Compensated,
    }
}

fn state(recovered: &Recovered, step: &Step) -> Option<StepState> {
    recovered.steps.iter().find(|kept| kept.step == step.id).map(|kept| kept.state.clone())
}

fn assert_done(outcome: &StepOutcome, why: &str) {
    assert!(matches!(outcome, StepOutcome::Done { .. }), "{why}, not {outcome:?}");
}

async fn assert_value<W: World>(server: &Server<'_, W>, expected: &str, why: &str) {
    assert_eq!(server.subject.value("k").await.as_deref(), Some(expected), "{why}");
}
