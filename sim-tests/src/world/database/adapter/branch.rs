//! Branches: prepared in one trip, committed in one phase, or kept reading until they are asked.

use super::local::{Declined, Failed, Local, Tried, deadline_in, first_failure, put_back, result_of, worker};
use super::record;
use super::sessions::Worker;
use super::{Inner, Known};
use crate::plan::Mutant;
use crate::world::database::rows::Gid;
use crate::world::database::wire::{Answer, Expected, Request};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use undoubt_kv::work::{Place, decode};
use undoubt_kv_evaluation::{Operation, Tell};
use undoubt_participant::locks::over;
use undoubt_participant::resource::{BranchId, ResourceError};
use undoubt_platform::Batch;
use undoubt_vocabulary::{Execution, Prepare, Refusal, RefusalCode, Vote};

pub(super) async fn prepare(
    inner: &Inner,
    id: &BranchId,
    prepare: &Prepare,
    cancelled: &CancellationToken,
) -> Result<Vote, ResourceError> {
    match attempt(inner, id, prepare, cancelled).await {
        Ok(vote) => Ok(vote),
        Err(Declined::Refused(refusal)) => Ok(Vote::Refused(refusal)),
        Err(Declined::NoRoom) => Err(ResourceError::NoRoom),
        Err(Declined::Failed(error)) => Err(error),
    }
}

async fn attempt(
    inner: &Inner,
    id: &BranchId,
    prepare: &Prepare,
    cancelled: &CancellationToken,
) -> Result<Vote, Declined> {
    let work = decode(&prepare.work, Place::Branch)?;
    let only_reads = work.operations.iter().all(|operation| matches!(operation, Operation::Get { .. }));
    if cancelled.is_cancelled() {
        return Err(over(&id.tx).into());
    }
    let deadline = deadline_in(prepare.timeout);
    let mut worker = worker(inner, &id.tx, deadline, cancelled).await?;
    let most_bytes = inner.largest_result();
    let local = Local { inner, work: &work, own: None, tell: Tell::Learnt, most_bytes, deadline, cancelled };
    if prepare.execution == Execution::TwoPhase && only_reads {
        return keep_reading(&local, worker, id).await;
    }
    let tried = match (prepare.execution, only_reads) {
        (Execution::OnePhase, true) => read(&local, &mut worker).await,
        (Execution::OnePhase, false) => commit_at_once(&local, &mut worker, id).await,
        (Execution::TwoPhase, _) => prepare_in_one_trip(&local, &mut worker, id, prepare).await,
    };
    put_back(inner, worker, tried)
}

/// Sends it all at once. The end says nothing of a transaction that an error has ended, and undoes it: prepared is only what was
/// answered well all the way.
async fn prepare_in_one_trip(local: &Local<'_>, worker: &mut Worker, id: &BranchId, prepare: &Prepare) -> Tried<Vote> {
    let gid = Gid::of(id, prepare.begun_at);
    let mut requests = local.opening();
    let worked = requests.len() - 1;
    let evidence = evidence_of(local.inner, id, Bytes::new());
    requests.push(Request::Rows { batch: evidence, expected: Expected::Absent });
    requests.push(Request::Prepare(gid.clone()));
    let count = requests.len();
    // From here on there may be something that an abort has to end.
    local.inner.known().insert(id.clone(), Known::Prepared(gid));
    let answers = local.trip(worker, requests).await;
    if answers.len() == count && local.inner.mutates(Mutant::EarlierErrorsOverlooked) {
        return Ok(Vote::Prepared { result: result_of(&answers[worked]) });
    }
    let Some(failure) = first_failure(&answers) else {
        let is_prepared = answers.len() == count && matches!(answers[count - 1], Answer::Done);
        return if is_prepared {
            Ok(Vote::Prepared { result: result_of(&answers[worked]) })
        } else {
            Err(Failed::unclear())
        };
    };
    let declined = local.declined(failure);
    local.inner.known().remove(id);
    if answers.len() == count { Err(Failed::free(declined)) } else { Err(Failed::certain(declined)) }
}

/// Commits in one phase. The result is known before the evidence is written, which keeps it.
async fn commit_at_once(local: &Local<'_>, worker: &mut Worker, id: &BranchId) -> Tried<Vote> {
    let result = local.run(worker).await?;
    let evidence = evidence_of(local.inner, id, result.clone());
    local.commit(worker, Request::Rows { batch: evidence, expected: Expected::Absent }).await?;
    Ok(Vote::Committed { result })
}

fn evidence_of(inner: &Inner, id: &BranchId, result: Bytes) -> Batch {
    if inner.mutates(Mutant::EvidenceForgotten) { Batch::default() } else { record::evidence_of(id, result) }
}

/// Reads, and holds nothing any more when it returns.
async fn read(local: &Local<'_>, worker: &mut Worker) -> Tried<Vote> {
    let result = local.run(worker).await?;
    let ended = worker.session().ask(Request::Commit).await;
    if matches!(ended, Ok(Answer::Done)) { Ok(Vote::ReadOnly { result }) } else { Err(Failed::broken()) }
}

/// Reads, and keeps the transaction open until it is confirmed or aborted.
async fn keep_reading(local: &Local<'_>, mut worker: Worker, id: &BranchId) -> Result<Vote, Declined> {
    if !local.inner.sessions.to_reader(&mut worker) {
        local.inner.sessions.give_back(worker);
        return Err(Refusal::new(RefusalCode::Unavailable, "too many branches that read wait for their ends").into());
    }
    match local.run(&mut worker).await {
        Ok(result) => {
            local.inner.known().insert(id.clone(), Known::Reading(Box::new(worker)));
            Ok(Vote::ReadOnly { result })
        }
        Err(failed) => put_back(local.inner, worker, Err(failed)),
    }
}
