//! The trace as rows of a table, as many as there is room for.

use super::choice::Choice;
use super::story::Story;
use super::svg::escape;
use super::words::{clip, event, seconds, tx_of};
use crate::trace::Entry;
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Rows {
    pub html: String,
    kept: usize,
    count: usize,
}

impl Rows {
    pub fn left_out(&self) -> String {
        match self.count - self.kept {
            0 => String::new(),
            left_out => format!(" ({left_out} of {} entries are left out for want of room)", self.count),
        }
    }
}

/// Returns the rows; what is about the transactions that matter, and about none, goes before what is about others.
pub(super) fn rows(story: &Story<'_>, choice: &Choice, bytes: usize) -> Rows {
    let numbers: BTreeMap<&str, usize> = story.txs.iter().enumerate().map(|(at, tx)| (tx.id, at)).collect();
    let ranks: BTreeMap<usize, usize> = choice.order().enumerate().map(|(rank, at)| (at, rank)).collect();
    let rank = |entry: &Entry| match tx_of(&entry.event).map(|tx| ranks[&numbers[tx]]) {
        Some(rank) => rank.saturating_sub(choice.named.len().saturating_sub(1)),
        None => 0,
    };
    let trace = &story.run.trace;
    let mut order: Vec<usize> = (0..trace.len()).collect();
    // Of what matters alike, the ends matter more than the middle.
    order.sort_by_key(|at| (rank(&trace[*at]), (*at).min(trace.len() - at)));
    let mut room = bytes;
    let mut kept = BTreeMap::new();
    for at in order {
        let row = row(&trace[at], tx_of(&trace[at].event).map(|tx| numbers[tx]));
        let Some(rest) = room.checked_sub(row.len()) else { break };
        room = rest;
        kept.insert(at, row);
    }
    Rows { kept: kept.len(), count: trace.len(), html: kept.into_values().collect() }
}

fn row(entry: &Entry, tx: Option<usize>) -> String {
    const MAX_CHARS: usize = 300;
    let of = tx.map_or_else(|| " class=\"world\"".to_owned(), |tx| format!(" data-tx=\"{tx}\""));
    let host = entry.host.map(|host| host.to_string()).unwrap_or_default();
    let what = escape(&clip(&event(&entry.event), MAX_CHARS));
    format!("<tr{of}><td>{}</td><td>{host}</td><td>{what}</td></tr>\n", seconds(entry.at_us))
}
