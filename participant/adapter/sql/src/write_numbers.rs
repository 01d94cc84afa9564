//! The numbers of a participant's writes, by which it is noticed that its database was put back to an earlier state.
//!
//! Each row that proves a commit carries the start of the participant in which it was written, and a number that grows within it. The
//! highest number that was answered for is told to coordinators, who show it again after a restart: a database that holds less than that
//! is an older copy. Branches commit in another order than they are numbered in, so of those that were under way together only
//! the highest is missed for certain.

use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use undoubt_participant::resource::{Loss, RecoveredLog, ResourceError};
use undoubt_participant::table::{AUDIT, META, TransactionTable};
use undoubt_platform::{Family, NumberedStore, Store};
use undoubt_vocabulary::{Start, Starts, WriteNumber};

/// The families of the store that a participant keeps beside its transactions.
pub const KEPT_FAMILIES: [Family; 2] = [AUDIT, META];

/// The number of a row that proves a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowNumber {
    /// The count of the start in which it was written.
    pub start: u32,
    pub write: u64,
}

/// The numbers of one start.
#[derive(Debug)]
pub struct WriteNumbers {
    table: TransactionTable,
    log: RecoveredLog,
    last: AtomicU64,
    stable: Mutex<RowNumber>,
}

impl WriteNumbers {
    /// Begins another start over the store that is kept in the database. `log` is the database's own id, `mark` is drawn anew, and
    /// `held` tells the highest number of a start's rows that the database holds.
    pub async fn begin(
        store: Arc<dyn Store>,
        log: [u8; 16],
        mark: u64,
        held: impl FnOnce(u32) -> u64,
    ) -> Result<WriteNumbers, ResourceError> {
        let begun = NumberedStore::begin_after(store, META, log, 0, mark, |start: Start| held(start.count)).await;
        let (store, known) = begun?;
        let start = known.starts.now.count;
        let table = TransactionTable::numbered(Arc::new(store), known);
        let log = table.recovered_log()?;
        Ok(WriteNumbers { table, log, last: AtomicU64::new(0), stable: Mutex::new(RowNumber { start, write: 0 }) })
    }

    /// Returns what a recovery has to tell of the log.
    pub fn recovered(&self) -> RecoveredLog {
        self.log.clone()
    }

    /// Returns the number of the next row.
    pub fn next(&self) -> RowNumber {
        let start = self.start();
        RowNumber { start, write: self.last.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// Notes that a row is committed: from now on it may be answered for.
    pub fn note_stable(&self, row: RowNumber) {
        let mut stable = self.stable();
        if row.start == stable.start {
            stable.write = stable.write.max(row.write);
        }
    }

    /// Returns the highest row that is known to be committed.
    pub fn highest(&self) -> RowNumber {
        *self.stable()
    }

    /// Does what [`Resource::number`](undoubt_participant::resource::Resource::number) promises.
    pub fn number(&self) -> Option<WriteNumber> {
        let number = self.table.number()?;
        let RowNumber { start, write } = self.highest();
        (number.start.count == start).then_some(WriteNumber { writes: write, ..number })
    }

    /// Does what [`Resource::remember`](undoubt_participant::resource::Resource::remember) promises.
    pub fn remember(&self, key: &[u8], value: Bytes) {
        self.table.remember(key, value);
    }

    /// Stores what is remembered, if that is not done yet.
    pub async fn store_remembered(&self) -> Result<(), ResourceError> {
        self.table.store_remembered().await
    }

    /// Does what [`Resource::store_put_back`](undoubt_participant::resource::Resource::store_put_back) promises.
    pub async fn store_put_back(&self, why: &str) -> Result<(), ResourceError> {
        self.table.store_put_back(why).await
    }

    /// Does what [`Resource::accept_loss`](undoubt_participant::resource::Resource::accept_loss) promises.
    pub async fn accept_loss(&self, loss: Loss, mark: u64) -> Result<Starts, ResourceError> {
        let starts = self.table.accept_loss(loss, mark).await?;
        *self.stable() = RowNumber { start: starts.now.count, write: 0 };
        Ok(starts)
    }

    /// Does what [`Resource::audit_store`](undoubt_participant::resource::Resource::audit_store) promises.
    pub fn audit_store(&self) -> Arc<dyn Store> {
        self.table.audit_store()
    }

    fn start(&self) -> u32 {
        self.stable().start
    }

    fn stable(&self) -> MutexGuard<'_, RowNumber> {
        self.stable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
