//! `undoubt-sim compare`: two-phase commit and sagas side by side.

use crate::output::{self, Format, line, table};
use clap::Args;
use std::num::NonZeroUsize;
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
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
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

impl Compare {
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        let runs = FAILURES.len() * MODES.len() * usize::try_from(self.seeds)?;
        let bar = output::bar(runs, "runs");
        let rows = compare(self.first, self.seeds, self.jobs, &|| bar.inc(1));
        bar.finish_and_clear();
        match self.output {
            Format::Json => self.output.show(&rows, String::new)?,
            Format::Table => {
                for failure in FAILURES {
                    let of: Vec<&Row> = rows.iter().filter(|row| row.failure == failure.name).collect();
                    line(format!("{}\n{}\n", failure.name, shown(&of)))?;
                }
                line(NOTES)?;
            }
        }
        Ok(true)
    }
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
