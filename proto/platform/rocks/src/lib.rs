//! The store over RocksDB.
//!
//! One folder, one open store. Opening claims the folder, checks its logs byte by byte (`wal_check`), cuts a torn
//! tail, and only then lets RocksDB replay them, in the one recovery mode that accepts no flaw. All writes go through
//! one thread (`writer`), which forces whatever has queued behind the last forced write in one go.
//!
//! Deleted data gives its room back while the store is open (`reclaim`). An open store can be copied (`backup`), and a folder
//! that was put back shows it (`folder_sign`).
//!
//! **How it keeps the contract's one owner.** A folder is locked by the operating system (`flock`) as long as its store is open, and
//! the system frees the lock when the process ends: so opening is refused while an owner lives, nothing is ever taken from one,
//! and no write fails with [`Fenced`](undoubt_platform::Fenced). This holds for all processes of one machine, and on file systems
//! that keep such locks among machines. On one that does not, two could have the folder at a time, and nothing here would notice it
//! before the damage: put data folders on local disks. Copies of a folder are other stores; that one was started is noticed by the
//! signs in the folder, by numbered writes and by epochs at the participants (R5).
//!
//! Dropping the store writes what is queued, forces it and closes the folder.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

mod backup;
mod database;
mod error;
mod folder;
mod folder_sign;
mod reclaimer;
mod wal_check;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rocksdb::{DB, ReadOptions};
use undoubt_vocabulary::limits::MAX_STORE_QUEUE_BYTES;

use backup::Backups;
use folder::Folder;
use reclaimer::{Deletions, Reclaimer};
use undoubt_platform::metrics::StoreFigures;
use undoubt_platform::store::{BackingUp, Batch, Direction, Durability, Family, Room, Store, StoreError, Written};
use writer::Writer;

pub use error::OpenError;
pub use folder_sign::{FileIdentity, LocalSign};

/// Bounds on memory and on the log. The defaults suit many stores side by side on a small machine.
#[derive(Clone, Debug)]
pub struct RocksOptions {
    /// Memory that one family fills before it is flushed to a file.
    pub write_buffer_bytes: usize,
    /// Memory that all families fill together before the fullest is flushed.
    pub total_write_buffer_bytes: usize,
    /// Cache of blocks read from files, shared by all families.
    pub block_cache_bytes: usize,
    /// Size of all logs together beyond which the oldest families are flushed, so that recovery stays short. On a small
    /// device it is less (`database::total_wal_bytes`).
    pub total_wal_bytes: u64,
    /// Between two looks at what was deleted and could give its room back.
    pub reclaim_period: Duration,
    /// Writes that may wait for the writer.
    pub queue_batches: usize,
    /// Keys and values that may wait for the writer.
    pub queue_bytes: usize,
    /// Looks whether the files of a folder are those that its store wrote. Not where a file system changes inode numbers by
    /// itself.
    pub checks_folder: bool,
}

impl Default for RocksOptions {
    fn default() -> RocksOptions {
        const MIB: usize = 1024 * 1024;
        RocksOptions {
            write_buffer_bytes: 16 * MIB,
            total_write_buffer_bytes: 32 * MIB,
            block_cache_bytes: 16 * MIB,
            total_wal_bytes: 64 * 1024 * 1024,
            reclaim_period: reclaimer::PERIOD,
            queue_batches: 65_536,
            queue_bytes: MAX_STORE_QUEUE_BYTES,
            checks_folder: true,
        }
    }
}

/// A folder of RocksDB, open for as long as this lives.
#[derive(Debug)]
pub struct RocksStore {
    // Dropped in this order: the queue is written out, the database closes, the folder is free for the next.
    writer: Writer,
    /// The reclaimer, kept for its end only.
    _reclaimer: Reclaimer,
    backups: Backups,
    database: Arc<DB>,
    folder: Folder,
    local_sign: Option<LocalSign>,
    /// The options for looking up one key. Kept, not made anew each time.
    reading: Reading,
    /// A write has met the end of the device.
    ran_out_of_room: Arc<AtomicBool>,
}

struct Reading(ReadOptions);

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reading")
    }
}

impl RocksStore {
    /// Opens the folder at `path` with exactly these `families`; creates what is absent. Refuses a folder that is open
    /// already, that is damaged, that holds something else, or that has families unknown here.
    pub fn open(path: &Path, families: &[Family], options: RocksOptions) -> Result<RocksStore, OpenError> {
        let folder = Folder::claim(path)?;
        let local_sign = folder_sign::look(folder.path(), options.checks_folder)?;
        backup::clear(folder.path())?;
        wal_check::check(folder.path())?;
        let database = Arc::new(database::open(&folder, families, &options)?);
        folder.establish()?;
        if local_sign.is_none() {
            folder_sign::seal(folder.path())?;
        }
        let deletions = Arc::new(Deletions::default());
        let ran_out_of_room = Arc::new(AtomicBool::new(false));
        let mut apply = database::applier(Arc::clone(&database), folder.path());
        let (noted, full) = (Arc::clone(&deletions), Arc::clone(&ran_out_of_room));
        let writer = Writer::start(
            writer::Bounds { batches: options.queue_batches, bytes: options.queue_bytes },
            move |batches, durability| {
                let outcome = apply(batches, durability);
                match &outcome {
                    Ok(()) => noted.note(batches),
                    Err(error) => full.store(matches!(error, StoreError::DiskFull { .. }), Ordering::Relaxed),
                }
                outcome
            },
        )?;
        let reclaimer = Reclaimer::start(Arc::clone(&database), deletions, options.reclaim_period)?;
        let backups = Backups::new(Arc::clone(&database), folder.path());
        let reading = Reading(ReadOptions::default());
        Ok(RocksStore {
            writer,
            _reclaimer: reclaimer,
            backups,
            database,
            folder,
            local_sign,
            reading,
            ran_out_of_room,
        })
    }

    /// Returns true if a store was created in this folder, whether it is open or not.
    pub fn is_in(path: &Path) -> bool {
        folder::is_established(path)
    }

    /// Returns those of the families that a store in this folder has, which is refused if it has others: to open it as it is, whatever
    /// its owner keeps.
    pub fn families_in(path: &Path, families: &[Family]) -> Result<Vec<Family>, OpenError> {
        database::present(path, families)
    }

    /// Returns the sign that the folder showed when it was opened: it was put back, and may lack what its owner has promised.
    /// The next opening shows it again, unless it is settled.
    pub fn local_sign(&self) -> Option<&LocalSign> {
        self.local_sign.as_ref()
    }

    /// Takes the sign away from the folder, for its owner has stored that it was put back: on stable storage, lest a crash
    /// lose both.
    pub fn settle_folder(&self) -> Result<(), StoreError> {
        folder_sign::settle(self.folder.path())
    }

    /// Returns true if this store stopped because the device was full, whatever error later writers were told. Nothing
    /// that was answered is lost; open it again once there is room.
    pub fn ran_out_of_room(&self) -> bool {
        self.ran_out_of_room.load(Ordering::Relaxed)
    }

    fn place(&self, family: Family) -> String {
        format!("family '{}' in {}", family.0, self.folder.path().display())
    }
}

impl Store for RocksStore {
    fn max_batch_bytes(&self) -> usize {
        self.writer.max_batch_bytes()
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let handle = database::handle(&self.database, family)?;
        let value = self
            .database
            .get_pinned_cf_opt(handle, key, &self.reading.0)
            .map_err(|error| error::translate(&error, || self.place(family)))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let handle = database::handle(&self.database, family)?;
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let mut bounds = ReadOptions::default();
        bounds.set_iterate_lower_bound(from);
        if let Some(to) = to {
            bounds.set_iterate_upper_bound(to);
        }
        let mut cursor = self.database.raw_iterator_cf_opt(handle, bounds);
        match direction {
            Direction::Forward => cursor.seek_to_first(),
            Direction::Backward => cursor.seek_to_last(),
        }
        let mut pairs = Vec::new();
        while pairs.len() < limit
            && let Some((key, value)) = cursor.item()
        {
            pairs.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            match direction {
                Direction::Forward => cursor.next(),
                Direction::Backward => cursor.prev(),
            }
        }
        // A cursor that met damage looks like one at its end until it is asked.
        cursor.status().map_err(|error| error::translate(&error, || self.place(family)))?;
        Ok(pairs)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Written {
        let known = batch.iter().try_for_each(|change| database::handle(&self.database, change.family()).map(drop));
        match known {
            Ok(()) => self.writer.enqueue(batch, durability),
            Err(error) => Written::ready(Err(error)),
        }
    }

    fn room(&self) -> Result<Room, StoreError> {
        self.folder.room()
    }

    fn figures(&self) -> Option<StoreFigures> {
        Some(self.writer.figures())
    }

    fn backup(&self, to: &Path) -> BackingUp {
        self.backups.begin(to)
    }
}

#[cfg(test)]
mod tests;
