//! `undoubt demo` and `undoubt torture`: clusters of their own, killed and audited.

use crate::args::Global;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};
use crate::run::How;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::future::Future;
use std::io::IsTerminal;
use std::time::Duration;
use tokio::sync::watch;
use undoubt::cluster::Programs;
use undoubt::databases::{Databases, DatabasesReport, databases};
use undoubt::demo::{Demo, DemoReport, demo};
use undoubt::torture::{Torture, TortureReport, torture};
use undoubt::workload::{Audit, MAX_CUSTOMERS, MAX_IN_FLIGHT, Progress, Report};

#[derive(Debug, clap::Args)]
pub struct TortureArgs {
    /// How many times a process is killed.
    #[arg(long, default_value_t = 120)]
    kills: usize,
    /// The same seed kills the same at the same points; moments differ.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=16))]
    participants: u8,
    /// Customers of the bank under load.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(2..=i64::from(MAX_CUSTOMERS)))]
    customers: u32,
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=MAX_IN_FLIGHT as i64))]
    in_flight: u16,
    /// How transactions are carried out.
    #[arg(long, value_enum, default_value = "mixed")]
    mode: How,
}

pub async fn run_demo(seed: u64, global: &Global) -> Result<Exit, Failure> {
    let bar = spinner();
    let (progress, mut watched) = watch::channel(Progress::default());
    let shown = bar.clone();
    tokio::spawn(async move {
        while watched.changed().await.is_ok() {
            let now = *watched.borrow();
            shown.set_message(format!("{} committed, {} in flight", now.committed, now.in_flight));
        }
    });
    let told = bar.clone();
    let table = global.output == Format::Table;
    let say = move |what: &str| {
        told.suspend(|| {
            if table {
                // A caller that does not read this may still read the exit code.
                let _ = output::line(format_args!("· {what}"));
            }
        })
    };
    let programs = Programs::beside_this_one()?;
    let report = unless_interrupted(demo(&programs, Demo { seed, ..Demo::default() }, progress, say)).await?;
    bar.finish_and_clear();
    Ok(verdict(report.is_clean()).told(global.output.show(&report, || describe_demo(&report))))
}

#[derive(Debug, clap::Args)]
pub struct DatabasesArgs {
    /// The same seed asks for the same transfers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kills, spread over coordinator, participants and database servers.
    #[arg(long, default_value_t = Databases::default().kills)]
    kills: u64,
}

pub async fn run_databases(args: &DatabasesArgs, global: &Global) -> Result<Exit, Failure> {
    let bar = spinner();
    let (told, table) = (bar.clone(), global.output == Format::Table);
    let say = move |what: &str| {
        told.suspend(|| {
            if table {
                // A caller that does not read this may still read the exit code.
                let _ = output::line(format_args!("· {what}"));
            }
        })
    };
    let programs = Programs::beside_this_one()?;
    let setting = Databases { seed: args.seed, kills: args.kills, ..Databases::default() };
    let report = unless_interrupted(databases(&programs, setting, say)).await?;
    bar.finish_and_clear();
    Ok(verdict(report.is_clean()).told(global.output.show(&report, || describe_databases(&report))))
}

fn describe_databases(report: &DatabasesReport) -> String {
    let list = |counts: &BTreeMap<String, u64>| {
        counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    };
    let money: Vec<String> = report.money.iter().map(|(bank, money)| format!("{money} at {bank}")).collect();
    let parts = [
        format!("transfers: {}", list(&report.transfers)),
        format!("kill -9: {}", list(&report.kills)),
        format!("money, as each counts its own: {}; lost or made: {}", money.join(", "), report.money_off),
        format!(
            "transfers in effect on one side only: {}; prepared: {}, sessions in a transaction: {}, marked keys: {}",
            report.torn, report.prepared, report.in_transaction, report.pending
        ),
        left(report.open_transactions, report.open_branches, report.damaged_transactions),
        in_words(report.is_clean()).to_owned(),
    ];
    parts.join("\n")
}

pub async fn run_torture(args: &TortureArgs, global: &Global) -> Result<Exit, Failure> {
    let plan = Torture {
        kills: args.kills,
        seed: args.seed,
        participants: args.participants.into(),
        customers: args.customers,
        in_flight: args.in_flight.into(),
        mode: args.mode.into(),
    };
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(args.kills as u64) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{pos}/{len} {wide_bar} {msg}").map_err(anyhow::Error::from)?);
    let told = bar.clone();
    let programs = Programs::beside_this_one()?;
    let report = unless_interrupted(torture(&programs, &plan, move |number, what| {
        told.set_position(number as u64);
        told.set_message(what.to_owned());
    }))
    .await?;
    bar.finish_and_clear();
    Ok(verdict(report.is_clean()).told(global.output.show(&report, || describe_torture(&report))))
}

/// Ctrl-C ends it like an error, so that its processes and its folder are cleared away.
pub async fn unless_interrupted<T>(shown: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        ended = shown => ended,
        asked = tokio::signal::ctrl_c() => {
            asked?;
            anyhow::bail!("interrupted; its processes are ended and its folder is removed")
        }
    }
}

pub fn verdict(clean: bool) -> Exit {
    if clean { Exit::Done } else { Exit::Unexpected }
}

fn spinner() -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn describe_demo(report: &DemoReport) -> String {
    let sagas = &report.sagas;
    let parts = [
        "two-phase commit".to_owned(),
        load(&report.load),
        audit(&report.audit, "money"),
        left(report.open_transactions, report.open_branches, report.damaged_transactions),
        "sagas".to_owned(),
        load(&sagas.load),
        audit(&sagas.audit, "places"),
        left(sagas.open_transactions, sagas.open_branches, sagas.damaged_transactions),
        in_words(report.is_clean()).to_owned(),
    ];
    parts.join("\n")
}

fn describe_torture(report: &TortureReport) -> String {
    let TortureReport { kills_at_random_moments: random, kills_at_crash_points: at_points, reached, .. } = report;
    let mut parts = vec![format!(
        "{} kill -9 in {:.0} s: {random} at random moments, {at_points} at {} different crash points",
        random + at_points,
        report.elapsed_s,
        reached.len(),
    )];
    if !report.not_reached.is_empty() {
        parts.push(format!("crash points not reached in time: {}", report.not_reached.join(", ")));
    }
    parts.extend([
        load(&report.load),
        audit(&report.audit, "money"),
        left(report.open_transactions, report.open_branches, report.damaged_transactions),
        in_words(report.is_clean()).to_owned(),
    ]);
    parts.join("\n")
}

fn load(load: &Report) -> String {
    format!(
        "operations: {} committed ({:.0}/s), {} refused, {} aborted, {} unknown; latency p50 {} µs, p99 {} µs, max {} µs",
        load.tally.committed,
        load.committed_per_s,
        load.tally.refused,
        load.tally.all_aborted(),
        load.tally.unknown,
        load.latency_us.p50,
        load.latency_us.p99,
        load.latency_us.max,
    )
}

fn audit(audit: &Audit, what: &str) -> String {
    let checked = format!(
        "audit: {} acknowledged commits and {} aborts checked at every branch; {what} expected {}, found {}",
        audit.commits, audit.aborts, audit.expected, audit.found,
    );
    audit.violations.iter().fold(checked, |text, violation| text + &format!("\n  VIOLATION: {violation}"))
}

fn left(transactions: u64, branches: u64, damaged: u64) -> String {
    format!("left open: {transactions} transactions, {branches} branches; damaged: {damaged}")
}

pub fn in_words(clean: bool) -> &'static str {
    if clean { "every promise was kept" } else { "PROMISES WERE BROKEN" }
}
