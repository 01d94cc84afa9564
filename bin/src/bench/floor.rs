//! The floor under every transaction, which cannot be undercut: forced writes, and messages over gRPC.

use super::echo;
use super::finding::Finding;
use super::stage::Stage;
use super::{Effort, Report};
use anyhow::Context;
use futures::{StreamExt, stream};
use hdrhistogram::Histogram;
use std::fs::File;
use std::io::Write;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use undoubt_platform::{Batch, Durability, Family, Store};
use undoubt_proto::v1::{BranchWork, SequencedRequest, SubmitBatch, SubmitRequest};
use undoubt_rocks::{RocksOptions, RocksStore};

/// The bytes of a record, as those of a small transaction have.
const RECORD_BYTES: usize = 200;

const FAMILY: Family = Family("floor");

/// Records a second that are forced to a file, `batch` at a time.
pub fn file_writes(stage: &Stage, batch: usize, measured: Duration) -> anyhow::Result<f64> {
    let path = stage.folder().join("floor.log");
    let mut file = File::create(&path)?;
    let records = vec![7_u8; RECORD_BYTES * batch];
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < measured {
        file.write_all(&records)?;
        file.sync_data()?;
        count += batch;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}

/// A store of RocksDB for writes by themselves.
pub fn store(stage: &Stage) -> anyhow::Result<RocksStore> {
    Ok(RocksStore::open(&stage.folder().join("floor"), &[FAMILY], RocksOptions::default())?)
}

/// Records a second that are forced to RocksDB, `batch` at a time.
pub async fn rocks_writes(store: &RocksStore, batch: usize, measured: Duration) -> anyhow::Result<f64> {
    let (began, mut count) = (Instant::now(), 0_u64);
    while began.elapsed() < measured {
        let mut records = Batch::default();
        for _ in 0..batch {
            records.put(FAMILY, (count % 100_000).to_be_bytes(), vec![7_u8; RECORD_BYTES]);
            count += 1;
        }
        store.write(records, Durability::Forced).await?;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// One forced write of RocksDB.
pub async fn rocks_write(store: &RocksStore, number: u64) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut records = Batch::default();
    records.put(FAMILY, number.to_be_bytes(), vec![7_u8; RECORD_BYTES]);
    store.write(records, Durability::Forced).await?;
    Ok(began.elapsed())
}

pub async fn connect(url: &str) -> anyhow::Result<Channel> {
    Endpoint::from_shared(url.to_owned())?
        .tcp_nodelay(true)
        .connect()
        .await
        .with_context(|| format!("connecting to {url}"))
}

/// A submission as the load makes it.
fn message() -> SubmitRequest {
    let branch = |name: &str| BranchWork { participant: name.to_owned(), work: vec![7; 40].into() };
    let branches = vec![branch("bank-1"), branch("bank-2")];
    SubmitRequest { tx: vec![b'x'; 36].into(), branches, timeout_ms: 10_000, ..SubmitRequest::default() }
}

/// One call there and back.
pub async fn round_trip(channel: &Channel) -> anyhow::Result<Duration> {
    let began = Instant::now();
    echo::one(channel.clone(), message()).await?;
    Ok(began.elapsed())
}

/// Calls a second, each on its own, so many at a time.
pub async fn unary(channel: &Channel, in_flight: usize, measured: Duration) -> anyhow::Result<f64> {
    let began = Instant::now();
    let calls = stream::repeat(()).take_while(|()| std::future::ready(began.elapsed() < measured));
    let mut answers = calls.map(|()| echo::one(channel.clone(), message())).buffer_unordered(in_flight);
    let mut count = 0_u64;
    while let Some(answer) = answers.next().await {
        answer?;
        count += 1;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// Messages a second on one stream, in batches of `batch`, a few of them under way.
pub async fn streamed(channel: &Channel, batch: usize, measured: Duration) -> anyhow::Result<f64> {
    const BATCHES_UNDER_WAY: usize = 16;
    let request = |sequence| SequencedRequest { sequence, request: Some(message()) };
    let full = SubmitBatch { requests: (0..batch as u64).map(request).collect() };
    let (send, batches) = mpsc::channel(BATCHES_UNDER_WAY);
    let mut answers = echo::many(channel.clone(), ReceiverStream::new(batches)).await?;
    for _ in 0..BATCHES_UNDER_WAY {
        send.send(full.clone()).await?;
    }
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < measured {
        let answer = answers.message().await?.context("the echo ended")?;
        count += answer.requests.len();
        send.send(full.clone()).await?;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// Forced writes and messages, by how many go together.
pub async fn floors(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    const BATCHES: [usize; 4] = [1, 8, 32, 128];
    let short = effort.measured / 3;
    let store = store(stage)?;
    for batch in BATCHES {
        let (mut file, mut rocks) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            file.push(file_writes(stage, batch, short)?);
            rocks.push(rocks_writes(&store, batch, short).await?);
        }
        report.add(Finding::of_rounds(format!("floor/forced-file/batch={batch}"), file, "records/s"));
        report.add(Finding::of_rounds(format!("floor/forced-rocksdb/batch={batch}"), rocks, "records/s"));
    }
    for in_flight in [1, 16, 256] {
        let mut rounds = Vec::new();
        for _ in 0..effort.rounds {
            rounds.push(unary(stage.echo(), in_flight, short).await?);
        }
        report.add(Finding::of_rounds(format!("floor/echo/in-flight={in_flight}"), rounds, "calls/s"));
    }
    for batch in BATCHES {
        let mut rounds = Vec::new();
        for _ in 0..effort.rounds {
            rounds.push(streamed(stage.echo(), batch, short).await?);
        }
        report.add(Finding::of_rounds(format!("floor/echo-stream/batch={batch}"), rounds, "messages/s"));
    }
    Ok(())
}

/// Returns a histogram in µs.
pub fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 600_000_000, 3).context("bounds of a histogram")
}
