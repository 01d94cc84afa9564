//! One source's events, from a place on, whatever becomes of the connection.

use super::sources::{Batches, Sources};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};
use undoubt_platform::{Random, Reason};
use undoubt_proto::v1;
use undoubt_stream::inbox::Watermark;
use undoubt_stream::parked::Reference;
use undoubt_vocabulary::{Backoff, Event, EventId, Incarnation, ParticipantName, Position, ReaderName, TopicName};

/// The time in which a source's log is opened.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a source tells.
#[derive(Debug)]
pub(super) enum Told {
    Events {
        events: Vec<Event>,
        through: Watermark,
        stable: Position,
    },
    /// It is tried again, after a pause.
    Away(String),
    /// Nothing was read before, and events were dropped up to this position: reading begins behind them.
    BeginsBehind(Position),
    /// Nothing more is told until somebody has looked at it.
    Stopped(String),
}

/// A place from which to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct From {
    pub(super) place: Watermark,
    /// The position up to which everything counts as dealt with.
    pub(super) floor: Position,
}

/// What somebody asks of a reader between two events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes on from another place.
    To(Watermark),
    /// It ends.
    End,
}

/// A source, and the place from which it is read when it is opened next.
#[derive(Clone)]
pub(super) struct Reading {
    pub(super) from: ParticipantName,
    pub(super) topics: Vec<TopicName>,
    pub(super) sources: Arc<dyn Sources>,
    pub(super) random: Arc<dyn Random>,
    pub(super) retries: Backoff,
    /// The name under which the source knows the reader.
    pub(super) reader: ReaderName,
    pub(super) turn: Arc<Mutex<Option<Turn>>>,
}

impl Reading {
    fn turn(&self) -> MutexGuard<'_, Option<Turn>> {
        self.turn.lock().expect("nothing panics while it is held")
    }

    /// Has the reader go on otherwise, before it tells more.
    pub(super) fn ask(&self, turn: Turn) {
        *self.turn() = Some(turn);
    }

    /// Returns what the source tells behind a place. It ends by [`Told::Stopped`], or if it is [asked to](Turn::End).
    pub(super) fn after(self, From { place, floor }: From) -> BoxStream<'static, (ParticipantName, Told)> {
        let from = self.from.clone();
        *self.turn() = None;
        let reader = Reader { reading: self, place, floor, is_registered: false, batches: None, failures: 0 };
        stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            let told = reader.next().await?;
            let goes_on = !matches!(told, Told::Stopped(_));
            Some((told, goes_on.then_some(reader)))
        })
        .map(move |told| (from.clone(), told))
        .boxed()
    }
}

impl Reading {
    /// Returns one event, from its source; `Err` says why it cannot be had.
    pub(super) async fn one(&self, reference: &Reference) -> Result<Event, String> {
        let Reference { from, topic, partition: _, id } = reference;
        let before = Position(id.position.0.saturating_sub(1));
        let request = v1::ReadEventsRequest {
            topics: vec![topic.as_str().to_owned()],
            after: before.0,
            until_now: true,
            limit: 1,
            ..Default::default()
        };
        let reading = async {
            let mut batches = self.sources.open(from, request).await.map_err(|status| status.message().to_owned())?;
            while let Some(batch) = batches.next().await {
                let batch = batch.map_err(|status| status.message().to_owned())?;
                if let Some(event) = batch.events.into_iter().next() {
                    return Event::try_from(event).map_err(|cause| cause.to_string());
                }
            }
            Err(format!("the event {id} is not kept at {from} any more"))
        };
        let event =
            timeout(OPEN_TIMEOUT, reading).await.map_err(|_| format!("{from} does not answer; try again"))??;
        let is_it = event.id() == *id;
        is_it.then_some(event).ok_or_else(|| format!("at {from} another event is where {id} was: it was put back"))
    }
}

struct Reader {
    reading: Reading,
    place: Watermark,
    floor: Position,
    is_registered: bool,
    batches: Option<Batches>,
    failures: u32,
}

impl Reader {
    /// Returns what the source tells next; `None` if it was asked to end.
    async fn next(&mut self) -> Option<Told> {
        let turn = self.reading.turn().take();
        match turn {
            Some(Turn::End) => return None,
            Some(Turn::To(place)) => (self.place, self.batches) = (place, None),
            None => {}
        }
        Some(self.told().await)
    }

    async fn told(&mut self) -> Told {
        if self.batches.is_none() {
            if self.failures > 0 {
                sleep(self.reading.random.pause(self.reading.retries, self.failures - 1)).await;
            }
            if !self.is_registered
                && let Some(told) = self.register().await
            {
                return told;
            }
            let opening = self.reading.sources.open(&self.reading.from, self.request());
            match timeout(OPEN_TIMEOUT, opening).await {
                Ok(Ok(batches)) => self.batches = Some(batches),
                Ok(Err(status)) => return self.failed(&status),
                Err(_) => return self.away(format!("it does not answer within {OPEN_TIMEOUT:?}")),
            }
        }
        let batches = self.batches.as_mut().expect("it is open");
        match batches.next().await {
            Some(Ok(batch)) => match self.take(batch) {
                Ok(told) => {
                    self.failures = 0;
                    told
                }
                Err(why) => self.away(why),
            },
            Some(Err(status)) => self.failed(&status),
            None => self.away("it has ended the stream".to_owned()),
        }
    }

    /// Has the source keep what is read next. Returns what is to be told of it, if there is something.
    async fn register(&mut self) -> Option<Told> {
        let (after, incarnation) = self.position();
        let reader = self.reading.reader.as_str().to_owned();
        let request = v1::KeepEventsRequest { reader, after, incarnation, anew: false };
        let v1::KeepEventsResponse { trimmed } =
            match timeout(OPEN_TIMEOUT, self.reading.sources.keep(&self.reading.from, request)).await {
                Ok(Ok(kept)) => kept,
                // A source that registers nobody drops nothing.
                Ok(Err(status)) if status.code() == Code::Unimplemented => v1::KeepEventsResponse::default(),
                Ok(Err(status)) => return Some(self.failed(&status)),
                Err(_) => return Some(self.away(format!("it does not answer within {OPEN_TIMEOUT:?}"))),
            };
        self.is_registered = true;
        if after > 0 || trimmed == 0 {
            return None;
        }
        self.floor = Position(trimmed);
        Some(Told::BeginsBehind(self.floor))
    }

    /// Returns the position after which to read, and the incarnation there; empty where it is not known.
    fn position(&self) -> (u64, Bytes) {
        if self.place.position() < self.floor {
            return (self.floor.0, Bytes::new());
        }
        let incarnation = self.place.incarnation().map(|Incarnation(bytes)| Bytes::copy_from_slice(&bytes));
        (self.place.position().0, incarnation.unwrap_or_default())
    }

    fn request(&self) -> v1::ReadEventsRequest {
        let (after, incarnation) = self.position();
        v1::ReadEventsRequest {
            topics: self.reading.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            after,
            incarnation,
            ..Default::default()
        }
    }

    fn take(&mut self, batch: v1::EventBatch) -> Result<Told, String> {
        let v1::EventBatch { events, through, incarnation, stable } = batch;
        let events = events.into_iter().map(Event::try_from).collect::<Result<Vec<_>, _>>();
        let events = events.map_err(|cause| format!("an event of it cannot be read: {cause}"))?;
        let through = match &incarnation[..] {
            [] => Watermark(None),
            some => {
                let incarnation = Incarnation::try_from(some).map_err(|cause| cause.to_string())?;
                EventId { incarnation, position: Position(through) }.into()
            }
        };
        self.place = through;
        Ok(Told::Events { events, through, stable: Position(stable) })
    }

    fn failed(&mut self, status: &Status) -> Told {
        let why = if status.message().is_empty() { status.to_string() } else { status.message().to_owned() };
        let is_final = [Reason::LogPutBack, Reason::EventsTrimmed].map(Some).contains(&Reason::of(status));
        if is_final { Told::Stopped(why) } else { self.away(why) }
    }

    fn away(&mut self, why: String) -> Told {
        self.batches = None;
        self.failures = self.failures.saturating_add(1);
        Told::Away(why)
    }
}
