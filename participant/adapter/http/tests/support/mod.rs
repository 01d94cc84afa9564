//! What the tests stand on: a service, a store in memory, and the resource between the two.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

pub mod bank;
#[path = "../../../kv/src/tests/memory.rs"]
pub mod memory;
pub mod server;

use bytes::Bytes;
use memory::MemoryStore;
use std::sync::Arc;
use std::time::Duration;
use undoubt_http::{HttpServices, Network, Settings};
use undoubt_participant::resource::StepId;
use undoubt_platform::dial::{SystemResolve, TcpDial};
use undoubt_platform::{Store, SystemClock};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Direction, RunStep, StepIndex, StepOutcome, Timestamp, TxId};
use undoubt_work::Work;
use undoubt_work::http::Request;

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
        attempt: 1,
        begun_at: Timestamp(1),
        timeout: PATIENCE,
        work,
        inputs: Vec::new(),
    }
}

/// Returns the code and the detail of a refusal.
pub fn refused(outcome: StepOutcome) -> (undoubt_vocabulary::RefusalCode, String) {
    match outcome {
        StepOutcome::Refused(refusal) => (refusal.code, refusal.detail),
        other @ (StepOutcome::Done { .. } | StepOutcome::Empty) => panic!("it is refused, not {other:?}"),
    }
}
