//! The frame of a server process: tracing, signals, the listener, its store ([`OpenStore`]), its run ([`serve_on`]), the port
//! for its figures ([`start_board`]), what to do when the device is full ([`run_with_room`]), how it ends ([`Failed`]), the file
//! of a key ([`Key`]), and backups of its data ([`Backup`]).

mod backup;
mod failure;
mod figures;
mod guard;
mod inside;
mod key_file;
mod logging;
mod oidc;
mod reload;
mod room;
mod runtime;
mod serving;
mod signals;
mod store;
mod supervisor;
mod traces;

use anyhow::Context;
use futures::StreamExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fmt;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{self, Writer};
use undoubt_platform::CrashPoints;
use undoubt_platform::server::{Connection, Incoming, Peer};
use undoubt_platform::terminal::{say, unless_reader_left};
use undoubt_vocabulary::printable_text::clean;

pub use backup::{Backup, of_operator};
pub use failure::{EXIT_CODES, Failed, Failure, OrFailed, exit};
pub use figures::{METRICS as PROCESS_METRICS, figures_without_store, start_board};
pub use guard::{Door, Guard, Guarding, read_secret};
pub use inside::{Inside, InsideDial};
pub use key_file::{Key, read_or_draw};
pub use logging::{LogLevel, log_filter};
use reload::RELOADS;
pub use reload::{Apply, Reload, Reloads};
pub use room::{Ran, run_with_room};
pub use runtime::run_server;
pub use serving::{Process, serve_on};
pub use signals::{HangUps, Shutdown};
pub use store::{NotOpened, OpenStore, Place, StoreKind};
pub use supervisor::Supervisor;
pub use traces::Spans;

/// Returns true if a person reads the standard error, on something that has colours, and wants them
/// (<https://no-color.org>).
pub fn has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

/// Returns the form of a log's fields for people: what others wrote must not steer the terminal, nor look like a line.
pub fn log_fields() -> impl for<'writer> FormatFields<'writer> {
    let field = |writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let value = format!("{value:?}").replace('\n', "\\n");
        match field.name() {
            "message" => write!(writer, "{}", clean(&value)),
            name => write!(writer, "{name}={}", clean(&value)),
        }
    };
    format::debug_fn(field).delimited(" ")
}

/// The form in which a server writes its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Human,
    Json,
}

/// Flags that both servers have.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// Settings as TOML; environment variables and flags overrule it.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Any setting by its name; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = crate::settings::parse_assignment)]
    pub set: Vec<crate::settings::Given>,
    /// Its name, kept in the data folder.
    #[arg(long)]
    pub name: Option<String>,
    /// host:port to listen on; port 0 takes any free one.
    #[arg(long)]
    pub listen: Option<String>,
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Listen beyond this machine also without TLS or identities: whoever reaches it may do everything.
    #[arg(long)]
    pub insecure: bool,
    /// Print the effective settings as TOML, and end.
    #[arg(long)]
    pub print_config: bool,
    /// Write the address it listens on into this file, once it does.
    #[arg(long, value_name = "FILE")]
    pub address_file: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "human", env = "UNDOUBT_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// The level of the log: error, warn, info, debug, trace, or a tracing filter. Overrules the setting log.
    #[arg(long, env = "UNDOUBT_LOG")]
    pub log: Option<String>,
    /// For tests: crash (abort) at this point the given time, `point:count`.
    #[arg(long, value_name = "POINT:COUNT", env = "UNDOUBT_CRASH_AT", hide = true)]
    pub crash_at: Option<String>,
    /// Where it listened first.
    #[arg(skip)]
    bound: OnceLock<SocketAddr>,
}

impl ServerArgs {
    /// Returns the flags of a server whose settings are only looked at.
    pub fn of_file(config: PathBuf, set: Vec<crate::settings::Given>) -> ServerArgs {
        ServerArgs {
            config: Some(config),
            set,
            name: None,
            listen: None,
            data_dir: None,
            insecure: false,
            print_config: false,
            address_file: None,
            log_format: LogFormat::Human,
            log: None,
            crash_at: None,
            bound: OnceLock::new(),
        }
    }

    /// Returns all flags that are settings, the general ones first.
    pub fn given(&self) -> Vec<crate::settings::Given> {
        let mut given = self.set.clone();
        let mut add = |key: &str, value: Option<String>| given.extend(value.map(|value| (key.to_owned(), value)));
        add("name", self.name.clone());
        add("listen", self.listen.clone());
        add("log", self.log.clone());
        add("insecure", self.insecure.then(|| "true".to_owned()));
        add("data_dir", self.data_dir.as_ref().map(|path| path.display().to_string()));
        given
    }

    /// Prints the effective settings.
    pub fn print<C: serde::Serialize>(&self, config: &C) -> anyhow::Result<()> {
        let text = crate::settings::to_toml(config)?;
        unless_reader_left(say(text.trim_end())).context("cannot write the settings to the standard output")
    }

    pub fn crash_points(&self) -> anyhow::Result<CrashPoints> {
        match &self.crash_at {
            None => Ok(CrashPoints::default()),
            Some(spec) => {
                tracing::warn!(%spec, "this process will crash on purpose");
                Ok(CrashPoints::from_spec(spec)?)
            }
        }
    }

    /// Returns the address at which it listens, once it has listened.
    pub fn address(&self) -> Option<SocketAddr> {
        self.bound.get().copied()
    }

    /// Binds, and tells where. After a recovery in place that is the address of before, even if any free port was asked
    /// for.
    pub async fn bind(&self, listen: &str) -> Result<TcpListener, Failed> {
        let again = self.bound.get().map(SocketAddr::to_string);
        let listen = again.as_deref().unwrap_or(listen);
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}; is the port taken? Choose another with --listen"))
            .or_failed(Failure::Address)?;
        let address = listener.local_addr().or_failed(Failure::Address)?;
        self.bound.get_or_init(|| address);
        tracing::info!(%address, "listening");
        if let Some(file) = &self.address_file {
            write_whole(file, &address.to_string()).or_failed(Failure::Configuration)?;
        }
        Ok(listener)
    }
}

/// Files of the data folder and connections to others, beside those that come in.
const FILES_BESIDE_CONNECTIONS: u64 = 512;

/// Lets this process open as many files as it may, and returns how many connections it can keep of those that it is set
/// to. Fewer are told in the log.
pub fn raise_open_files(max_connections: usize) -> usize {
    let files = Resource::Nofile;
    let before = getrlimit(files);
    if let Err(error) = setrlimit(files, Rlimit { current: before.maximum, maximum: before.maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised to what the system allows at most");
    }
    // None is no limit.
    let Some(limit) = getrlimit(files).current else { return max_connections };
    let spare = limit.saturating_sub(FILES_BESIDE_CONNECTIONS).max(limit / 2);
    let possible = usize::try_from(spare).unwrap_or(usize::MAX).min(max_connections);
    if possible < max_connections {
        tracing::warn!(
            limit,
            max_connections,
            possible,
            "fewer connections than max_connections can be kept; raise the limit of open files (ulimit -n)"
        );
    }
    possible
}

/// The connections that come in. Nagle's algorithm is off: it would hold a small answer back until the one before is
/// acknowledged, which takes a peer that delays acknowledgements 40 ms. (The server's own option does not reach
/// connections that it is handed.)
pub fn accepted(listener: TcpListener) -> Incoming {
    TcpListenerStream::new(listener)
        .map(|accepted| {
            accepted.map(|connection| {
                if let Err(error) = connection.set_nodelay(true) {
                    tracing::debug!(%error, "a connection's small answers may be held back");
                }
                let peer = Peer { address: connection.peer_addr().ok(), ..Peer::default() };
                Connection::over(connection).with(peer)
            })
        })
        .boxed()
}

/// Readers see the whole text or no file.
fn write_whole(file: &Path, text: &str) -> anyhow::Result<()> {
    let part = file.with_extension("part");
    std::fs::write(&part, text).with_context(|| format!("cannot write {}", part.display()))?;
    std::fs::rename(&part, file).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_others_wrote_neither_steers_the_terminal_nor_looks_like_another_line_of_the_log() {
        let written = Written::default();
        let writer = written.clone();
        let log =
            tracing_subscriber::fmt().with_ansi(false).fmt_fields(log_fields()).with_writer(move || writer.clone());
        tracing::subscriber::with_default(log.finish(), || {
            tracing::info!(error = %"no\nINFO all is well\u{9b}2J", count = 3, name = "a b", "said {}", "\u{1b}[2J");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        assert!(!text.trim_end().contains(char::is_control), "{text:?}");
        for part in ["error=no\\nINFO all is well", "count=3", "name=\"a b\"", "said \\u{1b}[2J"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
