//! A gateway in front of a cluster, as a process of its own, and a load of sagas through it: each a JSON document that is posted and
//! waited for, by so many clients at a time.

use super::json_http::JsonConnection;
use super::load::{Length, Shape};
use super::usage;
use crate::cluster::{Cluster, Who};
use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const START_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Gateway {
    address: String,
    process: Child,
}

impl Gateway {
    /// Starts one in front of a cluster's coordinator.
    pub async fn start(program: PathBuf, cluster: &Cluster) -> anyhow::Result<Gateway> {
        let mut command = Command::new(&program);
        command.args(["gateway", "--listen", "127.0.0.1:0", "--coordinator", &cluster.url(Who::Coordinator)?]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let output = process.stdout.take().context("the gateway has no output")?;
        let mut lines = BufReader::new(output).lines();
        let told = timeout(START_TIMEOUT, lines.next_line()).await;
        let line = told.context("the gateway does not say where it listens")??.context("the gateway ended")?;
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split_whitespace().next());
        let address = address.with_context(|| format!("the gateway says {line:?}"))?.to_owned();
        Ok(Gateway { address, process })
    }

    /// Returns the CPU time it has used so far.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(usage::of(Some(self.process.id().context("the gateway has ended")?))?.cpu)
    }

    /// Returns the sagas a second that committed, of so many clients with one saga at a time each.
    pub async fn sagas_per_s(&self, shape: &Shape, clients: usize, length: Length) -> anyhow::Result<f64> {
        let began = Instant::now();
        let (from, until) = (began + length.warm_up, began + length.warm_up + length.measured);
        let (next, shape) = (Arc::new(AtomicU64::new(0)), Arc::new(shape.clone()));
        let mut all = JoinSet::new();
        for _ in 0..clients {
            let mut connection = JsonConnection::connect(&self.address).await?;
            let (next, shape) = (next.clone(), shape.clone());
            all.spawn(async move {
                let mut committed = 0_u64;
                while Instant::now() < until {
                    let saga = shape.saga_document(next.fetch_add(1, Ordering::Relaxed)).to_string();
                    let (status, told) = connection.post("/v1/transactions", saga).await?;
                    let told = String::from_utf8_lossy(&told);
                    ensure!(status.is_success() && told.contains("committed"), "the gateway answered {status}: {told}");
                    committed += u64::from(Instant::now() >= from && Instant::now() < until);
                }
                Ok(committed)
            });
        }
        let mut committed = 0;
        while let Some(client) = all.join_next().await {
            committed += client??;
        }
        Ok(committed as f64 / length.measured.as_secs_f64())
    }
}
