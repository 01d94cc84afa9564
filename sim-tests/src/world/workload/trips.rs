//! The events with which choreographed sagas begin: some of what clients have the first participant do publishes one.

use super::RETRY;
use crate::plan::{Host, MovedBy, Shape, Trips};
use crate::run::Work;
use crate::world::client::connect;
use crate::world::operator::desk;
use crate::world::shared_state::Shared;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::{Saga, Step, Submission, Transaction};
use undoubt_vocabulary::TxId;
use undoubt_work::event::Emit;

/// Keys of trips.
const KEYS: u64 = 3;

/// Returns work with an event that begins a trip, if this one is to begin one.
pub(super) fn begun(work: KvWork, at: u8, tx: &TxId, shape: &Shape) -> KvWork {
    let percent = shape.choreographed().map_or(0, |trips| u64::from(trips.percent));
    // By its id alone: whoever asks again has to ask for the very same.
    let lot = tx.as_bytes().iter().fold(7_u64, |lot, byte| lot.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    if at != 1 || lot % 100 >= percent {
        return work;
    }
    work.emit(Emit::new(Trips::TOPIC, Trips::BEGUN, key(lot / 100)).json(json!({ "note": tx.to_string() })))
}

/// Returns the work of a trip where clients do nothing else: no operation of those that workloads are made of.
pub(in crate::world) fn work(trips: &Trips) -> Work {
    let steps = if trips.alone == Some(MovedBy::Coordinator) { trips.steps } else { 1 };
    (1..=steps).map(|at| (at, Vec::new())).collect()
}

/// Returns what has a trip carried out, if this work stands for one.
pub(super) fn submission(tx: &TxId, work: &Work, shape: &Shape) -> Option<Submission> {
    let trips = shape.trips.as_ref().filter(|_| work.values().all(Vec::is_empty))?;
    let key = key(tx.as_bytes().iter().map(|byte| u64::from(*byte)).sum());
    Some(match trips.alone? {
        MovedBy::Events => {
            let begun = Emit::new(Trips::TOPIC, Trips::BEGUN, key).json(json!({ "note": tx.to_string() }));
            let first = Host::Participant(1).to_string();
            Transaction::with_id(tx.clone()).on(&first, KvWork::new().emit(begun)).into()
        }
        MovedBy::Coordinator => {
            let (row, seats) = (Trips::row(&tx.to_string()), format!("seats/{key}"));
            let step = |at: u8| {
                let name = Host::Participant(at).to_string();
                let take = Add::of(-1).floor(-i64::from(trips.seats));
                let work = KvWork::new().add(seats.clone(), take).put(row.clone(), key.clone());
                let undo = KvWork::new().add(seats.clone(), 1).delete(row.clone());
                Step::new(&name, &name, work).undo(undo).retry(RETRY)
            };
            let saga = (1..=trips.steps).map(step).fold(Saga::with_id(tx.clone()), Saga::step);
            match trips.expire_ms {
                Some(ms) => saga.timeout(Duration::from_millis(ms)).into(),
                None => saga.into(),
            }
        }
    })
}

fn key(lot: u64) -> String {
    format!("k{}", lot % KEYS)
}

/// Somebody publishes the beginning of a trip in a form that nobody knows (E10).
pub(in crate::world) fn begin_oddly(sim: &mut turmoil::Sim<'_>, shared: &Arc<Shared>) {
    let (name, shared) = (desk(shared), shared.clone());
    sim.client(name.clone(), async move {
        let lot = name.bytes().fold(0, |lot, byte| lot + u64::from(byte));
        let odd = Emit::new(Trips::TOPIC, Trips::BEGUN, key(lot)).schema("2").json(json!({ "remark": name }));
        let tx: TxId = format!("x-{name}").parse()?;
        let transaction = Transaction::with_id(tx).on(&Host::Participant(1).to_string(), KvWork::new().emit(odd));
        // Whether it takes effect shows in the log.
        let _ = connect(&shared).submit(transaction).await;
        Ok(())
    });
}
