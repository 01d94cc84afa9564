//! `undoubt-sim explore`: what can happen, exhaustively.

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;
use undoubt_sim_tests::explore::{Budget, Limits, Mutant, Scenario, explore};

#[derive(Args)]
pub(crate) struct Explore {
    /// Only this scenario; all of them by default.
    #[arg(long)]
    scenario: Option<String>,
    /// How often a process may crash [default: the scenario's].
    #[arg(long, value_name = "N")]
    crashes: Option<u8>,
    /// How many packets may get lost [default: the scenario's].
    #[arg(long, value_name = "N")]
    losses: Option<u8>,
    /// How many packets may arrive twice [default: the scenario's].
    #[arg(long, value_name = "N")]
    duplicates: Option<u8>,
    /// How often a session may break [default: the scenario's].
    #[arg(long, value_name = "N")]
    disconnections: Option<u8>,
    /// How often an operator may decide alone [default: the scenario's].
    #[arg(long, value_name = "N")]
    heuristics: Option<u8>,
    /// Plant this bug.
    #[arg(long, value_name = "NAME")]
    mutant: Option<Mutant>,
    /// Stop looking at new worlds after this many; a million takes about 200 MB.
    #[arg(long, default_value_t = 20_000_000)]
    max_states: usize,
}

impl Explore {
    pub(crate) fn run(self) -> ExitCode {
        let scenarios = match &self.scenario {
            None => Scenario::all(),
            Some(name) => match Scenario::named(name) {
                Some(scenario) => vec![scenario],
                None => {
                    let names: Vec<&str> = Scenario::all().iter().map(|scenario| scenario.name).collect();
                    eprintln!("there is no scenario {name:?}; choose one of {}", names.join(", "));
                    return ExitCode::from(2);
                }
            },
        };
        let mut sound = true;
        for scenario in scenarios {
            let scenario = Scenario { mutant: self.mutant, ..scenario };
            let bar = ProgressBar::new_spinner().with_style(style());
            bar.set_prefix(scenario.name);
            let limits = Limits { max_states: self.max_states };
            let report = explore(&scenario, self.budget(scenario.budget), limits, &mut |depth, states| {
                bar.set_message(format!("depth {depth}, {states} states"));
                bar.tick();
            });
            bar.finish_and_clear();
            println!("{report}");
            sound &= report.violation.is_none();
        }
        if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn budget(&self, given: Budget) -> Budget {
        Budget {
            crashes: self.crashes.unwrap_or(given.crashes),
            losses: self.losses.unwrap_or(given.losses),
            duplicates: self.duplicates.unwrap_or(given.duplicates),
            disconnections: self.disconnections.unwrap_or(given.disconnections),
            heuristics: self.heuristics.unwrap_or(given.heuristics),
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {msg} [{elapsed}]")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
