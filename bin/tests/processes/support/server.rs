//! Servers that a test starts by itself, beside those of a cluster.

use super::{PATIENCE, until};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use tokio::process::{Child, Command};

/// A server of a test's own, with its log and its address.
pub struct Server {
    child: Child,
    log: PathBuf,
    pub url: String,
}

impl Server {
    /// Starts it under a name, with its data in the folder. `listen`: `host:port`; port 0 is any free one.
    pub async fn start(folder: &Path, name: &str, listen: &str, mut command: Command) -> Server {
        let (log, address) = (folder.join(format!("{name}.log")), folder.join(format!("{name}.address")));
        let _ = std::fs::remove_file(&address);
        let into = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let data = folder.join(name);
        command
            .args(["--name", name, "--listen", listen])
            .arg("--data-dir")
            .arg(data)
            .arg("--address-file")
            .arg(&address);
        let child = command.stderr(into).spawn().unwrap();
        let read = async || std::fs::read_to_string(&address).ok();
        let url = format!("http://{}", until("it says where it listens", read).await);
        Server { child, log, url }
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until its log has this.
    pub async fn says(&self, words: &str) {
        until(words, async || self.logged().contains(words).then_some(())).await;
    }

    pub fn hang_up(&self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap())).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }

    /// Ends it with kill -9.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub async fn stop(mut self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap())).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().success());
    }
}
