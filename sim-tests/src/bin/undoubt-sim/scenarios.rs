//! `undoubt-sim scenarios`: the fault catalogue, line by line.

use crate::failure::{Keeping, told_broken};
use crate::output::{Format, line};
use anyhow::bail;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use undoubt_sim_tests::scenario::{self, Scenario};
use undoubt_sim_tests::sweep::{Broken, examine};

#[derive(Args)]
pub(crate) struct Scenarios {
    /// Only this one; all of them by default.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Say what they are about, and end.
    #[arg(long)]
    list: bool,
    /// Print the plan of the one that is named as JSON, and end.
    #[arg(long, requires = "name")]
    expand: bool,
    /// Where the plans and pictures of those that fail go.
    #[arg(long, value_name = "DIR", default_value = "undoubt-sim-failures")]
    out: PathBuf,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Serialize)]
struct Verdict {
    name: &'static str,
    about: &'static str,
    codes: Vec<String>,
    sound: bool,
    broken: Vec<Broken>,
    /// Faults that found no occasion.
    never_struck: Vec<String>,
    /// The event that it is about and that has not come about.
    missing: Option<String>,
}

impl Scenarios {
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        let mut scenarios = scenario::all();
        if let Some(name) = &self.name {
            if !scenarios.iter().any(|scenario| scenario.name == name) {
                let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name).collect();
                bail!("there is no scenario {name:?}; choose one of {}", names.join(", "));
            }
            scenarios.retain(|scenario| scenario.name == name);
        }
        let width = scenarios.iter().map(|scenario| scenario.name.len()).max().unwrap_or_default();
        let mut sound = true;
        for scenario in &scenarios {
            if self.expand {
                line(serde_json::to_string_pretty(&scenario.plan)?)?;
            } else if self.list {
                line(format!("{:width$}  {:10}  {}", scenario.name, codes(scenario).join(" "), scenario.about))?;
            } else {
                sound &= self.try_out(scenario, width)?;
            }
        }
        Ok(sound)
    }

    fn try_out(&self, scenario: &Scenario, width: usize) -> anyhow::Result<bool> {
        let examined = examine(&scenario.plan);
        let hits = examined.run.iter().flat_map(|run| &run.hits).map(|(fault, _)| *fault).collect::<Vec<_>>();
        let faults = scenario.plan.faults.iter().enumerate();
        let idle = faults.filter(|(index, _)| !hits.contains(index)).map(|(_, fault)| fault.to_string());
        let missed = examined.run.as_ref().and_then(|run| scenario.misses(run));
        let missing = missed.map(|(tx, note)| format!("{tx}...: {note}"));
        let verdict = Verdict {
            name: scenario.name,
            about: scenario.about,
            codes: codes(scenario),
            sound: examined.broken.is_empty() && missing.is_none(),
            missing,
            never_struck: idle.collect(),
            broken: examined.broken,
        };
        self.output.show(&verdict, || verdict.told(width))?;
        if let Some(first) = verdict.broken.first() {
            let keeping = Keeping { out: self.out.clone(), shrink_runs: 0 };
            let command = format!("undoubt-sim scenarios {}", scenario.name);
            let kept = keeping.keep(scenario.name, &scenario.plan, &first.rule, command)?;
            if self.output == Format::Table {
                line(kept.told())?;
            }
        }
        Ok(verdict.sound)
    }
}

impl Verdict {
    fn told(&self, width: usize) -> String {
        let word = if self.sound { "sound " } else { "BROKEN" };
        let mut told = format!("{word}  {:width$}  {:10}  {}", self.name, self.codes.join(" "), self.about);
        for fault in &self.never_struck {
            told += &format!("\n  never struck: {fault}");
        }
        if let Some(note) = &self.missing {
            told += &format!("\n  never noted: {note}");
        }
        if !self.broken.is_empty() {
            told = format!("{told}\n{}", told_broken(&self.broken, 0));
        }
        told
    }
}

fn codes(scenario: &Scenario) -> Vec<String> {
    scenario.codes.iter().map(ToString::to_string).collect()
}
