//! Transactions that leave the choice to the coordinator.

use crate::nothing_breaks;
use undoubt_explore::Scenario;

#[test]
fn auto_is_a_saga_where_a_participant_cannot_prepare_even_if_that_is_learned_late() {
    nothing_breaks(Scenario::auto_unable());
}

#[test]
fn a_breaker_that_opens_leaves_one_way_in_effect() {
    nothing_breaks(Scenario::auto_spared());
}

#[test]
fn a_breaker_lets_two_phase_commit_through_once_its_pause_is_over() {
    nothing_breaks(Scenario::auto_probing());
}

#[test]
fn an_attempt_that_goes_on_as_a_saga_takes_effect_one_way_only() {
    nothing_breaks(Scenario::auto());
}

#[test]
fn an_attempt_that_goes_on_as_a_saga_with_a_pivot_takes_effect_one_way_only() {
    nothing_breaks(Scenario::auto_with_pivot());
}

#[test]
fn what_an_operator_commits_is_not_done_again_by_the_saga_that_takes_its_place() {
    nothing_breaks(Scenario::auto_decided());
}

#[test]
fn one_id_that_goes_both_ways_takes_effect_one_way_only() {
    nothing_breaks(Scenario::auto_and_saga());
}
