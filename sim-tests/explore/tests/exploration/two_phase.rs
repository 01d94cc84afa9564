//! Two-phase commit, with operators who decide alone, pause and drain.

use crate::nothing_breaks;
use undoubt_explore::Scenario;

#[test]
fn two_branches_end_alike_whatever_happens() {
    nothing_breaks(Scenario::two_participants());
}

#[test]
fn three_branches_end_alike_whatever_happens() {
    nothing_breaks(Scenario::three_participants());
}

#[test]
fn four_branches_end_alike_whatever_happens() {
    nothing_breaks(Scenario::four_participants());
}

#[test]
fn a_single_branch_commits_once_and_its_outcome_is_told_truly() {
    nothing_breaks(Scenario::one_phase());
}

#[test]
fn a_single_branch_that_only_reads_is_answered_though_its_session_breaks() {
    nothing_breaks(Scenario::lone_read());
}

#[test]
fn a_reader_and_a_writer_are_serializable() {
    nothing_breaks(Scenario::read_only());
}

#[test]
fn a_transaction_that_only_reads_sees_all_or_nothing_of_a_writer() {
    nothing_breaks(Scenario::nothing_but_reads());
}

#[test]
fn the_same_id_has_one_outcome() {
    nothing_breaks(Scenario::submitted_twice());
}

#[test]
fn conflicting_transactions_never_deadlock() {
    nothing_breaks(Scenario::wait_die());
}

#[test]
fn conflicting_transactions_both_end_when_deadlines_pass() {
    nothing_breaks(Scenario::conflict());
}

#[test]
fn a_cancellation_ends_in_one_outcome() {
    nothing_breaks(Scenario::cancelled());
}

#[test]
fn an_abort_that_a_crash_takes_back_is_presumed_again() {
    nothing_breaks(Scenario::taken_back());
}

#[test]
fn heuristic_outcomes_are_all_on_record() {
    nothing_breaks(Scenario::heuristic());
}

#[test]
fn a_heuristic_outcome_stays_on_record_when_its_id_is_submitted_again() {
    nothing_breaks(Scenario::decided_and_submitted_again());
}

#[test]
fn a_forgotten_id_may_be_used_for_other_content() {
    nothing_breaks(Scenario::other_content());
}

#[test]
fn sessions_that_break_off_anywhere_do_no_harm() {
    nothing_breaks(Scenario::sessions());
}

#[test]
fn sessions_of_two_participants_that_break_off_anywhere_do_no_harm() {
    nothing_breaks(Scenario::sessions_of_two());
}

#[test]
fn a_paused_recovery_and_a_drain_lose_nothing() {
    nothing_breaks(Scenario::operated());
}

#[test]
fn a_commit_that_an_operator_forgets_still_reaches_its_branches() {
    nothing_breaks(Scenario::forgotten());
}

#[test]
fn a_single_branch_that_an_operator_gives_up_leaves_a_record_that_nobody_knows() {
    nothing_breaks(Scenario::forgotten_alone());
}

#[test]
fn whoever_cannot_prepare_is_never_asked_to_even_if_that_is_learned_late() {
    nothing_breaks(Scenario::unable());
}
