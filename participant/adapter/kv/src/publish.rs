//! The events that work publishes.
//!
//! An entity, to which events are appended, is locked by a name that no key of the store has but by chance: what that costs is waiting.

use super::KeyValue;
use super::attempt::Declined;
use super::work::{Place, Work};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, Map};
use std::collections::BTreeMap;
use std::sync::Arc;
use undoubt_lock::Mode;
use undoubt_participant::event_log::{BESIDE_EVENT_BYTES, EventLog, unplaced};
use undoubt_participant::resource::{BranchId, ResourceError, StepId};
use undoubt_platform::{Batch, Durability, Store, StoreError, Written};
use undoubt_proto::record::StoredEvent;
use undoubt_vocabulary::{EventId, NewEvent, Refusal, RefusalCode, TopicName, TxId};
use undoubt_work::event::{Emit, Own};
use undoubt_work::{Input, Value};

/// Stands before the names of entities' locks.
const ENTITY: &[u8] = b"\xff\xffentity/";

/// Returns the name by which an entity is locked.
pub(super) fn entity_lock(topic: &str, key: &[u8]) -> Bytes {
    [ENTITY, topic.as_bytes(), &[0], key].concat().into()
}

/// Returns the bytes that events are stored with, about.
pub(super) fn bytes_of(events: &[StoredEvent]) -> usize {
    events.iter().map(|event| BESIDE_EVENT_BYTES + event.key.len() + event.data.len() + event.topic.len() * 2).sum()
}

impl KeyValue {
    /// Returns the log, if topics are declared.
    fn log_for(&self, event: &NewEvent) -> Result<&EventLog, Refusal> {
        self.log.as_deref().ok_or_else(|| {
            let NewEvent { topic, kind, .. } = event;
            let detail =
                format!("no topic {topic} is declared here, where the event {kind} is to be published; there are none");
            Refusal::new(RefusalCode::InvalidWork, detail)
        })
    }

    /// Returns all locks that work needs, of keys and of the entities to which it appends.
    pub(super) fn locks_of(&self, work: &Work) -> BTreeMap<Bytes, Mode> {
        let mut locks = work.locks();
        let Some(log) = &self.log else { return locks };
        for (emit, key) in &work.emits {
            if let Some(key) = key.as_ref().filter(|_| log.is_sourced(&emit.topic)) {
                locks.insert(entity_lock(&emit.topic, key), Mode::Exclusive);
            }
        }
        locks
    }

    /// Returns the events of work that was evaluated, as they are stored. `results`: the value after each of its operations.
    pub(super) fn events_of(
        &self,
        emits: Vec<(Emit<Input>, Option<Bytes>)>,
        place: Place<'_>,
        results: &[Value],
        tx: &TxId,
    ) -> Result<Vec<StoredEvent>, Declined> {
        if emits.is_empty() {
            return Ok(Vec::new());
        }
        let mut inputs = place.inputs();
        let resolve = |(emit, key): (Emit<Input>, Option<Bytes>)| {
            if key.is_none() && self.log.as_ref().is_some_and(|log| log.is_sourced(&emit.topic)) {
                let detail = format!(
                    "the key of an event of topic {} names an entity, which is locked before the work is done; take it from an earlier \
                     step, not from the same work",
                    emit.topic
                );
                return Err(Refusal::new(RefusalCode::InvalidWork, detail));
            }
            emit.resolve(&mut inputs, &Own::Operations(results))
        };
        let events = emits.into_iter().map(resolve).collect::<Result<Vec<_>, _>>()?;
        self.admit_events(events, tx)
    }

    /// Returns events as they are stored, before they have places. The entities among their keys are locked.
    pub(super) fn admit_events(&self, events: Vec<NewEvent>, tx: &TxId) -> Result<Vec<StoredEvent>, Declined> {
        let mut versions: BTreeMap<(TopicName, Bytes), u64> = BTreeMap::new();
        let admit = |event: NewEvent| {
            event.check().map_err(|bad| Refusal::new(RefusalCode::InvalidWork, bad.to_string()))?;
            let log = self.log_for(&event)?;
            let entity = log.is_sourced(event.topic.as_str()).then(|| (event.topic.clone(), event.key.clone()));
            let before = match &entity {
                None => None,
                Some(entity) => Some(match versions.get(entity) {
                    Some(version) => *version,
                    None => log.version_of(&entity.0, &entity.1).map_err(Declined::Failed)?,
                }),
            };
            let (topic, version) = log.admit(&event, before, tx)?;
            versions.extend(entity.zip(version));
            Ok(unplaced(event, topic, version, tx))
        };
        events.into_iter().map(admit).collect()
    }

    /// Queues a batch with the events that it publishes, before it returns.
    pub(super) fn publish(&self, batch: Batch, events: &[StoredEvent]) -> Published {
        write(&self.store, self.log.as_deref(), batch, events)
    }

    /// Notes that a branch has committed which published these events last.
    pub(super) fn note_emitted(&self, branch: &BranchId, last: Option<EventId>) {
        if let (Some(emitted), Some(last)) = (self.emitted.get(), last) {
            emitted.note_branch(branch.clone(), last);
        }
    }

    /// Notes the same of a step that has run.
    pub(super) fn note_emitted_by_step(&self, step: &StepId, last: Option<EventId>) {
        if let (Some(emitted), Some(last)) = (self.emitted.get(), last) {
            emitted.note_step(step.clone(), last);
        }
    }

    /// Returns what does the same later on.
    pub(super) fn publisher(&self) -> Publisher {
        Publisher { store: self.store.clone(), log: self.log.clone() }
    }
}

/// A batch that is queued, and the events that it publishes.
pub(super) struct Published {
    pub(super) written: Written,
    pub(super) events: Vec<EventId>,
}

impl Published {
    /// Waits until it is on stable storage, and returns the events in their order. What publishes none takes no room for them.
    pub(super) fn stable(self) -> Stable {
        let Published { written, events } = self;
        if events.is_empty() {
            return Either::Left(written.map(none as fn(_) -> _));
        }
        Either::Right(Box::pin(async move {
            written.await?;
            Ok(events)
        }))
    }
}

fn none(written: Result<(), StoreError>) -> Result<Vec<EventId>, ResourceError> {
    written?;
    Ok(Vec::new())
}

/// The events of a write, once it is on stable storage.
pub(super) type Stable = Either<
    Map<Written, fn(Result<(), StoreError>) -> Result<Vec<EventId>, ResourceError>>,
    BoxFuture<'static, Result<Vec<EventId>, ResourceError>>,
>;

/// The way into the store for work that publishes.
pub(super) struct Publisher {
    store: Arc<dyn Store>,
    log: Option<Arc<EventLog>>,
}

impl Publisher {
    pub(super) fn publish(&self, batch: Batch, events: &[StoredEvent]) -> Published {
        write(&self.store, self.log.as_deref(), batch, events)
    }
}

fn write(store: &Arc<dyn Store>, log: Option<&EventLog>, batch: Batch, events: &[StoredEvent]) -> Published {
    let written = match log {
        Some(log) if !events.is_empty() => {
            let (positions, written) = log.write(batch, events, Durability::Forced);
            return Published { written, events: positions.into_iter().map(|position| log.id_of(position)).collect() };
        }
        None if !events.is_empty() => {
            let cause =
                "a branch is to publish events, and this participant was opened without a log for them".to_owned();
            Written::ready(Err(StoreError::Stopped { cause }))
        }
        Some(_) | None => store.write(batch, Durability::Forced),
    };
    Published { written, events: Vec::new() }
}
