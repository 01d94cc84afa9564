//! The simulated world: the real coordinator and participants on simulated machines.
//!
//! [`simulate`] runs a [`Plan`]: the very `run` of both servers, tonic over turmoil's network, the sessions, recovery,
//! inquiry and sweeping that ship, on simulated disks and clocks, with clients that remember what they were promised. A
//! run has two parts. First things go wrong as the plan says; then all is healed, and everything has to come to its end.
//!
//! | file | what |
//! | --- | --- |
//! | `server` | the hosts' software: opens the disk and calls `run` |
//! | `net` | connections behind the switch of a process, so that it can die between two lines |
//! | `session` | repeats and delays messages above TCP |
//! | `client`, `workload` | applications and their memory |
//! | `conductor` | lets time pass and makes faults happen |
//! | `operator` | people who decide alone |
//! | `reader` | those who read the events that participants publish |
//! | `subscribing` | what participants need to react to each other's events |
//! | `attendance` | operators who see to parked keys |
//! | `planted` | bugs that are planted in what participants publish |
//! | `impostor` | a stranger who says that it is the coordinator |
//! | `witness`, `duty` | what has to be known of a disk that was put back, and who accepts what it has lost |
//! | `auditor`, `finals` | what is found when all is over |
//! | `resource`, `temper` | what participants guard, and how it treats its callers |
//! | `database` | a stand-in for a database server, and the adapter over it |
//! | `service` | a stand-in for an HTTP service, and the participant that calls it |
//! | `observation` | the trace of it |
//! | `store_with_points` | crashes right before a participant's writes |
//! | `store` | bugs that are planted between a server and its disk |

mod attendance;
mod auditor;
mod cells;
mod client;
mod conductor;
mod database;
mod duty;
mod finals;
mod impostor;
mod net;
mod observation;
mod operator;
mod planted;
mod reader;
mod resource;
mod server;
mod service;
mod session;
mod shared_state;
mod store;
mod store_with_points;
mod subscribing;
mod temper;
mod witness;
mod workload;

use crate::plan::{Host, Plan};
use crate::random;
use crate::run::Run;
use crate::trace::Entry;
use conductor::Conductor;
use observation::{Recorder, observing};
use shared_state::Shared;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The simulated time that passes between two looks at the network.
const TICK: Duration = Duration::from_millis(10);

/// Segments that a connection may have in flight; more is an error of turmoil's.
const TCP_CAPACITY_SEGMENTS: usize = 4_096;

/// Runs a plan to its end.
pub fn simulate(plan: &Plan) -> Run {
    run(plan, Recorder::default()).0
}

/// Runs a plan and also tells every event of every library, in order, so that the first difference of two runs can be
/// found. The hash covers them too.
pub fn simulate_in_detail(plan: &Plan) -> (Run, Vec<String>) {
    let (run, details) = run(plan, Recorder::with_details());
    (run, details.unwrap_or_default())
}

fn run(plan: &Plan, recorder: Recorder) -> (Run, Option<Vec<String>>) {
    let shared = Shared::new(plan.clone(), recorder.clone());
    let lived = observing(&recorder, || live(&shared));
    let details = lived.details;
    finals::read_disks(&shared);
    let finals = std::mem::take(&mut *shared.finals());
    let run = Run {
        plan: plan.clone(),
        hash: lived.hash,
        simulated_us: lived.simulated_us,
        trace: lived.trace,
        calls: shared.calls(),
        finals,
        hits: lived.hits.into_iter().map(|hit| (hit.fault, hit.states)).collect(),
        reached: shared.reached().into_iter().map(|((host, point), count)| ((host, point.to_owned()), count)).collect(),
    };
    (run, details)
}

struct Lived {
    simulated_us: u64,
    hits: Vec<conductor::Hit>,
    hash: u64,
    trace: Vec<Entry>,
    details: Option<Vec<String>>,
}

fn live(shared: &Arc<Shared>) -> Lived {
    let shape = &shared.plan.shape;
    let mut sim = turmoil::Builder::new()
        .epoch(UNIX_EPOCH + shared_state::EPOCH)
        .rng_seed(random::seed_of(shared.plan.seed, "network"))
        .simulation_duration(Duration::from_secs(3_600))
        .tick_duration(TICK)
        .tcp_capacity(TCP_CAPACITY_SEGMENTS)
        .min_message_latency(Duration::from_millis(shape.latency_ms.0))
        .max_message_latency(Duration::from_millis(shape.latency_ms.1))
        .build();
    let takes_over = shared.plan.has(Host::Standby);
    let servers = shared.servers().chain(shared.databases()).chain(takes_over.then_some(Host::Standby));
    let servers = servers.collect::<Vec<_>>();
    for host in servers {
        let shared = shared.clone();
        sim.host(host.to_string(), move || server::serve(shared.clone(), host));
    }
    if takes_over {
        // Until it is needed.
        sim.crash(Host::Standby.to_string());
    }
    for number in 1..=shape.clients {
        sim.client(Host::Client(number).to_string(), client::apply(shared.clone(), number));
    }
    if shared.plan.puts_disks_back() {
        sim.client("duty", duty::watch(shared.clone()));
    }
    if shape.reacts() {
        sim.client("attendance", attendance::watch(shared.clone()));
    }
    for number in 1..=shape.readers {
        sim.client(Host::Reader(number).to_string(), reader::read(shared.clone(), number));
    }
    sim.client("auditor", auditor::audit(shared.clone()));
    let mut conductor = Conductor::new(sim, shared.clone());
    let patience = auditor::PATIENCE + Duration::from_secs(80);
    match conductor.run(patience) {
        Ok(()) => {
            let recoveries = conductor.compare_recoveries(finals::compared);
            shared.finals().recoveries = recoveries;
        }
        Err(failure) => shared.finals().failures.push(failure),
    }
    // Taken before the hosts are dropped, which happens in no particular order.
    let (hash, trace, details) = shared.recorder.take();
    Lived { simulated_us: conductor.now_us(), hits: std::mem::take(&mut conductor.hits), hash, trace, details }
}

#[cfg(test)]
mod tests;
