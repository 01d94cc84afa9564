//! Two-phase commit over two participants, against what one unary call after the other would allow.

use super::finding::{Finding, Goal};
use super::floor;
use super::load::{Length, Pace, Shape};
use super::stage::{Stage, measure, names};
use super::{Effort, Report};
use std::time::Duration;

/// A transaction over two participants is submitted, prepared twice and committed twice.
const CALLS: f64 = 5.0;

/// Under way at a time, where the most is wanted.
const IN_FLIGHT: usize = 4_096;

pub async fn headline(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let cluster = stage.cluster(2).await?;
    let length = Length { warm_up: Duration::from_secs(1), measured: effort.measured };
    let (mut echoes, mut rates, mut ratios, mut cpus) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut parts = String::new();
    for _ in 0..effort.rounds {
        let echo = floor::unary(stage.echo(), 256, effort.measured).await?;
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
        echoes.push(echo);
        rates.push(measured.per_s());
        ratios.push(measured.per_s() / (echo / CALLS));
    }
    report.add(Finding::of_rounds("2pc/participants=2/echo-beside", echoes, "calls/s"));
    report.add(Finding::of_rounds("2pc/participants=2/rate", rates, "tx/s").goal(Goal::AtLeast(30_000.0)));
    report.add(
        Finding::of_rounds("2pc/participants=2/times-unary", ratios, "x")
            .goal(Goal::AtLeast(3.0))
            .note("rate over (echoes at 256 in flight / 5 calls)"),
    );
    report.add(Finding::of_rounds("2pc/participants=2/cpu", cpus, "µs/tx").note(parts));
    Ok(())
}
