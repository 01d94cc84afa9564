//! Bugs of participants in what they publish.

use super::finals::events::newest_incarnation;
use super::shared_state::Shared;
use super::store::without;
use crate::disk::Disk;
use crate::plan::points::BEFORE_STORE;
use crate::plan::{Host, Mutant};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use prost::Message as _;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use undoubt_participant::event_log::{
    After, EVENT, EventSource, EventsRead, FAMILIES, KeepError, LogState, MAX_READ_EVENTS, ReadError, Readers,
};
use undoubt_participant::resource::ResourceError;
use undoubt_platform::{Batch, Direction, Durability, Family, Operation, Room, Store, StoreError, Written};
use undoubt_proto::record::StoredEvent;
use undoubt_stream::retention::{Keep, Reader};
use undoubt_vocabulary::{CorrelationId, Event, Partition, Position, ReaderName, Timestamp, Topic, TxId};

/// Branches that were told to abort, and whose events are published all the same.
#[derive(Debug, Default)]
pub(super) struct Planted {
    aborting: Mutex<BTreeSet<(Host, Bytes)>>,
}

impl Planted {
    pub(super) fn aborts(&self, host: Host, tx: &[u8]) {
        let branch = (host, Bytes::copy_from_slice(tx));
        self.aborting.lock().unwrap_or_else(PoisonError::into_inner).insert(branch);
    }

    fn is_aborting(&self, host: Host, tx: &[u8]) -> bool {
        let branch = (host, Bytes::copy_from_slice(tx));
        self.aborting.lock().unwrap_or_else(PoisonError::into_inner).contains(&branch)
    }
}

/// The store of a participant that publishes wrongly.
pub(super) struct PlantedStore {
    store: Arc<dyn Store>,
    mutant: Mutant,
    host: Host,
    shared: Arc<Shared>,
    /// Positions that were allotted and stay empty.
    empty: AtomicU64,
}

impl PlantedStore {
    /// The store itself where the bug is another.
    pub(super) fn over(shared: &Arc<Shared>, host: Host, mutant: Mutant, store: Arc<dyn Store>) -> Arc<dyn Store> {
        if !mutant.is_about_events() || host.is_coordinator() {
            return store;
        }
        Arc::new(PlantedStore { store, mutant, host, shared: shared.clone(), empty: AtomicU64::new(0) })
    }

    /// Writes the work, and its events once that is stable.
    fn write_apart(&self, batch: &Batch, durability: Durability) -> Written {
        let work = without(batch, is_of_log);
        let events = without(batch, |operation| !is_of_log(operation));
        let first = self.store.write(work, durability);
        if events.is_empty() {
            return first;
        }
        let (completion, written) = Written::pending();
        let (store, shared, host) = (self.store.clone(), self.shared.clone(), self.host);
        tokio::spawn(async move {
            let answer = match first.await {
                Ok(()) => {
                    shared.reach(host, BEFORE_STORE);
                    store.write(events, durability).await
                }
                Err(error) => Err(error),
            };
            completion.complete(answer);
        });
        written
    }

    /// Leaves a position empty for each branch that aborts, and puts events behind it.
    fn write_behind_what_is_empty(&self, batch: &Batch, durability: Durability) -> Written {
        let ends = batch.iter().filter(|operation| ended_branch(operation).is_some()).count();
        let has_come_to_something =
            batch.iter().any(|operation| ["finished", "heuristic"].contains(&operation.family().0));
        if ends > 0 && !has_come_to_something {
            self.empty.fetch_add(ends as u64, Ordering::Relaxed);
        }
        let empty = self.empty.load(Ordering::Relaxed);
        let mut moved = Batch::default();
        for operation in batch.iter() {
            match operation {
                Operation::Put { family, key, value } if family == EVENT => {
                    let position = key.try_into().map_or(0, u64::from_be_bytes) + empty;
                    moved.put(EVENT, position.to_be_bytes(), Bytes::copy_from_slice(value));
                }
                other @ (Operation::Put { .. } | Operation::Delete { .. } | Operation::DeleteRange { .. }) => {
                    moved.add(other)
                }
            }
        }
        self.store.write(moved, durability)
    }

    /// Takes a commit for that of a branch that was to abort: only its events come of it.
    fn write_events_of_aborts(&self, batch: Batch, durability: Durability) -> Written {
        let planted = &self.shared.planted;
        let is_of_abort =
            batch.iter().any(|one| ended_branch(&one).is_some_and(|tx| planted.is_aborting(self.host, tx)));
        let batch = if is_of_abort { without(&batch, is_work) } else { batch };
        self.store.write(batch, durability)
    }

    /// Leaves the record of a branch where it is when it commits, so that another start commits it once more: only its events come of
    /// that.
    fn write_without_end(&self, batch: Batch, durability: Durability) -> Written {
        let is_known = |operation: Operation<'_>| match operation {
            Operation::Put { family, key, .. } if family.0 == "finished" => {
                Some(self.store.get(family, key).is_ok_and(|known| known.is_some()))
            }
            Operation::Put { .. } | Operation::Delete { .. } | Operation::DeleteRange { .. } => None,
        };
        let known: Vec<bool> = batch.iter().filter_map(is_known).collect();
        let batch = match known[..] {
            [] => batch,
            [..] if known.iter().all(|known| *known) => without(&batch, is_work),
            [..] => without(&batch, |operation| ended_branch(operation).is_some()),
        };
        self.store.write(batch, durability)
    }
}

fn is_of_log(operation: &Operation<'_>) -> bool {
    FAMILIES.contains(&operation.family())
}

/// Returns true of what a branch's commit stores beside its events.
fn is_work(operation: &Operation<'_>) -> bool {
    ["data", "finished"].contains(&operation.family().0)
}

/// Returns the transaction whose record of a prepared branch goes.
fn ended_branch<'a>(operation: &Operation<'a>) -> Option<&'a [u8]> {
    match operation {
        Operation::Delete { family, key } if family.0 == "branch" => Some(key),
        Operation::Delete { .. } | Operation::Put { .. } | Operation::DeleteRange { .. } => None,
    }
}

impl Store for PlantedStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.store.scan(family, from, to, direction, limit)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Written {
        if self.mutant == Mutant::EventsWrittenApart {
            self.write_apart(&batch, durability)
        } else if self.mutant == Mutant::PositionsAllottedAtPrepare {
            self.write_behind_what_is_empty(&batch, durability)
        } else if self.mutant == Mutant::AbortPublishes {
            self.write_events_of_aborts(batch, durability)
        } else if self.mutant == Mutant::CommitPublishesAgain {
            self.write_without_end(batch, durability)
        } else {
            self.store.write(batch, durability)
        }
    }

    fn max_batch_bytes(&self) -> usize {
        self.store.max_batch_bytes()
    }

    fn room(&self) -> Result<Room, StoreError> {
        self.store.room()
    }
}

/// A log whose readers are told also what is not stable.
pub(super) struct Hasty {
    log: Arc<dyn EventSource>,
    disk: Disk,
}

impl Hasty {
    pub(super) fn new(log: Arc<dyn EventSource>, disk: Disk) -> Hasty {
        Hasty { log, disk }
    }

    async fn read_all(&self, after: After) -> Result<EventsRead, ReadError> {
        let is_stable = after.position <= *self.log.stable().borrow();
        let mut read = match is_stable {
            true => self.log.read(after).await?,
            false => EventsRead { through: after, ..EventsRead::default() },
        };
        let contents = self.disk.cached();
        let Some(incarnation) = newest_incarnation(&contents) else { return Ok(read) };
        while read.events.len() < MAX_READ_EVENTS {
            let position = read.through.position.next();
            let Ok(Some(stored)) = contents.get(EVENT, &position.0.to_be_bytes()) else { break };
            let Some(event) = event(position, incarnation, stored) else { break };
            read.events.push(event);
            read.through = After { position, incarnation: Some(incarnation) };
        }
        read.stable = read.stable.max(read.through.position);
        Ok(read)
    }
}

fn event(position: Position, incarnation: undoubt_vocabulary::Incarnation, stored: Bytes) -> Option<Event> {
    let stored = StoredEvent::decode(stored).ok()?;
    Some(Event {
        position,
        incarnation,
        topic: stored.topic.parse().ok()?,
        partition: Partition(u16::try_from(stored.partition).ok()?),
        previous: Position(stored.previous),
        key: stored.key,
        kind: stored.r#type.parse().ok()?,
        schema: stored.schema.into(),
        content_type: stored.content_type.into(),
        data: stored.data,
        published_at: Timestamp(stored.published_at_us),
        version: stored.version,
        correlation: CorrelationId(TxId::new(&stored.correlation).ok()?),
        causation: None,
    })
}

impl EventSource for Hasty {
    fn topics(&self) -> &[Topic] {
        self.log.topics()
    }

    fn stable(&self) -> watch::Receiver<Position> {
        self.log.stable()
    }

    fn state(&self) -> BoxFuture<'_, Result<LogState, ResourceError>> {
        self.log.state()
    }

    fn read(&self, after: After) -> BoxFuture<'_, Result<EventsRead, ReadError>> {
        self.read_all(after).boxed()
    }

    fn keep(&self, reader: ReaderName, after: After, anew: bool) -> BoxFuture<'_, Result<Position, KeepError>> {
        self.log.keep(reader, after, anew)
    }

    fn readers(&self) -> BoxFuture<'_, Result<Readers, ResourceError>> {
        self.log.readers()
    }

    fn forget(&self, reader: ReaderName) -> BoxFuture<'_, Result<bool, ResourceError>> {
        self.log.forget(reader)
    }

    fn trim(&self, keep: Keep) -> BoxFuture<'_, Result<Vec<(ReaderName, Reader)>, ResourceError>> {
        self.log.trim(keep)
    }
}
