//! Latency at a steady rate, and what happens beyond what can be sustained.

use super::finding::{Finding, Goal};
use super::load::{Length, Pace, Shape};
use super::stage::{Stage, measure, names, usages};
use super::{Effort, Report};
use std::time::Duration;

/// Shares of the closed loop's rate at which latency is measured.
const SHARES_PERCENT: [u32; 3] = [25, 50, 80];

/// The number of times that an overload is above the sustainable rate.
const OVERLOAD: f64 = 10.0;

pub async fn open_loop(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let cluster = stage.cluster(2).await?;
    let length = Length { warm_up: Duration::from_millis(500), measured: effort.measured };
    let closed = Pace::Closed { in_flight: 1_024 };
    let (peak, _) = measure(&cluster, &Shape::new(&stage.run_name(), &names(2)), closed, length).await?;
    let peak = peak.per_s();
    for percent in SHARES_PERCENT {
        let (mut p50, mut p99) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            let pace = Pace::Open { per_s: peak * f64::from(percent) / 100.0, in_flight: 4_096 };
            let (measured, _) = measure(&cluster, &Shape::new(&stage.run_name(), &names(2)), pace, length).await?;
            p50.push(measured.quantile_us(0.5));
            p99.push(measured.quantile_us(0.99));
        }
        let name = format!("2pc/open-loop={percent}%");
        report.add(Finding::of_rounds(format!("{name}/p50"), p50, "µs"));
        report.add(Finding::of_rounds(format!("{name}/p99"), p99, "µs"));
    }
    overload(stage, effort, report).await
}

/// Ten times what can be sustained, from more streams than the coordinator has room for.
async fn overload(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    const STREAMS: usize = 8;
    let plan = crate::cluster::Plan {
        participants: names(2),
        // Less than the streams together would have under way, so that it has to refuse.
        coordinator_settings: vec!["max_open_transactions=8192".to_owned()],
        ..crate::cluster::Plan::default()
    };
    let cluster = stage.cluster_of(plan).await?;
    let length = Length { warm_up: Duration::from_secs(1), measured: effort.measured };
    let closed = Pace::Closed { in_flight: 1_024 };
    let (mut shares, mut note) = (Vec::new(), String::new());
    let (mut before, mut after) = (0, 0);
    for _ in 0..effort.rounds {
        let (peak, _) = measure(&cluster, &Shape::new(&stage.run_name(), &names(2)), closed, length).await?;
        before = before.max(usages(&cluster)?.coordinator.resident_bytes);
        let pace = Pace::Open { per_s: OVERLOAD * peak.per_s() / STREAMS as f64, in_flight: 4_096 };
        let streams = (0..STREAMS).map(|_| {
            let shape = Shape { timeout: Duration::from_secs(2), ..Shape::new(&stage.run_name(), &names(2)) };
            let cluster = &cluster;
            async move { measure(cluster, &shape, pace, length).await }
        });
        let all = futures::future::try_join_all(streams).await?;
        after = after.max(usages(&cluster)?.coordinator.resident_bytes);
        let goodput: f64 = all.iter().map(|(measured, _)| measured.per_s()).sum();
        note = all.first().map(|(measured, _)| measured.summary()).unwrap_or_default();
        shares.push(goodput / peak.per_s());
    }
    report
        .add(Finding::of_rounds("2pc/overload=10x/goodput", shares, "of the peak").goal(Goal::AtLeast(0.9)).note(note));
    let grown = after.saturating_sub(before) as f64 / f64::from(1 << 20);
    report.add(Finding::new("2pc/overload=10x/memory-grown", grown, "MiB").note("the coordinator's, at its most"));
    Ok(())
}
