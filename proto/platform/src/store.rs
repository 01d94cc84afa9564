//! The contract of durable storage, which a local database can keep and a replicated log as well.
//!
//! A store is an ordered map from bytes to bytes in each of a few named [`Family`]s. [`crate::conformance`] tests what is said
//! here.
//!
//! * **One owner.** Opening takes a store over, as a compare-and-swap does: of several that open it at a time at most one has
//!   it. Whoever had it before can write nothing any more: its writes fail with [`Fenced`], all of them from then on, and the
//!   first success of the new owner comes after the last of the former one. Where nothing can be taken from an owner that
//!   lives, as from one that holds a lock, opening is refused until that has ended. Who was fenced need not notice it
//!   before it writes: so a forced write that succeeds, if only an empty one, says that nobody had taken over when it was made.
//! * **Writes are batches.** Each is applied as a whole or not at all, in the order in which [`Store::write`] was called, whether
//!   or not anybody awaits the result. After a crash a store holds a *prefix* of the batches that were applied, in that order, and
//!   the prefix reaches at least to the last batch whose [`Durability::Forced`] write was answered with success. A store that
//!   cannot keep this promise refuses to open, or stops (R8); it never leaves something out silently.
//! * **Not now.** [`StoreError::Unavailable`] says that nothing of the batch was applied, nor will be; batches before and after
//!   it may be. It can be written again as it is ([`write_until_taken`]). [`StoreError::BatchTooLarge`] says the same of a batch
//!   that will never be taken. After all other errors it is unknown whether the batch will be found when the store is opened again.
//! * **Reads are local.** They wait for no other machine, and go on while writes are refused. They see every batch whose write was
//!   answered, and possibly batches whose answer is still under way. Those of an owner that was fenced may be out of date.
//! * **Dropping it ends.** What is queued is written if that can be done at once; nobody waits for another machine then.

mod backup;
mod batch;
mod config;
mod contents;
mod error;
pub mod memory;
mod repetition;
pub(crate) mod room;
mod write_answer;

use std::path::Path;

use crate::metrics::StoreFigures;
use bytes::Bytes;

pub use backup::{BackingUp, BackupError};
pub use batch::{Batch, Mark, Operation};
pub use config::StoreConfig;
pub use contents::Contents;
pub use error::{Fenced, StoreError};
pub use repetition::{Pauses, write_until_taken};
pub use room::Room;
pub use write_answer::{Completion, Written};

/// A named part of a store with keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Family(pub &'static str);

/// The moment at which a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The write is done when it is on stable storage, and with it every batch queued before.
    Forced,
    /// Applied and ordered when the write is answered; on stable storage no later than the next forced write.
    Lazy,
}

/// The order in which a scan goes through keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

/// A store that is open. The module's page states the contract that holds for all calls.
pub trait Store: Send + Sync + 'static {
    /// Returns the value of a key.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Returns at most `limit` pairs with keys in `[from, to)`, in the order of `direction`; without `to`, to the end of the
    /// family. All pairs are of one moment: no batch is seen in part.
    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError>;

    /// Queues the batch before it returns.
    fn write(&self, batch: Batch, durability: Durability) -> Written;

    /// Returns the size of the largest batch that [`Store::write`] takes, by its [payload](Batch::payload_bytes): the same as
    /// long as the store is open, and no less at a later opening, since what was begun has to be finished.
    fn max_batch_bytes(&self) -> usize;

    /// Returns how much more can be stored. Deleted data gives its room back while the store is open, some time later.
    fn room(&self) -> Result<Room, StoreError>;

    /// Returns the figures that it keeps of its writes, if it does.
    fn figures(&self) -> Option<StoreFigures> {
        None
    }

    /// Copies the store into the folder `to`, while it goes on: a prefix of its batches, with all that were answered before this
    /// call. The answer comes once the copy is on stable storage, which may take long; an error leaves nothing behind, and
    /// does not stop the store. `to` is a whole path, and is empty or does not exist.
    fn backup(&self, to: &Path) -> BackingUp {
        BackupError::not_offered(to)
    }
}
