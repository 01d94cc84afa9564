//! The end of a branch: its confirm or its cancel, and the record of what it came to.

use super::Branch;
use crate::HttpServices;
use crate::attempt::write;
use crate::calls::{Call, Said};
use crate::convention::Operation;
use crate::message::Message;
use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{BranchId, Ended, ResourceError};
use undoubt_platform::{Batch, Durability};
use undoubt_proto::record::http_branch::Stage;
use undoubt_vocabulary::{BranchOutcome, Refusal};
use undoubt_work::Input;
use undoubt_work::http::Request;

/// The answer of a service to a confirm or a cancel.
pub(super) enum Answered {
    Done,
    Refused(Refusal),
}

pub(super) async fn confirm(http: &HttpServices, branch: &BranchId, known: &Branch) -> Result<Answered, ResourceError> {
    match known.work()?.ending {
        Some(ending) => end(http, branch, known, Operation::Confirm, ending.confirm).await,
        // It has only read.
        None => Ok(Answered::Done),
    }
}

pub(super) async fn cancel(http: &HttpServices, branch: &BranchId, known: &Branch) -> Result<Answered, ResourceError> {
    match known.work()?.ending {
        Some(ending) => end(http, branch, known, Operation::Cancel, ending.cancel).await,
        None => Ok(Answered::Done),
    }
}

async fn end(
    http: &HttpServices,
    branch: &BranchId,
    known: &Branch,
    operation: Operation,
    request: Request<Input>,
) -> Result<Answered, ResourceError> {
    let results = std::slice::from_ref(&known.result);
    let message = Message::new(request, results, &http.allowed).map_err(|refusal| {
        http.stuck.refused(branch, operation.as_str(), &refusal);
        ResourceError::Unavailable { cause: refusal.detail }
    })?;
    let deadline = Instant::now() + http.settings.call_timeout();
    let Some(_place) = http.client.place(&message.address.origin, deadline).await else {
        let cause = format!("too many calls of {} are under way (http.max_calls_per_host)", message.address.origin);
        return Err(ResourceError::Unavailable { cause });
    };
    let identity = http.identity(branch);
    let (tried, trace) = (known.own.tried, http.contexts.of_branch(branch));
    let call = Call { operation, identity: &identity, message: &message, tried, deadline, trace };
    match http.ask(call, &CancellationToken::new()).await {
        Said::Done(_) => Ok(Answered::Done),
        // It is held by somebody else for a while.
        Said::Refused(refusal) if refusal.code.is_transient() => Err(ResourceError::Unclear { cause: refusal.detail }),
        Said::Refused(refusal) => Ok(Answered::Refused(refusal)),
        Said::Unclear(cause) => Err(ResourceError::Unclear { cause }),
        Said::NotSent(cause) => Err(ResourceError::Unavailable { cause }),
    }
}

/// Stores that nothing but the cancel will be sent.
pub(super) async fn cancelling(
    http: &HttpServices,
    branch: &BranchId,
    mut known: Branch,
) -> Result<Branch, ResourceError> {
    if known.own.stage() != Stage::Cancelling {
        known.own.stage = Stage::Cancelling.into();
        known.store(http, branch).await?;
    }
    Ok(known)
}

/// Stores what a branch came to, in place of its record.
pub(super) async fn finish(
    http: &HttpServices,
    branch: &BranchId,
    outcome: BranchOutcome,
    result: Bytes,
) -> Result<(), ResourceError> {
    let mut batch = Batch::default();
    http.table.delete_prepared(&mut batch, branch);
    http.table.put_finished(&mut batch, branch, outcome, result);
    // An abort that a crash forgets is cancelled once more.
    let forced = if outcome == BranchOutcome::Committed { Durability::Forced } else { Durability::Lazy };
    write(http, batch, forced).await?;
    http.table.note_stored([(branch.coordinator, branch.attempt_number)]);
    http.is_over(branch);
    Ok(())
}

/// Says that the service has the last word, once it has refused often enough.
pub(super) fn gone(
    http: &HttpServices,
    branch: &BranchId,
    operation: Operation,
    refusal: Refusal,
) -> Result<Ended, ResourceError> {
    let count = http.stuck.refused(branch, operation.as_str(), &refusal);
    if count >= http.settings.max_refused_endings {
        return Ok(Ended::Gone);
    }
    Err(ResourceError::Unavailable { cause: format!("the {operation} was refused: {}", refusal.detail) })
}
