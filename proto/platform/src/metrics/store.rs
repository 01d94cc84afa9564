//! The figures of a store: what is written, how long that takes, what waits, what room there is.

use super::{Distribution, LATENCY_SECONDS, Metric, SIZES, Tell, Telling};
use crate::store::Store;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The metrics of a store.
pub const METRICS: &[Metric] = &[
    WRITES,
    BATCHES,
    BYTES,
    FORCED,
    BATCHES_PER_WRITE,
    QUEUED,
    MAX_QUEUED,
    QUEUED_BYTES,
    MAX_QUEUED_BYTES,
    FREE,
    FREE_FILES,
    MIN_FREE,
];

const WRITES: Metric = Metric::counter(
    "undoubt_store_writes",
    &["forced"],
    "Writes to the store's log, each of all batches that had gathered; forced ones are on stable storage when they end",
);
const BATCHES: Metric = Metric::counter("undoubt_store_batches", &[], "Batches of changes that were written");
const BYTES: Metric = Metric::counter("undoubt_store_written_bytes", &[], "Keys and values that were written");
const FORCED: Metric = Metric::histogram(
    "undoubt_store_forced_write_duration_seconds",
    &[],
    "Time of one forced write, from its beginning to stable storage",
);
const BATCHES_PER_WRITE: Metric =
    Metric::histogram("undoubt_store_batches_per_write", &[], "Batches that shared one write");
const QUEUED: Metric = Metric::gauge("undoubt_store_queue_batches", &[], "Batches that wait for the writer");
const MAX_QUEUED: Metric =
    Metric::gauge("undoubt_store_queue_max_batches", &[], "The bound of undoubt_store_queue_batches");
const QUEUED_BYTES: Metric =
    Metric::gauge("undoubt_store_queue_bytes", &[], "Keys and values that wait for the writer");
const MAX_QUEUED_BYTES: Metric =
    Metric::gauge("undoubt_store_queue_max_bytes", &[], "The bound of undoubt_store_queue_bytes");
const FREE: Metric = Metric::gauge("undoubt_store_free_bytes", &[], "Room on the device that holds the data");
const FREE_FILES: Metric =
    Metric::gauge("undoubt_store_free_files", &[], "Files that can still be made on the device that holds the data");
const MIN_FREE: Metric =
    Metric::gauge("undoubt_store_min_free_bytes", &[], "Room below which no new work is taken (min_free_bytes)");

/// The counts of a store's writer. Added to once for each write, however many batches share it.
#[derive(Debug)]
pub struct WriterFigures {
    pub batches: AtomicU64,
    pub forced_writes: AtomicU64,
    pub lazy_writes: AtomicU64,
    pub bytes: AtomicU64,
    pub forced: Distribution,
    pub batches_per_write: Distribution,
}

impl Default for WriterFigures {
    fn default() -> Self {
        WriterFigures {
            batches: AtomicU64::new(0),
            forced_writes: AtomicU64::new(0),
            lazy_writes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            forced: Distribution::new(LATENCY_SECONDS),
            batches_per_write: Distribution::new(SIZES),
        }
    }
}

impl WriterFigures {
    /// Counts one write of so many batches.
    pub fn add(&self, batches: usize, bytes: usize, forced: Option<Duration>) {
        self.batches.fetch_add(batches as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.batches_per_write.add(batches as f64);
        match forced {
            Some(took) => {
                self.forced_writes.fetch_add(1, Ordering::Relaxed);
                self.forced.add_time(took);
            }
            None => {
                self.lazy_writes.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The figures that a store keeps of itself.
#[derive(Clone, Debug)]
pub struct StoreFigures {
    pub writer: Arc<WriterFigures>,
    pub queued_batches: usize,
    pub max_queued_batches: usize,
    pub queued_bytes: usize,
    pub max_queued_bytes: usize,
}

/// Tells the figures of a store, as long as that is open. Does not keep it open.
pub struct StoreMetrics {
    store: Weak<dyn Store>,
    min_free_bytes: u64,
}

impl StoreMetrics {
    pub fn over(store: &Arc<dyn Store>, min_free_bytes: u64) -> StoreMetrics {
        StoreMetrics { store: Arc::downgrade(store), min_free_bytes }
    }
}

impl fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreMetrics")
    }
}

impl Tell for StoreMetrics {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        let Some(store) = self.store.upgrade() else { return Ok(()) };
        if let Some(figures) = store.figures() {
            let writer = &figures.writer;
            let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
            telling
                .each(&WRITES, [(["true"], count(&writer.forced_writes)), (["false"], count(&writer.lazy_writes))])?;
            telling.one(&BATCHES, count(&writer.batches))?;
            telling.one(&BYTES, count(&writer.bytes))?;
            telling.one(&FORCED, &writer.forced)?;
            telling.one(&BATCHES_PER_WRITE, &writer.batches_per_write)?;
            telling.one(&QUEUED, figures.queued_batches)?;
            telling.one(&MAX_QUEUED, figures.max_queued_batches)?;
            telling.one(&QUEUED_BYTES, figures.queued_bytes)?;
            telling.one(&MAX_QUEUED_BYTES, figures.max_queued_bytes)?;
        }
        telling.one(&MIN_FREE, self.min_free_bytes)?;
        // A device that cannot be asked is told by what it refuses.
        let room = store.room().unwrap_or_default();
        if let Some(bytes) = room.bytes {
            telling.one(&FREE, bytes)?;
        }
        if let Some(files) = room.files {
            telling.one(&FREE_FILES, files)?;
        }
        Ok(())
    }
}
