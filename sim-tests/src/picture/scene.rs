//! The contents of one picture, before anything has a place: so much, and no more.

use super::story::{Band, Life, Moment, Sort, Story, Tx};
use super::view::Wanted;
use crate::plan::Host;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(super) struct Scene<'s> {
    pub story: &'s Story<'s>,
    /// The transactions in full strength, with labels.
    pub txs: Vec<Tx<'s>>,
    /// Dimmed: what else went on at the same time.
    pub others: Vec<&'s Tx<'s>>,
    pub moments: Vec<(Host, &'s Moment)>,
    pub bands: Vec<&'s Band<'s>>,
    pub hosts: BTreeSet<Host>,
    /// The things that there was no room for.
    pub left_out: Vec<String>,
}

impl<'s> Scene<'s> {
    /// Shows at most this many items of each sort.
    pub fn new(story: &'s Story<'s>, wanted: &Wanted, most: usize) -> Scene<'s> {
        let mut left_out = Vec::new();
        let txs = chosen(story, &wanted.txs, most, &mut left_out);
        let others = if wanted.with_others { others(story, wanted, most / 2, &mut left_out) } else { Vec::new() };
        let moments = moments(&story.lives, most, &mut left_out);
        let bands = ends(story.bands.iter().collect(), most, "faults", &mut left_out);
        let mut hosts: BTreeSet<Host> = txs.iter().flat_map(hosts).collect();
        hosts.extend(bands.iter().flat_map(|band| band.hosts.iter().copied()));
        hosts.extend(moments.iter().filter(|(_, moment)| moment.sort != Sort::Up).map(|(host, _)| *host));
        Scene { story, txs, others, moments, bands, hosts, left_out }
    }

    /// Returns true if there are several transactions, so that labels have to name theirs.
    pub fn has_many(&self) -> bool {
        self.txs.len() > 1
    }
}

fn chosen<'s>(story: &'s Story<'s>, txs: &[usize], most: usize, left_out: &mut Vec<String>) -> Vec<Tx<'s>> {
    let mut room = most;
    let mut chosen = Vec::new();
    for (count, at) in txs.iter().enumerate() {
        let tx = &story.txs[*at];
        match room.checked_sub(tx.items()) {
            Some(rest) => {
                room = rest;
                chosen.push(tx.clone());
            }
            None if count == 0 => {
                chosen.push(cut(tx, most, left_out));
                room = 0;
            }
            None => {
                left_out.push(format!("{} of {} transactions", txs.len() - count, txs.len()));
                break;
            }
        }
    }
    chosen
}

/// Its beginning and its end.
fn cut<'s>(tx: &Tx<'s>, most: usize, left_out: &mut Vec<String>) -> Tx<'s> {
    let mut cut = tx.clone();
    let most = most / 4;
    cut.messages = ends(cut.messages, most, "messages", left_out);
    cut.notes = ends(cut.notes, most, "notes of the coordinator", left_out);
    cut.holds = ends(cut.holds, most, "lock bars", left_out);
    cut.asks = ends(cut.asks, most, "requests", left_out);
    cut
}

fn others<'s>(story: &'s Story<'s>, wanted: &Wanted, most: usize, left_out: &mut Vec<String>) -> Vec<&'s Tx<'s>> {
    let txs = wanted.txs.iter().map(|at| &story.txs[*at]);
    let from_us = txs.clone().map(|tx| tx.first_us).min().unwrap_or_default();
    let to_us = txs.map(|tx| tx.last_us).max().unwrap_or_default();
    let meets = |(at, tx): &(usize, &Tx<'_>)| !wanted.txs.contains(at) && tx.first_us <= to_us && from_us <= tx.last_us;
    let meeting: Vec<_> = story.txs.iter().enumerate().filter(meets).map(|(_, tx)| tx).collect();
    let mut room = most;
    let mut kept = Vec::new();
    for tx in &meeting {
        if let Some(rest) = room.checked_sub(tx.items()) {
            room = rest;
            kept.push(*tx);
        }
    }
    if kept.len() < meeting.len() {
        left_out.push(format!("{} of {} other transactions, dimmed", meeting.len() - kept.len(), meeting.len()));
    }
    kept
}

/// Returns the moments; what disks did gives way first.
fn moments<'s>(lives: &'s BTreeMap<Host, Life>, most: usize, left_out: &mut Vec<String>) -> Vec<(Host, &'s Moment)> {
    let all = lives.iter().flat_map(|(host, life)| life.moments.iter().map(|moment| (*host, moment)));
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(_, moment)| moment.at_us);
    let (disk, other): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, moment)| moment.sort == Sort::Disk);
    let mut kept = ends(other, most, "starts and crashes", left_out);
    let room = (most - kept.len()).min(most / 4);
    kept.extend(ends(disk, room, "events of disks", left_out));
    kept
}

fn ends<T>(items: Vec<T>, most: usize, what: &str, left_out: &mut Vec<String>) -> Vec<T> {
    let count = items.len();
    if count <= most {
        return items;
    }
    left_out.push(format!("{} of {count} {what}, in the middle", count - most));
    let (head, tail) = (most.div_ceil(2), count - most / 2);
    items.into_iter().enumerate().filter(|(at, _)| *at < head || *at >= tail).map(|(_, item)| item).collect()
}

fn hosts(tx: &Tx<'_>) -> Vec<Host> {
    let ends = tx.messages.iter().flat_map(|message| [message.from, message.to]);
    let holds = tx.holds.iter().map(|hold| hold.host);
    let notes = tx.notes.iter().map(|note| note.host);
    ends.chain(holds).chain(notes).chain(tx.asks.iter().map(|ask| ask.host)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_keeps_its_ends_and_says_so() {
        let mut left_out = Vec::new();
        assert_eq!(ends((0..10).collect(), 5, "things", &mut left_out), [0, 1, 2, 8, 9]);
        assert_eq!(left_out, ["5 of 10 things, in the middle"]);
        assert_eq!(ends((0..10).collect(), 10, "things", &mut left_out).len(), 10);
        assert!(ends((0..10).collect(), 0, "things", &mut left_out).is_empty());
        assert_eq!(left_out.len(), 2);
    }
}
