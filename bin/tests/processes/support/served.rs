//! A process of `undoubt serve`.

use super::PATIENCE;
use super::cli;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

#[derive(Debug)]
pub struct Served {
    child: Child,
    folder: TempDir,
    arguments: Vec<String>,
    pub gateway: SocketAddr,
    /// The URL of the coordinator.
    pub coordinator: String,
    /// The line that it printed once it served.
    pub line: String,
}

impl Served {
    pub async fn start(arguments: &[&str]) -> Served {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Served::in_folder(tempfile::tempdir().unwrap(), arguments).await
    }

    async fn in_folder(folder: TempDir, arguments: Vec<String>) -> Served {
        let mut command = cli::command(&["serve", "--listen", "127.0.0.1:0", "--set", "gateway.listen=127.0.0.1:0"]);
        command.args(&arguments).arg("--data-dir").arg(folder.path().join("data")).stdout(Stdio::piped());
        let log = std::fs::File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
        let mut child = command.stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.ok().and_then(|line| line.unwrap());
        let said = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let line = line.unwrap_or_else(|| panic!("it does not serve: {}", said()));
        let between = |start: &str, end: &str| line.split_once(start).unwrap().1.split(end).next().unwrap().to_owned();
        let gateway = between("serving HTTP at ", " ").split_once("://").unwrap().1.parse().unwrap();
        let coordinator = format!("http://{}", between("gRPC at ", ";"));
        Served { child, folder, arguments, gateway, coordinator, line }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the log of all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Kills it with SIGKILL, and starts another on the same folder.
    pub async fn kill_and_restart(mut self) -> Served {
        self.child.kill().await.unwrap();
        Served::in_folder(self.folder, self.arguments).await
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Asks it to stop, and returns its exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        timeout(PATIENCE, self.child.wait()).await.expect("it does not stop").unwrap().code()
    }
}
