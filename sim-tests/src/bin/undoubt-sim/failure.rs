//! The treatment of a plan that broke a rule: it is told in words, shrunk, kept and drawn.

use crate::output;
use crate::source::{replay_of_file, replay_of_seed};
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use std::fs;
use std::path::PathBuf;
use undoubt_sim_tests::picture::{self, Shown};
use undoubt_sim_tests::plan::{Plan, World};
use undoubt_sim_tests::run::Run;
use undoubt_sim_tests::shrink::{DEFAULT_MAX_RUNS, Shrunk, shrink};
use undoubt_sim_tests::sweep::{Broken, breaks, examine};

#[derive(Args)]
pub(crate) struct Keeping {
    /// Where failing plans and their pictures go.
    #[arg(long, value_name = "DIR", default_value = "undoubt-sim-failures")]
    pub(crate) out: PathBuf,
    /// Runs that may be spent on making a failing plan smaller; 0 keeps it as it is.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_RUNS)]
    pub(crate) shrink_runs: usize,
}

/// A failing plan that was kept.
#[derive(Serialize)]
pub(crate) struct Kept {
    pub(crate) plan: PathBuf,
    /// There is none of a run that panicked.
    pub(crate) picture: Option<PathBuf>,
    /// The command that does it again, and that for the shrunk plan.
    pub(crate) command: String,
    pub(crate) command_shrunk: String,
    pub(crate) runs: usize,
    pub(crate) minimal: bool,
    /// The words of what the shrunk plan does.
    pub(crate) world: String,
    pub(crate) faults: Vec<String>,
}

impl Keeping {
    /// Makes the plan as small as it gets, still breaking `rule`, and keeps it under `name`.
    pub(crate) fn keep(&self, name: &str, plan: &Plan, rule: &str, command: String) -> anyhow::Result<Kept> {
        let bar = output::bar(self.shrink_runs, "shrinking");
        let Shrunk { plan, runs, minimal } = shrink(plan, rule, self.shrink_runs, |plan| {
            bar.set_message(format!("{} faults", plan.faults.len()));
            bar.inc(1);
            breaks(plan, rule)
        });
        bar.finish_and_clear();
        fs::create_dir_all(&self.out).with_context(|| format!("cannot create {}", self.out.display()))?;
        let file = self.out.join(format!("{name}.json"));
        let json = serde_json::to_string_pretty(&plan)?;
        fs::write(&file, json + "\n").with_context(|| format!("cannot write {}", file.display()))?;
        let command_shrunk = replay_of_file(&file, None);
        let examined = examine(&plan);
        let picture = match &examined.run {
            None => None,
            Some(run) => {
                let picture = self.out.join(format!("{name}.html"));
                draw(run, &examined.broken, &command_shrunk, &picture)?;
                Some(picture)
            }
        };
        let faults = plan.faults.iter().map(ToString::to_string).collect();
        Ok(Kept { plan: file, picture, command, command_shrunk, runs, minimal, world: world(&plan), faults })
    }

    /// Keeps what a seed came to.
    pub(crate) fn keep_seed(&self, plan: &Plan, world: World, rule: &str) -> anyhow::Result<Kept> {
        let command = replay_of_seed(plan.seed, world, plan.mutant);
        self.keep(&format!("seed-{}", plan.seed), plan, rule, command)
    }
}

pub(crate) fn draw(run: &Run, broken: &[Broken], command: &str, file: &PathBuf) -> anyhow::Result<()> {
    let shown: Vec<Shown> = broken.iter().map(Shown::from).collect();
    let html = picture::draw(run, &shown, command);
    fs::write(file, html).with_context(|| format!("cannot write {}", file.display()))
}

/// The size of a plan's world.
pub(crate) fn world(plan: &Plan) -> String {
    let shape = &plan.shape;
    let peculiar: String = shape.peculiarities().iter().map(|one| format!("; {one}")).collect();
    format!(
        "{}, {} with {} each, {} of each kind at each participant; healed after {}.{:03} s{peculiar}",
        count(shape.participants.into(), "participant"),
        count(shape.clients.into(), "client"),
        count(shape.transactions_per_client.into(), "transaction"),
        count(shape.keys.into(), "key"),
        shape.heal_at_ms / 1_000,
        shape.heal_at_ms % 1_000
    )
}

pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

impl Kept {
    pub(crate) fn told(&self) -> String {
        let minimal = if self.minimal { "nothing more can be left out" } else { "more could perhaps be left out" };
        let mut lines = vec![
            format!("again:    {}", self.command),
            format!("smallest: {} ({} tried, {minimal})", self.command_shrunk, count(self.runs, "plan")),
            format!("world:    {}", self.world),
        ];
        if self.faults.is_empty() {
            lines.push("faults:   none are needed".to_owned());
        }
        lines.extend(self.faults.iter().enumerate().map(|(index, fault)| {
            let label = if index == 0 { "faults:" } else { "" };
            format!("{label:9} {fault}")
        }));
        lines.push(format!("plan:     {}", self.plan.display()));
        match &self.picture {
            Some(picture) => lines.push(format!("picture:  {}", picture.display())),
            None => lines.push("picture:  none, as the run panicked".to_owned()),
        }
        lines.join("\n")
    }
}

/// Returns what a run broke: the first few, and how many more there are.
pub(crate) fn told_broken(broken: &[Broken], more: usize) -> String {
    let mut lines: Vec<String> = broken.iter().map(ToString::to_string).collect();
    if more > 0 {
        lines.push(format!("... and {} more", count(more, "violation")));
    }
    lines.join("\n")
}
