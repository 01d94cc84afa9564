//! At every crash, and in the end, what a store shows of its subscriptions is exactly what comes of the events up to the positions that are
//! stored there, less those of parked keys.
//!
//! `prefix`: each event of what a reaction hears, up to its position, was answered by it (done or refused), is parked or was given up, or
//! came late, by its barrier; no answer is there of one that comes after it. An event that undoes it, up to its position, has left a
//! barrier that is not in effect. A trip has a row where its step is in effect and nowhere else, as many seats are taken as there are rows, and
//! a view has counted as much as it has published.
//!
//! No fault excuses it: position, work and events are one write. Where a source has lost the event of a position, nobody can say what came
//! before that, and only the rows are looked at.

use super::Violation;
use super::subscriptions::{Declared, Logs, declared, inbox_of, is_parked, name_of};
use crate::run::{Account, Barrier, Run};
use std::collections::{BTreeMap, BTreeSet};

pub fn check(run: &Run) -> Vec<Violation> {
    let logs = Logs::of(run);
    let mut broken = Vec::new();
    for account in &run.finals.accounts {
        for reaction in declared(&run.plan.shape, account.participant) {
            broken.extend(acted(account, &reaction, &logs));
            broken.extend(undone(account, &reaction, &logs));
            broken.extend(rows(account, &reaction));
        }
        broken.extend(seats(account));
    }
    broken
}

fn acted(account: &Account, reaction: &Declared, logs: &Logs<'_>) -> Vec<Violation> {
    let answered: BTreeSet<_> = reaction.answers(account).into_iter().map(|(cause, _)| cause).collect();
    let mut broken = Vec::new();
    let name = format!("{}: {}", name_of(account), reaction.name);
    for event in logs.before(account, &reaction.name, &reaction.on) {
        let barrier = account.barriers.get(&(reaction.name.clone(), event.correlation.clone()));
        let is_late = barrier.is_some_and(|barrier| *barrier != Barrier::Acted);
        if !answered.contains(&event.id()) && !is_parked(account, &reaction.name, event.id()) && !is_late {
            let what = format!("{name} has dealt with the event {} by its position, and not in fact", event.position);
            broken.push(Violation::of("inbox.prefix", &event.correlation, what));
        }
    }
    for cause in answered {
        let Some(event) = logs.known(reaction.on.source, cause) else { continue };
        let reached = account.watermarks.get(&inbox_of(&reaction.name, reaction.on.source, event));
        if reached.is_none_or(|reached| reached.1 < cause.1) {
            let what = format!("{name} has dealt with the event {} in fact, and not by its position", cause.1);
            broken.push(Violation::of("inbox.prefix", &event.correlation, what));
        }
    }
    broken
}

fn undone(account: &Account, reaction: &Declared, logs: &Logs<'_>) -> Vec<Violation> {
    let heard = reaction.undo_on.iter().flat_map(|kind| logs.before(account, &reaction.name, kind));
    let in_effect = heard.filter(|event| {
        let barrier = account.barriers.get(&(reaction.name.clone(), event.correlation.clone()));
        barrier.is_none_or(|barrier| *barrier == Barrier::Acted) && !is_parked(account, &reaction.name, event.id())
    });
    let violation = |event: &crate::run::Published| {
        let what = format!(
            "{}: {} has heard of the event {} by its position, which undoes it, and may act or is in effect",
            name_of(account),
            reaction.name,
            event.position
        );
        Violation::of("inbox.prefix", &event.correlation, what)
    };
    in_effect.map(violation).collect()
}

fn rows(account: &Account, reaction: &Declared) -> Vec<Violation> {
    let answers = reaction.answers(account).into_iter();
    let done: Vec<_> = answers.filter(|(_, event)| event.kind == reaction.done).map(|(_, event)| event).collect();
    let mut broken = Vec::new();
    if reaction.done == "viewed" {
        let mut taken: BTreeMap<&str, i64> = BTreeMap::new();
        done.iter().for_each(|event| *taken.entry(&event.key).or_default() += 1);
        let counted: BTreeMap<&str, i64> = account.viewed.iter().map(|(key, count)| (key.as_str(), *count)).collect();
        if taken != counted {
            let what = format!("{}: the view has counted {counted:?}, and published {taken:?}", name_of(account));
            broken.push(Violation::new("inbox.prefix", what));
        }
        return broken;
    }
    let mut effects: BTreeSet<&str> = done.iter().map(|event| event.correlation.as_str()).collect();
    if reaction.has_barrier() {
        let barriers = account
            .barriers
            .iter()
            .filter(|((name, _), barrier)| *name == reaction.name && **barrier == Barrier::Acted);
        effects = barriers.map(|((_, trip), _)| trip.as_str()).collect();
    }
    let there: BTreeSet<&str> = account.trips.keys().map(String::as_str).collect();
    if let Some(trip) = effects.symmetric_difference(&there).next() {
        let which = if there.contains(trip) { "is there and not in effect" } else { "is in effect and not there" };
        let what = format!("{}: the row of {trip} {which}", name_of(account));
        broken.push(Violation::of("inbox.prefix", trip, what));
    }
    broken
}

fn seats(account: &Account) -> Option<Violation> {
    let mut taken: BTreeMap<&str, i64> = BTreeMap::new();
    account.trips.values().for_each(|key| *taken.entry(key).or_default() += 1);
    let stored = account.seats.iter().filter(|(_, count)| **count != 0);
    let stored: BTreeMap<&str, i64> = stored.map(|(key, count)| (key.as_str(), *count)).collect();
    (taken != stored).then(|| {
        let what = format!("{}: {stored:?} seats are taken, and trips are there for {taken:?}", name_of(account));
        Violation::new("inbox.prefix", what)
    })
}

#[cfg(test)]
mod tests;
