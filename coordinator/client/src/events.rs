//! Reading the events that a participant publishes.

use crate::connection::{MAX_RESPONSE_BYTES, Repeat};
use crate::error::{OperatorError, QueryError};
use crate::participant::ParticipantClient;
use crate::retry::{Pauses, Verdict, explain, judge};
use bytes::Bytes;
use futures::{Stream, stream};
use tokio::time::sleep;
use tonic::Streaming;
use undoubt_proto::convert::Malformed;
use undoubt_proto::v1;
use undoubt_proto::v1::events_client::EventsClient;
use undoubt_vocabulary::{Event, EventId, Incarnation, Position, Refusal, Timestamp, TopicName};

/// The events that a reader asks for: all from the first that is kept, unless it says otherwise.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    topics: Vec<TopicName>,
    key: Bytes,
    after: EventPlace,
    until_now: bool,
    limit: u64,
}

/// A place in the log of a participant: up to there a reader has taken everything. It is kept with what the reader made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventPlace {
    /// The position of the last event that was taken; 0: none was.
    pub position: Position,
    /// The incarnation that published it. Without it nobody notices that the participant was put back from an older copy.
    pub incarnation: Option<Incarnation>,
}

/// The news that a reader is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventNews {
    /// Events in their order. There may be none: all is well, and nothing happened for a while.
    Events {
        /// The events.
        events: Vec<Event>,
        /// The place behind them, from which to read on.
        through: EventPlace,
        /// The last position that can be read now.
        stable: Position,
    },
    /// The connection broke and is made anew; nothing is lost by it.
    Interrupted {
        /// The reason, for people.
        cause: String,
    },
}

/// The state of a participant's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLogState {
    /// The participant's name.
    pub name: String,
    /// The first position that is kept.
    pub first: Position,
    /// The last position that can be read.
    pub stable: Position,
    /// Its topics: their names, with the number of their partitions.
    pub topics: Vec<(String, u32)>,
    /// The bytes of the events that are kept, about.
    pub bytes: u64,
    /// Their bound.
    pub max_bytes: u64,
}

/// Somebody for whom a participant keeps its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReaderState {
    /// Its name.
    pub name: String,
    /// The position up to which it needs nothing any more.
    pub after: Position,
    /// The number of events behind it.
    pub behind: u64,
    /// The time at which it was last heard of.
    pub heard_at: Timestamp,
    /// The time at which events were dropped that it has not taken; `None`: they are kept for it.
    pub dropped_at: Option<Timestamp>,
}

impl EventQuery {
    /// Asks for all events.
    pub fn new() -> EventQuery {
        EventQuery::default()
    }

    /// Asks for events of this topic, beside those of others that are named.
    #[must_use]
    pub fn topic(mut self, topic: TopicName) -> EventQuery {
        self.topics.push(topic);
        self
    }

    /// Asks for events with this key alone.
    #[must_use]
    pub fn key(self, key: impl Into<Bytes>) -> EventQuery {
        EventQuery { key: key.into(), ..self }
    }

    /// Begins behind this place.
    #[must_use]
    pub fn after(self, after: EventPlace) -> EventQuery {
        EventQuery { after, ..self }
    }

    /// Ends with the last event that there is now.
    #[must_use]
    pub fn until_now(self) -> EventQuery {
        EventQuery { until_now: true, ..self }
    }

    /// Ends after so many events.
    #[must_use]
    pub fn limit(self, limit: u64) -> EventQuery {
        EventQuery { limit, ..self }
    }

    fn request(&self) -> v1::ReadEventsRequest {
        let incarnation = self.after.incarnation.map(|Incarnation(bytes)| Bytes::copy_from_slice(&bytes));
        v1::ReadEventsRequest {
            topics: self.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            after: self.after.position.0,
            incarnation: incarnation.unwrap_or_default(),
            until_now: self.until_now,
            limit: self.limit,
            key: self.key.clone(),
        }
    }
}

impl ParticipantClient {
    fn reader(&self) -> EventsClient<crate::connection::Authorized> {
        EventsClient::new(self.connection.authorized()).max_decoding_message_size(MAX_RESPONSE_BYTES)
    }

    /// Returns the events that the participant publishes, from a place on, as they come. It goes on until the query's own end, or until
    /// the participant cannot be reached within [`crate::ClientOptions::deadline`]; an error is its last item. A connection that breaks
    /// is made anew, and the events go on where they were.
    pub fn events(&self, query: EventQuery) -> impl Stream<Item = Result<EventNews, QueryError>> + Send + 'static {
        let pauses = Pauses::new(&self.connection.options, query.after.position.0);
        let reader = Reader { client: self.clone(), query, batches: None, fresh: pauses.clone(), pauses };
        stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(news)) => Some((Ok(news), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Tells how far the participant's log of events is, and its topics.
    pub async fn describe_log(&self) -> Result<EventLogState, QueryError> {
        let attempt = || {
            let mut reader = self.reader();
            async move { reader.describe_log(v1::DescribeLogRequest {}).await }
        };
        let connection = &self.connection;
        let described = connection.call(connection.deadline(), Repeat::Always, "describe-log", attempt).await;
        let v1::DescribeLogResponse { name, first, stable, incarnation: _, topics, bytes, max_bytes } = described?;
        let topics = topics.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
        Ok(EventLogState { name, first: Position(first), stable: Position(stable), topics, bytes, max_bytes })
    }
}

/// A subscription of a participant, as it reads one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionState {
    /// Its name.
    pub name: String,
    /// The participant whose events it reads.
    pub source: String,
    /// How it stands: `beginning`, `reading`, `away`, `held-up`, `full` or `stopped`.
    pub standing: String,
    /// The reason, where it does not read.
    pub why: String,
    /// The position up to which it has dealt with everything.
    pub through: Position,
    /// The last position that the source was known to have.
    pub stable: Position,
    /// The time at which the last event that it took was published.
    pub last_published_at: Option<Timestamp>,
    /// Its parked events, of all sources.
    pub parked: u64,
}

/// An event that a subscription could not apply, or that waits behind one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedState {
    /// Its key, which is parked.
    pub key: Bytes,
    /// Its turn among those of the subscription.
    pub turn: u64,
    /// The participant that published it.
    pub source: String,
    /// The topic.
    pub topic: String,
    /// Its id.
    pub id: EventId,
    /// The time at which it was parked.
    pub parked_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// The last refusal; `None`: it waits behind others.
    pub refusal: Option<Refusal>,
}

/// For operators: how a participant's own subscriptions stand, and what they have parked.
impl ParticipantClient {
    /// Returns the participant's subscriptions, each with its sources.
    pub async fn subscriptions(&self) -> Result<Vec<SubscriptionState>, OperatorError> {
        let list = |question| {
            let mut reader = self.reader();
            async move { reader.list_subscriptions(question).await }
        };
        let response: v1::ListSubscriptionsResponse =
            self.connection.act("subscriptions", Repeat::Always, v1::ListSubscriptionsRequest {}, list).await?;
        let state = |shown: v1::Subscription| SubscriptionState {
            name: shown.name,
            source: shown.source,
            standing: shown.standing,
            why: shown.why,
            through: Position(shown.through),
            stable: Position(shown.stable),
            last_published_at: (shown.last_published_at_us > 0).then_some(Timestamp(shown.last_published_at_us)),
            parked: shown.parked,
        };
        Ok(response.subscriptions.into_iter().map(state).collect())
    }

    /// Returns the parked events of a subscription, and whether there are more than are told.
    pub async fn parked(&self, subscription: &str) -> Result<(Vec<ParkedState>, bool), OperatorError> {
        let list = |question| {
            let mut reader = self.reader();
            async move { reader.list_parked(question).await }
        };
        let request = v1::ListParkedRequest { subscription: subscription.to_owned() };
        let response: v1::ListParkedResponse = self.connection.act("parked", Repeat::Always, request, list).await?;
        let state = |shown: v1::ParkedEvent| {
            Ok(ParkedState {
                key: shown.key,
                turn: shown.turn,
                source: shown.source,
                topic: shown.topic,
                id: shown.id.ok_or(Malformed::Missing { field: "id" })?.try_into()?,
                parked_at: Timestamp(shown.parked_at_us),
                attempts: shown.attempts,
                refusal: shown.refusal.map(Refusal::try_from).transpose()?,
            })
        };
        let parked: Result<Vec<_>, Malformed> = response.events.into_iter().map(state).collect();
        let parked = parked.map_err(|cause| OperatorError::malformed(&self.connection.address, cause))?;
        Ok((parked, response.more))
    }

    /// Has the parked events of a key tried again, in their order. The error says why one is refused again.
    pub async fn retry_parked(
        &self,
        subscription: &str,
        key: &Bytes,
        who: &str,
        reason: &str,
    ) -> Result<u64, OperatorError> {
        let retry = |request| {
            let mut reader = self.reader();
            async move { reader.retry_parked(request).await }
        };
        let request = v1::RetryParkedRequest {
            subscription: subscription.to_owned(),
            key: key.clone(),
            who: who.to_owned(),
            reason: reason.to_owned(),
        };
        let v1::RetryParkedResponse { left } =
            self.connection.act("retry-parked", Repeat::OnlyIfNotReceived, request, retry).await?;
        Ok(left)
    }

    /// Gives up one parked event of a key, or all, for good: their effect is missing. Returns how many are still parked under the key.
    pub async fn give_up_parked(
        &self,
        subscription: &str,
        key: &Bytes,
        turn: Option<u64>,
        who: &str,
        reason: &str,
    ) -> Result<u64, OperatorError> {
        let give_up = |request| {
            let mut reader = self.reader();
            async move { reader.give_up_parked(request).await }
        };
        let request = v1::GiveUpParkedRequest {
            subscription: subscription.to_owned(),
            key: key.clone(),
            turn,
            who: who.to_owned(),
            reason: reason.to_owned(),
        };
        let v1::GiveUpParkedResponse { left } =
            self.connection.act("give-up-parked", Repeat::OnlyIfNotReceived, request, give_up).await?;
        Ok(left)
    }
}

/// For operators: for whom a participant keeps its events, and what becomes of a subscription that has stopped.
impl ParticipantClient {
    /// Returns the readers of the participant's log.
    pub async fn log_readers(&self) -> Result<Vec<LogReaderState>, OperatorError> {
        let list = |question| {
            let mut reader = self.reader();
            async move { reader.list_readers(question).await }
        };
        let response: v1::ListReadersResponse =
            self.connection.act("readers", Repeat::Always, v1::ListReadersRequest {}, list).await?;
        let state = |shown: v1::LogReader| LogReaderState {
            name: shown.name,
            after: Position(shown.after),
            behind: shown.behind,
            heard_at: Timestamp(shown.heard_at_us),
            dropped_at: shown.dropped_at_us.map(Timestamp),
        };
        Ok(response.readers.into_iter().map(state).collect())
    }

    /// Registers a reader, or tells how far it has come: events behind its place are kept for it. Returns the position up to which events
    /// were dropped: a reader that has taken nothing begins behind it.
    pub async fn keep_events(&self, reader: &str, after: EventPlace) -> Result<Position, OperatorError> {
        let keep = |request| {
            let mut reader = self.reader();
            async move { reader.keep_events(request).await }
        };
        let incarnation = after.incarnation.map(|Incarnation(bytes)| Bytes::copy_from_slice(&bytes));
        let request = v1::KeepEventsRequest {
            reader: reader.to_owned(),
            after: after.position.0,
            incarnation: incarnation.unwrap_or_default(),
            anew: false,
        };
        let v1::KeepEventsResponse { trimmed } =
            self.connection.act("keep-events", Repeat::Always, request, keep).await?;
        Ok(Position(trimmed))
    }

    /// Has the participant keep nothing for a reader any more.
    pub async fn forget_reader(&self, reader: &str, who: &str, reason: &str) -> Result<(), OperatorError> {
        let forget = |request| {
            let mut reader = self.reader();
            async move { reader.forget_reader(request).await }
        };
        let (reader, who, reason) = (reader.to_owned(), who.to_owned(), reason.to_owned());
        let request = v1::ForgetReaderRequest { reader, who, reason };
        let v1::ForgetReaderResponse {} =
            self.connection.act("forget-reader", Repeat::OnlyIfNotReceived, request, forget).await?;
        Ok(())
    }

    /// Has a subscription that has stopped go on from another position of its source, for good; without one, behind what the source does
    /// not keep any more. Returns the position.
    pub async fn resume_subscription(
        &self,
        subscription: &str,
        source: &str,
        after: Option<Position>,
        who: &str,
        reason: &str,
    ) -> Result<Position, OperatorError> {
        let resume = |request| {
            let mut reader = self.reader();
            async move { reader.resume_subscription(request).await }
        };
        let request = v1::ResumeSubscriptionRequest {
            subscription: subscription.to_owned(),
            source: source.to_owned(),
            after: after.map(|after| after.0),
            who: who.to_owned(),
            reason: reason.to_owned(),
        };
        let v1::ResumeSubscriptionResponse { after } =
            self.connection.act("resume-subscription", Repeat::OnlyIfNotReceived, request, resume).await?;
        Ok(Position(after))
    }

    /// Returns one parked event, as its source has it.
    pub async fn parked_event(&self, subscription: &str, key: &Bytes, turn: u64) -> Result<Event, OperatorError> {
        let get = |request| {
            let mut reader = self.reader();
            async move { reader.get_parked(request).await }
        };
        let request = v1::GetParkedRequest { subscription: subscription.to_owned(), key: key.clone(), turn };
        let v1::GetParkedResponse { event } = self.connection.act("get-parked", Repeat::Always, request, get).await?;
        let event = event.ok_or(Malformed::Missing { field: "event" }).and_then(Event::try_from);
        event.map_err(|cause| OperatorError::malformed(&self.connection.address, cause))
    }
}

struct Reader {
    client: ParticipantClient,
    /// What is still to be told.
    query: EventQuery,
    batches: Option<Streaming<v1::EventBatch>>,
    fresh: Pauses,
    pauses: Pauses,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<EventNews>, QueryError> {
        let batches = match &mut self.batches {
            Some(batches) => batches,
            None => {
                let batches = self.open().await?;
                self.batches.insert(batches)
            }
        };
        let cause = match batches.message().await {
            Ok(Some(batch)) => {
                self.pauses = self.fresh.clone();
                return Ok(Some(self.take(batch)?));
            }
            Ok(None) if self.query.until_now || self.query.limit > 0 => return Ok(None),
            Ok(None) => "the participant ended the stream".to_owned(),
            Err(status) => match judge(&status) {
                Verdict::Final => return Err(status.into()),
                Verdict::Again { .. } => explain(&status),
            },
        };
        self.batches = None;
        sleep(self.pauses.next(None)).await;
        Ok(Some(EventNews::Interrupted { cause }))
    }

    fn take(&mut self, batch: v1::EventBatch) -> Result<EventNews, Malformed> {
        let v1::EventBatch { events, through, incarnation, stable } = batch;
        let events = events.into_iter().map(Event::try_from).collect::<Result<Vec<_>, _>>()?;
        let incarnation = match &incarnation[..] {
            [] => None,
            some => Some(Incarnation::try_from(some)?),
        };
        let through = EventPlace { position: Position(through), incarnation };
        self.query.after = through;
        if self.query.limit > 0 {
            // At least one is left, or the participant ends the answer.
            let told = u64::try_from(events.len()).unwrap_or(u64::MAX);
            self.query.limit = self.query.limit.saturating_sub(told).max(1);
        }
        Ok(EventNews::Events { events, through, stable: Position(stable) })
    }

    async fn open(&self) -> Result<Streaming<v1::EventBatch>, QueryError> {
        let request = self.query.request();
        let attempt = || {
            let (mut reader, request) = (self.client.reader(), request.clone());
            async move { reader.read(request).await }
        };
        let connection = &self.client.connection;
        let opened = connection.call(connection.deadline(), Repeat::Always, "read-events", attempt).await;
        Ok(opened?)
    }
}
