//! The service for readers of the events that the participant publishes.

use crate::event_log::{After, EventSource, EventsRead, KeepError, LogState, ReadError, Readers};
use crate::resource::ResourceError;
use crate::subscription::{Obeyed, Shown, ShownParked, Subscriptions, Word, give_up, resume, retry, show};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use undoubt_platform::Reason;
use undoubt_platform::access::{Caller, Signed};
use undoubt_platform::audit::{Audit, Call, Origin, audited};
use undoubt_proto::v1;
use undoubt_proto::v1::events_server::Events;
use undoubt_stream::parked::ParkedEvent;
use undoubt_stream::retention::Reader as LogReader;
use undoubt_vocabulary::{Incarnation, ParticipantName, Position, ReaderName, SubscriptionName, Topic, TopicName};

/// The time after which a reader for whom there is nothing is told that all is well.
pub(crate) const QUIET_AFTER: Duration = Duration::from_secs(5);

pub(crate) struct EventsService {
    name: String,
    source: Option<Arc<dyn EventSource>>,
    subscriptions: Subscriptions,
    audit: Weak<Audit>,
    max_log_bytes: u64,
}

/// Parked events in one answer.
const MAX_PARKED_LISTED: usize = 1_000;

impl EventsService {
    pub(crate) fn new(
        name: String,
        source: Option<Arc<dyn EventSource>>,
        subscriptions: Subscriptions,
        audit: Weak<Audit>,
        max_log_bytes: u64,
    ) -> EventsService {
        EventsService { name, source, subscriptions, audit, max_log_bytes }
    }

    /// Returns the subscription of this name, as an operator calls it.
    fn subscription(&self, name: &str) -> Result<SubscriptionName, Status> {
        let known = self.subscriptions.names().find(|known| known.as_str() == name).cloned();
        known.ok_or_else(|| {
            let there: Vec<&str> = self.subscriptions.names().map(SubscriptionName::as_str).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            Reason::NotFound.refuse(format!("there is no subscription {name} here; there are: {there}"))
        })
    }

    async fn obeyed(&self, subscription: &str, word: Word) -> Result<Obeyed, Status> {
        let subscription = self.subscription(subscription)?;
        self.subscriptions.tell(&subscription, word).await.map_err(|why| Reason::WrongState.refuse(why))
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
        let LogState { first, stable, incarnation, kept_bytes } =
            source.state().await.map_err(|error| failed(&error))?;
        Ok(Response::new(v1::DescribeLogResponse {
            name: self.name.clone(),
            first: first.0,
            stable: stable.0,
            incarnation: Bytes::copy_from_slice(&incarnation.0),
            topics: source.topics().iter().map(described).collect(),
            bytes: kept_bytes,
            max_bytes: self.max_log_bytes,
        }))
    }

    async fn keep_events(
        &self,
        request: Request<v1::KeepEventsRequest>,
    ) -> Result<Response<v1::KeepEventsResponse>, Status> {
        keep(self.source()?.as_ref(), request.into_inner()).await.map(Response::new)
    }

    async fn list_readers(
        &self,
        _: Request<v1::ListReadersRequest>,
    ) -> Result<Response<v1::ListReadersResponse>, Status> {
        let Readers { readers, stable, .. } = self.source()?.readers().await.map_err(|error| failed(&error))?;
        let readers = readers.into_iter().map(|(name, reader)| shown_reader(&name, reader, stable)).collect();
        Ok(Response::new(v1::ListReadersResponse { readers }))
    }

    async fn forget_reader(
        &self,
        request: Request<v1::ForgetReaderRequest>,
    ) -> Result<Response<v1::ForgetReaderResponse>, Status> {
        let (caller, origin) = (Caller::of(request.extensions()), Origin::of(request.extensions()));
        let v1::ForgetReaderRequest { reader, who, reason } = request.into_inner();
        let call = Call::new(origin, "forget-reader").about(&reader).note(&who, &reason);
        audited(&self.audit, call, async {
            let Signed { .. } = caller.sign(who, reason)?;
            let name = reader_name(&reader)?;
            if self.source()?.forget(name).await.map_err(|error| failed(&error))? {
                return Ok(Response::new(v1::ForgetReaderResponse {}));
            }
            Err(Reason::NotFound.refuse(format!("no reader {reader} is registered here; list the readers")))
        })
        .await
    }

    async fn list_subscriptions(
        &self,
        _: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        let view = &self.subscriptions.view;
        let shown = |source: ((SubscriptionName, ParticipantName), Shown)| {
            let parked = view.parked_count(&source.0.0);
            shown_subscription(source, parked)
        };
        let subscriptions = view.sources().into_iter().map(shown).collect();
        Ok(Response::new(v1::ListSubscriptionsResponse { subscriptions }))
    }

    async fn list_parked(
        &self,
        request: Request<v1::ListParkedRequest>,
    ) -> Result<Response<v1::ListParkedResponse>, Status> {
        let subscription = self.subscription(&request.into_inner().subscription)?;
        let parked = self.subscriptions.view.parked_of(&subscription);
        let more = parked.len() > MAX_PARKED_LISTED;
        let events = parked.into_iter().take(MAX_PARKED_LISTED).map(shown_parked).collect();
        Ok(Response::new(v1::ListParkedResponse { events, more }))
    }

    async fn get_parked(
        &self,
        request: Request<v1::GetParkedRequest>,
    ) -> Result<Response<v1::GetParkedResponse>, Status> {
        let v1::GetParkedRequest { subscription, key, turn } = request.into_inner();
        match self.obeyed(&subscription, show(key, turn)).await? {
            Obeyed::Event(event) => Ok(Response::new(v1::GetParkedResponse { event: Some((*event).into()) })),
            Obeyed::Left(_) | Obeyed::GoesOn(_) => Err(Reason::Internal.refuse("another question was answered")),
        }
    }

    async fn retry_parked(
        &self,
        request: Request<v1::RetryParkedRequest>,
    ) -> Result<Response<v1::RetryParkedResponse>, Status> {
        let (caller, origin) = (Caller::of(request.extensions()), Origin::of(request.extensions()));
        let v1::RetryParkedRequest { subscription, key, who, reason } = request.into_inner();
        let call = Call::new(origin, "retry-parked").about(&subscription).note(&who, &reason);
        audited(&self.audit, call, async {
            let Signed { .. } = caller.sign(who, reason)?;
            let left = number(&self.obeyed(&subscription, retry(key)).await?);
            Ok(Response::new(v1::RetryParkedResponse { left }))
        })
        .await
    }

    async fn give_up_parked(
        &self,
        request: Request<v1::GiveUpParkedRequest>,
    ) -> Result<Response<v1::GiveUpParkedResponse>, Status> {
        let (caller, origin) = (Caller::of(request.extensions()), Origin::of(request.extensions()));
        let v1::GiveUpParkedRequest { subscription, key, turn, who, reason } = request.into_inner();
        let call = Call::new(origin, "give-up-parked").about(&subscription).note(&who, &reason);
        audited(&self.audit, call, async {
            let Signed { who, reason } = caller.sign(who, reason)?;
            let left = number(&self.obeyed(&subscription, give_up(key, turn, who, reason)).await?);
            Ok(Response::new(v1::GiveUpParkedResponse { left }))
        })
        .await
    }

    async fn resume_subscription(
        &self,
        request: Request<v1::ResumeSubscriptionRequest>,
    ) -> Result<Response<v1::ResumeSubscriptionResponse>, Status> {
        let (caller, origin) = (Caller::of(request.extensions()), Origin::of(request.extensions()));
        let v1::ResumeSubscriptionRequest { subscription, source, after, who, reason } = request.into_inner();
        let call = Call::new(origin, "resume-subscription").about(&subscription).note(&who, &reason);
        audited(&self.audit, call, async {
            let Signed { .. } = caller.sign(who, reason)?;
            let from: ParticipantName =
                source.parse().map_err(|bad| Reason::InvalidRequest.refuse_field("source", format!("{bad}")))?;
            let after = number(&self.obeyed(&subscription, resume(from, after.map(Position))).await?);
            Ok(Response::new(v1::ResumeSubscriptionResponse { after }))
        })
        .await
    }
}

/// Returns the number in an answer to an operator.
fn number(obeyed: &Obeyed) -> u64 {
    match obeyed {
        Obeyed::Left(left) => *left,
        Obeyed::GoesOn(after) => after.0,
        Obeyed::Event(event) => event.position.0,
    }
}

fn reader_name(text: &str) -> Result<ReaderName, Status> {
    text.parse().map_err(|bad| Reason::InvalidRequest.refuse_field("reader", format!("{bad}")))
}

/// Registers a reader at a log, or notes how far it has come.
pub(crate) async fn keep(
    source: &dyn EventSource,
    request: v1::KeepEventsRequest,
) -> Result<v1::KeepEventsResponse, Status> {
    let v1::KeepEventsRequest { reader, after, incarnation, anew } = request;
    let after = After { position: Position(after), incarnation: read_incarnation(&incarnation)? };
    let trimmed = source.keep(reader_name(&reader)?, after, anew).await.map_err(|error| match error {
        KeepError::Read(error) => refused(error),
        KeepError::TooMany => Reason::TooManyReaders.refuse(error.to_string()),
    })?;
    Ok(v1::KeepEventsResponse { trimmed: trimmed.0 })
}

fn read_incarnation(bytes: &[u8]) -> Result<Option<Incarnation>, Status> {
    match bytes {
        [] => Ok(None),
        some => Incarnation::try_from(some)
            .map(Some)
            .map_err(|bad| Reason::InvalidRequest.refuse_field("incarnation", format!("{bad}"))),
    }
}

fn shown_reader(name: &ReaderName, reader: LogReader, stable: Position) -> v1::LogReader {
    v1::LogReader {
        name: name.as_str().to_owned(),
        after: reader.after.0,
        behind: stable.0.saturating_sub(reader.after.0),
        heard_at_us: reader.heard_at.0,
        dropped_at_us: reader.dropped_at.map(|at| at.0),
    }
}

fn shown_subscription(
    ((name, source), shown): ((SubscriptionName, ParticipantName), Shown),
    parked: usize,
) -> v1::Subscription {
    let Shown { standing, through, stable, last_at } = shown;
    v1::Subscription {
        name: name.as_str().to_owned(),
        source: source.as_str().to_owned(),
        standing: standing.as_str().to_owned(),
        why: standing.why().to_owned(),
        through: through.position().0,
        stable: stable.0,
        last_published_at_us: last_at.map_or(0, |at| at.0),
        parked: u64::try_from(parked).unwrap_or(u64::MAX),
    }
}

fn shown_parked((key, turn, parked): ShownParked) -> v1::ParkedEvent {
    let ParkedEvent { event, parked_at, attempts, refusal } = parked;
    v1::ParkedEvent {
        key: key.into(),
        turn: turn.0,
        source: event.from.as_str().to_owned(),
        topic: event.topic.as_str().to_owned(),
        partition: event.partition.0.into(),
        id: Some(event.id.into()),
        parked_at_us: parked_at.0,
        attempts,
        refusal: refusal.map(Into::into),
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
        let incarnation = read_incarnation(&incarnation)?;
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
