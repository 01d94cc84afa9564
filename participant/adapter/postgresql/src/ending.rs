//! The end of branches: commit, abort, and what became of those of which no answer came.

use crate::attempt::in_time;
use crate::class::{BUSY, UNKNOWN_NAME, class_of, code_of, told};
use crate::enlisted;
use crate::record::{evidence, failure, note_written, on_record, put_heuristic};
use crate::shared::Shared;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Error;
use undoubt_participant::resource::{BranchId, Ended, Heuristic, ResourceError};
use undoubt_sql::{Class, EnlistedName, PreparedName};

/// Ends a branch that has read, and returns whether its transaction was open until now.
pub(crate) async fn confirm(shared: &Shared, id: &BranchId) -> bool {
    let Some(worker) = shared.take_reader(id) else { return false };
    let held = matches!(in_time(worker.session().client.batch_execute("COMMIT")).await, Some(Ok(())));
    if held {
        shared.sessions.give_back(*worker);
    }
    shared.unlock(id);
    held
}

pub(crate) async fn commit(shared: &Shared, id: &BranchId) -> Result<Ended, ResourceError> {
    shared.is_to_end(id);
    shared.leaving(id);
    let (row, publishes) = (shared.row(id), shared.publishes(id));
    let ended = end(shared, id, true).await?;
    if publishes {
        shared.outbox.committed();
    }
    match (ended, row) {
        (Ended::AsTold, Some(row)) => shared.numbers()?.note_stable(row),
        // Its evidence carries the number of an earlier start.
        (Ended::AsTold, None) => note_written(shared).await?,
        (Ended::Gone, _) => {}
    }
    forget(shared, id);
    Ok(ended)
}

pub(crate) async fn abort(shared: &Shared, id: &BranchId) -> Result<Ended, ResourceError> {
    if let Some(worker) = shared.take_reader(id) {
        if let Some(Ok(())) = in_time(worker.session().client.batch_execute("ROLLBACK")).await {
            shared.sessions.give_back(*worker);
        }
        shared.unlock(id);
        return Ok(Ended::AsTold);
    }
    shared.is_to_end(id);
    shared.leaving(id);
    // Nothing of an earlier call takes effect after this.
    shared.sessions.end_suspects().await?;
    let ended = end(shared, id, false).await?;
    forget(shared, id);
    Ok(ended)
}

/// Stores the decision first: a recovery finishes what has one and is still prepared.
pub(crate) async fn resolve(shared: &Shared, id: &BranchId, heuristic: &Heuristic) -> Result<Ended, ResourceError> {
    shared.is_to_end(id);
    let begun_at = name(shared, id).await?.and_then(|gid| PreparedName::from_gid(&gid).ok()).map(|name| name.begun_at);
    put_heuristic(shared, id, begun_at, heuristic).await?;
    let ended = end(shared, id, heuristic.commit).await?;
    shared.outbox.committed();
    forget(shared, id);
    Ok(ended)
}

/// Returns the result of a branch that was to commit in one phase, once no session can commit it any more.
pub(crate) async fn settle(shared: &Shared, id: &BranchId) -> Result<Option<Bytes>, ResourceError> {
    shared.sessions.end_suspects().await?;
    let result = evidence(shared, id).await?;
    forget(shared, id);
    Ok(result.map(Bytes::from))
}

fn forget(shared: &Shared, id: &BranchId) {
    shared.remove(id);
    shared.unlock(id);
    shared.leave_place(id);
}

/// A session whose answer was lost may be just ending the same; it is waited for so long.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Ends what is prepared. What is not there any more has ended: how, its evidence tells.
async fn end(shared: &Shared, id: &BranchId, commit: bool) -> Result<Ended, ResourceError> {
    let deadline = Instant::now() + BUSY_PATIENCE;
    let mut is_enlisted = false;
    if let Some(gid) = name(shared, id).await? {
        is_enlisted = EnlistedName::from_gid(&gid).is_ok();
        let statement = format!("{} PREPARED '{gid}'", if commit { "COMMIT" } else { "ROLLBACK" });
        loop {
            let ending = shared.sessions.committing(async |session| session.client.batch_execute(&statement).await);
            match ending.await? {
                Ok(()) if is_enlisted && !commit => break,
                Ok(()) => return Ok(Ended::AsTold),
                Err(error) if code_of(&error) == Some(UNKNOWN_NAME) => break,
                Err(error) if code_of(&error) == Some(BUSY) && Instant::now() < deadline => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(error) => return Err(not_ended(&statement, &error)),
            }
        }
    }
    let has_committed = evidence(shared, id).await?.is_some();
    if is_enlisted && !commit && !has_committed {
        // The id may be enlisted anew.
        enlisted::let_go(shared, id).await?;
    }
    Ok(if has_committed == commit { Ended::AsTold } else { Ended::Gone })
}

fn not_ended(statement: &str, error: &Error) -> ResourceError {
    let cause = format!("{statement}: {}", told(error));
    tracing::warn!(cause, "a prepared transaction could not be ended; it is tried again");
    match class_of(error) {
        Class::Unknown => ResourceError::Unclear { cause },
        Class::Condition
        | Class::Declaration
        | Class::Conflict
        | Class::LockTimeout
        | Class::Cancelled
        | Class::Unavailable
        | Class::Access
        | Class::Failed => ResourceError::Unavailable { cause },
    }
}

/// Returns the name under which a branch is prepared: as it is known here, or as the database lists it.
async fn name(shared: &Shared, id: &BranchId) -> Result<Option<String>, ResourceError> {
    if let Some(gid) = shared.gid(id) {
        return Ok(Some(gid));
    }
    let hold = shared.sessions.hold()?;
    let rows = on_record(shared, async |session| {
        session.query("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()", &[]).await
    })
    .await?;
    for row in &rows {
        let gid: &str = row.try_get(0).map_err(|error| failure(&error))?;
        let Ok(name) = PreparedName::from_gid(gid) else { continue };
        let is_it = name.identity == hold.identity
            && (name.coordinator, name.attempt_number, &name.tx) == (id.coordinator, id.attempt_number, &id.tx);
        if is_it {
            return Ok(Some(gid.to_owned()));
        }
    }
    Ok(enlisted::has_adopted(shared, id).await?.then(|| enlisted::name_of(hold, id)))
}
