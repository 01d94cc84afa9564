//! The processes that are killed: `undoubt serve`, two participants over HTTP services, and the services.

use crate::support::{cli, http, program};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use undoubt_client::ParticipantClient;

/// The number of services, each with a database of its own.
pub const SERVICES: usize = 3;

/// Accounts at each service, and what each holds at first.
pub const ACCOUNTS: u64 = 20;
pub const OPENING_BALANCE: i64 = 2_000;

/// The participants over HTTP services; the first is within the coordinator's process.
pub const CALLERS: [&str; 3] = ["http", "http-a", "http-b"];

/// The participant over a store within the coordinator's process.
pub const STORE: &str = "store";

/// The settings of all that calls services: nobody waits as long as a service sleeps.
const CALLS: [&str; 2] = ["call_timeout_ms = 1000", "connect_timeout_ms = 1000"];

/// The time in which a process has to serve, or to say what it was asked: on a machine that does much else, a start takes long.
const PATIENCE: Duration = Duration::from_secs(180);

const POLL: Duration = Duration::from_millis(10);

/// A process that can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    Coordinator,
    Caller(usize),
    Service(usize),
}

impl Victim {
    pub const ALL: [Victim; 6] = [
        Victim::Coordinator,
        Victim::Caller(1),
        Victim::Caller(2),
        Victim::Service(0),
        Victim::Service(1),
        Victim::Service(2),
    ];
}

/// How services behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// They answer badly now and then.
    Bad,
    /// They keep no barriers.
    Forgetful,
}

/// All processes, with their folder.
pub struct House {
    folder: TempDir,
    seed: u64,
    manners: Manners,
    /// Starts so far: each service is seeded by them.
    starts: u64,
    coordinator: Option<Child>,
    callers: [Option<Child>; 2],
    services: [Option<Child>; SERVICES],
    pub places: Places,
}

/// Where all of them are reached.
#[derive(Clone, Debug)]
pub struct Places {
    pub gateway: SocketAddr,
    pub coordinator: SocketAddr,
    callers: [SocketAddr; 2],
    pub services: [SocketAddr; SERVICES],
}

/// Returns the Python that services are run with: one that has nothing beside its standard library will do.
pub fn python() -> PathBuf {
    std::env::var_os("UNDOUBT_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/processes/service_kills").join(name)
}

/// Waits until a file says something that can be read.
async fn said<T>(file: &Path, read: impl Fn(&str) -> Option<T>) -> T {
    let reading = async {
        loop {
            if let Some(said) = std::fs::read_to_string(file).ok().and_then(|text| read(&text)) {
                return said;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("{} says nothing", file.display()))
}

impl House {
    pub async fn start(seed: u64, manners: Manners) -> House {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let places =
            Places { gateway: nowhere, coordinator: nowhere, callers: [nowhere; 2], services: [nowhere; SERVICES] };
        let folder = tempfile::tempdir().unwrap();
        let (callers, services) = ([const { None }; 2], [const { None }; SERVICES]);
        let mut house = House { folder, seed, manners, starts: 0, coordinator: None, callers, services, places };
        for service in 0..SERVICES {
            house.launch(Victim::Service(service));
            house.places.services[service] = house.address(Victim::Service(service)).await;
        }
        for caller in 1..CALLERS.len() {
            house.launch(Victim::Caller(caller));
            house.places.callers[caller - 1] = house.address(Victim::Caller(caller)).await;
        }
        house.launch(Victim::Coordinator);
        house.places.coordinator = house.address(Victim::Coordinator).await;
        let log = house.path(Victim::Coordinator, "out");
        let line = said(&log, |line| line.ends_with('\n').then(|| line.to_owned())).await;
        let (_, rest) = line.split_once("serving HTTP at http://").unwrap();
        house.places.gateway = rest.split(' ').next().unwrap().parse().unwrap();
        house.serves(Victim::Coordinator).await;
        house
    }

    fn path(&self, victim: Victim, ending: &str) -> PathBuf {
        let name = match victim {
            Victim::Coordinator => "coordinator".to_owned(),
            Victim::Caller(caller) => CALLERS[caller].to_owned(),
            Victim::Service(service) => format!("service-{service}"),
        };
        self.folder.path().join(format!("{name}.{ending}"))
    }

    /// Returns the address that it has written.
    async fn address(&self, victim: Victim) -> SocketAddr {
        let file = self.path(victim, "address");
        said(&file, |text| text.parse().ok()).await
    }

    fn child(&mut self, victim: Victim) -> &mut Option<Child> {
        match victim {
            Victim::Coordinator => &mut self.coordinator,
            Victim::Caller(caller) => &mut self.callers[caller - 1],
            Victim::Service(service) => &mut self.services[service],
        }
    }

    /// Starts it; it may not serve yet.
    pub fn launch(&mut self, victim: Victim) {
        self.starts += 1;
        let mut command = match victim {
            Victim::Coordinator => self.coordinator_command(),
            Victim::Caller(caller) => self.caller_command(caller),
            Victim::Service(service) => self.service_command(service),
        };
        let into = |ending| std::fs::File::options().create(true).append(true).open(self.path(victim, ending)).unwrap();
        command.arg("--address-file").arg(self.path(victim, "address"));
        command.stdin(Stdio::null()).stdout(into("out")).stderr(into("log")).kill_on_drop(true);
        *self.child(victim) = Some(command.spawn().unwrap());
    }

    fn coordinator_command(&self) -> Command {
        let Places { gateway, coordinator, callers, services } = &self.places;
        let allow: Vec<String> = services.iter().map(|service| format!("http://{service}")).collect();
        let allow = format!("http.allow={}", allow.join(","));
        let (gateway, coordinator) = (format!("gateway.listen={gateway}"), coordinator.to_string());
        let mut command = cli::command(&["serve", "--listen", &coordinator, "--set", &gateway, "--set", &allow]);
        command.arg("--data-dir").arg(self.path(Victim::Coordinator, "data"));
        for (name, address) in CALLERS[1..].iter().zip(callers) {
            command.args(["--participant", &format!("{name}=http://{address}")]);
        }
        let calls = CALLS.map(|setting| format!("http.{}", setting.replace(' ', "")));
        let impatient = ["reconnect_max_pause_ms=200", "retry_first_pause_ms=200", "retry_max_pause_ms=1000"];
        let impatient = impatient.into_iter().chain(["participant.sweep_period_ms=200"]);
        for setting in impatient.chain(calls.iter().map(String::as_str)) {
            command.args(["--set", setting]);
        }
        command
    }

    fn caller_command(&self, caller: usize) -> Command {
        let config = self.path(Victim::Caller(caller), "toml");
        let allow: Vec<String> = self.places.services.iter().map(|service| format!("\"http://{service}\"")).collect();
        let (allow, calls) = (allow.join(", "), CALLS.join("\n"));
        let text = format!("[resource]\nkind = \"http\"\n\n[http]\nallow = [{allow}]\n{calls}\n");
        std::fs::write(&config, text).unwrap();
        let listen = self.places.callers[caller - 1].to_string();
        let mut command = program::participant(&["--name", CALLERS[caller], "--listen", &listen]);
        command.arg("--config").arg(config).args(["--set", "sweep_period_ms=200"]);
        command.arg("--data-dir").arg(self.path(Victim::Caller(caller), "data"));
        command
    }

    fn service_command(&self, service: usize) -> Command {
        let mut command = Command::new(python());
        command.arg(script("service.py")).arg("--database").arg(self.path(Victim::Service(service), "db"));
        command.args(["--port", &self.places.services[service].port().to_string()]);
        command.args(["--seed", &format!("{}/{service}/{}", self.seed, self.starts)]);
        command.args(["--accounts", &ACCOUNTS.to_string(), "--balance", &OPENING_BALANCE.to_string()]);
        if self.manners == Manners::Forgetful {
            command.arg("--forgetful");
        }
        command
    }

    /// Kills it with SIGKILL, and waits until it is dead.
    pub async fn kill(&mut self, victim: Victim) {
        if let Some(mut child) = self.child(victim).take() {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{victim:?} has ended by itself: {ended:?}\n{}", self.log_tail(victim));
            child.kill().await.unwrap();
        }
    }

    /// Waits until it serves.
    pub async fn serves(&mut self, victim: Victim) {
        let places = self.places.clone();
        let serves = async || match victim {
            Victim::Coordinator => {
                let answer = http::try_get(places.gateway, "/v1/coordinator").await?;
                (answer.status == 200 && answer.json()["phase"] == "serving").then_some(())
            }
            Victim::Caller(caller) => TcpStream::connect(places.callers[caller - 1]).await.ok().map(drop),
            Victim::Service(service) => TcpStream::connect(places.services[service]).await.ok().map(drop),
        };
        let waited = tokio::time::timeout(PATIENCE, async {
            while serves().await.is_none() {
                let ended = self.child(victim).as_mut().and_then(|child| child.try_wait().unwrap());
                assert!(ended.is_none(), "{victim:?} has ended by itself: {ended:?}\n{}", self.log_tail(victim));
                tokio::time::sleep(POLL).await;
            }
        });
        let in_time = waited.await.is_ok();
        assert!(in_time, "{victim:?} does not serve\n{}", self.log_tail(victim));
    }

    pub fn log_tail(&self, victim: Victim) -> String {
        let text = std::fs::read_to_string(self.path(victim, "log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Returns the branches that the callers outside of the coordinator's process have not ended.
    pub async fn open_branches(&self) -> u64 {
        let mut open = 0;
        for address in self.places.callers {
            let participant = ParticipantClient::connect_lazy(&format!("http://{address}"), Default::default());
            open += participant.unwrap().describe().await.unwrap().branches_open;
        }
        open
    }

    /// Returns what the database of a service holds, which is read from the file.
    pub async fn rows(&self, service: usize) -> Value {
        let mut command = Command::new(python());
        command.arg(script("rows.py")).arg(self.path(Victim::Service(service), "db")).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// Changes the database of a service behind its back.
    pub async fn tamper(&self, service: usize, sql: &str) {
        let program = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.executescript(sys.argv[2])";
        let mut command = Command::new(python());
        command.args(["-c", program]).arg(self.path(Victim::Service(service), "db")).arg(sql).kill_on_drop(true);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Keeps the folder, with all logs and databases, and returns its path: of a run that went wrong.
    pub fn keep(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder.path().to_owned()
    }

    /// Returns how often services answered badly, by the ways of it.
    pub fn faults(&self) -> std::collections::BTreeMap<String, u64> {
        let mut faults = std::collections::BTreeMap::new();
        for service in 0..SERVICES {
            let text = std::fs::read_to_string(self.path(Victim::Service(service), "db.faults")).unwrap();
            for fault in text.lines() {
                *faults.entry(fault.to_owned()).or_default() += 1;
            }
        }
        faults
    }
}
