//! Branches: prepared in sessions that they keep, committed in one phase, or kept reading until they are asked.
//!
//! ```text
//! XA START, the statements    the work, each statement in a trip
//! the evidence and the events, XA END, XA PREPARE    the vote, in one trip
//! ```

use crate::attempt::Declined;
use crate::local::{Failed, Fate, Local, Tried, deadline_in, evidence, in_time, is_certain, put_back};
use crate::session::Session;
use crate::shared::{Known, Shared};
use crate::standing::xid_of;
use tokio_util::sync::CancellationToken;
use undoubt_lock::Age;
use undoubt_participant::resource::{BranchId, ResourceError};
use undoubt_sql::{Place, PreparedName, Task};
use undoubt_vocabulary::{Execution, Prepare, Refusal, RefusalCode, Vote};

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
    let task = Task::read(&prepare.work, Place::Branch, &shared.procedures, &shared.outbox.topics)?;
    let deadline = deadline_in(prepare.timeout);
    let age = Age { begun_at: prepare.begun_at, tx: id.tx.clone() };
    shared.locks.lock(&age, task.locks(), prepare.timeout, cancelled).await?;
    let most_bytes = shared.room().largest();
    let local = Local { shared, task: &task, step: None, deadline, cancelled, most_bytes };
    let voted = match (prepare.execution, task.only_reads()) {
        (Execution::OnePhase, true) => read(&local, id).await,
        (Execution::OnePhase, false) => commit_at_once(&local, id, prepare).await,
        (Execution::TwoPhase, true) => keep_reading(&local, id).await,
        (Execution::TwoPhase, false) => prepare_in_slot(&local, id, prepare).await,
    };
    let holds = match &voted {
        Ok(Vote::Prepared { .. }) => true,
        Ok(Vote::ReadOnly { .. }) => prepare.execution == Execution::TwoPhase,
        Ok(Vote::Committed { .. } | Vote::Refused(_)) => false,
        Err(declined) => !is_certain(declined),
    };
    if !holds {
        shared.locks.release(&id.tx);
    }
    voted
}

/// Prepares the branch. Its session is its own from then on.
async fn prepare_in_slot(local: &Local<'_>, id: &BranchId, prepare: &Prepare) -> Result<Vote, Declined> {
    let Local { shared, deadline, cancelled, .. } = *local;
    let hold = shared.sessions.hold()?;
    let name = PreparedName {
        identity: hold.identity,
        coordinator: id.coordinator,
        attempt_number: id.attempt_number,
        begun_at: prepare.begun_at,
        tx: id.tx.clone(),
    };
    let mut slot = in_time(shared.sessions.slot(), "slots", &id.tx, deadline, cancelled).await?;
    let (xid, publishes) = (xid_of(&name), local.task.publishes());
    let session = &mut slot.session;
    let tried = async {
        let begin = format!("{}XA START {xid}", local.isolation());
        let done = async {
            let result = local.run(session, &begin).await?;
            let events = local.publish(session, Place::Branch, &result, &id.tx).await?;
            Ok((result, events))
        };
        let (result, events) = match done.await {
            Ok(done) => done,
            Err(failed) => return Err(undone(session, &xid, failed).await),
        };
        // From here on there may be something that an abort has to end.
        shared.insert(id, Known::Prepared { name: name.clone(), slot: None, run: hold.run, publishes });
        let evidence = evidence(id, prepare.begun_at, hold.run, &result);
        let last = format!("{}{events}{evidence}; XA END {xid}; XA PREPARE {xid}", local.outcome());
        match local.last(session, &last).await {
            Ok(()) => Ok(result),
            Err(failed) => {
                let failed = undone(session, &xid, failed).await;
                match failed.session {
                    Fate::Free => drop(shared.remove(id)),
                    // It is not certain that it was not prepared.
                    Fate::Suspect => return Err(Failed::unclear(why(&failed))),
                }
                Err(failed)
            }
        }
    };
    match tried.await {
        Ok(result) => {
            shared.insert(id, Known::Prepared { name, slot: Some(Box::new(slot)), run: hold.run, publishes });
            Ok(Vote::Prepared { result })
        }
        Err(failed) => put_back(shared, slot, Err(failed)),
    }
}

fn why(failed: &Failed) -> String {
    match &failed.declined {
        Declined::Refused(refusal) => refusal.detail.clone(),
        Declined::NoRoom => "there was no room".to_owned(),
        Declined::Failed(error) => error.to_string(),
    }
}

/// Rolls back a branch in the session that it was begun in, if it is known what that does.
async fn undone(session: &mut Session, xid: &str, failed: Failed) -> Failed {
    if failed.session == Fate::Suspect {
        return failed;
    }
    // One that has ended already, or that may only be rolled back, does not end again.
    let _ = session.run(&format!("XA END {xid}")).await;
    match session.run(&format!("XA ROLLBACK {xid}")).await {
        Ok(_) => failed,
        // It was never begun, or the server has rolled it back by itself. Nobody else could while this session lives.
        Err(error) if crate::class::code_of(&error) == Some(crate::class::NOT_KNOWN) => failed,
        Err(_) => Failed { session: Fate::Suspect, ..failed },
    }
}

/// Commits in one phase. The result is known before the evidence is written, which keeps it.
async fn commit_at_once(local: &Local<'_>, id: &BranchId, prepare: &Prepare) -> Result<Vote, Declined> {
    let Local { shared, deadline, cancelled, .. } = *local;
    let mut worker = in_time(shared.sessions.worker(), "workers", &id.tx, deadline, cancelled).await?;
    let run = shared.sessions.hold()?.run;
    let session = &mut worker.session;
    let tried: Tried<Vote> = async {
        let result = local.run(session, &local.begin()).await?;
        let evidence = evidence(id, prepare.begun_at, run, &result);
        let events = local.publish(session, Place::Branch, &result, &id.tx).await?;
        local.last(session, &format!("{}{events}{evidence}; COMMIT", local.outcome())).await?;
        shared.witness.count(run);
        local.published();
        Ok(Vote::Committed { result })
    }
    .await;
    let tried = match tried {
        Ok(vote) => Ok(vote),
        Err(failed) => Err(local.undone(&mut worker.session, failed).await),
    };
    put_back(shared, worker, tried)
}

/// Reads, and holds nothing any more when it returns.
async fn read(local: &Local<'_>, id: &BranchId) -> Result<Vote, Declined> {
    let Local { shared, deadline, cancelled, .. } = *local;
    let mut worker = in_time(shared.sessions.worker(), "workers", &id.tx, deadline, cancelled).await?;
    let tried = local.run(&mut worker.session, &local.begin()).await;
    let tried = match tried {
        Ok(result) => match worker.session.run("COMMIT").await {
            Ok(_) => Ok(Vote::ReadOnly { result }),
            Err(error) => Err(Failed::broken(&crate::class::told(&error))),
        },
        Err(failed) => Err(local.undone(&mut worker.session, failed).await),
    };
    put_back(shared, worker, tried)
}

/// Reads, and keeps the transaction open until the branch is confirmed or aborted.
async fn keep_reading(local: &Local<'_>, id: &BranchId) -> Result<Vote, Declined> {
    let shared = local.shared;
    let Some(mut reader) = shared.sessions.reader().await? else {
        let most = shared.sessions.connector().settings().max_readers;
        let detail =
            format!("{most} branches that only read wait for their ends already (resource.max_readers); try again");
        return Err(Refusal::new(RefusalCode::Unavailable, detail).into());
    };
    match local.run(&mut reader.session, &local.begin()).await {
        Ok(result) => {
            shared.insert(id, Known::Reading(Box::new(reader)));
            Ok(Vote::ReadOnly { result })
        }
        Err(failed) => {
            let failed = local.undone(&mut reader.session, failed).await;
            put_back(shared, reader, Err(failed))
        }
    }
}
