//! The audit record: who did what to which transaction, from where, and whether it was refused; append-only, in a family of
//! its own.
//!
//! An entry is on stable storage before the answer that it tells of is given. Entries are numbered from 1. The oldest go when
//! there would be more than a server is set to keep, and in no other way.

use crate::clock::Clock;
use crate::reason::Reason;
use crate::store::{Batch, Direction, Durability, Family, Store, StoreError, Written, write_until_taken};
use bytes::Bytes;
use prost::Message as _;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tonic::Status;
use undoubt_proto::v1::{AuditEntry, AuditRequest, AuditResponse};
use undoubt_vocabulary::TxId;

/// Entries read at a time while looking for those that are asked for.
const LOOKED_AT_ONCE: usize = 256;

/// Entries looked at for one page, so that no question takes for ever.
const MAX_LOOKED_AT_PER_PAGE: usize = 20_000;

/// The audit record of one server.
pub struct Audit {
    store: Arc<dyn Store>,
    family: Family,
    clock: Arc<dyn Clock>,
    max_entries: u64,
    /// The number of the last entry. Held while an entry is queued, so that entries are stored in the order of their numbers.
    last: Mutex<u64>,
}

/// The entries that are asked for, the latest first.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only those about this transaction.
    pub tx: Option<TxId>,
    /// Only those of this person or program.
    pub who: Option<String>,
    /// Only those from this time on, in microseconds; 0: any.
    pub from_us: u64,
    /// Only those with a number below; `None`: from the latest on.
    pub before: Option<u64>,
    pub limit: usize,
}

/// Entries, the latest first, and the number below which the rest is, if there is more.
#[derive(Clone, Debug, Default)]
pub struct AuditPage {
    pub entries: Vec<AuditEntry>,
    pub rest_below: Option<u64>,
}

impl Audit {
    /// Opens the record in a store.
    pub fn open(
        store: Arc<dyn Store>,
        family: Family,
        clock: Arc<dyn Clock>,
        max_entries: u64,
    ) -> Result<Audit, StoreError> {
        let last = store.scan(family, &[], None, Direction::Backward, 1)?;
        let last = last.first().map_or(Ok(0), |(key, _)| number_of(family, key))?;
        Ok(Audit { store, family, clock, max_entries: max_entries.max(1), last: Mutex::new(last) })
    }

    /// Adds an entry; its number and its time are set here. It is on stable storage when this returns.
    pub async fn record(&self, entry: AuditEntry) -> Result<(), StoreError> {
        let (batch, written) = self.queue(entry, Durability::Forced);
        match written.await {
            Err(StoreError::Unavailable { .. }) => {
                write_until_taken(self.store.as_ref(), batch, Durability::Forced).await
            }
            done => done,
        }
    }

    /// Adds an entry that nobody waits for: of calls that leave a record of their own.
    pub fn record_lazily(&self, entry: AuditEntry) {
        drop(self.queue(entry, Durability::Lazy));
    }

    fn queue(&self, entry: AuditEntry, durability: Durability) -> (Batch, Written) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let number = *last + 1;
        let entry = AuditEntry { number, at_us: self.clock.now().0, ..entry };
        let mut batch = Batch::default();
        batch.put(self.family, number.to_be_bytes(), entry.encode_to_vec());
        if let Some(too_old) = number.checked_sub(self.max_entries) {
            batch.delete(self.family, too_old.to_be_bytes());
        }
        *last = number;
        (batch.clone(), self.store.write(batch, durability))
    }

    /// Returns a page of the entries that fit.
    pub fn page(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        let mut page = AuditPage::default();
        let mut before = query.before;
        let mut looked_at = 0;
        loop {
            let to = before.map(u64::to_be_bytes);
            let to = to.as_ref().map(<[u8; 8]>::as_slice);
            let found = self.store.scan(self.family, &[], to, Direction::Backward, LOOKED_AT_ONCE)?;
            if found.is_empty() {
                return Ok(page);
            }
            for (key, value) in found {
                let entry = self.read(&key, value)?;
                if entry.at_us < query.from_us {
                    return Ok(page);
                }
                if page.entries.len() >= query.limit || looked_at >= MAX_LOOKED_AT_PER_PAGE {
                    page.rest_below = before;
                    return Ok(page);
                }
                looked_at += 1;
                before = Some(entry.number);
                if query.fits(&entry) {
                    page.entries.push(entry);
                }
            }
        }
    }

    fn read(&self, key: &[u8], value: Bytes) -> Result<AuditEntry, StoreError> {
        number_of(self.family, key)?;
        AuditEntry::decode(value).map_err(|why| damaged(self.family, &why.to_string()))
    }
}

impl AuditQuery {
    fn fits(&self, entry: &AuditEntry) -> bool {
        self.tx.as_ref().is_none_or(|tx| *tx.as_bytes() == *entry.tx)
            && self.who.as_ref().is_none_or(|who| *who == entry.who)
    }
}

/// Carries out a call, and has it recorded with what came of it before that is told.
pub async fn audited<T>(
    audit: &Weak<Audit>,
    entry: AuditEntry,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let done = call.await;
    // A server that is stopping tells of nothing any more.
    let Some(audit) = audit.upgrade() else { return done };
    let refused = match &done {
        Ok(_) => String::new(),
        Err(status) => Reason::of(status).map_or_else(|| format!("{:?}", status.code()), |why| why.as_str().to_owned()),
    };
    let recorded = audit.record(AuditEntry { refused, ..entry }).await;
    let not_recorded =
        |error: StoreError| Reason::Internal.refuse(format!("what was done could not be recorded: {error}"));
    recorded.map_err(not_recorded).and(done)
}

const DEFAULT_PAGE_ENTRIES: u32 = 100;
const MAX_PAGE_ENTRIES: u32 = 1_000;

/// The most that a page takes: its notes are bounded by those of requests.
pub const MAX_PAGE_BYTES: usize = MAX_PAGE_ENTRIES as usize * 1_024;

/// Answers a question about the audit record.
pub fn answer(audit: &Audit, request: AuditRequest) -> Result<AuditResponse, Status> {
    let AuditRequest { tx, who, from_us, limit, after } = request;
    let field = |field: &str, why: String| Reason::InvalidRequest.refuse_field(field, why);
    let tx = (!tx.is_empty()).then(|| TxId::new(tx)).transpose().map_err(|bad| field("tx", bad.to_string()))?;
    let before = match after.as_ref() {
        [] => None,
        bytes => Some(bytes.try_into().map(u64::from_be_bytes).map_err(|_| {
            field("after", "this is no cursor of the audit record; leave it out to begin with the latest".to_owned())
        })?),
    };
    let limit = if limit == 0 { DEFAULT_PAGE_ENTRIES } else { limit.min(MAX_PAGE_ENTRIES) } as usize;
    let query = AuditQuery { tx, who: Some(who).filter(|who| !who.is_empty()), from_us, before, limit };
    let page = audit.page(&query).map_err(|error| Reason::Internal.refuse(error.to_string()))?;
    let cursor = page.rest_below.map(|below| Bytes::copy_from_slice(&below.to_be_bytes())).unwrap_or_default();
    Ok(AuditResponse { entries: page.entries, more: page.rest_below.is_some(), cursor })
}

fn number_of(family: Family, key: &[u8]) -> Result<u64, StoreError> {
    let number = key.try_into().map(u64::from_be_bytes);
    number.map_err(|_| damaged(family, "a key is no number"))
}

fn damaged(family: Family, why: &str) -> StoreError {
    StoreError::Damaged { place: format!("the audit record (family {})", family.0), detail: why.to_owned() }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;
    use undoubt_vocabulary::Timestamp;

    const AUDIT: Family = Family("audit");

    struct Standing(u64);

    impl Clock for Standing {
        fn now(&self) -> Timestamp {
            Timestamp(self.0)
        }
    }

    fn open(memory: &Memory, at_us: u64, max_entries: u64) -> Audit {
        let store = Arc::new(memory.open(&[AUDIT]).unwrap());
        Audit::open(store, AUDIT, Arc::new(Standing(at_us)), max_entries).unwrap()
    }

    fn entry(who: &str, tx: &'static str) -> AuditEntry {
        AuditEntry { who: who.into(), tx: tx.into(), action: "forget".into(), ..AuditEntry::default() }
    }

    fn numbers(page: &AuditPage) -> Vec<u64> {
        page.entries.iter().map(|entry| entry.number).collect()
    }

    #[tokio::test]
    async fn entries_are_told_latest_first_page_by_page_also_after_a_restart() {
        let memory = Memory::default();
        let audit = open(&memory, 5, 100);
        for _ in 0..3 {
            audit.record(entry("ada", "t")).await.unwrap();
        }
        drop(audit);
        let audit = open(&memory, 9, 100);
        audit.record(entry("bob", "u")).await.unwrap();
        let query = AuditQuery { limit: 3, ..AuditQuery::default() };
        let first = audit.page(&query).unwrap();
        assert_eq!((numbers(&first), first.rest_below), (vec![4, 3, 2], Some(2)));
        let rest = audit.page(&AuditQuery { before: first.rest_below, ..query.clone() }).unwrap();
        assert_eq!((numbers(&rest), rest.rest_below), (vec![1], None));
        let of = |query: AuditQuery| numbers(&audit.page(&AuditQuery { limit: 10, ..query }).unwrap());
        assert_eq!(of(AuditQuery { tx: Some("t".parse().unwrap()), ..AuditQuery::default() }), [3, 2, 1]);
        assert_eq!(of(AuditQuery { who: Some("bob".into()), ..AuditQuery::default() }), [4]);
        assert_eq!(of(AuditQuery { from_us: 6, ..AuditQuery::default() }), [4]);
    }

    #[tokio::test]
    async fn the_oldest_goes_when_there_would_be_too_many() {
        let memory = Memory::default();
        let audit = open(&memory, 1, 2);
        for _ in 0..5 {
            audit.record(entry("ada", "t")).await.unwrap();
        }
        assert_eq!(numbers(&audit.page(&AuditQuery { limit: 9, ..AuditQuery::default() }).unwrap()), [5, 4]);
    }
}
