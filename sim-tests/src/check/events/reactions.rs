//! The rules of [`events`](super) for those who react to events; see there.

use crate::check::Violation;
use crate::check::subscriptions::{Declared, Logs, declared, inbox_of, last_accounts, name_of};
use crate::run::{Account, EventName, Run};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(run: &Run) -> Vec<Violation> {
    let logs = Logs::of(run);
    let mut broken = Vec::new();
    for account in &run.finals.accounts {
        for reaction in declared(&run.plan.shape, account.participant) {
            broken.extend(once(account, &reaction));
            broken.extend(order(account, &reaction, &logs));
            broken.extend(invented(account, &reaction, &logs));
        }
    }
    broken.extend(put_back(run, &logs));
    if run.finals.settled_after_us.is_some() && !run.finals.out_of_patience {
        broken.extend(lost(run, &logs));
    }
    broken
}

fn once(account: &Account, reaction: &Declared) -> Option<Violation> {
    let mut seen = BTreeSet::new();
    let (cause, event) = reaction.answers(account).into_iter().find(|(cause, _)| !seen.insert(*cause))?;
    let what = format!("{}: {} has acted on the event {} more than once", name_of(account), reaction.name, cause.1);
    Some(Violation::of("events.once", &event.correlation, what))
}

fn order(account: &Account, reaction: &Declared, logs: &Logs<'_>) -> Vec<Violation> {
    let mut broken = Vec::new();
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut parked: BTreeMap<&str, u64> = BTreeMap::new();
    let source = reaction.on.source;
    for waiting in account.parked.iter().filter(|one| one.subscription == reaction.name && one.source == source) {
        let first = parked.entry(&waiting.key).or_insert(waiting.event.1);
        *first = waiting.event.1.min(*first);
    }
    for (cause, event) in reaction.answers(account) {
        let Some(of) = logs.known(source, cause) else { continue };
        let before = last.insert(&of.key, cause.1).unwrap_or(0);
        let name =
            || format!("{}: {} has acted on the event {} of {}", name_of(account), reaction.name, cause.1, of.key);
        if before > cause.1 {
            broken.push(Violation::of("events.order", &event.correlation, format!("{} after {before}", name())));
        }
        if parked.get(of.key.as_str()).is_some_and(|first| *first < cause.1) {
            let what = format!("{}, and an earlier one of that key is parked", name());
            broken.push(Violation::of("events.order", &event.correlation, what));
        }
    }
    broken
}

fn invented(account: &Account, reaction: &Declared, logs: &Logs<'_>) -> Vec<Violation> {
    let source = reaction.on.source;
    let is_real = |cause: EventName| {
        logs.known(source, cause).is_some_and(|event| reaction.on.is(event))
            && (logs.has(source, cause) || logs.has_lost(source, cause))
    };
    let answers = reaction.answers(account).into_iter();
    let unreal = answers.filter(|(cause, _)| !is_real(*cause)).map(|(cause, event)| {
        let what = format!(
            "{}: {} has acted on an event {} of p{source}, and there is none, nor was one stable",
            name_of(account),
            reaction.name,
            cause.1
        );
        Violation::of("events.invented", &event.correlation, what)
    });
    unreal.collect()
}

/// Who has read what its source has lost reads nothing more, and only then.
fn put_back(run: &Run, logs: &Logs<'_>) -> Vec<Violation> {
    let mut broken = Vec::new();
    let last = last_accounts(run);
    for listed in &run.finals.listed {
        let Some(account) = last.get(&listed.participant) else { continue };
        let own =
            |inbox: &&crate::run::Inbox| inbox.subscription == listed.subscription && inbox.source == listed.source;
        let has_read_more = account
            .watermarks
            .iter()
            .filter(|(inbox, _)| own(inbox))
            .any(|(_, reached)| !logs.has(listed.source, *reached) && logs.has_lost(listed.source, *reached));
        let lost_anything = run.finals.lost_events.iter().any(|(at, _)| *at == listed.source);
        let name = format!("p{}: {} of p{}", listed.participant, listed.subscription, listed.source);
        match &listed.stopped {
            Some(why) if !lost_anything => {
                let what = format!("{name} has stopped, and no disk has lost anything there: {why}");
                broken.push(Violation::new("events.put-back", what));
            }
            None if has_read_more => {
                let what = format!("{name} has read more than the log holds that was put back, and goes on");
                broken.push(Violation::new("events.put-back", what));
            }
            Some(_) | None => {}
        }
    }
    broken
}

/// In the end everything was dealt with.
fn lost(run: &Run, logs: &Logs<'_>) -> Vec<Violation> {
    let mut broken = Vec::new();
    let last = last_accounts(run);
    for (participant, account) in &last {
        let listed = |subscription: &str, source: u8| {
            let mut all = run.finals.listed.iter();
            all.find(|one| {
                (one.participant, one.subscription.as_str(), one.source) == (*participant, subscription, source)
            })
        };
        for (subscription, source, topic, kind) in run.plan.shape.heard(*participant) {
            if listed(&subscription, source).is_some_and(|listed| listed.stopped.is_some()) {
                continue;
            }
            let heard = logs.events(source).filter(|event| event.topic == topic && event.kind == kind);
            let missed = heard.filter(|event| {
                let reached = account.watermarks.get(&inbox_of(&subscription, source, event));
                reached.is_none_or(|reached| reached.1 < event.position)
            });
            broken.extend(missed.take(1).map(|event| {
                let what =
                    format!("p{participant}: {subscription} has not come to the event {} of p{source}", event.position);
                Violation::of("events.lost", &event.correlation, what)
            }));
        }
        for parked in &account.parked {
            let told =
                listed(&parked.subscription, parked.source).is_some_and(|listed| listed.parked.contains(&parked.event));
            if !told {
                let what = format!("p{participant}: an event {} is parked, and not listed", parked.event.1);
                broken.push(Violation::new("events.lost", what));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests;
