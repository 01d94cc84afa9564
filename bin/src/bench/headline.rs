//! Two-phase commit over two participants, against what one unary call after the other would allow.

use super::finding::{Finding, Goal};
use super::floor;
use super::load::{Length, Pace, Shape};
use super::stage::{Stage, measure, names};
use super::{Effort, Report};
use std::time::Duration;
use undoubt_rocks::RocksStore;

/// There and back: a transaction over two participants is submitted and answered, and twice each prepared and voted,
/// committed and acknowledged.
const CALLS: f64 = 5.0;

/// Under way at a time, where the most is wanted.
const IN_FLIGHT: usize = 4_096;

/// The records of a transaction: of the decision and the end at the coordinator, of the vote and the commit at each
/// participant.
const RECORDS: f64 = 6.0;

/// The number of the floor's messages and records that travel together.
const FLOOR_BATCH: usize = 128;

pub async fn headline(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let cluster = stage.cluster(2).await?;
    let length = Length { warm_up: Duration::from_secs(1), measured: effort.measured };
    let store = floor::store(stage)?;
    let (mut echoes, mut rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut cpus, mut floors, mut over_floor) = (Vec::new(), Vec::new(), Vec::new());
    let mut parts = String::new();
    for _ in 0..effort.rounds {
        let echo = floor::unary(stage.echo(), 256, effort.measured).await?;
        let floor = floor_us(stage, &store, effort.measured / 2).await?;
        let shape = Shape::new(&stage.run_name(), &names(2));
        let (measured, cpu) = measure(&cluster, &shape, Pace::Closed { in_flight: IN_FLIGHT }, length).await?;
        let all = length.warm_up + length.measured;
        let each = |part: Duration| part.as_secs_f64() * 1e6 / (measured.per_s() * all.as_secs_f64());
        parts = format!(
            "coordinator {:.0}, both participants {:.0}, load {:.0} µs",
            each(cpu.coordinator),
            each(cpu.participants),
            each(cpu.load)
        );
        cpus.push(each(cpu.all()));
        floors.push(floor);
        over_floor.push(each(cpu.all()) / floor);
        echoes.push(echo);
        rates.push(measured.per_s());
        ratios.push(measured.per_s() / (echo / CALLS));
    }
    report.add(Finding::of_rounds("2pc/participants=2/echo-beside", echoes, "calls/s"));
    report.add(Finding::of_rounds("2pc/participants=2/rate", rates, "tx/s"));
    report.add(
        Finding::of_rounds("2pc/participants=2/times-unary", ratios, "x")
            .goal(Goal::AtLeast(3.0))
            .note("rate over (echoes at 256 in flight / 5 calls)"),
    );
    report.add(Finding::of_rounds("2pc/participants=2/cpu", cpus, "µs/tx").note(parts));
    report.add(Finding::of_rounds("floor/2pc/participants=2/cpu", floors, "µs/tx").note(format!(
        "{CALLS} messages there and back on a stream and {RECORDS} forced records, {FLOOR_BATCH} at a time"
    )));
    report.add(Finding::of_rounds("2pc/participants=2/cpu-over-floor", over_floor, "x"));
    Ok(())
}

/// CPU time of the messages and records that a transaction cannot do without, at their cheapest: what two cores have to spend
/// even if deciding, voting and locking were free.
async fn floor_us(stage: &Stage, store: &RocksStore, measured: Duration) -> anyhow::Result<f64> {
    let before = stage.echo_cpu()?;
    let calls = floor::streamed(stage.echo(), FLOOR_BATCH, measured).await? * measured.as_secs_f64();
    let between = stage.echo_cpu()?;
    let records = floor::rocks_writes(store, FLOOR_BATCH, measured).await? * measured.as_secs_f64();
    let after = stage.echo_cpu()?;
    let us = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() * 1e6;
    Ok(CALLS * us(before, between) / calls + RECORDS * us(between, after) / records)
}
