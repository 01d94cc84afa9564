//! Steps of sagas: a local transaction each, with the step's barrier in the same write.
//!
//! A step owns its locks under a name of its own, for a branch of the same transaction may have voted here and must keep
//! its locks when the step frees these. Once a step has its locks it waits for nothing any more, so anybody may wait
//! for it.

use super::attempt::{Declined, evaluate, force, most_read, refuse_without_room};
use super::work::{self, Place};
use super::{KeyValue, marks, publish, record};
use bytes::Bytes;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;
use undoubt_kv_evaluation::{Evaluation, Tell};
use undoubt_lock::{Age, Mode};
use undoubt_participant::resource::{ResourceError, StepId};
use undoubt_participant::table::Barrier;
use undoubt_platform::{Batch, Durability};
use undoubt_proto::record::Write;
use undoubt_vocabulary::{AttemptNumber, Refusal, RefusalCode, RunStep, StepOutcome, TxId};
use undoubt_work::Results;

pub(super) async fn act(
    kv: &KeyValue,
    step: &StepId,
    run: RunStep,
    cancelled: CancellationToken,
) -> Result<StepOutcome, ResourceError> {
    outcome_of(action(kv, step, run, &cancelled).await)
}

async fn action(
    kv: &KeyValue,
    step: &StepId,
    run: RunStep,
    cancelled: &CancellationToken,
) -> Result<StepOutcome, Declined> {
    let place = Place::Action { inputs: &run.inputs };
    let work = work::decode(&run.work, place)?;
    // Also an action that only reads writes its barrier.
    refuse_without_room(kv)?;
    if cancelled.is_cancelled() {
        return Err(Refusal::new(RefusalCode::Late, "the step was called off before its action began").into());
    }
    let locks = kv.locks_of(&work);
    let done = async {
        marks::refuse_marked(kv, Some(step), work.pend.union(&work.respect))?;
        // Later steps may refer to whatever it left.
        let evaluation = evaluate(kv, &work.operations, Tell::All, most_read(kv))?;
        let events = kv.events_of(work.emits, place, &evaluation.results, &step.tx)?;
        let (writes, result) = come_to(evaluation);
        let pending = !work.pend.is_empty();
        let mut batch = Batch::default();
        record::put_data(&mut batch, &writes);
        kv.table.put_step(&mut batch, step, Barrier::Acted, result.clone(), work.pend.iter().cloned().collect());
        work.pend.iter().for_each(|key| record::put_mark(&mut batch, key, step, run.begun_at));
        let bytes = batch.payload_bytes() + publish::bytes_of(&events);
        kv.refuse_too_large(bytes)?;
        let mut held = kv.room().hold();
        held.add(result.len() + bytes);
        let published = force(kv, batch, events).await?;
        note_barrier(kv, step);
        kv.note_emitted_by_step(step, published.last().copied());
        kv.marks.put(step.clone(), work.pend);
        Ok(StepOutcome::Done { result, pending })
    };
    under_locks(kv, step, &run, &locks, cancelled, done).await
}

pub(super) async fn compensate(kv: &KeyValue, step: &StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
    outcome_of(finish(kv, step, run, Barrier::Compensated).await)
}

pub(super) async fn complete(kv: &KeyValue, step: &StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
    outcome_of(finish(kv, step, run, Barrier::Completed).await)
}

/// Does the work that ends a step for good, and stores that with it.
async fn finish(kv: &KeyValue, step: &StepId, run: RunStep, barrier: Barrier) -> Result<StepOutcome, Declined> {
    let place = Place::Compensation { inputs: &run.inputs };
    let work = work::decode(&run.work, place)?;
    let mut locks = kv.locks_of(&work);
    // Who looks at a mark holds its key's lock.
    locks.extend(kv.marks.of(step).into_iter().map(|key| (key, Mode::Exclusive)));
    let done = async {
        marks::refuse_marked(kv, Some(step), &work.respect)?;
        let evaluation = evaluate(kv, &work.operations, Tell::All, usize::MAX)?;
        let events = kv.events_of(work.emits, place, &evaluation.results, &step.tx)?;
        let (writes, _) = come_to(evaluation);
        let mut batch = Batch::default();
        record::put_data(&mut batch, &writes);
        kv.table.put_step(&mut batch, step, barrier, Bytes::new(), Vec::new());
        let marked = kv.marks.take(step);
        for key in &marked {
            match kv.marks.heir(step, key) {
                None => record::delete_mark(&mut batch, key),
                Some(heir) => record::put_mark(&mut batch, key, &heir, run.begun_at),
            }
        }
        if let Err(too_large) = kv.refuse_too_large(batch.payload_bytes() + publish::bytes_of(&events)) {
            kv.marks.put(step.clone(), marked);
            return Err(too_large.into());
        }
        // What is open finishes: a write that was not applied is tried again, not refused.
        let published = match kv.publish_in_turn(batch, events).await {
            Ok(published) => published,
            Err(error) => {
                kv.marks.put(step.clone(), marked);
                return Err(Declined::Failed(error));
            }
        };
        note_barrier(kv, step);
        kv.note_emitted_by_step(step, published.last().copied());
        Ok(StepOutcome::Done { result: Bytes::new(), pending: false })
    };
    under_locks(kv, step, &run, &locks, &CancellationToken::new(), done).await
}

pub(super) async fn store_empty(kv: &KeyValue, step: &StepId) -> Result<(), ResourceError> {
    let mut batch = Batch::default();
    kv.table.put_step(&mut batch, step, Barrier::Empty, Bytes::new(), Vec::new());
    kv.write(batch, Durability::Forced).await?;
    note_barrier(kv, step);
    Ok(())
}

/// Notes a barrier. The low-water mark may have passed the saga while the step was under way: one that was given up.
fn note_barrier(kv: &KeyValue, step: &StepId) {
    kv.table.note_stored([(step.coordinator, step.attempt_number)]);
}

async fn under_locks(
    kv: &KeyValue,
    step: &StepId,
    run: &RunStep,
    wanted: &BTreeMap<Bytes, Mode>,
    cancelled: &CancellationToken,
    work: impl Future<Output = Result<StepOutcome, Declined>>,
) -> Result<StepOutcome, Declined> {
    let owner = owner(step);
    let age = Age { begun_at: run.begun_at, tx: owner.clone() };
    kv.locks.lock(&age, wanted, run.timeout, cancelled).await?;
    kv.locks.leaving(&owner);
    let outcome = work.await;
    match &outcome {
        // Nobody may be granted what is not certain to be free.
        Err(Declined::Failed(
            ResourceError::Unclear { .. }
            | ResourceError::Foreign { .. }
            | ResourceError::Stopped { .. }
            | ResourceError::Fenced { .. },
        )) => {}
        Ok(_)
        | Err(
            Declined::Refused(_)
            | Declined::NoRoom
            | Declined::Failed(ResourceError::Unavailable { .. } | ResourceError::NoRoom),
        ) => {
            kv.locks.release(&owner);
        }
    }
    outcome
}

/// Returns the owner of the locks of a step.
fn owner(StepId { coordinator, attempt_number: AttemptNumber(attempt_number), step, tx: _ }: &StepId) -> TxId {
    let name = [&coordinator.0[..], &attempt_number.to_be_bytes(), &step.0.to_be_bytes()].concat();
    TxId::new(name).expect("26 bytes are an id")
}

fn come_to(Evaluation { writes, results }: Evaluation) -> (Vec<Write>, Bytes) {
    (writes.into_iter().map(|(key, value)| Write { key, value }).collect(), Results::encode(&results))
}

fn outcome_of(ran: Result<StepOutcome, Declined>) -> Result<StepOutcome, ResourceError> {
    match ran {
        Ok(outcome) => Ok(outcome),
        Err(Declined::Refused(refusal)) => Ok(StepOutcome::Refused(refusal)),
        Err(Declined::NoRoom) => Err(ResourceError::NoRoom),
        Err(Declined::Failed(error)) => Err(error),
    }
}
