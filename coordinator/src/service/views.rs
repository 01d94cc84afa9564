//! Transactions as answers to `Get`, and as rows of lists.

use crate::engine::View;
use crate::log::{Ended, Log, LogError};
use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_coordinator_core::TransactionView;
use undoubt_proto::convert::KnownOutcome;
use undoubt_proto::v1;
use undoubt_vocabulary::{BranchOutcome, Outcome, PartName, PartState, StuckStep, TransactionPhase, TxId};

/// What the engine holds of a transaction.
pub(super) fn find_open(view: &View<'_>, tx: &TxId) -> Option<v1::Transaction> {
    let mut open = view.core.view(tx)?;
    let results = std::mem::take(&mut open.results);
    Some(whole(row_of_open(open), results, view.histories.of(tx)))
}

/// What the log holds of a transaction that has ended.
pub(super) fn find_ended(
    log: &Log,
    tx: &TxId,
    heard_since: Vec<v1::HistoryEvent>,
) -> Result<Option<v1::Transaction>, LogError> {
    Ok(log.ended(tx)?.map(|mut ended| {
        let results = std::mem::take(&mut ended.record.results);
        let mut history = std::mem::take(&mut ended.history);
        history.extend(heard_since);
        whole(row_of_ended(ended), results, history)
    }))
}

/// A row with what lists leave out.
fn whole(row: v1::Transaction, results: Vec<(PartName, Bytes)>, history: Vec<v1::HistoryEvent>) -> v1::Transaction {
    let known = KnownOutcome {
        decided: None,
        results: results.into_iter().collect(),
        stuck: None,
        closed: false,
        applied: None,
    };
    let results = v1::Outcome::from(known).results;
    let outcome = row.outcome.map(|outcome| v1::Outcome { results, ..outcome });
    v1::Transaction { outcome, history, ..row }
}

/// Without history and results.
pub(super) fn row_of_open(open: TransactionView) -> v1::Transaction {
    let TransactionView {
        tx,
        attempt_number,
        begun_at,
        saga,
        phase,
        outcome,
        branches,
        paused,
        stuck,
        unusable_because,
        parent,
        children,
        ..
    } = open;
    let closed = phase == TransactionPhase::Closed;
    let branch = |branch: undoubt_coordinator_core::BranchView| v1::BranchView {
        participant: branch.participant.to_string(),
        step: branch.step.map(|step| step.to_string()).unwrap_or_default(),
        state: branch.state.number(),
        outcome: branch.outcome.map_or(0, |outcome| v1::BranchOutcome::from(outcome).into()),
        detail: branch.detail.unwrap_or_default(),
    };
    v1::Transaction {
        tx: tx.to_bytes(),
        attempt_number: attempt_number.0,
        phase: phase.number(),
        paused,
        outcome: Some(v1::Outcome { closed, ..outcome_without_results(outcome, stuck) }),
        begun_at_us: begun_at.0,
        ended_at_us: 0,
        branches: branches.into_iter().map(branch).collect(),
        history: Vec::new(),
        heuristic_damage: false,
        saga,
        unusable_because: unusable_because.unwrap_or_default(),
        parent: parent.map(|parent| parent.to_bytes()).unwrap_or_default(),
        children: children.iter().map(TxId::to_bytes).collect(),
        choreographed: None,
    }
}

/// Without history and results.
pub(super) fn row_of_ended(ended: Ended) -> v1::Transaction {
    let damaged = ended.record.is_damaged();
    let Ended { record, ended_at, .. } = ended;
    let saga = record.saga;
    let state = |outcome: BranchOutcome| match outcome {
        BranchOutcome::Committed if saga => PartState::Done,
        BranchOutcome::Committed => PartState::Committed,
        BranchOutcome::Aborted if saga => PartState::Undone,
        BranchOutcome::Aborted => PartState::Aborted,
        BranchOutcome::HeuristicallyCommitted => PartState::HeuristicallyCommitted,
        BranchOutcome::HeuristicallyAborted => PartState::HeuristicallyAborted,
        BranchOutcome::Unknown => PartState::Unknown,
    };
    let branches = record.branches.iter().map(|branch| v1::BranchView {
        participant: branch.participant.to_string(),
        step: branch.step.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: state(branch.outcome).number(),
        outcome: v1::BranchOutcome::from(branch.outcome).into(),
        detail: String::new(),
    });
    v1::Transaction {
        tx: record.tx.to_bytes(),
        attempt_number: record.attempt_number.0,
        phase: TransactionPhase::Ended.number(),
        paused: false,
        branches: branches.collect(),
        begun_at_us: record.begun_at.0,
        ended_at_us: ended_at.0,
        history: Vec::new(),
        heuristic_damage: damaged,
        saga: record.saga,
        unusable_because: String::new(),
        parent: Bytes::new(),
        children: Vec::new(),
        choreographed: None,
        outcome: Some(outcome_without_results(Some(record.outcome), None)),
    }
}

fn outcome_without_results(decided: Option<Outcome>, stuck: Option<StuckStep>) -> v1::Outcome {
    KnownOutcome { decided, results: BTreeMap::new(), stuck, closed: false, applied: None }.into()
}
