//! Explores the small worlds, and sees that planted bugs are found.

use clap::ValueEnum;
use undoubt_explore::{Budget, Crashing, Limits, Mutant, Report, Request, RequestKind, Scenario, explore};

/// Worlds are many small pieces of memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIMITS: Limits = Limits { max_states: 3_000_000, symmetry: true };

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
fn a_saga_is_done_or_undone_whatever_happens() {
    nothing_breaks(Scenario::saga());
}

#[test]
fn steps_side_by_side_are_done_or_undone_and_leave_no_semantic_lock() {
    nothing_breaks(Scenario::side_by_side());
}

#[test]
fn nothing_is_undone_once_the_pivot_is_in_effect() {
    nothing_breaks(Scenario::pivot());
}

#[test]
fn a_refused_step_takes_the_others_back() {
    nothing_breaks(Scenario::refused_step());
}

#[test]
fn a_cancelled_saga_ends_in_one_outcome() {
    nothing_breaks(Scenario::cancelled_saga());
}

#[test]
fn the_same_saga_has_one_outcome() {
    nothing_breaks(Scenario::saga_submitted_twice());
}

#[test]
fn a_paused_recovery_and_a_drain_lose_no_saga() {
    nothing_breaks(Scenario::operated_saga());
}

#[test]
fn sessions_that_break_off_anywhere_do_a_saga_no_harm() {
    nothing_breaks(Scenario::saga_over_sessions());
}

#[test]
fn a_saga_that_waits_for_locks_goes_on_in_the_end() {
    nothing_breaks(Scenario::saga_among_locks());
}

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
fn an_attempt_whose_saga_cannot_be_recorded_leaves_no_fence_behind() {
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
    // What the fence passes is dropped by a write that is not forced, and a vote that only reads is sent without any.
    let read = RequestKind::Submit(vec![(0, "get x")]);
    scenario.requests[1] = Request { tx: "T2", kind: read, persistent: false, after: Some(0) };
    let report = explore(&scenario, scenario.budget, LIMITS, &mut |_, _| {});
    assert!(report.violation.as_ref().is_some_and(|trace| trace.broken.starts_with("false alarm: p")), "{report}");
}

#[test]
fn participants_of_a_saga_are_not_interchangeable() {
    let report = explore(&Scenario::side_by_side(), NO_FAULTS, LIMITS, &mut |_, _| {});
    assert_eq!(report.renamings, 1);
}

#[test]
fn what_does_not_fit_the_limit_is_said_to_be_left_out() {
    let scenario = Scenario::two_participants();
    let report = explore(&scenario, scenario.budget, Limits { max_states: 100, ..LIMITS }, &mut |_, _| {});
    assert!(!report.complete && report.violation.is_none(), "{report}");
}

const NO_FAULTS: Budget = Budget {
    crashes: 0,
    losses: 0,
    duplicates: 0,
    disconnections: 0,
    heuristics: 0,
    operations: 0,
    refusals: 0,
    spoils: 0,
    restores: 0,
};
const ONE_CRASH: Budget = Budget { crashes: 1, ..NO_FAULTS };
const ONE_LOSS: Budget = Budget { losses: 1, ..NO_FAULTS };

#[test]
fn with_and_without_symmetry_the_verdict_and_the_worlds_up_to_renaming_are_the_same() {
    let one_heuristic = Budget { heuristics: 1, ..NO_FAULTS };
    for (scenario, budget, renamings) in [
        (Scenario::two_participants(), ONE_CRASH, 2),
        (Scenario::three_participants(), ONE_CRASH, 6),
        (Scenario::four_participants(), NO_FAULTS, 24),
        (Scenario::wait_die(), NO_FAULTS, 2),
        (Scenario::heuristic(), Budget { crashes: 1, ..one_heuristic }, 2),
        (Scenario::operated(), Budget { operations: 1, ..ONE_CRASH }, 2),
        (Scenario::two_participants().with_mutant(Mutant::NoSweep), ONE_LOSS, 2),
    ] {
        let merged = explore(&scenario, budget, LIMITS, &mut |_, _| {});
        let each = explore(&scenario, budget, Limits { symmetry: false, ..LIMITS }, &mut |_, _| {});
        println!("{merged}\n{each}");
        assert_eq!((merged.renamings, each.renamings), (renamings, renamings));
        assert_eq!(merged.states, each.orbits, "{each}");
        assert!(each.states > merged.states && each.states <= merged.states * renamings, "{each}");
        assert_eq!(merged.depth, each.depth);
        let broken = |report: &Report| report.violation.as_ref().map(|trace| trace.broken.clone());
        assert_eq!(broken(&merged), broken(&each));
    }
}

/// Where a planted bug is to be found, and as what.
fn planted(mutant: Mutant) -> (Scenario, Budget, &'static str) {
    let quick = |scenario: Scenario| (scenario.clone(), scenario.budget);
    let (two, read_only, wait_die) = (Scenario::two_participants(), Scenario::read_only(), Scenario::wait_die());
    let ((scenario, budget), reason) = match mutant {
        Mutant::CommitBeforeStable => ((two, NO_FAULTS), "R1"),
        Mutant::CommitLostUnnoticed => ((two, NO_FAULTS), "R10"),
        Mutant::EndBeforeStable => ((two, NO_FAULTS), "R10"),
        Mutant::VoteBeforeDurable => ((two, NO_FAULTS), "R2"),
        Mutant::LocksNotRestored => ((two, ONE_CRASH), "R2"),
        Mutant::OpenRecordsForgotten => ((two, ONE_CRASH), "R4"),
        Mutant::PausedStartForgets => (quick(Scenario::operated()), "R4"),
        Mutant::PresumesWhileRecovering => ((two, ONE_CRASH), "R4"),
        Mutant::LowerEpochAccepted => (quick(Scenario::sessions()), "R5"),
        Mutant::EpochUnrecorded => (quick(Scenario::sessions()), "R5"),
        Mutant::ReadOnlyLeavesAtVote => ((read_only, NO_FAULTS), "isolation"),
        Mutant::OldSessionHeard => ((read_only, ONE_CRASH), "isolation"),
        Mutant::FenceRunsAhead => ((Scenario::one_phase(), NO_FAULTS), "S9"),
        Mutant::NoSweep => ((two, ONE_LOSS), "termination"),
        Mutant::AbortForcedInPart => ((Scenario::taken_back(), ONE_CRASH), "R11"),
        Mutant::AgesDiffer => ((wait_die, NO_FAULTS), "termination"),
        Mutant::AnybodyWaits => ((wait_die, NO_FAULTS), "termination"),
        Mutant::LeavingUntold => ((wait_die, NO_FAULTS), "R12"),
        Mutant::DecisionUnrecorded => (quick(Scenario::heuristic()), "R3"),
        Mutant::ForgettingErases => ((Scenario::forgotten(), NO_FAULTS), "R10"),
        Mutant::DrainForgets => (quick(Scenario::operated()), "R10"),
        Mutant::NeverResumes => (quick(Scenario::operated()), "termination"),
        Mutant::BegunBeforeStable => ((Scenario::saga(), NO_FAULTS), "saga: action"),
        Mutant::BegunLostUnnoticed => ((Scenario::auto(), NO_FAULTS), "saga: a step"),
        Mutant::TurnedBeforeStable => ((Scenario::saga(), NO_FAULTS), "saga: compensation"),
        Mutant::ProgressBeforeStable => ((Scenario::pivot(), NO_FAULTS), "saga: action"),
        Mutant::SagasForgotten => ((Scenario::saga(), ONE_CRASH), "R4"),
        Mutant::BarriersForgotten => ((Scenario::saga(), ONE_CRASH), "barrier"),
        Mutant::CompensationUnmarked => ((Scenario::refused_step(), ONE_CRASH), "barrier"),
        Mutant::EmptyUnstored => ((Scenario::saga(), NO_FAULTS), "R2"),
        Mutant::MarksLeft => ((Scenario::side_by_side(), NO_FAULTS), "R2"),
        Mutant::WordUnrecorded => ((Scenario::stuck_past_the_pivot(), NO_FAULTS), "operator"),
        Mutant::WordsForgotten => ((Scenario::stuck_on_the_way_back(), ONE_CRASH), "saga: compensation"),
        Mutant::RefusedThoughDone => ((Scenario::stuck_on_the_way_back(), NO_FAULTS), "barrier"),
        Mutant::MarksIgnored => ((Scenario::crossing_sagas(), NO_FAULTS), "marks"),
        Mutant::ReleaseLeavesMarks => ((Scenario::released(), NO_FAULTS), "R2"),
        Mutant::ForgettingUnheard => ((Scenario::forgotten_saga(), NO_FAULTS), "operator"),
        Mutant::RefusedCalledStable => (quick(Scenario::refused_commit()), "R10"),
        Mutant::RefusalUntold => (quick(Scenario::refused_saga()), "termination"),
        Mutant::UnusableOverlooked => (quick(Scenario::spoiled_saga()), "R4"),
        Mutant::AbilityAssumed => ((Scenario::auto_unable(), NO_FAULTS), "auto"),
        Mutant::TimeStandsStill => (quick(Scenario::auto_probing()), "auto"),
        Mutant::SeenUnstored => (quick(Scenario::participant_put_back_alone()), "sign: p0 has a session"),
        Mutant::SeenUntold => (quick(Scenario::log_put_back_alone()), "sign: the coordinator serves"),
        Mutant::ShownUnread => (quick(Scenario::participant_put_back()), "sign: p0 has a session"),
        Mutant::StartsUnmarked => (quick(Scenario::participant_put_back_alone()), "sign: p0 has a session"),
        Mutant::SpeaksUnasked => (quick(Scenario::log_put_back()), "sign: the coordinator serves"),
        Mutant::LateSignIgnored => (quick(Scenario::log_put_back_alone()), "sign: the coordinator serves"),
        Mutant::OwnSignForgotten => (quick(Scenario::log_put_back_alone()), "sign: the coordinator serves"),
        Mutant::CommitsNotTakenBack => (quick(Scenario::log_put_back()), "put back: T1 has committed"),
        Mutant::NothingTakenBack => (quick(Scenario::log_put_back()), "put back: a participant knew of T1"),
        Mutant::SagasGoOnAfterLoss => {
            (quick(Scenario::log_of_a_late_saga_put_back()), "put back: a client was told that T1 is undone")
        }
        Mutant::LossUnlisted => (quick(Scenario::participant_put_back()), "R10"),
        Mutant::OpenLossUnlisted => (quick(Scenario::participant_put_back_alone()), "R10"),
        Mutant::SignUnstored => (quick(Scenario::log_put_back_alone()), "sign: the coordinator serves"),
        Mutant::SpeaksWhileAsking => {
            (quick(Scenario::log_put_back_alone()), "sign: the coordinator says hello to p0 before it may")
        }
        Mutant::RecoversWhileAsking => {
            (quick(Scenario::nothing_put_back()), "sign: the coordinator takes transactions before it may")
        }
        Mutant::ConnectedUntold => (quick(Scenario::copy_beside_alone()), "put back: a copy that shows it takes"),
        Mutant::UnstableNumbered => (quick(Scenario::nothing_put_back()), "false alarm: the coordinator"),
        Mutant::LossUncounted => (quick(Scenario::participant_put_back_alone()), "R10"),
        Mutant::PassedCalledAborted => (quick(Scenario::log_put_back_later()), "R10"),
    };
    (scenario, budget, reason)
}

#[test]
fn every_planted_bug_is_found_for_its_reason() {
    for mutant in Mutant::value_variants() {
        let (scenario, budget, reason) = planted(*mutant);
        let report = explore(&scenario.with_mutant(*mutant), budget, LIMITS, &mut |_, _| {});
        println!("{mutant:?}: {report}\n");
        let broken = report.violation.as_ref().map(|trace| trace.broken.as_str());
        assert!(
            broken.is_some_and(|broken| broken.starts_with(reason)),
            "{mutant:?} is not found as {reason}: {report}"
        );
    }
}

#[test]
fn a_trace_numbers_its_steps_says_who_does_what_and_ends_with_the_broken_rule() {
    let scenario = Scenario::two_participants().with_mutant(Mutant::CommitBeforeStable);
    let report = explore(&scenario, NO_FAULTS, LIMITS, &mut |_, _| {});
    let trace = report.violation.map(|trace| trace.to_string()).unwrap_or_default();
    println!("{trace}");
    let lines: Vec<&str> = trace.lines().collect();
    assert_eq!(lines[0], "   1. client 0     asks: submit T1");
    assert_eq!(lines[1], "                    -> sends p0 prepare T1/1.0, fence 1.0");
    assert_eq!(lines.last(), Some(&"  => R1: commit of T1/1.0 is sent before its record is stable"));
}
