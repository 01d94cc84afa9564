//! The sections of the record: each keeps its entries within a share of the bytes, and drops the oldest.

use super::AUDIT;
use crate::store::{Batch, Direction, Store, StoreError};
use bytes::Bytes;
use prost::Message as _;
use std::collections::VecDeque;
use undoubt_proto::record::AuditRecord;
use undoubt_proto::v1::AuditEntry;

/// Entries that one batch drops of one section.
const MAX_DROPPED_PER_BATCH: usize = 64;

/// A part of the record with a share of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// The calls of operators.
    Operations,
    /// The calls of clients about transactions.
    Clients,
    /// The calls that were refused.
    Refusals,
}

impl Section {
    pub(super) const ALL: [Section; 3] = [Section::Operations, Section::Clients, Section::Refusals];

    fn byte(self) -> u8 {
        match self {
            Section::Operations => 0,
            Section::Clients => 1,
            Section::Refusals => 2,
        }
    }

    fn share(self, max_bytes: u64) -> u64 {
        let eighth = max_bytes / 8;
        match self {
            Section::Operations => 3 * eighth,
            Section::Clients => 4 * eighth,
            Section::Refusals => eighth,
        }
    }

    /// Returns the key of an entry. The number behind the last begins the next section.
    pub(super) fn key(self, number: u64) -> [u8; 9] {
        let mut key = [self.byte(); 9];
        key[1..].copy_from_slice(&number.to_be_bytes());
        key
    }

    /// Returns the key at which the section ends.
    pub(super) fn end(self) -> [u8; 1] {
        [self.byte() + 1]
    }
}

/// The entries of one section, as far as it has to know them.
pub(super) struct Shelf {
    section: Section,
    max_bytes: u64,
    /// The bytes of all that was ever stored here, and of what has been dropped.
    stored: u64,
    dropped: u64,
    /// Nothing is kept below this number.
    from: u64,
    /// The oldest that are kept, as far as they were looked up.
    oldest: VecDeque<Oldest>,
}

struct Oldest {
    number: u64,
    at_us: u64,
    /// The bytes stored before it, and its own.
    until: u64,
}

impl Shelf {
    /// Opens a section, and returns the number of its last entry with it; 0 if there is none.
    pub(super) fn open(store: &dyn Store, section: Section, max_bytes: u64) -> Result<(Shelf, u64), StoreError> {
        let (from, to) = (section.key(0), section.end());
        let mut shelf = Shelf {
            section,
            max_bytes: section.share(max_bytes),
            stored: 0,
            dropped: 0,
            from: 0,
            oldest: VecDeque::new(),
        };
        let mut number = 0;
        if let Some((key, value)) = store.scan(AUDIT, &from, Some(&to), Direction::Backward, 1)?.first() {
            let record = decode(value.clone())?;
            number = number_of(key)?;
            shelf.stored = record.bytes_before.saturating_add(bytes_of(key, value));
        }
        if let Some((key, value)) = store.scan(AUDIT, &from, Some(&to), Direction::Forward, 1)?.first() {
            shelf.from = number_of(key)?;
            shelf.dropped = decode(value.clone())?.bytes_before;
        }
        Ok((shelf, number))
    }

    pub(super) fn put(&mut self, batch: &mut Batch, entry: AuditEntry) {
        let key = self.section.key(entry.number);
        let record = AuditRecord { entry: Some(entry), bytes_before: self.stored };
        let value = record.encode_to_vec();
        self.stored += bytes_of(&key, &value);
        batch.put(AUDIT, key, value);
    }

    /// Drops what is older than the horizon, and what is more than there may be; no more than so many at once. Returns true if
    /// nothing of it is left. What cannot be read now is looked up again with the next batch.
    pub(super) fn trim(&mut self, store: &dyn Store, batch: &mut Batch, horizon_us: u64) -> bool {
        for _ in 0..MAX_DROPPED_PER_BATCH {
            if self.oldest.is_empty()
                && self.stored > self.dropped
                && let Err(error) = self.look_up(store)
            {
                tracing::warn!(%error, "what the audit record has dropped by now cannot be read");
            }
            let Some(oldest) = self.oldest.front() else { return true };
            if oldest.at_us >= horizon_us && self.stored.saturating_sub(self.dropped) <= self.max_bytes {
                return true;
            }
            batch.delete(AUDIT, self.section.key(oldest.number));
            (self.from, self.dropped) = (oldest.number.saturating_add(1), oldest.until);
            self.oldest.pop_front();
        }
        false
    }

    fn look_up(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let (from, to) = (self.section.key(self.from), self.section.end());
        for (key, value) in store.scan(AUDIT, &from, Some(&to), Direction::Forward, MAX_DROPPED_PER_BATCH)? {
            let record = decode(value.clone())?;
            let until = record.bytes_before.saturating_add(bytes_of(&key, &value));
            let at_us = record.entry.map_or(0, |entry| entry.at_us);
            self.oldest.push_back(Oldest { number: number_of(&key)?, at_us, until });
        }
        Ok(())
    }
}

/// No entry's number, and no count of bytes, comes this far: what is stored beyond it is damage, and nothing runs over.
const HIGHEST: u64 = u64::MAX / 2;

pub(super) fn decode(value: Bytes) -> Result<AuditRecord, StoreError> {
    let record = AuditRecord::decode(value).map_err(|why| damaged(&why.to_string()))?;
    if record.bytes_before > HIGHEST {
        Err(damaged("an entry says that more was written than can be"))
    } else {
        Ok(record)
    }
}

fn bytes_of(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

fn number_of(key: &[u8]) -> Result<u64, StoreError> {
    let number = key.get(1..).and_then(|number| number.try_into().ok()).map(u64::from_be_bytes);
    number.filter(|number| *number <= HIGHEST).ok_or_else(|| damaged("a key is no number that was given"))
}

fn damaged(why: &str) -> StoreError {
    StoreError::Damaged { place: format!("the audit record (family {})", AUDIT.0), detail: why.to_owned() }
}
