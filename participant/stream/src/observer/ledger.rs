//! The sagas that are followed, within bounds.

use super::Terms;
use super::saga::{End, Saga};
use super::verdict::{Standing, Verdict};
use crate::choreography::MAX_EVENTS_OF_SAGA;
use crate::declarations::Heard;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_vocabulary::{CorrelationId, Event, Timestamp};

/// The highest number of sagas that may be followed at a time, and of those that may be kept.
pub const MAX_OBSERVED_SAGAS: usize = 1_000_000;

/// Sagas that are dropped with one look.
const MAX_DROPPED_AT_ONCE: usize = 1_000;

/// A change of what is kept beside the sagas that run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is not followed any more, and kept as it is here, with its end.
    End(Box<Saga>),
    /// So many of those that ended first are dropped.
    Drop { oldest: usize },
}

#[derive(Clone, Debug, Hash)]
pub(super) struct Ledger {
    running: BTreeMap<CorrelationId, Saga>,
    ended: usize,
}

impl Ledger {
    pub(super) fn found(running: impl IntoIterator<Item = Saga>, ended: usize) -> Ledger {
        Ledger { running: running.into_iter().map(|saga| (saga.correlation.clone(), saga)).collect(), ended }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Saga> {
        self.running.values()
    }

    pub(super) fn get(&self, correlation: &CorrelationId) -> Option<&Saga> {
        self.running.get(correlation)
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.running.len(), self.ended)
    }

    pub(super) fn bring_back(&mut self, saga: Saga) {
        self.ended = self.ended.saturating_sub(1);
        self.running.insert(saga.correlation.clone(), Saga { end: None, ..saga });
    }

    /// Takes an event. `missed`: why a saga that is heard of first may lack events. Returns false if it is there already.
    pub(super) fn note(&mut self, what: Heard, event: &Event, missed: Option<&str>) -> bool {
        let new = || Saga { missed: missed.map(str::to_owned), ..Saga::new(event.correlation.clone()) };
        let saga = self.running.entry(event.correlation.clone()).or_insert_with(new);
        if saga.events.len() as u64 >= MAX_EVENTS_OF_SAGA {
            let cut = format!("it has more than {MAX_EVENTS_OF_SAGA} events, of which no more are kept");
            return saga.missed.replace(cut.clone()) != Some(cut);
        }
        saga.note(what, event)
    }

    pub(super) fn doubt_all(&mut self, why: &str) -> BTreeSet<CorrelationId> {
        for saga in self.running.values_mut() {
            saga.missed.get_or_insert_with(|| why.to_owned());
        }
        self.running.keys().cloned().collect()
    }

    /// Lets go of sagas that have ended, and of the oldest where there are too many.
    pub(super) fn let_go(&mut self, ended: Vec<(CorrelationId, Verdict)>, terms: Terms, at: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        for (correlation, verdict) in ended {
            changes.extend(self.end(&correlation, verdict, at));
        }
        let excess = self.running.len().saturating_sub(terms.max_running);
        if excess > 0 {
            let mut oldest: Vec<_> =
                self.running.values().map(|saga| (saga.begun_at(), saga.correlation.clone())).collect();
            oldest.sort();
            let why = format!(
                "more than {} sagas ran at a time (max_running_sagas), so this one is not followed any more",
                terms.max_running
            );
            for (_, correlation) in oldest.into_iter().take(excess) {
                let verdict = Verdict {
                    standing: Standing::Unknown,
                    fates: BTreeMap::new(),
                    awaited: Vec::new(),
                    why: Some(why.clone()),
                };
                changes.extend(self.end(&correlation, verdict, at));
            }
        }
        let excess = self.ended.saturating_sub(terms.max_ended).min(MAX_DROPPED_AT_ONCE);
        if excess > 0 {
            self.ended -= excess;
            changes.push(Change::Drop { oldest: excess });
        }
        changes
    }

    fn end(&mut self, correlation: &CorrelationId, verdict: Verdict, at: Timestamp) -> Option<Change> {
        let saga = self.running.remove(correlation)?;
        self.ended += 1;
        Some(Change::End(Box::new(Saga { end: Some(End { at, verdict }), ..saga })))
    }
}
