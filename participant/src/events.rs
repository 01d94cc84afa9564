//! The service for readers of the events that the participant publishes.

use crate::event_log::{After, EventSource, EventsRead, LogState, ReadError};
use crate::resource::ResourceError;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use undoubt_platform::Reason;
use undoubt_proto::v1;
use undoubt_proto::v1::events_server::Events;
use undoubt_vocabulary::{Incarnation, Position, Topic, TopicName};

/// The time after which a reader for whom there is nothing is told that all is well.
pub(crate) const QUIET_AFTER: Duration = Duration::from_secs(5);

pub(crate) struct EventsService {
    name: String,
    source: Option<Arc<dyn EventSource>>,
}

impl EventsService {
    pub(crate) fn new(name: String, source: Option<Arc<dyn EventSource>>) -> EventsService {
        EventsService { name, source }
    }

    fn source(&self) -> Result<&Arc<dyn EventSource>, Status> {
        self.source.as_ref().ok_or_else(|| {
            let detail = format!("the participant {} publishes no events; its resource has no log of them", self.name);
            Reason::NotOffered.refuse(detail)
        })
    }
}

#[tonic::async_trait]
impl Events for EventsService {
    type ReadStream = BoxStream<'static, Result<v1::EventBatch, Status>>;

    async fn read(&self, request: Request<v1::ReadEventsRequest>) -> Result<Response<Self::ReadStream>, Status> {
        read(self.source()?.clone(), request.into_inner()).map(Response::new)
    }

    async fn describe_log(
        &self,
        _: Request<v1::DescribeLogRequest>,
    ) -> Result<Response<v1::DescribeLogResponse>, Status> {
        let source = self.source()?;
        let LogState { first, stable, incarnation } = source.state().await.map_err(|error| failed(&error))?;
        Ok(Response::new(v1::DescribeLogResponse {
            name: self.name.clone(),
            first: first.0,
            stable: stable.0,
            incarnation: Bytes::copy_from_slice(&incarnation.0),
            topics: source.topics().iter().map(described).collect(),
        }))
    }
}

/// Returns the events that somebody asks for, batch by batch.
pub(crate) fn read(
    source: Arc<dyn EventSource>,
    request: v1::ReadEventsRequest,
) -> Result<BoxStream<'static, Result<v1::EventBatch, Status>>, Status> {
    let wanted = Wanted::parse(request, source.topics())?;
    let stable = source.stable();
    let reader = Reader { source, stable, wanted, is_begun: false };
    let batches = stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(batch)) => Some((Ok(batch), Some(reader))),
            Ok(None) => None,
            Err(refused) => Some((Err(refused), None)),
        }
    });
    Ok(batches.boxed())
}

fn described(Topic { name, partitions, sourced }: &Topic) -> v1::Topic {
    v1::Topic { name: name.as_str().to_owned(), partitions: u32::from(*partitions), sourced: *sourced }
}

/// What a reader asks for, as far as it has not been told.
struct Wanted {
    /// Empty: all.
    topics: BTreeSet<TopicName>,
    /// Empty: any.
    key: Bytes,
    after: After,
    until_now: bool,
    /// `None`: no bound.
    left: Option<u64>,
}

impl Wanted {
    fn parse(request: v1::ReadEventsRequest, declared: &[Topic]) -> Result<Wanted, Status> {
        let v1::ReadEventsRequest { topics, after, incarnation, until_now, limit, key } = request;
        let refused = |field: &str, what: String| Reason::InvalidRequest.refuse_field(field, what);
        let topic = |name: String| {
            let topic: TopicName = name.parse().map_err(|bad| refused("topics", format!("{bad}")))?;
            if declared.iter().any(|declared| declared.name == topic) {
                return Ok(topic);
            }
            let there: Vec<&str> = declared.iter().map(|topic| topic.name.as_str()).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            Err(refused("topics", format!("no topic {topic} is declared here; there are: {there}")))
        };
        let incarnation = match &incarnation[..] {
            [] => None,
            some => Some(Incarnation::try_from(some).map_err(|bad| refused("incarnation", format!("{bad}")))?),
        };
        Ok(Wanted {
            topics: topics.into_iter().map(topic).collect::<Result<_, _>>()?,
            key,
            after: After { position: Position(after), incarnation },
            until_now,
            left: (limit > 0).then_some(limit),
        })
    }

    fn wants(&self, event: &undoubt_vocabulary::Event) -> bool {
        (self.topics.is_empty() || self.topics.contains(&event.topic)) && (self.key.is_empty() || self.key == event.key)
    }
}

struct Reader {
    source: Arc<dyn EventSource>,
    stable: watch::Receiver<Position>,
    wanted: Wanted,
    /// Something was told.
    is_begun: bool,
}

impl Reader {
    /// Returns the next batch; `None`: the reader has all that it asked for.
    async fn next(&mut self) -> Result<Option<v1::EventBatch>, Status> {
        loop {
            if self.wanted.left == Some(0) {
                return Ok(None);
            }
            // Before it reads: what becomes stable meanwhile is not missed.
            self.stable.borrow_and_update();
            let read = self.source.read(self.wanted.after).await.map_err(refused)?;
            let is_all = read.through.position >= read.stable;
            let before = std::mem::replace(&mut self.wanted.after, read.through);
            let begins = !std::mem::replace(&mut self.is_begun, true);
            let batch = self.batch(read);
            if begins || before.position < self.wanted.after.position && !batch.events.is_empty() {
                return Ok(Some(batch));
            }
            if !is_all {
                continue;
            }
            if self.wanted.until_now {
                return Ok(None);
            }
            match tokio::time::timeout(QUIET_AFTER, self.stable.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    return Err(Reason::Stopping.refuse("the participant is stopping; read on at its next start"));
                }
                Err(_) => return Ok(Some(batch)),
            }
        }
    }

    fn batch(&mut self, read: EventsRead) -> v1::EventBatch {
        let EventsRead { events, through: After { position, incarnation }, stable } = read;
        let mut through = (position, incarnation);
        let mut told = Vec::new();
        for event in events {
            if !self.wanted.wants(&event) {
                continue;
            }
            if let Some(left) = &mut self.wanted.left {
                *left -= 1;
            }
            through = if self.wanted.left == Some(0) { (event.position, Some(event.incarnation)) } else { through };
            told.push(event.into());
            if self.wanted.left == Some(0) {
                break;
            }
        }
        v1::EventBatch {
            events: told,
            through: through.0.0,
            incarnation: through.1.map(|Incarnation(bytes)| Bytes::copy_from_slice(&bytes)).unwrap_or_default(),
            stable: stable.0,
        }
    }
}

fn refused(error: ReadError) -> Status {
    match &error {
        ReadError::PutBack { .. } => Reason::LogPutBack.refuse(error.to_string()),
        ReadError::Trimmed { .. } => Reason::EventsTrimmed.refuse(error.to_string()),
        ReadError::Resource(cause) => failed(cause),
    }
}

fn failed(error: &ResourceError) -> Status {
    Reason::Internal.refuse(format!("the log of events cannot be read: {error}"))
}
