//! The source of a plan: a seed or a file.

use anyhow::Context;
use clap::{Args, ValueEnum};
use std::fs;
use std::path::{Path, PathBuf};
use undoubt_sim_tests::compare;
use undoubt_sim_tests::plan::{Mutant, Plan, World, plan_of};

#[derive(Args)]
pub(crate) struct Source {
    #[command(flatten)]
    which: Which,
    /// With --seed: the kind of world that it is.
    #[arg(long, value_enum, default_value_t, requires = "seed")]
    world: World,
    /// Plant this bug.
    #[arg(long, value_name = "NAME")]
    mutant: Option<Mutant>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// A plan as JSON, such as a failing sweep writes it.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The plan that this seed expands to.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A cell of the comparison, as `undoubt-sim compare` names it: FAILURE/MODE/SEED.
    #[arg(long, value_name = "CELL")]
    compared: Option<String>,
}

impl Source {
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        let plan = match (&self.which.file, self.which.seed, &self.which.compared) {
            (Some(file), _, _) => read(file)?,
            (None, _, Some(cell)) => compared(cell)?,
            (None, seed, None) => plan_of(seed.context("neither a file nor a seed is given")?, self.world, self.mutant),
        };
        Ok(Plan { mutant: self.mutant.or(plan.mutant), ..plan })
    }

    /// The one command that does it again.
    pub(crate) fn command(&self) -> String {
        match (&self.which.file, self.which.seed, &self.which.compared) {
            (Some(file), _, _) => replay_of_file(file, self.mutant),
            (None, _, Some(cell)) => format!("undoubt-sim replay --compared '{cell}'"),
            (None, seed, None) => replay_of_seed(seed.unwrap_or_default(), self.world, self.mutant),
        }
    }
}

fn compared(cell: &str) -> anyhow::Result<Plan> {
    let mut parts = cell.rsplitn(3, '/');
    let (seed, mode, failure) = (parts.next(), parts.next(), parts.next());
    let plan = || {
        if let Some(plan) = compare::trips::plan(failure?, mode?, seed?.parse().ok()?) {
            return Some(plan);
        }
        let mode = serde_json::from_value(serde_json::Value::String(mode?.to_owned())).ok()?;
        compare::plan(failure?, mode, seed?.parse().ok()?)
    };
    plan().with_context(|| format!("{cell:?} is no cell of the comparison; copy one from `undoubt-sim compare`"))
}

fn read(file: &Path) -> anyhow::Result<Plan> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let plan: Plan = serde_json::from_str(&text).with_context(|| format!("{} is no plan", file.display()))?;
    plan.sound().with_context(|| format!("{} cannot be carried out as it says", file.display()))
}

pub(crate) fn replay_of_seed(seed: u64, world: World, mutant: Option<Mutant>) -> String {
    let which = match world {
        World::Drawn => String::new(),
        World::PutBack | World::Databases | World::OpenSagas | World::Http | World::Events => {
            format!(" --world {}", name(world))
        }
    };
    format!("undoubt-sim replay --seed {seed}{which}{}", planted(mutant))
}

pub(crate) fn replay_of_file(file: &Path, mutant: Option<Mutant>) -> String {
    format!("undoubt-sim replay {}{}", file.display(), planted(mutant))
}

fn planted(mutant: Option<Mutant>) -> String {
    mutant.map(|mutant| format!(" --mutant {}", name(mutant))).unwrap_or_default()
}

pub(crate) fn name(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
