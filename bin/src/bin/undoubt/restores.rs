//! `undoubt restores`: folders of clusters of its own, put back under load.

use crate::args::Global;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::show::{in_words, unless_interrupted, verdict};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use undoubt::cluster::Programs;
use undoubt::restores::{Restores, RestoresReport, RoundReport, restores};

#[derive(Debug, clap::Args)]
pub struct RestoresArgs {
    /// Puts so many folders back, in each way in its turn.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Chooses the folders, and after how many transactions they are put back; moments differ with the same seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub async fn run_restores(args: &RestoresArgs, global: &Global) -> Result<Exit, Failure> {
    let plan = Restores { rounds: args.rounds, seed: args.seed };
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new(args.rounds as u64) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{pos}/{len} {wide_bar} {msg}").map_err(anyhow::Error::from)?);
    let told = bar.clone();
    let programs = Programs::beside_this_one()?;
    let report = unless_interrupted(restores(&programs, &plan, move |number, what| {
        told.set_position(number as u64);
        told.set_message(what.to_owned());
    }))
    .await?;
    bar.finish_and_clear();
    Ok(verdict(report.is_clean()).told(global.output.show(&report, || describe(&report))))
}

fn describe(report: &RestoresReport) -> String {
    let header = [
        "what was put back",
        "committed",
        "noticed after ms",
        "by others meanwhile",
        "refused meanwhile",
        "lost, listed",
        "lost, in a range",
        "forgotten",
        "violations",
    ];
    let row = |round: &RoundReport| {
        [
            round.case.clone(),
            round.committed.to_string(),
            format!("{:.0}", round.noticed_after_ms),
            round.committed_meanwhile.to_string(),
            round.refused_meanwhile.to_string(),
            round.listed.to_string(),
            round.within_the_loss.to_string(),
            round.forgotten.to_string(),
            round.violations.len().to_string(),
        ]
    };
    let table = output::table(header, report.rounds.iter().map(row).collect(), "nothing was put back");
    let violations =
        |round: &RoundReport| round.violations.iter().map(|what| format!("{}: {what}", round.case)).collect::<Vec<_>>();
    let mut parts = vec![table];
    parts.extend(report.rounds.iter().flat_map(violations));
    parts.push(format!("{} folders put back in {:.0} s", report.rounds.len(), report.elapsed_s));
    parts.push(in_words(report.is_clean()).to_owned());
    parts.join("\n")
}
