//! Choreography and orchestration side by side: the same trip, the same failures, and what each way makes of it.
//!
//! A trip is a saga with a step at each of some participants, one after the other, each of which takes a seat. A coordinator carries it
//! out; or events move it, and what fails is undone by a chain or by a broadcast. Clients do nothing else, so what a world costs is what
//! trips cost.

mod conclusions;
mod couplings;
mod failure;
mod measure;

pub use conclusions::conclusions;
pub use couplings::Couplings;
pub use failure::{FAILURES, Failure};
pub use measure::{Measured, measure};

use super::{median, over_seeds};
use crate::plan::{Backward, MovedBy, Plan, Shape, Trips};
use crate::world::simulate;
use serde::Serialize;
use std::num::NonZeroUsize;

/// A way in which a trip is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    Orchestrated,
    Chain,
    Broadcast,
}

pub const WAYS: [Way; 3] = [Way::Orchestrated, Way::Chain, Way::Broadcast];

/// The numbers of steps for which costs are told.
pub const STEPS: std::ops::RangeInclusive<u8> = 2..=6;

/// The steps of the trips that meet failures.
pub const STEPS_UNDER_FAILURES: u8 = 3;

/// The time after which a trip that has not ended is undone.
pub const LIMIT_MS: u64 = 1_500;

impl Way {
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Orchestrated => "orchestrated",
            Way::Chain => "chain",
            Way::Broadcast => "broadcast",
        }
    }

    pub(super) fn backward(self) -> Backward {
        match self {
            Way::Orchestrated | Way::Chain => Backward::Chain,
            Way::Broadcast => Backward::Broadcast,
        }
    }

    /// Returns a world in which clients do nothing but such trips.
    pub(super) fn shape(self, steps: u8) -> Shape {
        let alone = match self {
            Way::Orchestrated => MovedBy::Coordinator,
            Way::Chain | Way::Broadcast => MovedBy::Events,
        };
        let (expire_ms, seats) = (Some(LIMIT_MS), u16::MAX);
        Shape {
            participants: steps,
            clients: 6,
            transactions_per_client: 80,
            timeout_ms: LIMIT_MS,
            think_ms: 60,
            latency_ms: (1, 10),
            heal_at_ms: 9_000,
            trips: Some(Trips { steps, backward: self.backward(), expire_ms, seats, percent: 0, alone: Some(alone) }),
            ..Shape::default()
        }
    }
}

/// What a trip costs while nothing fails. Medians over seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    pub way: Way,
    pub steps: u8,
    pub messages: f64,
    pub forced: f64,
    pub latency_ms: u64,
    pub couplings: Couplings,
}

/// One failure in one way, over all seeds. Medians over those in which it struck.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub failure: &'static str,
    pub way: Way,
    pub seeds: u64,
    pub struck: u64,
    /// Runs in which every trip ended all or nothing.
    pub atomic: u64,
    pub trips: u64,
    /// Over all seeds together.
    pub half_done: u64,
    pub known_percent: f64,
    pub in_time_percent: f64,
    pub recovered_after_ms: u64,
    /// The time after which somebody knows that a trip does not go well; `None`: nobody in any seed.
    pub noticed_after_ms: Option<u64>,
    /// Of the trips that were under way when it struck, over all seeds: how many there were, and how many ended while it lasted.
    pub under_way: u64,
    pub went_on: u64,
    pub seed: u64,
}

/// All that was compared.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub costs: Vec<Cost>,
    pub rows: Vec<Row>,
}

/// The number of runs that a comparison takes for each seed.
pub fn runs() -> usize {
    cells().len()
}

/// A failure, in a way, with so many steps.
type Cell = (&'static Failure, Way, u8);

fn cells() -> Vec<Cell> {
    let costs = STEPS.flat_map(|steps| WAYS.map(|way| (&FAILURES[0], way, steps)));
    let failures = FAILURES.iter().flat_map(|failure| WAYS.map(|way| (failure, way, STEPS_UNDER_FAILURES)));
    costs.chain(failures).collect()
}

/// Runs every number of steps, and every failure, in every way, over seeds `first` and the next ones. `progress` hears of each run.
pub fn compare(first: u64, seeds: u64, jobs: Option<NonZeroUsize>, progress: &(dyn Fn() + Sync)) -> Report {
    let cells = cells();
    let found = over_seeds(cells.len(), first, seeds, jobs, progress, &|cell, seed| {
        let (failure, way, steps) = cells[cell];
        measure(&simulate(&failure.plan(way, steps, seed)), way)
    });
    let count = STEPS.count() * WAYS.len();
    let all = || cells.iter().zip(&found);
    Report {
        costs: all().take(count).map(|((_, way, steps), found)| cost(*way, *steps, found)).collect(),
        rows: all().skip(count).map(|((failure, way, _), found)| row(failure, *way, found)).collect(),
    }
}

/// The plan behind a cell of the table.
pub fn plan(failure: &str, way: &str, seed: u64) -> Option<Plan> {
    let way = WAYS.into_iter().find(|known| known.as_str() == way)?;
    FAILURES.iter().find(|known| known.name == failure).map(|known| known.plan(way, STEPS_UNDER_FAILURES, seed))
}

fn cost(way: Way, steps: u8, found: &[(u64, Measured)]) -> Cost {
    let of = |what: fn(&Measured) -> u64| median(found.iter().map(|(_, measured)| what(measured)));
    Cost {
        way,
        steps,
        messages: of(|measured| measured.messages_tenths) as f64 / 10.0,
        forced: of(|measured| measured.forced_tenths) as f64 / 10.0,
        latency_ms: of(|measured| measured.latency_ms),
        couplings: Couplings::of(way, steps),
    }
}

fn row(failure: &Failure, way: Way, found: &[(u64, Measured)]) -> Row {
    let struck: Vec<&(u64, Measured)> = found.iter().filter(|(_, measured)| measured.struck).collect();
    let of = |what: fn(&Measured) -> u64| median(struck.iter().map(|(_, measured)| what(measured)));
    let sum = |what: fn(&Measured) -> u64| found.iter().map(|(_, measured)| what(measured)).sum();
    let noticed: Vec<u64> = struck.iter().filter_map(|(_, measured)| measured.noticed_after_ms).collect();
    let mut by_recovery: Vec<(u64, u64)> =
        struck.iter().map(|(seed, measured)| (measured.recovered_after_ms, *seed)).collect();
    by_recovery.sort_unstable();
    Row {
        failure: failure.name,
        way,
        seeds: found.len() as u64,
        struck: struck.len() as u64,
        atomic: found.iter().filter(|(_, measured)| measured.half_done == 0).count() as u64,
        trips: sum(|measured| measured.trips),
        half_done: sum(|measured| measured.half_done),
        known_percent: of(|measured| measured.known_permille) as f64 / 10.0,
        in_time_percent: of(|measured| measured.in_time_permille) as f64 / 10.0,
        recovered_after_ms: of(|measured| measured.recovered_after_ms),
        noticed_after_ms: (!noticed.is_empty()).then(|| median(noticed.into_iter())),
        under_way: sum(|measured| measured.under_way),
        went_on: sum(|measured| measured.went_on),
        seed: by_recovery.get(by_recovery.len() / 2).map_or(0, |(_, seed)| *seed),
    }
}
