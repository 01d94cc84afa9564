//! Sagas that steps join while they go on.

use super::check;
use crate::sagas::{RETRY, refused, step};
use crate::script::{Script, attempt_number, done, prepared, tx};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use undoubt_coordinator_core::{
    Beginning, Client, Completions, Input, Joining, Request, StepResolution, Terms, Timer, Unfinished,
};
use undoubt_vocabulary::saga::CHECK_BACK;
use undoubt_vocabulary::{
    Abilities, AttemptNumber, BranchOutcome, Direction, RefusalCode, RetryPolicy, SagaStep, StepIndex,
};

const ACTION: Direction = Direction::Forward;
const COMPENSATION: Direction = Direction::Compensating;
const COMPLETION: Direction = Direction::Completing;
const DEADLINE: Timer = Timer::Deadline { after: Duration::from_secs(5) };

/// A step whose action the coordinator runs, with a compensation and a completion.
pub fn acting(name: &str) -> SagaStep {
    SagaStep { completion: Some(Bytes::from_static(b"confirm")), ..step(name, &[]) }
}

/// A step whose caller acts himself.
pub fn elsewhere(name: &str) -> SagaStep {
    SagaStep { action: None, ..acting(name) }
}

impl Script {
    fn begin(&mut self, client: u64, completions: Completions) {
        self.begin_with(client, completions, None);
    }

    /// Begins one that asks `a` when its time is over.
    fn begin_asking(&mut self, client: u64) {
        let question =
            SagaStep { compensation: None, name: CHECK_BACK.parse().expect("a valid name"), ..step("a", &[]) };
        self.begin_with(client, Completions::Together, Some(Arc::new(question)));
    }

    fn begin_with(&mut self, client: u64, completions: Completions, check_back: Option<Arc<SagaStep>>) {
        let asking = if check_back.is_some() { ", with a check-back" } else { "" };
        let beginning = Beginning {
            tx: tx("T1"),
            digest: [1; 32],
            terms: Terms { completions },
            owner: None,
            check_back,
            parent: None,
            timeout: Duration::from_secs(5),
            client: Client(client),
        };
        self.tell(&format!("client {client} begins T1{asking}"), Input::Request(Request::Begin(beginning)));
    }

    /// Lets a step join; with `wait` it is a run.
    fn join(&mut self, client: u64, step: SagaStep, wait: bool) {
        self.join_as(client, step, 1, wait);
    }

    fn join_as(&mut self, client: u64, step: SagaStep, content: u8, wait: bool) {
        let what = if wait { "runs" } else { "lets join" };
        let line = format!("client {client} {what} {} in T1, content {content}", step.name);
        let joining = Joining { tx: tx("T1"), step, digest: [content; 32], client: Client(client), wait };
        self.tell(&line, Input::Request(Request::Join(Box::new(joining))));
    }

    fn ask_to_close(&mut self, client: u64, wait: bool) {
        let waits = if wait { ", and waits" } else { "" };
        let request = Request::Close { tx: tx("T1"), client: Client(client), wait };
        self.tell(&format!("client {client} closes T1{waits}"), Input::Request(request));
    }

    fn lapses(&mut self, attempt: u32) {
        let (step, after) = (StepIndex(0), RETRY.attempt_timeout);
        self.fire("T1", SAGA, Timer::Attempt { step, direction: ACTION, attempt, after });
    }

    fn pause_is_over(&mut self, direction: Direction, attempt: u32) {
        let RetryPolicy { first_pause, max_pause, .. } = RETRY;
        self.fire("T1", SAGA, Timer::StepRetry { step: StepIndex(0), direction, attempt, first_pause, max_pause });
    }
}

/// The saga's own attempt number, and those of the participants in the order in which they were joined.
const SAGA: AttemptNumber = AttemptNumber(1 << 40);
const FIRST: AttemptNumber = AttemptNumber((1 << 40) + 1);
const SECOND: AttemptNumber = AttemptNumber((1 << 40) + 2);

/// Begun, and that is stable.
fn begun(completions: Completions) -> Script {
    assert_eq!(SAGA, attempt_number(1, 0));
    let mut script = Script::new();
    script.begin(1, completions);
    script.stable();
    script
}

/// One step has run at `a`, and one joined at `b` whose caller acts himself; all that is stable.
fn with_two_steps(completions: Completions) -> Script {
    let mut script = begun(completions);
    script.join(2, acting("a"), true);
    script.stable();
    script.acted("a", "T1", FIRST, 0, "x=1");
    script.join(3, elsewhere("b"), false);
    script.all_stable();
    script
}

#[test]
fn an_open_saga_is_closed_and_completed() {
    let mut script = Script::new();
    script.begin(1, Completions::Together);
    script.begin(2, Completions::Together);
    script.ask_to_close(3, true);
    script.stable();
    script.begin(3, Completions::Together);
    script.join(4, acting("a"), true);
    script.show("T1");
    script.ask_to_close(5, true);
    script.stable();
    script.join(5, acting("a"), false);
    script.acted("a", "T1", FIRST, 0, "x=1");
    script.join(6, elsewhere("b"), false);
    script.all_stable();
    script.join(7, acting("a"), true);
    script.show("T1");
    script.ask_to_close(8, true);
    script.show("T1");
    script.stable();
    script.show("T1");
    script.ran("b", "T1", SECOND, (1, COMPLETION, 1), done(""));
    script.ask_to_close(9, false);
    script.ran("a", "T1", FIRST, (0, COMPLETION, 1), done(""));
    script.all_stable();
    script.ask_to_close(10, true);
    script.join(11, acting("a3"), true);
    check("open", &script.text);
}

#[test]
fn a_cancelled_open_saga_goes_back_in_reverse_order_and_whoever_closes_it_hears_that() {
    let mut script = with_two_steps(Completions::Together);
    script.join(4, acting("a3"), true);
    script.cancel(5, "T1");
    script.join(6, acting("b4"), true);
    script.ask_to_close(7, true);
    script.all_stable();
    script.show("T1");
    script.compensated("a", "T1", FIRST, 2);
    script.ran("b", "T1", SECOND, (1, COMPENSATION, 1), done(""));
    script.compensated("a", "T1", FIRST, 0);
    script.all_stable();
    script.cancel(8, "T1");
    check("open-cancelled", &script.text);
}

#[test]
fn the_deadline_of_an_open_saga_turns_it_back_unless_it_was_closed_before() {
    let mut script = with_two_steps(Completions::Together);
    script.fire("T1", SAGA, DEADLINE);
    script.ask_to_close(4, true);
    script.stable();
    check("open-deadline", &script.text);
    let mut script = with_two_steps(Completions::Together);
    script.ask_to_close(4, false);
    script.cancel(5, "T1");
    script.fire("T1", SAGA, DEADLINE);
    script.stable();
    check("open-deadline-late", &script.text);
}

#[test]
fn a_refused_run_is_told_once_it_is_on_record_and_the_saga_goes_on() {
    let mut script = begun(Completions::Together);
    script.join(2, acting("a"), true);
    script.stable();
    script.ran("a", "T1", FIRST, (0, ACTION, 1), refused(RefusalCode::Condition));
    script.join(3, acting("a"), true);
    script.show("T1");
    script.stable();
    script.join(4, acting("a"), true);
    script.join_as(5, acting("a"), 2, true);
    script.acted("a", "T1", FIRST, 0, "late");
    script.ask_to_close(6, true);
    script.stable();
    check("open-refused", &script.text);
}

#[test]
fn a_run_that_is_not_answered_keeps_the_saga_from_being_closed_until_it_is_run_again() {
    let mut script = begun(Completions::Together);
    script.join(2, acting("a"), true);
    script.stable();
    script.lapses(1);
    script.pause_is_over(ACTION, 1);
    script.lapses(2);
    script.show("T1");
    script.ask_to_close(3, true);
    script.join(4, acting("a"), true);
    script.ran("a", "T1", FIRST, (0, ACTION, 1), refused(RefusalCode::Condition));
    script.ran("a", "T1", FIRST, (0, ACTION, 2), done("x=1"));
    script.ask_to_close(5, true);
    check("open-unanswered", &script.text);
}

#[test]
fn a_run_that_is_repeated_has_all_its_attempts_anew() {
    let mut script = begun(Completions::Together);
    script.join(2, acting("a"), true);
    script.stable();
    script.lapses(1);
    script.pause_is_over(ACTION, 1);
    script.lapses(2);
    script.join(3, acting("a"), true);
    script.lapses(3);
    script.pause_is_over(ACTION, 3);
    script.lapses(4);
    script.join(4, acting("a"), true);
    script.ran("a", "T1", FIRST, (0, ACTION, 5), done("x=1"));
    script.ask_to_close(5, true);
    check("open-unanswered-twice", &script.text);
}

#[test]
fn a_completion_that_is_refused_for_good_waits_for_an_operator() {
    for resolution in [StepResolution::Retry, StepResolution::Skip, StepResolution::Done] {
        let mut script = with_two_steps(Completions::AsJoined);
        script.ask_to_close(4, true);
        script.stable();
        script.ran("a", "T1", FIRST, (0, COMPLETION, 1), refused(RefusalCode::Condition));
        script.pause_is_over(COMPLETION, 1);
        script.ran("a", "T1", FIRST, (0, COMPLETION, 2), refused(RefusalCode::Condition));
        script.cancel(5, "T1");
        script.show("T1");
        script.resolve(6, "T1", "a", resolution);
        script.stable();
        script.show("T1");
        check(&format!("open-stuck-{resolution}"), &script.text);
    }
}

#[test]
fn completions_run_one_by_one_where_the_terms_say_so() {
    let mut script = with_two_steps(Completions::Reversed);
    script.ask_to_close(4, true);
    script.stable();
    script.ran("b", "T1", SECOND, (1, COMPLETION, 1), done(""));
    script.ran("a", "T1", FIRST, (0, COMPLETION, 1), done(""));
    script.all_stable();
    check("open-reversed", &script.text);
}

#[test]
fn a_participant_that_is_joined_late_knows_the_saga_by_a_number_that_no_mark_has_passed() {
    let mut script = begun(Completions::Together);
    script.submit(2, "T2", 1, &["a", "b"]);
    script.vote("a", "T2", FIRST, prepared(""));
    script.vote("b", "T2", FIRST, prepared(""));
    script.stable();
    script.finished("a", "T2", FIRST, BranchOutcome::Committed);
    script.finished("b", "T2", FIRST, BranchOutcome::Committed);
    script.stable();
    script.join(3, acting("a"), true);
    script.show("T1");
    script.stable();
    script.acted("a", "T1", SAGA, 0, "of another");
    script.acted("a", "T1", SECOND, 0, "x=1");
    check("open-late", &script.text);
}

impl Script {
    /// A transaction of one branch at each, under this attempt number, from its beginning to its end.
    fn pass(&mut self, client: u64, id: &str, attempt_number: AttemptNumber) {
        self.submit(client, id, 1, &["a", "b"]);
        for name in ["a", "b"] {
            self.vote(name, id, attempt_number, prepared(""));
        }
        self.stable();
        for name in ["a", "b"] {
            self.finished(name, id, attempt_number, BranchOutcome::Committed);
        }
        self.stable();
    }
}

/// One step has run at `a`, low-water marks have passed it, and another has joined there.
fn passed() -> Script {
    let mut script = Script::passing(0);
    script.begin(1, Completions::Together);
    script.stable();
    script.join(2, acting("a"), true);
    script.stable();
    script.acted("a", "T1", FIRST, 0, "x=1");
    script.stable();
    script.show("T1");
    script.pass(3, "T2", SECOND);
    script.show("T1");
    script.join(4, acting("a2"), true);
    script.stable();
    script.acted("a", "T1", FIRST, 1, "x=2");
    script.stable();
    script.show("T1");
    script
}

#[test]
fn low_water_marks_pass_an_open_saga_that_is_old_and_say_that_it_is_still_open_until_it_has_ended() {
    let mut script = passed();
    script.ask_to_close(5, true);
    script.stable();
    for step in 0..2 {
        script.ran("a", "T1", FIRST, (step, COMPLETION, 1), done(""));
    }
    script.show("T1");
    script.all_stable();
    script.show_low_water_marks();
    check("open-passed", &script.text);
}

#[test]
fn a_participant_that_keeps_nothing_below_a_low_water_mark_is_told_one_that_waits_for_the_saga() {
    let mut script = passed();
    let abilities = Abilities { still_open: false, ..Abilities::ALL };
    script.connect_with("a", "keeps nothing below a low-water mark", abilities);
    script.show("T1");
    script.pass(6, "T3", attempt_number(1, 3));
    script.show("T1");
    script.connect("a");
    script.show("T1");
    check("open-not-passed", &script.text);
}

#[test]
fn after_a_crash_what_the_low_water_mark_had_passed_is_still_open() {
    let script = passed();
    let stored = script.stored("T1").expect("it is on record");
    let mut script = Script::recovering(2, &[stored]);
    script.tell("the log is read", Input::RecoveryDone { paused: false });
    script.connect("a");
    script.connect("b");
    script.show("T1");
    script.cancel(7, "T1");
    script.stable();
    for step in [1, 0] {
        script.compensated("a", "T1", FIRST, step);
    }
    script.show("T1");
    script.all_stable();
    script.show_low_water_marks();
    check("open-crash-passed", &script.text);
}

#[test]
fn a_drain_leaves_an_idle_saga_to_the_next_start() {
    let mut script = with_two_steps(Completions::Together);
    script.tell("the coordinator is drained", Input::Drain);
    script.join(4, acting("a3"), true);
    script.join(5, acting("a"), true);
    assert_eq!(script.view().idle(), 1, "nothing of it goes on by itself");
    script.ask_to_close(6, true);
    assert_eq!(script.view().idle(), 0, "its completions do");
    check("open-drained", &script.text);
}

#[test]
fn a_crash_after_each_record_leaves_what_goes_on() {
    for (name, ends) in [("open-crash-closed", true), ("open-crash-cancelled", false)] {
        let mut script = Script::new();
        let mut found: Vec<Unfinished> = Vec::new();
        let each_stable = |script: &mut Script, found: &mut Vec<Unfinished>| {
            while script.unstable() > 0 {
                script.stable();
                found.extend(script.stored("T1"));
            }
        };
        script.begin(1, Completions::Together);
        each_stable(&mut script, &mut found);
        script.join(2, acting("a"), true);
        each_stable(&mut script, &mut found);
        script.acted("a", "T1", FIRST, 0, "x=1");
        script.join(3, elsewhere("b"), false);
        each_stable(&mut script, &mut found);
        script.join(4, acting("a3"), true);
        each_stable(&mut script, &mut found);
        script.ran("a", "T1", FIRST, (2, ACTION, 1), refused(RefusalCode::Condition));
        each_stable(&mut script, &mut found);
        if ends {
            script.ask_to_close(5, true)
        } else {
            script.cancel(5, "T1")
        }
        each_stable(&mut script, &mut found);
        let direction = if ends { COMPLETION } else { COMPENSATION };
        script.ran("b", "T1", SECOND, (1, direction, 1), done(""));
        each_stable(&mut script, &mut found);
        let mut text = String::new();
        for unfinished in found {
            let mut script = Script::recovering(2, &[unfinished]);
            script.tell("the log is read", Input::RecoveryDone { paused: false });
            script.connect("a");
            script.connect("b");
            script.join(6, acting("a3"), true);
            script.show("T1");
            text.push_str(&script.text);
            text.push('\n');
        }
        check(name, &text);
    }
}

/// A step that cannot be undone, and that an operator called done too early, is left as it is, as it would have been without the crash.
#[test]
fn a_crash_does_not_have_a_step_undone_that_cannot_be() {
    let mut script = begun(Completions::Together);
    script.join(2, SagaStep { compensation: None, ..elsewhere("a") }, false);
    script.resolve(3, "T1", "a", StepResolution::Done);
    script.join(4, elsewhere("b"), false);
    script.all_stable();
    script.cancel(5, "T1");
    script.stable();
    let stored = script.stored("T1").expect("it is open");
    let mut script = Script::recovering(2, &[stored]);
    script.tell("the log is read", Input::RecoveryDone { paused: false });
    script.connect("a");
    script.connect("b");
    script.show("T1");
    check("open-crash-done", &script.text);
}

/// It is held, and what was decided on record stays so.
#[test]
fn a_record_that_is_refused_after_the_close_leaves_the_close_as_it_is() {
    let mut script = with_two_steps(Completions::Together);
    script.ask_to_close(4, true);
    script.stable();
    script.ran("a", "T1", FIRST, (0, COMPLETION, 1), done(""));
    let refused = Input::NotAppended {
        tx: tx("T1"),
        attempt_number: SAGA,
        stage: undoubt_coordinator_core::Stage::Stepped,
        cause: "the store refuses it".into(),
    };
    script.tell("refused: T1 Stepped", refused);
    script.forget(5, "T1");
    check("open-not-recorded", &script.text);
}

/// Returns a saga with a check-back and a step at `b`, whose time is over, and which has asked.
fn asking() -> Script {
    let mut script = Script::new();
    script.begin_asking(1);
    script.stable();
    script.join(2, elsewhere("b"), false);
    script.stable();
    script.fire("T1", SAGA, DEADLINE);
    script.stable();
    script
}

#[test]
fn a_saga_whose_check_back_finds_that_all_is_done_is_closed() {
    let mut script = asking();
    script.ran("a", "T1", SECOND, (1, ACTION, 1), done("yes"));
    script.stable();
    script.ran("b", "T1", FIRST, (0, COMPLETION, 1), done(""));
    script.all_stable();
    check("open-asked-done", &script.text);
}

#[test]
fn a_saga_whose_check_back_finds_that_it_failed_is_turned_back() {
    let mut script = asking();
    script.ran("a", "T1", SECOND, (1, ACTION, 1), refused(RefusalCode::Condition));
    script.stable();
    script.ran("b", "T1", FIRST, (0, COMPENSATION, 1), done(""));
    script.all_stable();
    check("open-asked-failed", &script.text);
}

#[test]
fn a_check_back_that_is_not_answered_or_tells_nothing_yet_is_asked_again_also_after_a_crash() {
    let mut script = asking();
    script.ran("a", "T1", SECOND, (1, ACTION, 1), refused(RefusalCode::Unavailable));
    script.ran("a", "T1", SECOND, (1, ACTION, 1), refused(RefusalCode::InvalidWork));
    let stored = script.stored("T1").expect("it is open");
    let mut again = Script::recovering(2, &[stored]);
    again.tell("the log is read", Input::RecoveryDone { paused: false });
    again.connect("a");
    again.connect("b");
    again.fire("T1", SAGA, Timer::Deadline { after: Duration::ZERO });
    again.show("T1");
    again.ran("a", "T1", SECOND, (1, ACTION, 1), done("yes"));
    again.stable();
    check("open-asked-later", &format!("{}\n{}", script.text, again.text));
}

#[test]
fn a_close_or_a_cancellation_comes_before_what_a_check_back_finds() {
    for (name, closes) in [("open-asked-closed", true), ("open-asked-cancelled", false)] {
        let mut script = asking();
        if closes {
            script.ask_to_close(3, true)
        } else {
            script.cancel(3, "T1")
        }
        script.ran("a", "T1", SECOND, (1, ACTION, 1), refused(RefusalCode::Condition));
        script.stable();
        script.ran("a", "T1", SECOND, (1, ACTION, 1), done("yes"));
        let direction = if closes { COMPLETION } else { COMPENSATION };
        script.ran("b", "T1", FIRST, (0, direction, 1), done(""));
        script.all_stable();
        check(name, &script.text);
    }
}

/// A branch of what is committed in two phases once it is closed.
fn branch(name: &str) -> SagaStep {
    SagaStep { compensation: None, ..elsewhere(name) }
}

fn with_two_branches() -> Script {
    let mut script = begun(Completions::TwoPhase);
    script.join(2, branch("a"), false);
    script.join(3, branch("b"), false);
    script.all_stable();
    script
}

#[test]
fn branches_that_joined_are_committed_in_two_phases_once_it_is_closed() {
    let mut script = with_two_branches();
    script.join(4, acting("c"), false);
    script.join(4, SagaStep { name: "a2".parse().expect("a valid name"), ..branch("a") }, false);
    script.show("T1");
    script.ask_to_close(5, true);
    script.show("T1");
    script.join(6, branch("c"), false);
    script.begin(7, Completions::TwoPhase);
    script.ask_to_close(8, true);
    script.vote("a", "T1", FIRST, prepared("x=1"));
    script.vote("b", "T1", FIRST, prepared("y=1"));
    script.stable();
    script.finished("a", "T1", FIRST, BranchOutcome::Committed);
    script.finished("b", "T1", FIRST, BranchOutcome::Committed);
    script.stable();
    check("open-two-phase", &script.text);
}

#[test]
fn an_open_two_phase_commit_that_is_cancelled_or_whose_time_is_over_is_recorded_as_aborted_before_anybody_hears_of_it()
{
    for (name, cancels) in [("open-two-phase-cancelled", true), ("open-two-phase-overdue", false)] {
        let mut script = with_two_branches();
        script.resolve(4, "T1", "a", StepResolution::Done);
        script.forget(4, "T1");
        if cancels {
            script.cancel(5, "T1");
        } else {
            script.fire("T1", SAGA, DEADLINE);
        }
        script.ask_to_close(6, true);
        script.stable();
        check(name, &script.text);
    }
}

#[test]
fn an_open_two_phase_commit_whose_close_a_crash_took_back_is_open_again_and_what_was_prepared_is_aborted() {
    let mut script = with_two_branches();
    script.ask_to_close(4, true);
    script.vote("a", "T1", FIRST, prepared("x=1"));
    let stored = script.stored("T1").expect("it is open");
    let mut again = Script::recovering(2, &[stored]);
    again.tell("the log is read", Input::RecoveryDone { paused: false });
    again.connect("a");
    again.connect("b");
    again.inquiry("a", "T1", FIRST);
    again.show("T1");
    again.ask_to_close(5, true);
    check("open-two-phase-crash", &format!("{}\n{}", script.text, again.text));
}

#[test]
fn what_belongs_to_no_attempt_yet_is_undecided_while_its_transaction_is_open_and_aborted_for_certain_once_it_is_over() {
    let mut script = with_two_branches();
    script.inquiry("a", "T1", AttemptNumber::NONE);
    // It may be about to join.
    script.inquiry("c", "T1", AttemptNumber::NONE);
    script.ask_to_close(4, true);
    script.inquiry("a", "T1", AttemptNumber::NONE);
    script.vote("a", "T1", FIRST, crate::script::refused(RefusalCode::Condition));
    script.stable();
    script.inquiry("c", "T1", AttemptNumber::NONE);
    script.inquiry("a", "T2", AttemptNumber::NONE);
    check("open-two-phase-unsubmitted", &script.text);
}

#[test]
fn an_open_two_phase_commit_that_nobody_joined_is_over_when_it_is_closed() {
    let mut script = begun(Completions::TwoPhase);
    script.ask_to_close(2, true);
    script.stable();
    check("open-two-phase-empty", &script.text);
}
