//! What a lone transaction costs, against its floor: two forced writes and two round trips in sequence.
//!
//! All three are measured in one run, alternating, because the machine's disk and neighbours change from minute to minute.
//! `make bench` runs it.

use anyhow::Context;
use hdrhistogram::Histogram;
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use undoubt::cluster::{Cluster, Plan, Programs, Who};
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, ClientOptions, Transaction};
use undoubt_platform::{Batch, Durability, Family, RocksOptions, RocksStore, Store};

const ROUNDS: usize = 1_000;
const FAMILY: Family = Family("data");

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let here = std::env::current_exe()?;
    let folder =
        here.parent().and_then(|examples| examples.parent()).context("examples are in a folder of their own")?;
    let programs =
        Programs { coordinator: folder.join("undoubt-coordinator"), participant: folder.join("undoubt-participant") };
    let plan = Plan { participants: vec!["bank-a".to_owned(), "bank-b".to_owned()], ..Plan::default() };
    let cluster = Cluster::start(&programs, plan).await?;
    let client = Client::connect(&cluster.url(Who::Coordinator)?, ClientOptions::default())?;
    let mut echo = HealthClient::new(Endpoint::from_shared(cluster.url(Who::Participant(0))?)?.connect().await?);
    let store = RocksStore::open(&cluster.folder().join("floor"), &[FAMILY], RocksOptions::default())?;
    let (mut forced, mut round_trip, mut lone) = (histogram()?, histogram()?, histogram()?);
    for round in 0..ROUNDS as u64 {
        let mut batch = Batch::default();
        batch.put(FAMILY, round.to_be_bytes().to_vec(), vec![7_u8; 200]);
        let start = Instant::now();
        store.write(batch, Durability::Forced).await?;
        record(&mut forced, start)?;

        let start = Instant::now();
        echo.check(HealthCheckRequest::default()).await?;
        record(&mut round_trip, start)?;

        let transaction = Transaction::new()
            .kv("bank-a", KvWork::new().put(key(round), "1"))
            .kv("bank-b", KvWork::new().put(key(round), "1"));
        let start = Instant::now();
        client.submit(&transaction).await?;
        record(&mut lone, start)?;
    }
    let median = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.5) as f64;
    let floor = 2.0 * (median(&forced) + median(&round_trip));
    println!("median of {ROUNDS}, in µs");
    println!("  one forced RocksDB write of 200 bytes   {:>8.0}", median(&forced));
    println!("  one round trip of a unary gRPC echo     {:>8.0}", median(&round_trip));
    println!("  floor: twice both                       {floor:>8.0}");
    println!("  a lone transaction on two participants  {:>8.0}", median(&lone));
    println!("  times the floor                         {:>8.2}", median(&lone) / floor);
    Ok(())
}

fn key(round: u64) -> String {
    format!("key-{}", round % 64)
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, Duration::from_secs(60).as_micros() as u64, 3)?)
}

fn record(histogram: &mut Histogram<u64>, start: Instant) -> anyhow::Result<()> {
    Ok(histogram.record(start.elapsed().as_micros() as u64)?)
}
