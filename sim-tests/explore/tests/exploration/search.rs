//! The search itself: symmetry, limits, and what it tells.

use crate::{LIMITS, NO_FAULTS, ONE_CRASH, ONE_LOSS};
use undoubt_explore::{Budget, Limits, Mutant, Report, Scenario, explore};

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

#[test]
fn a_trace_numbers_its_steps_says_who_does_what_and_ends_with_the_broken_rule() {
    let scenario = Scenario::two_participants().with_mutant(Mutant::CommitBeforeStable);
    let report = explore(&scenario, NO_FAULTS, LIMITS, &mut |_, _| {});
    let trace = report.violation.map(|trace| trace.to_string()).unwrap_or_default();
    println!("{trace}");
    let lines: Vec<&str> = trace.lines().collect();
    assert_eq!(lines[0], "   1. client 0     asks: submit T1");
    assert_eq!(lines[1], "                    -> sends p0 prepare T1/1.0, low-water mark 1.0");
    assert_eq!(lines.last(), Some(&"  => R1: commit of T1/1.0 is sent before its record is stable"));
}
