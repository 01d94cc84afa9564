//! Resources elsewhere: they lose locks, are ended by other hands, keep silent, owe something.

use crate::nothing_breaks;
use undoubt_explore::Scenario;

#[test]
fn a_reader_whose_locks_are_lost_is_serializable_all_the_same() {
    nothing_breaks(Scenario::reader_without_locks());
}

#[test]
fn a_transaction_that_only_reads_sees_all_or_nothing_though_locks_are_lost() {
    nothing_breaks(Scenario::reads_without_locks());
}

#[test]
fn what_another_hand_has_ended_is_on_record() {
    nothing_breaks(Scenario::other_hand());
}

#[test]
fn what_somebody_else_ended_is_on_record_though_participant_and_coordinator_crash_one_after_the_other() {
    nothing_breaks(Scenario::other_hand_and_crashes());
}

#[test]
fn what_another_hand_has_ended_an_operator_cannot_end_the_other_way() {
    nothing_breaks(Scenario::other_hand_and_operator());
}

#[test]
fn what_another_hand_has_committed_is_on_record_though_a_crash_left_only_evidence_of_it() {
    nothing_breaks(Scenario::other_hand_and_evidence());
}

#[test]
fn what_was_committed_as_decided_is_no_damage_though_its_record_is_dropped() {
    nothing_breaks(Scenario::evidence_and_dropped_records());
}

#[test]
fn what_another_hand_has_ended_stays_on_record_when_its_id_is_submitted_again() {
    nothing_breaks(Scenario::other_hand_and_submitted_again());
}

#[test]
fn a_prepare_that_is_unclear_leaves_nothing_behind() {
    nothing_breaks(Scenario::unclear());
}

#[test]
fn a_single_branch_that_is_unclear_is_answered_as_what_it_came_to() {
    nothing_breaks(Scenario::unclear_alone());
}

#[test]
fn what_an_abort_owes_is_done_whatever_crashes() {
    nothing_breaks(Scenario::owed());
}

#[test]
fn a_single_branch_whose_end_a_crash_interrupts_is_answered_as_what_it_came_to() {
    nothing_breaks(Scenario::settling());
}

#[test]
fn a_prepare_that_lands_late_is_found_and_ends_as_its_coordinator_says() {
    nothing_breaks(Scenario::late());
}

#[test]
fn a_prepare_that_lands_late_keeps_nobody_out_for_ever() {
    nothing_breaks(Scenario::late_beside_another());
}
