//! The store on a simulated disk.
//!
//! A write is in the maps and in the page cache when [`Store::write`] returns. Forced ones are answered in groups, as
//! `RocksStore` does: one sync is under way at a time and covers what was written before it began; what comes meanwhile
//! waits for the next. As there, the first failure stops the writing for good, and reading goes on.
//!
//! Answers leave a process, so they pass its switch: while it is paused they wait, and a sync that ends in a pause counts
//! only when it goes on. A dead process writes nothing and hears nothing any more.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use undoubt_platform::store::{Completion, Contents};
use undoubt_platform::{Batch, Direction, Durability, Family, Room, Store, StoreError, Written};

use undoubt_vocabulary::limits::MAX_STORE_QUEUE_BYTES;

use super::Disk;
use super::state::Opening;
use crate::process::Process;

/// A disk as a process has it open.
pub struct DiskStore(Arc<Shared>);

struct Shared {
    disk: Disk,
    opening: Opening,
    max_write_bytes: Option<usize>,
    process: Process,
    state: Mutex<State>,
}

struct State {
    contents: Contents,
    /// Forced writes that no sync covers yet.
    waiting: Vec<Waiting>,
    is_syncing: bool,
    /// The reason why nothing is written any more.
    stopped: Option<StoreError>,
}

struct Waiting {
    completion: Completion,
    /// The number of frames that its answer promises to be stable.
    frames: usize,
}

impl DiskStore {
    pub(super) fn new(disk: Disk, opening: Opening, contents: Contents, process: Process) -> DiskStore {
        let state = State { contents, waiting: Vec::new(), is_syncing: false, stopped: None };
        let max_write_bytes = disk.with(|disk| disk.max_write_bytes);
        DiskStore(Arc::new(Shared { disk, opening, max_write_bytes, process, state: Mutex::new(state) }))
    }
}

impl Store for DiskStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.state().contents.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.0.state().contents.scan(family, from, to, direction, limit)
    }

    /// Needs a tokio runtime around it.
    fn write(&self, batch: Batch, durability: Durability) -> Written {
        let (completion, written) = Written::pending();
        if self.0.process.is_dead() {
            self.0.answer(completion, Ok(()));
            return written;
        }
        match (self.0.apply(batch, durability), durability) {
            (Ok(frames), Durability::Forced) => self.0.await_sync(Waiting { completion, frames }),
            (Ok(_), Durability::Lazy) => self.0.answer(completion, Ok(())),
            (Err(error), Durability::Forced | Durability::Lazy) => self.0.answer(completion, Err(error)),
        }
        written
    }

    fn max_batch_bytes(&self) -> usize {
        self.0.max_write_bytes.unwrap_or(MAX_STORE_QUEUE_BYTES)
    }

    fn room(&self) -> Result<Room, StoreError> {
        Ok(Room { bytes: self.0.disk.with(|disk| disk.room), files: None })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many frames the disk has then.
    fn apply(&self, batch: Batch, durability: Durability) -> Result<usize, StoreError> {
        let mut state = self.state();
        batch.iter().try_for_each(|operation| state.contents.check_family(operation.family()))?;
        match &state.stopped {
            None => {}
            Some(fenced @ StoreError::Fenced(_)) => return Err(fenced.clone()),
            Some(error) => return Err(StoreError::Stopped { cause: error.to_string() }),
        }
        if let Some(limit) = self.max_write_bytes.filter(|most| batch.payload_bytes() > *most) {
            return Err(StoreError::BatchTooLarge { bytes: batch.payload_bytes(), bound: "max_write_bytes", limit });
        }
        if self.disk.with(|disk| disk.is_away) {
            return Err(StoreError::Unavailable { cause: "the disk is away".into() });
        }
        let random = &self.disk.0.random;
        let appended = self.disk.with(|disk| disk.append(self.opening, &batch, durability, random));
        match &appended {
            Ok(_) => state.contents.apply(batch.iter()),
            Err(error) => state.stop(error),
        }
        appended
    }

    fn await_sync(self: &Arc<Self>, waiting: Waiting) {
        let mut state = self.state();
        state.waiting.push(waiting);
        if !state.is_syncing {
            state.is_syncing = true;
            tokio::spawn(Arc::clone(self).sync());
        }
    }

    /// Syncs until nobody waits.
    async fn sync(self: Arc<Self>) {
        while let Some(group) = self.next_group() {
            let (frames, latency) = self.disk.with(|disk| disk.begin_sync(&self.disk.0.random));
            tokio::time::sleep(latency).await;
            self.process.running().await;
            let promised = group.iter().map(|waiting| waiting.frames).max().unwrap_or(0);
            let outcome = self.disk.with(|disk| disk.end_sync(self.opening, frames, promised));
            if let Err(error) = &outcome {
                self.state().stop(error);
            }
            for waiting in group {
                self.answer(waiting.completion, outcome.clone());
            }
        }
    }

    fn next_group(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state();
        state.is_syncing = !state.waiting.is_empty();
        state.is_syncing.then(|| std::mem::take(&mut state.waiting))
    }

    /// Answers once the process runs, so never if it is dead.
    fn answer(&self, completion: Completion, answer: Result<(), StoreError>) {
        if self.process.is_running() {
            return completion.complete(answer);
        }
        let process = self.process.clone();
        tokio::spawn(async move {
            process.running().await;
            completion.complete(answer);
        });
    }
}

impl State {
    fn stop(&mut self, error: &StoreError) {
        self.stopped.get_or_insert_with(|| error.clone());
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DiskStore").field(&self.0.disk).field(&self.0.opening).finish()
    }
}
