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

/// By reference all the way: many branches wait for their write at a time, each with what is kept for it.
pub(super) async fn prepare(
    kv: &KeyValue,
    id: &BranchId,
    prepare: &Prepare,
    cancelled: &CancellationToken,
) -> Result<Vote, ResourceError> {
    match vote(kv, id, prepare, cancelled).await {
        Ok(vote) => Ok(vote),
        Err(Declined::Refused(refusal)) => Ok(Vote::Refused(refusal)),
        Err(Declined::Failed(error)) => Err(error),
    }
}

async fn vote(
    kv: &KeyValue,
    id: &BranchId,
    prepare: &Prepare,
    cancelled: &CancellationToken,
) -> Result<Vote, Declined> {
    let work = work::decode(prepare.work.clone(), Place::Branch)?;
    let wanted = work.locks();
    if wanted.values().any(|mode| *mode == Mode::Exclusive) {
        refuse_without_room(kv)?;
    }
    if cancelled.is_cancelled() {
        return Err(over(&id.tx).into());
    }
    let age = Age { begun_at: prepare.begun_at, tx: id.tx.clone() };
    if let Some(granted) = kv.locks.ask(&age, &wanted)? {
        // Few have to wait, and only those take room for it.
        Box::pin(kv.locks.wait(&age.tx, granted, prepare.timeout, cancelled)).await?;
    }
    let ready = ready(kv, id, prepare, &work, wanted);
    drop((age, work));
    let voted = match ready {
        Ok(ready) => written(kv, id, prepare.begun_at, ready).await,
        Err(declined) => Err(declined),
    };
    if let Err(Declined::Refused(_)) = voted {
        kv.locks.release(&id.tx);
    }
    voted
}

/// What the work came to, with what has to be written before it is so.
struct Ready {
    vote: Vote,
    batch: Batch,
    /// It stays, until it hears the decision.
    stays: Option<Stage>,
}

/// Evaluates the work, under its locks.
fn ready(
    kv: &KeyValue,
    id: &BranchId,
    prepare: &Prepare,
    work: &Work,
    locks: BTreeMap<Bytes, Mode>,
) -> Result<Ready, Declined> {
    pending::refuse_marked(kv, None, &work.respect)?;
    let Evaluation { writes, results } = evaluate(kv, &work.operations)?;
    let result = work::encode(results);
    let writes: Vec<Write> = writes.into_iter().map(|(key, value)| Write { key, value }).collect();
    let mut batch = Batch::default();
    let (vote, stays) = match (prepare.execution, writes.is_empty()) {
        (Execution::OnePhase, true) => (Vote::ReadOnly { result }, None),
        (Execution::OnePhase, false) => {
            record::put_data(&mut batch, &writes);
            record::put_finished(&mut batch, id, BranchOutcome::Committed, result.clone());
            (Vote::Committed { result }, None)
        }
        (Execution::TwoPhase, true) => (Vote::ReadOnly { result }, Some(Stage::ReadOnly)),
        (Execution::TwoPhase, false) => {
            let shared = locks.into_iter().filter(|(_, mode)| *mode == Mode::Shared);
            let record = PreparedBranch {
                ticket: id.ticket.0,
                coordinator_id: Bytes::copy_from_slice(&id.coordinator.0),
                begun_at_us: prepare.begun_at.0,
                read_keys: shared.map(|(key, _)| key).collect(),
                writes,
                result: result.clone(),
            };
            record::put_prepared(&mut batch, &id.tx, &record);
            (Vote::Prepared { result }, Some(Stage::Prepared { writes: record.writes.into() }))
        }
    };
    Ok(Ready { vote, batch, stays })
}

async fn written(kv: &KeyValue, id: &BranchId, begun_at: Timestamp, ready: Ready) -> Result<Vote, Declined> {
    let Ready { vote, batch, stays } = ready;
    if !batch.is_empty() {
        force(kv, batch).await?;
    }
    match stays {
        Some(stage) => {
            kv.branches().insert(id.tx.clone(), Arc::new(Branch { id: id.clone(), begun_at, stage }));
        }
        None => kv.locks.release(&id.tx),
    }
    Ok(vote)
}
