//! What TLS, certificates and identities cost: the headline and a lone transaction with and without, in turns.

use super::finding::{Finding, Goal};
use super::load::{Length, Pace, Shape};
use super::stage::{Stage, measure, names};
use super::{Effort, Report};
use crate::bench::floor;
use crate::cluster::{Cluster, Plan, Who};
use std::time::Duration;
use tokio::time::Instant;
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, Transaction};

/// Under way at a time, as in the headline.
const IN_FLIGHT: usize = 4_096;

/// Transactions of a round that are submitted one after the other.
const LONE: u64 = 500;

/// What one round found of one cluster.
#[derive(Debug)]
struct Round {
    per_s: f64,
    lone_us: f64,
}

pub async fn secured(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let plain = stage.cluster(2).await?;
    let secured = stage.cluster_of(Plan { participants: names(2), secured: true, ..Plan::default() }).await?;
    let (mut rates, mut lone) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        // Each goes first in every other round.
        let (one, other) = if round % 2 == 0 { (&plain, &secured) } else { (&secured, &plain) };
        let (one, other) = (run(stage, one, effort).await?, run(stage, other, effort).await?);
        let (without, with) = if round % 2 == 0 { (one, other) } else { (other, one) };
        rates.push(with.per_s / without.per_s);
        lone.push(with.lone_us / without.lone_us);
        report.add(Finding::of_rounds("secured/rate-without", vec![without.per_s], "tx/s"));
        report.add(Finding::of_rounds("secured/rate-with", vec![with.per_s], "tx/s"));
    }
    report.add(Finding::of_rounds("secured/rate-over-without", rates, "x").goal(Goal::AtLeast(0.85)));
    report.add(Finding::of_rounds("secured/lone-over-without", lone, "x").goal(Goal::AtMost(1.1)));
    Ok(())
}

async fn run(stage: &Stage, cluster: &Cluster, effort: Effort) -> anyhow::Result<Round> {
    let length = Length { warm_up: Duration::from_secs(1), measured: effort.measured };
    let shape = Shape::new(&stage.run_name(), &names(2));
    let (measured, _) = measure(cluster, &shape, Pace::Closed { in_flight: IN_FLIGHT }, length).await?;
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator)?, cluster.options()?)?;
    let (run, mut took) = (stage.run_name(), floor::histogram()?);
    for number in 0..LONE {
        let work = || KvWork::new().put(format!("{run}/{number}"), "1");
        let transaction = names(2).iter().fold(Transaction::new(), |all, participant| all.on(participant, work()));
        let began = Instant::now();
        client.submit(&transaction).await?;
        took.saturating_record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(Round { per_s: measured.per_s(), lone_us: took.value_at_quantile(0.5) as f64 })
}
