//! Steps of sagas: a local transaction each, with the step's barrier in it.

use super::Inner;
use super::ending::end_suspects;
use super::local::{Declined, Local, Tried, deadline_in, put_back, worker};
use super::record;
use crate::world::database::rows::{Saga, delete_mark, put_mark};
use crate::world::database::wire::{Expected, Request};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use undoubt_kv::work::{Place, Work, decode};
use undoubt_kv_evaluation::Tell;
use undoubt_participant::resource::{ResourceError, StepId, StepState};
use undoubt_participant::table::Barrier;
use undoubt_platform::Batch;
use undoubt_vocabulary::{Refusal, RefusalCode, RunStep, StepOutcome};

pub(super) async fn act(
    inner: &Inner,
    step: &StepId,
    run: &RunStep,
    cancelled: &CancellationToken,
) -> Result<StepOutcome, ResourceError> {
    outcome_of(action(inner, step, run, cancelled).await)
}

async fn action(
    inner: &Inner,
    step: &StepId,
    run: &RunStep,
    cancelled: &CancellationToken,
) -> Result<StepOutcome, Declined> {
    let work = decode(&run.work, Place::Action { inputs: &run.inputs })?;
    if cancelled.is_cancelled() {
        return Err(Refusal::new(RefusalCode::Late, "the step was called off before its action began").into());
    }
    let rows = |result: Bytes| {
        let mut batch = Batch::default();
        let pending = work.pend.iter().cloned().collect();
        record::rows().put_step(&mut batch, step, Barrier::Acted, result, pending);
        work.pend.iter().for_each(|key| put_mark(&mut batch, key, step, run.begun_at));
        Request::Rows { batch, expected: Expected::Absent }
    };
    // Later steps may refer to whatever it left.
    let limits = (Tell::All, inner.largest_result());
    let result = transaction(inner, step, run, &work, limits, cancelled, rows).await?;
    Ok(StepOutcome::Done { result, pending: !work.pend.is_empty() })
}

pub(super) async fn compensate(inner: &Inner, step: &StepId, run: &RunStep) -> Result<StepOutcome, ResourceError> {
    match outcome_of(compensation(inner, step, run).await)? {
        // What is open finishes: it is tried again here, not at the coordinator.
        StepOutcome::Refused(Refusal { code: RefusalCode::Unavailable, detail }) => {
            Err(ResourceError::Unavailable { cause: detail })
        }
        outcome @ (StepOutcome::Done { .. } | StepOutcome::Empty | StepOutcome::Refused(_)) => Ok(outcome),
    }
}

async fn compensation(inner: &Inner, step: &StepId, run: &RunStep) -> Result<StepOutcome, Declined> {
    let work = decode(&run.work, Place::Compensation { inputs: &run.inputs })?;
    let stored = record::barrier(inner, step).await.map_err(Declined::Failed)?;
    let marked = stored.map(|barrier| barrier.pending).unwrap_or_default();
    let rows = |_| {
        let mut batch = Batch::default();
        record::rows().put_step(&mut batch, step, Barrier::Compensated, Bytes::new(), Vec::new());
        marked.iter().for_each(|key| delete_mark(&mut batch, key, step));
        Request::Rows { batch, expected: Expected::Present }
    };
    let nobody = CancellationToken::new();
    transaction(inner, step, run, &work, (Tell::Learnt, usize::MAX), &nobody, rows).await?;
    Ok(StepOutcome::Done { result: Bytes::new(), pending: false })
}

async fn transaction(
    inner: &Inner,
    step: &StepId,
    run: &RunStep,
    work: &Work,
    (tell, most_bytes): (Tell, usize),
    cancelled: &CancellationToken,
    rows: impl FnOnce(Bytes) -> Request,
) -> Result<Bytes, Declined> {
    let deadline = deadline_in(run.timeout);
    let mut worker = worker(inner, &step.tx, deadline, cancelled).await?;
    let local = Local { inner, work, own: Some(Saga::from(step)), tell, most_bytes, deadline, cancelled };
    let tried: Tried<Bytes> = async {
        let result = local.run(&mut worker).await?;
        local.commit(&mut worker, rows(result.clone())).await?;
        Ok(result)
    }
    .await;
    put_back(inner, worker, tried)
}

pub(super) async fn store_empty(inner: &Inner, step: &StepId) -> Result<(), ResourceError> {
    let mut batch = Batch::default();
    record::rows().put_step(&mut batch, step, Barrier::Empty, Bytes::new(), Vec::new());
    record::write(inner, batch).await
}

/// Returns what became of a step, once no session can carry it out any more.
pub(super) async fn settle(inner: &Inner, step: &StepId) -> Result<Option<StepState>, ResourceError> {
    end_suspects(inner).await?;
    record::table(inner).await?.state_of_step(step)
}

fn outcome_of(ran: Result<StepOutcome, Declined>) -> Result<StepOutcome, ResourceError> {
    match ran {
        Ok(outcome) => Ok(outcome),
        Err(Declined::Refused(refusal)) => Ok(StepOutcome::Refused(refusal)),
        Err(Declined::NoRoom) => Err(ResourceError::NoRoom),
        Err(Declined::Failed(error)) => Err(error),
    }
}
