//! The use of all servers of a cluster so far: CPU time, and writes of their stores.

use super::super::stage::usages;
use crate::cluster::{Cluster, Who};
use anyhow::Context;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The lines of a server's log in which the address of its figures is looked for.
const LOG_LINES: usize = 1_000;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) cpu: Duration,
    /// Writes that were forced to stable storage.
    pub(super) forced_writes: f64,
    /// Batches of changes that were written.
    pub(super) batches: f64,
}

impl Counted {
    pub(super) async fn of(cluster: &Cluster) -> anyhow::Result<Counted> {
        let used = usages(cluster)?;
        let cpu = used.coordinator.cpu + used.participants.iter().map(|usage| usage.cpu).sum::<Duration>();
        let mut counted = Counted { cpu, ..Counted::default() };
        let servers = (0..cluster.participant_count()).map(Who::Participant).chain([Who::Coordinator]);
        for who in servers {
            let told = figures(cluster, who).await?;
            counted.forced_writes += sum(&told, "undoubt_store_writes_total{", "forced=\"true\"");
            counted.batches += sum(&told, "undoubt_store_batches_total", "");
        }
        Ok(counted)
    }

    pub(super) fn since(&self, before: &Counted) -> Counted {
        Counted {
            cpu: self.cpu.saturating_sub(before.cpu),
            forced_writes: self.forced_writes - before.forced_writes,
            batches: self.batches - before.batches,
        }
    }
}

/// Returns what a server tells of itself.
async fn figures(cluster: &Cluster, who: Who) -> anyhow::Result<String> {
    let log = cluster.log_tail(who, LOG_LINES);
    let line = log.lines().rev().find(|line| line.contains("figures are told"));
    let address =
        line.and_then(|line| line.split_once("address=")).context("a server says not where its figures are")?.1.trim();
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut told = String::new();
    stream.read_to_string(&mut told).await?;
    Ok(told)
}

/// Returns the sum of the samples of a metric whose labels have this part.
fn sum(told: &str, metric: &str, label: &str) -> f64 {
    let samples = told.lines().filter(|line| line.starts_with(metric) && line.contains(label));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
