//! Two-phase commit and sagas side by side: the same seeds, the same work, the same failure, and what each makes of it.
//!
//! All modes are driven by the same clients with the same random streams. Sagas touch here what others read and write,
//! so that what missing isolation costs can be counted. A figure is the median over seeds; each cell of the table has a
//! seed, whose plan can be replayed.

mod failure;
mod measure;
pub mod trips;

pub use failure::{FAILURES, Failure, OUTAGE_MS};
pub use measure::{Measured, measure};

use crate::plan::{Mode, Plan};
use crate::world::simulate;
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The modes in the order of the table.
pub const MODES: [Mode; 4] = [Mode::TwoPhase, Mode::Saga, Mode::GuardedSaga, Mode::Auto];

/// One failure in one mode, over all seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub failure: &'static str,
    pub mode: Mode,
    pub seeds: u64,
    /// Runs in which the failure struck.
    pub struck: u64,
    /// Runs in which every transaction ended all or nothing.
    pub atomic: u64,
    /// Medians over seeds of [`Measured`].
    pub outcome_known_percent: f64,
    pub finished_in_time_percent: f64,
    pub lock_median_ms: u64,
    /// The median over seeds of the longest in each.
    pub lock_longest_ms: u64,
    pub blocked_transactions: u64,
    pub recovered_after_ms: u64,
    pub committed: u64,
    /// Over all seeds together, by kind.
    pub anomalies: BTreeMap<&'static str, u64>,
    /// A seed to replay, in the middle of those that struck by their longest lock.
    pub seed: u64,
}

/// Runs every failure in every mode, over seeds `first` and the next ones. `progress` hears of each run.
pub fn compare(first: u64, seeds: u64, jobs: Option<NonZeroUsize>, progress: &(dyn Fn() + Sync)) -> Vec<Row> {
    let cells: Vec<(&Failure, Mode)> =
        FAILURES.iter().flat_map(|failure| MODES.into_iter().map(move |mode| (failure, mode))).collect();
    let found = over_seeds(cells.len(), first, seeds, jobs, progress, &|cell, seed| {
        let (failure, mode) = cells[cell];
        measure(&simulate(&failure.plan(mode, seed)))
    });
    let rows = cells.iter().zip(&found);
    rows.map(|((failure, mode), found)| {
        row(failure, *mode, &found.iter().map(|(seed, one)| (*seed, one)).collect::<Vec<_>>())
    })
    .collect()
}

/// Runs each cell with each seed, some at a time. Returns what came of it by cells, in the order of seeds.
fn over_seeds<T: Send>(
    cells: usize,
    first: u64,
    seeds: u64,
    jobs: Option<NonZeroUsize>,
    progress: &(dyn Fn() + Sync),
    run: &(dyn Fn(usize, u64) -> T + Sync),
) -> Vec<Vec<(u64, T)>> {
    let tasks: Vec<(usize, u64)> =
        (0..cells).flat_map(|cell| (first..first + seeds).map(move |seed| (cell, seed))).collect();
    let found: Mutex<BTreeMap<(usize, u64), T>> = Mutex::default();
    let next = AtomicUsize::new(0);
    let jobs = jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(task @ (cell, seed)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    let came = run(cell, seed);
                    found.lock().unwrap_or_else(PoisonError::into_inner).insert(task, came);
                    progress();
                }
            });
        }
    });
    let mut all: Vec<Vec<(u64, T)>> = (0..cells).map(|_| Vec::new()).collect();
    for ((cell, seed), came) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        all[cell].push((seed, came));
    }
    all
}

/// The plan behind a cell of the table.
pub fn plan(failure: &str, mode: Mode, seed: u64) -> Option<Plan> {
    FAILURES.iter().find(|known| known.name == failure).map(|known| known.plan(mode, seed))
}

fn row(failure: &Failure, mode: Mode, found: &[(u64, &Measured)]) -> Row {
    let struck: Vec<&(u64, &Measured)> = found.iter().filter(|(_, measured)| measured.struck).collect();
    let ms = |of: fn(&Measured) -> u64| median(struck.iter().map(|(_, measured)| of(measured)));
    let percent = |of: fn(&Measured) -> u64| ms(of) as f64 / 10.0;
    let mut anomalies = BTreeMap::new();
    for (kind, count) in found.iter().flat_map(|(_, measured)| &measured.anomalies) {
        *anomalies.entry(*kind).or_default() += count;
    }
    let mut by_lock: Vec<(u64, u64)> =
        struck.iter().map(|(seed, measured)| (measured.lock_longest_ms, *seed)).collect();
    by_lock.sort_unstable();
    Row {
        failure: failure.name,
        mode,
        seeds: found.len() as u64,
        struck: struck.len() as u64,
        atomic: found.iter().filter(|(_, measured)| measured.atomic).count() as u64,
        outcome_known_percent: percent(|measured| measured.outcome_known_permille),
        finished_in_time_percent: percent(|measured| measured.finished_in_time_permille),
        lock_median_ms: ms(|measured| measured.lock_median_ms),
        lock_longest_ms: ms(|measured| measured.lock_longest_ms),
        blocked_transactions: ms(|measured| measured.blocked_transactions),
        recovered_after_ms: ms(|measured| measured.recovered_after_ms),
        committed: ms(|measured| measured.committed),
        anomalies,
        seed: by_lock.get(by_lock.len() / 2).map_or(0, |(_, seed)| *seed),
    }
}

/// The lower of the two in the middle; 0 of none.
pub(crate) fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}
