//! `undoubt-sim mutants`: how soon planted bugs are found.

use crate::failure::count;
use crate::output::{self, Format, table};
use crate::source::name;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::num::NonZeroUsize;
use undoubt_sim_tests::plan::{Mutant, World};
use undoubt_sim_tests::sweep::Sweep;

#[derive(Args)]
pub(crate) struct Mutants {
    /// Only this one; all of them by default.
    #[arg(value_name = "NAME")]
    mutant: Option<Mutant>,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first: u64,
    /// Give up on a bug after so many.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    max_seeds: u64,
    /// Seeds that run at a time [default: one for each core].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Serialize)]
struct Hunt {
    mutant: Mutant,
    /// Seeds until it was found, with the one that found it.
    seeds: u64,
    found: bool,
    rule: Option<String>,
    what: Option<String>,
}

impl Mutants {
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        let mutants = self.mutant.map_or_else(|| Mutant::value_variants().to_vec(), |mutant| vec![mutant]);
        let bar = output::bar(mutants.len(), "mutants");
        let mut hunts = Vec::new();
        for mutant in mutants {
            let sweep = Sweep {
                mutant: Some(mutant),
                world: World::of(mutant),
                jobs: self.jobs,
                ..Sweep::new(self.first, self.max_seeds)
            };
            let mut seeds = 0_usize;
            let report = sweep.run(&mut |_| {
                seeds += 1;
                bar.set_message(format!("{}: {}", name(mutant), count(seeds, "seed")));
            });
            let broken = report.failed.first().and_then(|failed| failed.broken.first()).cloned();
            hunts.push(Hunt {
                mutant,
                seeds: report.seeds,
                found: broken.is_some(),
                rule: broken.as_ref().map(|broken| broken.rule.clone()),
                what: broken.map(|broken| broken.what),
            });
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.output.show(&hunts, || told(&hunts))?;
        Ok(hunts.iter().all(|hunt| hunt.found))
    }
}

fn told(hunts: &[Hunt]) -> String {
    let rows = hunts.iter().map(|hunt| {
        let seeds = if hunt.found { hunt.seeds.to_string() } else { format!("not in {}", hunt.seeds) };
        vec![name(hunt.mutant), seeds, hunt.rule.clone().unwrap_or_default(), hunt.what.clone().unwrap_or_default()]
    });
    table(["planted bug", "seeds", "found by", "as"], rows.collect())
}
