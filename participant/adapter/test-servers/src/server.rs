//! The part that both servers share: a folder, a port, a process, and its end.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::copy::{give, private_folder};
use crate::programs::{self, RunAs};
use crate::{Copy, ServerError};

/// The time that a server may take until it answers, tries included.
const START_LIMIT_MS: u64 = 90_000;
/// The time that a server may take until it has ended.
const STOP_LIMIT_MS: u64 = 60_000;
const POLL_MS: u64 = 50;
const MAX_LOG_BYTES_SHOWN: usize = 3_000;

/// The way one kind of server differs from another.
pub(crate) trait Kind: std::fmt::Debug {
    /// Returns the program and its arguments.
    fn program(&self, place: &Place) -> (PathBuf, Vec<OsString>);
    /// Returns the signal by which the server ends in order.
    fn stop_signal(&self) -> Signal;
    /// Returns the signal by which it ends at once, with all its children.
    fn end_signal(&self) -> Signal;
    /// Releases what a killed server leaves outside its folder.
    fn clean_up(&self, place: &Place);
}

/// The place of a server: its folder, its address and the user that it runs as.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) port: u16,
    pub(crate) run_as: RunAs,
}

impl Place {
    pub(crate) async fn new() -> Result<Self, ServerError> {
        let run_as = programs::run_as().await?;
        let place = Self { folder: private_folder(run_as)?, port: free_port()?, run_as };
        std::fs::create_dir(place.sockets()).map_err(ServerError::io("making a folder for sockets"))?;
        give(&place.sockets(), run_as)?;
        Ok(place)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn sockets(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        programs::command(program, self.run_as, self.folder())
    }
}

fn free_port() -> Result<u16, ServerError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    Ok(listener.map_err(ServerError::io("looking for a free port"))?.port())
}

/// A private server, which ends with this value.
#[derive(Debug)]
pub(crate) struct Server<K: Kind> {
    pub(crate) kind: K,
    pub(crate) place: Place,
    pub(crate) settings: Vec<(String, String)>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    server: Child,
    /// Ends the server if this process is killed: it waits for the end of the pipe that this process holds.
    guard: Child,
}

impl<K: Kind> Server<K> {
    pub(crate) fn new(kind: K, place: Place, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { kind, place, settings, running: None }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(other, _)| other != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.server.id())
    }

    /// Starts the server and waits until `answers` says that it does; one try.
    pub(crate) async fn start_once(&mut self, setting: Setting, answers: &impl Answers) -> Result<(), ServerError> {
        let deadline = Instant::now() + Duration::from_millis(START_LIMIT_MS);
        self.spawn(setting)?;
        loop {
            if answers.answers(&self.place).await {
                return Ok(());
            }
            if let Some(status) = self.ended()? {
                self.running.take().into_iter().for_each(Running::forget);
                return Err(ServerError::Ended { status, log: self.end_of_log() });
            }
            if Instant::now() > deadline {
                let log = self.end_of_log();
                self.end();
                return Err(ServerError::Silent { limit_ms: START_LIMIT_MS, log });
            }
            tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
        }
    }

    /// Starts the server as often as it takes: after a kill the orphans of the former one can be in the way for seconds.
    pub(crate) async fn start_again(&mut self, setting: Setting, answers: &impl Answers) -> Result<(), ServerError> {
        let deadline = Instant::now() + Duration::from_millis(START_LIMIT_MS);
        self.stop().await?;
        loop {
            match self.start_once(setting, answers).await {
                Err(ServerError::Ended { .. }) if Instant::now() < deadline => {}
                result => return result,
            }
            tokio::time::sleep(Duration::from_millis(4 * POLL_MS)).await;
        }
    }

    /// Starts a new server, on other ports if another process took the one that was free.
    pub(crate) async fn start_new(&mut self, setting: Setting, answers: &impl Answers) -> Result<(), ServerError> {
        for _ in 0..4 {
            match self.start_once(setting, answers).await {
                Err(ServerError::Ended { log, .. }) if log.contains("Address already in use") => {}
                result => return result,
            }
            self.place.port = free_port()?;
        }
        self.start_once(setting, answers).await
    }

    fn spawn(&mut self, setting: Setting) -> Result<(), ServerError> {
        let log = std::fs::File::options().create(true).append(true).open(self.place.log());
        let log = log.map_err(ServerError::io("opening a server's log"))?;
        let errors = log.try_clone().map_err(ServerError::io("opening a server's log"))?;
        let (program, arguments) = self.kind.program(&self.place);
        let mut command = self.place.command(&program);
        command.args(arguments).args(self.settings.iter().flat_map(|(name, value)| setting(name, value)));
        // A process group of its own, so that Ctrl-C at a terminal does not reach it before this process.
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let server = command.spawn().map_err(ServerError::io(format!("starting {}", program.display())))?;
        let guard = guard(server.id(), self.kind.end_signal(), self.place.folder());
        let guard = guard.map_err(ServerError::io("starting the guard of a server"))?;
        self.running = Some(Running { server, guard });
        Ok(())
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, ServerError> {
        let Some(running) = &mut self.running else { return Ok(None) };
        running.server.try_wait().map_err(ServerError::io("asking whether a server has ended"))
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read(self.place.log()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(MAX_LOG_BYTES_SHOWN)..]).into_owned()
    }

    /// Kills the server's main process as a crash does: nothing is written any more, and children become orphans.
    pub(crate) fn kill_9(&mut self) {
        self.running.take().into_iter().for_each(Running::forget);
    }

    /// Ends the server in order; one that does not run stays as it is.
    pub(crate) async fn stop(&mut self) -> Result<(), ServerError> {
        let Some(running) = &self.running else { return Ok(()) };
        running.signal(self.kind.stop_signal());
        let deadline = Instant::now() + Duration::from_millis(STOP_LIMIT_MS);
        while self.ended()?.is_none() {
            if Instant::now() > deadline {
                let program = self.kind.program(&self.place).0.display().to_string();
                return Err(ServerError::TooSlow { program, limit_ms: STOP_LIMIT_MS });
            }
            tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
        }
        self.kill_9();
        Ok(())
    }

    fn refuse_while_running(&self) -> Result<(), ServerError> {
        match self.running {
            Some(_) => Err(ServerError::Running(self.place.data())),
            None => Ok(()),
        }
    }

    pub(crate) async fn copy(&self) -> Result<Copy, ServerError> {
        self.refuse_while_running()?;
        Copy::of(&self.place.data(), self.place.run_as).await
    }

    pub(crate) async fn put_back(&self, copy: &Copy) -> Result<(), ServerError> {
        self.refuse_while_running()?;
        copy.put_back(&self.place.data()).await
    }

    /// Ends the server at once, and what earlier ones left.
    fn end(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.signal(self.kind.end_signal());
            running.wait();
            running.forget();
        }
        for orphan in self.orphans() {
            // It may have ended by itself in the meantime.
            let _ = kill_process(orphan, Signal::KILL);
        }
        self.kind.clean_up(&self.place);
    }

    /// Returns the processes that work in this server's data folder, which nobody but its children does.
    fn orphans(&self) -> Vec<Pid> {
        let Ok(data) = self.place.data().canonicalize() else { return Vec::new() };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == data))
            .filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
            .collect()
    }
}

impl<K: Kind> Drop for Server<K> {
    fn drop(&mut self) {
        self.end();
    }
}

impl Running {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.server.id()).ok().and_then(Pid::from_raw);
        // The child is not waited for yet, so its id is still its own; it may have ended.
        let _ = pid.map(|pid| kill_process(pid, signal));
    }

    /// Waits until the server has ended, or the limit has passed.
    #[expect(clippy::disallowed_methods, reason = "a destructor cannot await")]
    fn wait(&mut self) {
        for _ in 0..STOP_LIMIT_MS / POLL_MS {
            match self.server.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(POLL_MS)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }

    /// Kills what is left of both processes and takes note of their end.
    fn forget(mut self) {
        for child in [&mut self.guard, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Returns the arguments that set one setting.
pub(crate) type Setting = fn(&str, &str) -> Vec<String>;

/// A way to ask a server whether it answers.
pub(crate) trait Answers {
    async fn answers(&self, place: &Place) -> bool;
}

/// Starts a process that ends a server, and removes its folder, when this process is gone.
fn guard(server: u32, signal: Signal, folder: &Path) -> std::io::Result<Child> {
    const SCRIPT: &str = r#"
        read -r _
        kill -"$1" "$2"
        tries=100
        while kill -0 "$2" && [ "$tries" -gt 0 ]; do sleep 0.1; tries=$((tries - 1)); done
        kill -KILL "$2"
        rm -rf -- "$3""#;
    let (signal, server) = (signal.as_raw().to_string(), server.to_string());
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "guard", &signal, &server]).arg(folder).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
