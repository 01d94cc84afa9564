//! One source's events, from a place on, whatever becomes of the connection.

use super::sources::{Batches, Sources};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::Status;
use undoubt_platform::{Random, Reason};
use undoubt_proto::v1;
use undoubt_stream::inbox::Watermark;
use undoubt_stream::parked::Reference;
use undoubt_vocabulary::{Backoff, Event, EventId, Incarnation, ParticipantName, Position, TopicName};

/// The time in which a source's log is opened.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a source tells.
#[derive(Debug)]
pub enum Told {
    Events {
        events: Vec<Event>,
        through: Watermark,
        stable: Position,
    },
    /// It is tried again, after a pause.
    Away(String),
    /// Nothing more is told until somebody has looked at it.
    Stopped(Gone, String),
}

/// Why a source cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// What comes next is not kept any more.
    Trimmed,
    /// It was put back from an older copy.
    PutBack,
}

/// A source, and the place from which it is read when it is opened next.
#[derive(Clone)]
pub struct Reading {
    from: ParticipantName,
    topics: Vec<TopicName>,
    sources: Arc<dyn Sources>,
    random: Arc<dyn Random>,
    retries: Backoff,
    /// Another place from which to go on, if somebody has asked for it.
    again_from: Arc<Mutex<Option<Watermark>>>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("from", &self.from).field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl Reading {
    /// Returns a reading of these topics of a source; of all its topics if there are none.
    pub fn new(
        from: ParticipantName,
        topics: Vec<TopicName>,
        sources: Arc<dyn Sources>,
        random: Arc<dyn Random>,
        retries: Backoff,
    ) -> Reading {
        Reading { from, topics, sources, random, retries, again_from: Arc::default() }
    }

    /// Reads on from another place.
    pub(super) fn read_again(&self, after: Watermark) {
        *self.again_from() = Some(after);
    }

    fn again_from(&self) -> MutexGuard<'_, Option<Watermark>> {
        self.again_from.lock().expect("nothing panics while it is held")
    }

    /// Returns what the source tells behind a place. It never ends but by [`Told::Stopped`].
    pub fn after(self, place: Watermark) -> BoxStream<'static, (ParticipantName, Told)> {
        let from = self.from.clone();
        let reader = Reader { reading: self, place, batches: None, failures: 0 };
        stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            let told = reader.next().await;
            let goes_on = !matches!(told, Told::Stopped(..));
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
    batches: Option<Batches>,
    failures: u32,
}

impl Reader {
    async fn next(&mut self) -> Told {
        if let Some(place) = self.reading.again_from().take() {
            (self.place, self.batches) = (place, None);
        }
        if self.batches.is_none() {
            if self.failures > 0 {
                sleep(self.reading.random.pause(self.reading.retries, self.failures - 1)).await;
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

    fn request(&self) -> v1::ReadEventsRequest {
        let incarnation = self.place.incarnation().map(|Incarnation(bytes)| Bytes::copy_from_slice(&bytes));
        v1::ReadEventsRequest {
            topics: self.reading.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            after: self.place.position().0,
            incarnation: incarnation.unwrap_or_default(),
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
        let gone = match Reason::of(status) {
            Some(Reason::LogPutBack) => Gone::PutBack,
            Some(Reason::EventsTrimmed) => Gone::Trimmed,
            Some(_) | None => return self.away(why),
        };
        Told::Stopped(gone, why)
    }

    fn away(&mut self, why: String) -> Told {
        self.batches = None;
        self.failures = self.failures.saturating_add(1);
        Told::Away(why)
    }
}
