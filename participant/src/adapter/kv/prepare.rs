//! From work to a vote.

use super::locks::over;
use super::{Branch, KeyValue, Stage, record, schema, work};
use crate::resource::{BranchId, ResourceError};
use bytes::Bytes;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;
use undoubt_participant_core::kv::{self, Evaluation, Operation};
use undoubt_participant_core::lock::{Age, Mode};
use undoubt_platform::{Batch, Durability};
use undoubt_proto::record::{PreparedBranch, Write};
use undoubt_vocabulary::{BranchOutcome, Execution, Prepare, Refusal, RefusalCode, Timestamp, Vote};

/// Why there is no other vote.
enum Declined {
    /// Votes refused; nothing is left behind.
    Refused(Refusal),
    /// There is no vote at all: the process stops with its locks held.
    Failed(ResourceError),
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Self {
        Declined::Refused(refusal)
    }
}

pub(super) async fn prepare(
    kv: &KeyValue,
    id: BranchId,
    prepare: Prepare,
    cancelled: CancellationToken,
) -> Result<Vote, ResourceError> {
    match vote(kv, id, prepare, &cancelled).await {
        Ok(vote) => Ok(vote),
        Err(Declined::Refused(refusal)) => Ok(Vote::Refused(refusal)),
        Err(Declined::Failed(error)) => Err(error),
    }
}

async fn vote(kv: &KeyValue, id: BranchId, prepare: Prepare, cancelled: &CancellationToken) -> Result<Vote, Declined> {
    let operations = work::decode(prepare.work)?;
    let wanted = kv::locks(&operations);
    if wanted.values().any(|mode| *mode == Mode::Exclusive) {
        refuse_without_room(kv)?;
    }
    if cancelled.is_cancelled() {
        return Err(over(&id.tx).into());
    }
    let age = Age { begun_at: prepare.begun_at, tx: id.tx.clone() };
    kv.locks.lock(&age, &wanted, prepare.timeout, cancelled).await?;

    let tx = id.tx.clone();
    let voted = under_locks(kv, id, prepare.begun_at, prepare.execution, &operations, wanted).await;
    if let Err(Declined::Refused(_)) = voted {
        kv.locks.release(&tx);
    }
    voted
}

async fn under_locks(
    kv: &KeyValue,
    id: BranchId,
    begun_at: Timestamp,
    execution: Execution,
    operations: &[Operation],
    locks: BTreeMap<Bytes, Mode>,
) -> Result<Vote, Declined> {
    let Evaluation { writes, results } = evaluate(kv, operations)?;
    let result = work::encode(results);
    let writes: Vec<Write> = writes.into_iter().map(|(key, value)| Write { key, value }).collect();
    let mut batch = Batch::default();
    match (execution, writes.is_empty()) {
        (Execution::OnePhase, true) => {
            kv.locks.release(&id.tx);
            Ok(Vote::ReadOnly { result })
        }
        (Execution::OnePhase, false) => {
            record::put_data(&mut batch, &writes);
            record::put_finished(&mut batch, &id, BranchOutcome::Committed, result.clone());
            force(kv, batch).await?;
            kv.locks.release(&id.tx);
            Ok(Vote::Committed { result })
        }
        (Execution::TwoPhase, true) => {
            remember(kv, Branch { id, begun_at, stage: Stage::ReadOnly });
            Ok(Vote::ReadOnly { result })
        }
        (Execution::TwoPhase, false) => {
            let shared = locks.into_iter().filter(|(_, mode)| *mode == Mode::Shared);
            let record = PreparedBranch {
                ticket: id.ticket.0,
                coordinator_id: Bytes::copy_from_slice(&id.coordinator.0),
                begun_at_us: begun_at.0,
                read_keys: shared.map(|(key, _)| key).collect(),
                writes,
                result: result.clone(),
            };
            record::put_prepared(&mut batch, &id.tx, &record);
            force(kv, batch).await?;
            remember(kv, Branch { id, begun_at, stage: Stage::Prepared { writes: record.writes.into() } });
            Ok(Vote::Prepared { result })
        }
    }
}

fn evaluate(kv: &KeyValue, operations: &[Operation]) -> Result<Evaluation, Declined> {
    let mut failed = None;
    let evaluation = kv::evaluate(operations, |key| {
        kv.store.get(schema::DATA, key).unwrap_or_else(|error| {
            failed = Some(error);
            None
        })
    });
    match failed {
        None => Ok(evaluation?),
        Some(error) => Err(Declined::Failed(error.into())),
    }
}

fn remember(kv: &KeyValue, branch: Branch) {
    kv.branches().insert(branch.id.tx.clone(), branch);
}

/// A write that was not applied is a refusal: nobody is bound yet.
async fn force(kv: &KeyValue, batch: Batch) -> Result<(), Declined> {
    kv.write(batch, Durability::Forced).await.map_err(|error| match error {
        ResourceError::Unavailable { cause } => unavailable(cause),
        ResourceError::Stopped { .. } => Declined::Failed(error),
    })
}

fn refuse_without_room(kv: &KeyValue) -> Result<(), Declined> {
    match kv.lack_of_room() {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(unavailable(why)),
        Err(error) => Err(Declined::Failed(error.into())),
    }
}

fn unavailable(detail: String) -> Declined {
    Refusal::new(RefusalCode::Unavailable, detail).into()
}
