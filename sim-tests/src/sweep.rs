//! Many seeds on all cores.
//!
//! Each seed expands to a plan of its own, which is run and looked at by all checkers. What is reported depends on the
//! seeds alone, never on which thread was faster: where it stops at the first violation, that is the lowest seed that has
//! one, and later ones that were run meanwhile do not count.

pub mod cells;
mod examination;
mod panics;
mod points;
mod report;
#[cfg(test)]
mod tests;

pub use examination::{Broken, Examined, breaks, examine};
pub use points::{Points, crash_points};
pub use report::{Committed, Failed, Report, Restored, Restores, Role, Speed, Summary};

use crate::plan::{Mutant, World, plan_of};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

/// The seeds that are run, and how.
#[derive(Clone, Debug)]
pub struct Sweep {
    pub first: u64,
    pub seeds: u64,
    /// Planted into all of them.
    pub mutant: Option<Mutant>,
    pub world: World,
    /// Goes on after the first violation.
    pub keep_going: bool,
    /// Threads; one for each core if it isn't said.
    pub jobs: Option<NonZeroUsize>,
}

impl Sweep {
    pub fn new(first: u64, seeds: u64) -> Sweep {
        Sweep { first, seeds, mutant: None, world: World::Drawn, keep_going: false, jobs: None }
    }

    /// `progress` hears of every seed that was run.
    pub fn run(&self, progress: &mut dyn FnMut(&Summary)) -> Report {
        self.run_with(&|seed| Summary::of(seed, &examine(&plan_of(seed, self.world, self.mutant))), progress)
    }

    fn run_with(&self, run: &(dyn Fn(u64) -> Summary + Sync), progress: &mut dyn FnMut(&Summary)) -> Report {
        #[allow(clippy::disallowed_methods, reason = "for the report only")]
        let started = std::time::Instant::now();
        let jobs = self.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let next = AtomicU64::new(0);
        let end = AtomicU64::new(self.seeds);
        let (sender, finished) = mpsc::channel();
        let mut summaries = BTreeMap::new();
        let work = |sender: mpsc::Sender<Summary>| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= end.load(Ordering::Relaxed) {
                    return;
                }
                let summary = run(self.first + index);
                if !self.keep_going && !summary.broken.is_empty() {
                    end.fetch_min(index + 1, Ordering::Relaxed);
                }
                if sender.send(summary).is_err() {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..jobs {
                let sender = sender.clone();
                scope.spawn(|| work(sender));
            }
            drop(sender);
            for summary in finished {
                progress(&summary);
                summaries.insert(summary.seed, summary);
            }
        });
        // All seeds before the end were handed out before the threads were done.
        summaries.retain(|seed, _| *seed - self.first < end.load(Ordering::Relaxed));
        let speed = Speed::new(started.elapsed(), jobs, summaries.values());
        Report::of(self, summaries.into_values(), speed)
    }
}
