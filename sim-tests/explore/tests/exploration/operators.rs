//! Sagas that operators end: stuck ones, and others.

use crate::nothing_breaks;
use undoubt_explore::Scenario;

#[test]
fn a_step_stuck_past_the_pivot_is_resolved_as_an_operator_says() {
    nothing_breaks(Scenario::stuck_past_the_pivot());
}

#[test]
fn a_stuck_compensation_is_resolved_as_an_operator_says_and_leaves_no_semantic_lock() {
    nothing_breaks(Scenario::stuck_on_the_way_back());
}

#[test]
fn two_compensations_refused_for_good_wait_for_an_operator_each() {
    nothing_breaks(Scenario::stuck_for_good());
}

#[test]
fn a_compensation_refused_for_a_while_needs_no_operator() {
    nothing_breaks(Scenario::stuck_for_a_while());
}

#[test]
fn what_an_operator_says_of_a_stuck_step_outlives_pauses_and_drains() {
    nothing_breaks(Scenario::stuck_and_operated());
}

#[test]
fn steps_that_are_not_stuck_are_ended_as_an_operator_says() {
    nothing_breaks(Scenario::ended_ahead());
}

#[test]
fn steps_of_a_saga_that_goes_back_are_ended_as_an_operator_says() {
    nothing_breaks(Scenario::ended_on_the_way_back());
}

#[test]
fn a_forgotten_saga_ends_and_its_record_is_true_of_what_it_calls_known() {
    nothing_breaks(Scenario::forgotten_saga());
}

#[test]
fn a_saga_forgotten_on_its_way_back_ends_and_its_record_is_true_of_what_it_calls_known() {
    nothing_breaks(Scenario::forgotten_on_the_way_back());
}

#[test]
fn a_saga_can_be_forgotten_while_it_is_held() {
    nothing_breaks(Scenario::forgotten_and_operated());
}
