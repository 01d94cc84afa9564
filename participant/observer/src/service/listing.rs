//! Lists of sagas, page by page: what runs, the oldest first, and behind it what has ended, the latest first.
//!
//! A cursor is the place of the last saga that was looked at. What runs is read first and what has ended after it, so whatever ends meanwhile
//! is in both, and is told once.

use super::internal;
use super::views::row;
use crate::shared::Shared;
use crate::store::ended_key;
use bytes::Bytes;
use prost::Message as _;
use std::collections::BTreeSet;
use tonic::Status;
use undoubt_platform::Reason;
use undoubt_proto::v1;
use undoubt_proto::v1::list_request::Filter;
use undoubt_stream::observer::{Saga, Standing, Verdict};
use undoubt_vocabulary::Timestamp;

const DEFAULT_PAGE_ROWS: u32 = 100;
pub(crate) const MAX_PAGE_ROWS: u32 = 10_000;

/// Any gRPC client reads a message of so many bytes, and one row more.
const MAX_PAGE_BYTES: usize = 1 << 20;

/// Sagas that have ended and are looked at for one page, so that no question takes for ever.
const MAX_PAGE_RECORDS_READ: usize = 20_000;

/// Records that are read at a time.
const RECORDS_AT_A_TIME: usize = 64;

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

/// The last saga of a page that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The time at which it began, and its id.
    Running(u64, Bytes),
    /// Its key in the store.
    Ended(Bytes),
}

impl Place {
    const RUNNING: u8 = 1;
    const ENDED: u8 = 3;

    fn cursor(&self) -> Bytes {
        match self {
            Place::Running(begun_at_us, id) => [&[Place::RUNNING][..], &begun_at_us.to_be_bytes(), id].concat(),
            Place::Ended(key) => [&[Place::ENDED][..], key].concat(),
        }
        .into()
    }

    fn parse(cursor: &Bytes) -> Option<Place> {
        let (part, place) = (*cursor.first()?, cursor.slice(1..));
        match part {
            Place::RUNNING => {
                let (begun_at_us, id) = place.split_first_chunk::<8>()?;
                Some(Place::Running(u64::from_be_bytes(*begun_at_us), Bytes::copy_from_slice(id)))
            }
            Place::ENDED => Some(Place::Ended(place)),
            _ => None,
        }
    }
}

fn lists_running(filter: Filter) -> bool {
    match filter {
        Filter::Unspecified | Filter::Open | Filter::Stuck => true,
        // Nothing is decided here, and then told to others.
        Filter::Unacknowledged | Filter::Ended | Filter::Damaged => false,
    }
}

fn lists_ended(filter: Filter) -> bool {
    match filter {
        Filter::Unspecified | Filter::Ended | Filter::Damaged => true,
        Filter::Open | Filter::Unacknowledged | Filter::Stuck => false,
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
        let belongs = |place: &Place| match place {
            Place::Running(..) => lists_running(filter),
            Place::Ended(_) => lists_ended(filter),
        };
        let no_cursor = || {
            Reason::InvalidRequest.refuse_field(
                "after",
                "this is no cursor of a list with this filter; leave it out to begin, or ask with the filter it came with",
            )
        };
        let place = |cursor: &Bytes| Place::parse(cursor).filter(belongs).ok_or_else(no_cursor);
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

    fn may_fit(&self, saga: &Saga) -> bool {
        let begun_at = saga.begun_at();
        self.begun_before.is_none_or(|before| begun_at <= before)
            && self.begun_after.is_none_or(|after| begun_at >= after)
            && saga.correlation.0.as_bytes().starts_with(&self.id_prefix)
    }

    fn fits(&self, row: &v1::Transaction, verdict: &Verdict) -> bool {
        let state = row.outcome.as_ref().map_or(0, |outcome| outcome.state);
        let asks = matches!(verdict.standing, Standing::Parked | Standing::Quiet | Standing::Unknown);
        self.state.is_none_or(|wanted| i32::from(wanted) == state)
            && (self.filter != Filter::Stuck || asks)
            && (self.filter != Filter::Damaged || row.heuristic_damage)
            && (self.participant.is_empty() || row.branches.iter().any(|part| part.participant == self.participant))
    }
}

/// A page while it is put together.
struct Page {
    rows: Vec<v1::Transaction>,
    bytes: usize,
    last: Option<Place>,
    full: bool,
}

impl Page {
    /// Takes a saga that was looked at. Answers whether there is room for more.
    fn look(&mut self, query: &Query, row: v1::Transaction, fits: bool, place: Place) -> bool {
        if fits {
            let bytes = row.encoded_len();
            if self.rows.len() >= query.limit || (self.bytes + bytes > MAX_PAGE_BYTES && self.bytes > 0) {
                self.full = true;
                return false;
            }
            self.bytes += bytes;
            self.rows.push(row);
        }
        self.last = Some(place);
        true
    }
}

pub(super) fn page(shared: &Shared, query: &Query) -> Result<v1::ListResponse, Status> {
    let mut page = Page { rows: Vec::new(), bytes: 0, last: query.after.clone(), full: false };
    if lists_running(query.filter) && !matches!(page.last, Some(Place::Ended(_))) {
        add_running(shared, query, &mut page);
    }
    if lists_ended(query.filter) && !page.full {
        add_ended(shared, query, &mut page).map_err(internal)?;
    }
    let cursor = if page.full { page.last.as_ref().map(Place::cursor).unwrap_or_default() } else { Bytes::new() };
    Ok(v1::ListResponse { transactions: page.rows, more: page.full, cursor })
}

fn add_running(shared: &Shared, query: &Query, page: &mut Page) {
    let behind = match &page.last {
        Some(Place::Running(begun_at_us, id)) => Some((*begun_at_us, id.clone())),
        Some(Place::Ended(_)) | None => None,
    };
    let now = shared.clock.now();
    let state = shared.state();
    let key = |saga: &Saga| (saga.begun_at().0, saga.correlation.0.to_bytes());
    let running = state.observer.running().filter(|saga| query.may_fit(saga)).map(|saga| (key(saga), saga));
    let mut running: Vec<_> = running.filter(|(key, _)| behind.as_ref().is_none_or(|behind| key > behind)).collect();
    running.sort_by(|(one, _), (other, _)| one.cmp(other));
    for ((begun_at_us, id), saga) in running {
        let verdict = state.observer.judge(saga, now);
        let row = row(saga, &verdict);
        let fits = query.fits(&row, &verdict);
        if !page.look(query, row, fits, Place::Running(begun_at_us, id)) {
            return;
        }
    }
}

fn add_ended(shared: &Shared, query: &Query, page: &mut Page) -> Result<(), crate::store::RowsError> {
    let told: BTreeSet<Bytes> = page.rows.iter().map(|row| row.tx.clone()).collect();
    let mut before = match &page.last {
        Some(Place::Ended(key)) => Some(key.clone()),
        Some(Place::Running(..)) | None => None,
    };
    let ending: Vec<Saga> =
        if before.is_none() { shared.state().ending.values().cloned().collect() } else { Vec::new() };
    let mut ending: Vec<(Bytes, Saga)> = ending.into_iter().map(|saga| (ended_key(&saga).into(), saga)).collect();
    ending.sort_by(|(one, _), (other, _)| other.cmp(one));
    let mut seen = BTreeSet::new();
    let mut read = 0;
    loop {
        let mut sagas = std::mem::take(&mut ending);
        if sagas.is_empty() {
            sagas = shared.rows.latest(before.as_deref(), RECORDS_AT_A_TIME)?;
            let Some((last, _)) = sagas.last() else { return Ok(()) };
            before = Some(last.clone());
        }
        for (key, saga) in sagas {
            read += 1;
            if read > MAX_PAGE_RECORDS_READ {
                page.full = true;
                return Ok(());
            }
            let Some(end) = &saga.end else { continue };
            let row = row(&saga, &end.verdict);
            let is_new = !told.contains(&row.tx) && seen.insert(row.tx.clone());
            let fits = is_new && query.may_fit(&saga) && query.fits(&row, &end.verdict);
            if !page.look(query, row, fits, Place::Ended(key)) {
                return Ok(());
            }
        }
    }
}
