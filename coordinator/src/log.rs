//! The coordinator's log: what is stored, and where.
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `meta` | see `undoubt_platform::identity` and `numbered` | format, identity, starts, numbers |
//! | `meta` | `loss/`, number (u32, big-endian) | `Loss`: accepted by an operator |
//! | `meta` | `lost/`, transaction id | `LostParts`: what participants have lost of an open transaction |
//! | `meta` | `forgotten` | the latest attempt number of which a record was dropped (u64, big-endian) |
//! | `open` | transaction id | `OpenTransaction`: what recovery must carry on |
//! | `ended` | transaction id | `EndedTransaction`, for the retention time |
//! | `ended_at` | time of the end (µs, big-endian), transaction id | nothing: the order of collection |
//! | `callback` | transaction id | the URLs that are to hear its outcome, one in a line |
//! | `result` | attempt number (big-endian), name of a branch or a step | what it handed back, if that is large |
//! | `definition` | attempt number (big-endian) | `SagaDefinition`: the steps of an open saga, if they are large |
//! | `joined` | attempt number, step (both big-endian), 0 | `JoinedStep`: a step that joined an open saga |
//! | `joined` | attempt number, step (both big-endian), 1 | `StepProgress`: how far that step is |
//! | `audit` | see `undoubt_platform::audit` | `AuditRecord`: who did what |
//! | `damaged` | transaction id | nothing: heuristic damage, kept until an operator forgets it |

mod codec;
mod separate_parts;
pub(crate) mod stored_history;
mod traced;

pub(crate) use separate_parts::Apart;
pub(crate) use traced::Traced;

use bytes::Bytes;
use prost::Message as _;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use stored_history::StoredHistory;
use undoubt_coordinator_core::{EndedRecord, Part, Record, StillKnown, Unfinished, UnusableRecord};
use undoubt_platform::audit::AUDIT;
use undoubt_platform::{
    BackingUp, Batch, Direction, Durability, Family, Room, Store, StoreError, Written, write_until_taken,
};
use undoubt_proto::convert::Malformed;
use undoubt_proto::record;
use undoubt_proto::v1::HistoryEvent;
use undoubt_vocabulary::limits::MAX_RECORDS_BATCH_BYTES;
use undoubt_vocabulary::{AttemptNumber, InvalidId, PartName, ParticipantName, Timestamp, TxId};

pub const META: Family = Family("meta");
const OPEN: Family = Family("open");
const ENDED: Family = Family("ended");
const ENDED_AT: Family = Family("ended_at");
const DAMAGED: Family = Family("damaged");
const CALLBACK: Family = Family("callback");
const RESULT: Family = Family("result");
const DEFINITION: Family = Family("definition");
const JOINED: Family = Family("joined");

/// The families that a store for this log has to be opened with.
pub const FAMILIES: &[Family] = &[META, OPEN, ENDED, ENDED_AT, DAMAGED, CALLBACK, RESULT, DEFINITION, JOINED, AUDIT];

const LOSS: &[u8] = b"loss/";
const AFTER_LOSSES: &[u8] = b"loss0";
const FORGOTTEN: &[u8] = b"forgotten";
const LOST: &[u8] = b"lost/";
const AFTER_LOST: &[u8] = b"lost0";

/// The text that separates URLs: no URL holds it.
const BETWEEN_URLS: &str = "\n";

/// Records read at a time while scanning.
const SCAN_PAGE_RECORDS: usize = 1_000;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the record of transaction {tx} in family {family} cannot be read: {why}; restore the folder from a backup"
    )]
    Unreadable { tx: String, family: &'static str, why: String },
}

/// An ended transaction with what is stored beside it.
#[derive(Clone, Debug)]
pub struct Ended {
    pub record: EndedRecord,
    pub ended_at: Timestamp,
    pub history: Vec<HistoryEvent>,
    /// Branches or steps whose results are stored apart. Lists come without those.
    apart: Vec<PartName>,
}

/// A transaction that recovery must carry on.
#[derive(Clone, Debug)]
pub struct Found {
    pub unfinished: Unfinished,
    pub history: Vec<HistoryEvent>,
    pub(crate) traced: Option<Traced>,
}

/// One round of collection.
#[derive(Debug)]
pub(crate) struct Collected {
    /// Drops what has expired.
    pub(crate) batch: Batch,
    /// The key from which the next round looks on.
    pub(crate) from: Bytes,
    /// The latest attempt that it drops.
    pub(crate) latest: Option<AttemptNumber>,
}

/// The parts of a page of ended transactions that a participant has lost.
#[derive(Debug)]
pub(crate) struct LostParts {
    pub(crate) found: Vec<(TxId, Vec<Part>)>,
    /// The key before which the next page is, if there may be one.
    pub(crate) next: Option<Bytes>,
}

/// Returns an empty store of a log, for tests.
#[cfg(test)]
pub(crate) fn in_memory() -> Arc<undoubt_platform::store::memory::MemoryStore> {
    let memory = undoubt_platform::store::memory::Memory::default();
    Arc::new(memory.open(FAMILIES).expect("it is new"))
}

/// Returns the audit record in a store, for tests.
#[cfg(test)]
pub(crate) fn audit_in(store: Arc<dyn Store>) -> Arc<undoubt_platform::audit::Audit> {
    let clock = Arc::new(undoubt_platform::SystemClock);
    let bounds = crate::Config::default().audit_bounds();
    Arc::new(undoubt_platform::audit::Audit::open(store, clock, bounds).expect("it is readable"))
}

#[derive(Clone)]
pub struct Log {
    store: Arc<dyn Store>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

/// A way to the log that does not keep its store open: a connection that outlives the coordinator must not hold the
/// folder against its next start.
#[derive(Clone)]
pub(crate) struct WeakLog(Weak<dyn Store>);

impl WeakLog {
    /// Returns the log; `None` once the coordinator has stopped.
    pub(crate) fn log(&self) -> Option<Log> {
        self.0.upgrade().map(Log::new)
    }
}

impl Log {
    pub(crate) fn downgrade(&self) -> WeakLog {
        WeakLog(Arc::downgrade(&self.store))
    }

    pub fn new(store: Arc<dyn Store>) -> Log {
        Log { store }
    }

    pub(crate) fn max_batch_bytes(&self) -> usize {
        self.store.max_batch_bytes()
    }

    /// Returns true if a batch of changes that need not be made together has enough for one write: there is room for one
    /// more change of half a batch.
    pub(crate) fn is_enough(&self, batch: &Batch) -> bool {
        batch.payload_bytes() >= MAX_RECORDS_BATCH_BYTES.min(self.max_batch_bytes() / 2)
    }

    /// Writes what has to be written before anything else goes on, whenever the store can.
    pub(crate) async fn write_until_taken(&self, batch: Batch) -> Result<(), StoreError> {
        write_until_taken(self.store.as_ref(), batch, Durability::Forced).await
    }

    pub(crate) fn backup(&self, to: &Path) -> BackingUp {
        self.store.backup(to)
    }

    pub fn room(&self) -> Result<Room, StoreError> {
        self.store.room()
    }

    /// Adds a record to a batch, with its history as [`stored_history`] has it; behind that comes its trace ([`Traced::stored`]), if it
    /// has one.
    pub(crate) fn put(batch: &mut Batch, record: &Record, now: Timestamp, history: &[u8], apart: &mut Apart) {
        let key = record.tx().as_bytes();
        match record {
            Record::Open(open) => {
                let results = apart.of_open(batch, open);
                batch.put_with(OPEN, key, |bytes| codec::encode_open(open, &results, history, bytes));
            }
            Record::Saga(saga) => {
                let (results, definition) = apart.of_saga(batch, saga);
                batch.put_with(OPEN, key, |bytes| codec::encode_saga(saga, &results, definition, history, bytes));
            }
            Record::Opened(opened) => batch.put_with(OPEN, key, |bytes| codec::encode_opened(opened, history, bytes)),
            // What happened since the record of the saga itself is told again with its next; that the step joined, by its own.
            Record::Joined(joined) => apart.put_joined(batch, joined, now),
            Record::Ended(ended) => {
                let results = apart.of_ended(batch, ended);
                batch.delete(OPEN, key);
                put_ended(batch, ended, &results, now, history);
                if ended.is_damaged() {
                    batch.put(DAMAGED, key, []);
                } else {
                    batch.put(ENDED_AT, ended_at_key(now, key), []);
                }
            }
        }
    }

    pub fn write(&self, batch: Batch, durability: Durability) -> Written {
        self.store.write(batch, durability)
    }

    /// Returns the unfinished transactions, which recovery has to carry on.
    pub fn unfinished(&self) -> Result<Vec<Found>, LogError> {
        Ok(self.unfinished_and_separate_parts()?.0)
    }

    /// Returns the unfinished transactions, and the parts of them that are stored separately.
    pub(crate) fn unfinished_and_separate_parts(&self) -> Result<(Vec<Found>, Apart), LogError> {
        let (mut found, mut apart) = (Vec::new(), Apart::default());
        let mut from = Bytes::new();
        loop {
            let page = self.store.scan(OPEN, &from, None, Direction::Forward, SCAN_PAGE_RECORDS)?;
            for (key, value) in &page {
                let (open, stored) =
                    codec::decode_open(&*self.store, key, value).map_err(|why| unreadable(key, OPEN, why))?;
                apart.add(open.unfinished.tx(), open.unfinished.attempt_number(), stored);
                found.push(open);
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN_PAGE_RECORDS => from = after(last),
                Some(_) | None => return Ok((found, apart)),
            }
        }
    }

    pub fn ended(&self, tx: &TxId) -> Result<Option<Ended>, LogError> {
        let Some(mut ended) = self.ended_without_large_results(tx)? else { return Ok(None) };
        for name in &ended.apart {
            let missing = || codec::DecodeError::NotBeside { what: format!("the result of {name}"), family: RESULT.0 };
            let result = separate_parts::result(&*self.store, ended.record.attempt_number, name)?;
            let result = result.ok_or_else(missing).map_err(|why| unreadable(tx.as_bytes(), ENDED, why))?;
            match ended.record.results.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = result,
                None => ended.record.results.push((name.clone(), result)),
            }
        }
        Ok(Some(ended))
    }

    /// Returns the record of an end in which results that are stored apart are missing.
    pub(crate) fn ended_without_large_results(&self, tx: &TxId) -> Result<Option<Ended>, LogError> {
        let decode =
            |value| codec::decode_ended(tx.as_bytes(), &value).map_err(|why| unreadable(tx.as_bytes(), ENDED, why));
        self.store.get(ENDED, tx.as_bytes())?.map(decode).transpose()
    }

    /// Notes which results are stored already, before the record of a transaction that has ended is written again.
    pub(crate) fn recall(&self, ended: &EndedRecord, apart: &mut Apart) -> Result<(), LogError> {
        if let Some(stored) = self.ended_without_large_results(&ended.tx)?.filter(|stored| !stored.apart.is_empty()) {
            let results = stored.apart.into_iter().collect();
            apart.add(
                &ended.tx,
                stored.record.attempt_number,
                separate_parts::Stored { results, ..separate_parts::Stored::default() },
            );
        }
        Ok(())
    }

    /// Returns at most `limit` keys of what has ended, without the damaged: the latest first, before this key.
    pub fn latest(&self, before: Option<&Bytes>, limit: usize) -> Result<Vec<Bytes>, LogError> {
        let to = before.map(AsRef::as_ref);
        let page = self.store.scan(ENDED_AT, &[], to, Direction::Backward, limit)?;
        Ok(page.into_iter().map(|(key, _)| key).collect())
    }

    /// Returns the record that this key of `ended_at` stands for, unless it was written again later and has another key
    /// now.
    pub fn ended_under(&self, key: &Bytes) -> Result<Option<Ended>, LogError> {
        let tx = tx_of(key)?;
        Ok(self.ended_without_large_results(&tx)?.filter(|ended| ended_at_key(ended.ended_at, tx.as_bytes()) == *key))
    }

    /// Returns at most `limit` ids of the damaged, in their order, after this one.
    pub fn damaged(&self, behind: Option<&TxId>, limit: usize) -> Result<Vec<TxId>, LogError> {
        let from = behind.map_or_else(Bytes::new, |tx| after(&tx.to_bytes()));
        let page = self.store.scan(DAMAGED, &from, None, Direction::Forward, limit)?;
        let id = |(key, _): (Bytes, Bytes)| TxId::new(key.clone()).map_err(|why| unreadable(&key, DAMAGED, why.into()));
        page.into_iter().map(id).collect()
    }

    /// Returns true if the transaction is damaged, and no operator has seen to it yet.
    pub fn is_kept_as_damaged(&self, tx: &TxId) -> Result<bool, LogError> {
        Ok(self.store.get(DAMAGED, tx.as_bytes())?.is_some())
    }

    /// Returns the time at which the first of those that are kept for their retention ended.
    pub(crate) fn oldest_end(&self) -> Result<Option<Timestamp>, LogError> {
        let first = self.store.scan(ENDED_AT, &[], None, Direction::Forward, 1)?;
        Ok(first.first().and_then(|(key, _)| key.first_chunk()).map(|at| Timestamp(u64::from_be_bytes(*at))))
    }

    /// Looks at no more than `limit` of those that ended before `horizon`, from this key on, and drops them, until the changes
    /// have `max_bytes`. What somebody is yet to be called back about is kept.
    pub(crate) fn collect(
        &self,
        from: &[u8],
        horizon: Timestamp,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Collected, LogError> {
        let mut collected = Collected { batch: Batch::default(), from: Bytes::copy_from_slice(from), latest: None };
        let to = horizon.0.to_be_bytes();
        // The horizon may have fallen back, with the wall clock.
        for (key, _) in self.store.scan(ENDED_AT, from.min(&to), Some(&to), Direction::Forward, limit)? {
            if collected.batch.payload_bytes() >= max_bytes {
                break;
            }
            collected.from = after(&key);
            if self.store.get(CALLBACK, tx_of(&key)?.as_bytes())?.is_some() {
                continue;
            }
            let batch = &mut collected.batch;
            // A record written again later (a heuristic outcome) has a later key too, or none while it is damaged.
            if let Some(ended) = self.ended_under(&key)? {
                batch.delete(ENDED, ended.record.tx.as_bytes());
                collected.latest = collected.latest.max(Some(ended.record.attempt_number));
                ended.apart.iter().for_each(|name| {
                    batch.delete(RESULT, separate_parts::result_key(ended.record.attempt_number, name))
                });
            }
            batch.delete(ENDED_AT, key);
        }
        if let Some(latest) = collected.latest {
            Log::put_forgotten(&mut collected.batch, self.forgotten()?.map_or(latest, |before| before.max(latest)));
        }
        Ok(collected)
    }

    /// Returns the latest attempt whose record was dropped, or is lost; `None`: an older version, which did not note it, wrote this log,
    /// or none was dropped.
    pub(crate) fn forgotten(&self) -> Result<Option<AttemptNumber>, LogError> {
        let stored = self.store.get(META, FORGOTTEN)?;
        Ok(stored.and_then(|value| value.first_chunk().map(|latest| AttemptNumber(u64::from_be_bytes(*latest)))))
    }

    pub(crate) fn put_forgotten(batch: &mut Batch, latest: AttemptNumber) {
        batch.put(META, FORGOTTEN, latest.0.to_be_bytes());
    }

    /// Returns true if the log holds something of the transaction, open or ended.
    pub(crate) fn knows(&self, tx: &TxId) -> Result<bool, StoreError> {
        Ok(self.store.get(OPEN, tx.as_bytes())?.is_some() || self.store.get(ENDED, tx.as_bytes())?.is_some())
    }

    /// Returns a batch that takes an ended transaction out of the damaged, so that it is collected like others. Its
    /// history may have changed.
    pub fn forget_damage(ended: &Ended) -> Batch {
        let mut batch = Batch::default();
        let key = ended.record.tx.as_bytes();
        let history = StoredHistory::of(&ended.history);
        batch.delete(DAMAGED, key);
        put_ended(&mut batch, &ended.record, &ended.apart, ended.ended_at, history.as_bytes());
        batch.put(ENDED_AT, ended_at_key(ended.ended_at, key), []);
        batch
    }

    /// Adds to a batch that participants have lost these parts of an ended transaction.
    pub(crate) fn put_damage(batch: &mut Batch, mut ended: Ended, lost: &[Part]) {
        ended.record.lose(lost);
        let key = ended.record.tx.as_bytes();
        let history = StoredHistory::of(&ended.history);
        batch.delete(ENDED_AT, ended_at_key(ended.ended_at, key));
        batch.put(DAMAGED, key, []);
        put_ended(batch, &ended.record, &ended.apart, ended.ended_at, history.as_bytes());
    }

    /// Adds to a batch what participants have lost of an open transaction.
    pub(crate) fn put_lost(batch: &mut Batch, tx: &TxId, lost: &[Part]) {
        batch.put_with(META, lost_key(tx), |bytes| codec::encode_lost(lost, bytes));
    }

    pub(crate) fn delete_lost(batch: &mut Batch, tx: &TxId) {
        batch.delete(META, lost_key(tx));
    }

    /// Returns what participants have lost of open transactions.
    pub(crate) fn lost(&self) -> Result<BTreeMap<TxId, Vec<Part>>, LogError> {
        let stored = self.store.scan(META, LOST, Some(AFTER_LOST), Direction::Forward, usize::MAX)?;
        let read = |(key, value): (Bytes, Bytes)| {
            let unreadable = |why| unreadable(&key, META, why);
            let tx = TxId::new(key.slice(LOST.len()..)).map_err(|why| unreadable(why.into()))?;
            Ok((tx, codec::decode_lost(&value).map_err(unreadable)?))
        };
        stored.into_iter().map(read).collect()
    }

    /// Returns what a participant has lost of a page of ended transactions, the latest first, before this key of `ended_at`.
    pub(crate) fn lost_at(
        &self,
        participant: &ParticipantName,
        known: &StillKnown,
        before: Option<&Bytes>,
    ) -> Result<LostParts, LogError> {
        let page = self.latest(before, SCAN_PAGE_RECORDS)?;
        let mut found = Vec::new();
        for key in &page {
            let Some(Ended { record, .. }) = self.ended_under(key)? else { continue };
            let lost = record.lost_at(participant, known);
            if !lost.is_empty() {
                found.push((record.tx, lost));
            }
        }
        let next = (page.len() == SCAN_PAGE_RECORDS).then(|| page.last().cloned());
        Ok(LostParts { found, next: next.flatten() })
    }

    /// Adds to a batch what a participant knows of an attempt that the log lacks: that it committed.
    pub(crate) fn put_taken_back(batch: &mut Batch, record: &EndedRecord, now: Timestamp) {
        put_ended(batch, record, &[], now, &[]);
        batch.put(ENDED_AT, ended_at_key(now, record.tx.as_bytes()), []);
    }

    /// Adds to a batch an attempt that is held until an operator ends it.
    pub(crate) fn put_held(batch: &mut Batch, record: &UnusableRecord) {
        batch.put_with(OPEN, record.tx.as_bytes(), |bytes| codec::encode_held(record, bytes));
    }

    /// Adds to a batch a loss that an operator has accepted.
    pub(crate) fn put_loss(batch: &mut Batch, number: u32, loss: &record::Loss) {
        batch.put(META, [LOSS, &number.to_be_bytes()].concat(), loss.encode_to_vec());
    }

    /// Losses that operators have accepted, the oldest first.
    pub(crate) fn losses(&self) -> Result<Vec<record::Loss>, LogError> {
        let stored = self.store.scan(META, LOSS, Some(AFTER_LOSSES), Direction::Forward, usize::MAX)?;
        let read = |(key, value): (Bytes, Bytes)| {
            record::Loss::decode(value).map_err(|why| unreadable(&key, META, why.into()))
        };
        stored.into_iter().map(read).collect()
    }

    /// Returns a batch that remembers all who are to hear of a transaction's outcome, or that nobody is.
    pub(crate) fn promised(tx: &TxId, urls: &[String]) -> Batch {
        let mut batch = Batch::default();
        if urls.is_empty() {
            batch.delete(CALLBACK, tx.as_bytes());
        } else {
            batch.put(CALLBACK, tx.as_bytes(), urls.join(BETWEEN_URLS));
        }
        batch
    }

    /// Returns the transactions whose outcomes are still to be told, each with a URL; one may be there several times.
    pub(crate) fn callbacks(&self) -> Result<Vec<(TxId, String)>, LogError> {
        let mut found = Vec::new();
        let mut from = Bytes::new();
        loop {
            let page = self.store.scan(CALLBACK, &from, None, Direction::Forward, SCAN_PAGE_RECORDS)?;
            for (key, urls) in &page {
                let tx = TxId::new(key.clone()).map_err(|why| unreadable(key, CALLBACK, why.into()))?;
                let urls = String::from_utf8_lossy(urls);
                found.extend(urls.split(BETWEEN_URLS).map(|url| (tx.clone(), url.to_owned())));
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN_PAGE_RECORDS => from = after(last),
                Some(_) | None => return Ok(found),
            }
        }
    }

    /// Returns a batch that only makes what was written before it stable.
    pub fn barrier() -> Batch {
        let mut batch = Batch::default();
        batch.put(META, "barrier", []);
        batch
    }
}

fn put_ended(batch: &mut Batch, ended: &EndedRecord, apart: &[PartName], at: Timestamp, history: &[u8]) {
    batch.put_with(ENDED, ended.tx.as_bytes(), |bytes| codec::encode_ended(ended, apart, at, history, bytes));
}

fn ended_at_key(at: Timestamp, tx: &[u8]) -> Bytes {
    [&at.0.to_be_bytes()[..], tx].concat().into()
}

fn lost_key(tx: &TxId) -> Bytes {
    [LOST, tx.as_bytes()].concat().into()
}

fn tx_of(ended_at_key: &Bytes) -> Result<TxId, LogError> {
    let tx = if ended_at_key.len() > 8 { ended_at_key.slice(8..) } else { Bytes::new() };
    TxId::new(tx).map_err(|why| unreadable(ended_at_key, ENDED_AT, why.into()))
}

fn after(key: &Bytes) -> Bytes {
    [key.as_ref(), &[0]].concat().into()
}

fn unreadable(key: &[u8], family: Family, why: codec::DecodeError) -> LogError {
    if let codec::DecodeError::Store(error) = why {
        return error.into();
    }
    let tx = TxId::new(Bytes::copy_from_slice(key)).map_or_else(|_| format!("{key:02x?}"), |tx| tx.to_string());
    LogError::Unreadable { tx, family: family.0, why: why.to_string() }
}

impl From<InvalidId> for codec::DecodeError {
    fn from(why: InvalidId) -> Self {
        codec::DecodeError::Id(why)
    }
}

impl From<Malformed> for codec::DecodeError {
    fn from(why: Malformed) -> Self {
        codec::DecodeError::Content(why)
    }
}
