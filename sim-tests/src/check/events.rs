//! The promise of a participant's log of events: what took effect there was published, once, in the order in which it took effect, and
//! nothing else; and who reads it is told what is in it.
//!
//! A participant keeps its log in the store of its data, so no disk, lying or put back, excuses a log that does not go with the data
//! beside it. Each change of an account is published with what it came to: the log, gone through in its order, has to come to that.
//!
//! * `lost`: what is in effect by its mark, its completion and its balance is in the log; and all that is in the log was read, once all
//!   was over, by every reader. Not held against readers where things had not come to their end: they may go on after that.
//! * `invented`: an event is there whose work is neither in effect nor undone, or that nobody submitted; or a reader was told what is not
//!   in the log at the end, or not so. A reader that has since been told that the log was put back is excused: it knows.
//! * `once`: each event of a part of a transaction is in the log once.
//! * `order`: positions rise in each partition, each event names the one before it there, an account's events tell its balances one
//!   after the other, and versions of an entity are dense.
//! * `position`: positions are dense, and one position of one incarnation has one content for good, whoever was told it and when. Nothing
//!   is dropped from a log, and nobody told so.
//! * `put-back`: a reader is told that the log was put back if a disk has lost what it had read, and only then: what it was told was
//!   stable. A reader that was told otherwise than before was not told of it.
//! * `lost`, `invented` and `once` are excused, as to marks, for a transaction that may have been run anew: whose records a lying disk
//!   destroyed, which its coordinator has lost, whose retention has passed, or whose branch somebody else committed before auto went on.
//!
//! Those who react to events publish one with whatever they do, in the same write, that names the event that led to it; so these are held to
//! the same, at each start of their participants and in the end:
//!
//! * `lost`: once all was over, a subscription has come to the end of what it hears, or its participant says that it has stopped because
//!   its source was put back; and what is parked is listed. How each event was dealt with is `inbox.prefix`.
//! * `invented`: what a reaction has acted on is in its source's log, or a disk has lost it there.
//! * `once`: a reaction has acted on an event once.
//! * `order`: those of one key in their order, and on none behind one that is parked.
//! * `put-back`: a subscription has stopped if a disk has lost what it had read, and only if one has lost something.

mod reactions;

use super::Violation;
use super::facts::{Transaction, transactions};
use crate::plan::Shape;
use crate::run::{Deed, DeedPart, Op, Participant, Published, Reading, Run};
use std::collections::{BTreeMap, BTreeSet};

pub fn check(run: &Run) -> Vec<Violation> {
    let transactions = transactions(run);
    let mut broken = Vec::new();
    for (participant, log) in &run.finals.logs {
        let name = format!("p{participant}");
        broken.extend(chained(&name, log.iter()));
        broken.extend(dense(&name, log));
        broken.extend(balances(run, *participant, log));
        broken.extend(effects(run, *participant, log, &transactions));
    }
    for reading in &run.finals.readings {
        broken.extend(chained(&name_of(reading), reading.told.values()));
        broken.extend(told(run, reading));
        broken.extend(put_back(run, reading));
    }
    broken.extend(contents(run));
    broken.extend(reactions::check(run));
    broken
}

fn name_of(reading: &Reading) -> String {
    format!("reader{} of p{}", reading.reader, reading.participant)
}

/// Each event names the one before it in its partition. Of a reading, which begins with the first, or behind events that it had read.
fn chained<'a>(name: &str, events: impl Iterator<Item = &'a Published>) -> Option<Violation> {
    let mut tails: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    for event in events {
        let before = tails.insert((&event.topic, event.partition), event.position).unwrap_or(0);
        if event.previous != before {
            let Published { position, previous, topic, partition, .. } = event;
            let what = format!(
                "{name}: the event {position} names {previous} as the one before it in partition {partition} of {topic}, which is {before}"
            );
            return Some(Violation::of("events.order", &event.correlation, what));
        }
    }
    None
}

/// Positions and versions are dense.
fn dense(name: &str, log: &[Published]) -> Vec<Violation> {
    let mut broken = Vec::new();
    let mut versions: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (event, expected) in log.iter().zip(1..) {
        if event.position != expected {
            let what = format!("{name}: the log has the event {} where {expected} should come", event.position);
            broken.push(Violation::new("events.position", what));
            break;
        }
    }
    for event in log {
        let Some(version) = event.version else { continue };
        let entity = versions.entry((&event.topic, &event.key)).or_default();
        if version != *entity + 1 {
            let what = format!("{name}: the version {version} of {} comes after {entity}", event.key);
            broken.push(Violation::of("events.order", &event.correlation, what));
        }
        *entity = version;
    }
    broken
}

/// The log, gone through, comes to the balances.
fn balances(run: &Run, participant: Participant, log: &[Published]) -> Vec<Violation> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    let mut broken = Vec::new();
    for event in log {
        let Some((added, after)) = event.deed().and_then(|deed| deed.added) else { continue };
        let sum = sums.entry(&event.key).or_default();
        if *sum + added != after {
            let what = format!(
                "p{participant}: the event {} adds {added} to {}, which the events before it make {sum}, and comes to {after}",
                event.position, event.key
            );
            broken.push(Violation::of("events.order", &event.correlation, what));
        }
        *sum = after;
    }
    let found = run.finals.participants.get(&participant);
    for (account, balance) in found.into_iter().flat_map(|found| &found.accounts) {
        let sum = sums.get(format!("account/{account}").as_str()).copied().unwrap_or(0);
        let stored = balance - Op::OPENING_BALANCE;
        if sum != stored {
            let what = format!(
                "p{participant}: account {account} differs by {stored} from its opening, by its events by {sum}"
            );
            broken.push(Violation::new("events.lost", what));
        }
    }
    broken
}

/// The events of one part of a transaction, by their places in it: how often each is there.
type Counts = BTreeMap<u32, usize>;

fn effects(
    run: &Run,
    participant: Participant,
    log: &[Published],
    transactions: &BTreeMap<&str, Transaction<'_>>,
) -> Vec<Violation> {
    let mut broken = Vec::new();
    let mut parts: BTreeMap<String, BTreeMap<DeedPart, Counts>> = BTreeMap::new();
    let of_work = [Shape::MOVES, Shape::DEEDS];
    for event in log.iter().filter(|event| of_work.contains(&event.topic.as_str())) {
        match event.deed() {
            Some(Deed { tx, part, index, .. }) if tx == event.correlation => {
                *parts.entry(tx).or_default().entry(part).or_default().entry(index).or_default() += 1;
            }
            Some(_) | None => {
                let what = format!("p{participant}: the event {} tells of nothing that is known", event.position);
                broken.push(Violation::of("events.invented", &event.correlation, what));
            }
        }
    }
    let none = BTreeMap::new();
    let found = run.finals.participants.get(&participant);
    let marked = found.into_iter().flat_map(|found| found.marks.iter().map(String::as_str));
    let all: BTreeSet<&str> = parts.keys().map(String::as_str).chain(marked).collect();
    for tx in all {
        let Some(transaction) = transactions.get(tx) else {
            let what = format!("p{participant} has published events of {tx}, and nobody submitted it");
            broken.push(Violation::of("events.invented", tx, what));
            continue;
        };
        if !may_be_run_anew(transaction, participant) {
            let marked = found.is_some_and(|found| found.marks.contains(tx));
            let completed = found.is_some_and(|found| found.completed.contains(tx));
            broken.extend(effect(participant, transaction, parts.get(tx).unwrap_or(&none), marked, completed));
        }
    }
    broken
}

fn may_be_run_anew(transaction: &Transaction<'_>, participant: Participant) -> bool {
    transaction.is_excused() || transaction.may_be_collected() || transaction.may_be_there_twice(participant)
}

fn effect(
    participant: Participant,
    transaction: &Transaction<'_>,
    parts: &BTreeMap<DeedPart, Counts>,
    marked: bool,
    completed: bool,
) -> Vec<Violation> {
    let tx = transaction.tx;
    let mut broken = Vec::new();
    let there = |part: DeedPart| parts.get(&part).is_some_and(|counts| !counts.is_empty());
    for (part, counts) in parts {
        if let Some((index, times)) = counts.iter().find(|(_, times)| **times > 1) {
            let what = format!("p{participant} has published event {index} of what {tx} did ({part:?}) {times} times");
            broken.push(Violation::of("events.once", tx, what));
        }
    }
    let of = |rule, what: &str| Violation::of(rule, tx, format!("p{participant}: {tx} {what}"));
    let expected: BTreeSet<u32> = transaction.work().map_or_else(BTreeSet::new, |work| places(work, participant));
    let missing = |part: DeedPart| {
        let counts = parts.get(&part);
        expected.iter().any(|index| counts.is_none_or(|counts| !counts.contains_key(index)))
    };
    match (marked, there(DeedPart::Do), there(DeedPart::Undo)) {
        (true, _, true) => broken.push(of("events.invented", "is in effect, and was published as undone")),
        (true, _, false) if missing(DeedPart::Do) => {
            broken.push(of("events.lost", "is in effect, and not all of its events are in the log"));
        }
        (false, true, false) => broken.push(of("events.invented", "is not in effect, and was published")),
        (false, false, true) => broken.push(of("events.lost", "was undone, and what it had done was not published")),
        (false, true, true) if missing(DeedPart::Do) || missing(DeedPart::Undo) => {
            broken.push(of("events.lost", "was done and undone, and not all of its events are in the log"));
        }
        (true | false, _, _) => {}
    }
    match (completed, there(DeedPart::Complete)) {
        (true, false) => broken.push(of("events.lost", "is completed, and that was not published")),
        (false, true) if !there(DeedPart::Undo) => {
            broken.push(of("events.invented", "is not completed, and was published as that"));
        }
        (true | false, true) | (false, false) => {}
    }
    broken
}

/// The places of the events of what it does there: one for each change, and one for all.
fn places(work: &crate::run::Work, participant: Participant) -> BTreeSet<u32> {
    let changes = work.get(&participant).map_or(0, |ops| ops.iter().filter(|op| op.writes()).count());
    let last = u32::try_from(changes).unwrap_or(u32::MAX);
    if changes == 0 { BTreeSet::new() } else { (0..=last).collect() }
}

/// A reader was told what is in the log, and all of it.
fn told(run: &Run, reading: &Reading) -> Vec<Violation> {
    let name = name_of(reading);
    let mut broken = Vec::new();
    if let Some(after) = reading.gaps.first() {
        let what = format!("{name} was told something else behind {after} than what comes next");
        broken.push(Violation::new("events.position", what));
    }
    if let Some(why) = &reading.told_trimmed {
        broken.push(Violation::new("events.position", format!("{name} was told, though nothing is dropped: {why}")));
        return broken;
    }
    if reading.put_back.is_some() {
        return broken;
    }
    let log = run.finals.logs.get(&reading.participant).map_or(&[][..], Vec::as_slice);
    let log: BTreeMap<u64, &Published> = log.iter().map(|event| (event.position, event)).collect();
    if let Some(event) = reading.told.values().find(|event| log.get(&event.position) != Some(event)) {
        let what = format!("{name} was told the event {}, which is not in the log, or not so", event.position);
        broken.push(Violation::of("events.invented", &event.correlation, what));
    }
    let is_settled = run.finals.settled_after_us.is_some() && !run.finals.out_of_patience;
    if is_settled && !reading.is_through {
        let read = reading.told.last_key_value().map_or(0, |(position, _)| *position);
        let what = format!("{name} has not come to the end of the log: it has read up to {read} of {}", log.len());
        broken.push(Violation::new("events.lost", what));
    } else if is_settled && let Some(event) = log.values().find(|event| !reading.told.contains_key(&event.position)) {
        let what = format!("{name} was not told the event {}", event.position);
        broken.push(Violation::of("events.lost", &event.correlation, what));
    }
    broken
}

fn put_back(run: &Run, reading: &Reading) -> Vec<Violation> {
    let name = name_of(reading);
    let mut broken = Vec::new();
    if let Some(told) = &reading.put_back {
        if told.is_there {
            let what = format!("{name} was told that the log was put back, and the event {} is there", told.position);
            broken.push(Violation::new("events.put-back", what).at(told.at_us));
        } else if !run.finals.lost_events.contains(&(reading.participant, told.position)) {
            let what =
                format!("{name} was told the event {}, which was not stable: no disk has lost it", told.position);
            broken.push(Violation::new("events.put-back", what).at(told.at_us));
        }
    }
    let log = run.finals.logs.get(&reading.participant).map_or(&[][..], Vec::as_slice);
    let is_lost = |event: &&Published| {
        !log.iter().any(|other| other.id() == event.id())
            && !run.finals.lost_events.contains(&(reading.participant, event.position))
    };
    if let Some(event) = reading.forgotten.iter().find(is_lost) {
        let what = format!("{name} was told the event {}, which was not stable: no disk has lost it", event.position);
        broken.push(Violation::of("events.put-back", &event.correlation, what));
    }
    if let Some(event) = reading.told_otherwise.first() {
        let what = format!(
            "{name} was told another event at {} than before, and not that the log was put back",
            event.position
        );
        broken.push(Violation::of("events.put-back", &event.correlation, what));
    }
    broken
}

/// One position of an incarnation has one content for good.
fn contents(run: &Run) -> Vec<Violation> {
    let mut known: BTreeMap<(Participant, [u8; 16], u64), &Published> = BTreeMap::new();
    let mut broken = Vec::new();
    let told = run.finals.readings.iter().flat_map(|reading| {
        let events = reading.told.values().chain(&reading.told_otherwise).chain(&reading.forgotten);
        events.map(|event| (reading.participant, event))
    });
    let logs = run.finals.logs.iter().flat_map(|(participant, log)| log.iter().map(|event| (*participant, event)));
    for (participant, event) in told.chain(logs) {
        let (incarnation, position) = event.id();
        let first = known.entry((participant, incarnation, position)).or_insert(event);
        if *first != event {
            let what = format!(
                "p{participant}: the event {position} of one incarnation tells of {} and of {}",
                first.correlation, event.correlation
            );
            broken.push(Violation::of("events.position", &event.correlation, what));
        }
    }
    broken
}

#[cfg(test)]
mod tests;
