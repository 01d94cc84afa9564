//! Pages of the record: the entries of all sections, in the order of their numbers, the latest first.

use super::AUDIT;
use super::section::{Section, decode};
use crate::store::{Direction, Store, StoreError};
use std::collections::VecDeque;
use undoubt_proto::v1::AuditEntry;
use undoubt_vocabulary::TxId;

/// Entries of one section that are read at a time.
const READ_AT_ONCE: usize = 128;

/// Entries that are looked at for one page, so that no question takes long.
const MAX_LOOKED_AT_PER_PAGE: usize = 20_000;

/// The entries that are asked for, the latest first.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only those about this transaction.
    pub tx: Option<TxId>,
    /// Only those of this identity, or of callers on whose behalf it asked.
    pub who: Option<String>,
    /// Only those from this time on and before that one, in microseconds; 0: any.
    pub since_us: u64,
    pub until_us: u64,
    /// Only calls that were refused.
    pub refused: bool,
    /// Only those with a number below; `None`: from the latest on.
    pub before: Option<u64>,
    /// At most so many entries, and so many bytes, unless one entry has more.
    pub limit: usize,
    pub max_bytes: usize,
}

/// Entries, the latest first, and the number below which the rest is, if there may be more.
#[derive(Clone, Debug, Default)]
pub struct AuditPage {
    pub entries: Vec<AuditEntry>,
    pub rest_below: Option<u64>,
}

impl AuditQuery {
    fn fits(&self, entry: &AuditEntry) -> bool {
        entry.at_us >= self.since_us
            && (self.until_us == 0 || entry.at_us < self.until_us)
            && (!self.refused || !entry.refused.is_empty())
            && self.tx.as_ref().is_none_or(|tx| entry.txs.iter().any(|about| *about == *tx.as_bytes()))
            && self.who.as_ref().is_none_or(|who| *who == entry.who || *who == entry.through)
    }
}

/// The entries of one section, from a number downwards.
struct Downwards {
    section: Section,
    /// All from here on upwards have been read.
    below: u64,
    read: VecDeque<AuditEntry>,
    is_over: bool,
}

impl Downwards {
    /// Returns the number of the next entry.
    fn next_number(&mut self, store: &dyn Store) -> Result<Option<u64>, StoreError> {
        if self.read.is_empty() && !self.is_over {
            let (from, to) = (self.section.key(0), self.section.key(self.below));
            let found = store.scan(AUDIT, &from, Some(&to), Direction::Backward, READ_AT_ONCE)?;
            self.is_over = found.len() < READ_AT_ONCE;
            for (_, value) in found {
                let entry = decode(value)?.entry.unwrap_or_default();
                self.below = entry.number;
                self.read.push_back(entry);
            }
        }
        Ok(self.read.front().map(|entry| entry.number))
    }
}

/// Returns a page of the entries that fit.
pub(super) fn page(store: &dyn Store, query: &AuditQuery) -> Result<AuditPage, StoreError> {
    let mut page = AuditPage::default();
    let mut bytes = 0;
    let below = query.before.unwrap_or(u64::MAX);
    let mut sections = Section::ALL.map(|section| Downwards { section, below, read: VecDeque::new(), is_over: false });
    for _ in 0..MAX_LOOKED_AT_PER_PAGE {
        let mut latest: Option<(u64, &mut Downwards)> = None;
        for section in &mut sections {
            let number = section.next_number(store)?;
            if let Some(number) = number
                && latest.as_ref().is_none_or(|(before, _)| number > *before)
            {
                latest = Some((number, section));
            }
        }
        let Some((number, section)) = latest else {
            page.rest_below = None;
            return Ok(page);
        };
        let Some(entry) = section.read.pop_front() else { return Ok(page) };
        if query.fits(&entry) {
            bytes += prost::Message::encoded_len(&entry);
            if page.entries.len() >= query.limit || (bytes > query.max_bytes && !page.entries.is_empty()) {
                return Ok(page);
            }
            page.entries.push(entry);
        }
        page.rest_below = Some(number);
    }
    Ok(page)
}
