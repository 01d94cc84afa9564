//! The costs of one run for those who used it.

use super::median;
use crate::check::{atomicity, isolation};
use crate::plan::Host;
use crate::run::{CallKind, Reply, Run};
use crate::trace::{BranchState, Event};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The failure happened, or there is none in the plan.
    pub struck: bool,
    pub atomic: bool,
    /// Requests that got a definite answer, in thousandths.
    pub outcome_known_permille: u64,
    /// The share of the transactions asked for while the failure lasted: decided, and told, within their deadline.
    pub finished_in_time_permille: u64,
    /// The time for which branches held locks that the failure met, or those that began while it lasted.
    pub lock_median_ms: u64,
    pub lock_longest_ms: u64,
    /// Held locks when the failure ended that they had when it began.
    pub blocked_transactions: u64,
    /// The time from the end of the failure until the last of those who had asked before had an answer.
    pub recovered_after_ms: u64,
    pub committed: u64,
    pub anomalies: BTreeMap<&'static str, u64>,
}

/// The time from when to when a branch held its locks.
struct Hold<'a> {
    tx: &'a str,
    from_us: u64,
    to_us: u64,
}

pub fn measure(run: &Run) -> Measured {
    let (from_us, to_us, struck) = window(run);
    let holds = holds(run);
    let met: Vec<u64> = holds
        .iter()
        .filter(|hold| hold.from_us < to_us && hold.to_us > from_us)
        .map(|hold| (hold.to_us - hold.from_us) / 1_000)
        .collect();
    let blocked: BTreeSet<&str> =
        holds.iter().filter(|hold| hold.from_us <= from_us && hold.to_us >= to_us).map(|hold| hold.tx).collect();
    let timeout_us = run.plan.shape.timeout_ms * 1_000;
    let mut first_asked: BTreeMap<&str, u64> = BTreeMap::new();
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    let mut committed = BTreeSet::new();
    for call in run.calls.iter().filter(|call| call.client > 0 && matches!(call.kind, CallKind::Submit(_))) {
        first_asked.entry(&call.tx).or_insert(call.asked_us);
        if let (Reply::Committed(_) | Reply::Aborted(_), Some(told_us)) = (&call.reply, call.told_us) {
            told.entry(&call.tx).or_insert(told_us);
        }
        if matches!(call.reply, Reply::Committed(_)) {
            committed.insert(call.tx.as_str());
        }
    }
    let during: Vec<(&str, u64)> =
        first_asked.iter().filter(|(_, at)| (from_us..to_us).contains(*at)).map(|(tx, at)| (*tx, *at)).collect();
    let in_time = during.iter().filter(|(tx, at)| told.get(tx).is_some_and(|told| told - at <= timeout_us)).count();
    let waited = first_asked.iter().filter(|(_, asked)| **asked < to_us);
    let last = waited.map(|(tx, _)| told.get(tx).copied().unwrap_or(run.simulated_us)).max().unwrap_or(to_us);
    let calls = run.calls.iter().filter(|call| call.client > 0).count();
    let definite = run
        .calls
        .iter()
        .filter(|call| call.client > 0 && call.told_us.is_some() && !matches!(call.reply, Reply::Unknown(_)))
        .count();
    let anomalies = isolation::anomalies(run).into_iter().map(|(kind, count)| (kind.name(), count as u64)).collect();
    Measured {
        struck,
        atomic: !atomicity::check(run).iter().any(|broken| broken.rule == "atomicity.partial") && !half_done(run),
        outcome_known_permille: permille(definite, calls),
        finished_in_time_permille: permille(in_time, during.len()),
        lock_median_ms: median(met.iter().copied()),
        lock_longest_ms: met.iter().copied().max().unwrap_or_default(),
        blocked_transactions: blocked.len() as u64,
        recovered_after_ms: last.saturating_sub(to_us) / 1_000,
        committed: committed.len() as u64,
        anomalies,
    }
}

/// A saga that nobody finishes any more has done some of its steps and not others. Checkers excuse it; users do not.
fn half_done(run: &Run) -> bool {
    let mut works = BTreeMap::new();
    for call in &run.calls {
        if let CallKind::Submit(work) = &call.kind {
            works.insert(call.tx.as_str(), work);
        }
    }
    works.into_iter().any(|(tx, work)| {
        let writers = work.iter().filter(|(_, ops)| ops.iter().any(crate::run::Op::writes));
        let marked: BTreeSet<bool> = writers
            .filter_map(|(participant, _)| run.finals.participants.get(participant))
            .map(|found| found.marks.contains(tx))
            .collect();
        let open = run.finals.participants.values().any(|found| found.open.iter().any(|branch| branch.tx == tx));
        marked.len() > 1 && !open
    })
}

fn permille(part: usize, whole: usize) -> u64 {
    (part * 1_000).checked_div(whole).unwrap_or(1_000) as u64
}

/// Returns from when to when the failure lasted. Without one, the time of load.
fn window(run: &Run) -> (u64, u64, bool) {
    let healed = run.trace.iter().find(|entry| entry.event == Event::Healed).map(|entry| entry.at_us);
    let healed_us = healed.unwrap_or(run.simulated_us);
    let fault = run.trace.iter().find_map(|entry| {
        let Event::Fault { ends_at_us, .. } = entry.event else { return None };
        Some((entry.at_us, ends_at_us.unwrap_or(healed_us).min(healed_us)))
    });
    match fault {
        Some((from, to)) => (from, to, true),
        None => (0, healed_us, run.plan.faults.is_empty()),
    }
}

/// Returns the holds of each branch and each step, from the work's beginning until it was over. What was in memory only
/// ends with its process.
fn holds(run: &Run) -> Vec<Hold<'_>> {
    let mut since: BTreeMap<(u8, &str), (u64, BranchState)> = BTreeMap::new();
    let mut all = Vec::new();
    for entry in &run.trace {
        let Some(Host::Participant(number)) = entry.host else { continue };
        if let Event::Branch { tx, state } = &entry.event {
            let key = (number, tx.as_str());
            if *state != BranchState::Over {
                since.entry(key).and_modify(|(_, last)| *last = *state).or_insert((entry.at_us, *state));
            } else if let Some((from_us, _)) = since.remove(&key) {
                all.push(Hold { tx, from_us, to_us: entry.at_us });
            }
        } else if matches!(entry.event, Event::Crashed { .. } | Event::Stopped { .. }) {
            let lost = |(at, _): &(u8, &str), (_, state): &mut (u64, BranchState)| *at == number && !state.is_stable();
            let lost: Vec<_> = since.extract_if(.., lost).collect();
            all.extend(lost.into_iter().map(|((_, tx), (from_us, _))| Hold { tx, from_us, to_us: entry.at_us }));
        }
    }
    all.extend(since.into_iter().map(|((_, tx), (from_us, _))| Hold { tx, from_us, to_us: run.simulated_us }));
    all
}
