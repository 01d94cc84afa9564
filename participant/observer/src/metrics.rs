//! The figures of an observer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use undoubt_platform::metrics::{Metric, Tell, Telling};
use undoubt_stream::observer::Standing;

/// The metrics of an observer.
pub const METRICS: &[Metric] = &[RUNNING, KEPT, ENDED, HEARD, BEHIND, MISSED, NOT_ASKED];

const RUNNING: Metric = Metric::gauge(
    "undoubt_observer_sagas_running",
    &["standing"],
    "Choreographed sagas that have not ended, by how they stand; `quiet` and `parked` ask for somebody",
);
const KEPT: Metric = Metric::gauge(
    "undoubt_observer_sagas_kept",
    &[],
    "Choreographed sagas that have ended and are kept (max_ended_sagas)",
);
const ENDED: Metric = Metric::counter(
    "undoubt_observer_sagas_ended",
    &["standing"],
    "Choreographed sagas that were seen to end since the start, by how they ended",
);
const HEARD: Metric =
    Metric::counter("undoubt_observer_events_heard", &["participant"], "Events that were read of a participant's log");
const BEHIND: Metric = Metric::gauge(
    "undoubt_observer_events_behind",
    &["participant"],
    "Events of a participant's log that are not read yet",
);
const MISSED: Metric = Metric::counter(
    "undoubt_observer_logs_missed",
    &["participant"],
    "Times that events of a participant could not be read any more, or that its log was put back",
);
const NOT_ASKED: Metric = Metric::counter(
    "undoubt_observer_asks_failed",
    &["participant"],
    "Times that a participant could not be asked how its subscriptions stand",
);

/// The counts of one participant.
#[derive(Debug, Default)]
pub(crate) struct OfParticipant {
    pub(crate) heard: AtomicU64,
    pub(crate) behind: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) not_asked: AtomicU64,
}

/// The counts of an observer since its start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    participants: BTreeMap<String, OfParticipant>,
    running: Mutex<BTreeMap<Standing, u64>>,
    ended: Mutex<BTreeMap<Standing, u64>>,
    pub(crate) kept: AtomicU64,
}

impl Figures {
    pub(crate) fn new(participants: impl IntoIterator<Item = String>) -> Figures {
        let participants = participants.into_iter().map(|name| (name, OfParticipant::default())).collect();
        Figures { participants, ..Figures::default() }
    }

    pub(crate) fn of(&self, participant: &str) -> Option<&OfParticipant> {
        self.participants.get(participant)
    }

    pub(crate) fn runs(&self, running: BTreeMap<Standing, u64>) {
        *lock(&self.running) = running;
    }

    pub(crate) fn ended(&self, standing: Standing) {
        *lock(&self.ended).entry(standing).or_default() += 1;
    }

    /// Returns how many have ended since the start as done, and otherwise.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let ended = lock(&self.ended);
        let done = ended.get(&Standing::Done).copied().unwrap_or(0);
        (done, ended.values().sum::<u64>() - done)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is whole between two calls.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tell for Figures {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        let by_standing = |counts: &BTreeMap<Standing, u64>| {
            Standing::ALL.map(|standing| ([standing.as_str()], counts.get(&standing).copied().unwrap_or(0)))
        };
        telling.each(&RUNNING, by_standing(&lock(&self.running)))?;
        telling.one(&KEPT, self.kept.load(Ordering::Relaxed))?;
        telling.each(&ENDED, by_standing(&lock(&self.ended)))?;
        let each = |count: fn(&OfParticipant) -> &AtomicU64| {
            let of =
                move |(name, own): (&'_ String, &'_ OfParticipant)| (name.clone(), count(own).load(Ordering::Relaxed));
            self.participants.iter().map(of).collect::<Vec<_>>()
        };
        let mut tell = |metric: &Metric, counts: Vec<(String, u64)>| {
            telling.each(metric, counts.iter().map(|(name, count)| ([name.as_str()], *count)))
        };
        tell(&HEARD, each(|own| &own.heard))?;
        tell(&BEHIND, each(|own| &own.behind))?;
        tell(&MISSED, each(|own| &own.missed))?;
        tell(&NOT_ASKED, each(|own| &own.not_asked))
    }
}
