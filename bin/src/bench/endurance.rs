//! An hour's worth of transactions: neither memory nor disk may go on growing.

use super::finding::{Finding, Goal};
use super::load::{self, Length, Pace, Shape};
use super::stage::{Stage, names, usages};
use super::{Effort, Report};
use crate::cluster::{Cluster, Plan, Who};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Ended transactions are kept for so long here, so that collection has its turn often.
const RETENTION: Duration = Duration::from_secs(5);

const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// The usage at one moment, of all servers together.
#[derive(Clone, Copy, Debug)]
struct Sample {
    memory_bytes: u64,
    disk_bytes: u64,
}

/// Runs `transactions` at about the highest rate.
pub async fn endurance(
    stage: &Stage,
    effort: Effort,
    transactions: u64,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    let settings = vec![format!("retention_s={}", RETENTION.as_secs())];
    let plan = Plan { participants: names(2), coordinator_settings: settings, ..Plan::default() };
    let cluster = stage.cluster_of(plan).await?;
    let coordinator = cluster.url(Who::Coordinator)?;
    let pace = Pace::Closed { in_flight: 1_024 };
    let trial = Length { warm_up: Duration::from_secs(1), measured: effort.measured };
    let rate = load::run(&coordinator, &Shape::new(&stage.run_name(), &names(2)), pace, trial).await?.per_s();
    // No shorter than what it takes to see whether the growth ends.
    let lasts = Duration::from_secs_f64(transactions as f64 / rate).max(6 * RETENTION);
    let length = Length { warm_up: 2 * RETENTION, measured: lasts };
    let shape = Shape::new(&stage.run_name(), &names(2));
    let (measured, samples) =
        tokio::join!(load::run(&coordinator, &shape, pace, length), watch(&cluster, length.warm_up, lasts));
    let (measured, samples) = (measured?, samples?);
    let middle = samples.len() / 2;
    let highest = |part: &[Sample], of: fn(&Sample) -> u64| part.iter().map(of).max().unwrap_or(0) as f64;
    for (what, of) in [
        ("memory", (|sample: &Sample| sample.memory_bytes) as fn(&Sample) -> u64),
        ("disk", |sample: &Sample| sample.disk_bytes),
    ] {
        let (first, second) = (highest(&samples[..middle], of), highest(&samples[middle..], of));
        report.add(
            Finding::new(format!("endurance/{what}/second-half-over-first"), second / first, "x")
                .goal(Goal::AtMost(1.1))
                .note(format!(
                    "highest of all servers: {:.0} MiB, then {:.0} MiB, over {} transactions at {:.0} a second",
                    first / f64::from(1 << 20),
                    second / f64::from(1 << 20),
                    measured.committed,
                    measured.per_s()
                )),
        );
    }
    Ok(())
}

async fn watch(cluster: &Cluster, warm_up: Duration, lasts: Duration) -> anyhow::Result<Vec<Sample>> {
    sleep(warm_up).await;
    let until = Instant::now() + lasts;
    let mut samples = Vec::new();
    while Instant::now() < until {
        let used = usages(cluster)?;
        let memory_bytes =
            used.coordinator.resident_bytes + used.participants.iter().map(|usage| usage.resident_bytes).sum::<u64>();
        samples.push(Sample { memory_bytes, disk_bytes: size_of(cluster.folder()) });
        sleep(SAMPLE_EVERY).await;
    }
    Ok(samples)
}

/// Files come and go while it counts; what has gone has no size.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
