//! `undoubt-sim explore`: what can happen, exhaustively.

use crate::output::line;
use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use undoubt_explore::{Budget, Cells, Limits, Mutant, Report, Scenario, explore};
use undoubt_platform::terminal::complain;

#[derive(Args)]
pub(crate) struct Explore {
    /// Only this scenario; all of them by default.
    #[arg(long)]
    scenario: Option<String>,
    /// Say what the scenarios are about, and end.
    #[arg(long)]
    list: bool,
    /// Explore with the budgets of the tests, which are smaller.
    #[arg(long)]
    quick: bool,
    /// The most crashes of processes [default: the scenario's].
    #[arg(long, value_name = "N")]
    crashes: Option<u8>,
    /// The most packets that get lost [default: the scenario's].
    #[arg(long, value_name = "N")]
    losses: Option<u8>,
    /// The most packets that arrive twice [default: the scenario's].
    #[arg(long, value_name = "N")]
    duplicates: Option<u8>,
    /// The most sessions that break [default: the scenario's].
    #[arg(long, value_name = "N")]
    disconnections: Option<u8>,
    /// The most decisions that operators take alone [default: the scenario's].
    #[arg(long, value_name = "N")]
    heuristics: Option<u8>,
    /// The most pauses and drains by operators [default: the scenario's].
    #[arg(long, value_name = "N")]
    operations: Option<u8>,
    /// The most records that the store refuses for good [default: the scenario's].
    #[arg(long, value_name = "N")]
    refusals: Option<u8>,
    /// The most records that turn out to be of no use after a restart [default: the scenario's].
    #[arg(long, value_name = "N")]
    spoils: Option<u8>,
    /// The most records of ended transactions that the log drops [default: the scenario's].
    #[arg(long, value_name = "N")]
    drops: Option<u8>,
    /// The most folders that are put back.
    #[arg(long)]
    restores: Option<u8>,
    /// The most times that a resource loses the locks of a reader [default: the scenario's].
    #[arg(long, value_name = "N")]
    lost_locks: Option<u8>,
    /// The most branches that somebody else ends in the resource itself [default: the scenario's].
    #[arg(long, value_name = "N")]
    other_hands: Option<u8>,
    /// The most prepares of which it is unclear what became [default: the scenario's].
    #[arg(long, value_name = "N")]
    unclear: Option<u8>,

    /// The most prepares that land late [default: the scenario's].
    #[arg(long)]
    late: Option<u8>,
    /// The most early inquiries about what an application has prepared [default: the scenario's].
    #[arg(long, value_name = "N")]
    inquiries: Option<u8>,
    /// Plant this bug.
    #[arg(long, value_name = "NAME")]
    mutant: Option<Mutant>,
    /// Look at every world, also at those that differ only in the names of interchangeable participants.
    #[arg(long)]
    no_symmetry: bool,
    /// Stop looking at new worlds after this many; a million takes about 200 MB.
    #[arg(long, default_value_t = 20_000_000)]
    max_states: usize,
    /// Scenarios explored at a time [default: one for each core].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

impl Explore {
    pub(crate) fn run(self) -> ExitCode {
        let scenarios = match &self.scenario {
            None => Scenario::all(),
            Some(name) => match Scenario::named(name) {
                Some(scenario) => vec![scenario],
                None => {
                    let names: Vec<&str> = Scenario::all().iter().map(|scenario| scenario.name).collect();
                    complain(format_args!("error: there is no scenario {name:?}; choose one of {}", names.join(", ")));
                    return ExitCode::from(2);
                }
            },
        };
        if self.list {
            for scenario in &scenarios {
                let _ = line(format_args!("{:<12}  {}", scenario.name, scenario.about));
            }
            return ExitCode::SUCCESS;
        }
        let cells = self.explore_all(&scenarios);
        match cells {
            Some(cells) => {
                let _ = line(format_args!("\n{cells}"));
                ExitCode::SUCCESS
            }
            None => ExitCode::FAILURE,
        }
    }

    /// Several at a time, reported in their order. What struck; `None` if a rule was broken.
    fn explore_all(&self, scenarios: &[Scenario]) -> Option<Cells> {
        let bars = MultiProgress::new();
        let (next, (done, reports)) = (AtomicUsize::new(0), mpsc::channel());
        let jobs = self.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        std::thread::scope(|threads| {
            for _ in 0..jobs {
                let (done, next, bars) = (done.clone(), &next, &bars);
                threads.spawn(move || {
                    while let Some((at, scenario)) =
                        scenarios.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed))
                    {
                        // Nobody is gone before all are done.
                        let _ = done.send((at, self.explore(scenario, bars)));
                    }
                });
            }
            drop(done);
            let (mut cells, mut sound) = (Cells::default(), true);
            let (mut waiting, mut shown) = (BTreeMap::new(), 0);
            for (at, report) in reports {
                waiting.insert(at, report);
                while let Some(report) = waiting.remove(&shown) {
                    let _ = bars.suspend(|| line(&report));
                    cells.add(&report.cells);
                    sound &= report.violation.is_none();
                    shown += 1;
                }
            }
            sound.then_some(cells)
        })
    }

    fn explore(&self, scenario: &Scenario, bars: &MultiProgress) -> Report {
        let scenario = Scenario { mutant: self.mutant, ..scenario.clone() };
        let bar = bars.add(ProgressBar::new_spinner().with_style(style()));
        bar.set_prefix(scenario.name);
        let limits = Limits { max_states: self.max_states, symmetry: !self.no_symmetry };
        let given = if self.quick { scenario.budget } else { scenario.thorough };
        let report = explore(&scenario, self.budget(given), limits, &mut |depth, states| {
            bar.set_message(format!("depth {depth}, {states} states"));
            bar.tick();
        });
        bar.finish_and_clear();
        report
    }

    fn budget(&self, given: Budget) -> Budget {
        Budget {
            crashes: self.crashes.unwrap_or(given.crashes),
            losses: self.losses.unwrap_or(given.losses),
            duplicates: self.duplicates.unwrap_or(given.duplicates),
            disconnections: self.disconnections.unwrap_or(given.disconnections),
            heuristics: self.heuristics.unwrap_or(given.heuristics),
            operations: self.operations.unwrap_or(given.operations),
            refusals: self.refusals.unwrap_or(given.refusals),
            spoils: self.spoils.unwrap_or(given.spoils),
            drops: self.drops.unwrap_or(given.drops),
            restores: self.restores.unwrap_or(given.restores),
            lost_locks: self.lost_locks.unwrap_or(given.lost_locks),
            other_hands: self.other_hands.unwrap_or(given.other_hands),
            unclear: self.unclear.unwrap_or(given.unclear),
            late: self.late.unwrap_or(given.late),
            inquiries: self.inquiries.unwrap_or(given.inquiries),
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {msg} [{elapsed}]")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
