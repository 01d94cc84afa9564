//! The contract of durable storage.
//!
//! A store is an ordered map from bytes to bytes in each of a few named [`Family`]s. Writes are batches: each is applied
//! as a whole or not at all, in the order in which [`Store::write`] was called, whether or not anybody awaits the result.
//! After a crash a store holds a *prefix* of the batches in that order, and the prefix reaches at least to the last
//! batch whose [`Durability::Forced`] write was answered with success. A store that cannot keep this promise refuses to
//! open, or stops (R8); it never leaves something out silently.
//!
//! Reads see every batch whose write was answered, and possibly batches whose answer is still under way.

mod backup;
mod batch;
mod contents;
mod error;
pub mod memory;
mod room;
mod written;

use std::path::Path;

use bytes::Bytes;
use undoubt_vocabulary::limits::MAX_STORE_QUEUE_BYTES;

pub use backup::{BackingUp, BackupError};
pub use batch::{Batch, Mark, Operation};
pub use contents::Contents;
pub use error::StoreError;
pub use room::Room;
pub use written::{Completion, Written};

/// A named part of a store with keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Family(pub &'static str);

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On stable storage when the write is answered, and with it every batch queued before.
    Forced,
    /// Applied and ordered when the write is answered; on stable storage no later than the next forced write.
    Lazy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

pub trait Store: Send + Sync + 'static {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// At most `limit` pairs with keys in `[from, to)`, in the order of `direction`; without `to`, to the end of the
    /// family. All pairs are of one moment: no batch is seen in part.
    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError>;

    /// Queues the batch before it returns. An error in the answer means that the batch may or may not be found after
    /// the store is opened again, except for the errors that say it was not applied.
    fn write(&self, batch: Batch, durability: Durability) -> Written;

    /// The largest batch that [`Store::write`] takes, by its [payload](Batch::payload_bytes): the same as long as the store
    /// is open.
    fn max_batch_bytes(&self) -> usize {
        MAX_STORE_QUEUE_BYTES
    }

    /// Returns how much more can be stored. Deleted data gives its room back while the store is open, some time later.
    fn room(&self) -> Result<Room, StoreError>;

    /// Copies the store into the folder `to`, while it goes on: a prefix of its batches, with all that were answered before this
    /// call. The answer comes once the copy is on stable storage, which may take long; an error leaves nothing behind, and
    /// does not stop the store. `to` is a whole path, and is empty or does not exist.
    fn backup(&self, to: &Path) -> BackingUp {
        BackupError::not_offered(to)
    }
}
