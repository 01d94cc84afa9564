//! Hosts that read the events of participants, as a service does that follows others: with the real client, and with a memory of what
//! they were told.
//!
//! A reader keeps its place with what it has read. It begins anew now and then, some events before its place, as if it had died before it
//! kept that; and from the start of the log once it was told that that was put back.

use super::client::options;
use super::finals::events::{read_log, told};
use super::net;
use super::shared_state::{Shared, now_us};
use crate::plan::Host;
use crate::random::random;
use crate::run::{Reading, ToldPutBack};
use crate::trace::Event;
use futures::{StreamExt as _, future, pin_mut};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use undoubt_client::{EventNews, EventPlace, EventQuery, ParticipantClient, QueryError};
use undoubt_platform::{Random as _, SeededRandom};
use undoubt_vocabulary::{Event as Told, Incarnation, Position};

/// The share of batches after which a reader begins anew, in percent.
const BEGINS_ANEW: u64 = 12;

/// The most events that it reads once more then.
const MOST_READ_AGAIN: u64 = 12;

/// The pause after an error.
const PAUSE: Duration = Duration::from_millis(200);

/// The time for which it tries to come to the end of the log once nothing takes effect any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most readings of one log.
const MAX_READINGS: usize = 60;

/// Reads the logs of all who publish, until all is over.
pub(super) async fn read(shared: Arc<Shared>, number: u8) -> turmoil::Result {
    let publishing = (1..=shared.plan.shape.participants).filter(|at| shared.plan.shape.publishes(*at));
    let readings = publishing.map(|at| Follower::new(shared.clone(), number, at).follow());
    let readings = future::join_all(readings).await;
    shared.finals().readings.extend(readings.into_iter().flatten());
    Ok(())
}

struct Follower {
    shared: Arc<Shared>,
    client: ParticipantClient,
    random: SeededRandom,
    reading: Reading,
    /// Readings that came to their end.
    ended: Vec<Reading>,
}

impl Follower {
    fn new(shared: Arc<Shared>, reader: u8, participant: u8) -> Follower {
        let channel = net::channel(move || net::address(Host::Participant(participant)));
        let client = ParticipantClient::with_channel(channel, options());
        let random = random(shared.plan.seed, &format!("reader {reader} of p{participant}"));
        let reading = Reading { reader, participant, ..Reading::default() };
        Follower { shared, client, random, reading, ended: Vec::new() }
    }

    async fn follow(mut self) -> Vec<Reading> {
        let mut audited = self.shared.audited.subscribe();
        while !*audited.borrow_and_update() && self.ended.len() < MAX_READINGS {
            let place = self.begin();
            tokio::select! {
                biased;
                // Whoever sends it lives as long as this.
                _ = audited.changed() => {}
                _ = self.read_on(place, false) => {}
            }
        }
        if self.ended.len() < MAX_READINGS {
            // What is not through in time is found by the checker.
            let _ = timeout(PATIENCE, self.come_to_the_end()).await;
        }
        self.ended.push(self.reading);
        self.ended
    }

    async fn come_to_the_end(&mut self) {
        while !self.reading.is_through && self.ended.len() < MAX_READINGS {
            let place = self.place();
            self.reading.is_through = self.read_on(place, true).await;
        }
    }

    /// Returns the place of the last event that was read.
    fn place(&self) -> EventPlace {
        self.reading.told.last_key_value().map_or_else(EventPlace::default, |(position, told)| EventPlace {
            position: Position(*position),
            incarnation: Some(Incarnation(told.incarnation)),
        })
    }

    /// Returns the place at which it begins, perhaps some events before that, of which it knows nothing then.
    fn begin(&mut self) -> EventPlace {
        let again = usize::try_from(self.random.below(MOST_READ_AGAIN)).unwrap_or_default();
        for _ in 0..again.min(self.reading.told.len().saturating_sub(1)) {
            self.reading.forgotten.extend(self.reading.told.pop_last().map(|(_, event)| event));
        }
        self.place()
    }

    /// Reads until it begins anew, or the answer ends. Returns true if it ended with all that there was.
    async fn read_on(&mut self, place: EventPlace, until_now: bool) -> bool {
        let query = EventQuery::new().after(place);
        let events = self.client.events(if until_now { query.until_now() } else { query });
        pin_mut!(events);
        let mut at = place.position.0;
        while let Some(news) = events.next().await {
            match news {
                Ok(EventNews::Events { events, .. }) => events.into_iter().for_each(|event| at = self.take(event, at)),
                Ok(_) => continue,
                Err(error) => {
                    self.refused(&error);
                    sleep(PAUSE).await;
                    return false;
                }
            }
            let slowness = self.shared.slowness(self.reading.reader);
            if !slowness.is_zero() {
                sleep(slowness).await;
            }
            if self.random.below(100) < BEGINS_ANEW {
                return false;
            }
        }
        true
    }

    /// Keeps an event, which was told after that at another position. Returns its own.
    fn take(&mut self, event: Told, after: u64) -> u64 {
        let event = told(event);
        let position = event.position;
        if position != after + 1 {
            self.reading.gaps.push(after);
        }
        match self.reading.told.get(&position) {
            None => drop(self.reading.told.insert(position, event)),
            Some(before) if *before == event => {}
            Some(_) => self.reading.told_otherwise.push(event),
        }
        position
    }

    fn refused(&mut self, error: &QueryError) {
        let what = error.to_string();
        match reason(error) {
            Some("LOG_PUT_BACK") => {
                let last = self.reading.told.last_key_value().map(|(_, event)| event.clone());
                let log = read_log(&self.shared.disk(Host::Participant(self.reading.participant)).cached());
                let is_there = last.as_ref().is_some_and(|last| log.iter().any(|event| event.id() == last.id()));
                let position = last.map_or(0, |last| last.position);
                self.reading.put_back = Some(ToldPutBack { at_us: now_us(), position, is_there });
            }
            Some("EVENTS_TRIMMED") => self.reading.told_trimmed = Some(what.clone()),
            Some(_) | None => return,
        }
        self.shared.recorder.record(Host::Reader(self.reading.reader), Event::Read { what });
        let Reading { reader, participant, .. } = self.reading;
        let next = Reading { reader, participant, ..Reading::default() };
        self.ended.push(std::mem::replace(&mut self.reading, next));
    }
}

/// Returns the word of a participant's reason.
fn reason(error: &QueryError) -> Option<&str> {
    match error {
        QueryError::Refused { reason, .. }
        | QueryError::NotOffered { reason, .. }
        | QueryError::Unexpected { reason, .. } => reason.as_deref(),
        QueryError::NotFound { .. } | QueryError::Unanswered(_) | QueryError::Malformed(_) | _ => None,
    }
}
