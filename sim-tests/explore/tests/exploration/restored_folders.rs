//! Folders that are put back, and copies that run beside the original.

use crate::{LIMITS, nothing_breaks};
use undoubt_explore::{Crashing, Mutant, Request, RequestKind, Scenario, explore};

#[test]
fn a_log_that_is_put_back_alters_nothing_of_a_single_branch_before_an_operator_has_accepted_that() {
    nothing_breaks(Scenario::log_put_back_alone());
}

#[test]
fn a_log_that_is_put_back_alters_nothing_of_two_branches_before_an_operator_has_accepted_that() {
    nothing_breaks(Scenario::log_put_back());
}

#[test]
fn a_log_that_is_put_back_alters_nothing_that_participants_have_forgotten_before_an_operator_has_accepted_that() {
    nothing_breaks(Scenario::log_put_back_later());
}

#[test]
fn a_log_that_is_put_back_alters_nothing_of_a_saga_before_an_operator_has_accepted_that() {
    nothing_breaks(Scenario::log_of_a_saga_put_back());
}

#[test]
fn a_saga_whose_deadline_may_have_passed_is_held_once_an_operator_has_accepted_what_its_log_has_lost() {
    nothing_breaks(Scenario::log_of_a_late_saga_put_back());
}

#[test]
fn a_copy_beside_the_coordinator_of_a_single_branch_leaves_it_alone() {
    nothing_breaks(Scenario::copy_beside_alone());
}

#[test]
fn a_copy_beside_the_coordinator_of_two_branches_leaves_it_alone() {
    nothing_breaks(Scenario::copy_beside());
}

#[test]
fn what_a_participant_that_is_put_back_has_lost_of_a_single_branch_is_listed_once_an_operator_has_accepted_that() {
    nothing_breaks(Scenario::participant_put_back_alone());
}

#[test]
fn what_a_participant_that_is_put_back_has_lost_of_two_branches_is_listed_once_an_operator_has_accepted_that() {
    nothing_breaks(Scenario::participant_put_back());
}

#[test]
fn what_a_participant_that_is_put_back_has_lost_of_an_earlier_transaction_is_listed_once_that_is_accepted() {
    nothing_breaks(Scenario::participant_put_back_later());
}

#[test]
fn what_a_participant_that_is_put_back_has_lost_of_a_saga_is_listed_once_an_operator_has_accepted_that() {
    nothing_breaks(Scenario::participant_of_a_saga_put_back());
}

#[test]
fn nobody_is_held_where_no_folder_was_put_back() {
    nothing_breaks(Scenario::nothing_put_back());
    nothing_breaks(Scenario::nothing_put_back_of_two());
    nothing_breaks(Scenario::nothing_put_back_of_a_saga());
}

#[test]
fn a_participant_that_tells_numbers_before_they_are_stable_is_held_for_nothing() {
    let mut scenario = Scenario::nothing_put_back().with_mutant(Mutant::UnstableNumbered);
    scenario.crashing = Crashing::Participants;
    // What the low-water mark passes is dropped by a write that is not forced, and a vote that only reads is sent
    // without any.
    let read = RequestKind::Submit(vec![(0, "get x")]);
    scenario.requests[1] = Request { tx: "T2", kind: read, persistent: false, after: Some(0) };
    let report = explore(&scenario, scenario.budget, LIMITS, &mut |_, _| {});
    assert!(report.violation.as_ref().is_some_and(|trace| trace.broken.starts_with("false alarm: p")), "{report}");
}
