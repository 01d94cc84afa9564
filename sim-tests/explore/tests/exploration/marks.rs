//! Sagas that meet semantic locks.

use crate::{LIMITS, NO_FAULTS, nothing_breaks};
use undoubt_explore::{Scenario, explore};

#[test]
fn two_sagas_that_want_each_others_semantic_locks_both_end() {
    nothing_breaks(Scenario::crossing_sagas());
}

#[test]
fn a_saga_past_its_pivot_waits_for_a_semantic_lock_until_it_is_gone() {
    nothing_breaks(Scenario::heeding_saga());
}

#[test]
fn a_saga_behind_a_stuck_one_goes_on_once_an_operator_has_resolved_that() {
    nothing_breaks(Scenario::behind_a_stuck_saga());
}

#[test]
fn two_sagas_that_mind_each_others_semantic_locks_past_their_pivots_end_once_an_operator_skips_a_step() {
    nothing_breaks(Scenario::marks_past_the_pivot());
}

#[test]
fn two_sagas_that_mind_each_others_semantic_locks_past_their_pivots_never_end_by_themselves() {
    let unaided = Scenario { interferes: &[], ..Scenario::marks_past_the_pivot() };
    let report = explore(&unaided, NO_FAULTS, LIMITS, &mut |_, _| {});
    assert!(report.violation.as_ref().is_some_and(|trace| trace.broken.starts_with("termination")), "{report}");
}

#[test]
fn two_sagas_that_mind_each_others_semantic_locks_past_their_pivots_end_once_an_operator_releases_some() {
    let released = Scenario { interferes: &[], releases_marks: true, ..Scenario::marks_past_the_pivot() };
    nothing_breaks(released);
}

#[test]
fn releasing_a_sagas_semantic_locks_at_any_time_leaves_it_to_end_as_it_would() {
    nothing_breaks(Scenario::released());
}
