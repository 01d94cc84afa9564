//! The state of the disks when all is over.

pub(super) mod events;
pub(super) mod subscriptions;

use super::database::GID_HEAD_BYTES;
use super::service::{EFFECT, effect_of};
use super::shared_state::Shared;
use super::workload::{balance, word_of};
use crate::disk::Disk;
use crate::plan::Host;
use bytes::Bytes;
use prost::Message as _;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use undoubt_kv::FAMILIES;
use undoubt_platform::Family;
use undoubt_proto::record;

const OPEN: Family = Family("open");
const DATA: Family = Family("data");
const BRANCH: Family = Family("branch");

/// What the keys of reactions' rows begin with.
const OF_REACTIONS: [&str; 4] = ["trip/", "note/", "seats/", "viewed/"];

/// An order of completions that nobody knows.
const UNKNOWN_ORDER: i32 = i32::MAX;

/// Families whose contents are about one transaction each, by its id at the end of the key.
const BY_TRANSACTION: [&str; 6] = ["open", "ended", "ended_at", "damaged", "branch", "heuristic"];

/// Completes what the auditor found with what only the disks can tell.
pub(super) fn read_disks(shared: &Shared) {
    for host in shared.servers() {
        let disk = shared.disk(host);
        if let Host::Participant(number) = host {
            read_data(shared, number, disk_of_data(shared, number));
            if shared.plan.shape.publishes(number) {
                let log = events::read_log(&disk.cached());
                shared.finals().logs.insert(number, log);
                shared.finals().lost_events.extend(events::positions(number, &disk.destroyed()));
            }
            subscriptions::note(shared, host);
        } else if let Host::Service(number) = host {
            let contents = disk.cached();
            let effects = contents.pairs(EFFECT).filter_map(|(name, value)| effect_of(name, value)).collect();
            shared.finals().services.insert(number, effects);
        }
        excuse(shared, disk);
    }
    // An operator ended what could not be carried out, or not be written: that is a hazard, and said to be one.
    let mut finals = shared.finals();
    let held = finals.held.clone();
    finals.excused.extend(held);
}

/// Returns the disk that holds what a participant guards: its own, or that of the service that it calls.
fn disk_of_data(shared: &Shared, number: u8) -> &Disk {
    let participant = Host::Participant(number);
    shared.disk(if shared.has_service(participant) { Host::Service(number) } else { participant })
}

fn read_data(shared: &Shared, number: u8, disk: &Disk) {
    let mut finals = shared.finals();
    let found = finals.participants.entry(number).or_default();
    let mut torn = Vec::new();
    for account in 0..2 * shared.plan.shape.keys {
        found.accounts.insert(account, balance(None));
    }
    for (key, value) in disk.cached().pairs(DATA) {
        let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
        if let Some(tx) = key.strip_prefix("mark/") {
            found.marks.insert(tx.to_owned());
            let word = word_of(&value, &shared.plan.shape);
            if !word.is_empty() {
                torn.push(format!("the mark of {tx} at p{number} is {word:?}"));
            }
        } else if let Some(tx) = key.strip_prefix("completed/") {
            found.completed.insert(tx.to_owned());
        } else if let Some(account) = key.strip_prefix("account/").and_then(|account| account.parse().ok()) {
            found.accounts.insert(account, balance(Some(&value)));
        } else if let Some(register) = key.strip_prefix("register/").and_then(|register| register.parse().ok()) {
            found.registers.insert(register, word_of(&value, &shared.plan.shape));
        }
    }
    finals.failures.extend(torn);
}

/// Notes which transactions lost something that had been acknowledged.
fn excuse(shared: &Shared, disk: &Disk) {
    let mut finals = shared.finals();
    for (family, key) in disk.destroyed() {
        match subject(family, &key) {
            Subject::Transaction(tx) => drop(finals.excused.insert(tx)),
            // It has no content, or only what helps to notice a loss, or is told to people alone, or shows what a transaction did.
            Subject::Nothing => {}
            Subject::Data => finals.excused_data = true,
            Subject::Server => finals.excused_epochs = true,
        }
    }
}

/// Transactions that something stored is about.
pub(super) fn transactions_of(keys: &BTreeSet<(Family, Bytes)>) -> BTreeSet<String> {
    let about = keys.iter().filter_map(|(family, key)| match subject(*family, key) {
        Subject::Transaction(tx) => Some(tx),
        Subject::Nothing | Subject::Data | Subject::Server => None,
    });
    about.collect()
}

/// The subject of something stored.
enum Subject {
    Transaction(String),
    Data,
    /// An identity, an epoch or a low-water mark.
    Server,
    Nothing,
}

fn subject(family: Family, key: &Bytes) -> Subject {
    let text = String::from_utf8_lossy(key).into_owned();
    let behind =
        |bytes: usize| Subject::Transaction(String::from_utf8_lossy(key.get(bytes..).unwrap_or_default()).into_owned());
    match family.0 {
        "ended_at" => behind(8),
        "finished" => behind(24),
        "step" => behind(26),
        "prepared" => behind(GID_HEAD_BYTES),
        known if BY_TRANSACTION.contains(&known) => Subject::Transaction(text),
        "meta" if text == "barrier" || text == "number" || text.starts_with("seen/") => Subject::Nothing,
        "audit" | "event" | "entity" | "event-log" => Subject::Nothing,
        "inbox" | "parked" | "given-up" | "reaction" | "timer" => Subject::Nothing,
        // What reactions have done is held against the positions that are stored with it.
        "data" if OF_REACTIONS.iter().any(|prefix| text.starts_with(prefix)) => Subject::Nothing,
        "data" => {
            let mark = text.strip_prefix("mark/").or_else(|| text.strip_prefix("completed/"));
            mark.map_or(Subject::Data, |tx| Subject::Transaction(tx.to_owned()))
        }
        _ => Subject::Server,
    }
}

/// Returns all that a restart has to leave as it is.
pub(super) fn compared(host: Host, disk: &Disk) -> String {
    let families: &[&'static str] = if host.is_coordinator() {
        &["open", "ended", "damaged"]
    } else {
        &["data", "branch", "prepared", "heuristic", "pending", "effect", "event", "entity", "event-log"]
    };
    let contents = disk.cached();
    let mut text = String::new();
    for family in families {
        for (key, value) in contents.pairs(Family(family)) {
            // How far readers have come is told lazily, and may come again from them.
            if *family == "event-log" && key.starts_with(b"reader/") {
                continue;
            }
            // Writing to a string.
            let _ = writeln!(text, "{family} {} {:?}", String::from_utf8_lossy(key), value);
        }
    }
    text
}

/// The first line that only one of them has.
pub(super) fn difference(before: &str, after: &str) -> String {
    let gone = before.lines().find(|line| !after.lines().any(|other| other == *line));
    let new = after.lines().find(|line| !before.lines().any(|other| other == *line));
    let shown = |line: Option<&str>| line.map_or("nothing".to_owned(), |line| line.chars().take(120).collect());
    format!("gone: {}; new: {}", shown(gone), shown(new))
}

/// The first transaction that is open at the coordinator can be read and not carried out: it names somebody twice, its
/// saga has lost a step's progress, or an open saga's completions have an order that nobody knows.
pub(super) fn poison(shared: &Shared) {
    let disk = shared.disk(Host::Coordinator);
    let contents = disk.cached();
    let Some((key, value)) = contents.pairs(OPEN).next() else { return };
    let Ok(mut open) = record::OpenTransaction::decode(value.clone()) else { return };
    match (&mut open.saga, &mut open.opened) {
        (Some(saga), _) => drop(saga.progress.pop()),
        (None, Some(opened)) => opened.completion_order = UNKNOWN_ORDER,
        (None, None) => open.participants.extend(open.participants.first().cloned()),
    }
    disk.rewrite(OPEN, key, &open.encode_to_vec());
    shared.finals().poisoned.insert(String::from_utf8_lossy(key).into_owned());
}

/// The first branch that is prepared here loses its record.
pub(super) fn lose_a_vote(disk: &Disk) {
    assert!(FAMILIES.contains(&BRANCH));
    let first = disk.cached().keys(BRANCH).next().cloned();
    if let Some(key) = first {
        disk.scrub(BRANCH, &key);
    }
}
