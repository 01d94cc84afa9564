//! The surroundings of the tests: a service, a store in memory, and the resource between the two.

#![allow(dead_code, reason = "the store is another crate's, and is used in part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

pub mod bank;
#[path = "../../../../kv/src/tests/memory.rs"]
pub mod memory;
pub mod server;

use bytes::Bytes;
use memory::MemoryStore;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_http::{HttpServices, Network, Settings};
use undoubt_participant::resource::{BranchId, ResourceError, StepId, Steps as _};
use undoubt_platform::dial::{SystemResolve, TcpDial};
use undoubt_platform::{Store, SystemClock};
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Direction, Execution, Prepare, RefusalCode, RunStep, StepIndex, StepOutcome,
    Timestamp, TxId,
};
use undoubt_work::Work;
use undoubt_work::http::{HttpWork, Request};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn network() -> Network {
    Network { resolve: Arc::new(SystemResolve), dial: Arc::new(TcpDial), encrypt: None, clock: Arc::new(SystemClock) }
}

pub fn settings(allow: &[&str]) -> Settings {
    Settings {
        allow: allow.iter().map(|prefix| (*prefix).to_owned()).collect(),
        min_free_bytes: 0,
        ..Settings::default()
    }
}

pub fn open(store: Arc<dyn Store>, url: &str) -> HttpServices {
    HttpServices::new(store, settings(&[url]), network()).unwrap()
}

pub fn fresh(url: &str) -> (Arc<MemoryStore>, HttpServices) {
    let store = Arc::new(MemoryStore::default());
    (store.clone(), open(store, url))
}

pub fn work(request: Request) -> Bytes {
    Work::from(request).encode(&[]).unwrap()
}

pub fn step(index: u16) -> StepId {
    StepId {
        coordinator: CoordinatorId([7; 16]),
        attempt_number: AttemptNumber(1 << 40 | 1),
        step: StepIndex(index),
        tx: TxId::new("t").unwrap(),
    }
}

pub fn run(step: &StepId, direction: Direction, work: Bytes) -> RunStep {
    RunStep {
        tx: step.tx.clone(),
        attempt_number: step.attempt_number,
        step: step.step,
        direction,
        acted_elsewhere: false,
        check_back: false,
        attempt: 1,
        begun_at: Timestamp(1),
        timeout: PATIENCE,
        work,
        inputs: Vec::new(),
    }
}

/// Returns the code and the detail of a refusal.
pub fn refused(outcome: StepOutcome) -> (RefusalCode, String) {
    match outcome {
        StepOutcome::Refused(refusal) => (refusal.code, refusal.detail),
        other @ (StepOutcome::Done { .. } | StepOutcome::Empty) => panic!("it is refused, not {other:?}"),
    }
}

/// Returns the answer in a result.
pub fn answer(outcome: StepOutcome) -> undoubt_work::http::HttpResult {
    let StepOutcome::Done { result, pending: false } = &outcome else { panic!("it is done, not {outcome:?}") };
    undoubt_work::Results::read(result).answer().unwrap().clone()
}

pub async fn act(http: &HttpServices, index: u16, request: Request) -> StepOutcome {
    act_within(http, index, request, PATIENCE).await
}

pub async fn act_within(http: &HttpServices, index: u16, request: Request, timeout: Duration) -> StepOutcome {
    let step = step(index);
    let run = RunStep { timeout, ..run(&step, Direction::Forward, work(request)) };
    http.act(step, run, CancellationToken::new()).await.unwrap()
}

/// Compensates, with the result of the action; an empty one of an action that was not answered.
pub async fn undo(
    http: &HttpServices,
    index: u16,
    request: Request,
    result: Bytes,
) -> Result<StepOutcome, ResourceError> {
    let step = step(index);
    let run = RunStep { inputs: vec![result], ..run(&step, Direction::Compensating, work(request)) };
    http.compensate(step, run).await
}

pub fn branch() -> BranchId {
    let StepId { coordinator, attempt_number, tx, .. } = step(0);
    BranchId { tx, attempt_number, coordinator }
}

pub fn prepare(work: HttpWork, execution: Execution) -> Prepare {
    let BranchId { tx, attempt_number, .. } = branch();
    let work = Work::from(work).encode(&[]).unwrap();
    Prepare { tx, attempt_number, begun_at: Timestamp(1), timeout: PATIENCE, execution, work }
}
