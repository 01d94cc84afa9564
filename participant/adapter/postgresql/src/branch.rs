//! Branches: prepared in one trip, committed in one phase, or kept reading until they are asked.

use crate::attempt::{Declined, NO_ANSWER, in_time};
use crate::class::told;
use crate::local::{Failed, Local, Tried, deadline_in, is_certain, kept, put_back, worker};
use crate::sessions::Worker;
use crate::shared::{Known, Shared};
use crate::trip::{Answer, Part};
use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{BranchId, ResourceError};
use undoubt_sql::{Place, PreparedName, Task};
use undoubt_vocabulary::{Execution, Prepare, Refusal, RefusalCode, Vote};
use undoubt_work::enlisted;

pub(crate) async fn prepare(
    shared: &Shared,
    id: &BranchId,
    prepare: &Prepare,
    cancelled: &CancellationToken,
) -> Result<Vote, ResourceError> {
    match attempt(shared, id, prepare, cancelled).await {
        Ok(vote) => Ok(vote),
        Err(Declined::Refused(refusal)) => Ok(Vote::Refused(refusal)),
        Err(Declined::NoRoom) => Err(ResourceError::NoRoom),
        Err(Declined::Failed(error)) => Err(error),
    }
}

async fn attempt(
    shared: &Shared,
    id: &BranchId,
    prepare: &Prepare,
    cancelled: &CancellationToken,
) -> Result<Vote, Declined> {
    if enlisted::read(&prepare.work).map_err(Refusal::from)? {
        return crate::enlisted::adopt(shared, id, prepare).await;
    }
    let task = Task::read(&prepare.work, Place::Branch, &shared.procedures, &shared.outbox.topics)?;
    kept(id.attempt_number)?;
    let deadline = deadline_in(prepare.timeout);
    let in_doubt = prepare.execution == Execution::TwoPhase && !task.only_reads();
    if in_doubt {
        shared.place(id, deadline, cancelled).await?;
    }
    let voted = async {
        shared.lock(id, prepare.begun_at, task.locks(), prepare.timeout, cancelled).await?;
        let worker = worker(shared, &id.tx, deadline, cancelled).await?;
        if prepare.execution == Execution::TwoPhase && task.only_reads() {
            return keep_reading(shared, &task, worker, id, deadline, cancelled).await;
        }
        let most_bytes = shared.room().largest();
        let local = Local {
            shared,
            task: &task,
            session: worker.session(),
            step: None,
            keeps_records: false,
            deadline,
            cancelled,
            most_bytes,
        };
        let tried = match (prepare.execution, task.only_reads()) {
            (Execution::OnePhase, true) => read(&local).await,
            (Execution::OnePhase, false) => commit_at_once(&local, id).await,
            (Execution::TwoPhase, _) => prepare_in_one_trip(&local, id, prepare).await,
        };
        put_back(shared, worker, tried)
    };
    let voted = voted.await;
    let holds = match &voted {
        Ok(Vote::Prepared { .. }) => true,
        Ok(Vote::ReadOnly { .. }) => prepare.execution == Execution::TwoPhase,
        Ok(Vote::Committed { .. } | Vote::Refused(_)) => false,
        Err(declined) => !is_certain(declined),
    };
    if !holds {
        shared.unlock(id);
        shared.leave_place(id);
    }
    voted
}

/// Sends it all at once, the PREPARE TRANSACTION too. Of a transaction that an error has ended that says nothing, and undoes it: prepared is
/// only what was answered well all the way.
async fn prepare_in_one_trip(local: &Local<'_>, id: &BranchId, prepare: &Prepare) -> Tried<Vote> {
    let (shared, session) = (local.shared, local.session);
    let hold = shared.sessions.hold().map_err(Failed::free)?;
    let row = shared.numbers().map_err(Failed::free)?.next();
    let plan = local.plan().await?;
    let name = PreparedName {
        identity: hold.identity,
        coordinator: id.coordinator,
        attempt_number: id.attempt_number,
        begun_at: prepare.begun_at,
        tx: id.tx.clone(),
    };
    let gid = name.to_gid();
    let (mut parts, mut results) = (Vec::new(), None);
    if local.task.publishes_results() {
        results = Some(local.run().await?);
    } else {
        parts = local.opening();
    }
    let first = parts.len();
    if results.is_none() {
        parts.extend(local.statements(&plan)?);
    }
    let after = parts.len();
    parts.extend(local.outcome());
    let own = parts.len();
    parts.push(local.evidence(id, &[], row).map_err(Failed::free)?);
    match local.events(Place::Branch, results.as_ref().unwrap_or(&Bytes::new()), &id.tx) {
        Ok(events) => parts.extend(events),
        Err(refusal) if results.is_some() => return Err(local.undone(refusal).await),
        Err(refusal) => return Err(Failed::free(refusal)),
    }
    let end = parts.len();
    parts.push(Part::Text(format!("PREPARE TRANSACTION '{gid}'")));
    // From here on there may be something that an abort has to end.
    shared.insert(id, Known::Prepared { gid: gid.clone(), row: Some(row), publishes: local.task.publishes() });
    let answers = match local.trip(parts).await {
        None => return Err(Failed::unclear(NO_ANSWER.to_owned())),
        Some(Ok(answers)) => answers,
        // Also if the session broke after it: what an error has ended is not prepared.
        Some(Err(error)) => match local.refusal(if results.is_some() { &[] } else { &plan }, first, &error) {
            None => return Err(Failed::unclear(told(&error.1))),
            Some(refusal) => {
                shared.remove(id);
                return Err(local.undone(refusal).await);
            }
        },
    };
    let result = match results {
        Some(result) => Ok(result),
        None => local.results(&plan, &answers[first..after]),
    };
    let is_kept = answers[own..end].iter().all(|answer| matches!(answer, Answer::Count(1)));
    let declined = match result {
        Ok(result) if is_kept => return Ok(Vote::Prepared { result }),
        Ok(_) => {
            let detail = "the database did not keep the evidence of the branch or its events; look for triggers and rules on undoubt.finished and undoubt.unnumbered";
            Refusal::new(RefusalCode::Unavailable, detail).into()
        }
        Err(declined) => declined,
    };
    let undo = format!("ROLLBACK PREPARED '{gid}'");
    match in_time(session.client.batch_execute(&undo)).await {
        Some(Ok(())) => {
            shared.remove(id);
            Err(Failed::free(declined))
        }
        Some(Err(error)) => Err(Failed::unclear(told(&error))),
        None => Err(Failed::unclear(NO_ANSWER.to_owned())),
    }
}

/// Commits in one phase. The result is known before the evidence is written, which keeps it.
async fn commit_at_once(local: &Local<'_>, id: &BranchId) -> Tried<Vote> {
    let result = local.run().await?;
    let numbers = local.shared.numbers().map_err(Failed::free)?;
    let row = numbers.next();
    let evidence = local.evidence(id, &result, row).map_err(Failed::free)?;
    let events = match local.events(Place::Branch, &result, &id.tx) {
        Ok(events) => events,
        Err(refusal) => return Err(local.undone(refusal).await),
    };
    local.commit(Vec::new(), local.outcome().into_iter().chain([evidence]).chain(events).collect()).await?;
    numbers.note_stable(row);
    local.published();
    Ok(Vote::Committed { result })
}

/// Reads, and holds nothing any more when it returns.
async fn read(local: &Local<'_>) -> Tried<Vote> {
    let result = local.run().await?;
    match in_time(local.session.client.batch_execute("COMMIT")).await {
        Some(Ok(())) => Ok(Vote::ReadOnly { result }),
        Some(Err(error)) => Err(Failed::broken(&told(&error))),
        None => Err(Failed::broken(NO_ANSWER)),
    }
}

/// Reads, and keeps the transaction open until it is confirmed or aborted.
async fn keep_reading(
    shared: &Shared,
    task: &Task,
    mut worker: Worker,
    id: &BranchId,
    deadline: Instant,
    cancelled: &CancellationToken,
) -> Result<Vote, Declined> {
    if !shared.sessions.to_reader(&mut worker) {
        shared.sessions.give_back(worker);
        let most = shared.sessions.connector().settings().max_readers;
        let detail =
            format!("{most} branches that only read wait for their ends already (resource.max_readers); try again");
        return Err(Refusal::new(RefusalCode::Unavailable, detail).into());
    }
    let most_bytes = shared.room().largest();
    let local = Local {
        shared,
        task,
        session: worker.session(),
        step: None,
        keeps_records: false,
        deadline,
        cancelled,
        most_bytes,
    };
    match local.run().await {
        Ok(result) => {
            shared.insert(id, Known::Reading(Box::new(worker)));
            Ok(Vote::ReadOnly { result })
        }
        Err(failed) => put_back(shared, worker, Err(failed)),
    }
}
