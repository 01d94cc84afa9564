//! Transactions that need what a participant cannot do.

use super::check;
use super::sagas::step;
use crate::script::Script;
use undoubt_coordinator_core::Input;
use undoubt_vocabulary::{Abilities, SagaStep};

const STEPS_ONLY: Abilities = Abilities { one_phase: false, two_phase: false, ..Abilities::ALL };
const BRANCHES_ONLY: Abilities = Abilities { saga_steps: false, open_sagas: false, ..Abilities::ALL };

fn steps() -> [SagaStep; 2] {
    [step("a", &[]), step("b", &[0])]
}

fn not_met_yet() -> Script {
    let mut script = Script::recovering(2, &[]);
    script.tell("the log is read", Input::RecoveryDone { paused: false });
    script
}

#[test]
fn what_needs_an_ability_that_a_participant_lacks_is_refused_with_its_name() {
    let mut script = Script::new();
    script.connect_with("b", "only takes steps", STEPS_ONLY);
    script.submit(1, "T1", 1, &["a", "b"]);
    script.submit(1, "T2", 1, &["b"]);
    script.submit_auto(1, "T3", &steps(), None);
    script.connect_unable("b");
    script.submit(1, "T4", 1, &["a", "b"]);
    script.submit(1, "T5", 1, &["b"]);
    script.connect_with("b", "only takes branches", BRANCHES_ONLY);
    script.submit_saga(1, "T6", &steps());
    script.submit(1, "T7", 1, &["a", "b"]);
    check("abilities-refused", &script.text);
}

#[test]
fn auto_takes_the_way_that_all_can_go_and_never_falls_back_to_the_other() {
    let mut script = Script::new();
    script.connect_with("b", "only takes branches", BRANCHES_ONLY);
    script.submit_auto(1, "T1", &steps(), None);
    script.fire("T1", crate::script::attempt_number(1, 0), super::DEADLINE);
    script.all_stable();
    script.connect_with("a", "only takes steps", STEPS_ONLY);
    script.submit_auto(2, "T2", &steps(), None);
    check("abilities-auto", &script.text);
}

#[test]
fn what_was_accepted_before_its_participant_was_met_is_aborted_once_it_turns_out_to_be_unable() {
    let mut script = not_met_yet();
    script.submit(1, "T1", 1, &["a", "b"]);
    script.submit(2, "T2", 1, &["b"]);
    script.submit(3, "T3", 1, &["b"]);
    script.stable();
    script.connect("a");
    script.connect_with("b", "only takes steps", STEPS_ONLY);
    script.all_stable();
    check("abilities-learned-late", &script.text);
}

#[test]
fn a_single_branch_that_may_have_been_sent_is_not_presumed_to_be_refused() {
    let mut script = not_met_yet();
    script.connect("b");
    script.submit(1, "T1", 1, &["b"]);
    script.stable();
    script.connect_with("b", "only takes steps", STEPS_ONLY);
    check("abilities-lost", &script.text);
}
