//! `undoubt-bench`: measures what transactions cost, with real processes and real forced writes.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

use anyhow::Context;
use clap::{Parser, ValueEnum};
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use undoubt::bench::page::{goal_text, html, number};
use undoubt::bench::{Effort, Found, Part, Progress, bench, echo, reading, service};
use undoubt::cluster::Programs;
use undoubt::process::raise_open_files;
use undoubt_platform::terminal::{complain, say};

/// Measures what transactions cost, beside the floors under them, in one run.
///
/// Prints a table, and writes findings.jsonl (a line for each figure) and report.html (with charts). Exit codes: 0 all
/// goals met, 1 some missed, 2 wrong usage or it could not be measured.
#[derive(Debug, Parser)]
#[command(name = "undoubt-bench", version)]
struct Arguments {
    /// Only these parts.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// How long each figure is measured, in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How often; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Transactions of the long run. Default: an hour of 500 a second.
    #[arg(long, default_value_t = 1_800_000)]
    endurance: u64,
    /// Clients that read at once, each on a connection of its own, in the part `readers`.
    #[arg(long, default_value_t = 5_000)]
    readers: usize,
    /// Where the report goes.
    #[arg(long, default_value = "undoubt-bench-report")]
    out: PathBuf,
    /// Serves the echo that is measured against.
    #[arg(long, hide = true)]
    echo: bool,
    /// Serves the service that sagas call.
    #[arg(long, hide = true)]
    service: bool,
    /// Lets clients read.
    #[arg(long, hide = true, value_name = "JSON")]
    read: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            complain(format_args!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Runs the parts, and returns whether all goals are met.
async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    if arguments.echo {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        say(listener.local_addr()?)?;
        echo::serve(listener).await?;
        return Ok(true);
    }
    if arguments.service {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        say(listener.local_addr()?)?;
        service::serve(listener).await?;
        return Ok(true);
    }
    if let Some(reading) = &arguments.read {
        let read = reading::read(&serde_json::from_str(reading)?).await?;
        say(serde_json::to_string(&read)?)?;
        return Ok(true);
    }
    // Also for the servers, which inherit it.
    raise_open_files(0);
    let Arguments { parts, seconds, rounds, endurance, readers, out, .. } = arguments;
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let helper = std::env::current_exe().context("where is this program?")?;
    let effort = Effort { measured: Duration::from_secs(seconds), rounds: rounds.into(), endurance, readers };
    let parts = if parts.is_empty() { Part::value_variants().to_vec() } else { parts };
    let found = bench(Programs::beside_this_one()?, helper, &parts, effort, &mut tell).await?;
    let lines: Vec<String> = found.findings.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    fs::write(out.join("findings.jsonl"), lines.join("\n") + "\n")?;
    fs::write(out.join("report.html"), html(&found)?)?;
    let missed = found.findings.iter().filter(|finding| finding.met == Some(false)).count();
    let Found { skipped, .. } = &found;
    print(format_args!(
        "\n{missed} goals missed, {} parts skipped; the report is {}",
        skipped.len(),
        out.join("report.html").display()
    ));
    Ok(missed == 0)
}

fn tell(told: &Progress<'_>) {
    let finding = match told {
        Progress::Found(finding) => finding,
        Progress::Skipped { what, why } => return print(format_args!("SKIPPED {what}: {why}")),
    };
    let spread = finding.spread.map(|(low, high)| format!("{}..{}", number(low), number(high))).unwrap_or_default();
    let verdict = if finding.met == Some(true) { "met" } else { "MISSED" };
    let goal = finding.goal.map(|goal| format!(" ({}: {verdict})", goal_text(goal))).unwrap_or_default();
    let note = if finding.note.is_empty() { String::new() } else { format!("  {}", finding.note) };
    let (name, value, unit) = (finding.name.as_str(), number(finding.value), finding.unit);
    print(format_args!("{name:<52}{value:>10} {unit:<10} {spread}{goal}{note}"));
}

/// Prints a line. A failure to do so is passed over, because the report holds the line, too.
fn print(text: impl Display) {
    let _ = say(text);
}
