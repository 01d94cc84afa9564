//! The cost of a saga over HTTP services: alone, beside its bare calls and the forced writes that it cannot do without; and under
//! load, beside the same saga over key-value participants, and beside a peer at the same service. The services do nothing, in a process whose CPU time does not count.

use super::finding::{Finding, Goal};
use super::gateway::Gateway;
use super::load::{Length, Mode, Pace, Shape};
use super::peer::HOW_TO_INSTALL;
use super::peer::dtmrs::{self, Dtmrs};
use super::service::Caller;
use super::stage::{self, Stage, names};
use super::{Effort, Report, floor};
use crate::cluster::{Cluster, Plan, Who};
use anyhow::Context as _;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_client::work::http::Request;
use undoubt_client::{Client, Saga, Step};
use undoubt_test_servers::Postgres;

/// Sagas of a round that are submitted one after the other.
const LONE: u64 = 300;

/// The steps of a saga.
const STEPS: usize = 2;

/// Forced writes that a step cannot do without: that it is attempted is stored before the call, and what it came to after it.
const FORCED_WRITES_A_STEP: f64 = 2.0;

/// Forced writes of a saga beside those of its steps: its beginning is stored before anything is sent, and its end before it is told.
const FORCED_WRITES_A_SAGA: f64 = 2.0;

/// Sagas under way at a time, and the rate that a peer reached with so many on such a machine: DTM over PostgreSQL, and Restate.
const IN_FLIGHT: [(usize, Option<f64>); 3] = [(16, Some(935.0)), (64, None), (256, Some(795.0))];

/// Clients of the peer, one saga at a time each.
const PEER_CLIENTS: [usize; 2] = [16, 64];

pub async fn services(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let address = stage.service().await?;
    let (over_http, over_kv) = (over_http(stage, &address).await?, stage.cluster(STEPS).await?);
    lone(stage, &over_http, &address, effort, report).await?;
    let load = Load {
        stage,
        over_http: (&over_http, Gateway::start(stage.command_line()?, &over_http).await?),
        over_kv: (&over_kv, Gateway::start(stage.command_line()?, &over_kv).await?),
        url: format!("http://{address}/done"),
        length: Length { warm_up: Duration::from_secs(1), measured: effort.measured },
    };
    under_load(&load, effort, report).await?;
    beside_a_peer(stage, &over_http, &address, effort, report).await
}

/// Returns a cluster whose participants call the service.
async fn over_http(stage: &Stage, address: &str) -> anyhow::Result<Cluster> {
    let config = stage.folder().join("services.toml");
    let text =
        format!("[resource]\nkind = \"http\"\n\n[http]\nallow = [\"http://{address}\"]\nmax_calls_per_host = 1000\n");
    std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    let participants = names(STEPS);
    let configs = participants.iter().map(|name| (name.clone(), config.clone())).collect();
    stage.cluster_of(Plan { participants, configs, ..Plan::default() }).await
}

async fn lone(
    stage: &Stage,
    cluster: &Cluster,
    address: &str,
    effort: Effort,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator)?, cluster.options()?)?;
    let (store, mut caller) = (floor::store(stage)?, Caller::connect(address).await?);
    let (mut floors, mut medians, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut all_floors, mut all_ratios) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let us = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let (mut forced, mut trip) = (floor::histogram()?, floor::histogram()?);
        let (mut called, mut whole) = (floor::histogram()?, floor::histogram()?);
        for number in 0..LONE {
            forced.saturating_record(us(floor::rocks_write(&store, number).await?));
            trip.saturating_record(us(floor::round_trip(stage.echo()).await?));
            called.saturating_record(us(caller.call().await?));
            let call = || Request::post(&format!("http://{address}/done"));
            let step = |(place, name): (usize, &String)| Step::new(&format!("s{place}"), name, call()).undo(call());
            let saga = names(STEPS).iter().enumerate().map(step).fold(Saga::new(), Saga::step);
            let began = Instant::now();
            client.submit(&saga).await?;
            whole.saturating_record(us(began.elapsed()));
        }
        let median = |of: &hdrhistogram::Histogram<u64>| of.value_at_quantile(0.5) as f64;
        let floor = STEPS as f64 * (median(&called) + FORCED_WRITES_A_STEP * median(&forced));
        floors.push(floor);
        medians.push(median(&whole));
        ratios.push(median(&whole) / floor);
        let all = floor + FORCED_WRITES_A_SAGA * median(&forced) + (STEPS + 1) as f64 * median(&trip);
        all_floors.push(all);
        all_ratios.push(median(&whole) / all);
    }
    report.add(Finding::of_rounds("floor/two-calls-and-four-forced-writes", floors, "µs"));
    report.add(Finding::of_rounds("services/lone/median", medians, "µs"));
    report.add(Finding::of_rounds("services/lone/times-floor", ratios, "x").goal(Goal::AtMost(1.3)));
    report.add(Finding::of_rounds("floor/two-calls-six-forced-writes-and-three-round-trips", all_floors, "µs"));
    report.add(Finding::of_rounds("services/lone/times-all-that-waits", all_ratios, "x"));
    Ok(())
}

/// The same saga as the peer's, at the same service, by as many clients.
async fn beside_a_peer(
    stage: &Stage,
    cluster: &Cluster,
    address: &str,
    effort: Effort,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    let settings = [("max_connections", "256")];
    let (Some(program), Ok(postgres)) = (dtmrs::program(), Postgres::start(&settings).await) else {
        report.skip("services/times-dtmrs", format!("it or its PostgreSQL is not installed; {HOW_TO_INSTALL}"));
        return Ok(());
    };
    let peer = Dtmrs::start(&program, &postgres, address).await?;
    let length = Length { warm_up: Duration::from_secs(1), measured: effort.measured };
    for clients in PEER_CLIENTS {
        let (mut theirs, mut times) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            let their = peer.sagas_per_s(&postgres, &stage.run_name(), clients, effort.measured).await?;
            let service = Some(format!("http://{address}/done"));
            let shape = Shape { mode: Mode::Saga, service, ..Shape::new(&stage.run_name(), &names(STEPS)) };
            let (ours, _) = stage::measure(cluster, &shape, Pace::Closed { in_flight: clients }, length).await?;
            theirs.push(their);
            times.push(ours.per_s() / their);
        }
        let theirs =
            Finding::of_rounds(format!("services/peer/dtmrs-on-postgresql/clients={clients}"), theirs, "sagas/s");
        report.add(theirs);
        let times = Finding::of_rounds(format!("services/times-dtmrs/clients={clients}"), times, "x");
        report.add(times.goal(Goal::AtLeast(3.0)));
    }
    Ok(())
}

/// The same saga over HTTP services and over key-value participants, by way of gRPC or of a gateway.
struct Load<'a> {
    stage: &'a Stage,
    over_http: (&'a Cluster, Gateway),
    over_kv: (&'a Cluster, Gateway),
    url: String,
    length: Length,
}

/// The way in which sagas are submitted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Grpc,
    Gateway,
}

/// The result of a load.
struct Cost {
    sagas_per_s: f64,
    /// The CPU time of coordinator, participants and the gateway that was used.
    cpu_us_a_saga: f64,
}

impl Load<'_> {
    async fn measure(&self, over_http: bool, by: By, in_flight: usize) -> anyhow::Result<Cost> {
        let (cluster, gateway) = if over_http { &self.over_http } else { &self.over_kv };
        let service = over_http.then(|| self.url.clone());
        let shape = Shape { mode: Mode::Saga, service, ..Shape::new(&self.stage.run_name(), &names(STEPS)) };
        let before = servers_cpu(cluster)? + gateway.cpu()?;
        let sagas_per_s = match by {
            By::Grpc => {
                let pace = Pace::Closed { in_flight };
                stage::measure(cluster, &shape, pace, self.length).await?.0.per_s()
            }
            By::Gateway => gateway.sagas_per_s(&shape, in_flight, self.length).await?,
        };
        let used = servers_cpu(cluster)? + gateway.cpu()? - before;
        // The CPU time of the warm-up counts, so its sagas do.
        let sagas = sagas_per_s * (self.length.warm_up + self.length.measured).as_secs_f64();
        Ok(Cost { sagas_per_s, cpu_us_a_saga: used.as_secs_f64() * 1e6 / sagas })
    }
}

fn servers_cpu(cluster: &Cluster) -> anyhow::Result<Duration> {
    let usages = stage::usages(cluster)?;
    Ok(usages.coordinator.cpu + usages.participants.iter().map(|usage| usage.cpu).sum::<Duration>())
}

async fn under_load(load: &Load<'_>, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    for (by, way) in [(By::Grpc, "grpc"), (By::Gateway, "gateway")] {
        for (in_flight, goal) in IN_FLIGHT {
            let (mut rates, mut per_saga, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..effort.rounds {
                let http = load.measure(true, by, in_flight).await?;
                let kv = load.measure(false, by, in_flight).await?;
                rates.push(http.sagas_per_s);
                per_saga.push(http.cpu_us_a_saga);
                ratios.push(http.cpu_us_a_saga / kv.cpu_us_a_saga);
            }
            let name = |what: &str| format!("services/{way}/{what}/in-flight={in_flight}");
            let rate = Finding::of_rounds(name("rate"), rates, "sagas/s");
            report.add(goal.map_or(rate.clone(), |goal| rate.goal(Goal::AtLeast(goal))));
            report
                .add(Finding::of_rounds(name("cpu-a-saga"), per_saga, "µs").note("coordinator, participants, gateway"));
            report.add(Finding::of_rounds(name("cpu-over-key-value"), ratios, "x").goal(Goal::AtMost(3.0)));
        }
    }
    Ok(())
}
