//! The stage of a benchmark: real processes in a temporary folder, and an echo beside them.

use super::load::{self, Length, Measured, Pace, Shape};
use super::reading::{Read, Reading};
use super::usage::{self, Usage};
use crate::cluster::{Cluster, Plan, Programs, Who};
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tonic::transport::Channel;
use undoubt_client::Client;

/// The time that servers may take until they are connected to each other.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Stage {
    folder: TempDir,
    programs: Programs,
    helper: PathBuf,
    echo: Channel,
    echo_process: Child,
    service_process: OnceCell<(Child, String)>,
    runs: AtomicU64,
}

/// CPU time that each kind of process used for a load.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub coordinator: Duration,
    pub participants: Duration,
    pub load: Duration,
}

impl Cpu {
    pub fn all(&self) -> Duration {
        self.coordinator + self.participants + self.load
    }
}

impl Stage {
    /// `helper` is a program that serves [`super::echo`] or [`super::service`] and prints its address when it is given `--echo` or
    /// `--service`, and lets clients
    /// read ([`super::reading`]) and prints what came of it when it is given
    /// `--read` and what to read, both as JSON.
    pub async fn new(programs: Programs, helper: PathBuf) -> anyhow::Result<Stage> {
        let folder = tempfile::Builder::new().prefix("undoubt-bench-").tempdir().context("no temporary folder")?;
        let (echo_process, address) = serving(&helper, "--echo").await?;
        let echo = super::floor::connect(&format!("http://{address}")).await?;
        Ok(Stage {
            folder,
            programs,
            helper,
            echo,
            echo_process,
            service_process: OnceCell::new(),
            runs: AtomicU64::new(0),
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Returns the path of the command line, which is a gateway too.
    pub fn command_line(&self) -> anyhow::Result<PathBuf> {
        let path = self.programs.coordinator.with_file_name("undoubt");
        ensure!(path.is_file(), "{} is missing; build it with `make build`", path.display());
        Ok(path)
    }

    /// Returns the address of a service that does nothing, in a process of its own.
    pub async fn service(&self) -> anyhow::Result<String> {
        let (_, address) = self.service_process.get_or_try_init(|| serving(&self.helper, "--service")).await?;
        Ok(address.clone())
    }

    pub fn echo(&self) -> &Channel {
        &self.echo
    }

    /// CPU time so far of this process and the echo's.
    pub fn echo_cpu(&self) -> anyhow::Result<Duration> {
        let echo = self.echo_process.id().context("the echo has ended")?;
        Ok(usage::of(None)?.cpu + usage::of(Some(echo))?.cpu)
    }

    /// Lets clients read, in a process of their own.
    pub async fn read(&self, reading: &Reading) -> anyhow::Result<Read> {
        let mut command = Command::new(&self.helper);
        command.arg("--read").arg(serde_json::to_string(reading)?).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.stderr(Stdio::inherit()).output().await.context("starting the readers")?;
        ensure!(output.status.success(), "the readers ended with {}", output.status);
        serde_json::from_slice(&output.stdout).context("what the readers told")
    }

    /// A name for ids and keys that no other run of this stage has.
    pub fn run_name(&self) -> String {
        format!("b{}", self.runs.fetch_add(1, Ordering::Relaxed))
    }

    /// A coordinator and so many participants, all connected.
    pub async fn cluster(&self, participants: usize) -> anyhow::Result<Cluster> {
        self.cluster_of(Plan { participants: names(participants), ..Plan::default() }).await
    }

    pub async fn cluster_of(&self, plan: Plan) -> anyhow::Result<Cluster> {
        let cluster = Cluster::start(&self.programs, plan).await?;
        wait_until_connected(&cluster).await?;
        Ok(cluster)
    }
}

/// Starts the helper to serve something, and returns it with its address.
async fn serving(helper: &Path, what: &str) -> anyhow::Result<(Child, String)> {
    let mut command = Command::new(helper);
    command.arg(what).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("starting the helper for {what}"))?;
    let output = child.stdout.take().with_context(|| format!("the helper for {what} has no output"))?;
    let told = tokio::time::timeout(CONNECT_TIMEOUT, BufReader::new(output).lines().next_line()).await;
    let address =
        told.with_context(|| format!("the helper for {what} told no address within {CONNECT_TIMEOUT:?}"))??;
    Ok((child, address.with_context(|| format!("the helper for {what} told no address"))?))
}

/// Returns the names of the participants of [`Stage::cluster`].
pub fn names(participants: usize) -> Vec<String> {
    (1..=participants).map(|number| format!("bank-{number}")).collect()
}

pub async fn wait_until_connected(cluster: &Cluster) -> anyhow::Result<()> {
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator)?, cluster.options()?)?;
    let all = async {
        while !client.describe().await?.participants.iter().all(|participant| participant.connected) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(CONNECT_TIMEOUT, all).await.context("the servers did not connect to each other")?
}

/// Runs a load and tells what CPU time it cost, warm-up included.
pub async fn measure(cluster: &Cluster, shape: &Shape, pace: Pace, length: Length) -> anyhow::Result<(Measured, Cpu)> {
    let before = usages(cluster)?;
    let measured = load::run_with(&cluster.url(Who::Coordinator)?, cluster.options()?, shape, pace, length).await?;
    let after = usages(cluster)?;
    let used = |who: fn(&Usages) -> Duration| who(&after).saturating_sub(who(&before));
    let cpu = Cpu {
        coordinator: used(|all| all.coordinator.cpu),
        participants: used(|all| all.participants.iter().map(|usage| usage.cpu).sum()),
        load: used(|all| all.load.cpu),
    };
    Ok((measured, cpu))
}

#[derive(Clone, Debug)]
pub struct Usages {
    pub coordinator: Usage,
    pub participants: Vec<Usage>,
    pub load: Usage,
}

pub fn usages(cluster: &Cluster) -> anyhow::Result<Usages> {
    let of = |who| usage::of(cluster.pid(who));
    let participants = (0..cluster.participant_count()).map(|index| of(Who::Participant(index)));
    Ok(Usages {
        coordinator: of(Who::Coordinator)?,
        participants: participants.collect::<anyhow::Result<_>>()?,
        load: usage::of(None)?,
    })
}
