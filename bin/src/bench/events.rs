//! The cost of an event: the same transactions with one at each participant and without, by turns, and what readers see of it.

use super::finding::{Finding, Goal};
use super::floor;
use super::load::{Length, Pace, Shape};
use super::stage::{Cpu, Stage, measure, names};
use super::{Effort, Report};
use crate::cluster::{Cluster, Plan, Who};
use anyhow::Context;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::work::event::Emit;
use undoubt_client::{Client, Transaction};

/// The topic of the benchmark's events.
pub const TOPIC: &str = "bench";

const PARTITIONS: usize = 8;

/// The data of an event, as the figures of the log's design have it.
const EVENT_BYTES: usize = 300;

/// Transactions in flight, with the highest CPU time of participants with an event over that without one.
const IN_FLIGHT: [(usize, Option<f64>); 3] = [(1, None), (256, Some(1.25)), (1_024, Some(1.25))];

/// Transactions of each kind that are measured alone, by turns.
const LONE: u64 = 300;

/// Returns a cluster whose participants declare the topic.
pub async fn cluster(stage: &Stage, participants: usize) -> anyhow::Result<Cluster> {
    let declared = format!("[[topic]]\nname = \"{TOPIC}\"\npartitions = {PARTITIONS}\n");
    let path = stage.folder().join("events.toml");
    std::fs::write(&path, declared).context("writing the settings of participants")?;
    let configs = names(participants).into_iter().map(|name| (name, path.clone())).collect();
    stage.cluster_of(Plan { participants: names(participants), configs, ..Plan::default() }).await
}

/// Measures the cost of events.
pub async fn events(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    for participants in [1, 2] {
        let cluster = cluster(stage, participants).await?;
        under_load(stage, &cluster, participants, effort, report).await?;
        lone(stage, &cluster, participants, effort, report).await?;
    }
    Ok(())
}

async fn under_load(
    stage: &Stage,
    cluster: &Cluster,
    participants: usize,
    effort: Effort,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    let length = Length { warm_up: Duration::from_millis(500), measured: effort.measured };
    for (in_flight, goal) in IN_FLIGHT {
        let (mut rates, mut shares, mut all_shares, mut each) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            let mut costs = Vec::new();
            for event_bytes in [None, Some(EVENT_BYTES)] {
                let shape = Shape { event_bytes, ..Shape::new(&stage.run_name(), &names(participants)) };
                let (measured, cpu) = measure(cluster, &shape, Pace::Closed { in_flight }, length).await?;
                let transactions = measured.per_s() * (length.warm_up + length.measured).as_secs_f64();
                costs.push((measured.per_s(), us(cpu.participants, transactions), us(servers(cpu), transactions)));
            }
            let [(rate_without, cpu_without, all_without), (rate, cpu, all)] = costs[..] else { continue };
            rates.push(rate / rate_without);
            shares.push(cpu / cpu_without);
            all_shares.push(all / all_without);
            each.push((cpu - cpu_without) / participants as f64);
        }
        let name = |what: &str| format!("events/participants={participants}/in-flight={in_flight}/{what}");
        report.add(Finding::of_rounds(name("rate-over-without"), rates, "x"));
        let share = Finding::of_rounds(name("participants-cpu-over-without"), shares, "x");
        report.add(goal.map_or(share.clone(), |goal| share.goal(Goal::AtMost(goal))));
        report.add(Finding::of_rounds(name("servers-cpu-over-without"), all_shares, "x"));
        report.add(Finding::of_rounds(name("cpu-an-event"), each, "µs"));
    }
    Ok(())
}

fn servers(cpu: Cpu) -> Duration {
    cpu.coordinator + cpu.participants
}

fn us(cpu: Duration, transactions: f64) -> f64 {
    cpu.as_secs_f64() * 1e6 / transactions
}

async fn lone(
    stage: &Stage,
    cluster: &Cluster,
    participants: usize,
    effort: Effort,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator)?, cluster.options()?)?;
    let (mut without, mut with, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let run = stage.run_name();
        let mut took = [floor::histogram()?, floor::histogram()?];
        for number in 0..LONE {
            for (emits, took) in [false, true].into_iter().zip(&mut took) {
                let work = || work(&run, number, emits.then_some(EVENT_BYTES));
                let transaction = names(participants).iter().fold(Transaction::new(), |all, name| all.on(name, work()));
                let began = Instant::now();
                client.submit(&transaction).await?;
                took.saturating_record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
        }
        let median = |of: usize| took[of].value_at_quantile(0.5) as f64;
        without.push(median(0));
        with.push(median(1));
        ratios.push(median(1) / median(0));
    }
    let name = |what: &str| format!("events/participants={participants}/lone/{what}");
    report.add(Finding::of_rounds(name("without"), without, "µs"));
    report.add(Finding::of_rounds(name("with"), with, "µs"));
    report.add(Finding::of_rounds(name("over-without"), ratios, "x").goal(Goal::AtMost(1.05)));
    Ok(())
}

/// Returns work that adds to a counter, and publishes an event if it has bytes.
fn work(run: &str, number: u64, event_bytes: Option<usize>) -> KvWork {
    let key = format!("{run}/{number:06}");
    let work = KvWork::new().add(key.clone(), Add::of(1));
    match event_bytes {
        None => work,
        Some(bytes) => work.emit(Emit::new(TOPIC, "added", key).data(vec![b'x'; bytes])),
    }
}
