//! What becomes of a saga's steps.

use super::check;
use crate::script::{
    COORDINATOR, LARGEST_KEPT_BYTES, Script, attempt_number, branch, coordinator, outcome_words, prepared, tx,
};
use bytes::Bytes;
use std::time::Duration;
use undoubt_participant_core::{Input, Kept, Limits, Participant, Recovered, StepId, StepState, Trust};
use undoubt_vocabulary::{
    AttemptNumber, Direction, Execution, LowWaterMark, Refusal, RefusalCode, RunStep, StepIndex, StepOutcome,
    Timestamp, ToParticipant, Vote,
};

pub fn step(attempt_number: AttemptNumber, step: u16) -> StepId {
    StepId { coordinator: COORDINATOR, attempt_number, step: StepIndex(step), tx: tx("S1") }
}

pub fn run(attempt_number: AttemptNumber, step: u16, direction: Direction, attempt: u32) -> RunStep {
    RunStep {
        tx: tx("S1"),
        attempt_number,
        step: StepIndex(step),
        direction,
        acted_elsewhere: false,
        check_back: false,
        attempt,
        begun_at: Timestamp(1_000_000),
        timeout: Duration::from_secs(5),
        work: Bytes::from_static(b"work"),
        inputs: Vec::new(),
    }
}

pub fn did() -> StepOutcome {
    StepOutcome::Done { result: Bytes::from_static(b"x=1"), pending: false }
}

pub fn did_pending() -> StepOutcome {
    StepOutcome::Done { result: Bytes::from_static(b"x=1"), pending: true }
}

pub fn refused() -> StepOutcome {
    StepOutcome::Refused(Refusal::new(RefusalCode::LockConflict, "because"))
}

/// All of saga S1, whose attempt number is 1.0.
impl Script {
    pub fn act(&mut self, index: u16, attempt: u32) {
        self.hear(1, ToParticipant::Run(run(attempt_number(1, 0), index, Direction::Forward, attempt)));
    }

    pub fn compensate(&mut self, index: u16, attempt: u32) {
        self.hear(1, ToParticipant::Run(run(attempt_number(1, 0), index, Direction::Compensating, attempt)));
    }

    pub fn close(&mut self) {
        self.hear(1, ToParticipant::Close { tx: tx("S1"), attempt_number: attempt_number(1, 0) });
    }

    pub fn acted(&mut self, index: u16, outcome: StepOutcome) {
        let line = format!("action S1/{}/{index} ran: {}", attempt_number(1, 0), outcome_words(&outcome));
        self.tell(&line, Input::ActionRan { step: step(attempt_number(1, 0), index), outcome });
    }

    pub fn compensated(&mut self, index: u16, outcome: StepOutcome) {
        let line = format!("compensation S1/{}/{index} ran: {}", attempt_number(1, 0), outcome_words(&outcome));
        self.tell(&line, Input::StepFinished { step: step(attempt_number(1, 0), index), outcome });
    }

    pub fn emptied(&mut self, index: u16) {
        let line = format!("that S1/{}/{index} is empty is durable", attempt_number(1, 0));
        self.tell(&line, Input::EmptyStored { step: step(attempt_number(1, 0), index) });
    }

    pub fn closed(&mut self) {
        let (attempt_number, tx) = (attempt_number(1, 0), tx("S1"));
        let line = format!("the end of saga {tx}/{attempt_number} is durable");
        self.tell(&line, Input::SagaClosed { coordinator: COORDINATOR, attempt_number, tx });
    }
}

#[test]
fn an_action_that_comes_again_is_done_once_and_answered_each_time() {
    let mut script = Script::new();
    script.act(0, 1);
    script.act(0, 1);
    script.act(0, 3);
    script.act(0, 2);
    script.acted(0, did());
    script.act(0, 1);
    script.act(0, 4);
    check("step-twice", &script.text);
}

#[test]
fn a_refused_action_runs_again_at_a_higher_attempt_only() {
    let mut script = Script::new();
    script.act(0, 2);
    script.acted(0, refused());
    script.act(0, 1);
    script.act(0, 2);
    script.act(0, 3);
    script.acted(0, did());
    check("step-refused", &script.text);
}

#[test]
fn a_coordinator_that_has_restarted_is_refused_nothing_for_attempts_of_its_former_life() {
    let mut script = Script::new();
    script.act(0, 3);
    script.acted(0, refused());
    script.act(1, 1);
    script.acted(1, did());
    script.compensate(1, 3);
    script.compensated(1, refused());
    script.act(2, 3);
    script.hello(2, 2);
    script.epoch_recorded(2);
    script.acted(2, refused());
    for (index, direction, attempt) in
        [(0, Direction::Forward, 1), (1, Direction::Compensating, 1), (2, Direction::Forward, 2)]
    {
        script.hear(2, ToParticipant::Run(run(attempt_number(1, 0), index, direction, attempt)));
    }
    check("step-attempts-anew", &script.text);
}

#[test]
fn a_compensation_undoes_what_is_in_effect_once_and_is_given_its_result() {
    let mut script = Script::new();
    script.act(0, 1);
    script.acted(0, did_pending());
    script.compensate(0, 1);
    script.compensate(0, 1);
    script.act(0, 1);
    script.compensated(0, refused());
    script.compensate(0, 1);
    script.act(0, 1);
    script.compensate(0, 2);
    script.compensate(0, 3);
    script.compensated(0, did());
    script.compensate(0, 1);
    script.act(0, 9);
    check("step-compensated", &script.text);
}

#[test]
fn a_compensation_before_its_action_is_empty_and_the_action_is_late() {
    let mut script = Script::new();
    script.compensate(0, 1);
    script.act(0, 1);
    script.compensate(0, 2);
    script.emptied(0);
    script.compensate(0, 1);
    script.act(0, 2);
    check("step-empty", &script.text);
}

#[test]
fn a_compensation_waits_for_the_end_of_an_action_under_way_and_undoes_it() {
    let mut script = Script::new();
    script.act(0, 1);
    script.compensate(0, 1);
    script.compensate(0, 2);
    script.compensate(0, 1);
    script.act(0, 2);
    script.acted(0, did());
    script.compensated(0, did());
    check("step-overtaken", &script.text);
}

#[test]
fn a_compensation_of_an_action_that_is_refused_in_the_end_is_empty() {
    let mut script = Script::new();
    script.act(0, 1);
    script.compensate(0, 1);
    script.acted(0, refused());
    script.emptied(0);
    script.act(0, 2);
    check("step-overtaken-refused", &script.text);
}

#[test]
fn a_saga_closes_when_nothing_of_it_is_under_way_and_nothing_begins_after() {
    let mut script = Script::new();
    script.act(0, 1);
    script.acted(0, did_pending());
    script.act(1, 1);
    script.close();
    script.close();
    script.act(2, 1);
    script.acted(1, refused());
    script.close();
    script.closed();
    script.close();
    script.act(0, 1);
    script.act(1, 2);
    script.compensate(0, 1);
    check("saga-closes", &script.text);
}

#[test]
fn a_saga_without_semantic_locks_closes_at_once() {
    let mut script = Script::new();
    script.close();
    script.act(0, 1);
    script.low_water_mark(attempt_number(1, 1));
    script.close();
    check("saga-closes-at-once", &script.text);
}

#[test]
fn barriers_below_the_low_water_mark_are_dropped_and_what_comes_later_is_late() {
    let mut script = Script::new();
    script.act(0, 1);
    script.acted(0, did());
    script.act(1, 1);
    script.low_water_mark(attempt_number(1, 0));
    script.low_water_mark(attempt_number(1, 1));
    script.act(0, 1);
    script.compensate(0, 1);
    script.acted(1, did());
    script.low_water_mark(attempt_number(1, 2));
    check("step-below-low-water-mark", &script.text);
}

#[test]
fn what_is_still_open_below_the_low_water_mark_goes_on_and_is_dropped_once_it_is_over() {
    let mut script = Script::new();
    let passed = |below| LowWaterMark::new(attempt_number(1, below), [attempt_number(1, 0)]);
    script.act(0, 1);
    script.acted(0, did());
    script.low_water_mark(passed(5));
    script.act(0, 1);
    script.act(1, 1);
    script.low_water_mark(passed(6));
    script.acted(1, did());
    script.low_water_mark(attempt_number(1, 0));
    script.act(1, 1);
    script.low_water_mark(attempt_number(1, 6));
    script.act(1, 1);
    script.low_water_mark(passed(7));
    script.compensate(0, 1);
    check("step-still-open", &script.text);
}

#[test]
fn what_was_still_open_before_a_restart_is_open_after_it_and_what_was_over_is_not() {
    let (mut script, t) = (Script::empty(), attempt_number(1, 0));
    script.recovered("epoch 1", coordinator(1, LowWaterMark::new(attempt_number(1, 5), [t])));
    let acted = StepState::Acted { result: Kept::Here(Bytes::from_static(b"x=1")), pending: false };
    script.recovered("S1/1.0/0 acted", Recovered::Step { step: step(t, 0), state: acted });
    script.hello(1, 1);
    script.act(0, 1);
    script.low_water_mark(LowWaterMark::new(attempt_number(1, 7), [t, attempt_number(1, 4), attempt_number(1, 6)]));
    script.act(0, 1);
    script.low_water_mark(attempt_number(1, 7));
    script.act(0, 1);
    check("step-still-open-recovery", &script.text);
}

#[test]
fn a_refusal_alone_leaves_nothing_to_drop_below_the_low_water_mark() {
    let mut script = Script::new();
    script.act(0, 1);
    script.acted(0, refused());
    script.low_water_mark(attempt_number(1, 1));
    check("step-refused-below-low-water-mark", &script.text);
}

#[test]
fn barriers_survive_a_restart() {
    let (mut script, t) = (Script::empty(), attempt_number(1, 0));
    script.recovered("epoch 1", coordinator(1, t));
    let acted = StepState::Acted { result: Kept::Here(Bytes::from_static(b"x=1")), pending: true };
    script.recovered("S1/1.0/0 acted, pending", Recovered::Step { step: step(t, 0), state: acted });
    script.recovered("S1/1.0/1 compensated", Recovered::Step { step: step(t, 1), state: StepState::Compensated });
    script.recovered("S1/1.0/2 empty", Recovered::Step { step: step(t, 2), state: StepState::Empty });
    script.hello(1, 1);
    for index in 0..3 {
        script.act(index, 1);
    }
    for index in 1..3 {
        script.compensate(index, 1);
    }
    script.close();
    script.closed();
    script.low_water_mark(t.next());
    check("step-recovery", &script.text);
}

#[test]
fn a_session_that_was_replaced_starts_nothing_and_the_next_one_hears_the_answer() {
    let mut script = Script::new();
    script.act(0, 1);
    script.hello(2, 1);
    script.hear(1, ToParticipant::Run(run(attempt_number(1, 0), 1, Direction::Forward, 1)));
    script.acted(0, did());
    check("step-session", &script.text);
}

#[test]
fn steps_under_way_count_as_open_and_a_compensation_is_never_refused_for_them() {
    let mut script = Script::new();
    script.act(0, 1);
    script.acted(0, did());
    for index in 1..9 {
        script.act(index, 1);
    }
    script.act(9, 1);
    script.prepare("T1", attempt_number(1, 1), Execution::TwoPhase);
    script.compensate(0, 1);
    script.compensated(0, did());
    script.acted(1, refused());
    script.act(9, 1);
    script.act(9, 2);
    check("step-limit", &script.text);
}

#[test]
fn a_branch_and_a_saga_under_one_id_know_nothing_of_each_other() {
    let mut script = Script::new();
    script.act(0, 1);
    script.prepare("S1", attempt_number(1, 1), Execution::TwoPhase);
    script.executed("S1", attempt_number(1, 1), prepared());
    script.acted(0, did());
    script.compensate(0, 1);
    script.commit("S1", attempt_number(1, 1));
    script.compensated(0, did());
    script.committed("S1", attempt_number(1, 1));
    check("step-beside-branch", &script.text);
}

#[test]
fn what_an_operator_has_committed_is_not_done_again_by_the_saga_that_takes_its_place() {
    let mut script = Script::new();
    script.prepare("S1", attempt_number(0, 9), Execution::TwoPhase);
    script.executed("S1", attempt_number(0, 9), prepared());
    script.resolve("S1", true);
    script.act(0, 1);
    script.resolved("S1", attempt_number(0, 9));
    script.act(0, 2);
    script.compensate(0, 1);
    script.emptied(0);
    check("step-after-heuristic-commit", &script.text);
}

#[test]
fn what_an_operator_has_aborted_the_saga_that_takes_its_place_does() {
    let mut script = Script::new();
    script.prepare("S1", attempt_number(0, 9), Execution::TwoPhase);
    script.executed("S1", attempt_number(0, 9), prepared());
    script.resolve("S1", false);
    script.resolved("S1", attempt_number(0, 9));
    script.act(0, 1);
    script.acted(0, did());
    check("step-after-heuristic-abort", &script.text);
}

#[test]
fn an_action_of_the_saga_that_takes_its_place_aborts_a_branch_in_doubt() {
    let mut script = Script::new();
    script.prepare("S1", attempt_number(0, 9), Execution::TwoPhase);
    script.executed("S1", attempt_number(0, 9), prepared());
    script.act(0, 1);
    script.resolve("S1", true);
    script.aborted("S1", attempt_number(0, 9));
    script.acted(0, did());
    check("step-after-branch-in-doubt", &script.text);
}

#[test]
fn a_long_result_of_what_is_over_is_left_with_the_resource_and_said_again() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    let result = Bytes::from(vec![b'x'; LARGEST_KEPT_BYTES + 1]);
    let did = StepOutcome::Done { result: result.clone(), pending: true };
    let vote = Vote::Committed { result: result.clone() };
    script.act(0, 1);
    script.acted(0, did);
    script.act(0, 2);
    let (id, attempt) = (step(t, 0), 2);
    let recalled = |id, attempt| Input::OutcomeRecalled { step: id, attempt, result: result.clone() };
    script.tell("what the action came to is recalled", recalled(id.clone(), attempt));
    script.compensate(0, 1);
    script.compensated(0, refused());
    script.compensate(0, 2);
    script.tell("what the action came to is recalled too late", recalled(id, attempt));
    script.prepare("T1", t, Execution::OnePhase);
    script.executed("T1", t, vote);
    script.prepare("T1", t, Execution::OnePhase);
    script.settle("T1", t);
    let recalled = || Input::VoteRecalled { branch: branch("T1", t), result: result.clone() };
    script.tell("what T1 voted is recalled", recalled());
    script.low_water_mark(t.next());
    script.tell("what T1 voted is recalled too late", recalled());
    check("long-results", &script.text);
}

#[test]
fn long_results_of_what_is_over_take_no_memory_and_those_of_what_is_open_do() {
    let mut participant =
        Participant::new(Limits { max_open_branches: 8, largest_kept_bytes: 1_024, trust: Trust::EVERYBODY });
    let mut effects = Vec::new();
    let result = || Bytes::from(vec![b'x'; 2_000]);
    let stored = StepState::Acted { result: Kept::Here(result()), pending: false };
    participant.handle_input(
        Input::Recovered(Recovered::Step { step: step(attempt_number(1, 0), 0), state: stored }),
        &mut effects,
    );
    let committed = Recovered::Committed { branch: branch("T1", attempt_number(1, 1)), result: Kept::Here(result()) };
    participant.handle_input(Input::Recovered(committed), &mut effects);
    assert_eq!((participant.kept_bytes(), participant.keeps_most_of()), (0, None));
    participant.handle_input(Input::Recovered(coordinator(1, attempt_number(1, 0))), &mut effects);
    let (branch, begun_at) = (branch("T2", attempt_number(1, 2)), Timestamp(1));
    participant
        .handle_input(Input::Recovered(Recovered::Prepared { branch, begun_at, result: result() }), &mut effects);
    let most = participant.keeps_most_of().map(|(known, bytes)| (known.id, known.low_water_mark, bytes));
    assert_eq!((participant.kept_bytes(), most), (2_000, Some((COORDINATOR, attempt_number(1, 0).into(), 2_000))));
}

#[test]
fn an_operator_releases_the_semantic_locks_of_a_saga_which_goes_on() {
    let mut script = Script::new();
    script.release("S1");
    script.act(0, 1);
    script.release("S1");
    script.acted(0, did_pending());
    script.act(1, 1);
    script.acted(1, did());
    script.release("S1");
    // A compensation that comes meanwhile is dropped: it comes again.
    script.compensate(1, 1);
    script.release("S1");
    script.close();
    script.released("S1", attempt_number(1, 0));
    script.release("S1");
    check("step-marks-released", &script.text);
}

/// An unclear action is asked for again by the next attempt and by no repetition, also after a restart, and is undone whether or not
/// it took effect.
#[test]
fn an_unclear_action_is_asked_again_and_undone_by_its_compensation() {
    let unclear = || StepOutcome::Refused(Refusal::new(RefusalCode::Unclear, "no answer"));
    let mut script = Script::new();
    script.act(0, 1);
    script.acted(0, unclear());
    script.act(0, 1);
    script.act(0, 2);
    script.acted(0, did());
    script.act(1, 1);
    script.acted(1, unclear());
    script.compensate(1, 1);
    script.compensated(1, refused());
    script.compensate(1, 2);
    script.compensated(1, StepOutcome::Done { result: Bytes::new(), pending: false });
    script.act(2, 1);
    script.compensate(2, 1);
    script.acted(2, unclear());
    check("step-unclear", &script.text);
    let mut script = Script::empty();
    for index in [0, 1, 2] {
        let (step, state) = (step(attempt_number(1, 0), index), StepState::Attempted);
        script.recovered(&format!("step S1/1.0/{index}, attempted"), Recovered::Step { step, state });
    }
    script.hello(1, 1);
    script.epoch_recorded(1);
    script.act(0, 1);
    script.acted(0, refused());
    script.compensate(1, 1);
    script.act(2, 1);
    // Nobody was asked.
    script.acted(2, StepOutcome::Refused(Refusal::new(RefusalCode::Unavailable, "no room")));
    script.compensate(2, 1);
    check("step-unclear-recovered", &script.text);
}
