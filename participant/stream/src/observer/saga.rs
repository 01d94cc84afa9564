//! A choreographed saga, as its events show it.

use super::verdict::Verdict;
use crate::choreography::{Choreography, Origin, StepId};
use crate::declarations::Heard;
use std::collections::BTreeMap;
use undoubt_vocabulary::{CorrelationId, Event, EventId, EventKind, ParticipantName, Timestamp};

/// An event of a saga, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub event: Heard,
    pub id: EventId,
    pub published_at: Timestamp,
    pub caused_by: Option<EventId>,
}

/// All that is kept of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Saga {
    pub correlation: CorrelationId,
    /// In the order in which they were heard; at least one.
    pub events: Vec<Seen>,
    /// Why events of it may be missing here; `None`: none are.
    pub missed: Option<String>,
    /// Set once it was seen to have ended.
    pub end: Option<End>,
}

/// The end of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// The time at which it was seen to have ended.
    pub at: Timestamp,
    pub verdict: Verdict,
}

/// One thing that happened in a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Timestamp,
    pub kind: EventKind,
    /// `None`: it is about the whole saga.
    pub participant: Option<ParticipantName>,
    pub detail: String,
}

/// The way in which an event of a saga came to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    Begun,
    Expired,
    Acted(StepId),
    Refused(StepId),
    Undone(StepId),
    /// Nothing that is declared publishes it so.
    Other,
}

impl Saga {
    /// Returns a saga of which nothing was heard yet.
    pub(super) fn new(correlation: CorrelationId) -> Saga {
        Saga { correlation, events: Vec::new(), missed: None, end: None }
    }

    /// Returns the time at which the first event of it was published.
    pub fn begun_at(&self) -> Timestamp {
        self.events.iter().map(|seen| seen.published_at).min().unwrap_or_default()
    }

    /// Returns the time at which the last event of it was published.
    pub(super) fn latest_at(&self) -> Timestamp {
        self.events.iter().map(|seen| seen.published_at).max().unwrap_or_default()
    }

    /// Takes an event. Returns false if it is there already.
    pub(super) fn note(&mut self, what: Heard, event: &Event) -> bool {
        if self.events.iter().any(|seen| seen.id == event.id()) {
            return false;
        }
        let (id, published_at, caused_by) = (event.id(), event.published_at, event.causation);
        self.events.push(Seen { event: what, id, published_at, caused_by });
        true
    }

    /// Returns the event with this id.
    pub(super) fn event(&self, id: EventId) -> Option<&Seen> {
        self.events.iter().find(|seen| seen.id == id)
    }

    /// Returns all events of this kind.
    pub(super) fn events_of<'a>(&'a self, what: &'a Heard) -> impl Iterator<Item = &'a Seen> {
        self.events.iter().filter(move |seen| seen.event == *what)
    }

    /// Returns how an event came to be published, by what is declared.
    pub(super) fn cause(
        &self,
        seen: &Seen,
        choreography: &Choreography,
        origins: &BTreeMap<Heard, Vec<Origin>>,
    ) -> Cause {
        let cause = seen.caused_by.and_then(|id| self.event(id)).map(|cause| &cause.event);
        let fits = |origin: &Origin| match (origin, cause) {
            (Origin::Begin, None) => Some(Cause::Begun),
            (Origin::Expired(_), None) => Some(Cause::Expired),
            (Origin::Emit(step), Some(on)) => choreography.acts_on(step, on).then(|| Cause::Acted(step.clone())),
            (Origin::Refused(step), Some(on)) => choreography.acts_on(step, on).then(|| Cause::Refused(step.clone())),
            (Origin::Undone(step), Some(on)) => {
                choreography.is_undone_by(step, on).then(|| Cause::Undone(step.clone()))
            }
            (Origin::Begin | Origin::Expired(_), Some(_))
            | (Origin::Emit(_) | Origin::Refused(_) | Origin::Undone(_), None) => None,
        };
        origins.get(&seen.event).into_iter().flatten().find_map(fits).unwrap_or(Cause::Other)
    }

    pub(super) fn line(
        &self,
        seen: &Seen,
        choreography: &Choreography,
        origins: &BTreeMap<Heard, Vec<Origin>>,
    ) -> Line {
        let Heard { from, topic, kind } = &seen.event;
        let on = seen.caused_by.map(|id| match self.event(id) {
            Some(Seen { event, .. }) => format!(", on {} at {}", event.kind, event.from),
            None => ", on an event that was not heard".to_owned(),
        });
        let on = on.unwrap_or_default();
        let (what, by) = match self.cause(seen, choreography, origins) {
            Cause::Begun => (EventKind::Begun, String::new()),
            Cause::Expired => (EventKind::DeadlinePassed, String::new()),
            Cause::Acted(step) => (EventKind::Acted, format!(", by {}{on}", step.name)),
            Cause::Refused(step) => (EventKind::Refused, format!(", by {}{on}", step.name)),
            Cause::Undone(step) => (EventKind::Compensated, format!(", by {}{on}", step.name)),
            Cause::Other => (EventKind::Published, on),
        };
        let detail = format!("{kind} ({topic}, position {}){by}", seen.id.position);
        Line { at: seen.published_at, kind: what, participant: Some(from.clone()), detail }
    }

    pub(super) fn lines(&self, choreography: &Choreography, origins: &BTreeMap<Heard, Vec<Origin>>) -> Vec<Line> {
        let mut order: Vec<(Timestamp, usize, &Seen)> = self.events.iter().map(|seen| self.place(seen)).collect();
        order.sort_by_key(|(at, depth, _)| (*at, *depth));
        order.into_iter().map(|(_, _, seen)| self.line(seen, choreography, origins)).collect()
    }

    /// Returns the place of an event among the others: clocks of participants differ, and what leads to something comes before it all the
    /// same.
    fn place<'a>(&'a self, seen: &'a Seen) -> (Timestamp, usize, &'a Seen) {
        let (mut at, mut depth, mut next) = (seen.published_at, 0, seen);
        while let Some(cause) = next.caused_by.and_then(|id| self.event(id)).filter(|_| depth < self.events.len()) {
            (at, depth, next) = (at.max(cause.published_at), depth + 1, cause);
        }
        (at, depth, seen)
    }
}
