//! From work to a vote.

use super::attempt::{Declined, evaluate, force, refuse_without_room};
use super::locks::over;
use super::work::{self, Place, Work};
use super::{Branch, KeyValue, Stage, pending, record};
use crate::resource::{BranchId, ResourceError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use undoubt_participant_core::kv::Evaluation;
use undoubt_participant_core::lock::{Age, Mode};
use undoubt_platform::Batch;
use undoubt_proto::record::{PreparedBranch, Write};
use undoubt_vocabulary::{BranchOutcome, Execution, Prepare, Timestamp, Vote};

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
    let work = work::decode(prepare.work, Place::Branch)?;
    let wanted = work.locks();
    if wanted.values().any(|mode| *mode == Mode::Exclusive) {
        refuse_without_room(kv)?;
    }
    if cancelled.is_cancelled() {
        return Err(over(&id.tx).into());
    }
    let age = Age { begun_at: prepare.begun_at, tx: id.tx.clone() };
    kv.locks.lock(&age, &wanted, prepare.timeout, cancelled).await?;

    let tx = id.tx.clone();
    let voted = under_locks(kv, id, prepare.begun_at, prepare.execution, &work, wanted).await;
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
    work: &Work,
    locks: BTreeMap<Bytes, Mode>,
) -> Result<Vote, Declined> {
    pending::refuse_marked(kv, None, &work.respect)?;
    let Evaluation { writes, results } = evaluate(kv, &work.operations)?;
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

fn remember(kv: &KeyValue, branch: Branch) {
    kv.branches().insert(branch.id.tx.clone(), Arc::new(branch));
}
