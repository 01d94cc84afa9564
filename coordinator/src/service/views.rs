//! Transactions as answers to `Get` and `List`.

use crate::engine::View;
use crate::log::{Ended, Log, LogError};
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::Status;
use undoubt_coordinator_core::TransactionView;
use undoubt_proto::convert::KnownOutcome;
use undoubt_proto::v1;
use undoubt_proto::v1::list_request::Filter;
use undoubt_vocabulary::{BranchOutcome, Timestamp, TxId};

const DEFAULT_LIST_LIMIT: u32 = 100;
const MAX_LIST_LIMIT: u32 = 10_000;

/// About what a transaction takes in a list.
const BYTES_PER_ROW: usize = 512;

/// Ended transactions read at a time while looking for those that fit.
const SCAN_PAGE_RECORDS: usize = 256;

/// Ended transactions looked at for one list, so that no question takes for ever.
const MAX_RECORDS_SCANNED: usize = 20_000;

#[derive(Clone)]
pub(super) struct Query {
    filter: Filter,
    state: Option<v1::State>,
    begun_before: Option<Timestamp>,
    limit: usize,
}

impl Query {
    pub(super) fn parse(request: v1::ListRequest, now: Timestamp) -> Result<Query, Status> {
        let v1::ListRequest { filter, state, older_than_ms, limit } = request;
        let unknown = |what: &str, value: i32| Status::invalid_argument(format!("{what} {value} is not known"));
        let filter = Filter::try_from(filter).map_err(|_| unknown("filter", filter))?;
        let state = v1::State::try_from(state).map_err(|_| unknown("state", state))?;
        let age = Duration::from_millis(older_than_ms);
        Ok(Query {
            filter,
            state: (state != v1::State::Unspecified).then_some(state),
            begun_before: (older_than_ms > 0).then(|| Timestamp(now.0.saturating_sub(age.as_micros() as u64))),
            limit: if limit == 0 { DEFAULT_LIST_LIMIT } else { limit.min(MAX_LIST_LIMIT) } as usize,
        })
    }

    /// About what the answer takes at most.
    pub(super) fn most_bytes(&self) -> usize {
        self.limit * BYTES_PER_ROW
    }

    fn fits(&self, transaction: &v1::Transaction) -> bool {
        let state = transaction.outcome.as_ref().map_or(0, |outcome| outcome.state);
        self.state.is_none_or(|wanted| i32::from(wanted) == state)
            && self.begun_before.is_none_or(|before| transaction.begun_at_us <= before.0)
    }
}

/// What the engine holds of a transaction.
pub(super) fn find_open(view: &View<'_>, tx: &TxId) -> Option<v1::Transaction> {
    let open = view.core.view(tx)?;
    Some(v1::Transaction { history: view.histories.of(tx), ..from_open(open) })
}

/// What the log holds of a transaction that has ended.
pub(super) fn find_ended(log: &Log, tx: &TxId) -> Result<Option<v1::Transaction>, LogError> {
    Ok(log.ended(tx)?.map(|ended| {
        let history = ended.history.clone();
        v1::Transaction { history, ..from_ended(ended) }
    }))
}

/// Open transactions that fit, oldest first; one more than the limit if there are more.
pub(super) fn list_open(view: &View<'_>, query: &Query) -> Vec<v1::Transaction> {
    let wanted = |open: &TransactionView| match query.filter {
        Filter::Unspecified | Filter::Open => true,
        Filter::Unacknowledged => open.unacknowledged,
        Filter::Ended | Filter::Damaged => false,
    };
    let mut found: Vec<_> = view.core.views().filter(wanted).map(from_open).filter(|open| query.fits(open)).collect();
    found.sort_by_key(|open| open.begun_at_us);
    found.truncate(query.limit + 1);
    found
}

/// The answer, with what the log adds. Read outside the engine, which must not wait for it.
pub(super) async fn list(
    log: &Log,
    query: &Query,
    mut transactions: Vec<v1::Transaction>,
) -> Result<v1::ListResponse, LogError> {
    match query.filter {
        Filter::Open | Filter::Unacknowledged => {}
        Filter::Unspecified | Filter::Ended => transactions.extend(ended(log, query).await?),
        Filter::Damaged => {
            let damaged = log.damaged(query.limit + 1)?;
            transactions.extend(damaged.into_iter().map(from_ended).filter(|transaction| query.fits(transaction)));
        }
    }
    let more = transactions.len() > query.limit;
    transactions.truncate(query.limit);
    Ok(v1::ListResponse { transactions, more })
}

async fn ended(log: &Log, query: &Query) -> Result<Vec<v1::Transaction>, LogError> {
    let mut found = Vec::new();
    let mut before = None;
    let mut scanned = 0;
    while found.len() <= query.limit && scanned < MAX_RECORDS_SCANNED {
        let page = log.latest(before.as_ref(), SCAN_PAGE_RECORDS)?;
        let Some((last, _)) = page.last() else { break };
        before = Some(last.clone());
        scanned += page.len();
        found.extend(page.into_iter().filter_map(|(_, ended)| ended).map(from_ended).filter(|ended| query.fits(ended)));
        tokio::task::yield_now().await;
    }
    // The damaged are kept apart, because they are not collected.
    found.extend(log.damaged(query.limit + 1)?.into_iter().map(from_ended).filter(|damaged| query.fits(damaged)));
    found.sort_by_key(|ended| std::cmp::Reverse(ended.ended_at_us));
    Ok(found)
}

fn from_open(open: TransactionView) -> v1::Transaction {
    let TransactionView { tx, ticket, begun_at, saga, phase, outcome, results, branches, paused, stuck, .. } = open;
    let branch = |branch: undoubt_coordinator_core::BranchView| v1::BranchView {
        participant: branch.participant.to_string(),
        step: branch.step.map(|step| step.to_string()).unwrap_or_default(),
        state: branch.state.to_owned(),
        outcome: branch.outcome.map_or(0, |outcome| v1::BranchOutcome::from(outcome).into()),
        detail: branch.detail.unwrap_or_default(),
    };
    v1::Transaction {
        tx: tx.to_bytes(),
        ticket: ticket.0,
        phase: if paused { format!("{phase} (paused)") } else { phase.to_owned() },
        outcome: Some(KnownOutcome { decided: outcome, results: results.into_iter().collect(), stuck }.into()),
        begun_at_us: begun_at.0,
        ended_at_us: 0,
        branches: branches.into_iter().map(branch).collect(),
        history: Vec::new(),
        heuristic_damage: false,
        saga,
    }
}

fn from_ended(ended: Ended) -> v1::Transaction {
    let damaged = ended.record.is_damaged();
    let Ended { record, ended_at, .. } = ended;
    let (committed, aborted) = if record.saga { ("done", "undone") } else { ("committed", "aborted") };
    let state = |outcome: BranchOutcome| match outcome {
        BranchOutcome::Committed => committed,
        BranchOutcome::Aborted => aborted,
        BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted | BranchOutcome::Unknown => {
            outcome.as_str()
        }
    };
    let branches = record.branches.iter().map(|(participant, outcome)| v1::BranchView {
        participant: participant.to_string(),
        step: if record.saga { participant.to_string() } else { String::new() },
        state: state(*outcome).to_owned(),
        outcome: v1::BranchOutcome::from(*outcome).into(),
        detail: String::new(),
    });
    v1::Transaction {
        tx: record.tx.to_bytes(),
        ticket: record.ticket.0,
        phase: "ended".to_owned(),
        branches: branches.collect(),
        begun_at_us: record.begun_at.0,
        ended_at_us: ended_at.0,
        history: Vec::new(),
        heuristic_damage: damaged,
        saga: record.saga,
        outcome: Some(
            KnownOutcome {
                decided: Some(record.outcome),
                results: record.results.into_iter().collect::<BTreeMap<_, _>>(),
                stuck: None,
            }
            .into(),
        ),
    }
}
