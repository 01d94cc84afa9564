//! Steps of sagas: their actions and compensations as calls.

use crate::HttpServices;
use crate::attempt::{MAX_CALL_TIME, lack_of_room, write};
use crate::calls::{Call, Said};
use crate::convention::{Identity, Operation};
use crate::message::Message;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{ResourceError, StepId};
use undoubt_participant::table::Barrier;
use undoubt_platform::{Batch, Durability};
use undoubt_vocabulary::{Refusal, RefusalCode, RunStep, StepOutcome, saga};
use undoubt_work::{InvalidWork, Results};

/// Returns the time at which a call has to be over that its coordinator gives this long: a little earlier, so that its answer comes
/// before the coordinator stops waiting.
fn deadline(timeout: Duration) -> Instant {
    let timeout = timeout.min(MAX_CALL_TIME);
    Instant::now() + timeout - timeout / 10
}

pub(super) async fn act(
    http: &HttpServices,
    step: &StepId,
    run: RunStep,
    cancelled: &CancellationToken,
) -> Result<StepOutcome, ResourceError> {
    let attempted = match http.table.barrier(step)? {
        None => false,
        Some((Barrier::Attempted, _)) => true,
        // The server runs no action whose step is over.
        Some((
            Barrier::Acted | Barrier::Compensated | Barrier::Completed | Barrier::Empty | Barrier::Unspecified,
            _,
        )) => {
            return Err(ResourceError::Stopped { cause: format!("{step:?} was done before, and is to be done again") });
        }
    };
    // Once it was asked for, all that keeps it from being asked again leaves it unclear.
    let declined = |refusal: Refusal| match attempted {
        false => StepOutcome::Refused(refusal),
        true => unclear(format!("it was asked for before, and cannot be asked again: {}", refusal.detail)),
    };
    let message = match message(http, &run) {
        Ok(message) => message,
        Err(refusal) => return Ok(declined(refusal)),
    };
    let deadline = deadline(run.timeout);
    if !attempted {
        if http.room().largest() < http.settings.max_response_bytes {
            return Err(ResourceError::NoRoom);
        }
        if let Some(why) = lack_of_room(http)? {
            return Ok(StepOutcome::Refused(Refusal::new(RefusalCode::Unavailable, why)));
        }
    }
    let place = tokio::select! {
        place = http.client.place(&message.address.origin, deadline) => place,
        () = cancelled.cancelled() => {
            return Ok(declined(Refusal::new(RefusalCode::Late, "the step was called off before its action began")));
        }
    };
    let Some(_place) = place else {
        let detail = format!("too many calls of {} are under way (http.max_calls_per_host)", message.address.origin);
        return Ok(declined(Refusal::new(RefusalCode::Unavailable, detail)));
    };
    if !attempted {
        match store(http, step, Barrier::Attempted, Bytes::new()).await {
            Err(ResourceError::Unavailable { cause }) => {
                return Ok(StepOutcome::Refused(Refusal::new(RefusalCode::Unavailable, cause)));
            }
            stored => stored?,
        }
    }
    let identity = Identity::of_step(step);
    let operation = if run.check_back { Operation::CheckBack } else { Operation::Action };
    let trace = http.contexts.take_of_step(step);
    let call = Call { operation, identity: &identity, message: &message, tried: false, deadline, trace };
    match http.ask(call, cancelled).await {
        Said::Done(answer) => {
            let result = Results::encode_answer(&answer);
            let mut held = http.room().hold();
            held.add(2 * result.len());
            match store(http, step, Barrier::Acted, result.clone()).await {
                // It is in effect, and asked again.
                Err(ResourceError::Unavailable { cause }) => Ok(unclear(cause)),
                stored => stored.map(|()| StepOutcome::Done { result, pending: false }),
            }
        }
        // What was asked for before may still be on its way, and find free what this call found held.
        Said::Refused(refusal) if attempted && refusal.code.is_transient() => Ok(unclear(refusal.detail)),
        Said::Refused(refusal) => {
            forget(http, step).await?;
            Ok(StepOutcome::Refused(refusal))
        }
        Said::NotSent(why) if !attempted => {
            forget(http, step).await?;
            Ok(StepOutcome::Refused(Refusal::new(RefusalCode::Unavailable, why)))
        }
        Said::Unclear(why) | Said::NotSent(why) => Ok(unclear(why)),
    }
}

pub(super) async fn compensate(http: &HttpServices, step: &StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
    finish(http, step, run, Operation::Compensation, Barrier::Compensated).await
}

pub(super) async fn complete(http: &HttpServices, step: &StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
    finish(http, step, run, Operation::Completion, Barrier::Completed).await
}

/// Makes the call that ends a step for good, and stores that it was answered.
async fn finish(
    http: &HttpServices,
    step: &StepId,
    run: RunStep,
    operation: Operation,
    barrier: Barrier,
) -> Result<StepOutcome, ResourceError> {
    let tried = matches!(http.table.barrier(&named(step))?, Some((Barrier::Acted | Barrier::Completed, _)));
    let message = match message(http, &run) {
        Ok(message) => message,
        Err(refusal) => return Ok(StepOutcome::Refused(refusal)),
    };
    let deadline = deadline(run.timeout);
    let Some(_place) = http.client.place(&message.address.origin, deadline).await else {
        let detail = format!("too many calls of {} are under way (http.max_calls_per_host)", message.address.origin);
        return Ok(StepOutcome::Refused(Refusal::new(RefusalCode::Unavailable, detail)));
    };
    let identity = Identity::of_step(&named(step));
    let trace = http.contexts.take_of_step(step);
    let call = Call { operation, identity: &identity, message: &message, tried, deadline, trace };
    match http.ask(call, &CancellationToken::new()).await {
        Said::Done(_) => {
            store(http, step, barrier, Bytes::new()).await?;
            Ok(StepOutcome::Done { result: Bytes::new(), pending: false })
        }
        Said::Refused(refusal) => Ok(StepOutcome::Refused(refusal)),
        Said::Unclear(why) => Ok(unclear(why)),
        Said::NotSent(why) => Ok(StepOutcome::Refused(Refusal::new(RefusalCode::Unavailable, why))),
    }
}

/// Returns the step as services know it: what undoes a completed step is a step of its own here, and not to them.
fn named(step: &StepId) -> StepId {
    StepId { step: saga::place_of(step.step), ..step.clone() }
}

pub(super) async fn store_empty(http: &HttpServices, step: &StepId) -> Result<(), ResourceError> {
    store(http, step, Barrier::Empty, Bytes::new()).await
}

fn message(http: &HttpServices, run: &RunStep) -> Result<Message, Refusal> {
    let work = undoubt_work::http::read(&run.work)?;
    match work.ending {
        None => Message::new(work.request, &run.inputs, &http.allowed),
        Some(_) => Err(InvalidWork::EndingInSaga.into()),
    }
}

async fn store(http: &HttpServices, step: &StepId, state: Barrier, result: Bytes) -> Result<(), ResourceError> {
    let mut batch = Batch::default();
    http.table.put_step(&mut batch, step, state, result, Vec::new());
    write(http, batch, Durability::Forced).await?;
    // The low-water mark may have passed the saga while the step was under way: one that was given up.
    http.table.note_stored([(step.coordinator, step.attempt_number)]);
    Ok(())
}

/// Drops the barrier of an action that has not happened.
async fn forget(http: &HttpServices, step: &StepId) -> Result<(), ResourceError> {
    let mut batch = Batch::default();
    http.table.delete_step(&mut batch, step);
    match write(http, batch, Durability::Forced).await {
        // If it stays, the step is undone though there is nothing to undo, which a service answers well.
        Err(ResourceError::Unavailable { .. }) => Ok(()),
        written => written,
    }
}

fn unclear(why: String) -> StepOutcome {
    StepOutcome::Refused(Refusal::new(RefusalCode::Unclear, why))
}
