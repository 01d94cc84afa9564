//! Explores the small worlds, and sees that planted bugs are found.

mod auto;
mod enlisted;
mod impostors;
mod marks;
mod mutants;
mod nested_sagas;
mod open_sagas;
mod operators;
mod resources;
mod restored_folders;
mod sagas;
mod search;
mod two_phase;
mod unusable_records;

use undoubt_explore::{Budget, Limits, Scenario, explore};

/// Worlds are many small pieces of memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIMITS: Limits = Limits { max_states: 3_000_000, symmetry: true };

const NO_FAULTS: Budget = Budget::NONE;
const ONE_CRASH: Budget = Budget { crashes: 1, ..NO_FAULTS };
const ONE_LOSS: Budget = Budget { losses: 1, ..NO_FAULTS };

fn nothing_breaks(scenario: Scenario) {
    let report = explore(&scenario, scenario.budget, LIMITS, &mut |_, _| {});
    println!("{report}");
    assert!(report.violation.is_none(), "{report}");
    assert!(report.complete, "not everything was explored: {report}");
}
