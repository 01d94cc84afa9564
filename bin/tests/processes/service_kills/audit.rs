//! The audit of a run: compares what the services' own databases hold with what was asked for and what was answered.

use super::fate::Fate;
use super::house::{ACCOUNTS, OPENING_BALANCE};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What the database of one service holds.
#[derive(Clone, Debug, Deserialize)]
pub struct Rows {
    /// The file has no fault of its own.
    pub intact: bool,
    pub accounts: Vec<Account>,
    pub ledger: Vec<Line>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    pub name: String,
    pub balance: i64,
    /// Held for what is to be taken.
    pub held: i64,
    /// To be given.
    pub coming: i64,
}

/// One change of an account.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    pub tx: String,
    pub part: String,
    /// The same for what is done and what undoes it; another in another attempt.
    pub effect: String,
    /// done, undone, completed; or what no service should have been asked for.
    pub what: String,
    pub account: String,
    pub balance: i64,
    pub held: i64,
    pub coming: i64,
}

/// All that there is to see in the end.
#[derive(Clone, Debug, Default)]
pub struct Books {
    pub services: Vec<Rows>,
    /// The keys at the store.
    pub keys: BTreeSet<String>,
    /// What the coordinator says of each transaction that it knows.
    pub answers: BTreeMap<String, String>,
    /// The transactions that it lists as open, stuck or damaged.
    pub amiss: Vec<String>,
}

/// The numbers of times that something was done, undone and completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    done: u64,
    undone: u64,
    completed: u64,
}

/// Returns what is wrong; nothing if every transaction is done or undone everywhere, once.
pub fn audit(fates: &[Fate], books: &Books) -> Vec<String> {
    let mut wrong: Vec<String> = books.amiss.clone();
    let effects = effects(books, &mut wrong);
    for (service, rows) in books.services.iter().enumerate() {
        accounts(service, rows, &mut wrong);
    }
    let all = books.services.iter().flat_map(|rows| &rows.accounts);
    let (money, owned) = (all.map(|account| account.balance).sum::<i64>(), ACCOUNTS as i64 * OPENING_BALANCE);
    if money != owned * books.services.len() as i64 {
        wrong.push(format!("the money of all services is {money}"));
    }
    for fate in fates {
        of_fate(fate, books, &effects, &mut wrong);
    }
    let known: BTreeSet<&str> = fates.iter().map(|fate| fate.id.as_str()).collect();
    let parts: BTreeSet<(&str, usize, &str)> = fates
        .iter()
        .flat_map(|fate| fate.parts.iter().map(|part| (fate.id.as_str(), part.service, part.name.as_str())))
        .collect();
    wrong.extend(
        books.answers.keys().filter(|id| !known.contains(id.as_str())).map(|id| format!("who asked for {id}?")),
    );
    let foreign = effects.keys().filter(|(tx, service, part)| !parts.contains(&(*tx, *service, *part)));
    wrong.extend(foreign.map(|(tx, service, part)| format!("who asked for {part} of {tx} at service {service}?")));
    wrong
}

/// A transaction, a service, a part: and the counts of each effect.
type Effects<'a> = BTreeMap<(&'a str, usize, &'a str), BTreeMap<&'a str, Count>>;

fn effects<'a>(books: &'a Books, wrong: &mut Vec<String>) -> Effects<'a> {
    let mut effects = Effects::new();
    for (service, rows) in books.services.iter().enumerate() {
        for line in &rows.ledger {
            let of_part = effects.entry((&line.tx, service, &line.part)).or_default();
            let count = of_part.entry(&line.effect).or_default();
            let counted = match line.what.as_str() {
                "done" => &mut count.done,
                "undone" => &mut count.undone,
                "completed" => &mut count.completed,
                _ => {
                    wrong.push(format!("service {service}: {line:?}"));
                    continue;
                }
            };
            *counted += 1;
            if *counted > 1 {
                wrong.push(format!("twice at service {service}: {line:?}"));
            }
        }
    }
    effects
}

/// Checks that accounts are what their ledger says, and that nothing is held.
fn accounts(service: usize, rows: &Rows, wrong: &mut Vec<String>) {
    if !rows.intact {
        wrong.push(format!("the database of service {service} is damaged"));
    }
    for account in &rows.accounts {
        let (mut balance, mut held, mut coming) = (OPENING_BALANCE, 0, 0);
        for line in rows.ledger.iter().filter(|line| line.account == account.name) {
            balance += line.balance;
            held += line.held;
            coming += line.coming;
        }
        if (account.balance, account.held, account.coming) != (balance, held, coming) || balance < 0 {
            wrong.push(format!("service {service}: {account:?}, and its ledger says {balance}, {held}, {coming}"));
        }
        if account.held != 0 || account.coming != 0 {
            wrong.push(format!("service {service} still holds what was reserved: {account:?}"));
        }
    }
}

fn of_fate(fate: &Fate, books: &Books, effects: &Effects<'_>, wrong: &mut Vec<String>) {
    let mut amiss = |what: String| wrong.push(format!("{} ({}): {what}", fate.id, fate.kind));
    for odd in &fate.odd {
        amiss(format!("an answer that makes no sense: {odd}"));
    }
    let is_committed = match books.answers.get(&fate.id).map(String::as_str) {
        Some("committed") => true,
        // What nobody knows was never begun.
        Some("aborted") | None => false,
        Some(other) => return amiss(format!("the coordinator says {other}")),
    };
    let outcome_of = |id: &str| books.answers.get(id).is_some_and(|state| state == "committed");
    if let Some(parent) = fate.parent.as_ref().filter(|parent| outcome_of(parent) != is_committed) {
        amiss(format!("committed: {is_committed}; and {parent}, in which it is nested, otherwise"));
    }
    if fate.told.is_some_and(|told| told != is_committed) {
        amiss(format!("committed was told as {:?}, and is {is_committed}", fate.told));
    }
    if fate.has_key && books.keys.contains(&fate.id) != is_committed {
        amiss(format!("its key is at the store: {}; committed: {is_committed}", !is_committed));
    }
    for part in &fate.parts {
        let none = BTreeMap::new();
        let of_part = effects.get(&(fate.id.as_str(), part.service, part.name.as_str())).unwrap_or(&none);
        // An attempt that came to nothing leaves what is undone as often as done, and not completed unless it was nested.
        let is_void = |count: &&Count| (count.completed == 0 || part.nested) && count.done == count.undone;
        let (void, in_effect): (Vec<&Count>, Vec<&Count>) = of_part.values().partition(is_void);
        let (done, completed) = part.form.in_effect();
        let whole = Count { done, undone: 0, completed };
        let is_right = match is_committed && !part.was_refused {
            true => in_effect == [&whole],
            false => in_effect.is_empty() && (!part.was_refused || void.iter().all(|count| count.undone == 0)),
        };
        if !is_right {
            amiss(format!("committed: {is_committed}; {part:?} is {of_part:?}"));
        }
    }
}
