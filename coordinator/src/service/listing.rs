//! Lists of transactions, page by page.
//!
//! A list has up to three parts, one behind the other: what is open, from the engine; the damaged and what else has ended,
//! from the log. A cursor is the place in them where a page ends. The parts are looked at one after the other, so whatever
//! ends meanwhile is found in both: the log is read last, and counts.

use super::views::{row_of_ended, row_of_open};
use crate::engine::View;
use crate::log::{Log, LogError};
use bytes::Bytes;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use tonic::Status;
use undoubt_coordinator_core::TransactionView;
use undoubt_platform::Reason;
use undoubt_proto::v1;
use undoubt_proto::v1::list_request::Filter;
use undoubt_vocabulary::{Timestamp, TxId};

const DEFAULT_PAGE_ROWS: u32 = 100;
pub(crate) const MAX_PAGE_ROWS: u32 = 10_000;

/// Any gRPC client reads a message of so many bytes, and one row more.
pub(crate) const MAX_PAGE_BYTES: usize = 1 << 20;

/// About what a transaction takes on a page.
const ROW_BYTES: usize = 512;

/// Ended transactions looked at for one page, so that no question takes for ever.
pub(crate) const MAX_PAGE_RECORDS_READ: usize = 20_000;

/// The bytes of ended transactions' records that are read for one page: records have their results with them.
const MAX_PAGE_BYTES_READ: usize = 64 << 20;

/// Keys read at a time, and records read before others have their turn.
const KEYS_AT_A_TIME: usize = 64;

/// The bytes that a record has besides its results, about.
const RECORD_BYTES: usize = 512;

#[derive(Clone, Debug)]
pub(super) struct Query {
    filter: Filter,
    state: Option<v1::State>,
    begun_before: Option<Timestamp>,
    begun_after: Option<Timestamp>,
    /// A participant that has a part in it; empty: any.
    participant: String,
    id_prefix: Bytes,
    limit: usize,
    after: Option<Place>,
}

/// The last transaction of a page that was looked at, by what its part of the list is ordered by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// When it began, and its id.
    Open(u64, Bytes),
    Damaged(TxId),
    /// Its key in the log.
    Ended(Bytes),
}

impl Place {
    const OPEN: u8 = 1;
    const DAMAGED: u8 = 2;
    const ENDED: u8 = 3;

    fn cursor(&self) -> Bytes {
        match self {
            Place::Open(begun_at_us, tx) => [&[Place::OPEN][..], &begun_at_us.to_be_bytes(), tx].concat(),
            Place::Damaged(tx) => [&[Place::DAMAGED][..], tx.as_bytes()].concat(),
            Place::Ended(key) => [&[Place::ENDED][..], key].concat(),
        }
        .into()
    }

    fn parse(cursor: &Bytes) -> Option<Place> {
        let (part, place) = (*cursor.first()?, cursor.slice(1..));
        match part {
            Place::OPEN => {
                let (begun_at_us, tx) = place.split_first_chunk::<8>()?;
                Some(Place::Open(u64::from_be_bytes(*begun_at_us), Bytes::copy_from_slice(tx)))
            }
            Place::DAMAGED => Some(Place::Damaged(TxId::new(place).ok()?)),
            Place::ENDED => Some(Place::Ended(place)),
            _ => None,
        }
    }

    fn belongs_to(&self, filter: Filter) -> bool {
        match self {
            Place::Open(..) => lists_open(filter),
            Place::Damaged(_) => lists_damaged(filter),
            Place::Ended(_) => lists_ended(filter),
        }
    }
}

fn lists_open(filter: Filter) -> bool {
    match filter {
        Filter::Unspecified | Filter::Open | Filter::Unacknowledged | Filter::Stuck => true,
        Filter::Ended | Filter::Damaged => false,
    }
}

fn lists_damaged(filter: Filter) -> bool {
    match filter {
        Filter::Unspecified | Filter::Ended | Filter::Damaged => true,
        Filter::Open | Filter::Unacknowledged | Filter::Stuck => false,
    }
}

fn lists_ended(filter: Filter) -> bool {
    match filter {
        Filter::Unspecified | Filter::Ended => true,
        Filter::Open | Filter::Unacknowledged | Filter::Damaged | Filter::Stuck => false,
    }
}

impl Query {
    pub(super) fn parse(request: v1::ListRequest, now: Timestamp) -> Result<Query, Status> {
        let v1::ListRequest { filter, state, older_than_ms, limit, after, participant, younger_than_ms, id_prefix } =
            request;
        let unknown =
            |what: &str, value: i32| Reason::InvalidRequest.refuse_field(what, format!("{what} {value} is not known"));
        let filter = Filter::try_from(filter).map_err(|_| unknown("filter", filter))?;
        let state = v1::State::try_from(state).map_err(|_| unknown("state", state))?;
        let before = |age_ms: u64| Timestamp(now.0.saturating_sub(age_ms.saturating_mul(1_000)));
        let no_cursor = || {
            Reason::InvalidRequest.refuse_field(
                "after",
                "this is no cursor of a list with this filter; leave it out to begin, or ask with the filter it came with",
            )
        };
        let place = |cursor| Place::parse(cursor).filter(|place| place.belongs_to(filter)).ok_or_else(no_cursor);
        Ok(Query {
            filter,
            state: (state != v1::State::Unspecified).then_some(state),
            begun_before: (older_than_ms > 0).then(|| before(older_than_ms)),
            begun_after: (younger_than_ms > 0).then(|| before(younger_than_ms)),
            participant,
            id_prefix,
            limit: if limit == 0 { DEFAULT_PAGE_ROWS } else { limit.min(MAX_PAGE_ROWS) } as usize,
            after: (!after.is_empty()).then_some(&after).map(place).transpose()?,
        })
    }

    /// Returns the cursor that it came with.
    pub(super) fn cursor(&self) -> Option<Bytes> {
        self.after.as_ref().map(Place::cursor)
    }

    /// About what the answer takes at most.
    pub(super) fn most_bytes(&self) -> usize {
        (self.limit * ROW_BYTES).min(MAX_PAGE_BYTES)
    }

    fn fits(&self, row: &v1::Transaction) -> bool {
        let state = row.outcome.as_ref().map_or(0, |outcome| outcome.state);
        self.state.is_none_or(|wanted| i32::from(wanted) == state)
            && self.begun_before.is_none_or(|before| row.begun_at_us <= before.0)
            && self.begun_after.is_none_or(|after| row.begun_at_us >= after.0)
            && row.tx.starts_with(&self.id_prefix)
            && (self.participant.is_empty() || row.branches.iter().any(|part| part.participant == self.participant))
    }
}

fn is_listed(filter: Filter, open: &TransactionView) -> bool {
    match filter {
        Filter::Unacknowledged => open.unacknowledged,
        Filter::Stuck => open.stuck.is_some() || open.unusable_because.is_some(),
        Filter::Unspecified | Filter::Open | Filter::Ended | Filter::Damaged => true,
    }
}

/// A page while it is put together.
#[derive(Debug)]
pub(super) struct Page {
    query: Query,
    rows: Vec<v1::Transaction>,
    bytes: usize,
    records_read: usize,
    bytes_read: usize,
    /// The place of the transaction that was looked at last.
    last: Option<Place>,
    full: bool,
}

impl Page {
    /// Begins with what is open: looks at the engine, which waits meanwhile.
    pub(super) fn of_open(view: &View<'_>, query: Query) -> Page {
        Page::begin(query, view.core.views())
    }

    fn begin(query: Query, open: impl Iterator<Item = TransactionView>) -> Page {
        let mut page = Page {
            last: query.after.clone(),
            query,
            rows: Vec::new(),
            bytes: 0,
            records_read: 0,
            bytes_read: 0,
            full: false,
        };
        if lists_open(page.query.filter) && matches!(page.last, None | Some(Place::Open(..))) {
            page.add_open(open);
        }
        page
    }

    fn add_open(&mut self, all: impl Iterator<Item = TransactionView>) {
        let key = |open: &TransactionView| (open.begun_at.0, open.tx.to_bytes());
        let behind = match &self.last {
            Some(Place::Open(begun_at_us, tx)) => Some((*begun_at_us, tx.clone())),
            Some(Place::Damaged(_) | Place::Ended(_)) | None => None,
        };
        // The oldest that fit, and one more: so many rows are made, however much is open.
        let mut oldest = BTreeMap::new();
        for open in all.filter(|open| is_listed(self.query.filter, open)) {
            let key = key(&open);
            let is_too_young =
                oldest.len() > self.query.limit && oldest.last_key_value().is_some_and(|(last, _)| key > *last);
            if is_too_young || behind.as_ref().is_some_and(|behind| key <= *behind) {
                continue;
            }
            let row = row_of_open(open);
            if self.query.fits(&row) {
                oldest.insert(key, row);
            }
            if oldest.len() > self.query.limit + 1 {
                oldest.pop_last();
            }
        }
        for ((begun_at_us, tx), row) in oldest {
            if !self.add(row) {
                return;
            }
            self.last = Some(Place::Open(begun_at_us, tx));
        }
    }

    /// Goes on with what the log has. Read outside the engine, which must not wait for it.
    pub(super) async fn finish(mut self, log: &Log) -> Result<v1::ListResponse, LogError> {
        let mut open: BTreeSet<Bytes> = self.rows.iter().map(|row| row.tx.clone()).collect();
        if !self.full && lists_damaged(self.query.filter) && !matches!(self.last, Some(Place::Ended(_))) {
            self.add_damaged(log, &mut open).await?;
        }
        if !self.full && lists_ended(self.query.filter) {
            self.add_ended(log, &mut open).await?;
        }
        let cursor = if self.full { self.last.as_ref().map(Place::cursor).unwrap_or_default() } else { Bytes::new() };
        Ok(v1::ListResponse { transactions: self.rows, more: self.full, cursor })
    }

    async fn add_damaged(&mut self, log: &Log, open: &mut BTreeSet<Bytes>) -> Result<(), LogError> {
        let mut behind = match &self.last {
            Some(Place::Damaged(tx)) => Some(tx.clone()),
            Some(Place::Open(..) | Place::Ended(_)) | None => None,
        };
        loop {
            let ids = log.damaged(behind.as_ref(), KEYS_AT_A_TIME)?;
            let Some(last) = ids.last() else { return Ok(()) };
            behind = Some(last.clone());
            for tx in ids {
                let ended = log.ended(&tx)?;
                if !self.look_at(ended, Place::Damaged(tx), open) {
                    return Ok(());
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn add_ended(&mut self, log: &Log, open: &mut BTreeSet<Bytes>) -> Result<(), LogError> {
        let mut before = match &self.last {
            Some(Place::Ended(key)) => Some(key.clone()),
            Some(Place::Open(..) | Place::Damaged(_)) | None => None,
        };
        loop {
            let keys = log.latest(before.as_ref(), KEYS_AT_A_TIME)?;
            let Some(last) = keys.last() else { return Ok(()) };
            before = Some(last.clone());
            for key in keys {
                // `None`: it was written again later, and has another key now.
                let ended = log.ended_under(&key)?;
                if !self.look_at(ended, Place::Ended(key), open) {
                    return Ok(());
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Answers whether there is room for more.
    fn look_at(&mut self, ended: Option<crate::log::Ended>, place: Place, open: &mut BTreeSet<Bytes>) -> bool {
        if self.records_read >= MAX_PAGE_RECORDS_READ || self.bytes_read >= MAX_PAGE_BYTES_READ {
            self.full = true;
            return false;
        }
        self.records_read += 1;
        if let Some(ended) = ended {
            let results = ended.record.results.iter().map(|(_, result)| result.len()).sum::<usize>();
            self.bytes_read += RECORD_BYTES + results;
            let row = row_of_ended(ended);
            if open.remove(&row.tx) {
                self.rows.retain(|other| other.tx != row.tx);
            }
            if self.query.fits(&row) && !self.add(row) {
                return false;
            }
        }
        self.last = Some(place);
        true
    }

    /// Answers whether it had room. The first row always has: so a page that closes for its bytes gets on.
    fn add(&mut self, row: v1::Transaction) -> bool {
        let bytes = row.encoded_len();
        self.full = self.rows.len() >= self.query.limit || (self.bytes + bytes > MAX_PAGE_BYTES && self.bytes > 0);
        if !self.full {
            self.bytes += bytes;
            self.rows.push(row);
        }
        !self.full
    }
}

#[cfg(test)]
mod tests;
