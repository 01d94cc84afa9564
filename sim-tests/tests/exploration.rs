//! Explores the small worlds, and sees that planted bugs are found.

use undoubt_sim_tests::explore::{Budget, Limits, Mutant, Report, Scenario, explore};

const LIMITS: Limits = Limits { max_states: 3_000_000 };

fn nothing_breaks(scenario: Scenario) {
    let report = explore(&scenario, scenario.budget, LIMITS, &mut |_, _| {});
    println!("{report}");
    assert!(report.violation.is_none(), "{report}");
    assert!(report.complete, "not everything was explored: {report}");
}

#[test]
fn two_branches_end_alike_whatever_happens() {
    nothing_breaks(Scenario::two_participants());
}

#[test]
fn three_branches_end_alike_whatever_happens() {
    nothing_breaks(Scenario::three_participants());
}

#[test]
fn a_single_branch_commits_once_and_its_outcome_is_told_truly() {
    nothing_breaks(Scenario::one_phase());
}

#[test]
fn a_reader_and_a_writer_are_serializable() {
    nothing_breaks(Scenario::read_only());
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
fn a_cancellation_ends_in_one_outcome() {
    nothing_breaks(Scenario::cancelled());
}

#[test]
fn heuristic_outcomes_are_all_on_record() {
    nothing_breaks(Scenario::heuristic());
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
fn what_does_not_fit_the_limit_is_said_to_be_left_out() {
    let scenario = Scenario::two_participants();
    let report = explore(&scenario, scenario.budget, Limits { max_states: 100 }, &mut |_, _| {});
    assert!(!report.complete && report.violation.is_none(), "{report}");
}

/// The report of the planted bug, which must have been found, for this reason.
fn found(mutant: Mutant, scenario: Scenario, budget: Budget, reason: &str) -> Report {
    let scenario = scenario.with_mutant(mutant);
    let report = explore(&scenario, budget, LIMITS, &mut |_, _| {});
    println!("{mutant:?}: {report}");
    let broken = report.violation.as_ref().map(|trace| trace.broken.as_str());
    assert!(broken.is_some_and(|broken| broken.starts_with(reason)), "{mutant:?} was not found as {reason}: {report}");
    report
}

const NO_FAULTS: Budget = Budget { crashes: 0, losses: 0, duplicates: 0, disconnections: 0, heuristics: 0 };
const ONE_CRASH: Budget = Budget { crashes: 1, ..NO_FAULTS };
const ONE_LOSS: Budget = Budget { losses: 1, ..NO_FAULTS };

#[test]
fn a_commit_that_is_sent_before_it_is_stable_is_found() {
    found(Mutant::CommitBeforeStable, Scenario::two_participants(), NO_FAULTS, "R1");
}

#[test]
fn a_commit_that_is_called_stable_too_early_is_found_by_what_clients_were_told() {
    found(Mutant::CommitLostUnnoticed, Scenario::two_participants(), NO_FAULTS, "R10");
}

#[test]
fn an_abort_that_is_answered_before_it_is_stable_is_found() {
    found(Mutant::AbortAnsweredBeforeStable, Scenario::two_participants(), NO_FAULTS, "R10");
}

#[test]
fn a_vote_before_its_record_is_durable_is_found() {
    found(Mutant::VoteBeforeDurable, Scenario::two_participants(), NO_FAULTS, "R2");
}

#[test]
fn locks_that_are_not_restored_are_found() {
    found(Mutant::LocksNotRestored, Scenario::two_participants(), ONE_CRASH, "R2");
}

#[test]
fn a_recovery_that_forgets_open_records_is_found() {
    found(Mutant::OpenRecordsForgotten, Scenario::two_participants(), ONE_CRASH, "R4");
}

#[test]
fn an_abort_that_is_presumed_before_the_log_is_read_is_found() {
    found(Mutant::PresumesWhileRecovering, Scenario::two_participants(), ONE_CRASH, "R4");
}

#[test]
fn a_session_of_a_lower_epoch_is_found() {
    let scenario = Scenario::sessions();
    let budget = scenario.budget;
    found(Mutant::LowerEpochAccepted, scenario, budget, "R5");
}

#[test]
fn a_reader_that_leaves_at_its_vote_is_found() {
    found(Mutant::ReadOnlyLeavesAtVote, Scenario::read_only(), NO_FAULTS, "isolation");
}

#[test]
fn a_vote_of_a_session_that_is_over_is_found_to_break_isolation() {
    found(Mutant::OldSessionHeard, Scenario::read_only(), ONE_CRASH, "isolation");
}

#[test]
fn a_fence_that_runs_ahead_is_found() {
    found(Mutant::FenceRunsAhead, Scenario::one_phase(), NO_FAULTS, "R10");
}

#[test]
fn a_branch_that_never_asks_is_found_to_wait_for_ever() {
    found(Mutant::NoSweep, Scenario::two_participants(), ONE_LOSS, "termination");
}

#[test]
fn participants_that_disagree_on_ages_are_found_to_deadlock() {
    let report = found(Mutant::AgesDiffer, Scenario::wait_die(), NO_FAULTS, "termination");
    let trace = report.violation.map(|trace| trace.to_string()).unwrap_or_default();
    assert!(trace.lines().count() > 3 && trace.contains("client 0 asks: submit T1"), "not readable: {trace}");
}
