//! Listing transactions.

use crate::client::Client;
use crate::connection::{Failure, Repeat};
use crate::error::QueryError;
use crate::view::TransactionView;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_proto::v1;
use undoubt_vocabulary::{ParticipantName, TxId};

/// As many as are listed if the query does not say.
const DEFAULT_LIMIT: u32 = 100;

/// Which transactions, and in what order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filter {
    /// First what is open, oldest first, then what is damaged, then what else has ended, the latest first.
    #[default]
    All,
    /// Not ended, oldest first.
    Open,
    /// Decided to commit, and some branch has not acknowledged.
    Unacknowledged,
    /// Ended: the damaged first, then the others, the latest first.
    Ended,
    /// Heuristic outcomes that differ from the decision, or hazards.
    Damaged,
    /// Sagas of which a step waits for an operator, and transactions that are held; oldest first.
    Stuck,
}

/// How far a transaction has come, for lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutcomeState {
    /// Not decided.
    Pending,
    /// Decided to commit.
    Committed,
    /// Decided to abort.
    Aborted,
}

/// What is listed, and how much of it; from [`of`](ListQuery::of) a filter, each method sets one.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListQuery {
    /// Which transactions, and in what order.
    pub filter: Filter,
    /// Only those in this state; `None`: in any.
    pub state: Option<OutcomeState>,
    /// Only those begun at least this long ago.
    pub older_than: Duration,
    /// Only those begun within this time; zero: any.
    pub younger_than: Duration,
    /// Only those with a branch or a step at this participant.
    pub participant: Option<ParticipantName>,
    /// Only those whose ids begin with these bytes.
    pub id_prefix: Bytes,
    /// At most this many; 0: 100.
    pub limit: u32,
    /// Goes on where an earlier listing, with the same query, ended.
    pub after: Option<Cursor>,
}

impl ListQuery {
    /// Returns the question for what this filter lets through, with the default limit.
    pub fn of(filter: Filter) -> ListQuery {
        ListQuery { filter, ..ListQuery::default() }
    }

    /// Lists only those in this state.
    #[must_use]
    pub fn state(self, state: OutcomeState) -> ListQuery {
        ListQuery { state: Some(state), ..self }
    }

    /// Lists only those begun at least this long ago.
    #[must_use]
    pub fn older_than(self, older_than: Duration) -> ListQuery {
        ListQuery { older_than, ..self }
    }

    /// Lists only those begun within this time.
    #[must_use]
    pub fn younger_than(self, younger_than: Duration) -> ListQuery {
        ListQuery { younger_than, ..self }
    }

    /// Lists only those with a branch or a step at this participant.
    #[must_use]
    pub fn at(self, participant: ParticipantName) -> ListQuery {
        ListQuery { participant: Some(participant), ..self }
    }

    /// Lists only those whose ids begin with these bytes.
    #[must_use]
    pub fn id_prefix(self, id_prefix: impl Into<Bytes>) -> ListQuery {
        ListQuery { id_prefix: id_prefix.into(), ..self }
    }

    /// Sets how many are listed at most; 0: 100.
    #[must_use]
    pub fn limit(self, limit: u32) -> ListQuery {
        ListQuery { limit, ..self }
    }

    /// Goes on where an earlier listing, with the same query, ended.
    #[must_use]
    pub fn after(self, after: Cursor) -> ListQuery {
        ListQuery { after: Some(after), ..self }
    }
}

/// The place where a listing ended, and the next one goes on. As text it is hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub(crate) Bytes);

/// A text that is no cursor. Give one that an earlier list, or watch, told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no cursor; give the one that an earlier list ended with")]
pub struct InvalidCursor {
    given: String,
}

/// Transactions that were asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listing {
    /// Without their histories and results.
    pub transactions: Vec<TransactionView>,
    /// There are more than the limit, or than could be looked at before the deadline.
    pub more: bool,
    /// Leads to the rest, if there is more.
    pub cursor: Option<Cursor>,
}

impl Client {
    /// Returns the transactions that fit, each once, as it was seen last. Asks for page after page, until there are as many as wanted
    /// or no more, or until the deadline: what was found by then is the answer.
    pub async fn list(&self, query: &ListQuery) -> Result<Listing, QueryError> {
        let deadline = self.connection.deadline();
        let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit } as usize;
        let mut found = Found::default();
        let mut listing = Listing { transactions: Vec::new(), more: true, cursor: query.after.clone() };
        let mut pages = 0_u32;
        while listing.more && found.rows.len() < limit {
            let page = match self.page(query, limit - found.rows.len(), listing.cursor.as_ref(), deadline).await {
                Ok(page) => page,
                Err(Failure::Unanswered(_)) if pages > 0 => break,
                Err(failure) => return Err(failure.into()),
            };
            pages += 1;
            for transaction in page.transactions {
                found.add(transaction.try_into()?);
            }
            listing.more = page.more;
            listing.cursor = page.more.then_some(Cursor(page.cursor));
            if Instant::now() >= deadline {
                break;
            }
        }
        Ok(Listing { transactions: found.rows, ..listing })
    }

    async fn page(
        &self,
        query: &ListQuery,
        limit: usize,
        after: Option<&Cursor>,
        deadline: Instant,
    ) -> Result<v1::ListResponse, Failure> {
        use v1::list_request::Filter as Wire;
        let filter = match query.filter {
            Filter::All => Wire::Unspecified,
            Filter::Open => Wire::Open,
            Filter::Unacknowledged => Wire::Unacknowledged,
            Filter::Ended => Wire::Ended,
            Filter::Damaged => Wire::Damaged,
            Filter::Stuck => Wire::Stuck,
        };
        let state = match query.state {
            None => v1::State::Unspecified,
            Some(OutcomeState::Pending) => v1::State::Pending,
            Some(OutcomeState::Committed) => v1::State::Committed,
            Some(OutcomeState::Aborted) => v1::State::Aborted,
        };
        let request = v1::ListRequest {
            filter: filter.into(),
            state: state.into(),
            older_than_ms: milliseconds(query.older_than),
            younger_than_ms: milliseconds(query.younger_than),
            participant: query.participant.as_ref().map(ToString::to_string).unwrap_or_default(),
            id_prefix: query.id_prefix.clone(),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            after: after.map(|cursor| cursor.0.clone()).unwrap_or_default(),
        };
        let attempt = || {
            let (mut coordinator, request) = (self.coordinator(), request.clone());
            async move { coordinator.list(request).await }
        };
        self.connection.call(deadline, Repeat::Always, "list", attempt).await
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The transactions that were found so far. One that was open on one page may have ended by the next.
#[derive(Default)]
struct Found {
    rows: Vec<TransactionView>,
    places: BTreeMap<TxId, usize>,
}

impl Found {
    fn add(&mut self, row: TransactionView) {
        match self.places.get(&row.tx) {
            Some(place) => self.rows[*place] = row,
            None => {
                self.places.insert(row.tx.clone(), self.rows.len());
                self.rows.push(row);
            }
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let invalid = || InvalidCursor { given: text.to_owned() };
        let pair = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let whole = !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bytes: Option<Vec<u8>> = whole.then(|| text.as_bytes().chunks(2).map(pair).collect()).flatten();
        bytes.map(|bytes| Cursor(bytes.into())).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::{TestServer, quick};
    use tonic::Status;

    fn row(tx: &str, state: v1::State) -> v1::Transaction {
        let outcome = v1::Outcome { state: state.into(), ..v1::Outcome::default() };
        v1::Transaction { tx: Bytes::copy_from_slice(tx.as_bytes()), outcome: Some(outcome), ..Default::default() }
    }

    fn page(rows: &[(&str, v1::State)], next: Option<u8>) -> Result<v1::ListResponse, Status> {
        let transactions = rows.iter().map(|(tx, state)| row(tx, *state)).collect();
        let cursor = next.map(|next| Bytes::copy_from_slice(&[next])).unwrap_or_default();
        Ok(v1::ListResponse { transactions, more: next.is_some(), cursor })
    }

    #[tokio::test(start_paused = true)]
    async fn pages_are_one_list_in_which_each_transaction_is_told_once_as_it_was_seen_last() {
        use v1::State::{Committed, Pending};
        let server = TestServer::lists(|request| match request.after.as_ref() {
            [] => page(&[("a", Pending), ("b", Pending)], Some(1)),
            [1] => page(&[], Some(2)),
            [2] => page(&[("a", Committed), ("c", Committed)], None),
            other => panic!("{other:?}"),
        });
        let listing = server.client(quick()).list(&ListQuery::default()).await.unwrap();
        let seen: Vec<_> =
            listing.transactions.iter().map(|row| (row.tx.to_string(), row.known.decided.is_some())).collect();
        assert_eq!(seen, [("a".to_owned(), true), ("b".to_owned(), false), ("c".to_owned(), true)]);
        assert!(!listing.more && listing.cursor.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_cut_says_so_and_its_cursor_leads_to_the_rest() {
        use v1::State::Committed;
        let server = TestServer::lists(|request| match request.after.as_ref() {
            [] => page(&[("a", Committed), ("b", Committed)], Some(7)),
            [7] => page(&[("c", Committed)], None),
            other => panic!("{other:?}"),
        });
        let client = server.client(quick());
        let first = client.list(&ListQuery { limit: 2, ..ListQuery::default() }).await.unwrap();
        assert!(first.more && first.transactions.len() == 2);
        let cursor: Cursor = first.cursor.unwrap().to_string().parse().unwrap();
        let rest = client.list(&ListQuery { after: Some(cursor), ..ListQuery::default() }).await.unwrap();
        assert_eq!((rest.transactions.len(), rest.more), (1, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_takes_too_long_is_as_much_as_was_found() {
        let server = TestServer::lists(|request| match request.after.as_ref() {
            [] => page(&[("a", v1::State::Committed)], Some(7)),
            _ => Err(Status::unavailable("stopping")),
        });
        let listing = server.client(quick()).list(&ListQuery::default()).await.unwrap();
        assert_eq!((listing.transactions.len(), listing.more), (1, true));
        assert_eq!(listing.cursor.unwrap().to_string(), "07");
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for bad in ["", "0", "0g", "zz"] {
            assert!(bad.parse::<Cursor>().unwrap_err().to_string().contains("no cursor"));
        }
    }
}
