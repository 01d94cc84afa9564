//! Printing: tables for people, JSON for programs, a bar while it takes.

use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::fmt::Display;
use undoubt_platform::terminal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tables, for people.
    Table,
    /// JSON, for programs: one JSON document.
    Json,
}

impl Format {
    pub(crate) fn show(self, document: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        match self {
            Format::Table => line(text()),
            Format::Json => line(serde_json::to_string(document)?),
        }
    }
}

/// Prints to standard output. If that cannot be written, the exit code still says what was found; a reader who has enough
/// (`| head`) needs not even be told.
pub(crate) fn line(text: impl Display) -> anyhow::Result<()> {
    if let Err(error) = terminal::unless_reader_left(terminal::say(text)) {
        terminal::complain(format_args!("warning: cannot write to standard output: {error}. The exit code holds"));
    }
    Ok(())
}

/// One line under the header, and nothing that gets in the way of copying.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─'));

pub(crate) fn table<H: Display>(header: impl IntoIterator<Item = H>, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.into_iter().map(|name| name.to_string()));
    table.add_rows(rows);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 1));
    });
    table.trim_fmt()
}

/// Returns a bar on standard error, where somebody watches.
pub(crate) fn bar(length: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len}, {per_sec} [{elapsed}] {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_prefix(what)
}
