//! `undoubt-sim sweep`: many seeds.

mod report;

use crate::failure::{Keeping, Kept, told_broken};
use crate::output::{self, Format, line};
use crate::source::replay_of_seed;
use clap::Args;
use serde::Serialize;
use std::num::NonZeroUsize;
use undoubt_sim_tests::plan::{Mutant, World, plan_of};
use undoubt_sim_tests::sweep::{self, Failed, Report};

/// The number of failed seeds that are shrunk and drawn.
const MAX_KEPT: usize = 3;

#[derive(Args)]
pub(crate) struct Sweep {
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first one.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first: u64,
    /// Plant this bug.
    #[arg(long, value_name = "NAME")]
    mutant: Option<Mutant>,
    /// The kind of world that all of them are.
    #[arg(long, value_enum, default_value_t)]
    world: World,
    /// Go on after the first seed that breaks a rule.
    #[arg(long)]
    keep_going: bool,
    /// Seeds that run at a time [default: one for each core].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    keeping: Keeping,
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    report: Report,
    /// Failing plans that were shrunk and kept.
    kept: Vec<Kept>,
}

impl Sweep {
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        let Sweep { seeds, first, mutant, world, keep_going, jobs, keeping, output } = self;
        let bar = output::bar(usize::try_from(seeds)?, "seeds");
        let mut broken = 0;
        let report = sweep::Sweep { first, seeds, mutant, world, keep_going, jobs }.run(&mut |summary| {
            broken += usize::from(!summary.broken.is_empty());
            if broken > 0 {
                bar.set_message(format!("{broken} broken"));
            }
            bar.inc(1);
        });
        bar.finish_and_clear();
        if output == Format::Table {
            line(report::told(&report))?;
        }
        let mut kept = Vec::new();
        for (index, failed) in report.failed.iter().enumerate() {
            let Some(first) = failed.broken.first() else { continue };
            if index < MAX_KEPT {
                let this = keeping.keep_seed(&plan_of(failed.seed, world, mutant), world, &first.rule)?;
                if output == Format::Table {
                    line(told(failed, &this))?;
                }
                kept.push(this);
            } else if output == Format::Table {
                line(format!("\n{}\n  {first}", replay_of_seed(failed.seed, world, mutant)))?;
            }
        }
        let sound = report.failed.is_empty();
        if output == Format::Json {
            line(serde_json::to_string(&Document { report, kept })?)?;
        }
        Ok(sound)
    }
}

fn told(Failed { seed, broken, more }: &Failed, kept: &Kept) -> String {
    format!("\nSeed {seed} breaks a rule:\n{}\n{}", told_broken(broken, *more), kept.told())
}
