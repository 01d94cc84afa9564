//! What an observer makes of the events of choreographed sagas: where each is, since when, and what it waits for.
//!
//! It decides nothing, and nobody waits for it. Two kinds of evidence come in:
//!
//! * events, in the order of each participant's log ([`Observer::hear`]): an event says what the reaction did that published it;
//! * surveys ([`Observer::survey`]): how far the subscriptions of a participant have come, and what they have parked. Without them nobody
//!   could tell whether a reaction that publishes nothing has acted.
//!
//! What a saga has come to ([`Observer::judge`]) is a function of its events and of the latest surveys, by what is declared. A
//! subscription's part of a survey counts once the observer has itself read all that it speaks of: up to where the subscription was in
//! each of its sources, and up to where the participant's own log was afterwards. So there is no event of a saga that a reaction has dealt with, or
//! published, and of which the observer has not heard. Where something was missed it says that it does not know.

mod evidence;
mod judging;
mod ledger;
mod saga;
mod source;
mod verdict;

use crate::choreography::{Choreography, Origin};
use crate::declarations::Heard;
use evidence::Evidence;
use ledger::Ledger;
use source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;
use undoubt_vocabulary::{CorrelationId, Event, EventId, ParticipantName, Position, Timestamp};

pub use evidence::{Survey, Surveyed};
pub use ledger::{Change, MAX_OBSERVED_SAGAS};
pub use saga::{Cause, End, Line, Saga, Seen};
pub use source::{Contact, Place};
pub use verdict::{Awaited, Fate, Standing, Verdict, What};

/// What bounds an observer, and when it finds a silence worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Sagas that are followed at a time; of more, the oldest are given up as unknown.
    pub max_running: usize,
    /// Sagas that have ended and are kept; of more, the oldest are dropped.
    pub max_ended: usize,
    /// The silence after which what is waited for is a finding.
    pub quiet_after: Duration,
}

/// What has come of a look.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// What is to be stored.
    pub changes: Vec<Change>,
    /// What all others have come to, by their correlations in order.
    pub running: Vec<(CorrelationId, Verdict)>,
}

/// All that an observer knows of sagas that run, and of the participants that it hears.
#[derive(Clone, Debug)]
pub struct Observer {
    choreography: Choreography,
    /// All events that belong to sagas: what is declared to be published, or to be heard.
    events: BTreeSet<Heard>,
    origins: BTreeMap<Heard, Vec<Origin>>,
    terms: Terms,
    sources: BTreeMap<ParticipantName, Source>,
    evidence: Evidence,
    ledger: Ledger,
    /// Set after events were missed: the places that have to be read before a saga that is heard of first is known to be whole.
    doubtful: Option<Doubt>,
}

/// Why sagas that are heard of first may lack events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Doubt {
    why: String,
    /// Where each log has to be read up to; `None`: that is not known yet.
    until: BTreeMap<ParticipantName, Option<Position>>,
}

impl Observer {
    /// Returns an observer that goes on with what was stored. `listening_since`: the time of its start.
    pub fn found(
        choreography: Choreography,
        terms: Terms,
        places: impl IntoIterator<Item = (ParticipantName, Place)>,
        running: impl IntoIterator<Item = Saga>,
        ended: usize,
        listening_since: Timestamp,
    ) -> Observer {
        let origins = choreography.origins();
        let heard = choreography.participants().flat_map(|(_, declarations)| declarations.heard().cloned());
        let events = heard.chain(origins.keys().cloned()).collect();
        let mut places: BTreeMap<ParticipantName, Place> = places.into_iter().collect();
        let source = |name: ParticipantName| {
            let place = places.remove(&name).unwrap_or_default();
            (name, Source::found(place, listening_since))
        };
        let sources = choreography.publishers().into_iter().map(source).collect();
        let evidence = Evidence::default();
        let ledger = Ledger::found(running, ended);
        Observer { choreography, events, origins, terms, sources, evidence, ledger, doubtful: None }
    }

    pub fn choreography(&self) -> &Choreography {
        &self.choreography
    }

    /// Returns the participants whose logs it reads.
    pub fn sources(&self) -> impl Iterator<Item = (&ParticipantName, &Place)> {
        self.sources.iter().map(|(name, source)| (name, source.place()))
    }

    /// Returns the sagas that run, as far as it follows them.
    pub fn running(&self) -> impl Iterator<Item = &Saga> {
        self.ledger.running()
    }

    /// Returns a saga that runs.
    pub fn saga(&self, correlation: &CorrelationId) -> Option<&Saga> {
        self.ledger.get(correlation)
    }

    /// Returns the number of sagas that run, and of those that have ended and are kept.
    pub fn counts(&self) -> (usize, usize) {
        self.ledger.counts()
    }

    /// Returns the sagas of these events that it does not follow: whoever has stored some of them as ended [brings them back](Self::bring_back)
    /// before the events are heard.
    pub fn not_followed<'e>(
        &self,
        from: &ParticipantName,
        events: impl IntoIterator<Item = &'e Event>,
    ) -> BTreeSet<CorrelationId> {
        let of_sagas = events.into_iter().filter(|event| self.events.contains(&heard(from, event)));
        let unknown = of_sagas.filter(|event| self.ledger.get(&event.correlation).is_none());
        unknown.map(|event| event.correlation.clone()).collect()
    }

    /// Follows a saga again that had ended, since there are more events of it.
    pub fn bring_back(&mut self, saga: Saga) {
        self.ledger.bring_back(saga);
    }

    /// Takes events of a participant's log, and returns the sagas that have changed. All of its log up to `through` has been told then;
    /// `stable` is where it ends now. `at`: the time at which this was heard.
    pub fn hear(
        &mut self,
        from: &ParticipantName,
        events: &[Event],
        through: crate::inbox::Watermark,
        stable: Position,
        at: Timestamp,
    ) -> BTreeSet<CorrelationId> {
        let mut changed = BTreeSet::new();
        for event in events {
            let what = heard(from, event);
            if !self.events.contains(&what) {
                continue;
            }
            let missed = self.doubtful.as_ref().map(|doubt| doubt.why.as_str());
            if self.ledger.note(what, event, missed) {
                changed.insert(event.correlation.clone());
            }
        }
        if let Some(source) = self.sources.get_mut(from) {
            source.heard(events.iter().map(Event::id), through, stable, at);
        }
        self.evidence.adopt(&self.sources);
        self.clear_doubt(from, stable);
        changed
    }

    fn clear_doubt(&mut self, from: &ParticipantName, stable: Position) {
        let Some(doubt) = &mut self.doubtful else { return };
        if let Some(until) = doubt.until.get_mut(from) {
            let needed = *until.get_or_insert(stable);
            let place = self.sources.get(from).map_or(Position::START, |source| source.place().watermark.position());
            if place >= needed {
                doubt.until.remove(from);
            }
        }
        if doubt.until.is_empty() {
            self.doubtful = None;
        }
    }

    /// Notes that a participant cannot be asked how its subscriptions stand.
    pub fn not_surveyed(&mut self, of: &ParticipantName, why: String, at: Timestamp) {
        if let Some(source) = self.sources.get_mut(of) {
            source.unasked(why, at);
        }
    }

    /// Notes that a participant cannot be read.
    pub fn lost_contact(&mut self, from: &ParticipantName, why: String, at: Timestamp) {
        if let Some(source) = self.sources.get_mut(from) {
            source.away(why, at);
        }
    }

    /// Returns how it stands with a participant.
    pub fn contact(&self, from: &ParticipantName) -> Option<Contact<'_>> {
        self.sources.get(from).map(Source::contact)
    }

    /// Takes what a participant says of its subscriptions.
    pub fn survey(&mut self, of: &ParticipantName, survey: Survey) {
        if let Some(source) = self.sources.get_mut(of) {
            source.surveyed(survey.asked_at);
        }
        self.evidence.take(of, survey);
        self.evidence.adopt(&self.sources);
    }

    /// Notes that events of a participant are gone that were not read, or that its log was put back to an earlier state. All that runs is
    /// unknown from then on, and whatever is heard of first until all logs have been read. Returns all sagas that run: they have changed. Reading goes
    /// on at `place`.
    pub fn missed(&mut self, from: &ParticipantName, why: &str, place: Place) -> BTreeSet<CorrelationId> {
        self.evidence.forget_source(from);
        if let Some(source) = self.sources.get_mut(from) {
            source.begin_again(place);
        }
        self.doubt(why);
        self.ledger.doubt_all(why)
    }

    /// Takes whatever is heard of first for incomplete, until all logs have been read up to where they are then.
    pub fn doubt(&mut self, why: &str) {
        let until = self.sources.keys().map(|name| (name.clone(), None)).collect();
        self.doubtful = Some(Doubt { why: why.to_owned(), until });
    }

    /// Returns why sagas that are heard of first are not taken for whole now.
    pub fn doubts(&self) -> Option<&str> {
        self.doubtful.as_ref().map(|doubt| doubt.why.as_str())
    }

    /// Looks at all that runs, and lets go of what has ended and of what is too much.
    pub fn look(&mut self, now: Timestamp) -> Looked {
        let (mut over, mut running) = (Vec::new(), Vec::new());
        for saga in self.ledger.running() {
            let verdict = self.judge(saga, now);
            // What cannot be told is kept with what has ended, once nothing is awaited and nothing came for a while.
            let is_given_up = verdict.standing == Standing::Unknown
                && verdict.awaited.is_empty()
                && now.since(saga.latest_at()) >= self.terms.quiet_after;
            let is_over = verdict.standing.has_ended() || is_given_up;
            let looked = if is_over { &mut over } else { &mut running };
            looked.push((saga.correlation.clone(), verdict));
        }
        let changes = self.ledger.let_go(over, self.terms, now);
        Looked { changes, running }
    }

    /// Says what a saga has come to.
    pub fn judge(&self, saga: &Saga, now: Timestamp) -> Verdict {
        match &saga.end {
            Some(end) => end.verdict.clone(),
            None => judging::judge(self, saga, now),
        }
    }

    /// Returns what an event of a saga says.
    pub fn line(&self, saga: &Saga, event: EventId) -> Option<Line> {
        let seen = saga.event(event)?;
        Some(saga.line(seen, &self.choreography, &self.origins))
    }

    /// Returns what happened in a saga, event by event.
    pub fn lines(&self, saga: &Saga) -> Vec<Line> {
        saga.lines(&self.choreography, &self.origins)
    }
}

/// Hashes what changes.
impl Hash for Observer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.sources, &self.evidence, &self.ledger, &self.doubtful).hash(state);
    }
}

fn heard(from: &ParticipantName, event: &Event) -> Heard {
    Heard { from: from.clone(), topic: event.topic.clone(), kind: event.kind.clone() }
}
