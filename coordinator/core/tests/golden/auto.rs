//! Transactions that may be carried out either way.

use super::check;
use super::sagas::{refused, step};
use crate::script::{self, Script, attempt_number, prepared, tx};
use std::time::Duration;
use undoubt_coordinator_core::{Input, Timer};
use undoubt_vocabulary::{BranchOutcome, Direction, RefusalCode, SagaStep, StepIndex, ToCoordinator};

const DEADLINE: Timer = Timer::Deadline { after: Duration::from_secs(5) };

fn steps() -> [SagaStep; 2] {
    [step("a", &[]), step("b", &[0])]
}

#[test]
fn auto_is_two_phase_commit_where_everybody_can_prepare() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit_auto(1, "T1", &steps(), None);
    script.vote("a", "T1", t, prepared("x=1"));
    script.vote("b", "T1", t, script::refused(RefusalCode::LockConflict));
    script.all_stable();
    check("auto-two-phase", &script.text);
}

#[test]
fn auto_is_a_saga_where_somebody_cannot_prepare_or_has_two_steps_or_uses_results() {
    let mut script = Script::new();
    script.connect_unable("b");
    script.submit_auto(1, "T1", &steps(), None);
    script.connect("b");
    script.submit_auto(2, "T2", &[step("a", &[]), step("a2", &[0])], None);
    let using = SagaStep { uses: vec![StepIndex(0)], ..step("b", &[0]) };
    script.submit_auto(3, "T3", &[step("a", &[]), using], None);
    check("auto-saga", &script.text);
}

#[test]
fn auto_that_can_go_neither_way_is_refused_with_both_reasons() {
    let mut script = Script::new();
    let no_compensation = |name: &str| SagaStep { compensation: None, ..step(name, &[]) };
    script.submit_auto(1, "T1", &[no_compensation("a"), no_compensation("a2")], None);
    script.submit_auto(1, "T2", &[step("a", &[]), step("a2", &[])], Some("its value is high"));
    script.submit_auto(1, "T3", &[no_compensation("a"), no_compensation("b")], None);
    check("auto-neither-way", &script.text);
}

#[test]
fn an_attempt_that_nobody_answered_goes_on_as_a_saga_with_a_attempt_number_of_its_own() {
    let (mut script, first, second) = (Script::new(), attempt_number(1, 0), attempt_number(1, 1));
    script.submit_auto(1, "T1", &steps(), None);
    script.vote("a", "T1", first, prepared("x=1"));
    script.fire("T1", first, DEADLINE);
    script.show("T1");
    script.hear("a", ToCoordinator::Inquiry { tx: tx("T1"), attempt_number: first });
    script.stable();
    script.show("T1");
    script.fire("T1", first, DEADLINE);
    script.vote("b", "T1", first, prepared("y=2"));
    script.acted("a", "T1", second, 0, "x=1");
    script.acted("b", "T1", second, 1, "y=2");
    script.all_stable();
    script.finished("a", "T1", first, BranchOutcome::HeuristicallyCommitted);
    check("auto-falls-back", &script.text);
}

#[test]
fn an_unavailable_participant_lets_auto_fall_back_and_a_cancelled_saga_is_over_before_it_began() {
    let (mut script, first) = (Script::new(), attempt_number(1, 0));
    script.submit_auto(1, "T1", &steps(), None);
    script.vote("b", "T1", first, script::refused(RefusalCode::Unavailable));
    script.cancel(2, "T1");
    script.all_stable();
    check("auto-unavailable", &script.text);
}

#[test]
fn what_must_be_two_phase_commit_does_not_fall_back() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit_auto(1, "T1", &steps(), Some("its value is high"));
    script.fire("T1", t, DEADLINE);
    script.all_stable();
    check("auto-two-phase-only", &script.text);
}

#[test]
fn a_breaker_opens_and_lets_one_probe_through_and_closes_when_that_is_answered() {
    let mut script = Script::new();
    for number in 0..2 {
        let id = format!("P{number}");
        script.submit(1, &id, 1, &["a", "b"]);
        script.vote("a", &id, attempt_number(1, number), prepared(""));
        script.fire(&id, attempt_number(1, number), DEADLINE);
        script.all_stable();
    }
    script.submit_auto(1, "spared", &steps(), None);
    script.submit_auto(1, "high-value", &steps(), Some("its value is high"));
    script.wait(10);
    script.submit_auto(1, "silent-probe", &steps(), None);
    script.submit_auto(1, "beside-it", &steps(), None);
    script.fire("silent-probe", attempt_number(1, 4), DEADLINE);
    script.submit_auto(1, "spared-again", &steps(), None);
    script.wait(10);
    script.submit_auto(1, "cancelled-probe", &steps(), None);
    script.cancel(2, "cancelled-probe");
    script.all_stable();
    script.submit_auto(1, "probe", &steps(), None);
    script.vote("b", "probe", attempt_number(1, 9), prepared(""));
    script.cancel(2, "spared");
    script.ran("a", "spared", attempt_number(1, 2), (0, Direction::Forward, 1), refused(RefusalCode::Condition));
    script.cancel(2, "high-value");
    script.all_stable();
    script.submit_auto(1, "closed", &steps(), None);
    check("auto-breaker", &script.text);
}

#[test]
fn an_open_breaker_keeps_nobody_from_two_phase_commit_who_has_no_other_way() {
    let mut script = Script::new();
    for number in 0..2 {
        let id = format!("P{number}");
        script.submit(1, &id, 1, &["a", "b"]);
        script.vote("a", &id, attempt_number(1, number), prepared(""));
        script.fire(&id, attempt_number(1, number), DEADLINE);
        script.all_stable();
    }
    let [a, b] = steps();
    let for_good = [a.clone(), SagaStep { compensation: None, ..b.clone() }];
    script.submit_auto(1, "T1", &[a, b], None);
    script.submit_auto(2, "T2", &for_good, None);
    script.fire("T2", attempt_number(1, 3), DEADLINE);
    check("auto-breaker-one-way", &script.text);
}

#[test]
fn an_attempt_goes_on_as_a_saga_once_a_participant_connects_that_cannot_prepare() {
    let mut script = Script::recovering(2, &[]);
    script.tell("the log is read", Input::RecoveryDone { paused: false });
    script.submit_auto(1, "T1", &steps(), None);
    script.submit_auto(2, "T2", &steps(), Some("its value is high"));
    script.connect("a");
    script.connect_unable("b");
    script.all_stable();
    check("auto-unable-later", &script.text);
}
