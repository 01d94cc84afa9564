//! A simulated disk, on which real servers run in place of RocksDB.
//!
//! A [`Disk`] is what survives a process: one log of bytes, its end perhaps only in the page cache. [`Disk::open`] gives a
//! [`DiskStore`], which keeps the contract of [`undoubt_platform::store`] as RocksDB does; one conformance suite holds
//! both to it. What a store holds when it is opened was read from the bytes: a torn tail and a flipped bit are found
//! because the bytes do not check out, not because a flag says so.
//!
//! * A *killed process* loses nothing: the page cache outlives it. Its unfinished writes are never answered.
//! * *Opening* makes stable what it replays, as RocksDB does, whose recovery writes what the log holds to new files.
//! * Opening is also *fencing*, as with a shared volume: stores opened earlier are shut out for good. They go on
//!   reading what they have in memory, but nothing they write lands, and nothing unfinished of theirs is durable: they hear
//!   that they are fenced. Faults that need a machine to be off shut stores out as well.
//!
//! What can go wrong are methods in `fault`, each named by its code in the catalogue of faults. The disk keeps book of what
//! they cost: a promise of durability that was given and then broken is in [`Disk::destroyed`], so that a checker can
//! excuse just that.

mod event;
mod fault;
mod frame;
mod platter;
mod state;
mod store;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use undoubt_platform::{Family, SeededRandom, StoreError};

use crate::process::Process;
use event::Observer;
use state::State;

pub use event::DiskEvent;
pub use fault::DiskCopy;
pub use store::DiskStore;
pub use undoubt_platform::store::Contents;

/// A disk: what a host's platter and page cache hold. Clones are the same disk.
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

struct Shared {
    name: String,
    /// Draws the latency of syncs, and how much of a failed write lands.
    random: SeededRandom,
    state: Mutex<State>,
}

impl Disk {
    /// An empty one; `name` is for messages.
    pub fn new(name: impl Into<String>, seed: u64) -> Disk {
        Disk(Arc::new(Shared { name: name.into(), random: SeededRandom::new(seed), state: Mutex::default() }))
    }

    /// Calls `observer` at every event from now on, in place of an earlier one. It may use the disk.
    pub fn observed_by(&self, observer: Arc<dyn Fn(DiskEvent) + Send + Sync>) {
        self.with(|state| state.observer = Observer(Some(observer)));
    }

    /// Shuts out whoever has it open, and opens it for `process` with exactly these `families`; creates those absent.
    /// Cuts a torn tail, and refuses whatever else does not check out, and families unknown here. Like every write of a
    /// file system without room or rights, it fails on a disk that is full or read-only.
    pub fn open(&self, families: &[Family], process: Process) -> Result<DiskStore, StoreError> {
        if process.is_dead() {
            return Err(StoreError::Stopped { cause: format!("the process that opens {} is dead", self.0.name) });
        }
        let (opening, contents) = self.with(|state| state.open(&self.0.name, families))?;
        Ok(DiskStore::new(self.clone(), opening, contents, process))
    }

    /// Returns what a power loss right now would leave at the least. Flipped bits do not show.
    pub fn stable(&self) -> Contents {
        self.with(|state| state.platter.contents(state.platter.stable))
    }

    /// Returns what opening right now would show, the page cache included. Flipped bits do not show.
    pub fn cached(&self) -> Contents {
        self.with(|state| state.platter.contents(state.platter.reopened()))
    }

    /// Returns true if nothing was written since it was new or wiped.
    pub fn is_empty(&self) -> bool {
        self.with(|state| state.platter.frames() == 0)
    }

    /// The keys of everything that was acknowledged as durable and then destroyed: of values and of deletions.
    pub fn destroyed(&self) -> BTreeSet<(Family, Bytes)> {
        self.with(|state| state.destroyed.clone())
    }

    /// Works on the state, then tells the observer what happened, when no lock is held any more.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let (result, observer, events) = {
            // Between any two statements that could panic, the state is whole.
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            let result = work(&mut state);
            (result, state.observer.clone(), std::mem::take(&mut state.events))
        };
        events.into_iter().for_each(|event| observer.tell(event));
        result
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Disk").field(&self.0.name).finish()
    }
}

#[cfg(test)]
mod tests;
