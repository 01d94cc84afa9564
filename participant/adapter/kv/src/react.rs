//! The local transactions of subscriptions: work, what it publishes, and how far the subscription has come, in one write.

use super::attempt::{Declined, evaluate, most_read, refuse_without_room};
use super::work::{self, Place, Work};
use super::{KeyValue, marks, publish, record};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use undoubt_kv_evaluation::{Evaluation, Tell};
use undoubt_lock::Age;
use undoubt_participant::resource::ResourceError;
use undoubt_participant::subscription::{
    Carried, LocalTransaction, ReactionStore, StoredSubscriptions, TIMER, Then, put_barrier, put_parked, put_place,
};
use undoubt_platform::{Batch, StoreError};
use undoubt_proto::record::{StoredEvent, Write};
use undoubt_stream::barrier::{Barrier, BarrierId, Written};
use undoubt_stream::expiry::Timer;
use undoubt_vocabulary::{CorrelationId, ReactionName, Refusal};
use undoubt_work::Results;

/// The store, as subscriptions use it.
pub(super) struct Reactions(pub(super) Arc<KeyValue>);

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

    fn carry_out(&self, transaction: LocalTransaction) -> BoxFuture<'_, Result<Carried, ResourceError>> {
        carry_out(&self.0, transaction).boxed()
    }
}

async fn carry_out(kv: &Arc<KeyValue>, transaction: LocalTransaction) -> Result<Carried, ResourceError> {
    let LocalTransaction { id, correlation, begun_at, timeout, work, then, .. } = &transaction;
    let _ = then;
    let decoded = match work {
        None => None,
        Some(bytes) => match work::decode(bytes, Place::Branch) {
            Ok(work) => Some(work),
            Err(refusal) => return Ok(Carried::Refused(refusal)),
        },
    };
    let wanted = decoded.as_ref().map(|work| kv.locks_of(work)).unwrap_or_default();
    let age = Age { begun_at: *begun_at, tx: id.clone() };
    if let Err(refusal) = kv.locks.lock(&age, &wanted, *timeout, &CancellationToken::new()).await {
        return Ok(Carried::Refused(refusal));
    }
    kv.locks.leaving(id);
    let (id, correlation) = (id.clone(), correlation.clone());
    let LocalTransaction { advances, place, timer, barrier, parked, then, .. } = transaction;
    let Prepared { mut batch, written, events } = match prepare(kv, decoded, then, &correlation) {
        Ok(prepared) => prepared,
        Err(declined) => {
            kv.locks.release(&id);
            return match declined {
                Declined::Refused(refusal) => Ok(Carried::Refused(refusal)),
                Declined::NoRoom => Err(ResourceError::NoRoom),
                Declined::Failed(error) => Err(error),
            };
        }
    };
    if let (Some(id), Some(barrier)) = (&barrier, &written.barrier) {
        put_barrier(&mut batch, id, barrier);
    }
    timer.iter().for_each(|key| batch.delete(TIMER, key));
    place.iter().for_each(|place| put_place(&mut batch, place));
    parked.iter().for_each(|(subscription, change)| put_parked(&mut batch, subscription, change));
    let permit = kv.writing.take(batch.payload_bytes() + publish::bytes_of(&events)).await;
    // Nothing is awaited from here until the batch is queued: what comes later is written later.
    if let Err((inbox, stored)) = kv.subscriptions.advance(&mut batch, &advances) {
        kv.locks.release(&id);
        return Ok(Carried::Moved { inbox, stored });
    }
    let mut queued = kv.publish(batch, &events).written;
    // An answer that has come already is taken once.
    let answered = (&mut queued).now_or_never();
    if let Some(Err(error @ (StoreError::Unavailable { .. } | StoreError::BatchTooLarge { .. }))) = answered {
        kv.subscriptions.take_back(&advances);
        kv.locks.release(&id);
        return Err(error.into());
    }
    let kv = kv.clone();
    let written_future = async move {
        let _permit = permit;
        match answered {
            Some(answer) => answer?,
            None => queued.await?,
        }
        kv.locks.release(&id);
        Ok(())
    };
    Ok(Carried::Done { barrier: written.barrier, written: written_future.boxed() })
}

/// What is to be written, less how far the subscription has come.
struct Prepared {
    batch: Batch,
    written: Written,
    events: Vec<StoredEvent>,
}

/// Does the work under its locks.
fn prepare(kv: &KeyValue, work: Option<Work>, then: Then, correlation: &CorrelationId) -> Result<Prepared, Declined> {
    let mut batch = Batch::default();
    let mut events = Vec::new();
    let mut results = Bytes::new();
    if let Some(work) = work {
        refuse_without_room(kv)?;
        marks::refuse_marked(kv, None, &work.respect)?;
        let evaluation = evaluate(kv, &work.operations, Tell::All, most_read(kv))?;
        events = kv.events_of(work.emits, Place::Branch, &evaluation.results, &correlation.0)?;
        let Evaluation { writes, results: values } = evaluation;
        results = Results::encode(&values);
        let writes: Vec<Write> = writes.into_iter().map(|(key, value)| Write { key, value }).collect();
        record::put_data(&mut batch, &writes);
    }
    let mut written = then(results).map_err(|unfit| Refusal::from(&unfit))?;
    events.extend(kv.admit_events(std::mem::take(&mut written.events), &correlation.0)?);
    kv.refuse_too_large(batch.payload_bytes() + publish::bytes_of(&events))?;
    Ok(Prepared { batch, written, events })
}
