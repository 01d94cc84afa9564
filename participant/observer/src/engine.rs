//! The task that takes what is read of the logs and what participants say, and stores what comes of it.

use crate::asking::{Ask, MAX_ASKED_AT_ONCE};
use crate::config::Config;
use crate::hub::Told as Happened;
use crate::metrics::Figures;
use crate::shared::{Shared, end_line, state_lines};
use crate::store::{Gap, MAX_GAPS_KEPT, RowsError, put_back, put_ended, put_place, put_running};
use futures::stream::{self, BoxStream, SelectAll, StreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;
use undoubt_participant::subscription::Sources;
use undoubt_participant::subscription::reading::{Gone, Reading, Told};
use undoubt_platform::alarm::{Alarms, Bell, Condition};
use undoubt_platform::pulse::Heart;
use undoubt_platform::{Batch, Random};
use undoubt_stream::inbox::Watermark;
use undoubt_stream::observer::{Change, Looked, Place, Saga, Standing, Survey, Verdict};
use undoubt_vocabulary::{CorrelationId, Event, ParticipantName, Position, Timestamp};

/// The period in which all that runs is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// A look takes at most one part in so many of the time.
const LOOK_SHARE: u32 = 9;

/// Events whose sagas are stored in one write.
const EVENTS_AT_ONCE: usize = 128;

/// What the engine takes from outside.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) sources: Arc<dyn Sources>,
    pub(crate) ask: Arc<dyn Ask>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) bell: Option<Bell>,
}

pub(crate) struct Engine {
    parts: Parts,
    /// Counts the times that events were missed: what was asked for before is of the past.
    generation: Arc<AtomicU64>,
    told: BTreeMap<CorrelationId, Standing>,
    alarms: Alarms,
}

/// What a participant has answered, and the generation in which it was asked.
type Asked = (ParticipantName, u64, Result<Survey, Status>);

impl Engine {
    pub(crate) fn new(parts: Parts) -> Engine {
        Engine { parts, generation: Arc::default(), told: BTreeMap::new(), alarms: Alarms::default() }
    }

    fn reading(&self, from: &ParticipantName, place: Watermark) -> BoxStream<'static, (ParticipantName, Told)> {
        let Parts { config, sources, random, .. } = &self.parts;
        let reading = Reading::new(from.clone(), Vec::new(), sources.clone(), random.clone(), config.retries());
        reading.after(place)
    }

    /// Returns the answers of a participant that is asked again and again.
    fn asking(&self, of: ParticipantName, turns: Arc<Semaphore>) -> BoxStream<'static, Asked> {
        let (ask, clock, generation) =
            (self.parts.ask.clone(), self.parts.shared.clock.clone(), self.generation.clone());
        let period = Duration::from_millis(self.parts.config.ask_every_ms);
        stream::unfold(false, move |waits| {
            let (of, turns, ask) = (of.clone(), turns.clone(), ask.clone());
            let (clock, generation) = (clock.clone(), generation.clone());
            async move {
                if waits {
                    sleep(period).await;
                }
                let _turn = turns.acquire().await.ok()?;
                let before = generation.load(Ordering::Relaxed);
                let survey = ask.ask(&of, clock.now()).await;
                Some(((of, before, survey), true))
            }
        })
        .boxed()
    }

    /// Runs until the store fails.
    pub(crate) async fn run(mut self, heart: Heart) -> Result<(), RowsError> {
        let (mut told, mut asked) = (SelectAll::new(), SelectAll::new());
        let turns = Arc::new(Semaphore::new(MAX_ASKED_AT_ONCE));
        let shared = self.parts.shared.clone();
        let places: Vec<(ParticipantName, Watermark)> = {
            let state = shared.state();
            state.observer.sources().map(|(name, place)| (name.clone(), place.watermark)).collect()
        };
        for (name, place) in places {
            told.push(self.reading(&name, place));
        }
        let all: Vec<ParticipantName> =
            shared.state().observer.choreography().participants().map(|(name, _)| name.clone()).collect();
        for name in all {
            asked.push(self.asking(name, turns.clone()));
        }
        let mut next_look = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = sleep_until(next_look) => {
                    heart.beat();
                    let begun = Instant::now();
                    self.look().await?;
                    // However much runs, most of the time is for what comes in.
                    next_look = Instant::now() + LOOK_PERIOD.max(begun.elapsed() * LOOK_SHARE);
                }
                Some((of, generation, survey)) = asked.next() => self.surveyed(&of, generation, survey),
                Some((from, said)) = told.next() => {
                    if let Some(again) = self.take(&from, said).await? {
                        told.push(self.reading(&from, again));
                    }
                }
            }
        }
    }

    fn surveyed(&self, of: &ParticipantName, generation: u64, survey: Result<Survey, Status>) {
        let mut state = self.parts.shared.state();
        match survey {
            Ok(survey) if generation == self.generation.load(Ordering::Relaxed) => state.observer.survey(of, survey),
            Ok(_) => {}
            Err(status) => {
                let why = if status.message().is_empty() { status.to_string() } else { status.message().to_owned() };
                tracing::debug!(participant = %of, why, "a participant cannot be asked how its subscriptions stand");
                state.observer.not_surveyed(of, why, self.parts.shared.clock.now());
                if let Some(own) = self.parts.figures.of(of.as_str()) {
                    own.not_asked.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Takes what was read. Returns where to begin again, if the log cannot be read on from where it was.
    async fn take(&mut self, from: &ParticipantName, told: Told) -> Result<Option<Watermark>, RowsError> {
        match told {
            Told::Away(why) => {
                tracing::warn!(participant = %from, why, "the log of a participant cannot be read, which is tried again");
                let now = self.parts.shared.clock.now();
                self.parts.shared.state().observer.lost_contact(from, why, now);
                Ok(None)
            }
            // An observer is registered nowhere: nothing waits for it.
            Told::BeginsBehind(_) => Ok(None),
            Told::Stopped(gone, why) => self.missed(from, gone, &why).await.map(Some),
            Told::Events { events, through, stable } => {
                self.hear(from, &events, through, stable).await?;
                Ok(None)
            }
        }
    }

    async fn hear(
        &mut self,
        from: &ParticipantName,
        events: &[Event],
        through: Watermark,
        stable: Position,
    ) -> Result<(), RowsError> {
        let mut rest = events;
        loop {
            let (chunk, behind) = rest.split_at(rest.len().min(EVENTS_AT_ONCE));
            let upto = if behind.is_empty() { through } else { chunk.last().map_or(through, |last| last.id().into()) };
            self.hear_chunk(from, chunk, upto, stable).await?;
            if behind.is_empty() {
                break;
            }
            rest = behind;
        }
        if let Some(own) = self.parts.figures.of(from.as_str()) {
            own.heard.fetch_add(events.len() as u64, Ordering::Relaxed);
            own.behind.store(stable.0.saturating_sub(through.position().0), Ordering::Relaxed);
        }
        Ok(())
    }

    async fn hear_chunk(
        &mut self,
        from: &ParticipantName,
        events: &[Event],
        through: Watermark,
        stable: Position,
    ) -> Result<(), RowsError> {
        let shared = self.parts.shared.clone();
        let place = shared.state().observer.sources().find(|(name, _)| *name == from).map(|(_, place)| place.clone());
        let place = place.unwrap_or_default();
        let told = through.position().0.saturating_sub(place.watermark.position().0);
        if told > events.len() as u64 {
            let first = events.first().map_or(through.position().0 + 1, |event| event.position.0);
            let what = format!("the log of {from} is not kept from the start: its first event is at position {first}");
            self.note_gap(from, what, place).await?;
        }
        let unknown = shared.state().observer.not_followed(from, events);
        let mut ended: BTreeMap<CorrelationId, Saga> = BTreeMap::new();
        for correlation in unknown {
            if let Some(saga) = shared.rows.ended(&correlation)? {
                ended.insert(correlation, saga);
            }
        }
        // What is read a second time brings nothing back.
        let is_known = |event: &Event| {
            ended.get(&event.correlation).is_some_and(|saga| saga.events.iter().any(|seen| seen.id == event.id()))
        };
        let fresh: Vec<Event> = events.iter().filter(|event| !is_known(event)).cloned().collect();
        let again: BTreeSet<&CorrelationId> = fresh.iter().map(|event| &event.correlation).collect();
        let mut batch = Batch::default();
        let written = {
            let mut state = shared.state();
            for (_, saga) in ended.into_iter().filter(|(correlation, _)| again.contains(correlation)) {
                put_back(&mut batch, &saga);
                state.observer.bring_back(saga);
            }
            let now = shared.clock.now();
            let before = state.observer.sources().find(|(name, _)| *name == from).map(|(_, place)| place.watermark);
            let changed = state.observer.hear(from, &fresh, through, stable, now);
            for saga in changed.iter().filter_map(|correlation| state.observer.saga(correlation)) {
                put_running(&mut batch, saga);
            }
            if before != Some(through)
                && let Some((_, place)) = state.observer.sources().find(|(name, _)| *name == from)
            {
                put_place(&mut batch, from, place);
            }
            let lines = fresh.iter().filter(|event| changed.contains(&event.correlation)).filter_map(|event| {
                let saga = state.observer.saga(&event.correlation)?;
                let line = state.observer.line(saga, event.id())?;
                Some(Happened { correlation: event.correlation.clone(), line, is_end: false })
            });
            shared.hub.tell(lines.collect::<Vec<_>>());
            (!batch.is_empty()).then(|| shared.rows.write(batch))
        };
        match written {
            Some(written) => Ok(written.await?),
            None => Ok(()),
        }
    }

    /// Goes on with a log that cannot be read on, from the first event that there is.
    async fn missed(&mut self, from: &ParticipantName, gone: Gone, why: &str) -> Result<Watermark, RowsError> {
        let what = match gone {
            Gone::Trimmed => format!("events of {from} were trimmed before they were read ({why})"),
            Gone::PutBack => format!("the log of {from} was put back to an earlier state ({why})"),
        };
        self.note_gap(from, what, Place::default()).await?;
        Ok(Watermark(None))
    }

    /// Notes that events were missed: of what runs, and of what is heard of first until all logs are read, nothing is known for sure.
    async fn note_gap(&mut self, from: &ParticipantName, what: String, place: Place) -> Result<(), RowsError> {
        let shared = self.parts.shared.clone();
        tracing::error!(participant = %from, "{what}; of the sagas that run it cannot be told any more how they stand, nor of those that are heard of first until all logs are read");
        if let Some(own) = self.parts.figures.of(from.as_str()) {
            own.missed.fetch_add(1, Ordering::Relaxed);
        }
        self.generation.fetch_add(1, Ordering::Relaxed);
        let mut batch = Batch::default();
        let gap = Gap { participant: from.clone(), why: what.clone(), at: shared.clock.now(), is_open: true };
        shared.rows.put_gap(&mut batch, &gap)?;
        let written = {
            let mut state = shared.state();
            let changed = state.observer.missed(from, &what, place.clone());
            let mut written = Vec::new();
            for saga in changed.iter().filter_map(|correlation| state.observer.saga(correlation)) {
                put_running(&mut batch, saga);
                if batch.len() >= EVENTS_AT_ONCE {
                    written.push(shared.rows.write(std::mem::take(&mut batch)));
                }
            }
            // Last: what a crash leaves out is missed again.
            put_place(&mut batch, from, &place);
            state.gaps.push(gap);
            let excess = state.gaps.len().saturating_sub(usize::try_from(MAX_GAPS_KEPT).unwrap_or(usize::MAX));
            state.gaps.drain(..excess);
            written.push(shared.rows.write(batch));
            written
        };
        for written in written {
            written.await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), RowsError> {
        let (shared, now) = (self.parts.shared.clone(), self.parts.shared.clock.now());
        let mut batch = Batch::default();
        let mut ended = Vec::new();
        let running = {
            let mut state = shared.state();
            let Looked { changes, running } = state.observer.look(now);
            for change in changes {
                match change {
                    Change::End(saga) => {
                        put_ended(&mut batch, &saga);
                        state.ending.insert(saga.correlation.clone(), (*saga).clone());
                        ended.push(*saga);
                    }
                    Change::Drop { oldest } => shared.rows.drop_oldest(&mut batch, oldest)?,
                }
            }
            if state.observer.doubts().is_none() && state.gaps.iter().any(|gap| gap.is_open) {
                state.gaps.iter_mut().for_each(|gap| gap.is_open = false);
                shared.rows.close_gaps(&mut batch)?;
            }
            self.parts.figures.kept.store(state.observer.counts().1 as u64, Ordering::Relaxed);
            running
        };
        if !batch.is_empty() {
            shared.rows.write(batch).await?;
            let mut state = shared.state();
            ended.iter().for_each(|saga| drop(state.ending.remove(&saga.correlation)));
        }
        self.tell(&ended, &running);
        self.ring(&running, now);
        Ok(())
    }

    /// Tells those who watch of ends, and of what has come to ask for somebody.
    fn tell(&mut self, ended: &[Saga], running: &[(CorrelationId, Verdict)]) {
        let mut happened = Vec::new();
        for saga in ended {
            self.told.remove(&saga.correlation);
            if let Some(end) = &saga.end {
                self.parts.figures.ended(end.verdict.standing);
                let line = end_line(end.at, &end.verdict);
                happened.push(Happened { correlation: saga.correlation.clone(), line, is_end: true });
            }
        }
        let mut counts: BTreeMap<Standing, u64> = BTreeMap::new();
        for (correlation, verdict) in running {
            *counts.entry(verdict.standing).or_default() += 1;
            let before = self.told.insert(correlation.clone(), verdict.standing);
            let asks = matches!(verdict.standing, Standing::Parked | Standing::Quiet);
            if asks && before != Some(verdict.standing) {
                let state = self.parts.shared.state();
                let Some(saga) = state.observer.saga(correlation) else { continue };
                let lines = state_lines(saga, verdict);
                happened.extend(lines.into_iter().map(|line| Happened {
                    correlation: correlation.clone(),
                    line,
                    is_end: false,
                }));
            }
        }
        if self.told.len() > running.len() {
            let there: BTreeSet<&CorrelationId> = running.iter().map(|(correlation, _)| correlation).collect();
            self.told.retain(|correlation, _| there.contains(correlation));
        }
        self.parts.figures.runs(counts);
        self.parts.shared.hub.tell(happened);
    }

    /// Rings for what asks for somebody, once for each participant that it is about.
    fn ring(&mut self, running: &[(CorrelationId, Verdict)], now: Timestamp) {
        let mut conditions: BTreeMap<(&'static str, String), Condition> = BTreeMap::new();
        for (correlation, verdict) in running {
            for awaited in &verdict.awaited {
                let (kind, text) = match (&awaited.parked, awaited.quiet_until) {
                    (Some(_), _) => ("saga-parked", "sagas wait for events that are parked; look at undoubt parked"),
                    (None, Some(_)) => {
                        ("saga-quiet", "nothing was heard in time of what sagas wait for; look at undoubt list --stuck")
                    }
                    (None, None) => continue,
                };
                let about = awaited.step.participant.to_string();
                let condition = conditions.entry((kind, about.clone())).or_insert_with(|| Condition {
                    kind,
                    about,
                    number: 0,
                    oldest: correlation.to_string(),
                    since: awaited.since,
                    text: text.to_owned(),
                });
                condition.number += 1;
                if awaited.since < condition.since {
                    (condition.since, condition.oldest) = (awaited.since, correlation.to_string());
                }
            }
        }
        let state = self.parts.shared.state();
        if let Some(why) = state.observer.doubts() {
            conditions.insert(("events-missed", String::new()), Condition {
                kind: "events-missed",
                about: String::new(),
                number: 0,
                oldest: String::new(),
                since: now,
                text: format!("{why}; sagas that were running, and whatever is heard of first until all logs are read, are unknown"),
            });
        }
        let away_after = self.parts.config.alarm.away_after();
        for (name, _) in state.observer.sources() {
            let Some((since, why)) = state.observer.contact(name).and_then(|contact| contact.away) else { continue };
            if now.since(since) >= away_after {
                let about = name.to_string();
                conditions.insert(
                    ("away", about.clone()),
                    Condition {
                        kind: "away",
                        about,
                        number: 0,
                        oldest: String::new(),
                        since,
                        text: format!("it cannot be observed: {why}"),
                    },
                );
            }
        }
        drop(state);
        for told in self.alarms.look(Instant::now(), conditions.into_values().collect()) {
            told.log();
            if let Some(bell) = &self.parts.bell {
                bell.ring(told);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]
mod tests;
