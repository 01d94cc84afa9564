//! What one run cost, and how its trips ended.

use super::Way;
use crate::compare::median;
use crate::plan::{Host, Trips};
use crate::run::{CallKind, Reply, Run};
use crate::trace::{BranchState, Event};
use std::collections::BTreeMap;

/// The time after which a trip that has not ended does not go well.
const SLOW_US: u64 = 500_000;

/// What a coordinator's notes begin with that a trip does not go well.
const TROUBLE: [&str; 5] = ["unanswered", "held", "compensating", "deadline", "stuck"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The failure happened, or there is none in the plan.
    pub struck: bool,
    pub trips: u64,
    pub half_done: u64,
    /// Requests that got a definite answer, in thousandths.
    pub known_permille: u64,
    /// The share of the trips that were asked for while the failure lasted: ended within their time limit and a bit.
    pub in_time_permille: u64,
    /// From asking until the last step is in effect, of those that were done outside the failure.
    pub latency_ms: u64,
    /// Of each trip, in tenths: messages between servers and with the client, records that were forced.
    pub messages_tenths: u64,
    pub forced_tenths: u64,
    /// From the end of the failure until the last that was asked for before had ended.
    pub recovered_after_ms: u64,
    /// From asking until somebody knows that it does not go well, of those that were asked for meanwhile and did not.
    pub noticed_after_ms: Option<u64>,
    /// Trips that were under way when the failure struck: something of them was in effect; and those of them that ended while it lasted.
    pub under_way: u64,
    pub went_on: u64,
}

/// One trip.
#[derive(Debug, Default)]
struct Trip {
    asked_us: u64,
    told_us: Option<u64>,
    /// When something of it was in effect first: its first step, or the event with which it begins.
    begun_us: Option<u64>,
    /// When something of it was done last, or undone.
    worked_us: Option<u64>,
    rows: usize,
    noticed_us: Option<u64>,
}

pub fn measure(run: &Run, way: Way) -> Measured {
    let steps = usize::from(run.plan.shape.participants);
    let (from_us, to_us, struck) = window(run);
    let trips = trips(run, way);
    let is_half_done = |trip: &Trip| trip.rows > 0 && trip.rows < steps;
    // Where events move it, its client is told that it has begun, whenever that is.
    let ended = |trip: &Trip| match way {
        Way::Orchestrated => trip.worked_us.max(trip.told_us),
        Way::Chain | Way::Broadcast => trip.worked_us.or(trip.told_us),
    };
    let ended_us = |trip: &Trip| ended(trip).filter(|_| !is_half_done(trip));
    let is_meanwhile = |trip: &&Trip| (from_us..to_us).contains(&trip.asked_us);
    let limit_us = run.plan.shape.timeout_ms * 1_000 + SLOW_US;
    let meanwhile: Vec<&Trip> = trips.values().filter(is_meanwhile).collect();
    let in_time = meanwhile.iter().filter(|trip| ended_us(trip).is_some_and(|ended| ended - trip.asked_us <= limit_us));
    let latencies =
        trips.values().filter(|trip| trip.rows == steps && (run.plan.faults.is_empty() || !is_meanwhile(trip)));
    let latencies = latencies.filter_map(|trip| Some((trip.worked_us? - trip.asked_us) / 1_000));
    let slow = meanwhile.iter().filter(|trip| ended_us(trip).is_none_or(|ended| ended - trip.asked_us > SLOW_US));
    let noticed: Vec<u64> =
        slow.filter_map(|trip| Some(trip.noticed_us?.saturating_sub(trip.asked_us) / 1_000)).collect();
    let before = trips.values().filter(|trip| trip.asked_us < to_us);
    let last = before.map(|trip| ended_us(trip).unwrap_or(run.simulated_us)).max().unwrap_or(to_us);
    let is_under_way = |trip: &&Trip| {
        trip.begun_us.is_some_and(|begun| begun < from_us) && ended_us(trip).is_none_or(|ended| ended > from_us)
    };
    let under_way: Vec<&Trip> = trips.values().filter(is_under_way).collect();
    let went_on = under_way.iter().filter(|trip| ended_us(trip).is_some_and(|ended| ended <= to_us));
    let calls = run.calls.iter().filter(|call| call.client > 0);
    let known = calls.clone().filter(|call| call.told_us.is_some() && !matches!(call.reply, Reply::Unknown(_)));
    let count = trips.len().max(1) as u64;
    let has_fault = !run.plan.faults.is_empty();
    Measured {
        struck,
        trips: trips.len() as u64,
        half_done: trips.values().filter(|trip| is_half_done(trip)).count() as u64,
        known_permille: permille(known.count(), calls.count()),
        in_time_permille: permille(in_time.count(), meanwhile.len()),
        latency_ms: median(latencies),
        messages_tenths: 10 * messages(run, &trips) / count,
        forced_tenths: 10 * forced(run) / count,
        recovered_after_ms: last.saturating_sub(to_us) / 1_000,
        noticed_after_ms: (!noticed.is_empty()).then(|| median(noticed.into_iter())),
        under_way: if has_fault { under_way.len() as u64 } else { 0 },
        went_on: if has_fault { went_on.count() as u64 } else { 0 },
    }
}

fn trips(run: &Run, way: Way) -> BTreeMap<&str, Trip> {
    let mut trips: BTreeMap<&str, Trip> = BTreeMap::new();
    for call in run.calls.iter().filter(|call| call.client > 0 && matches!(call.kind, CallKind::Submit(_))) {
        let new = Trip { asked_us: call.asked_us, ..Trip::default() };
        let trip = trips.entry(&call.tx).or_insert(new);
        if let Reply::Committed(_) | Reply::Aborted(_) = call.reply {
            trip.told_us = trip.told_us.or(call.told_us);
        }
    }
    for entry in &run.trace {
        if let Event::Reacted { tx, .. } | Event::Branch { tx, state: BranchState::Over } = &entry.event
            && let Some(trip) = trips.get_mut(tx.as_str())
        {
            trip.begun_us = trip.begun_us.or(Some(entry.at_us));
            trip.worked_us = Some(entry.at_us);
        }
        if let Event::Noted { tx, note, .. } = &entry.event
            && way == Way::Orchestrated
            && TROUBLE.iter().any(|word| note.starts_with(word))
            && let Some(trip) = trips.get_mut(tx.as_str())
        {
            trip.noticed_us = trip.noticed_us.or(Some(entry.at_us));
        }
    }
    if way != Way::Orchestrated {
        note_words_of_trouble(run, &mut trips);
    }
    let last: BTreeMap<u8, _> = run.finals.accounts.iter().map(|account| (account.participant, account)).collect();
    for name in last.values().flat_map(|account| account.trips.keys()) {
        if let Some(trip) = trips.get_mut(name.as_str()) {
            trip.rows += 1;
        }
    }
    trips
}

/// Events tell of trouble too: of refusals, and of time limits that are over. All times are those of publishers, and none of these worlds'
/// clocks is off before the failure.
fn note_words_of_trouble(run: &Run, trips: &mut BTreeMap<&str, Trip>) {
    let all = || run.finals.logs.values().flatten().filter(|event| event.topic == Trips::TOPIC);
    let begun: BTreeMap<&str, u64> = all()
        .filter(|event| event.kind == Trips::BEGUN)
        .map(|event| (event.correlation.as_str(), event.published_at_us))
        .collect();
    for event in all().filter(|event| event.kind == Trips::EXPIRED || event.kind.ends_with(".refused")) {
        let (Some(trip), Some(begun_us)) =
            (trips.get_mut(event.correlation.as_str()), begun.get(event.correlation.as_str()))
        else {
            continue;
        };
        let at_us = trip.asked_us + event.published_at_us.saturating_sub(*begun_us);
        trip.noticed_us = Some(trip.noticed_us.map_or(at_us, |first| first.min(at_us)));
    }
}

/// Messages of sessions, events that were told over the network, and what clients ask and hear.
fn messages(run: &Run, trips: &BTreeMap<&str, Trip>) -> u64 {
    let of_trip = |event: &Event| {
        let (Event::Sent { tx, .. } | Event::Requested { tx, .. } | Event::Answered { tx, .. }) = event else {
            return false;
        };
        trips.contains_key(tx.as_str())
    };
    let sent = run.trace.iter().filter(|entry| of_trip(&entry.event));
    let told = run.finals.events_told.iter().filter(|(tx, _)| trips.contains_key(tx.as_str()));
    sent.count() as u64 + told.map(|(_, count)| count).sum::<u64>()
}

/// Records that were forced, on all disks.
fn forced(run: &Run) -> u64 {
    let is_server = |host| matches!(host, Some(Host::Coordinator | Host::Participant(_)));
    let forced = run.trace.iter().filter(|entry| {
        let Event::Disk { what } = &entry.event else { return false };
        is_server(entry.host) && what.starts_with("Written") && what.contains("Forced")
    });
    forced.count() as u64
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
