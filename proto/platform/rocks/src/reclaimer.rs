//! Giving back the room of what was deleted, while the store is open.
//!
//! RocksDB keeps what was deleted until a compaction comes by, and compactions are driven by what is written: a store that
//! is full, or idle, would keep its garbage for good. So a thread of its own looks every [`PERIOD`] at what was deleted, and
//! compacts where that frees much. Neither writers nor readers wait for it.
//!
//! The work is bounded by what it frees. A family that keys were deleted from one by one is compacted once at least a third
//! of its keys are deleted ones; a range that was deleted as a whole is compacted alone. Below [`WORTHWHILE_BYTES`] nothing
//! is done.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rocksdb::{BottommostLevelCompaction, ColumnFamily, CompactOptions, DB, Range, properties};

use super::database::handle;
use undoubt_platform::store::{Batch, Family, Operation, StoreError};

/// Between two looks at what was deleted.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// Less room than this is not worth a compaction.
const WORTHWHILE_BYTES: u64 = 1 << 20;

/// The ranges of one family that are remembered until they are compacted; the oldest are left to RocksDB's own
/// compactions.
const MAX_RANGES: usize = 256;

/// The deletions from one family that still take room.
#[derive(Debug, Default)]
struct Deleted {
    keys: u64,
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The deletions of all families, as the writer notes them.
#[derive(Debug, Default)]
pub(super) struct Deletions(Mutex<BTreeMap<Family, Deleted>>);

impl Deletions {
    /// Notes what a group of batches has deleted.
    pub(super) fn note(&self, batches: &[Batch]) {
        let mut families: Option<MutexGuard<'_, BTreeMap<Family, Deleted>>> = None;
        for operation in batches.iter().flat_map(Batch::iter) {
            match operation {
                Operation::Put { .. } => {}
                Operation::Delete { family, .. } => {
                    families.get_or_insert_with(|| lock(&self.0)).entry(family).or_default().keys += 1;
                }
                Operation::DeleteRange { family, from, to } => {
                    families.get_or_insert_with(|| lock(&self.0)).entry(family).or_default().add_range(from, to);
                }
            }
        }
    }

    fn take(&self) -> BTreeMap<Family, Deleted> {
        std::mem::take(&mut lock(&self.0))
    }

    fn put_back(&self, family: Family, deleted: Deleted) {
        let mut families = lock(&self.0);
        let known = families.entry(family).or_default();
        known.keys += deleted.keys;
        deleted.ranges.iter().for_each(|(from, to)| known.add_range(from, to));
    }
}

impl Deleted {
    /// Ranges are mostly deleted where the last one ended.
    fn add_range(&mut self, from: &[u8], to: &[u8]) {
        if let Some((_, end)) = self.ranges.iter_mut().find(|(_, end)| end == from) {
            to.clone_into(end);
            return;
        }
        if self.ranges.len() == MAX_RANGES {
            self.ranges.remove(0);
        }
        self.ranges.push((from.to_owned(), to.to_owned()));
    }
}

/// The thread that gives room back. Dropping it ends what it does.
#[derive(Debug)]
pub(super) struct Reclaimer {
    database: Arc<DB>,
    closing: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Reclaimer {
    pub(super) fn start(
        database: Arc<DB>,
        deletions: Arc<Deletions>,
        period: Duration,
    ) -> Result<Reclaimer, StoreError> {
        let closing = Arc::new((Mutex::new(false), Condvar::new()));
        let (for_thread, closes) = (Arc::clone(&database), Arc::clone(&closing));
        let thread = thread::Builder::new()
            .name("store-reclaim".into())
            .spawn(move || {
                while !waited_for_the_end(&closes, period) {
                    give_back(&for_thread, &deletions);
                }
            })
            .map_err(|error| StoreError::Io { detail: format!("starting the thread that gives room back: {error}") })?;
        Ok(Reclaimer { database, closing, thread: Some(thread) })
    }
}

impl Drop for Reclaimer {
    fn drop(&mut self) {
        *lock(&self.closing.0) = true;
        self.closing.1.notify_one();
        // A compaction under way ends without having done anything.
        self.database.cancel_all_background_work(false);
        if let Some(thread) = self.thread.take() {
            // A panic there has cost room, and nothing else.
            let _ = thread.join();
        }
    }
}

fn waited_for_the_end((closing, changed): &(Mutex<bool>, Condvar), period: Duration) -> bool {
    let waited = changed.wait_timeout_while(lock(closing), period, |closing| !*closing);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

/// Failures are not told here: the writer meets those that matter, since RocksDB stops writing then.
fn give_back(database: &DB, deletions: &Deletions) {
    for (family, mut deleted) in deletions.take() {
        let Ok(handle) = handle(database, family) else { continue };
        if is_mostly_deleted(database, handle, deleted.keys) && database.flush_cf(handle).is_ok() {
            compact(database, handle, None);
            continue;
        }
        deleted.ranges.retain(|(from, to)| {
            let frees: u64 = database.get_approximate_sizes_cf(handle, &[Range::new(from, to)]).iter().sum();
            // The entry that tells that it is deleted has to be in a table too.
            let compacted = frees >= WORTHWHILE_BYTES && database.flush_cf(handle).is_ok();
            if compacted {
                compact(database, handle, Some((from, to)));
            }
            !compacted
        });
        deletions.put_back(family, deleted);
    }
}

fn is_mostly_deleted(database: &DB, handle: &ColumnFamily, deleted_keys: u64) -> bool {
    let number = |name| database.property_int_value_cf(handle, name).ok().flatten().unwrap_or_default();
    deleted_keys > 0
        && deleted_keys.saturating_mul(2) >= number(properties::ESTIMATE_NUM_KEYS)
        && number(properties::LIVE_SST_FILES_SIZE) >= WORTHWHILE_BYTES
}

fn compact(database: &DB, handle: &ColumnFamily, range: Option<(&[u8], &[u8])>) {
    let mut options = CompactOptions::default();
    options.set_exclusive_manual_compaction(false);
    // Else a lone file would only be moved a level down, garbage and all.
    options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
    database.compact_range_cf_opt(handle, range.map(|(from, _)| from), range.map(|(_, to)| to), &options);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is whole between any two statements that could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: Family = Family("family");

    #[test]
    fn ranges_that_follow_each_other_are_remembered_as_one_and_only_so_many() {
        let deletions = Deletions::default();
        let mut batch = Batch::default();
        batch.put(FAMILY, "k", "v");
        for at in 0..9_u8 {
            batch.delete_range(FAMILY, [at], [at + 1]);
            batch.delete(FAMILY, [at]);
        }
        deletions.note(&[batch]);
        let found = deletions.take().remove(&FAMILY).unwrap();
        assert_eq!((found.keys, found.ranges.as_slice()), (9, &[(vec![0], vec![9])][..]));
        let mut deleted = Deleted::default();
        (0..600_u16).for_each(|at| deleted.add_range(&(2 * at).to_be_bytes(), &(2 * at + 1).to_be_bytes()));
        assert_eq!(deleted.ranges.len(), MAX_RANGES);
    }
}
