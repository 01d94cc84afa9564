//! `undoubt-sim compare`: two-phase commit and sagas side by side, and sagas that a coordinator carries out beside those that events move.

use crate::output::{self, Format, line, table};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::num::NonZeroUsize;
use undoubt_sim_tests::compare::trips::{self, Cost, Report, conclusions};
use undoubt_sim_tests::compare::{FAILURES, MODES, Row, compare};

#[derive(Args)]
pub(crate) struct Compare {
    /// Seeds for each failure and mode; figures are medians over them.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first: u64,
    /// Runs at a time [default: one for each core].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Only two-phase commit and sagas, or only orchestration and choreography.
    #[arg(long, value_enum)]
    only: Option<Part>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// A part of the comparison.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Modes,
    Choreography,
}

#[derive(Serialize)]
struct Compared {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    modes: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trips: Option<Report>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conclusions: Vec<String>,
}

const NOTES: &str = "\
all or nothing   of the seeds, in how many every transaction ended so
known            requests with a definite answer
in time          of the transactions asked for while the failure lasted, decided within their deadline
locks            how long branches that the failure met held theirs: median, and the longest
blocked          transactions that held locks all through the failure
recovered        until the last of those who had asked before the failure's end had an answer
anomalies        over all seeds, by kind: what one transaction saw or overwrote of another's that was half done
cell             `undoubt-sim replay --compared 'FAILURE/MODE/SEED' --picture` shows a run in the middle of them";

const NOTES_ON_TRIPS: &str = "\
A trip is a saga with one step after the other at as many participants. A coordinator carries it out (orchestrated), or events move it,
and what fails is undone by a chain, or by a broadcast of the failure.
messages         between servers and with the client, of each trip; an event counts once for each participant that is told of it
forced           records on stable storage, of each trip, of all servers
done after       from asking until the last step is in effect
events known     a participant knows another one's type of events; files: those that a step more in the middle changes
all or nothing   of the seeds, in how many every trip ended so
known            requests with a definite answer: the trip's outcome, or where events move it that it has begun
in time          of the trips asked for while the failure lasted, ended within their time limit and half a second
noticed          until somebody knows that a trip does not go well: its coordinator, or whoever is told of an event that says so
went on          of the trips under way when the failure struck, ended while it lasted
recovered        until the last of those asked for before the failure's end had ended
cell             `undoubt-sim replay --compared 'FAILURE/WAY/SEED' --picture` shows a run in the middle of them";

impl Compare {
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        let has = |part| self.only.is_none_or(|only| only == part);
        let cells = [(Part::Modes, FAILURES.len() * MODES.len()), (Part::Choreography, trips::runs())];
        let cells: usize = cells.into_iter().filter(|(part, _)| has(*part)).map(|(_, cells)| cells).sum();
        let bar = output::bar(cells * usize::try_from(self.seeds)?, "runs");
        let progress = || bar.inc(1);
        let modes = if has(Part::Modes) { compare(self.first, self.seeds, self.jobs, &progress) } else { Vec::new() };
        let trips = has(Part::Choreography).then(|| trips::compare(self.first, self.seeds, self.jobs, &progress));
        bar.finish_and_clear();
        let conclusions = trips.as_ref().map(conclusions).unwrap_or_default();
        let compared = Compared { modes, trips, conclusions };
        match self.output {
            Format::Json => self.output.show(&compared, String::new)?,
            Format::Table => tell(&compared)?,
        }
        Ok(true)
    }
}

fn tell(compared: &Compared) -> anyhow::Result<()> {
    if !compared.modes.is_empty() {
        for failure in FAILURES {
            let of: Vec<&Row> = compared.modes.iter().filter(|row| row.failure == failure.name).collect();
            line(format!("{}\n{}\n", failure.name, shown(&of)))?;
        }
        line(NOTES)?;
    }
    if let Some(report) = &compared.trips {
        line(format!("\nwhat a trip costs while nothing fails\n{}\n", costs(report)))?;
        for failure in trips::FAILURES {
            let of: Vec<&trips::Row> = report.rows.iter().filter(|row| row.failure == failure.name).collect();
            line(format!("{}\n{}\n", failure.name, under_failure(&of)))?;
        }
        line(NOTES_ON_TRIPS)?;
        line(format!("\n{}", compared.conclusions.join("\n")))?;
    }
    Ok(())
}

fn costs(report: &Report) -> String {
    let header = ["steps", "way", "messages", "forced", "done after", "events known", "files"];
    let cells = |cost: &Cost| {
        vec![
            cost.steps.to_string(),
            cost.way.as_str().to_owned(),
            format!("{:.1}", cost.messages),
            format!("{:.1}", cost.forced),
            format!("{} ms", cost.latency_ms),
            cost.couplings.events_known.to_string(),
            cost.couplings.files_for_a_step.to_string(),
        ]
    };
    table(header, report.costs.iter().map(cells).collect())
}

fn under_failure(rows: &[&trips::Row]) -> String {
    let header =
        ["way", "all or nothing", "trips", "half done", "known", "in time", "noticed", "went on", "recovered", "seed"];
    let cells = |row: &&trips::Row| {
        vec![
            row.way.as_str().to_owned(),
            format!("{} of {}", row.atomic, row.seeds),
            row.trips.to_string(),
            row.half_done.to_string(),
            format!("{:.1} %", row.known_percent),
            format!("{:.1} %", row.in_time_percent),
            row.noticed_after_ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms")),
            format!("{} of {}", row.went_on, row.under_way),
            format!("{} ms", row.recovered_after_ms),
            row.seed.to_string(),
        ]
    };
    table(header, rows.iter().map(cells).collect())
}

fn shown(rows: &[&Row]) -> String {
    let header = [
        "mode",
        "all or nothing",
        "committed",
        "known",
        "in time",
        "locks",
        "blocked",
        "recovered",
        "anomalies",
        "seed",
    ];
    let cells = |row: &&Row| {
        let anomalies: Vec<String> = row.anomalies.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        vec![
            mode(row),
            format!("{} of {}", row.atomic, row.seeds),
            row.committed.to_string(),
            format!("{:.1} %", row.outcome_known_percent),
            format!("{:.1} %", row.finished_in_time_percent),
            format!("{} ms, {} ms", row.lock_median_ms, row.lock_longest_ms),
            row.blocked_transactions.to_string(),
            format!("{} ms", row.recovered_after_ms),
            if anomalies.is_empty() { "none".to_owned() } else { anomalies.join(", ") },
            row.seed.to_string(),
        ]
    };
    table(header, rows.iter().map(cells).collect())
}

fn mode(row: &Row) -> String {
    serde_json::to_value(row.mode).ok().and_then(|mode| mode.as_str().map(str::to_owned)).unwrap_or_default()
}
