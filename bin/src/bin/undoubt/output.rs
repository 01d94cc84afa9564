//! Printing: tables for people, JSON for programs.

use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;
use std::fmt::Display;
use std::io;
use std::time::Duration;
use undoubt_platform::terminal;
use undoubt_vocabulary::printable_text::{clean, steers};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables, for people.
    Table,
    /// JSON, for programs: one JSON document a line.
    Json,
}

impl Format {
    /// Prints a document in the form asked for. What it means for the exit code if that fails, `exit` knows.
    pub fn show(self, document: &impl Serialize, table: impl FnOnce() -> String) -> io::Result<()> {
        match self {
            Format::Table => line(table()),
            Format::Json => json_line(document),
        }
    }
}

/// Prints a document for programs. JSON's own escapes keep it from steering a terminal.
pub fn json_line(document: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_string(document)?;
    if !json.contains(steers) {
        return terminal::say(json);
    }
    // Outside of strings there is none, and none needs more than four digits.
    let escaped = |c: char| if steers(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    terminal::say(json.chars().map(escaped).collect::<String>())
}

/// Prints text for people.
pub fn line(text: impl Display) -> io::Result<()> {
    terminal::say(clean(&text.to_string()))
}

/// One line under the header, and nothing that gets in the way of copying.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─'));

/// A table with a header, or `nothing` where there are no rows. Where the terminal is too narrow for it, the rows are told one
/// below the other, so that ids and words stay whole.
pub fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>, nothing: &str) -> String {
    if rows.is_empty() {
        return nothing.to_owned();
    }
    let rows: Vec<[String; N]> = rows.into_iter().map(|row| row.map(|cell| clean(&cell).into_owned())).collect();
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in &rows {
        table.add_row(row);
    }
    let shown = table.trim_fmt();
    match table.width().map(usize::from) {
        Some(width) if shown.lines().any(|line| line.chars().count() > width) => records(header, &rows, width),
        Some(_) | None => shown,
    }
}

/// Tells each row below its first cell: the other cells that say something, with their names, in so many columns.
fn records<const N: usize>(header: [&str; N], rows: &[[String; N]], width: usize) -> String {
    let margin = 2 + header.iter().skip(1).map(|name| name.chars().count()).max().unwrap_or(0) + 2;
    let record = |row: &[String; N]| {
        let cells = header.iter().zip(row).skip(1).filter(|(_, cell)| !cell.is_empty() && *cell != "-");
        let lines = cells.map(|(name, cell)| {
            let named = format!("  {name:<0$}", margin - 2);
            format!("{named}{}", wrapped(cell, margin, width))
        });
        row.iter().take(1).cloned().chain(lines).collect::<Vec<_>>().join("\n")
    };
    rows.iter().map(record).collect::<Vec<_>>().join("\n")
}

/// Breaks text between words, where it would be wider than the terminal.
fn wrapped(text: &str, margin: usize, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line > 0 && margin + line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join(&format!("\n{:margin$}", ""))
}

/// Names and values, one a line.
pub fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = fields.iter().map(|(name, value)| format!("{:<width$}  {}", clean(name), clean(value)));
    lines.collect::<Vec<_>>().join("\n")
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
    fn where_a_table_is_too_wide_its_rows_stand_one_below_the_other_with_whole_words() {
        let id = "22cb22bc-0262-456d-a81f-9e4ff3d43145";
        let why = "bank-a refused: alice would fall below her floor of nought";
        let row = [id, "-", "2m 3s", why].map(str::to_owned);
        let shown = records(["transaction", "state", "age", "why"], &[row], 40);
        let expected =
            [id, "  age    2m 3s", "  why    bank-a refused: alice would fall", "         below her floor of nought"];
        assert_eq!(shown, expected.join("\n"));
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
