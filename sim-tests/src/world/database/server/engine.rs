//! What is committed and prepared, and who owns what.
//!
//! What is committed is visible once it is stable. What is prepared is a row of its own: its writes and its locks, which are
//! taken again before anybody connects.

use super::locks::{Key, Locks, Number};
use super::prepared_row::PreparedRow;
use crate::disk::DiskStore;
use crate::plan::Host;
use crate::world::database::rows::{Gid, PREPARED, tables};
use crate::world::database::wire::{Failure, Owner, SessionId};
use crate::world::shared_state::{Shared, now_us};
use bytes::Bytes;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use undoubt_participant::table::COORDINATOR;
use undoubt_platform::store::Contents;
use undoubt_platform::{Batch, Direction, Durability, Family, Operation, Store, StoreError};
use undoubt_proto::record::PinnedKey;

/// The bytes on the device below which only what is prepared is written.
const MIN_FREE_BYTES: u64 = 1 << 20;

/// The writes of a transaction: the value of each row, `None` if it is deleted.
pub(super) type Writes = BTreeMap<Key, Option<Bytes>>;

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) host: Host,
    pub(super) locks: Locks,
    store: Arc<DiskStore>,
    slots: usize,
    state: Mutex<State>,
    failure: watch::Sender<Option<String>>,
}

#[derive(Debug, Default)]
struct State {
    /// All that is committed and stable.
    committed: Contents,
    prepared: BTreeMap<Gid, Prepared>,
    /// Slots of what is being prepared.
    reserved: usize,
    last_number: Number,
    sessions: BTreeMap<SessionId, Backend>,
    owner: Option<SessionId>,
    leases: BTreeSet<SessionId>,
    /// The session that has all leases.
    has_all: Option<SessionId>,
}

#[derive(Clone, Debug)]
struct Prepared {
    number: Number,
    writes: Writes,
    /// Somebody is just ending it.
    busy: bool,
}

/// The handles by which others reach a session.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) told_to_end: CancellationToken,
    pub(super) ended: CancellationToken,
    pub(super) called_off: Arc<Notify>,
    spoke_us: u64,
}

impl Engine {
    pub(super) fn open(
        store: Arc<DiskStore>,
        shared: Arc<Shared>,
        host: Host,
        slots: usize,
    ) -> Result<Engine, StoreError> {
        let mut state = State::default();
        state.committed.create(&tables());
        let locks = Locks::default();
        for family in tables() {
            for (key, value) in store.scan(family, &[], None, Direction::Forward, usize::MAX)? {
                if family != PREPARED {
                    let mut batch = Batch::default();
                    batch.put(family, key, value);
                    state.committed.apply(batch.iter());
                    continue;
                }
                state.last_number += 1;
                let number = state.last_number;
                let unreadable = |detail: String| StoreError::Damaged { place: "what is prepared".into(), detail };
                let row = PreparedRow::decode(value).map_err(|error| unreadable(error.to_string()))?;
                for (key, mode) in row.locks() {
                    locks.ask(number, &key, mode);
                }
                state.prepared.insert(Gid(key), Prepared { number, writes: row.writes(), busy: false });
            }
        }
        let (state, failure) = (Mutex::new(state), watch::Sender::new(None));
        Ok(Engine { shared, host, locks, store, slots, state, failure })
    }

    /// Done once the server has failed.
    pub(super) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    pub(super) fn reach(&self, point: &'static str) {
        self.shared.reach(self.host, point);
    }

    pub(super) fn next_number(&self) -> Number {
        let mut state = self.state();
        state.last_number += 1;
        state.last_number
    }

    pub(super) fn value(&self, family: Family, key: &[u8]) -> Option<Bytes> {
        self.state().committed.value(family, key).cloned()
    }

    pub(super) fn committed(&self) -> Contents {
        self.state().committed.clone()
    }

    pub(super) fn prepared(&self) -> Vec<Gid> {
        self.state().prepared.keys().cloned().collect()
    }

    /// Returns the prepared transaction that began first, of those that nobody is ending.
    pub(super) fn oldest(&self) -> Option<Gid> {
        let state = self.state();
        let free = state.prepared.iter().filter(|(_, prepared)| !prepared.busy);
        free.map(|(gid, _)| gid).min_by_key(|gid| (gid.read().map(|(_, begun_at)| begun_at), *gid)).cloned()
    }

    /// Commits a transaction, and frees its locks.
    pub(super) async fn commit(&self, number: Number, writes: Writes) -> Result<(), Failure> {
        let batch = batch_of(&writes);
        if !batch.is_empty() {
            self.has_room()?;
            self.reach("before-commit");
            self.write(&batch).await?;
            self.reach("after-commit");
            self.state().committed.apply(batch.iter());
        }
        self.locks.release(number);
        Ok(())
    }

    /// Writes rows at once. Of those of coordinators the greater stays, whatever order they come in.
    pub(super) async fn write_rows(&self, batch: &Batch) -> Result<(), Failure> {
        let mut merged = Batch::default();
        for operation in batch.iter() {
            if let Operation::Put { family: COORDINATOR, key, value } = operation
                && self.value(COORDINATOR, key).is_some_and(|stored| !replaces(key, value, &stored))
            {
                continue;
            }
            merged.add(operation);
        }
        self.write(&merged).await?;
        self.state().committed.apply(merged.iter());
        Ok(())
    }

    /// Prepares a transaction: from now on nobody needs its session.
    pub(super) async fn prepare(&self, number: Number, writes: Writes, gid: Gid) -> Result<(), Failure> {
        self.has_room()?;
        {
            let mut state = self.state();
            if state.prepared.contains_key(&gid) {
                return Err(Failure::NotAsExpected);
            }
            if state.prepared.len() + state.reserved >= self.slots {
                return Err(Failure::NoSlot);
            }
            state.reserved += 1;
        }
        let row = PreparedRow::of(&writes, self.locks.held_by(number));
        let mut batch = Batch::default();
        batch.put_with(PREPARED, &gid.0, |bytes| row.encode_raw(bytes));
        self.reach("before-prepare");
        let written = self.write(&batch).await;
        self.reach("after-prepare");
        let mut state = self.state();
        state.reserved -= 1;
        written?;
        state.prepared.insert(gid, Prepared { number, writes, busy: false });
        drop(state);
        if let Host::Database(number) = self.host {
            self.shared.stirred(Host::Participant(number)).notify_one();
        }
        Ok(())
    }

    /// Commits or undoes what is prepared.
    pub(super) async fn end(&self, gid: &Gid, commit: bool) -> Result<(), Failure> {
        let Prepared { number, writes, .. } = {
            let mut state = self.state();
            let prepared = state.prepared.get_mut(gid).ok_or(Failure::UnknownName)?;
            if std::mem::replace(&mut prepared.busy, true) {
                return Err(Failure::Busy);
            }
            prepared.clone()
        };
        let mut batch = if commit { batch_of(&writes) } else { Batch::default() };
        batch.delete(PREPARED, &gid.0);
        self.reach("before-end-prepared");
        let written = self.write(&batch).await;
        self.reach("after-end-prepared");
        let mut state = self.state();
        if let Err(error) = written {
            state.prepared.entry(gid.clone()).and_modify(|prepared| prepared.busy = false);
            return Err(error);
        }
        state.prepared.remove(gid);
        state.committed.apply(batch.iter());
        drop(state);
        self.locks.release(number);
        Ok(())
    }

    fn has_room(&self) -> Result<(), Failure> {
        let lack = self.store.room().ok().and_then(|room| room.lack(MIN_FREE_BYTES));
        lack.map_or(Ok(()), |why| Err(Failure::Unwritten(why)))
    }

    /// Forces a write. If it is unknown whether it is there, the server fails, and nobody is answered any more.
    async fn write(&self, batch: &Batch) -> Result<(), Failure> {
        match self.store.write(batch.clone(), Durability::Forced).await {
            Ok(()) => Ok(()),
            Err(error @ (StoreError::Unavailable { .. } | StoreError::BatchTooLarge { .. })) => {
                Err(Failure::Unwritten(error.to_string()))
            }
            Err(
                error @ (StoreError::Fenced(_)
                | StoreError::Damaged { .. }
                | StoreError::DiskFull { .. }
                | StoreError::Io { .. }
                | StoreError::Stopped { .. }
                | StoreError::UnknownFamilies { .. }
                | StoreError::NoSuchFamily { .. }),
            ) => {
                self.failure.send_replace(Some(error.to_string()));
                std::future::pending().await
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between taking and freeing it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions, and the locks by which processes of a participant know each other.
impl Engine {
    pub(super) fn connected(&self) -> (SessionId, Backend) {
        let id = SessionId(self.shared.post.fresh());
        let backend = Backend {
            told_to_end: CancellationToken::new(),
            ended: CancellationToken::new(),
            called_off: Arc::default(),
            spoke_us: now_us(),
        };
        self.state().sessions.insert(id, backend.clone());
        (id, backend)
    }

    pub(super) fn spoke(&self, id: SessionId) {
        if let Some(backend) = self.state().sessions.get_mut(&id) {
            backend.spoke_us = now_us();
        }
    }

    pub(super) fn disconnected(&self, id: SessionId) {
        let mut state = self.state();
        state.owner.take_if(|owner| *owner == id);
        state.has_all.take_if(|holder| *holder == id);
        state.leases.remove(&id);
        if let Some(backend) = state.sessions.remove(&id) {
            backend.ended.cancel();
        }
    }

    pub(super) fn session(&self, id: SessionId) -> Option<Backend> {
        self.state().sessions.get(&id).cloned()
    }

    /// Returns who has the lock instead.
    pub(super) fn take_ownership(&self, id: SessionId) -> Option<Owner> {
        let mut state = self.state();
        let session = *state.owner.get_or_insert(id);
        let spoke_us = state.sessions.get(&session)?.spoke_us;
        (session != id).then(|| Owner { session, silent_us: now_us().saturating_sub(spoke_us) })
    }

    pub(super) fn take_lease(&self, id: SessionId) -> bool {
        let mut state = self.state();
        state.has_all.is_none() && {
            state.leases.insert(id);
            true
        }
    }

    pub(super) fn take_all_leases(&self, id: SessionId) -> bool {
        let mut state = self.state();
        let is_free = state.has_all.is_none_or(|holder| holder == id) && state.leases.iter().all(|lease| *lease == id);
        if is_free {
            state.has_all = Some(id);
        }
        is_free
    }

    pub(super) fn free_leases(&self, id: SessionId) {
        self.state().has_all.take_if(|holder| *holder == id);
    }

    pub(super) fn leaseholders(&self, id: SessionId) -> Vec<SessionId> {
        let state = self.state();
        let all = state.leases.iter().chain(&state.has_all).copied();
        all.filter(|holder| *holder != id).collect()
    }
}

fn batch_of(writes: &Writes) -> Batch {
    let mut batch = Batch::default();
    for ((family, key), value) in writes {
        match value {
            Some(value) => batch.put(*family, key, value),
            None => batch.delete(*family, key),
        }
    }
    batch
}

/// Returns whether a row of a coordinator takes the place of the one that is stored: the higher epoch and mark, the latest key.
fn replaces(key: &[u8], new: &[u8], stored: &[u8]) -> bool {
    if !key.starts_with(b"pin/") {
        return new >= stored;
    }
    let rank = |row: &[u8]| PinnedKey::decode(row).ok().map(|pin| (pin.vouched, pin.epoch));
    rank(new) >= rank(stored)
}
