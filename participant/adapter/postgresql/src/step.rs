//! Steps of sagas: a local transaction each, with the step's barrier in it.
//!
//! A step owns its lock keys under a name of its own, for a branch of the same transaction may have voted here and must keep
//! its keys when the step frees these.

use crate::attempt::Declined;
use crate::local::{Failed, Local, deadline_in, is_certain, kept, put_back, worker};
use crate::record::{clamped, failure, note_read, on_record};
use crate::shared::Shared;
use crate::value::literal;
use bytes::Bytes;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;
use undoubt_lock::{Age, Mode};
use undoubt_participant::resource::{Kept, ResourceError, StepId, StepState};
use undoubt_sql::{Place, RowNumber, Task};
use undoubt_vocabulary::{AttemptNumber, Refusal, RefusalCode, RunStep, StepOutcome, TxId};

pub(crate) const PUT_STEP: &str = "INSERT INTO undoubt.step (coordinator, attempt, step, tx, state, result, start, write) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

pub(crate) const PUT_MARKS: &str = "INSERT INTO undoubt.pending (coordinator, attempt, step, tx, key, begun_at) SELECT $1, $2, $3, $4, \
     key, $6 FROM unnest($5::bytea[]) AS key";

/// Raises an error if there is no barrier of an action that is in effect: what is done with it is done once.
pub(crate) const END_STEP: &str = "WITH ended AS (UPDATE undoubt.step SET state = $5, result = $6, start = $7, write = $8 WHERE \
     coordinator = $1 AND attempt = $2 AND step = $3 AND tx = $4 AND state = 'acted' RETURNING 1) SELECT undoubt.expect((SELECT count(*) \
     FROM ended), 1)";

pub(crate) const DROP_MARKS: &str =
    "DELETE FROM undoubt.pending WHERE coordinator = $1 AND attempt = $2 AND step = $3 AND tx = $4";

pub(crate) async fn act(
    shared: &Shared,
    step: &StepId,
    run: &RunStep,
    cancelled: &CancellationToken,
) -> Result<StepOutcome, ResourceError> {
    outcome_of(action(shared, step, run, cancelled).await)
}

async fn action(
    shared: &Shared,
    step: &StepId,
    run: &RunStep,
    cancelled: &CancellationToken,
) -> Result<StepOutcome, Declined> {
    let place = Place::Action { inputs: &run.inputs };
    let task = Task::read(&run.work, place, &shared.procedures, &shared.outbox.topics)?;
    if cancelled.is_cancelled() {
        return Err(Refusal::new(RefusalCode::Late, "the step was called off before its action began").into());
    }
    let deadline = deadline_in(run.timeout);
    let done = async {
        let worker = worker(shared, &step.tx, deadline, cancelled).await?;
        let most_bytes = shared.room().largest();
        let local = Local {
            shared,
            task: &task,
            session: worker.session(),
            step: Some(step),
            keeps_records: true,
            deadline,
            cancelled,
            most_bytes,
        };
        let tried = async {
            let result = local.run().await?;
            let own = own(step).map_err(Failed::free)?;
            let mut rows: Vec<_> = local.outcome().into_iter().collect();
            let numbers = shared.numbers().map_err(Failed::free)?;
            let row = numbers.next();
            rows.push(local.session.joined(PUT_STEP, &[&own[..], &barrier("acted", &result, row)].concat()));
            let pending = !task.pend.is_empty();
            if pending {
                let keys = literal::keys(task.pend.iter().map(|key| &key[..]));
                let marks = [keys, literal::number(clamped(run.begun_at.0))];
                rows.push(local.session.joined(PUT_MARKS, &[&own[..], &marks].concat()));
            }
            match local.events(place, &result, &step.tx) {
                Ok(events) => rows.extend(events),
                Err(refusal) => return Err(local.undone(refusal).await),
            }
            local.commit(Vec::new(), rows).await?;
            numbers.note_stable(row);
            local.published();
            Ok(StepOutcome::Done { result, pending })
        };
        let tried = tried.await;
        put_back(shared, worker, tried)
    };
    under_locks(shared, step, run, task.locks(), cancelled, done).await
}

pub(crate) async fn compensate(shared: &Shared, step: &StepId, run: &RunStep) -> Result<StepOutcome, ResourceError> {
    finish(shared, step, run, "compensated").await
}

pub(crate) async fn complete(shared: &Shared, step: &StepId, run: &RunStep) -> Result<StepOutcome, ResourceError> {
    finish(shared, step, run, "completed").await
}

async fn finish(
    shared: &Shared,
    step: &StepId,
    run: &RunStep,
    state: &'static str,
) -> Result<StepOutcome, ResourceError> {
    match outcome_of(ending(shared, step, run, state).await)? {
        // What is open finishes: it is tried again here, not at the coordinator.
        StepOutcome::Refused(Refusal { code: RefusalCode::Unavailable, detail }) => {
            Err(ResourceError::Unavailable { cause: detail })
        }
        outcome @ (StepOutcome::Done { .. } | StepOutcome::Empty | StepOutcome::Refused(_)) => Ok(outcome),
    }
}

/// Does the work that ends a step for good, and stores with it that the step has this state.
async fn ending(shared: &Shared, step: &StepId, run: &RunStep, state: &'static str) -> Result<StepOutcome, Declined> {
    let place = Place::Ending { inputs: &run.inputs };
    let task = Task::read(&run.work, place, &shared.procedures, &shared.outbox.topics)?;
    let mut locks = task.locks().clone();
    // Who looks at a mark holds its key's lock.
    let marked = marked_by(shared, step).await.map_err(Declined::Failed)?;
    locks.extend(marked.into_iter().map(|key| (key, Mode::Exclusive)));
    let (deadline, nobody) = (deadline_in(run.timeout), CancellationToken::new());
    let done = async {
        let worker = worker(shared, &step.tx, deadline, &nobody).await?;
        let local = Local {
            shared,
            task: &task,
            session: worker.session(),
            step: Some(step),
            keeps_records: true,
            deadline,
            cancelled: &nobody,
            most_bytes: usize::MAX,
        };
        let tried = async {
            let result = local.run().await?;
            let own = own(step).map_err(Failed::free)?;
            let mut rows: Vec<_> = local.outcome().into_iter().collect();
            let numbers = shared.numbers().map_err(Failed::free)?;
            let row = numbers.next();
            // An action elsewhere has left no barrier. If there is one all the same, the insertion fails, and nothing is done.
            let put = if run.acted_elsewhere { PUT_STEP } else { END_STEP };
            rows.push(local.session.joined(put, &[&own[..], &barrier(state, &[], row)].concat()));
            match local.events(place, &result, &step.tx) {
                Ok(events) => rows.extend(events),
                Err(refusal) => return Err(local.undone(refusal).await),
            }
            local.commit(vec![local.session.joined(DROP_MARKS, &own)], rows).await?;
            numbers.note_stable(row);
            local.published();
            Ok(StepOutcome::Done { result: Bytes::new(), pending: false })
        };
        let tried = tried.await;
        put_back(shared, worker, tried)
    };
    under_locks(shared, step, run, &locks, &nobody, done).await
}

/// Runs with the keys locked, and frees them where it is certain that nothing of it is under way.
async fn under_locks(
    shared: &Shared,
    step: &StepId,
    run: &RunStep,
    wanted: &BTreeMap<Bytes, Mode>,
    cancelled: &CancellationToken,
    work: impl Future<Output = Result<StepOutcome, Declined>>,
) -> Result<StepOutcome, Declined> {
    let owner = owner(step);
    let age = Age { begun_at: run.begun_at, tx: owner.clone() };
    shared.locks.lock(&age, wanted, run.timeout, cancelled).await?;
    shared.locks.leaving(&owner);
    let outcome = work.await;
    if outcome.as_ref().err().is_none_or(is_certain) {
        shared.locks.release(&owner);
    }
    outcome
}

pub(crate) async fn store_empty(shared: &Shared, step: &StepId) -> Result<(), ResourceError> {
    on_record(shared, async move |session| {
        let statement = "INSERT INTO undoubt.step (coordinator, attempt, step, tx, state, result) VALUES ($1, $2, $3, $4, 'empty', '') ON \
             CONFLICT (coordinator, attempt, step, tx) DO UPDATE SET state = 'empty', result = ''";
        let (coordinator, attempt, index, tx) = keys(step);
        session.execute(statement, &[&coordinator, &attempt, &index, &tx]).await
    })
    .await
    .map(drop)
}

/// Returns what became of a step, once no session can carry it out any more.
pub(crate) async fn settle(shared: &Shared, step: &StepId) -> Result<Option<StepState>, ResourceError> {
    shared.sessions.end_suspects().await?;
    let rows = on_record(shared, async move |session| {
        let statement = "SELECT state, result, EXISTS (SELECT FROM undoubt.pending p WHERE (p.coordinator, p.attempt, p.step, p.tx) = \
             (s.coordinator, s.attempt, s.step, s.tx)), start, write FROM undoubt.step s WHERE coordinator = $1 AND attempt = $2 AND step = $3 AND \
             tx = $4";
        let (coordinator, attempt, index, tx) = keys(step);
        session.query(statement, &[&coordinator, &attempt, &index, &tx]).await
    })
    .await?;
    if let Some(row) = rows.first() {
        note_read(shared, row, 3)?;
    }
    let state = rows.first().map(|row| {
        let unreadable = |error: tokio_postgres::Error| failure(&error);
        let result: Vec<u8> = row.try_get(1).map_err(unreadable)?;
        state_of(row.try_get(0).map_err(unreadable)?, Kept::Here(result.into()), row.try_get(2).map_err(unreadable)?)
    });
    shared.locks.release(&owner(step));
    state.transpose()
}

/// Reads a barrier's state as it is stored.
pub(crate) fn state_of(state: &str, result: Kept, pending: bool) -> Result<StepState, ResourceError> {
    match state {
        "acted" => Ok(StepState::Acted { result, pending }),
        "compensated" => Ok(StepState::Compensated),
        "completed" => Ok(StepState::Completed),
        "empty" => Ok(StepState::Empty),
        other => Err(crate::record::damaged(&format!("a step has the state {other:?}"))),
    }
}

pub(crate) async fn result_of(shared: &Shared, step: &StepId) -> Result<Option<Bytes>, ResourceError> {
    let result: Option<Vec<u8>> = on_record(shared, async move |session| {
        let statement = "SELECT result FROM undoubt.step WHERE coordinator = $1 AND attempt = $2 AND step = $3 AND tx = $4 AND state = \
             'acted'";
        let (coordinator, attempt, index, tx) = keys(step);
        let rows = session.query(statement, &[&coordinator, &attempt, &index, &tx]).await?;
        rows.first().map(|row| row.try_get(0)).transpose()
    })
    .await?;
    Ok(result.map(Bytes::from))
}

async fn marked_by(shared: &Shared, step: &StepId) -> Result<Vec<Bytes>, ResourceError> {
    on_record(shared, async move |session| {
        let statement =
            "SELECT key FROM undoubt.pending WHERE coordinator = $1 AND attempt = $2 AND step = $3 AND tx = $4";
        let (coordinator, attempt, index, tx) = keys(step);
        let rows = session.query(statement, &[&coordinator, &attempt, &index, &tx]).await?;
        rows.iter().map(|row| row.try_get::<_, Vec<u8>>(0).map(Bytes::from)).collect()
    })
    .await
}

fn keys(step: &StepId) -> (&[u8], i64, i32, &[u8]) {
    (&step.coordinator.0, clamped(step.attempt_number.0), step.step.0.into(), step.tx.as_bytes())
}

/// Returns the literals of a step's id.
fn own(step: &StepId) -> Result<[String; 4], Refusal> {
    Ok([
        literal::bytes(&step.coordinator.0),
        literal::number(kept(step.attempt_number)?),
        literal::number(step.step.0),
        literal::bytes(step.tx.as_bytes()),
    ])
}

/// Returns the literals of a barrier, which follow those of the step's id.
fn barrier(state: &'static str, result: &[u8], row: RowNumber) -> [String; 4] {
    let (start, write) = (literal::number(row.start), literal::number(clamped(row.write)));
    [literal::word(state), literal::bytes(result), start, write]
}

/// Returns the owner of the lock keys of a step.
fn owner(StepId { coordinator, attempt_number: AttemptNumber(attempt_number), step, tx: _ }: &StepId) -> TxId {
    let name = [&coordinator.0[..], &attempt_number.to_be_bytes(), &step.0.to_be_bytes()].concat();
    TxId::new(name).expect("26 bytes are an id")
}

fn outcome_of(ran: Result<StepOutcome, Declined>) -> Result<StepOutcome, ResourceError> {
    match ran {
        Ok(outcome) => Ok(outcome),
        Err(Declined::Refused(refusal)) => Ok(StepOutcome::Refused(refusal)),
        Err(Declined::NoRoom) => Err(ResourceError::NoRoom),
        Err(Declined::Failed(error)) => Err(error),
    }
}
