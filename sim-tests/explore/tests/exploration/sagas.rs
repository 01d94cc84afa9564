//! Sagas that need nobody.

use crate::nothing_breaks;
use undoubt_explore::Scenario;

#[test]
fn a_saga_is_done_or_undone_whatever_happens() {
    nothing_breaks(Scenario::saga());
}

#[test]
fn steps_side_by_side_are_done_or_undone_and_leave_no_semantic_lock() {
    nothing_breaks(Scenario::side_by_side());
}

#[test]
fn nothing_is_undone_once_the_pivot_is_in_effect() {
    nothing_breaks(Scenario::pivot());
}

#[test]
fn a_refused_step_takes_the_others_back() {
    nothing_breaks(Scenario::refused_step());
}

#[test]
fn a_cancelled_saga_ends_in_one_outcome() {
    nothing_breaks(Scenario::cancelled_saga());
}

#[test]
fn the_same_saga_has_one_outcome() {
    nothing_breaks(Scenario::saga_submitted_twice());
}

#[test]
fn a_paused_recovery_and_a_drain_lose_no_saga() {
    nothing_breaks(Scenario::operated_saga());
}

#[test]
fn sessions_that_break_off_anywhere_do_a_saga_no_harm() {
    nothing_breaks(Scenario::saga_over_sessions());
}

#[test]
fn a_saga_that_waits_for_locks_goes_on_in_the_end() {
    nothing_breaks(Scenario::saga_among_locks());
}
