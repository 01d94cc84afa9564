//! The process of the handlers, which tests kill.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use crate::http::request;

const PAUSE: Duration = Duration::from_millis(30);
const MAX_TRIES: u32 = 1_000;

/// A service that is started again whenever it has ended.
#[derive(Debug)]
pub struct Ledger {
    kind: &'static str,
    url: String,
    port: AtomicU16,
    process: Mutex<Child>,
    pub ends: AtomicU32,
}

impl Ledger {
    pub fn start(kind: &'static str, url: &str) -> Self {
        let (process, port) = spawn(kind, url);
        let (port, process) = (AtomicU16::new(port), Mutex::new(process));
        Self { kind, url: url.to_owned(), port, process, ends: AtomicU32::new(0) }
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(&self) {
        self.process.lock().expect("no test panicked").kill().expect("it can be killed");
    }

    /// Asks until the answer is for good, as a participant does.
    pub async fn ask(&self, path: &str, effect: &str, operation: &'static str) -> (u16, String) {
        let headers = [("undoubt-effect", effect), ("undoubt-operation", operation)];
        for _ in 0..MAX_TRIES {
            let port = self.port.load(Ordering::Relaxed);
            match request(port, &format!("POST /{path}"), &headers, "").await {
                Some((500.., _) | (425, _)) => {}
                Some(answer) => return answer,
                None => self.start_again(),
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{operation} of {effect} was never answered");
    }

    fn start_again(&self) {
        let mut process = self.process.lock().expect("no test panicked");
        if process.try_wait().expect("it is a child").is_some() {
            let (again, port) = spawn(self.kind, &self.url);
            *process = again;
            self.port.store(port, Ordering::Relaxed);
            self.ends.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Ok(process) = self.process.get_mut() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn spawn(kind: &str, url: &str) -> (Child, u16) {
    let mut command = Command::new(example("ledger"));
    let mut process = command.args([kind, url]).stdout(Stdio::piped()).spawn().expect("cargo has built the example");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line).expect("it tells its port");
    (process, line.trim().parse().expect("a port"))
}

/// Returns the path of an example, which cargo builds with the tests.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this has a path");
    test.parent().and_then(|deps| deps.parent()).expect("cargo's folder").join("examples").join(name)
}
