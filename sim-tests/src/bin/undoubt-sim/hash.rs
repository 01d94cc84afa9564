//! `undoubt-sim hash`: what identifies a run, for those who compare runs.

use crate::output::line;
use anyhow::Context;
use clap::Args;
use std::fs;
use std::path::PathBuf;
use undoubt_sim_tests::plan::{Mutant, World, plan_of};
use undoubt_sim_tests::world::{simulate, simulate_in_detail};

#[derive(Args)]
pub(crate) struct Hash {
    /// The first seed.
    #[arg(long, alias = "seed", value_name = "SEED", default_value_t = 1)]
    first: u64,
    /// How many, one after the other in this process.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// The kind of world that all of them are.
    #[arg(long, value_enum, default_value_t)]
    world: World,
    /// From the last one to the first.
    #[arg(long)]
    descending: bool,
    /// Plant this bug.
    #[arg(long, value_name = "NAME")]
    mutant: Option<Mutant>,
    /// Hash every event of every library, and write those of the last seed into this file, one a line.
    #[arg(long, value_name = "FILE")]
    detail: Option<PathBuf>,
}

impl Hash {
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        let mut seeds: Vec<u64> = (self.first..self.first.saturating_add(self.seeds)).collect();
        if self.descending {
            seeds.reverse();
        }
        for seed in seeds {
            let plan = plan_of(seed, self.world, self.mutant);
            let hash = match &self.detail {
                None => simulate(&plan).hash,
                Some(file) => {
                    let (run, events) = simulate_in_detail(&plan);
                    // One event, one line.
                    let lines: Vec<String> = events.iter().map(|event| event.replace('\n', "\\n")).collect();
                    fs::write(file, lines.join("\n")).with_context(|| format!("cannot write {}", file.display()))?;
                    run.hash
                }
            };
            line(format!("{seed} {hash:016x}"))?;
        }
        Ok(true)
    }
}
