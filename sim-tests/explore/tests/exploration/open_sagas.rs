//! Sagas that steps join while they go on.

use crate::nothing_breaks;
use undoubt_explore::Scenario;

#[test]
fn a_closed_saga_is_completed_once_whatever_happens() {
    nothing_breaks(Scenario::open_saga());
}

#[test]
fn a_refused_step_is_refused_for_good_and_leaves_nothing() {
    nothing_breaks(Scenario::open_and_refused());
}

#[test]
fn a_step_that_keeps_silent_is_neither_completed_nor_forgotten() {
    nothing_breaks(Scenario::open_and_unanswered());
}

#[test]
fn a_step_that_is_run_again_has_all_its_attempts_anew_and_never_turns_its_saga_back() {
    nothing_breaks(Scenario::open_and_silent_again());
}

#[test]
fn a_step_that_is_run_again_is_not_taken_for_what_it_was_before() {
    nothing_breaks(Scenario::open_and_asked_again());
}

#[test]
fn what_callers_have_done_themselves_is_completed_with_the_saga() {
    nothing_breaks(Scenario::open_and_completed_elsewhere());
}

#[test]
fn what_callers_have_done_themselves_is_undone_with_the_saga() {
    nothing_breaks(Scenario::open_and_undone_elsewhere());
}

#[test]
fn a_cancelled_saga_goes_back_in_reverse_order() {
    nothing_breaks(Scenario::open_and_cancelled());
}

#[test]
fn the_first_of_close_cancellation_and_deadline_counts_and_nothing_joins_after_it() {
    nothing_breaks(Scenario::open_among_joins());
}

#[test]
fn whoever_closes_and_whoever_cancels_hear_the_same() {
    nothing_breaks(Scenario::open_to_two_clients());
}

#[test]
fn a_second_client_goes_on_where_the_first_has_died() {
    nothing_breaks(Scenario::open_and_carried_on());
}

#[test]
fn completions_keep_the_order_in_which_steps_joined() {
    nothing_breaks(Scenario::open_and_completed_in_order());
}

#[test]
fn completions_keep_the_reverse_of_that_order() {
    nothing_breaks(Scenario::open_and_completed_in_reverse());
}

#[test]
fn a_stuck_completion_is_resolved_as_an_operator_says() {
    nothing_breaks(Scenario::open_and_stuck());
}

#[test]
fn a_stuck_compensation_of_an_open_saga_is_resolved_as_an_operator_says() {
    nothing_breaks(Scenario::open_and_stuck_on_the_way_back());
}

#[test]
fn a_step_joins_where_the_low_water_mark_has_passed_its_saga() {
    nothing_breaks(Scenario::open_and_late());
}

#[test]
fn a_closed_saga_leaves_no_semantic_lock() {
    nothing_breaks(Scenario::open_with_marks());
}

#[test]
fn sessions_that_break_off_anywhere_do_an_open_saga_no_harm() {
    nothing_breaks(Scenario::open_over_sessions());
}

#[test]
fn a_paused_recovery_and_a_drain_lose_no_open_saga() {
    nothing_breaks(Scenario::open_and_operated());
}

#[test]
fn steps_of_an_open_saga_are_ended_as_an_operator_says() {
    nothing_breaks(Scenario::open_and_interfered_with());
}

#[test]
fn steps_that_joined_without_an_action_are_ended_as_an_operator_says() {
    nothing_breaks(Scenario::open_and_interfered_with_elsewhere());
}

#[test]
fn completions_and_compensations_are_ended_as_an_operator_says() {
    nothing_breaks(Scenario::open_and_ended_on_the_way());
}

#[test]
fn an_open_saga_that_low_water_marks_have_passed_is_closed() {
    nothing_breaks(Scenario::open_and_passed());
}

#[test]
fn an_open_saga_that_low_water_marks_have_passed_is_turned_back() {
    nothing_breaks(Scenario::open_and_passed_on_the_way_back());
}

#[test]
fn a_forgotten_open_saga_ends_and_its_record_is_true_of_what_it_calls_known() {
    nothing_breaks(Scenario::open_and_forgotten());
}

#[test]
fn an_open_saga_of_which_a_record_is_refused_ends_once_an_operator_forgets_it() {
    nothing_breaks(Scenario::open_and_refused_records());
}

#[test]
fn an_open_saga_that_cannot_be_carried_out_after_a_restart_ends_as_was_decided_or_as_nobody_knows() {
    nothing_breaks(Scenario::open_and_spoiled());
}

#[test]
fn an_open_saga_whose_time_is_over_is_closed_if_its_check_back_finds_that_all_is_done() {
    nothing_breaks(Scenario::open_and_found_done());
}

#[test]
fn an_open_saga_whose_time_is_over_is_turned_back_if_its_check_back_finds_that_it_failed() {
    nothing_breaks(Scenario::open_and_found_failed());
}

#[test]
fn a_check_back_that_cannot_be_answered_yet_is_asked_again() {
    nothing_breaks(Scenario::open_and_found_later());
}

#[test]
fn a_check_back_whose_answer_comes_after_a_close_or_a_cancellation_changes_nothing() {
    nothing_breaks(Scenario::open_and_found_too_late());
}

#[test]
fn all_branches_that_joined_an_open_two_phase_commit_commit_once_it_is_closed_or_none() {
    nothing_breaks(Scenario::open_two_phase());
    nothing_breaks(Scenario::open_two_phase_to_many());
}

#[test]
fn an_open_two_phase_commit_of_one_branch_commits_in_one_phase() {
    nothing_breaks(Scenario::open_two_phase_alone());
}

#[test]
fn a_branch_that_is_refused_at_the_close_aborts_an_open_two_phase_commit() {
    nothing_breaks(Scenario::open_two_phase_and_refused());
}
