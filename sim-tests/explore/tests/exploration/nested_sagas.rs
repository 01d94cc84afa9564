//! Sagas that are nested in others.

use crate::nothing_breaks;
use undoubt_explore::Scenario;

#[test]
fn what_is_nested_is_closed_with_its_parent() {
    nothing_breaks(Scenario::nested_and_closed());
}

#[test]
fn a_nested_saga_that_is_closed_is_completed_once_and_ends_with_its_parent() {
    nothing_breaks(Scenario::nested_and_kept());
}

#[test]
fn what_a_nested_saga_has_completed_is_undone_when_its_parent_turns_back() {
    nothing_breaks(Scenario::nested_and_turned_back());
}

#[test]
fn what_is_undone_after_its_completion_is_given_what_its_action_handed_back() {
    nothing_breaks(Scenario::nested_and_turned_back_with_results());
}

#[test]
fn a_nested_saga_that_is_cancelled_stays_so_though_its_parent_is_closed() {
    nothing_breaks(Scenario::nested_and_cancelled_alone());
}

#[test]
fn closes_and_cancellations_of_a_nested_saga_and_its_parent_meet_in_any_order() {
    nothing_breaks(Scenario::nested_among_all());
}

#[test]
fn the_time_of_a_nested_saga_and_of_its_parent_may_be_over_at_any_moment() {
    nothing_breaks(Scenario::nested_and_overdue());
}

#[test]
fn what_is_nested_deep_ends_as_the_outermost_saga_does() {
    nothing_breaks(Scenario::nested_deep());
}

#[test]
fn nested_sagas_are_completed_in_the_order_that_their_parent_has() {
    nothing_breaks(Scenario::nested_in_order());
}

#[test]
fn what_is_nested_in_a_saga_that_an_operator_gave_up_goes_on_without_it() {
    nothing_breaks(Scenario::nested_and_forgotten());
}

#[test]
fn all_that_is_nested_ends_though_an_operator_gave_the_outermost_up_in_the_midst() {
    nothing_breaks(Scenario::nested_and_forgotten_in_the_midst());
}

#[test]
fn a_family_of_which_one_cannot_be_recorded_comes_to_an_end() {
    nothing_breaks(Scenario::nested_and_refused_records());
}

#[test]
fn a_family_of_which_one_cannot_be_carried_out_comes_to_an_end() {
    nothing_breaks(Scenario::nested_and_spoiled());
}
