//! The findings of a sweep.

use super::cells::{Cell, Table};
use super::{Broken, Examined, Points, Sweep};
use crate::check::{check_all, losses};
use crate::plan::{Copied, Mutant, When};
use crate::run::{Reply, Run};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The most that is told of what one seed broke.
const MAX_TOLD_PER_SEED: usize = 5;

/// The counts of one seed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub seed: u64,
    pub broken: Vec<Broken>,
    /// Transactions that a client was told to be committed.
    pub committed: u64,
    pub simulated_us: u64,
    pub cells: Table,
    pub points: Points,
    pub restores: Restores,
    /// Rules that would be broken, were what cannot be noticed not excused.
    pub excused: u64,
}

/// Disks that were put back: those of coordinators first.
pub type Restores = BTreeMap<(Role, Copied), Restored>;

/// The owner of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Coordinator,
    Participant,
}

/// The counts of disks that were put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    pub put_back: u64,
    /// The number that had lost something.
    pub lossy: u64,
    /// The number that had, and whose loss an operator has accepted.
    pub accepted: u64,
    /// The number that had, and of which nothing could have shown it.
    pub unnoticed: u64,
}

impl Restored {
    fn add(&mut self, other: Restored) {
        self.put_back += other.put_back;
        self.lossy += other.lossy;
        self.accepted += other.accepted;
        self.unnoticed += other.unnoticed;
    }
}

impl Summary {
    pub fn of(seed: u64, examined: &Examined) -> Summary {
        let broken = examined.broken.clone();
        let Some(run) = &examined.run else { return Summary { seed, broken, ..Summary::default() } };
        let mut summary =
            Summary { seed, broken, committed: committed(run), simulated_us: run.simulated_us, ..Summary::default() };
        for (index, states) in &run.hits {
            let fault = &run.plan.faults[*index];
            states.iter().for_each(|state| summary.cells.hit(fault.code(), state));
            if let When::Point { point, .. } = &fault.when {
                *summary.points.struck.entry(point.clone()).or_default() += 1;
            }
        }
        (summary.restores, summary.excused) = (restores(run), excused(run));
        for ((_, point), count) in &run.reached {
            *summary.points.reached.entry(point.clone()).or_default() += u64::from(*count);
        }
        summary
    }
}

fn restores(run: &Run) -> Restores {
    let mut restores = Restores::new();
    for put_back in &run.finals.put_back {
        let role = if put_back.host.is_coordinator() { Role::Coordinator } else { Role::Participant };
        let (lossy, accepted) = (!put_back.lost.is_empty(), losses::is_accepted(run, put_back));
        let unnoticed = lossy && !accepted && losses::could_not_be_noticed(run, put_back);
        restores.entry((role, put_back.copy)).or_default().add(Restored {
            put_back: 1,
            lossy: lossy.into(),
            accepted: (lossy && accepted).into(),
            unnoticed: unnoticed.into(),
        });
    }
    restores
}

fn excused(run: &Run) -> u64 {
    match losses::without_excuse(run) {
        Some(run) => check_all(&run).len() as u64,
        None => 0,
    }
}

fn committed(run: &Run) -> u64 {
    let told = run.calls.iter().filter(|call| match call.reply {
        Reply::Committed(_) => true,
        Reply::Aborted(_) | Reply::Nested { .. } | Reply::Refused(_) | Reply::Unknown(_) => false,
    });
    told.map(|call| &call.tx).collect::<BTreeSet<_>>().len() as u64
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub first: u64,
    /// Run, or run before the first violation.
    pub seeds: u64,
    pub mutant: Option<Mutant>,
    pub failed: Vec<Failed>,
    pub committed: Committed,
    pub simulated_s: f64,
    pub cells: Table,
    /// Could have been hit, and were not.
    pub cells_never_hit: Vec<Cell>,
    /// Were hit although they were thought impossible: somebody is wrong about the protocol.
    pub cells_hit_against_reason: Vec<Cell>,
    pub points: Points,
    pub points_never_reached: Vec<&'static str>,
    pub points_never_struck: Vec<&'static str>,
    pub restores: Vec<((Role, Copied), Restored)>,
    /// Seeds that would break a rule, were what cannot be noticed not excused.
    pub excused: Vec<u64>,
    /// The only part that another run of the same seeds may report otherwise.
    pub speed: Speed,
}

/// A seed that broke rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    pub seed: u64,
    /// The first few.
    pub broken: Vec<Broken>,
    /// The number that there are more.
    pub more: usize,
}

/// Transactions per seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Committed {
    pub mean: f64,
    pub min: u64,
    pub seed_of_min: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Speed {
    pub wall_s: f64,
    pub jobs: usize,
    pub seeds_per_s: f64,
    /// Simulated seconds for each second of each thread.
    pub simulated_s_per_s_and_core: f64,
}

impl Speed {
    pub(super) fn new<'a>(
        elapsed: Duration,
        jobs: usize,
        summaries: impl ExactSizeIterator<Item = &'a Summary>,
    ) -> Speed {
        // Never divides by zero.
        let wall_s = elapsed.as_secs_f64().max(1e-9);
        let seeds_per_s = summaries.len() as f64 / wall_s;
        let simulated_s = summaries.map(|summary| summary.simulated_us as f64 / 1e6).sum::<f64>();
        Speed { wall_s, jobs, seeds_per_s, simulated_s_per_s_and_core: simulated_s / wall_s / jobs as f64 }
    }
}

impl Report {
    /// `summaries` come in the order of their seeds.
    pub(super) fn of(sweep: &Sweep, summaries: impl Iterator<Item = Summary>, speed: Speed) -> Report {
        let mut failed = Vec::new();
        let (mut cells, mut points) = (Table::default(), Points::default());
        let (mut seeds, mut committed, mut simulated_us) = (0_u64, 0_u64, 0_u64);
        let (mut restores, mut excused) = (Restores::new(), Vec::new());
        let mut least: Option<(u64, u64)> = None;
        for summary in summaries {
            seeds += 1;
            committed += summary.committed;
            simulated_us += summary.simulated_us;
            cells.add(&summary.cells);
            points.add(&summary.points);
            for (which, restored) in summary.restores {
                restores.entry(which).or_default().add(restored);
            }
            excused.extend((summary.excused > 0).then_some(summary.seed));
            let this = (summary.committed, summary.seed);
            least = Some(least.map_or(this, |least| least.min(this)));
            if !summary.broken.is_empty() {
                let more = summary.broken.len().saturating_sub(MAX_TOLD_PER_SEED);
                let mut broken = summary.broken;
                broken.truncate(MAX_TOLD_PER_SEED);
                failed.push(Failed { seed: summary.seed, broken, more });
            }
        }
        let (min, seed_of_min) = least.unwrap_or_default();
        let mean = committed as f64 / seeds.max(1) as f64;
        Report {
            first: sweep.first,
            seeds,
            mutant: sweep.mutant,
            failed,
            committed: Committed { mean, min, seed_of_min },
            simulated_s: simulated_us as f64 / 1e6,
            cells_never_hit: cells.never_hit(),
            cells_hit_against_reason: cells.hit_against_reason(),
            cells,
            points_never_reached: points.never_reached(),
            points_never_struck: points.never_struck(),
            points,
            restores: restores.into_iter().collect(),
            excused,
            speed,
        }
    }
}
