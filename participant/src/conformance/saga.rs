//! Steps of sagas: the barrier and the work are one.

use super::server::{Server, Step, step};
use super::subject::{ANOTHER_COORDINATOR, COORDINATOR, Subject, done};
use super::{World, doubt};
use crate::resource::{Recovered, RecoveredStep, StepState, Steps as _};
use tokio_util::sync::CancellationToken;
use undoubt_vocabulary::{AttemptNumber, Direction, LowWaterMark, Refusal, RefusalCode, StepOutcome};

pub(super) async fn an_action_that_comes_twice_runs_once_and_is_answered_the_same<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let work = server.subject.world.add("k", 5, None);
    let first = server.done(&step(1, 0), work.clone()).await;
    let StepOutcome::Done { result, pending: false } = &first else { panic!("it leaves no semantic lock: {first:?}") };
    assert_eq!(server.subject.world.value(result).as_deref(), Some("5"), "the answer carries what the work read");
    assert_eq!(server.act(&step(1, 0), 1, work.clone()).await, first, "a repeated action is answered the same");
    assert_eq!(server.subject.value("k").await.as_deref(), Some("5"), "an action is seen at once, its locks are free");
    for _ in 0..2 {
        server = server.crash().await;
        assert_eq!(server.act(&step(1, 0), 2, work.clone()).await, first, "a crash does not change an action's answer");
        assert_eq!(server.subject.value("k").await.as_deref(), Some("5"), "an action runs once, whatever crashes");
    }
}

pub(super) async fn an_action_that_only_reads_is_remembered_too<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    server.done(&step(1, 0), server.subject.world.put("k", "old")).await;
    let first = server.done(&step(2, 0), server.subject.world.get("k")).await;
    server.done(&step(3, 0), server.subject.world.put("k", "new")).await;
    let mut server = server.crash().await;
    let again = server.act(&step(2, 0), 1, server.subject.world.get("k")).await;
    assert_eq!(again, first, "what an action read is answered again, not read again");
}

pub(super) async fn a_compensation_that_comes_twice_undoes_once<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    server.done(&step(1, 0), server.subject.world.add("k", 5, None)).await;
    let undo = server.subject.world.add("k", -3, None);
    let first = server.compensate(&step(1, 0), 1, undo.clone()).await;
    assert!(matches!(first, StepOutcome::Done { .. }), "a compensation with nobody in its way is done, not {first:?}");
    assert_eq!(server.compensate(&step(1, 0), 1, undo.clone()).await, first, "it is answered the same");
    assert_eq!(
        server.subject.value("k").await.as_deref(),
        Some("2"),
        "a compensation does its work, its locks are free"
    );
    let mut server = server.crash().await;
    assert_eq!(server.compensate(&step(1, 0), 2, undo).await, first, "a crash does not change a compensation's answer");
    assert_eq!(server.subject.value("k").await.as_deref(), Some("2"), "a compensation undoes once, whatever crashes");
    late_action_changes_nothing(&mut server, Some("2")).await;
}

pub(super) async fn a_compensation_before_its_action_is_empty_and_the_action_changes_nothing<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let undo = server.subject.world.add("k", -3, None);
    for round in 1..3 {
        let outcome = server.compensate(&step(1, 0), round, undo.clone()).await;
        assert_eq!(outcome, StepOutcome::Empty, "a compensation whose action never ran is empty");
    }
    late_action_changes_nothing(&mut server, None).await;
    let mut server = server.crash().await;
    late_action_changes_nothing(&mut server, None).await;
    let outcome = server.compensate(&step(1, 0), 3, undo).await;
    assert_eq!(outcome, StepOutcome::Empty, "what was empty is empty after a crash");
    assert_eq!(server.subject.value("k").await, None, "an empty compensation changes nothing");
}

async fn late_action_changes_nothing<W: World>(server: &mut Server<'_, W>, expected: Option<&str>) {
    let outcome = server.act(&step(1, 0), 9, server.subject.world.put("k", "late")).await;
    assert_refused(&outcome, RefusalCode::Late, "an action after its compensation is late, also after a crash");
    assert_eq!(server.subject.value("k").await.as_deref(), expected, "a late action changes nothing");
}

pub(super) async fn a_refused_action_leaves_nothing_behind_and_may_succeed_later<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let work = server.subject.world.add("k", -5, Some(0));
    let refused = server.act(&step(1, 0), 1, work.clone()).await;
    assert_refused(&refused, RefusalCode::Condition, "a sum below its floor is refused");
    assert_eq!(server.act(&step(1, 0), 1, work.clone()).await, refused, "the same attempt is answered the same");
    assert_eq!(server.subject.value("k").await, None, "a refused action leaves neither data nor locks");
    let (subject, recovered) = server.subject.crash().await;
    assert!(recovered.steps.is_empty(), "a refused action leaves no barrier");
    let mut server = Server::restart(subject).await;
    server.done(&step(2, 0), server.subject.world.add("k", 7, None)).await;
    server.done(&step(1, 0), work).await;
    assert_eq!(server.subject.value("k").await.as_deref(), Some("2"), "what was refused once may succeed later");
}

pub(super) async fn a_refused_compensation_leaves_the_action_in_effect<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    server.done(&step(1, 0), server.subject.world.put("k", "5")).await;
    let undo = server.subject.world.add("k", -7, Some(0));
    let refused = server.compensate(&step(1, 0), 1, undo.clone()).await;
    assert_refused(&refused, RefusalCode::Condition, "a compensation below its floor is refused");
    let (subject, recovered) = server.subject.crash().await;
    let is_acted = |state: &StepState| matches!(state, StepState::Acted { .. });
    assert!(recovered.steps.iter().any(|kept| is_acted(&kept.state)), "what was not undone is still in effect");
    let mut server = Server::restart(subject).await;
    assert_eq!(server.subject.value("k").await.as_deref(), Some("5"), "a refused compensation changes nothing");
    server.done(&step(2, 0), server.subject.world.put("k", "8")).await;
    let outcome = server.compensate(&step(1, 0), 2, undo).await;
    assert!(matches!(outcome, StepOutcome::Done { .. }), "what was refused once may be undone later: {outcome:?}");
    assert_eq!(server.subject.value("k").await.as_deref(), Some("1"), "a compensation undoes when it can");
}

/// Crashes in the midst of a call, which has to leave either both or none.
pub(super) async fn a_barrier_and_its_work_are_stored_together<W: World>(world: &mut W) {
    const MOMENTS: usize = 4;
    let one = step(1, 0);
    for moment in 0..MOMENTS {
        let subject = Subject::fresh(world).await;
        let run = one.run(Direction::Forward, 1, subject.world.put("k", "done"));
        cut_short(moment, subject.resource.act(one.id.clone(), run, CancellationToken::new())).await;
        let (subject, recovered) = subject.crash().await;
        let state = recovered.steps.into_iter().find(|kept| kept.step == one.id).map(|kept| kept.state);
        let seen = subject.value("k").await.is_some();
        match state {
            Some(StepState::Attempted) if subject.world.works_elsewhere() => {}
            state => assert_eq!(state.is_some(), seen, "an action and its barrier are stored together or not at all"),
        }
    }
    for moment in 0..MOMENTS {
        let mut server = Server::fresh(world).await;
        let StepOutcome::Done { result, .. } = server.done(&one, server.subject.world.put("k", "done")).await else {
            unreachable!("it has to be done")
        };
        let subject = server.subject;
        let mut run = one.run(Direction::Compensating, 1, subject.world.put("k", "undone"));
        run.inputs.push(result);
        cut_short(moment, subject.resource.compensate(one.id.clone(), run)).await;
        let (subject, recovered) = subject.crash().await;
        let expected = RecoveredStep { step: one.id.clone(), state: StepState::Compensated };
        let undone = recovered.steps.contains(&expected);
        let seen = subject.value("k").await.as_deref() == Some("undone");
        if undone || !subject.world.works_elsewhere() {
            assert_eq!(undone, seen, "a compensation and its barrier are stored together or not at all");
        }
    }
}

pub(super) async fn cut_short(moment: usize, call: impl Future<Output = impl Sized>) {
    let mut call = std::pin::pin!(call);
    for _ in 0..=moment {
        if futures::poll!(call.as_mut()).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

pub(super) async fn steps_of_one_saga_are_independent<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let (one, two, three) = (step(1, 0), step(1, 1), step(1, 2));
    server.done(&one, server.subject.world.add("k", 1, None)).await;
    server.done(&two, server.subject.world.add("k", 10, None)).await;
    let undo = server.subject.world.add("k", -1, None);
    server.compensate(&one, 1, undo.clone()).await;
    assert_eq!(server.compensate(&three, 1, undo).await, StepOutcome::Empty, "each step has a barrier of its own");
    let (subject, mut recovered) = server.subject.crash().await;
    recovered.steps.sort_by_key(|kept| kept.step.step);
    let states: Vec<_> = recovered.steps.into_iter().map(|kept| kept.state).collect();
    let independent = matches!(&states[..], [StepState::Compensated, StepState::Acted { .. }, StepState::Empty]);
    assert!(independent, "what became of one step is nothing to another: {states:?}");
    assert_eq!(subject.value("k").await.as_deref(), Some("10"), "undoing one step leaves another alone");
}

pub(super) async fn semantic_locks_last_until_their_saga_or_their_step_is_over<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let Some(work) = server.subject.world.put_pending("k", "one") else { return };
    let (closed, undone) = (step(1, 0), step(2, 0));
    assert!(is_pending(&server.done(&closed, work.clone()).await), "work that leaves a semantic lock says so");
    let another = server.subject.world.put_pending("another", "two").unwrap_or(work.clone());
    assert!(is_pending(&server.done(&undone, another).await), "work that leaves a semantic lock says so");
    let mut server = server.crash().await;
    assert!(is_pending(&server.act(&closed, 1, work.clone()).await), "semantic locks survive a crash");
    server.close(&closed).await;
    server.close(&closed).await;
    let undo = server.subject.world.put("another", "undone");
    server.compensate(&undone, 1, undo).await;
    server.close(&undone).await;
    let (_, recovered) = server.subject.crash().await;
    let state = |step: &Step| {
        let mut states = recovered.steps.iter();
        states.find(|kept| kept.step == step.id).map(|kept| kept.state.clone())
    };
    let Some(StepState::Acted { pending, .. }) = state(&closed) else { panic!("what was closed stays in effect") };
    assert!(!pending, "a saga's semantic locks end with it, durably");
    assert_eq!(state(&undone), Some(StepState::Compensated), "a step's semantic locks end with its compensation");
}

pub(super) async fn semantic_locks_are_listed_until_an_operator_releases_those_of_a_saga<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let Some(work) = server.subject.world.put_pending("k", "one") else { return };
    let (released, kept) = (step(1, 0), step(2, 0));
    server.done(&released, work.clone()).await;
    let another = server.subject.world.put_pending("another", "two").unwrap_or(work.clone());
    server.done(&kept, another).await;
    let mut server = server.crash().await;
    let mut owners = server.owners_of_marks().await;
    owners.sort();
    assert_eq!(owners, [released.id.clone(), kept.id.clone()], "what is marked is listed with its owner");
    server.release(&released).await;
    let mut server = server.crash().await;
    assert_eq!(
        server.owners_of_marks().await,
        [kept.id],
        "an operator's release drops one saga's semantic locks, durably"
    );
    assert!(!is_pending(&server.act(&released, 1, work).await), "what was released stays in effect, without its locks");
}

fn is_pending(outcome: &StepOutcome) -> bool {
    matches!(outcome, StepOutcome::Done { pending: true, .. })
}

pub(super) async fn a_low_water_mark_drops_the_barriers_below_it_and_nothing_else<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    for saga in [3, 4, 5, 300] {
        server.done(&step(saga, 0), server.subject.world.put("k", "v")).await;
    }
    let undo = server.subject.world.put("k", "v");
    server.compensate(&step(3, 0), 1, undo.clone()).await;
    server.compensate(&step(2, 0), 1, undo).await;
    let mut elsewhere = step(4, 0);
    elsewhere.id.coordinator = ANOTHER_COORDINATOR;
    let run = elsewhere.run(Direction::Forward, 1, server.subject.world.put("k", "v"));
    done("act", server.subject.resource.act(elsewhere.id.clone(), run, CancellationToken::new())).await;
    server.low_water_mark(AttemptNumber(5)).await;
    // The next forced write makes it durable.
    server.done(&step(301, 0), server.subject.world.put("another", "v")).await;
    let (_, recovered) = server.subject.crash().await;
    let mut kept: Vec<_> =
        recovered.steps.iter().map(|kept| (kept.step.coordinator == COORDINATOR, kept.step.attempt_number.0)).collect();
    kept.sort();
    let expected = [(false, 4), (true, 5), (true, 300), (true, 301)];
    assert_eq!(kept, expected, "barriers below the low-water mark are dropped, those of its own coordinator only");
}

pub(super) async fn what_is_still_open_below_a_low_water_mark_stays_until_it_is_over<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let (open, ends) = (step(2, 0), step(4, 0));
    for saga in [&open, &ends, &step(3, 0), &step(5, 0)] {
        server.done(saga, server.subject.world.put("k", "v")).await;
    }
    server.low_water_mark(low_water_mark(6, &[2, 4])).await;
    // Of what is still open another step may come.
    server.done(&step(2, 1), server.subject.world.put("joined", "v")).await;
    let (subject, recovered) = server.subject.crash().await;
    assert_eq!(kept(&recovered), [2, 2, 4], "what is still open below the low-water mark keeps its barriers");
    let stored = doubt::low_water_mark(&recovered);
    assert_eq!(stored, Some(low_water_mark(6, &[2, 4])), "what is still open is stored with the low-water mark");

    let mut server = Server::restart(subject).await;
    let again = server.act(&open, 1, server.subject.world.put("k", "again")).await;
    assert!(matches!(again, StepOutcome::Done { .. }), "what is still open is not late, but {again:?}");
    assert_eq!(server.subject.value("k").await.as_deref(), Some("v"), "an action runs once, whatever has passed it");
    let late = server.act(&step(3, 0), 1, server.subject.world.put("k", "late")).await;
    assert_refused(&late, RefusalCode::Late, "what was over is late, also after a crash");
    let undone = server.compensate(&ends, 1, server.subject.world.put("k", "undone")).await;
    assert!(matches!(undone, StepOutcome::Done { .. }), "what is still open can be undone, which is {undone:?}");
    let mut server = server.crash().await;
    let again = server.compensate(&ends, 1, server.subject.world.put("k", "undone again")).await;
    assert!(matches!(again, StepOutcome::Done { .. }), "it is undone, also after a crash: {again:?}");
    assert_eq!(server.subject.value("k").await.as_deref(), Some("undone"), "a compensation runs once");

    server.low_water_mark(low_water_mark(6, &[2])).await;
    let late = server.act(&ends, 2, server.subject.world.put("k", "late")).await;
    assert_refused(&late, RefusalCode::Late, "what was still open and is over is late");
    // The next forced write makes it durable.
    server.done(&step(301, 0), server.subject.world.put("another", "v")).await;
    let (subject, recovered) = server.subject.crash().await;
    assert_eq!(kept(&recovered), [2, 2, 301], "the barriers of what was still open go once it is over");

    // A session of a coordinator that has restarted, or the order of messages, may tell less than was told before.
    let mut server = Server::restart(subject).await;
    for lower in [low_water_mark(2, &[]), low_water_mark(5, &[2, 3, 4])] {
        server.low_water_mark(lower).await;
        let late = server.act(&step(3, 0), 1, server.subject.world.put("k", "late")).await;
        assert_refused(&late, RefusalCode::Late, "what was over stays over");
    }
    server.low_water_mark(AttemptNumber(302)).await;
    server.done(&step(302, 0), server.subject.world.put("another", "v")).await;
    let (_, recovered) = server.subject.crash().await;
    assert_eq!(kept(&recovered), [302], "once all is over nothing is left");
    assert_eq!(doubt::low_water_mark(&recovered), Some(AttemptNumber(302).into()), "and nothing is called open");
}

fn low_water_mark(below: u64, still_open: &[u64]) -> LowWaterMark {
    LowWaterMark::new(AttemptNumber(below), still_open.iter().copied().map(AttemptNumber))
}

/// Returns the attempt numbers of the coordinator's barriers.
fn kept(recovered: &Recovered) -> Vec<u64> {
    let own = recovered.steps.iter().filter(|kept| kept.step.coordinator == COORDINATOR);
    let mut kept: Vec<u64> = own.map(|kept| kept.step.attempt_number.0).collect();
    kept.sort_unstable();
    kept
}

pub(super) fn assert_refused(outcome: &StepOutcome, expected: RefusalCode, why: &str) {
    match outcome {
        StepOutcome::Refused(Refusal { code, .. }) => assert_eq!(*code, expected, "{why}"),
        StepOutcome::Done { .. } | StepOutcome::Empty => {
            panic!("{why}: expected a refusal ({expected}), not {outcome:?}")
        }
    }
}

/// The moments at which a call is cut short: after so many turns of it.
const CUTS: usize = 12;

pub(super) async fn an_action_that_was_cut_short_is_asked_again_and_takes_effect_once<W: World>(world: &mut W) {
    let one = step(1, 0);
    for moment in 0..CUTS {
        let subject = Subject::fresh(world).await;
        let work = subject.world.add("k", 5, None);
        let run = one.run(Direction::Forward, 1, work.clone());
        cut_short(moment, subject.resource.act(one.id.clone(), run, CancellationToken::new())).await;
        let mut server = Server::restart(subject).await;
        server.done(&one, work).await;
        assert_eq!(server.subject.value("k").await.as_deref(), Some("5"), "an action runs once, whatever crashes");
    }
}

pub(super) async fn an_action_that_was_cut_short_is_undone_whether_or_not_it_took_effect<W: World>(world: &mut W) {
    let one = step(1, 0);
    for moment in 0..CUTS {
        let subject = Subject::fresh(world).await;
        let run = one.run(Direction::Forward, 1, subject.world.add("k", 5, None));
        cut_short(moment, subject.resource.act(one.id.clone(), run, CancellationToken::new())).await;
        let mut server = Server::restart(subject).await;
        let undo = server.subject.world.add("k", -5, None);
        let outcome = server.compensate(&one, 1, undo).await;
        assert!(!matches!(outcome, StepOutcome::Refused(_)), "what may be in effect is undone: {outcome:?}");
        let left = server.subject.value("k").await;
        assert!(matches!(left.as_deref(), None | Some("0")), "nothing of it is left, not {left:?}");
    }
}
