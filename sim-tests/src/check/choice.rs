//! Auto's choice, and what it rests on: who can prepare, and who lets others wait.
//!
//! * `prepared`: whoever cannot prepare never holds anything for a two-phase commit.
//! * `refused`: auto never fails for want of somebody who can prepare: that is what its other way is for. A coordinator
//!   that has just started may learn it only from the refusal.
//! * `spared`: a breaker is open only after as many deadlines as its threshold says, and none of its participant's
//!   answers between them. Who was silent at a deadline is not noted, so each of its transaction's participants counts.
//!   What is said of a transaction that has ended answers nothing.
//! * Nothing excuses any of them: they are about what one process knows.

use super::Violation;
use super::facts::{Transaction, transactions};
use crate::plan::{Host, Mode};
use crate::run::{Participant, Run};
use crate::trace::{BranchState, Event};
use std::collections::{BTreeMap, BTreeSet};

pub fn check(run: &Run) -> Vec<Violation> {
    [prepared(run), refused(run), spared(run)].concat()
}

fn prepared(run: &Run) -> Vec<Violation> {
    let Some(unable) = run.plan.shape.cannot_prepare else { return Vec::new() };
    let held = run.trace.iter().filter(|entry| entry.host == Some(Host::Participant(unable)));
    let held = held.filter_map(|entry| {
        let Event::Branch { tx, state: BranchState::Prepared | BranchState::ReadOnly } = &entry.event else {
            return None;
        };
        let what = format!("{tx} is prepared at p{unable}, which cannot prepare");
        Some(Violation::of("choice.prepared", tx, what).at(entry.at_us))
    });
    held.collect()
}

/// Returns what coordinators noted, in their order.
fn notes(run: &Run) -> impl Iterator<Item = (u64, Host, &str, &str)> {
    run.trace.iter().filter_map(|entry| {
        let Event::Noted { tx, note, .. } = &entry.event else { return None };
        Some((entry.at_us, entry.host?, tx.as_str(), note.as_str()))
    })
}

fn refused(run: &Run) -> Vec<Violation> {
    let Some(unable) = run.plan.shape.cannot_prepare else { return Vec::new() };
    let refusal = format!("voted p{unable} refused: invalid-work");
    let mut refused: BTreeSet<&str> = BTreeSet::new();
    let mut broken = Vec::new();
    for (at_us, _, tx, note) in notes(run).filter(|(_, _, tx, _)| Mode::of(tx) == Mode::Auto) {
        // The participant's sentence follows.
        if note.starts_with(&refusal) {
            refused.insert(tx);
        } else if note.starts_with("chosen") || note.starts_with("begun") {
            refused.remove(tx);
        } else if note.starts_with("decided aborted") && refused.remove(tx) {
            let what = format!("{tx} could have gone on as a saga where p{unable} cannot prepare, and was aborted");
            broken.push(Violation::of("choice.refused", tx, what).at(at_us));
        }
    }
    broken
}

fn spared(run: &Run) -> Vec<Violation> {
    let transactions = transactions(run);
    let threshold = run.plan.shape.breaker.map_or(PRESET_THRESHOLD, |breaker| breaker.threshold);
    let mut silences: BTreeMap<(Host, Participant), u32> = BTreeMap::new();
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    let mut broken = Vec::new();
    for entry in &run.trace {
        let Some(host) = entry.host else { continue };
        if entry.event == Event::Started {
            silences.retain(|(of, _), _| *of != host);
        }
        let Event::Noted { tx, note, .. } = &entry.event else { continue };
        if let Some(participant) = answering(note) {
            if !ended.contains(tx.as_str()) {
                silences.remove(&(host, participant));
            }
        } else if note == "retired" {
            ended.insert(tx);
        } else if note.starts_with("begun") {
            ended.remove(tx.as_str());
        } else if note == "deadline-passed" {
            for participant in
                transactions.get(tx.as_str()).into_iter().flat_map(Transaction::contents).flat_map(|work| work.keys())
            {
                *silences.entry((host, *participant)).or_default() += 1;
            }
        } else if let Some(participant) = said_to_let_wait(note) {
            let silent = silences.get(&(host, participant)).copied().unwrap_or_default();
            if silent < threshold {
                let what = format!(
                    "auto spares p{participant} for {tx} after {silent} deadlines since its last answer, not {threshold}"
                );
                broken.push(Violation::of("choice.spared", tx, what).at(entry.at_us));
            }
        }
    }
    broken
}

/// The threshold that coordinators come with.
const PRESET_THRESHOLD: u32 = 3;

/// Returns who answers an attempt by two-phase commit.
fn answering(note: &str) -> Option<Participant> {
    let mut words = note.split(' ');
    match words.next() {
        Some("voted" | "confirmed" | "finished") => participant(words.next()?),
        Some(_) | None => None,
    }
}

fn said_to_let_wait(note: &str) -> Option<Participant> {
    let name = note.strip_prefix("chosen saga: participant ")?.strip_suffix(" has let too many transactions wait")?;
    participant(name)
}

fn participant(name: &str) -> Option<Participant> {
    match name.parse() {
        Ok(Host::Participant(number)) => Some(number),
        Ok(
            Host::Coordinator
            | Host::Standby
            | Host::Database(_)
            | Host::Service(_)
            | Host::Client(_)
            | Host::Reader(_),
        )
        | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{Fixture, rules, transfer};
    use crate::plan::Breaker;
    use crate::trace::Entry;

    /// Two transactions at p1 and p2, where p2 cannot prepare, of which nothing is noted yet.
    fn noted(notes: &[(&str, &str)]) -> Vec<&'static str> {
        let mut run = Fixture::default().abort("a1", transfer(1, 2, 10)).abort("a2", transfer(1, 2, 10)).run();
        run.plan.shape.cannot_prepare = Some(2);
        run.plan.shape.breaker = Some(Breaker { threshold: 2, pause_ms: 100 });
        run.trace.clear();
        run.trace.extend(notes.iter().map(|(tx, note)| {
            let event = match *note {
                "started" => Event::Started,
                "prepared" => Event::Branch { tx: (*tx).into(), state: BranchState::Prepared },
                note => Event::Noted { tx: (*tx).into(), phase: None, note: note.into() },
            };
            let host = if *note == "prepared" { Host::Participant(2) } else { Host::Coordinator };
            Entry { at_us: 1, host: Some(host), event }
        }));
        rules(check, &run)
    }

    #[test]
    fn whoever_cannot_prepare_and_has_prepared_is_found() {
        assert_eq!(noted(&[("t1", "prepared")]), ["choice.prepared"]);
    }

    #[test]
    fn auto_may_not_fail_where_somebody_cannot_prepare() {
        let refused = ("a1", "voted p2 refused: invalid-work: it takes steps only");
        let aborted = ("a1", "decided aborted: p2 refused");
        assert_eq!(noted(&[refused, aborted]), ["choice.refused"]);
        assert_eq!(noted(&[refused, ("a1", "chosen saga: two-phase commit was aborted"), aborted]), [""; 0]);
        assert_eq!(noted(&[("a1", "voted p1 refused: condition"), aborted]), [""; 0]);
    }

    #[test]
    fn nobody_is_spared_before_the_threshold_nor_after_an_answer_nor_after_a_restart() {
        let passed = ("a1", "deadline-passed");
        let spared = ("a2", "chosen saga: participant p1 has let too many transactions wait");
        assert_eq!(noted(&[passed, passed, spared]), [""; 0]);
        assert_eq!(noted(&[passed, spared]), ["choice.spared"]);
        assert_eq!(noted(&[passed, passed, ("a2", "voted p1 prepared"), spared]), ["choice.spared"]);
        assert_eq!(noted(&[passed, passed, ("a2", "voted p2 prepared"), spared]), [""; 0]);
        assert_eq!(noted(&[passed, passed, ("", "started"), spared]), ["choice.spared"]);
        let late = ("a1", "finished p1 heuristically-aborted");
        assert_eq!(noted(&[passed, passed, ("a1", "retired"), late, spared]), [""; 0]);
        assert_eq!(
            noted(&[passed, passed, ("a1", "retired"), ("a1", "begun 2 branches"), late, spared]),
            ["choice.spared"]
        );
    }
}
