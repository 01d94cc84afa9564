//! Running `undoubt`.

use super::PATIENCE;
use serde_json::Value;
use std::process::Stdio;
use tokio::process::Command;
use undoubt::cluster::{Cluster, Who};
use undoubt::credentials::Credentials;

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// The JSON documents it printed.
    pub fn documents(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{self:?}"))).collect()
    }

    /// Its one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        let documents = self.documents();
        assert_eq!(documents.len(), 1, "{self:?}");
        documents.into_iter().next().unwrap()
    }

    /// That it ended with this code and said all of this to the user.
    #[track_caller]
    pub fn expect(self, code: i32, words: &[&str]) -> Said {
        assert_eq!(self.code, code, "{self:?}");
        let said = format!("{}{}", self.out, self.err);
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said}");
        }
        self
    }
}

/// A command of `undoubt`, without whatever this shell's environment would add.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undoubt"));
    // What it remembers is not to come from elsewhere, nor to stay.
    command.args(arguments).stdin(Stdio::null()).env("XDG_STATE_HOME", "/dev/null").kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("UNDOUBT_") {
            command.env_remove(name);
        }
    }
    command
}

pub async fn run(mut command: Command) -> Said {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("undoubt did not end in time").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("undoubt was killed by a signal");
    Said { code, out: text(&output.stdout), err: text(&output.stderr) }
}

/// Asks the cluster's coordinator; tables.
pub async fn undoubt(cluster: &Cluster, arguments: &[&str]) -> Said {
    let url = cluster.url(Who::Coordinator).unwrap();
    let mut command = command(arguments);
    command.args(["--coordinator", &url]).env("XDG_STATE_HOME", cluster.folder().join("state"));
    run(command).await
}

/// Asks the coordinator of a cluster that is secured, as somebody.
pub async fn undoubt_as(cluster: &Cluster, who: &Credentials, arguments: &[&str]) -> Said {
    let url = cluster.url(Who::Coordinator).unwrap();
    let mut command = command(arguments);
    command.args(["--coordinator", &url, "--timeout", "5s"]);
    for (flag, file) in
        [("--ca", &who.ca), ("--cert", &who.cert), ("--key", &who.key), ("--token-file", &who.token_file)]
    {
        command.args(file.iter().flat_map(|file| [flag.as_ref(), file.as_os_str()]));
    }
    run(command).await
}

/// Asks the cluster's coordinator; JSON.
pub async fn undoubt_json(cluster: &Cluster, arguments: &[&str]) -> Said {
    undoubt(cluster, &[arguments, &["--output", "json"]].concat()).await
}
