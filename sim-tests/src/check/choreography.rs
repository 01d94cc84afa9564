//! Each choreographed saga ends, all done or all undone, within its time and a bound after the healing.
//!
//! `ended`: a trip that began has left its row at every step or at none; at none if it was refused or its time was over, and at every one
//! if not. Nobody has a row of one that did not begin.
//!
//! Excused is a trip of which an event waits for an operator or was given up by one, or of which a disk has lost an event; and every trip
//! where a reaction has stopped because its source was put back, which is listed: nobody goes on from there before an operator says how.

use super::Violation;
use super::subscriptions::last_accounts;
use crate::plan::Trips;
use crate::run::{Participant, Run};
use std::collections::{BTreeMap, BTreeSet};

pub fn check(run: &Run) -> Vec<Violation> {
    let is_over = run.finals.settled_after_us.is_some() && !run.finals.out_of_patience;
    match run.plan.shape.choreographed() {
        Some(trips) if is_over => ended(run, trips),
        Some(_) | None => Vec::new(),
    }
}

/// How far a trip has come.
#[derive(Debug, Default)]
struct Trip {
    begun: bool,
    failed: bool,
    rows: BTreeSet<Participant>,
    excused: bool,
}

fn ended(run: &Run, trips: &Trips) -> Vec<Violation> {
    if run.finals.listed.iter().any(|listed| listed.stopped.is_some()) {
        return Vec::new();
    }
    let found = found(run, trips);
    let wrong = |(name, trip): (&&str, &Trip)| {
        let all: BTreeSet<Participant> = (1..=trips.steps).collect();
        let what = match (trip.begun, trip.failed) {
            _ if trip.excused => return None,
            (false, _) if !trip.rows.is_empty() => "did not begin",
            (true, true) if !trip.rows.is_empty() => "was to be undone",
            (true, false) if trip.rows.is_empty() => "was not refused",
            (true, _) if !trip.rows.is_empty() && trip.rows != all => "is half done",
            (true | false, _) => return None,
        };
        let rows: Vec<String> = trip.rows.iter().map(|at| format!("p{at}")).collect();
        let what = format!("{name} {what}, and is in effect at [{}] of {} steps", rows.join(", "), trips.steps);
        Some(Violation::of("choreography.ended", name, what))
    };
    found.iter().filter_map(wrong).collect()
}

fn found<'a>(run: &'a Run, trips: &Trips) -> BTreeMap<&'a str, Trip> {
    let mut found: BTreeMap<&str, Trip> = BTreeMap::new();
    for (at, log) in &run.finals.logs {
        for event in log.iter().filter(|event| event.topic == Trips::TOPIC) {
            let trip = found.entry(&event.correlation).or_default();
            trip.begun |= *at == 1 && event.kind == Trips::BEGUN;
            trip.failed |= event.kind == Trips::EXPIRED || event.kind.ends_with(".refused");
        }
    }
    for (at, account) in last_accounts(run).into_iter().filter(|(at, _)| *at <= trips.steps) {
        for name in account.trips.keys() {
            found.entry(name).or_default().rows.insert(at);
        }
        for parked in account.parked.iter().chain(&account.given_up) {
            let event = run.finals.known_events.get(&(parked.source, parked.event));
            if let Some(trip) = event.and_then(|event| found.get_mut(event.correlation.as_str())) {
                trip.excused = true;
            }
        }
    }
    for ((at, id), event) in &run.finals.known_events {
        if let Some(trip) = found.get_mut(event.correlation.as_str())
            && run.finals.lost_events.contains(&(*at, id.1))
        {
            trip.excused = true;
        }
    }
    found
}

#[cfg(test)]
mod tests;
