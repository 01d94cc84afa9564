//! The benchmark of a lone transaction, against its floor: two forced writes and two round trips in sequence. All three
//! alternate, because the machine's disk and neighbours change from minute to minute.

use super::finding::{Finding, Goal};
use super::floor;
use super::stage::{Stage, names};
use super::{Effort, Report};
use crate::cluster::Who;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, Transaction};

const TRANSACTIONS_PER_ROUND: u64 = 500;

pub async fn lone(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let cluster = stage.cluster(2).await?;
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator)?, cluster.options()?)?;
    let store = floor::store(stage)?;
    let (mut floors, mut medians, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let run = stage.run_name();
        let (mut forced, mut trip, mut whole) = (floor::histogram()?, floor::histogram()?, floor::histogram()?);
        for number in 0..TRANSACTIONS_PER_ROUND {
            let us = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            forced.saturating_record(us(floor::rocks_write(&store, number).await?));
            trip.saturating_record(us(floor::round_trip(stage.echo()).await?));
            let work = || KvWork::new().put(format!("{run}/{number}"), "1");
            let transaction = names(2).iter().fold(Transaction::new(), |all, participant| all.on(participant, work()));
            let began = Instant::now();
            client.submit(&transaction).await?;
            whole.saturating_record(us(began.elapsed()));
        }
        let median = |of: &hdrhistogram::Histogram<u64>| of.value_at_quantile(0.5) as f64;
        let floor = 2.0 * (median(&forced) + median(&trip));
        floors.push(floor);
        medians.push(median(&whole));
        ratios.push(median(&whole) / floor);
    }
    report.add(Finding::of_rounds("floor/two-forced-writes-and-two-round-trips", floors, "µs"));
    report.add(Finding::of_rounds("2pc/lone/median", medians, "µs"));
    report.add(Finding::of_rounds("2pc/lone/times-floor", ratios, "x").goal(Goal::AtMost(1.5)));
    Ok(())
}
