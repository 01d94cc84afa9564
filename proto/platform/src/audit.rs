//! The audit record of a server: who did what to which transaction, from where, and whether it was refused.
//!
//! Entries are only added. Each has a number, and those of one section stand in the order of their numbers; they go with age,
//! or where their section would have more bytes than its share, the oldest first. What operators do, what clients do with
//! transactions, and what is refused each have a share of their own, so that none can push the others out.
//!
//! | what | when it is stored |
//! | --- | --- |
//! | a call of an operator, done or refused; a cancellation | forced, before it is answered |
//! | a submission that was let in | with the first batch of the coordinator's log that is written after it, which is no later than the one with its record |
//! | a refused submission, and what the guard refuses | counted by caller, action and reason, every [`KEEPING_PERIOD`]; of one address and in all only so many at a time, and beyond that only how many there were |

mod call;
mod page;
mod pending;
mod section;
mod service;
#[cfg(test)]
mod tests;

pub use call::{Call, Origin, audited};
pub use page::{AuditPage, AuditQuery};
pub use service::{MAX_PAGE_BYTES, answer};

use crate::clock::Clock;
use crate::reason::Reason;
use crate::store::{Batch, Durability, Family, Store, StoreError, Written, write_until_taken};
use pending::{Refusals, Submissions};
use section::{Section, Shelf};
use std::convert::Infallible;
use std::fmt;
use std::future::pending as for_ever;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use undoubt_proto::v1::AuditEntry;
use undoubt_vocabulary::TxId;

/// The family of the record, at both servers.
pub const AUDIT: Family = Family("audit");

/// The period in which refused calls are stored, and what is too old is dropped.
pub const KEEPING_PERIOD: Duration = Duration::from_secs(10);

/// The time that an entry may take that has to be stored before a call is answered, and that of the last flush.
const RECORD_TIMEOUT: Duration = Duration::from_secs(30);
const LAST_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The least and the most bytes that a record may be given.
pub const MIN_AUDIT_BYTES: u64 = 1 << 20;
pub const MAX_AUDIT_BYTES: u64 = 1 << 40;

/// The bounds of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The bytes of all keys and values: of what operators do three eighths, of submissions and cancellations a half, of what
    /// is refused an eighth.
    pub max_bytes: u64,
    /// The time for which an entry is kept.
    pub retention: Duration,
}

/// The audit record of one server. The [module](self) says what it holds.
pub struct Audit {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    retention_us: u64,
    state: Mutex<State>,
}

/// Locked while a write is queued, so that entries are stored in the order of their numbers.
struct State {
    /// The number of the last entry.
    last: u64,
    shelves: [Shelf; Section::ALL.len()],
    submissions: Submissions,
    refusals: Refusals,
}

impl Audit {
    /// Opens the record in a store that was opened with [`AUDIT`].
    pub fn open(store: Arc<dyn Store>, clock: Arc<dyn Clock>, bounds: Bounds) -> Result<Audit, StoreError> {
        let mut last = 0;
        let mut open = |section| {
            let (shelf, number) = Shelf::open(store.as_ref(), section, bounds.max_bytes)?;
            last = last.max(number);
            Ok::<_, StoreError>(shelf)
        };
        let [operations, clients, refused] = Section::ALL;
        let shelves = [open(operations)?, open(clients)?, open(refused)?];
        let state = State { last, shelves, submissions: Submissions::default(), refusals: Refusals::default() };
        let retention_us = u64::try_from(bounds.retention.as_micros()).unwrap_or(u64::MAX);
        Ok(Audit { store, clock, retention_us, state: Mutex::new(state) })
    }

    /// Notes that a submission, or this action upon an open saga, was let in. It is stored with the next batch that takes it along.
    pub fn note_submission(&self, origin: &Origin, action: &'static str, tx: &TxId) {
        let now = self.clock.now().0;
        self.state().submissions.note(origin, action, tx, now);
    }

    /// Notes that a call was refused.
    pub fn note_refusal(&self, call: &Call, reason: Option<Reason>) {
        let now = self.clock.now().0;
        self.state().refusals.note(call, reason, now);
    }

    /// Returns a batch of at most `max_bytes` with submissions that were noted, to be written before anything that is written
    /// later; `None` if there are none any more.
    pub fn take_submissions(&self, max_bytes: usize) -> Option<Batch> {
        let mut state = self.state();
        if state.submissions.is_empty() {
            return None;
        }
        let mut batch = Batch::default();
        self.add_submissions(&mut state, &mut batch, max_bytes);
        Some(batch).filter(|batch| !batch.is_empty())
    }

    /// Adds an entry about a call that was carried out, or refused for this reason. It is on stable storage when this returns.
    async fn record(&self, call: Call, refused: String) -> Result<(), StoreError> {
        let section = call.section();
        let (batch, written) = {
            let mut state = self.state();
            let mut batch = Batch::default();
            let now = self.clock.now().0;
            self.add_submissions(&mut state, &mut batch, self.room());
            self.trim(&mut state, &mut batch);
            state.put(&mut batch, section, AuditEntry { refused, count: 1, at_us: now, ..call.into_entry() });
            (batch.clone(), self.store.write(batch, Durability::Forced))
        };
        let late = |_| StoreError::Unavailable { cause: format!("it took longer than {RECORD_TIMEOUT:?}") };
        timeout(RECORD_TIMEOUT, self.until_taken(batch, written)).await.map_err(late)?
    }

    /// Stores what was noted, and drops what is too old. It is on stable storage when this returns.
    pub async fn flush(&self) -> Result<(), StoreError> {
        loop {
            let (batch, written, all) = {
                let mut state = self.state();
                let mut batch = Batch::default();
                self.add_submissions(&mut state, &mut batch, self.room());
                for entry in state.refusals.take() {
                    state.put(&mut batch, Section::Refusals, entry);
                }
                let trimmed_all = self.trim(&mut state, &mut batch);
                let all = trimmed_all && state.submissions.is_empty();
                if batch.is_empty() {
                    return Ok(());
                }
                (batch.clone(), self.store.write(batch, Durability::Forced), all)
            };
            self.until_taken(batch, written).await?;
            if all {
                return Ok(());
            }
        }
    }

    /// Flushes it every [`KEEPING_PERIOD`], for as long as the store can be written.
    pub async fn keep(&self) -> Infallible {
        loop {
            tokio::time::sleep(KEEPING_PERIOD).await;
            if let Err(error) = self.flush().await {
                // Whoever else writes to the store finds that out too, and ends the server.
                tracing::error!(%error, "the audit record cannot be written");
                return for_ever().await;
            }
        }
    }

    /// Flushes it before the end of the server, for 1 s at most.
    pub async fn flush_last(&self) {
        match timeout(LAST_FLUSH_TIMEOUT, self.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what was refused last could not be recorded"),
            Err(_elapsed) => tracing::warn!("what was refused last could not be recorded in time"),
        }
    }

    /// Returns a page of the entries that fit.
    pub fn page(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        page::page(self.store.as_ref(), query)
    }

    /// Returns the bytes that one batch may have for submissions, beside all else that it takes.
    fn room(&self) -> usize {
        pending::MAX_BATCH_BYTES.min(self.store.max_batch_bytes() / 2)
    }

    fn add_submissions(&self, state: &mut State, batch: &mut Batch, max_bytes: usize) {
        self.trim_section(state, Section::Clients, batch);
        while let Some(entry) = state.submissions.take(max_bytes.saturating_sub(batch.payload_bytes())) {
            state.put(batch, Section::Clients, entry);
        }
    }

    /// Drops what is too old or too much, but only so many at once. Returns true if it has dropped all of it.
    fn trim(&self, state: &mut State, batch: &mut Batch) -> bool {
        let mut nothing_is_left = true;
        for section in Section::ALL {
            nothing_is_left &= self.trim_section(state, section, batch);
        }
        nothing_is_left
    }

    fn trim_section(&self, state: &mut State, section: Section, batch: &mut Batch) -> bool {
        let horizon_us = self.clock.now().0.saturating_sub(self.retention_us);
        state.shelf(section).trim(self.store.as_ref(), batch, horizon_us)
    }

    async fn until_taken(&self, batch: Batch, written: Written) -> Result<(), StoreError> {
        match written.await {
            Err(StoreError::Unavailable { .. }) => {
                write_until_taken(self.store.as_ref(), batch, Durability::Forced).await
            }
            done => done,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is behind it is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shelf(&mut self, section: Section) -> &mut Shelf {
        let [operations, clients, refusals] = &mut self.shelves;
        match section {
            Section::Operations => operations,
            Section::Clients => clients,
            Section::Refusals => refusals,
        }
    }

    fn put(&mut self, batch: &mut Batch, section: Section, entry: AuditEntry) {
        self.last += 1;
        let number = self.last;
        self.shelf(section).put(batch, AuditEntry { number, ..entry });
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}
