//! What the engine knows, for those who ask.

use crate::hub::Hub;
use crate::store::{Gap, Rows, RowsError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use undoubt_platform::Clock;
use undoubt_stream::observer::{Line, Observer, Saga, Verdict};
use undoubt_vocabulary::{CorrelationId, EventKind};

/// What changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) observer: Observer,
    /// Sagas that have ended, whose writes are not answered yet.
    pub(crate) ending: BTreeMap<CorrelationId, Saga>,
    /// What was missed, the oldest first.
    pub(crate) gaps: Vec<Gap>,
}

/// What the engine shares. It alone changes it.
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) hub: Hub,
    pub(crate) rows: Rows,
    pub(crate) clock: Arc<dyn Clock>,
    /// The number of this start.
    pub(crate) epoch: u32,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// A saga, with what it has come to.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) saga: Saga,
    pub(crate) verdict: Verdict,
    pub(crate) lines: Vec<Line>,
}

impl Shared {
    pub(crate) fn new(observer: Observer, gaps: Vec<Gap>, rows: Rows, clock: Arc<dyn Clock>, epoch: u32) -> Shared {
        let state = Mutex::new(State { observer, ending: BTreeMap::new(), gaps });
        Shared { state, hub: Hub::default(), rows, clock, epoch }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic under it ends the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a saga, if there is a trace of it.
    pub(crate) fn find(&self, correlation: &CorrelationId) -> Result<Option<Found>, RowsError> {
        if let Some(found) = self.in_memory(correlation) {
            return Ok(Some(found));
        }
        match self.rows.ended(correlation)? {
            Some(saga) => Ok(Some(self.found(saga))),
            // It may have been brought back meanwhile.
            None => Ok(self.in_memory(correlation)),
        }
    }

    fn in_memory(&self, correlation: &CorrelationId) -> Option<Found> {
        let state = self.state();
        let saga = state.observer.saga(correlation).or_else(|| state.ending.get(correlation))?;
        Some(found(&state.observer, saga.clone(), self.clock.as_ref()))
    }

    /// Returns a saga that was read from the store, with what it has come to.
    pub(crate) fn found(&self, saga: Saga) -> Found {
        found(&self.state().observer, saga, self.clock.as_ref())
    }
}

fn found(observer: &Observer, saga: Saga, clock: &dyn Clock) -> Found {
    let now = clock.now();
    let verdict = observer.judge(&saga, now);
    let mut lines = observer.lines(&saga);
    if let Some(missed) = &saga.missed {
        let at = saga.begun_at();
        lines.push(Line { at, kind: EventKind::Missed, participant: None, detail: missed.clone() });
    }
    lines.extend(state_lines(&saga, &verdict));
    Found { saga, verdict, lines }
}

/// Returns what a saga has come to, as the last lines of its history.
pub(crate) fn state_lines(saga: &Saga, verdict: &Verdict) -> Vec<Line> {
    let mut lines = Vec::new();
    for awaited in &verdict.awaited {
        let kind = match (&awaited.parked, awaited.quiet_until) {
            (Some(_), _) => EventKind::Stuck,
            (None, Some(_)) => EventKind::HeldUp,
            (None, None) => continue,
        };
        let participant = Some(awaited.step.participant.clone());
        lines.push(Line { at: awaited.since, kind, participant, detail: awaited.to_string() });
    }
    if let Some(end) = &saga.end {
        lines.push(end_line(end.at, verdict));
    }
    lines
}

/// Returns the line that tells the end.
pub(crate) fn end_line(at: undoubt_vocabulary::Timestamp, verdict: &Verdict) -> Line {
    let why = verdict.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    Line { at, kind: EventKind::Decided, participant: None, detail: format!("{}{why}", verdict.standing) }
}
