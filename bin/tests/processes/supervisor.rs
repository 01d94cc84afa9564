//! Words to a supervisor, over a real socket, and the units for systemd.

use crate::support::program::{coordinator, participant};
use crate::support::{PATIENCE, until};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use undoubt::process::Failure;
use undoubt_proto::v1;
use undoubt_proto::v1::operator_client::OperatorClient;

/// A server under a supervisor that hears it.
struct Supervised {
    child: Child,
    socket: UnixDatagram,
    /// All that was heard, line by line.
    heard: Vec<String>,
    folder: TempDir,
}

impl Supervised {
    fn start(server: fn(&[&str]) -> Command, arguments: &[&str]) -> Supervised {
        let folder = tempfile::tempdir().unwrap();
        let socket_path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&socket_path).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = server(arguments);
        command.args(["--listen", "127.0.0.1:0"]).arg("--data-dir").arg(folder.path().join("data"));
        command.arg("--address-file").arg(folder.path().join("address"));
        command.env("NOTIFY_SOCKET", &socket_path).env("WATCHDOG_USEC", "2000000").stderr(log);
        let child = command.spawn().unwrap();
        Supervised { child, socket, heard: Vec::new(), folder }
    }

    /// Hears on until this was said after the first `from` lines; returns its place.
    async fn hears(&mut self, word: &str, from: usize) -> usize {
        let heard = async {
            loop {
                if let Some(at) = self.heard.iter().skip(from).position(|line| line.starts_with(word)) {
                    return from + at;
                }
                let mut bytes = vec![0; 4_096];
                let length = self.socket.recv(&mut bytes).await.unwrap();
                let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
                self.heard.extend(text.lines().map(str::to_owned));
            }
        };
        match timeout(PATIENCE, heard).await {
            Ok(at) => at,
            Err(_) => panic!("{word} was not heard after {from}: {:?}", self.heard),
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap())).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn logged(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn ended(&mut self) {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it does not end").unwrap();
        assert!(status.success(), "{}", self.logged());
    }
}

#[tokio::test]
async fn a_server_tells_that_it_serves_goes_on_reads_again_and_stops() {
    type Start = fn(&[&str]) -> Command;
    for (server, status) in
        [(coordinator as Start, "STATUS=0 open, 0 stuck, 0 damaged; 0 of 0"), (participant, "STATUS=0 branches open")]
    {
        let mut supervised = Supervised::start(server, &[]);
        let starting = supervised.hears("STATUS=starting", 0).await;
        let ready = supervised.hears("READY=1", 0).await;
        assert!(starting < ready, "{:?}", supervised.heard);
        assert!(supervised.logged().contains("recovery done"), "it is ready before it has recovered");
        let first = supervised.hears("WATCHDOG=1", ready).await;
        supervised.hears("WATCHDOG=1", first + 1).await;
        supervised.hears(status, ready).await;

        supervised.signal(Signal::HUP);
        let reloading = supervised.hears("RELOADING=1", first).await;
        let since = supervised.hears("MONOTONIC_USEC=", reloading).await;
        assert_eq!(since, reloading + 1, "{:?}", supervised.heard);
        let ready = supervised.hears("READY=1", reloading).await;
        supervised.hears("WATCHDOG=1", ready).await;

        supervised.signal(Signal::TERM);
        supervised.hears("STOPPING=1", ready).await;
        supervised.ended().await;
    }
}

#[tokio::test]
async fn one_that_may_not_serve_yet_is_not_ready_and_goes_on_and_one_that_drains_is_stopping() {
    let away = ["--participant", "away=http://127.0.0.1:1", "--set", "wait_for_all_witnesses=true"];
    let mut supervised = Supervised::start(coordinator, &away);
    let mut at = 0;
    for _ in 0..3 {
        at = supervised.hears("WATCHDOG=1", at).await + 1;
    }
    // Nothing of what is read again makes it ready.
    supervised.signal(Signal::HUP);
    until("it has read again", async || supervised.logged().contains("were read again").then_some(())).await;
    at = supervised.heard.len();
    supervised.hears("WATCHDOG=1", at).await;
    let too_early = supervised.heard.iter().any(|line| line.starts_with("READY") || line.starts_with("RELOADING"));
    assert!(!too_early, "{:?}", supervised.heard);
    supervised.signal(Signal::TERM);
    supervised.hears("STOPPING=1", 0).await;
    supervised.ended().await;

    let mut supervised = Supervised::start(coordinator, &[]);
    let ready = supervised.hears("READY=1", 0).await;
    let address = std::fs::read_to_string(supervised.folder.path().join("address")).unwrap();
    let mut operator = OperatorClient::connect(format!("http://{address}")).await.unwrap();
    operator.drain(v1::DrainRequest {}).await.unwrap();
    supervised.hears("STOPPING=1", ready).await;
    supervised.ended().await;
}

fn unit(name: &str) -> (PathBuf, String) {
    let path = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("systemd").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

/// Returns the values of a key of a unit.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

const UNITS: [&str; 2] = ["undoubt-coordinator.service", "undoubt-participant@.service"];

#[test]
fn the_units_start_nothing_again_that_another_start_would_not_help() {
    let not_again: BTreeSet<u8> =
        Failure::ALL.into_iter().filter(|failure| !failure.may_start_again()).map(Failure::code).collect();
    let codes: BTreeSet<u8> = Failure::ALL.into_iter().map(Failure::code).collect();
    assert_eq!(codes.len(), Failure::ALL.len());
    for name in UNITS {
        let (_, unit) = unit(name);
        let [prevented] = values(&unit, "RestartPreventExitStatus")[..] else { panic!("{name}") };
        let prevented: BTreeSet<u8> = prevented.split_whitespace().map(|code| code.parse().unwrap()).collect();
        assert_eq!(prevented, not_again, "{name}");
        for (key, value) in [
            ("Type", "notify"),
            ("Restart", "on-failure"),
            ("DynamicUser", "yes"),
            ("ProtectSystem", "strict"),
            ("NoNewPrivileges", "yes"),
            ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ] {
            assert_eq!(values(&unit, key), [value], "{name}: {key}");
        }
        let [watchdog] = values(&unit, "WatchdogSec")[..] else { panic!("{name}") };
        assert!(watchdog.parse::<u64>().unwrap() >= 2, "{name}: the engine beats four times a second");
    }
}

/// Has systemd's tool read the units, where there is one.
#[tokio::test]
async fn systemd_understands_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let programs = crate::support::programs();
    for (name, program) in UNITS.into_iter().zip([&programs.coordinator, &programs.participant]) {
        let (_, unit) = unit(name);
        let [start] = values(&unit, "ExecStart")[..] else { panic!("{name}") };
        let (installed, _) = start.split_once(' ').unwrap();
        assert_eq!(Path::new(installed).file_name(), program.file_name());
        // It looks whether the program is there.
        let path = folder.path().join(name.replace('@', "@bank-a"));
        std::fs::write(&path, unit.replace(installed, program.to_str().unwrap())).unwrap();
        let mut verify = Command::new("systemd-analyze");
        let verified = verify.args(["verify", "--man=no"]).arg(&path).output().await;
        let Ok(verified) = verified else {
            return eprintln!("there is no systemd-analyze; the units are not verified");
        };
        let said = String::from_utf8_lossy(&verified.stderr);
        let about_it: Vec<&str> = said.lines().filter(|line| line.contains("undoubt")).collect();
        assert!(verified.status.success() && about_it.is_empty(), "{name}: {said}");
    }
}
