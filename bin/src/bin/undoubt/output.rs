//! Printing: tables for people, JSON for programs.

use crate::exit::{Exit, Failure};
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs: one JSON document a line.
    Json,
}

impl Format {
    /// Prints a document in the form asked for.
    pub fn show(self, document: &impl Serialize, table: impl FnOnce() -> String) -> Result<(), Failure> {
        match self {
            Format::Table => line(table()),
            Format::Json => json_line(document),
        }
    }
}

pub fn json_line(document: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(document).map_err(anyhow::Error::from)?)
}

/// Prints to standard output. A reader who has enough (`| head`) ends the command without an error.
pub fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe {
            Failure::new(Exit::Done, "")
        } else {
            Failure::new(Exit::Unexpected, format!("cannot write to standard output: {error}"))
        }
    })
}

/// One line under the header, and nothing that gets in the way of copying.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─'));

/// A table with a header, or `nothing` where there are no rows.
pub fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>, nothing: &str) -> String {
    if rows.is_empty() {
        return nothing.to_owned();
    }
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| clean(&cell)));
    }
    table.trim_fmt()
}

/// Names and values, one a line.
pub fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = fields.iter().map(|(name, value)| format!("{name:<width$}  {}", clean(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// What others wrote must not steer the terminal.
pub fn clean(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// A duration to the precision that people care for: `250ms`, `12.3s`, `5m 4s`, `2h 5m`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..=59 => format!("{:.1}s", duration.as_secs_f64()),
        60..=3_599 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

pub fn or_dash(text: Option<impl Display>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_rows_and_says_so_where_there_are_none() {
        let shown = table(["tx", "state"], vec![["a".to_owned(), "committed".to_owned()]], "none");
        assert!(shown.contains("committed"), "{shown}");
        assert_eq!(table(["tx", "state"], Vec::new(), "none"), "none");
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }

    #[test]
    fn spans_keep_the_units_people_care_for() {
        let span = |milliseconds| span(Duration::from_millis(milliseconds));
        assert_eq!(span(250), "250ms");
        assert_eq!(span(12_340), "12.3s");
        assert_eq!(span(304_000), "5m 4s");
        assert_eq!(span(7_500_000), "2h 5m");
        assert_eq!(span(90_000_000), "1d 1h");
    }
}
