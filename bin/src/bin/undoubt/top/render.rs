//! A frame as lines of text: pure, for any width.

use super::frame::{Coordinator, Frame, Participant, Transaction};
use crate::output::span;
use std::time::Duration;
use undoubt_vocabulary::printable_text::clean;

/// The part of a list that is shown, as far as there is room.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Columns; longer lines are cut at a word's end.
    pub width: usize,
    /// Lines in all; none: as many as there are.
    pub height: Option<usize>,
    /// Transactions that are passed over.
    pub skip: usize,
}

/// The width of the names at the left.
const NAMES: usize = 12;

/// Returns the lines of a frame.
pub fn lines(frame: &Frame, window: Window) -> Vec<String> {
    let mut lines = vec![title(frame)];
    match (&frame.coordinator, &frame.coordinator_is_away) {
        (Some(coordinator), _) => lines.extend(of_coordinator(coordinator, frame)),
        (None, away) => {
            let why = away.as_deref().unwrap_or("it does not answer");
            lines.push(named("COORDINATOR IS AWAY", why));
            lines.push(named("in doubt", &in_doubt(frame)));
        }
    }
    lines.push(String::new());
    lines.extend(participants(&frame.participants, window.width));
    lines.push(String::new());
    let head = lines.len() + 1;
    let room = window.height.map_or(usize::MAX, |height| height.saturating_sub(head));
    lines.extend(transactions(frame, window, room));
    lines.into_iter().map(|line| cut(clean(&line).replace('\n', " ").trim_end(), window.width)).collect()
}

fn title(frame: &Frame) -> String {
    let Some(coordinator) = &frame.coordinator else { return format!("{}  {}", frame.at, frame.address) };
    let Coordinator { name, epoch, phase, .. } = coordinator;
    format!("{}  {name} at {}: {phase}, epoch {epoch}", frame.at, frame.address)
}

fn named(name: &str, said: &str) -> String {
    format!("{name:<NAMES$}  {said}")
}

fn of_coordinator(coordinator: &Coordinator, frame: &Frame) -> Vec<String> {
    let Coordinator { open, max_open, unacknowledged, stuck, damaged, unusable, paused, .. } = coordinator;
    let rates = coordinator.per_second.map_or_else(
        || "not known before a second look".to_owned(),
        |rates| {
            let [begun, committed, aborted] = [rates.begun, rates.committed, rates.aborted].map(rate);
            format!("begun {begun}  committed {committed}  aborted {aborted}")
        },
    );
    let mut lines = vec![
        named("per second", &rates),
        named(
            "open",
            &format!("{} of at most {}{}", grouped(*open), grouped(*max_open), oldest(coordinator.oldest_open_s)),
        ),
        named("in doubt", &in_doubt(frame)),
        named(
            "waiting",
            &format!(
                "unacknowledged {}{}  stuck {}{}",
                grouped(*unacknowledged),
                oldest(coordinator.oldest_unacknowledged_s),
                grouped(*stuck),
                oldest(coordinator.oldest_stuck_s),
            ),
        ),
        named("to look at", &format!("damaged {}  unusable {}", grouped(*damaged), grouped(*unusable))),
        named("disk room", &room(coordinator)),
        named(
            "recovery",
            &match (coordinator.phase.as_str(), paused) {
                ("recovering", _) => "the log is being read".to_owned(),
                (_, 0) => "over".to_owned(),
                (_, paused) => format!("paused: {} wait for `undoubt recovery resume`", grouped(*paused)),
            },
        ),
    ];
    lines.extend(coordinator.refusing_work_because.iter().map(|why| named("NO NEW WORK", why)));
    lines.extend(coordinator.held_because.iter().map(|why| named("HELD", why)));
    lines
}

fn in_doubt(frame: &Frame) -> String {
    let in_doubt = frame.in_doubt;
    let at = match in_doubt.participants {
        0 => String::new(),
        1 => " at 1 participant".to_owned(),
        many => format!(" at {many} participants"),
    };
    let unknown = match in_doubt.unknown {
        0 => String::new(),
        unknown => format!("  ({unknown} not asked)"),
    };
    format!("{}{at}{}{unknown}", grouped(in_doubt.branches), oldest(in_doubt.oldest_s))
}

fn room(coordinator: &Coordinator) -> String {
    let bound = bytes(coordinator.min_free_bytes);
    match coordinator.free_bytes {
        Some(free) => format!("{} free; no new work below {bound}", bytes(free)),
        None => "nothing bounds it".to_owned(),
    }
}

fn participants(all: &[Participant], width: usize) -> Vec<String> {
    let header = ["participant", "state", "for", "open", "queued", "in doubt", "oldest", "note"];
    let count = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), grouped);
    let row = |one: &Participant| {
        let Participant { name, state, for_s, open, queued, in_doubt, oldest_in_doubt_s, spared, note } = one;
        let spared = spared.then(|| "spared by auto".to_owned());
        let note = spared.into_iter().chain(note.clone()).collect::<Vec<_>>().join("; ");
        let (open, queued, in_doubt) = (count(*open), count(*queued), count(*in_doubt));
        [name.clone(), state.clone(), age(*for_s), open, queued, in_doubt, age(*oldest_in_doubt_s), note]
    };
    let rows: Vec<[String; 8]> = all.iter().map(row).collect();
    if rows.is_empty() {
        return vec!["no participants are known".to_owned()];
    }
    columns(header, &rows, [false, false, true, true, true, true, true, false], width)
}

fn transactions(frame: &Frame, window: Window, room: usize) -> Vec<String> {
    let what = if frame.coordinator.is_some() { "oldest open" } else { "oldest in doubt" };
    if frame.oldest.is_empty() {
        let nothing =
            if frame.coordinator.is_some() { "nothing is open" } else { "nothing is in doubt where it was asked" };
        return vec![nothing.to_owned()];
    }
    let row = |one: &Transaction| {
        let Transaction { tx, age_s, phase, waits_at } = one;
        [tx.clone(), age(Some(*age_s)), phase.clone(), waits_at.clone()]
    };
    // One line may say that there is more.
    let skip = window.skip.min(frame.oldest.len().saturating_sub(1));
    let rows: Vec<[String; 4]> = frame.oldest.iter().skip(skip).take(room.saturating_sub(1)).map(row).collect();
    let left = frame.oldest.len() - skip - rows.len();
    let mut lines = columns([what, "age", "phase", "at"], &rows, [false, true, false, false], window.width);
    match (left, frame.more) {
        (0, false) => {}
        (0, true) => lines.push("and more".to_owned()),
        (left, false) => lines.push(format!("and {left} more")),
        (left, true) => lines.push(format!("and at least {left} more")),
    }
    lines
}

/// Puts cells below each other; `right`: against the right edge of their column. The last column has what is left.
fn columns<const N: usize>(header: [&str; N], rows: &[[String; N]], right: [bool; N], width: usize) -> Vec<String> {
    let length = |text: &str| text.chars().count();
    let widths: [usize; N] = std::array::from_fn(|at| {
        rows.iter().map(|row| length(&row[at])).chain([length(header[at])]).max().unwrap_or_default()
    });
    // Where it is too narrow, two spaces between columns become one.
    let whole = widths[..N - 1].iter().map(|width| width + 2).sum::<usize>() + length(header[N - 1]);
    let between = if whole > width { " " } else { "  " };
    let line = |cells: [&str; N]| {
        let cell = |(at, cell): (usize, &str)| {
            let pad = " ".repeat(widths[at].saturating_sub(length(cell)));
            if right[at] { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
        };
        cells.into_iter().enumerate().map(cell).collect::<Vec<_>>().join(between)
    };
    let rows = rows.iter().map(|row| line(std::array::from_fn(|at| row[at].as_str())));
    std::iter::once(line(header)).chain(rows).collect()
}

/// Cuts a line that is too long, and says so.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let head: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", head.trim_end())
}

fn rate(per_second: f64) -> String {
    if per_second >= 100.0 { grouped(per_second.round() as u64) } else { format!("{per_second:.1}") }
}

fn age(seconds: Option<f64>) -> String {
    let whole = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    whole.map_or_else(|| "-".to_owned(), span)
}

fn oldest(seconds: Option<f64>) -> String {
    seconds.map_or_else(String::new, |_| format!(" (oldest {})", age(seconds)))
}

fn bytes(number: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| number >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", number as f64 / unit as f64),
        None => format!("{number} B"),
    }
}

/// Returns a number with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests;
