//! The end of branches: commit, abort, and what became of those of which no answer came.

use super::record::{self, has_evidence};
use super::{Inner, Known};
use crate::plan::Mutant;
use crate::world::database::rows::Gid;
use crate::world::database::wire::{Answer, Failure, Request};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use undoubt_participant::resource::{BranchId, Ended, Heuristic, ResourceError};
use undoubt_vocabulary::Timestamp;

/// A session whose answer was lost may be just ending the same; it is waited for so long.
const BUSY_PATIENCE: Duration = Duration::from_millis(1_000);

const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Ends a branch that has read, and returns whether its transaction was open until now.
pub(super) async fn confirm(inner: &Inner, id: &BranchId) -> bool {
    let Some(mut worker) = inner.take_reader(id) else { return false };
    let held = matches!(worker.session().ask(Request::Commit).await, Ok(Answer::Done));
    if held {
        inner.sessions.give_back(*worker);
    }
    held
}

pub(super) async fn commit(inner: &Inner, id: &BranchId) -> Result<Ended, ResourceError> {
    let ended = end(inner, id, true).await?;
    inner.known().remove(id);
    Ok(ended)
}

pub(super) async fn abort(inner: &Inner, id: &BranchId) -> Result<Ended, ResourceError> {
    if let Some(mut worker) = inner.take_reader(id) {
        if worker.session().ask(Request::Rollback).await.is_ok() {
            inner.sessions.give_back(*worker);
        }
        return Ok(Ended::AsTold);
    }
    // Nothing of an earlier call takes effect after this.
    end_suspects(inner).await?;
    let ended = end(inner, id, false).await?;
    inner.known().remove(id);
    Ok(ended)
}

/// Stores the decision first: a recovery finishes what has one and is still prepared.
pub(super) async fn resolve(inner: &Inner, id: &BranchId, heuristic: Heuristic) -> Result<Ended, ResourceError> {
    let begun_at = name(inner, id).await?.and_then(|gid| Some(gid.read()?.1));
    let commit = heuristic.commit;
    record::put_heuristic(inner, id, begun_at.unwrap_or(Timestamp(0)), heuristic).await?;
    let ended = end(inner, id, commit).await?;
    inner.known().remove(id);
    Ok(ended)
}

/// Returns the result of a branch that was to commit in one phase, once no session can commit it any more.
pub(super) async fn settle(inner: &Inner, id: &BranchId) -> Result<Option<Bytes>, ResourceError> {
    end_suspects(inner).await?;
    record::table(inner).await?.result_of(id)
}

pub(super) async fn end_suspects(inner: &Inner) -> Result<(), ResourceError> {
    if inner.mutates(Mutant::SuspectsLeft) { Ok(()) } else { inner.sessions.end_suspects().await }
}

/// Ends what is prepared. What is not there any more has ended: how, its evidence tells.
async fn end(inner: &Inner, id: &BranchId, commit: bool) -> Result<Ended, ResourceError> {
    let deadline = Instant::now() + BUSY_PATIENCE;
    if let Some(gid) = name(inner, id).await? {
        loop {
            let request =
                if commit { Request::CommitPrepared(gid.clone()) } else { Request::RollbackPrepared(gid.clone()) };
            let Answer::Failed(failure) = inner.sessions.committing(request).await? else { return Ok(Ended::AsTold) };
            if failure == Failure::UnknownName {
                break;
            }
            if failure != Failure::Busy || Instant::now() >= deadline {
                return Err(ResourceError::Unavailable { cause: format!("{failure:?}") });
            }
            sleep(BUSY_PAUSE).await;
        }
    }
    if commit && inner.mutates(Mutant::UnknownNameCommitted) {
        return Ok(Ended::AsTold);
    }
    let has_committed = has_evidence(inner, id).await?;
    Ok(if has_committed == commit { Ended::AsTold } else { Ended::Gone })
}

/// Returns the name under which a branch is prepared: as it is known here, or as the database lists it.
async fn name(inner: &Inner, id: &BranchId) -> Result<Option<Gid>, ResourceError> {
    if let Some(gid) = inner.gid(id) {
        return Ok(Some(gid));
    }
    let listed = record::prepared(inner).await?;
    Ok(listed.into_iter().find(|gid| gid.read().is_some_and(|(branch, _)| branch == *id)))
}

/// Notes what the database lists.
pub(super) fn know(inner: &Inner, id: &BranchId, gid: Gid) {
    inner.known().insert(id.clone(), Known::Prepared(gid));
}
