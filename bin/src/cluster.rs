//! A coordinator and participants as real processes in a temporary place: for the demo, the torture and the tests.
//!
//! Everything listens on a free loopback port, and keeps it across restarts. When a [`Cluster`] is dropped its processes
//! are killed and its folder is removed.

mod folders;
mod security;

use crate::credentials::Credentials;
use anyhow::{Context, bail};
use security::Security;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use undoubt_client::ClientOptions;

/// The time that a process may take to serve, recovery included.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// The period in which it is looked whether it does.
const READY_POLL: Duration = Duration::from_millis(10);

/// The folder of the programs.
#[derive(Clone, Debug)]
pub struct Programs {
    pub coordinator: PathBuf,
    pub participant: PathBuf,
}

impl Programs {
    /// Beside the program that is running.
    pub fn beside_this_one() -> anyhow::Result<Programs> {
        let this = std::env::current_exe().context("where is this program?")?;
        let folder = this.parent().context("this program has no folder")?;
        let programs = Programs {
            coordinator: folder.join("undoubt-coordinator"),
            participant: folder.join("undoubt-participant"),
        };
        for program in [&programs.coordinator, &programs.participant] {
            if !program.is_file() {
                bail!("{} is missing; build it with `make build`", program.display());
            }
        }
        Ok(programs)
    }
}

/// The name of a process of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Coordinator,
    Participant(usize),
}

#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    coordinator: Server,
    participants: Vec<Server>,
    security: Option<Security>,
}

#[derive(Debug)]
struct Server {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    home: PathBuf,
    data_dir: PathBuf,
    address: Option<String>,
    child: Option<Child>,
    security: Option<Security>,
}

/// The cluster to start.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub participants: Vec<String>,
    /// `--set` assignments for the coordinator.
    pub coordinator_settings: Vec<String>,
    /// `--set` assignments for every participant.
    pub participant_settings: Vec<String>,
    /// Participants that somebody else runs: name and `http://host:port`.
    pub foreign_participants: Vec<(String, String)>,
    /// The folders of processes, by their names, that are to be elsewhere than in the cluster's.
    pub data_dirs: BTreeMap<String, PathBuf>,
    /// The settings files of processes, by their names, where they have some.
    pub configs: BTreeMap<String, PathBuf>,
    /// True if all of it is to have TLS, certificates for each other, and identities.
    pub secured: bool,
}

impl Plan {
    /// Returns a plan whose servers try again soon what a dead one did not answer.
    pub fn impatient(participants: Vec<String>) -> Plan {
        let settings = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        Plan {
            participants,
            coordinator_settings: settings(&[
                "reconnect_max_pause_ms=200",
                "retry_first_pause_ms=200",
                "retry_max_pause_ms=1000",
            ]),
            participant_settings: settings(&["sweep_period_ms=200"]),
            ..Plan::default()
        }
    }
}

impl Cluster {
    /// Starts everything, and returns when all of it serves.
    pub async fn start(programs: &Programs, plan: Plan) -> anyhow::Result<Cluster> {
        let folder = tempfile::Builder::new().prefix("undoubt-").tempdir().context("no temporary folder")?;
        let mut participants = Vec::new();
        let security = plan.secured.then(|| Security::make(folder.path(), &plan.participants)).transpose()?;
        for name in &plan.participants {
            let mut server =
                Server::new(&programs.participant, name, folder.path(), &plan.participant_settings, &plan.data_dirs)?;
            if let Some(config) = plan.configs.get(name) {
                server.arguments.extend(["--config".to_owned(), config.display().to_string()]);
            }
            server.secure(security.as_ref());
            server.start(None).await?;
            participants.push(server);
        }
        // Participants of another cluster know its coordinator by the first name, and two coordinators need two.
        let name = if plan.foreign_participants.is_empty() { "coordinator" } else { "another-coordinator" };
        let mut coordinator =
            Server::new(&programs.coordinator, name, folder.path(), &plan.coordinator_settings, &plan.data_dirs)?;
        coordinator.secure(security.as_ref());
        for server in &mut participants {
            server.wait_until_ready().await?;
            coordinator.arguments.extend(["--participant".to_owned(), format!("{}={}", server.name, server.url()?)]);
        }
        for (name, address) in &plan.foreign_participants {
            coordinator.arguments.extend(["--participant".to_owned(), format!("{name}={address}")]);
        }
        // Beside the data folder, as it should be: whoever puts that back, or empties it, has the key.
        let key_file = coordinator.home.join("coordinator.key");
        coordinator.arguments.extend(["--set".to_owned(), format!("key_file={}", key_file.display())]);
        coordinator.start(None).await?;
        coordinator.wait_until_ready().await?;
        Ok(Cluster { folder, coordinator, participants, security })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns what a client shows that may do everything.
    pub fn credentials(&self) -> Credentials {
        self.security.as_ref().map(|security| security.credentials("admin")).unwrap_or_default()
    }

    /// Returns what a client shows that may submit and read, and has a token instead of a certificate.
    pub fn token(&self) -> Credentials {
        self.security.as_ref().map(Security::token).unwrap_or_default()
    }

    /// Returns the options of a client that may do everything.
    pub fn options(&self) -> anyhow::Result<ClientOptions> {
        Ok(self.credentials().give(ClientOptions::default())?)
    }

    /// `http://host:port`, or `https://host:port` of a cluster that is secured.
    pub fn url(&self, who: Who) -> anyhow::Result<String> {
        self.server(who).url()
    }

    /// The number of its process, while it lives.
    pub fn pid(&self, who: Who) -> Option<u32> {
        self.server(who).child.as_ref().and_then(Child::id)
    }

    pub fn participant_count(&self) -> usize {
        self.participants.len()
    }

    /// Returns the folder of its data.
    pub fn data_dir(&self, who: Who) -> PathBuf {
        self.server(who).data_dir.clone()
    }

    /// Returns the last lines that it has written to its log so far.
    pub fn log_tail(&self, who: Who, lines: usize) -> String {
        let text = std::fs::read_to_string(self.server(who).home.join("log")).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// `kill -9`, and waits until it is dead.
    pub async fn kill(&mut self, who: Who) -> anyhow::Result<()> {
        match &mut self.server_mut(who).child {
            Some(child) => child.kill().await.context("kill -9"),
            None => Ok(()),
        }
    }

    /// Returns true if it has ended by itself.
    pub fn has_ended(&mut self, who: Who) -> anyhow::Result<bool> {
        match &mut self.server_mut(who).child {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(true),
        }
    }

    /// Waits until it has ended by itself; answers whether it ended well.
    pub async fn wait_until_ended(&mut self, who: Who, patience: Duration) -> anyhow::Result<bool> {
        let Some(child) = &mut self.server_mut(who).child else { return Ok(true) };
        let status = timeout(patience, child.wait()).await.context("it did not end in time")??;
        Ok(status.success())
    }

    /// Changes a setting (`key=value`) from the next start on.
    pub fn set(&mut self, who: Who, setting: &str) {
        self.server_mut(who).arguments.extend(["--set".to_owned(), setting.to_owned()]);
    }

    /// Asks it to stop (SIGTERM).
    pub fn ask_to_stop(&mut self, who: Who) -> anyhow::Result<()> {
        let Some(child) = &mut self.server_mut(who).child else { return Ok(()) };
        let Some(pid) = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid as i32)) else { return Ok(()) };
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits; answers whether it ended well.
    pub async fn stop(&mut self, who: Who, patience: Duration) -> anyhow::Result<bool> {
        self.ask_to_stop(who)?;
        self.wait_until_ended(who, patience).await
    }

    /// Starts a dead process on its own address and data again, and returns when it serves. `crash_at` is a crash point
    /// and a count.
    pub async fn restart(&mut self, who: Who, crash_at: Option<&str>) -> anyhow::Result<()> {
        let server = self.server_mut(who);
        server.start(crash_at).await?;
        match crash_at {
            // It may crash before it serves.
            Some(_) => Ok(()),
            None => server.wait_until_ready().await,
        }
    }

    /// Starts a dead process again, and returns at once: it may not serve.
    pub async fn start_again(&mut self, who: Who) -> anyhow::Result<()> {
        self.server_mut(who).start(None).await
    }

    /// Waits until it serves.
    pub async fn wait_until_ready(&mut self, who: Who) -> anyhow::Result<()> {
        self.server_mut(who).wait_until_ready().await
    }

    fn server(&self, who: Who) -> &Server {
        match who {
            Who::Coordinator => &self.coordinator,
            Who::Participant(index) => &self.participants[index],
        }
    }

    fn server_mut(&mut self, who: Who) -> &mut Server {
        match who {
            Who::Coordinator => &mut self.coordinator,
            Who::Participant(index) => &mut self.participants[index],
        }
    }
}

impl Server {
    fn new(
        program: &Path,
        name: &str,
        folder: &Path,
        settings: &[String],
        data_dirs: &BTreeMap<String, PathBuf>,
    ) -> anyhow::Result<Server> {
        let home = folder.join(name);
        std::fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
        let data_dir = data_dirs.get(name).cloned().unwrap_or_else(|| home.join("data"));
        let mut arguments = vec!["--name".to_owned(), name.to_owned()];
        arguments.extend(["--data-dir".to_owned(), data_dir.display().to_string()]);
        arguments.extend(settings.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()]));
        let (name, program) = (name.to_owned(), program.to_owned());
        Ok(Server { name, program, arguments, home, data_dir, address: None, child: None, security: None })
    }

    fn secure(&mut self, security: Option<&Security>) {
        self.arguments.extend(security.iter().flat_map(|security| security.arguments(&self.name)));
        self.security = security.cloned();
    }

    fn url(&self) -> anyhow::Result<String> {
        let address = self.address.as_ref().with_context(|| format!("{} has no address yet", self.name))?;
        let scheme = if self.security.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{address}"))
    }

    async fn start(&mut self, crash_at: Option<&str>) -> anyhow::Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.home.join("log"))?;
        let address_file = self.home.join("address");
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        command.args(["--listen", self.address.as_deref().unwrap_or("127.0.0.1:0")]);
        command.arg("--address-file").arg(&address_file);
        if let Some(point) = crash_at {
            command.args(["--crash-at", point]);
        }
        self.child = Some(command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?);
        if self.address.is_none() {
            let deadline = Instant::now() + READY_TIMEOUT;
            while !address_file.exists() {
                self.fail_if_dead_or_late(deadline).await?;
            }
            self.address = Some(std::fs::read_to_string(&address_file)?);
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while !self.serves().await {
            self.fail_if_dead_or_late(deadline).await?;
        }
        Ok(())
    }

    async fn fail_if_dead_or_late(&mut self, deadline: Instant) -> anyhow::Result<()> {
        let log = || std::fs::read_to_string(self.home.join("log")).unwrap_or_default();
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            bail!("{} ended with {status} instead of serving; its log:\n{}", self.name, log());
        }
        if Instant::now() > deadline {
            bail!("{} did not serve within {READY_TIMEOUT:?}; its log:\n{}", self.name, log());
        }
        sleep(READY_POLL).await;
        Ok(())
    }

    async fn serves(&self) -> bool {
        let Ok(url) = self.url() else { return false };
        let Ok(endpoint) = Endpoint::from_shared(url) else { return false };
        let asked = async {
            let channel = match &self.security {
                Some(security) => security.connect(endpoint).await.ok()?,
                None => endpoint.connect().await.ok()?,
            };
            let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await.ok()?;
            Some(answer.into_inner().status() == ServingStatus::Serving)
        };
        timeout(Duration::from_secs(1), asked).await.ok().flatten().unwrap_or(false)
    }
}
