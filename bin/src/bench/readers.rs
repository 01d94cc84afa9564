//! Thousands of clients that read a large answer each, all at once, and small transactions beside them: what memory each
//! server takes, and what rate the small ones keep.

use super::finding::{Finding, Goal};
use super::load::{self, Length, Measured, Pace, Shape};
use super::reading::{Read, Reading, Until};
use super::stage::{Stage, Usages, names, usages};
use super::{Effort, Report};
use crate::cluster::{Plan, Who};
use anyhow::{Context, ensure};
use std::time::Duration;
use tokio::time::sleep;
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, ClientOptions, Transaction};
use undoubt_vocabulary::Outcome;

/// Small transactions offered each second, far below what the servers carry alone.
const SMALL_PER_S: f64 = 500.0;

/// The values that each client reads: so many of this size, 1 MB together.
const VALUES: usize = 16;
const VALUE_BYTES: usize = 62_500;

/// Clients read for so many times as long as other figures are measured: a minute by default.
const TIMES_LONGER: u32 = 20;

/// The time for which ended transactions are kept here. A minute of large answers fills gigabytes otherwise.
const RETENTION_S: u64 = 10;

/// Clients that have to have had an answer: who serves nobody takes no memory either.
const MIN_SERVED: f64 = 0.95;

/// The memory that a server may take above what it takes when it is idle.
const MAX_ABOVE_IDLE_MIB: f64 = 512.0;

pub async fn readers(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let settings = vec![format!("retention_s={RETENTION_S}")];
    let plan = Plan { participants: names(2), coordinator_settings: settings, ..Plan::default() };
    let cluster = stage.cluster_of(plan).await?;
    let coordinator = cluster.url(Who::Coordinator)?;
    let reading = Reading {
        coordinator: coordinator.clone(),
        participant: names(1).remove(0),
        keys: store(&coordinator, VALUES, VALUE_BYTES).await?,
        bytes: (VALUES * VALUE_BYTES) as u64,
        clients: effort.readers,
        until: Until::Passed(TIMES_LONGER * effort.measured),
    };
    // Once what storing allocated has settled.
    sleep(Duration::from_secs(1)).await;
    let idle = usages(&cluster)?;
    let pace = Pace::Open { per_s: SMALL_PER_S, in_flight: 4_096 };
    let small = || Shape::new(&stage.run_name(), &names(2));
    let length = Length { warm_up: Duration::from_secs(1), measured: effort.measured };
    let alone = load::run(&coordinator, &small(), pace, length).await?;
    let measured = TIMES_LONGER * effort.measured;
    let length = Length { measured, ..length };
    let shape = small();
    let (read, beside) = tokio::try_join!(stage.read(&reading), load::run(&coordinator, &shape, pace, length))?;
    let most = usages(&cluster).context("a server is gone")?;
    tell(report, &reading, &read, measured);
    for (who, idle, most) in servers(&idle, &most) {
        report.add(
            Finding::new(format!("readers/memory-above-idle/{who}"), mib(most.saturating_sub(idle)), "MiB")
                .goal(Goal::AtMost(MAX_ABOVE_IDLE_MIB))
                .note(format!("{:.0} MiB when idle, {:.0} MiB at its most", mib(idle), mib(most))),
        );
    }
    report_small(report, &alone, &beside);
    Ok(())
}

fn tell(report: &mut Report<'_>, reading: &Reading, read: &Read, measured: Duration) {
    let per_s = read.answers as f64 / measured.as_secs_f64();
    let failed: Vec<String> = read.failed.iter().map(|(why, count)| format!("{count} {why}")).collect();
    let failed = if failed.is_empty() { "none was turned away".to_owned() } else { failed.join(", ") };
    report.add(Finding::new("readers/rate", per_s, "answers/s").note(format!(
        "of {:.1} MB each, to {} clients at once; {failed}",
        reading.bytes as f64 / 1e6,
        reading.clients
    )));
    let share = read.served as f64 / reading.clients as f64;
    report.add(
        Finding::new("readers/served", share, "of the clients")
            .goal(Goal::AtLeast(MIN_SERVED))
            .note("they had at least one answer"),
    );
}

fn report_small(report: &mut Report<'_>, alone: &Measured, beside: &Measured) {
    report.add(Finding::new("readers/small-alone", alone.per_s(), "tx/s").note(alone.summary()));
    report.add(Finding::new("readers/small-beside", beside.per_s(), "tx/s").note(beside.summary()));
    report.add(
        Finding::new("readers/small-keep", beside.per_s() / alone.per_s(), "of their rate")
            .goal(Goal::AtLeast(0.5))
            .note(format!("{SMALL_PER_S} a second are offered")),
    );
}

/// Stores values at the first participant, and answers their keys.
pub async fn store(coordinator: &str, values: usize, value_bytes: usize) -> anyhow::Result<Vec<String>> {
    let client = Client::connect_lazy(coordinator, ClientOptions::default())?;
    let keys: Vec<String> = (0..values).map(|number| format!("large/{number}")).collect();
    for key in &keys {
        let work = KvWork::new().put(key.clone(), vec![b'x'; value_bytes]);
        let answer = client.submit(&Transaction::new().on(&names(1)[0], work)).await?;
        ensure!(answer.outcome == Outcome::Committed, "{key} was not stored: {:?}", answer.outcome);
    }
    Ok(keys)
}

fn servers(idle: &Usages, most: &Usages) -> Vec<(String, u64, u64)> {
    let coordinator = ("coordinator".to_owned(), idle.coordinator.resident_bytes, most.coordinator.peak_bytes);
    let participants = names(idle.participants.len()).into_iter().zip(idle.participants.iter().zip(&most.participants));
    let participants = participants.map(|(name, (idle, most))| (name, idle.resident_bytes, most.peak_bytes));
    [coordinator].into_iter().chain(participants).collect()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
