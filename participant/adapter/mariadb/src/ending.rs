//! The end of branches: commit, abort, and what became of those of which no answer came.
//!
//! The session that prepared a branch ends it. Where there is none any more, another does, once the server has let go of the
//! first; and because the server may then answer that it was done without having done it, the evidence has the last word.

use crate::class::{NOT_KNOWN, class_of, code_of, told};
use crate::record::{evidence, failure, put_heuristic};
use crate::sessions::Worker;
use crate::shared::{Known, Shared};
use crate::standing::{Standing, look, look_for_evidence, lost, prepared, warn, xid_of};
use crate::witness::committed;
use bytes::Bytes;
use undoubt_participant::resource::{BranchId, Ended, Heuristic, ResourceError};
use undoubt_sql::{Class, PreparedName};

/// Ends a branch that has read, and returns whether its transaction was open until now.
pub(crate) async fn confirm(shared: &Shared, id: &BranchId) -> bool {
    let Some(mut worker) = shared.take_reader(id) else { return false };
    let held = worker.session.run("COMMIT").await.is_ok();
    give_back(shared, *worker, held);
    shared.locks.release(&id.tx);
    held
}

pub(crate) async fn commit(shared: &Shared, id: &BranchId) -> Result<Ended, ResourceError> {
    shared.locks.leaving(&id.tx);
    let publishes = shared.publishes(id);
    let ended = end(shared, id, true).await?;
    if publishes {
        shared.outbox.committed();
    }
    count(shared, id, ended).await?;
    forget(shared, id);
    Ok(ended)
}

pub(crate) async fn abort(shared: &Shared, id: &BranchId) -> Result<Ended, ResourceError> {
    if let Some(mut worker) = shared.take_reader(id) {
        let is_over = worker.session.run("ROLLBACK").await.is_ok();
        give_back(shared, *worker, is_over);
        shared.locks.release(&id.tx);
        return Ok(Ended::AsTold);
    }
    shared.locks.leaving(&id.tx);
    let ended = end(shared, id, false).await?;
    forget(shared, id);
    Ok(ended)
}

/// Stores the decision first: a recovery finishes what has one and is still prepared.
pub(crate) async fn resolve(shared: &Shared, id: &BranchId, heuristic: &Heuristic) -> Result<Ended, ResourceError> {
    let begun_at = match shared.remove(id) {
        Some(Known::Prepared { name, slot, run, publishes }) => {
            let begun_at = name.begun_at;
            shared.insert(id, Known::Prepared { name, slot, run, publishes });
            Some(begun_at)
        }
        Some(reading @ Known::Reading(_)) => {
            shared.insert(id, reading);
            None
        }
        None => name_of(shared, id).await?.map(|name| name.begun_at),
    };
    put_heuristic(shared, id, begun_at, heuristic).await?;
    let ended = end(shared, id, heuristic.commit).await?;
    shared.outbox.committed();
    if heuristic.commit {
        count(shared, id, ended).await?;
    }
    forget(shared, id);
    Ok(ended)
}

/// Returns the result of a branch that was to commit in one phase, once no session can commit it any more.
pub(crate) async fn settle(shared: &Shared, id: &BranchId) -> Result<Option<Bytes>, ResourceError> {
    shared.sessions.end_suspects().await?;
    let result = evidence(shared, id).await?;
    forget(shared, id);
    Ok(result)
}

/// Counts a commit, unless it was counted before.
async fn count(shared: &Shared, id: &BranchId, ended: Ended) -> Result<(), ResourceError> {
    match (ended, shared.run_of(id)) {
        (Ended::AsTold, Some(run)) => committed(shared, id, run).await,
        (Ended::AsTold, None) | (Ended::Gone, _) => Ok(()),
    }
}

fn forget(shared: &Shared, id: &BranchId) {
    shared.remove(id);
    shared.note_lost(id, false);
    shared.locks.release(&id.tx);
}

fn give_back(shared: &Shared, worker: Worker, is_over: bool) {
    match is_over {
        true => shared.sessions.give_back(worker),
        // It holds locks until it has ended.
        false => shared.sessions.suspect(worker),
    }
}

/// Ends a branch: in its own session if there is one, else in another.
async fn end(shared: &Shared, id: &BranchId, commit: bool) -> Result<Ended, ResourceError> {
    if let Some((name, Some(mut slot))) = shared.take_slot(id) {
        let (verb, xid) = (verb(commit), xid_of(&name));
        match slot.session.run(&format!("XA {verb} {xid}")).await {
            Ok(_) => {
                shared.sessions.give_back(*slot);
                return Ok(Ended::AsTold);
            }
            // The session is ended, whatever the server said or did not, and the branch is looked at.
            Err(error) => {
                warn(&xid, verb, &error);
                shared.sessions.suspect(*slot);
                if class_of(&error) == Class::Unknown {
                    return Err(ResourceError::Unclear { cause: format!("XA {verb}: {}", told(&error)) });
                }
            }
        }
    }
    // Nothing of an earlier call takes effect after this, and what was prepared may be ended by others.
    shared.sessions.end_suspects().await?;
    match name_of(shared, id).await? {
        Some(name) => end_elsewhere(shared, id, &name, commit).await,
        None => {
            let mut session = shared.sessions.recorder().await?;
            as_it_stands(shared, id, look_for_evidence(&mut session, id).await?, commit)
        }
    }
}

fn verb(commit: bool) -> &'static str {
    if commit { "COMMIT" } else { "ROLLBACK" }
}

/// Ends a branch in a session other than the one that prepared it, which has ended.
async fn end_elsewhere(
    shared: &Shared,
    id: &BranchId,
    name: &PreparedName,
    commit: bool,
) -> Result<Ended, ResourceError> {
    let mut session = shared.sessions.recorder().await?;
    let standing = look(&mut session, name).await?;
    if standing != Standing::Prepared {
        return as_it_stands(shared, id, standing, commit);
    }
    let (verb, xid) = (verb(commit), xid_of(name));
    if let Err(error) = session.run(&format!("XA {verb} {xid}")).await {
        warn(&xid, verb, &error);
        let cause = format!("XA {verb}: {}", told(&error));
        return Err(match (code_of(&error), class_of(&error)) {
            // It is listed: so its session lives, or somebody else ends it just now.
            (Some(NOT_KNOWN), _) => ResourceError::Unavailable { cause: format!("{cause}; another session has it") },
            (_, Class::Unknown) => ResourceError::Unclear { cause },
            (
                _,
                Class::Condition
                | Class::Declaration
                | Class::Conflict
                | Class::LockTimeout
                | Class::Cancelled
                | Class::Unavailable
                | Class::Access
                | Class::Failed,
            ) => ResourceError::Unavailable { cause },
        });
    }
    let standing = look(&mut session, name).await?;
    as_it_stands(shared, id, standing, commit)
}

/// Returns how a branch has ended, by what stands in the database.
fn as_it_stands(shared: &Shared, id: &BranchId, standing: Standing, commit: bool) -> Result<Ended, ResourceError> {
    match (standing, commit) {
        (Standing::Committed, true) | (Standing::Absent, false) => Ok(Ended::AsTold),
        (Standing::Committed, false) | (Standing::Absent, true) => Ok(Ended::Gone),
        (Standing::Prepared, _) => {
            let cause = format!("{} is still prepared; it is tried again", id.tx);
            Err(ResourceError::Unavailable { cause })
        }
        (Standing::Lost, _) => {
            let cause = lost(id);
            tracing::error!(cause, "a branch is lost until the server restarts");
            shared.note_lost(id, true);
            Err(ResourceError::Unavailable { cause })
        }
    }
}

/// Returns the name under which a branch is prepared: as it is known here, or as the server lists it.
async fn name_of(shared: &Shared, id: &BranchId) -> Result<Option<PreparedName>, ResourceError> {
    if let Some(name) = shared.name_of(id) {
        return Ok(Some(name));
    }
    let hold = shared.sessions.hold()?;
    let mut session = shared.sessions.recorder().await?;
    let listed = prepared(&mut session, hold.identity).await.map_err(|error| failure(&error))?;
    Ok(listed.into_iter().find(|name| crate::record::branch_of(name) == *id))
}
