//! Steps of sagas: a local transaction each, with the step's barrier in it.
//!
//! A step owns its lock keys under a name of its own, for a branch of the same transaction may have voted here and must keep
//! its keys when the step frees these.

use crate::attempt::Declined;
use crate::local::{Failed, Local, Tried, deadline_in, in_time, is_certain, put_back};
use crate::record::{binary, number, rows, run};
use crate::session::Session;
use crate::shared::Shared;
use crate::value::bytes;
use bytes::Bytes;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;
use undoubt_lock::{Age, Mode};
use undoubt_participant::resource::{Kept, ResourceError, StepId, StepState};
use undoubt_sql::{Place, Task};
use undoubt_vocabulary::{AttemptNumber, Refusal, RefusalCode, RunStep, StepOutcome, TxId};

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
    let most_bytes = shared.room().largest();
    let local = Local { shared, task: &task, step: Some(step), deadline, cancelled, most_bytes };
    let run_number = shared.sessions.hold()?.run;
    let done = in_worker(&local, step, async |session: &mut Session| {
        let result = local.run(session, &local.write()).await?;
        let pending = !task.pend.is_empty();
        let marks = match pending {
            true => format!("{}; ", put_marks(&task, step, run)),
            false => String::new(),
        };
        let put = put_step(step, "acted", run_number, &result);
        let events = local.publish(session, place, &result, &step.tx).await?;
        local.last(session, &format!("{}{put}; {marks}{events}COMMIT", local.outcome())).await?;
        shared.witness.count(run_number);
        local.published();
        Ok(StepOutcome::Done { result, pending })
    });
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
    let local = Local { shared, task: &task, step: Some(step), deadline, cancelled: &nobody, most_bytes: usize::MAX };
    let run_number = shared.sessions.hold()?.run;
    let done = in_worker(&local, step, async |session: &mut Session| {
        let result = local.run(session, &local.write()).await?;
        let of_step = of_step(step);
        // An action elsewhere has left no barrier. If there is one all the same, the insertion fails, and nothing is done.
        let barrier = match run.acted_elsewhere {
            true => put_step(step, state, run_number, &[]),
            false => format!(
                "UPDATE undoubt_step SET state = '{state}', undone_run = {run_number}, result = '' WHERE {of_step} AND state = 'acted'"
            ),
        };
        if local.record(session, &barrier).await? != 1 {
            let detail = "the database does not have the barrier of the action, which is to be undone or completed";
            return Err(Failed::free(Refusal::new(RefusalCode::Unavailable, detail)));
        }
        let events = local.publish(session, place, &result, &step.tx).await?;
        let last = format!("{}DELETE FROM undoubt_pending WHERE {of_step}; {events}COMMIT", local.outcome());
        local.last(session, &last).await?;
        shared.witness.count(run_number);
        local.published();
        Ok(StepOutcome::Done { result: Bytes::new(), pending: false })
    });
    under_locks(shared, step, run, &locks, &nobody, done).await
}

/// Runs a transaction on a worker's session, which is in none afterwards.
async fn in_worker(
    local: &Local<'_>,
    step: &StepId,
    transaction: impl AsyncFnOnce(&mut Session) -> Tried<StepOutcome>,
) -> Result<StepOutcome, Declined> {
    let Local { shared, deadline, cancelled, .. } = *local;
    let mut worker = in_time(shared.sessions.worker(), "workers", &step.tx, deadline, cancelled).await?;
    let tried = match transaction(&mut worker.session).await {
        Ok(done) => Ok(done),
        Err(failed) => Err(local.undone(&mut worker.session, failed).await),
    };
    put_back(shared, worker, tried)
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
    let sql = format!(
        "{} ON DUPLICATE KEY UPDATE state = 'empty', result = ''",
        put_step(step, "empty", shared.sessions.hold()?.run, &[])
    );
    run(shared, &sql).await.map(drop)
}

/// Returns what became of a step, once no session can carry it out any more.
pub(crate) async fn settle(shared: &Shared, step: &StepId) -> Result<Option<StepState>, ResourceError> {
    shared.sessions.end_suspects().await?;
    let of_step = of_step(step);
    let sql = format!(
        "SELECT state, result, EXISTS (SELECT 1 FROM undoubt_pending WHERE {of_step}) FROM undoubt_step WHERE {of_step}"
    );
    let found = rows(shared, &sql).await?;
    let state =
        found.first().map(|row| state_of(&binary(row, 0)?, Kept::Here(binary(row, 1)?.into()), number(row, 2)? > 0));
    shared.locks.release(&owner(step));
    state.transpose()
}

/// Reads a barrier's state as it is stored.
pub(crate) fn state_of(state: &[u8], result: Kept, pending: bool) -> Result<StepState, ResourceError> {
    match state {
        b"acted" => Ok(StepState::Acted { result, pending }),
        b"compensated" => Ok(StepState::Compensated),
        b"completed" => Ok(StepState::Completed),
        b"empty" => Ok(StepState::Empty),
        other => Err(crate::record::damaged(&format!("a step has the state {:?}", String::from_utf8_lossy(other)))),
    }
}

pub(crate) async fn result_of(shared: &Shared, step: &StepId) -> Result<Option<Bytes>, ResourceError> {
    let sql = format!("SELECT result FROM undoubt_step WHERE {} AND state = 'acted'", of_step(step));
    rows(shared, &sql).await?.first().map(|row| binary(row, 0).map(Bytes::from)).transpose()
}

async fn marked_by(shared: &Shared, step: &StepId) -> Result<Vec<Bytes>, ResourceError> {
    let sql = format!("SELECT marked FROM undoubt_pending WHERE {}", of_step(step));
    rows(shared, &sql).await?.iter().map(|row| binary(row, 0).map(Bytes::from)).collect()
}

/// Returns the condition that is true of the rows of a step.
fn of_step(StepId { coordinator, attempt_number, step, tx }: &StepId) -> String {
    format!(
        "coordinator = {} AND attempt = {} AND step = {} AND tx = {}",
        bytes(&coordinator.0),
        attempt_number.0,
        step.0,
        bytes(tx.as_bytes())
    )
}

fn values_of(StepId { coordinator, attempt_number, step, tx }: &StepId) -> String {
    format!("{}, {}, {}, {}", bytes(&coordinator.0), attempt_number.0, step.0, bytes(tx.as_bytes()))
}

fn put_step(step: &StepId, state: &str, run: u64, result: &[u8]) -> String {
    let (values, result) = (values_of(step), bytes(result));
    format!(
        "INSERT INTO undoubt_step (coordinator, attempt, step, tx, state, run, result) VALUES ({values}, '{state}', {run}, {result})"
    )
}

fn put_marks(task: &Task, step: &StepId, run: &RunStep) -> String {
    let (values, begun_at) = (values_of(step), run.begun_at.0);
    let marks: Vec<String> = task.pend.iter().map(|key| format!("({values}, {}, {begun_at})", bytes(key))).collect();
    format!(
        "INSERT INTO undoubt_pending (coordinator, attempt, step, tx, marked, begun_at) VALUES {}",
        marks.join(", ")
    )
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
