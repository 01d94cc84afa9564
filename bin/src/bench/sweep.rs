//! One thing varied at a time: participants, steps, contention, payload, transactions in flight.

use super::finding::{Finding, Goal};
use super::load::{Length, Measured, Mode, Pace, Shape};
use super::stage::{Cpu, Stage, measure, names};
use super::{Effort, Report};
use crate::cluster::Cluster;
use std::time::Duration;

const PARTICIPANTS: [usize; 5] = [1, 2, 3, 8, 16];
const COUNTERS: [u64; 5] = [100_000, 1_000, 100, 10, 1];
const PAYLOADS_BYTES: [usize; 5] = [16, 256, 4_096, 16_384, 65_536];
const IN_FLIGHT: [usize; 5] = [1, 16, 256, 1_024, 4_096];

/// The transactions in flight, where that is not what varies.
const DEFAULT_IN_FLIGHT: usize = 1_024;

/// Transactions under way together have at most so much payload.
const MAX_PAYLOAD_IN_FLIGHT_BYTES: usize = 16 << 20;

fn length(effort: Effort) -> Length {
    Length { warm_up: Duration::from_millis(500), measured: effort.measured }
}

/// CPU time of one transaction, in µs.
pub fn cpu_us(measured: &Measured, length: Length, cpu: Cpu) -> f64 {
    let all = (length.warm_up + length.measured).as_secs_f64();
    cpu.all().as_secs_f64() * 1e6 / (measured.per_s() * all)
}

/// The median rate, the latencies of the last round, and the median CPU time.
async fn one(
    name: &str,
    stage: &Stage,
    cluster: &Cluster,
    effort: Effort,
    report: &mut Report<'_>,
    (shape, in_flight): (impl Fn(&str) -> Shape, usize),
) -> anyhow::Result<f64> {
    let (mut rates, mut cpus, mut note) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..effort.rounds {
        let length = length(effort);
        let (measured, cpu) = measure(cluster, &shape(&stage.run_name()), Pace::Closed { in_flight }, length).await?;
        note = measured.summary();
        rates.push(measured.per_s());
        cpus.push(cpu_us(&measured, length, cpu));
    }
    let cpu = Finding::of_rounds(format!("{name}/cpu"), cpus, "µs/tx");
    let cost = cpu.value;
    report.add(Finding::of_rounds(format!("{name}/rate"), rates, "tx/s").note(note));
    report.add(cpu);
    Ok(cost)
}

pub async fn participants(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let mut costs = Vec::new();
    for count in PARTICIPANTS {
        let cluster = stage.cluster(count).await?;
        let (name, shape) = (format!("2pc/participants={count}"), |run: &str| Shape::new(run, &names(count)));
        let cost = one(&name, stage, &cluster, effort, report, (shape, DEFAULT_IN_FLIGHT)).await?;
        costs.push((count, cost));
    }
    let of = |count| costs.iter().find(|(of, _)| *of == count).map_or(f64::NAN, |(_, cost)| *cost);
    report.add(
        Finding::new("2pc/participants=16/cost-over-2", of(16) / of(2), "x")
            .goal(Goal::AtMost(8.0))
            .note("CPU time of a transaction over 16 participants, to that over 2; 8 is linear"),
    );
    Ok(())
}

pub async fn modes(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    for (name, mode, steps) in
        [("saga/steps=2", Mode::Saga, 2), ("saga/steps=5", Mode::Saga, 5), ("auto/steps=2", Mode::Auto, 2)]
    {
        let cluster = stage.cluster(steps).await?;
        let shape = |run: &str| Shape { mode, ..Shape::new(run, &names(steps)) };
        one(name, stage, &cluster, effort, report, (shape, DEFAULT_IN_FLIGHT)).await?;
    }
    Ok(())
}

pub async fn contention(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let cluster = stage.cluster(2).await?;
    for counters in COUNTERS {
        let shape = |run: &str| Shape { counters, ..Shape::new(run, &names(2)) };
        one(&format!("2pc/counters={counters}"), stage, &cluster, effort, report, (shape, 64)).await?;
    }
    Ok(())
}

pub async fn payloads(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let cluster = stage.cluster(2).await?;
    for bytes in PAYLOADS_BYTES {
        let shape = |run: &str| Shape { payload_bytes: Some(bytes), counters: 10_000, ..Shape::new(run, &names(2)) };
        let in_flight = DEFAULT_IN_FLIGHT.min(MAX_PAYLOAD_IN_FLIGHT_BYTES / bytes);
        one(&format!("2pc/payload={bytes}"), stage, &cluster, effort, report, (shape, in_flight)).await?;
    }
    Ok(())
}

pub async fn in_flight(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let cluster = stage.cluster(2).await?;
    for in_flight in IN_FLIGHT {
        let shape = |run: &str| Shape::new(run, &names(2));
        one(&format!("2pc/in-flight={in_flight}"), stage, &cluster, effort, report, (shape, in_flight)).await?;
    }
    Ok(())
}
