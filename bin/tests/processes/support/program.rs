//! Starting the servers by themselves: to see how they end, and what they say.

use super::PATIENCE;
use std::process::Stdio;
use tokio::process::Command;
use undoubt::cluster::{Cluster, Who};

/// How a server ended, and what it wrote.
#[derive(Debug)]
pub struct Ended {
    pub success: bool,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// That it refused to start, for a reason that has all of this in it.
    #[track_caller]
    pub fn refused_with(&self, words: &[&str]) {
        assert!(!self.success, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        let told: Vec<&str> = self.err.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(told.len() == 1 && !self.err.contains("Stack backtrace"), "not one sentence: {}", self.err);
        assert!(!self.err.contains('\u{1b}'), "colours where no person reads: {:?}", self.err);
    }
}

pub fn coordinator(arguments: &[&str]) -> Command {
    server(env!("CARGO_BIN_EXE_undoubt-coordinator"), arguments)
}

pub fn participant(arguments: &[&str]) -> Command {
    server(env!("CARGO_BIN_EXE_undoubt-participant"), arguments)
}

fn server(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("UNDOUBT_") {
            command.env_remove(name);
        }
    }
    // Which must not change what people read.
    command.env("RUST_BACKTRACE", "1");
    command
}

/// Runs a server that is expected to end by itself.
pub async fn run(mut command: Command) -> Ended {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it did not end by itself").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (success, code) = (output.status.success(), output.status.code());
    Ended { success, code, out: text(&output.stdout), err: text(&output.stderr) }
}

/// Runs a server on the data of a process of the cluster that is down.
pub async fn run_on(cluster: &Cluster, who: Who, name: &str, arguments: &[&str]) -> Ended {
    let data_dir = cluster.data_dir(who).display().to_string();
    let own = ["--listen", "127.0.0.1:0", "--name", name, "--data-dir", &data_dir];
    let key_file = format!("key_file={}", cluster.folder().join("coordinator/coordinator.key").display());
    let key_file = ["--set", &key_file];
    let key_file: &[&str] = if who == Who::Coordinator { &key_file } else { &[] };
    let arguments = [&own[..], key_file, arguments].concat();
    run(match who {
        Who::Coordinator => coordinator(&arguments),
        Who::Participant(_) => participant(&arguments),
    })
    .await
}
