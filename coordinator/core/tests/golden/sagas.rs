//! Sagas that are submitted as such.

use super::check;
use crate::script::{Run, Script, attempt_number, done, participant, tx};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use undoubt_coordinator_core::{Input, Progress, SagaRecord, StepResolution, Timer, Unfinished};
use undoubt_vocabulary::{
    AbortReason, AttemptNumber, Direction, Refusal, RefusalCode, RetryPolicy, SagaStep, StepIndex, StepOutcome,
    Timestamp, ToCoordinator,
};

pub const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 2,
    first_pause: Duration::from_millis(100),
    max_pause: Duration::from_secs(5),
    attempt_timeout: Duration::from_secs(3),
};

/// A step that can be undone. Its name is that of its participant, or begins with it.
pub fn step(name: &str, after: &[u16]) -> SagaStep {
    SagaStep {
        name: name.parse().expect("a valid name"),
        participant: participant(&name[..1]),
        action: Some(Bytes::from_static(b"do")),
        compensation: Some(Bytes::from_static(b"undo")),
        completion: None,
        after: after.iter().copied().map(StepIndex).collect(),
        uses: Vec::new(),
        pivot: false,
        retry: RETRY,
    }
}

fn retriable(name: &str, after: &[u16]) -> SagaStep {
    SagaStep { compensation: None, ..step(name, after) }
}

fn pivot(name: &str, after: &[u16]) -> SagaStep {
    SagaStep { pivot: true, ..retriable(name, after) }
}

fn using(step: SagaStep, uses: &[u16]) -> SagaStep {
    SagaStep { uses: uses.iter().copied().map(StepIndex).collect(), ..step }
}

pub fn refused(code: RefusalCode) -> StepOutcome {
    StepOutcome::Refused(Refusal::new(code, "because"))
}

const ACTION: Direction = Direction::Forward;
const COMPENSATION: Direction = Direction::Compensating;
const DEADLINE: Timer = Timer::Deadline { after: Duration::from_secs(5) };

impl Script {
    pub fn lapse(&mut self, t: AttemptNumber, (step, direction, attempt): Run) {
        self.fire("T1", t, Timer::Attempt { step: StepIndex(step), direction, attempt, after: RETRY.attempt_timeout });
    }

    pub fn pause_over(&mut self, t: AttemptNumber, (step, direction, attempt): Run) {
        let RetryPolicy { first_pause, max_pause, .. } = RETRY;
        self.fire("T1", t, Timer::StepRetry { step: StepIndex(step), direction, attempt, first_pause, max_pause });
    }

    /// Refused as often as the policy allows.
    fn refuse_all(&mut self, from: &str, t: AttemptNumber, step: u16, direction: Direction) {
        for attempt in 1..=RETRY.max_attempts {
            self.ran(from, "T1", t, (step, direction, attempt), refused(RefusalCode::Condition));
            if attempt < RETRY.max_attempts {
                self.pause_over(t, (step, direction, attempt));
            }
        }
    }
}

/// Submitted, and its beginning is stable.
fn begun(steps: &[SagaStep]) -> (Script, AttemptNumber) {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit_saga(1, "T1", steps);
    script.stable();
    (script, t)
}

fn record(compensating: Option<AbortReason>, steps: &[SagaStep], progress: &[Progress]) -> Unfinished {
    Unfinished::Saga(SagaRecord {
        tx: tx("T1"),
        attempt_number: attempt_number(1, 0),
        begun_at: Timestamp(1_000_000),
        digest: [1; 32],
        deadline: Timestamp(6_000_000),
        steps: steps.iter().cloned().map(Arc::new).collect(),
        compensating,
        progress: progress.to_vec(),
    })
}

fn is_done(result: &'static str) -> Progress {
    Progress::Done { result: Bytes::from_static(result.as_bytes()), pending: false }
}

#[test]
fn a_saga_of_two_steps_is_carried_out() {
    let (mut script, t) = begun(&[step("a", &[]), step("b", &[0])]);
    script.show("T1");
    script.acted("a", "T1", t, 0, "x=1");
    script.submit_saga(2, "T1", &[step("a", &[]), step("b", &[0])]);
    script.acted("b", "T1", t, 1, "y=2");
    script.show("T1");
    script.all_stable();
    script.submit_saga(3, "T1", &[step("a", &[]), step("b", &[0])]);
    script.hear("a", ToCoordinator::Closed { tx: tx("T1"), attempt_number: t });
    script.acted("a", "T1", t, 0, "x=1");
    check("saga", &script.text);
}

#[test]
fn a_step_that_uses_a_result_waits_until_that_is_on_record() {
    let (mut script, t) = begun(&[step("a", &[]), using(step("b", &[0]), &[0])]);
    script.acted("a", "T1", t, 0, "x=1");
    script.stable();
    script.ran("b", "T1", t, (1, ACTION, 1), refused(RefusalCode::Condition));
    script.stable();
    check("saga-uses-results", &script.text);
}

#[test]
fn a_definite_refusal_compensates_and_what_was_done_is_undone_in_reverse() {
    let (mut script, t) = begun(&[step("a", &[]), step("b", &[0]), step("a3", &[1])]);
    script.acted("a", "T1", t, 0, "x=1");
    script.acted("b", "T1", t, 1, "y=2");
    script.ran("a", "T1", t, (2, ACTION, 1), refused(RefusalCode::Condition));
    script.show("T1");
    script.all_stable();
    script.show("T1");
    script.compensated("b", "T1", t, 1);
    script.compensated("a", "T1", t, 0);
    script.all_stable();
    check("saga-refused", &script.text);
}

#[test]
fn steps_without_an_order_run_side_by_side_and_are_undone_side_by_side() {
    let (mut script, t) = begun(&[step("a", &[]), step("b", &[]), step("a3", &[0, 1])]);
    script.acted("b", "T1", t, 1, "");
    script.acted("a", "T1", t, 0, "");
    script.ran("a", "T1", t, (2, ACTION, 1), refused(RefusalCode::Condition));
    script.all_stable();
    script.compensated("a", "T1", t, 0);
    script.compensated("b", "T1", t, 1);
    script.all_stable();
    check("saga-parallel", &script.text);
}

#[test]
fn a_step_that_is_never_answered_is_compensated_like_one_that_ran() {
    let (mut script, t) = begun(&[step("a", &[]), step("b", &[0])]);
    script.acted("a", "T1", t, 0, "");
    script.lapse(t, (1, ACTION, 1));
    script.pause_over(t, (1, ACTION, 1));
    script.lapse(t, (1, ACTION, 1));
    script.lapse(t, (1, ACTION, 2));
    script.show("T1");
    script.all_stable();
    script.acted("b", "T1", t, 1, "late");
    script.lapse(t, (1, COMPENSATION, 1));
    script.pause_over(t, (1, COMPENSATION, 1));
    script.lapse(t, (1, COMPENSATION, 2));
    script.pause_over(t, (1, COMPENSATION, 2));
    script.show("T1");
    script.ran("b", "T1", t, (1, COMPENSATION, 3), StepOutcome::Empty);
    script.compensated("a", "T1", t, 0);
    script.all_stable();
    check("saga-unanswered", &script.text);
}

#[test]
fn a_deadline_before_anything_was_sent_ends_the_saga_without_a_word_to_anyone() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit_saga(1, "T1", &[step("a", &[]), step("b", &[0])]);
    script.fire("T1", t, DEADLINE);
    script.all_stable();
    check("saga-deadline-at-once", &script.text);
}

#[test]
fn a_deadline_compensates_and_a_reconnected_participant_is_asked_again() {
    let (mut script, t) = begun(&[step("a", &[]), step("b", &[])]);
    script.connect("b");
    script.acted("a", "T1", t, 0, "");
    script.fire("T1", t, DEADLINE);
    script.all_stable();
    script.connect("b");
    script.compensated("a", "T1", t, 0);
    script.compensated("b", "T1", t, 1);
    script.all_stable();
    check("saga-deadline", &script.text);
}

/// The pivot is done, and the step after it is stuck.
fn stuck() -> (Script, AttemptNumber) {
    let (mut script, t) = begun(&[step("a", &[]), pivot("b", &[0]), retriable("a3", &[1])]);
    script.acted("a", "T1", t, 0, "");
    script.stable();
    script.acted("b", "T1", t, 1, "y=2");
    script.fire("T1", t, DEADLINE);
    script.cancel(2, "T1");
    script.refuse_all("a", t, 2, ACTION);
    script.show("T1");
    (script, t)
}

#[test]
fn a_stuck_step_is_tried_again_by_an_operator() {
    let (mut script, t) = stuck();
    script.submit_saga(4, "T1", &[step("a", &[]), pivot("b", &[0]), retriable("a3", &[1])]);
    script.resolve(3, "T1", "b", StepResolution::Retry);
    script.resolve(3, "T1", "c", StepResolution::Retry);
    script.resolve(3, "T1", "a3", StepResolution::Retry);
    script.all_stable();
    script.ran("a", "T1", t, (2, ACTION, 2), refused(RefusalCode::LockConflict));
    script.ran("a", "T1", t, (2, ACTION, 3), done("z=3"));
    script.all_stable();
    script.resolve(3, "T1", "a3", StepResolution::Retry);
    check("saga-stuck-retry", &script.text);
}

#[test]
fn a_stuck_step_that_an_operator_skips_is_reported_and_its_locks_are_closed() {
    let (mut script, t) = stuck();
    script.resolve(3, "T1", "a3", StepResolution::Skip);
    script.all_stable();
    script.show("T1");
    script.closed("a", "T1", t);
    script.all_stable();
    check("saga-stuck-skip", &script.text);
}

#[test]
fn a_stuck_step_that_was_done_by_other_means_ends_the_saga() {
    let (mut script, _) = stuck();
    script.resolve(3, "T1", "a3", StepResolution::Done);
    script.all_stable();
    check("saga-stuck-done", &script.text);
}

#[test]
fn a_step_that_is_not_answered_is_ended_by_an_operator_and_what_comes_late_of_it_changes_nothing() {
    let (mut script, t) = begun(&[step("a", &[]), pivot("b", &[0]), retriable("a3", &[1])]);
    script.resolve(2, "T1", "a", StepResolution::Retry);
    script.resolve(2, "T1", "a", StepResolution::Done);
    script.resolve(2, "T1", "a", StepResolution::Skip);
    script.acted("a", "T1", t, 0, "late");
    script.stable();
    script.resolve(3, "T1", "b", StepResolution::Skip);
    script.show("T1");
    script.stable();
    script.resolve(4, "T1", "a3", StepResolution::Done);
    script.acted("b", "T1", t, 1, "late");
    script.all_stable();
    script.closed("a", "T1", t);
    script.closed("b", "T1", t);
    script.all_stable();
    script.resolve(5, "T1", "a3", StepResolution::Skip);
    check("saga-ended-by-operator", &script.text);
}

#[test]
fn a_saga_is_forgotten_before_its_pivot_after_it_and_while_it_goes_back() {
    let mut text = String::new();
    for stage in 0..4 {
        let (mut script, t) = begun(&[step("a", &[]), pivot("b", &[0]), retriable("a3", &[1])]);
        if stage > 0 {
            script.acted("a", "T1", t, 0, "x=1");
            script.all_stable();
        }
        match stage {
            2 => script.acted("b", "T1", t, 1, "y=2"),
            3 => {
                script.ran("b", "T1", t, (1, ACTION, 1), refused(RefusalCode::Condition));
                script.all_stable();
            }
            _ => {}
        }
        script.forget(2, "T1");
        script.forget(3, "T1");
        script.acted("a", "T1", t, 0, "late");
        script.all_stable();
        text.push_str(&script.text);
    }
    check("saga-forgotten", &text);
}

#[test]
fn a_saga_that_waits_to_close_its_locks_is_forgotten_without_damage() {
    let (mut script, t) = begun(&[step("a", &[])]);
    let with_locks = StepOutcome::Done { result: Bytes::from_static(b"x=1"), pending: true };
    script.ran("a", "T1", t, (0, ACTION, 1), with_locks);
    script.forget(2, "T1");
    script.all_stable();
    let (mut closing, t) = begun(&[step("a", &[])]);
    let with_locks = StepOutcome::Done { result: Bytes::from_static(b"x=1"), pending: true };
    closing.ran("a", "T1", t, (0, ACTION, 1), with_locks);
    closing.all_stable();
    closing.forget(2, "T1");
    closing.all_stable();
    check("saga-forgotten-closing", &(script.text + &closing.text));
}

#[test]
fn a_lock_that_is_closed_while_its_saga_is_being_given_up_does_not_end_it_twice() {
    let (mut script, t) = begun(&[step("a", &[])]);
    let with_locks = StepOutcome::Done { result: Bytes::from_static(b"x=1"), pending: true };
    script.ran("a", "T1", t, (0, ACTION, 1), with_locks);
    script.all_stable();
    script.forget(2, "T1");
    script.closed("a", "T1", t);
    script.all_stable();
    assert_eq!(script.text.matches(" Ended T1/").count(), 1, "{}", script.text);
}

#[test]
fn a_pivot_is_asked_for_ever_and_compensates_only_once_it_is_refused() {
    let (mut script, t) = begun(&[step("a", &[]), pivot("b", &[0])]);
    script.acted("a", "T1", t, 0, "");
    script.show("T1");
    script.stable();
    for attempt in 1..=3 {
        script.lapse(t, (1, ACTION, attempt));
        script.pause_over(t, (1, ACTION, attempt));
    }
    script.fire("T1", t, DEADLINE);
    script.cancel(2, "T1");
    script.ran("b", "T1", t, (1, ACTION, 4), refused(RefusalCode::LockConflict));
    script.all_stable();
    script.compensated("a", "T1", t, 0);
    script.all_stable();
    check("saga-pivot-silent", &script.text);
}

/// The log does not say whether the pivot was reached. Once it is refused, what comes after it was not either.
#[test]
fn a_pivot_that_is_refused_after_a_recovery_compensates_and_nothing_after_it_is_compensated() {
    let steps = [step("a", &[]), pivot("b", &[0]), retriable("a3", &[1])];
    let progress = [is_done("x=1"), Progress::Pending, Progress::Pending];
    let (t, mut script) = (attempt_number(1, 0), Script::recovering(2, &[record(None, &steps, &progress)]));
    script.connect("a");
    script.connect("b");
    script.tell("the log is read", Input::RecoveryDone { paused: false });
    script.ran("b", "T1", t, (1, ACTION, 1), refused(RefusalCode::Condition));
    script.all_stable();
    script.compensated("a", "T1", t, 0);
    script.all_stable();
    check("saga-recovery-pivot-refused", &script.text);
}

#[test]
fn a_pivot_that_waits_after_a_refusal_can_be_cancelled() {
    let (mut script, t) = begun(&[step("a", &[]), pivot("b", &[0])]);
    script.acted("a", "T1", t, 0, "");
    script.stable();
    script.ran("b", "T1", t, (1, ACTION, 1), refused(RefusalCode::LockConflict));
    script.cancel(2, "T1");
    script.cancel(3, "T1");
    script.pause_over(t, (1, ACTION, 1));
    script.all_stable();
    script.compensated("a", "T1", t, 0);
    script.all_stable();
    check("saga-pivot-cancelled", &script.text);
}

#[test]
fn a_compensation_that_is_refused_too_often_waits_for_an_operator() {
    let (mut script, t) = begun(&[step("a", &[]), step("b", &[0])]);
    script.acted("a", "T1", t, 0, "");
    script.cancel(2, "T1");
    script.all_stable();
    script.compensated("b", "T1", t, 1);
    script.refuse_all("a", t, 0, COMPENSATION);
    script.show("T1");
    script.resolve(3, "T1", "a", StepResolution::Done);
    script.all_stable();
    check("saga-compensation-stuck", &script.text);
}

/// Done at the participant with a semantic lock, and what undoes it is refused for good.
fn stuck_with_locks() -> (Script, AttemptNumber) {
    let (mut script, t) = begun(&[step("a", &[]), step("b", &[])]);
    let with_locks = StepOutcome::Done { result: Bytes::from_static(b"x=1"), pending: true };
    script.ran("a", "T1", t, (0, ACTION, 1), with_locks);
    script.ran("b", "T1", t, (1, ACTION, 1), refused(RefusalCode::Condition));
    script.all_stable();
    script.refuse_all("a", t, 0, COMPENSATION);
    script.resolve(3, "T1", "a", StepResolution::Done);
    (script, t)
}

#[test]
fn semantic_locks_of_what_an_operator_has_undone_are_closed() {
    let (mut script, t) = stuck_with_locks();
    script.all_stable();
    script.closed("a", "T1", t);
    script.all_stable();
    check("saga-undone-by-operator", &script.text);
}

#[test]
fn semantic_locks_are_closed_once_the_decision_is_stable_and_before_the_end() {
    let (mut script, t) = begun(&[step("a", &[]), step("b", &[])]);
    let with_locks = StepOutcome::Done { result: Bytes::from_static(b"x=1"), pending: true };
    script.ran("a", "T1", t, (0, ACTION, 1), with_locks);
    script.acted("b", "T1", t, 1, "");
    script.show("T1");
    script.all_stable();
    script.show("T1");
    script.submit_saga(2, "T1", &[]);
    script.fire("T1", t, Timer::Retry { attempt: 0 });
    script.connect("a");
    script.connect("b");
    script.closed("b", "T1", t);
    script.closed("a", "T1", t);
    script.all_stable();
    check("saga-closed", &script.text);
}

#[test]
fn a_saga_in_the_log_goes_forward_and_runs_again_what_is_not_on_record() {
    let steps = [step("a", &[]), step("b", &[0]), pivot("a3", &[1])];
    let t = attempt_number(1, 0);
    let mut script =
        Script::recovering(2, &[record(None, &steps, &[is_done(""), Progress::Pending, Progress::Pending])]);
    script.connect("a");
    script.connect("b");
    script.resolve(3, "T1", "b", StepResolution::Retry);
    script.show("T1");
    script.tell("the log is read", Input::RecoveryDone { paused: false });
    script.acted("b", "T1", t, 1, "");
    script.all_stable();
    script.acted("a", "T1", t, 2, "z=3");
    script.submit_saga(2, "T1", &steps);
    script.all_stable();
    check("saga-recovery-forward", &script.text);
}

#[test]
fn a_saga_in_the_log_whose_deadline_is_over_compensates_unless_its_pivot_may_have_been_sent() {
    let steps = [step("a", &[]), pivot("b", &[0])];
    let (t, deadline) = (attempt_number(1, 0), Timer::Deadline { after: Duration::ZERO });
    let mut text = String::new();
    for first in [Progress::Pending, is_done("")] {
        let mut script = Script::recovering(9, &[record(None, &steps, &[first, Progress::Pending])]);
        script.connect("a");
        script.connect("b");
        script.fire("T1", t, deadline);
        script.tell("the log is read", Input::RecoveryDone { paused: false });
        script.show("T1");
        text.push_str(&script.text);
    }
    check("saga-recovery-overdue", &text);
}

#[test]
fn a_saga_in_the_log_goes_back_and_nothing_is_sent_while_recovery_is_paused() {
    let steps = [step("a", &[]), step("b", &[0])];
    let t = attempt_number(1, 0);
    let log = record(Some(AbortReason::Cancelled), &steps, &[is_done("x=1"), Progress::Pending]);
    let mut script = Script::recovering(2, &[log]);
    script.tell("the log is read, and recovery is paused", Input::RecoveryDone { paused: true });
    script.connect("a");
    script.connect("b");
    script.tell("recovery is resumed", Input::ResumeRecovery);
    script.ran("b", "T1", t, (1, COMPENSATION, 1), StepOutcome::Empty);
    script.compensated("a", "T1", t, 0);
    script.all_stable();
    check("saga-recovery-back", &script.text);
}

/// The record does not tell on whose word the step is undone: an operator's says nothing of its semantic locks.
#[test]
fn a_saga_in_the_log_with_every_step_undone_has_its_locks_closed_before_its_end() {
    let log = record(Some(AbortReason::Cancelled), &[step("a", &[])], &[Progress::Undone]);
    let mut script = Script::recovering(2, &[log]);
    script.tell("the log is read", Input::RecoveryDone { paused: false });
    script.connect("a");
    script.closed("a", "T1", attempt_number(1, 0));
    script.all_stable();
    check("saga-recovery-undone", &script.text);
}

#[test]
fn a_saga_in_the_log_with_every_step_done_is_committed_and_its_locks_are_closed() {
    let steps = [step("a", &[])];
    let progress = [Progress::Done { result: Bytes::from_static(b"x=1"), pending: true }];
    let mut script = Script::recovering(2, &[record(None, &steps, &progress)]);
    script.tell("the log is read", Input::RecoveryDone { paused: false });
    script.submit_saga(1, "T1", &steps);
    script.connect("a");
    script.closed("a", "T1", attempt_number(1, 0));
    script.all_stable();
    check("saga-recovery-closing", &script.text);
}

#[test]
fn an_unsound_saga_is_refused_with_the_place_of_its_fault() {
    let mut script = Script::new();
    script.submit_saga(1, "T1", &[retriable("a", &[])]);
    script.resolve(1, "T1", "a", StepResolution::Skip);
    script.submit(1, "T2", 1, &["a", "b"]);
    script.resolve(1, "T2", "a", StepResolution::Skip);
    check("saga-unsound", &script.text);
}
