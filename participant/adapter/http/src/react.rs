//! The local transactions of subscriptions: a request of a service, then what follows from its answer and how far the subscription has
//! come, in one forced write.
//!
//! | change | one write | forced |
//! | --- | --- | --- |
//! | before the first call of work that something undoes | the attempt: what would undo it | yes |
//! | it was answered with success | position, barrier, events; the attempt goes | yes |
//! | it was refused for good | by the runner: position, barrier, what is published then; the attempt goes | yes |
//!
//! A call whose answer is lost is made again, with the same idempotency key. What undoes it may come meanwhile, from another source:
//! then the attempt says what to undo.

use crate::HttpServices;
use crate::attempt::{lack_of_room, write};
use crate::calls::{Call, Said};
use crate::cloud_event;
use crate::convention::{Identity, Operation};
use crate::message::Message;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use undoubt_participant::event_log::unplaced;
use undoubt_participant::resource::ResourceError;
use undoubt_participant::subscription::{
    Asking, Carried, LocalTransaction, ReactionStore, StoredSubscriptions, TIMER, delete_attempt, put_attempt,
    put_barrier, put_parked, put_place,
};
use undoubt_platform::{Batch, Durability, StoreError, Written as Queued};
use undoubt_proto::record::StoredEvent;
use undoubt_stream::barrier::{Barrier, BarrierId};
use undoubt_stream::expiry::Timer;
use undoubt_vocabulary::{CorrelationId, NewEvent, ParticipantName, ReactionName, Refusal, RefusalCode};
use undoubt_work::http::{Body, Method};
use undoubt_work::{InvalidWork, Results};

/// The services, as subscriptions use them.
pub(super) struct Reactions(pub(super) Arc<HttpServices>);

impl ReactionStore for Reactions {
    fn stored(&self) -> BoxFuture<'_, Result<StoredSubscriptions, ResourceError>> {
        ready(self.0.subscriptions.read(self.0.store.as_ref())).boxed()
    }

    fn barrier(&self, id: &BarrierId) -> BoxFuture<'_, Result<Option<Barrier>, ResourceError>> {
        ready(self.0.subscriptions.barrier(self.0.store.as_ref(), id)).boxed()
    }

    fn next_timer(&self, name: &ReactionName) -> BoxFuture<'_, Result<Option<(Timer, Bytes)>, ResourceError>> {
        ready(self.0.subscriptions.next_timer(self.0.store.as_ref(), name)).boxed()
    }

    fn asks_others(&self) -> bool {
        true
    }

    fn attempted(&self, id: &BarrierId) -> BoxFuture<'_, Result<Option<Barrier>, ResourceError>> {
        ready(self.0.subscriptions.attempt(self.0.store.as_ref(), id)).boxed()
    }

    fn carry_out(&self, transaction: LocalTransaction) -> BoxFuture<'_, Result<Carried, ResourceError>> {
        carry_out(&self.0, transaction).boxed()
    }
}

async fn carry_out(http: &Arc<HttpServices>, mut transaction: LocalTransaction) -> Result<Carried, ResourceError> {
    // Who has been overtaken asks nobody.
    if let Some((inbox, stored)) = http.subscriptions.elsewhere(&transaction.advances) {
        return Ok(Carried::Moved { inbox, stored });
    }
    let results = match (transaction.work.take(), transaction.asking.take()) {
        (Some(work), Some(asking)) => match asked(http, &work, *asking, transaction.barrier.as_ref()).await? {
            Ok(results) => results,
            Err(refusal) => return Ok(Carried::Refused(refusal)),
        },
        (Some(_), None) => {
            return Err(ResourceError::Stopped {
                cause: "a request is to be made, and it is not said for what".to_owned(),
            });
        }
        (None, _) => Bytes::new(),
    };
    let LocalTransaction { correlation, advances, place, timer, barrier, parked, then, .. } = transaction;
    let written = match then(results) {
        Ok(written) => written,
        Err(unfit) => return Ok(Carried::Refused((&unfit).into())),
    };
    let events = match http.admit_events(written.events, &correlation) {
        Ok(events) => events,
        Err(refusal) => return Ok(Carried::Refused(refusal)),
    };
    let mut batch = Batch::default();
    if let (Some(id), Some(barrier)) = (&barrier, &written.barrier) {
        put_barrier(&mut batch, id, barrier);
        delete_attempt(&mut batch, id);
    }
    timer.iter().for_each(|key| batch.delete(TIMER, key));
    place.iter().for_each(|place| put_place(&mut batch, place));
    parked.iter().for_each(|(subscription, change)| put_parked(&mut batch, subscription, change));
    if let Err((inbox, stored)) = http.subscriptions.advance(&mut batch, &advances) {
        return Ok(Carried::Moved { inbox, stored });
    }
    let mut queued = http.publish(batch, &events);
    // An answer that has come already is taken once.
    let answered = (&mut queued).now_or_never();
    if let Some(Err(error @ (StoreError::Unavailable { .. } | StoreError::BatchTooLarge { .. }))) = answered {
        http.subscriptions.take_back(&advances);
        return Err(error.into());
    }
    let stable = async move {
        match answered {
            Some(answer) => answer?,
            None => queued.await?,
        }
        Ok(())
    };
    Ok(Carried::Done { barrier: written.barrier, written: stable.boxed() })
}

/// Asks a service for the work of a reaction, and returns its answer as results, or why it is refused.
async fn asked(
    http: &HttpServices,
    work: &Bytes,
    asking: Asking,
    barrier: Option<&BarrierId>,
) -> Result<Result<Bytes, Refusal>, ResourceError> {
    let owner = http.owner.get().map_or("", ParticipantName::as_str);
    let message = match message(http, work, &asking) {
        Ok(message) => message,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let unavailable = |why: String| Ok(Err(Refusal::new(RefusalCode::Unavailable, why)));
    if http.room().largest() < http.settings.max_response_bytes {
        return Err(ResourceError::NoRoom);
    }
    if let Some(why) = lack_of_room(http)? {
        return unavailable(why);
    }
    let deadline = Instant::now() + http.settings.call_timeout();
    let Some(_place) = http.client.place(&message.address.origin, deadline).await else {
        return unavailable(format!(
            "too many calls of {} are under way (http.max_calls_per_host)",
            message.address.origin
        ));
    };
    let tried = match (asking.undoes, barrier) {
        (true, Some(id)) => {
            matches!(http.subscriptions.barrier(http.store.as_ref(), id)?, Some(Barrier::Acted { .. }))
        }
        (true, None) | (false, _) => false,
    };
    if let (Some(id), Some(attempt)) = (barrier, &asking.attempt)
        && http.subscriptions.attempt(http.store.as_ref(), id)?.is_none()
    {
        let mut batch = Batch::default();
        put_attempt(&mut batch, id, attempt);
        write(http, batch, Durability::Forced).await?;
    }
    let identity = Identity::of_reaction(owner, &asking.subscription, asking.effect, &asking.event.correlation);
    let operation = if asking.undoes { Operation::Compensation } else { Operation::Action };
    let call = Call { operation, identity: &identity, message: &message, tried, deadline, trace: None };
    Ok(match http.ask(call, &CancellationToken::new()).await {
        Said::Done(answer) => Ok(Results::encode_answer(&answer)),
        Said::Refused(refusal) => Err(refusal),
        // It may have taken effect, or may yet: later events wait until it is known.
        Said::Unclear(why) => Err(Refusal::new(RefusalCode::Unclear, why)),
        Said::NotSent(why) => Err(Refusal::new(RefusalCode::Unavailable, why)),
    })
}

/// Returns the request; without a body of its own it brings the event.
fn message(http: &HttpServices, work: &Bytes, asking: &Asking) -> Result<Message, Refusal> {
    let work = undoubt_work::http::read(work)?;
    if work.ending.is_some() {
        return Err(InvalidWork::EndingInSaga.into());
    }
    let has_body = work.request.body != Body::None;
    let mut message = Message::new(work.request, &[], &http.allowed)?;
    if !has_body && message.method != Method::Get {
        message.body = cloud_event::body_of(&asking.event, asking.from.as_str());
        message.headers.push(("content-type".to_owned(), cloud_event::MEDIA_TYPE.to_owned()));
    }
    Ok(message)
}

impl HttpServices {
    /// Returns events as they are stored, before they have places.
    fn admit_events(&self, events: Vec<NewEvent>, correlation: &CorrelationId) -> Result<Vec<StoredEvent>, Refusal> {
        let admit = |event: NewEvent| {
            event.check().map_err(|bad| Refusal::new(RefusalCode::InvalidWork, bad.to_string()))?;
            let log = self.log.as_ref().ok_or_else(|| {
                let detail = format!(
                    "no topic {} is declared here, where the event {} is to be published; there are none",
                    event.topic, event.kind
                );
                Refusal::new(RefusalCode::InvalidWork, detail)
            })?;
            // No topic of a participant over HTTP services is sourced, so nothing is locked here.
            let (topic, version) = log.admit(&event, None, &correlation.0)?;
            Ok(unplaced(event, topic, version, &correlation.0))
        };
        events.into_iter().map(admit).collect()
    }

    /// Queues a batch with the events that it publishes, before it returns.
    fn publish(&self, batch: Batch, events: &[StoredEvent]) -> Queued {
        match &self.log {
            Some(log) if !events.is_empty() => log.write(batch, events, Durability::Forced).1,
            Some(_) | None => self.store.write(batch, Durability::Forced),
        }
    }
}
