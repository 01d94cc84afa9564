//! Records that the store refuses, or that cannot be carried out after a restart.

use crate::nothing_breaks;
use undoubt_explore::Scenario;

#[test]
fn a_commit_of_which_a_record_is_refused_is_held_and_ends_once_an_operator_forgets_it() {
    nothing_breaks(Scenario::refused_commit());
}

#[test]
fn whoever_meets_a_commit_that_is_held_goes_on() {
    nothing_breaks(Scenario::beside_a_refused_commit());
}

#[test]
fn a_single_branch_of_which_a_record_is_refused_ends_once_an_operator_forgets_it() {
    nothing_breaks(Scenario::refused_alone());
}

#[test]
fn a_saga_of_which_a_record_is_refused_ends_once_an_operator_forgets_it() {
    nothing_breaks(Scenario::refused_saga());
}

#[test]
fn an_attempt_whose_saga_cannot_be_recorded_leaves_no_low_water_mark_behind() {
    nothing_breaks(Scenario::refused_auto());
}

#[test]
fn a_heuristic_outcome_that_cannot_be_recorded_is_not_taken_for_recorded() {
    nothing_breaks(Scenario::refused_heuristic());
}

#[test]
fn a_commit_that_cannot_be_carried_out_after_a_restart_still_reaches_its_branches() {
    nothing_breaks(Scenario::spoiled_commit());
}

#[test]
fn a_single_branch_that_cannot_be_carried_out_after_a_restart_leaves_a_record_that_nobody_knows() {
    nothing_breaks(Scenario::spoiled_alone());
}

#[test]
fn a_saga_that_cannot_be_carried_out_after_a_restart_ends_as_was_decided_or_as_nobody_knows() {
    nothing_breaks(Scenario::spoiled_saga());
}
