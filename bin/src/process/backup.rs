//! Backups of a server's data, while it runs or while it does not.

use super::{Failed, Failure, OrFailed as _};
use crate::credentials::Credentials;
use anyhow::{Context as _, anyhow};
use clap::ArgGroup;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use undoubt_client::{ClientOptions, OperatorError};
use undoubt_platform::terminal::{say, unless_reader_left};
use undoubt_platform::{BackupError, Family, Store as _};
use undoubt_rocks::{OpenError, RocksOptions, RocksStore};
use undoubt_vocabulary::printable_text::clean;

/// The time for which a server that does not answer is tried.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

const EXIT_CODES: &str = "Exit codes: 0 done, 1 another failure (look before you repeat it), 2 command line, or no place for a \
                          backup, 3 data folder (none, another's, damaged, open elsewhere), 5 nobody answers at the address, \
                          6 it could not be written. With --output json an error is printed as \
                          {\"error\":{\"kind\", \"message\"}}.";

/// Copies all that a server keeps, of one moment and marked as a copy, while the server runs or while it is stopped.
///
/// The copy has everything that was acknowledged before. On the device of the data folder it shares most of its files with that,
/// and takes little room: take it to another device to be safe from the loss of this one. A server that is started on it
/// says that it was put back.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, group(ArgGroup::new("source").required(true).args(["server", "data_dir"])))]
pub struct Backup {
    /// The server, while it runs. It makes the copy, on its own machine.
    #[arg(long, value_name = "http(s)://HOST:PORT")]
    server: Option<String>,
    /// The data folder of a server that does not run.
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// The place of the copy, by its whole path: an empty folder, or one that does not exist yet.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// A line for people, or a JSON document for programs.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    credentials: Credentials,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

impl Backup {
    /// Makes the backup and tells what came of it. `families` are those that a stopped server's store may have; `ask` asks a running one,
    /// by its address, for a copy in a folder.
    pub async fn carry_out(
        self,
        families: &[Family],
        ask: impl AsyncFnOnce(&str, &str, ClientOptions) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let made = match (&self.server, &self.data_dir) {
            (Some(server), _) => match self.to.to_str() {
                Some(to) => {
                    let options = ClientOptions::default().deadline(CONNECT_DEADLINE);
                    let options = self.credentials.give(options).or_failed(Failure::Configuration)?;
                    ask(server, to, options).await
                }
                None => Err(anyhow!("{} is not UTF-8; name another folder", self.to.display()))
                    .or_failed(Failure::Configuration),
            },
            (None, Some(data_dir)) => self.copy_stopped(data_dir, families).await,
            (None, None) => Err(anyhow!("neither --server nor --data-dir is given")).or_failed(Failure::Configuration),
        };
        let printed = match (self.output, &made) {
            (Output::Json, Ok(())) => say(json!({ "backup": self.to.display().to_string() })),
            (Output::Json, Err(failed)) => say(json!({ "error": failed.json() })),
            (Output::Text, Ok(())) => say(clean(&format!("backed up  {}", self.to.display()))),
            (Output::Text, Err(_)) => Ok(()),
        };
        unless_reader_left(printed).context("the exit code holds, but cannot be told on the standard output")?;
        made
    }

    async fn copy_stopped(&self, data_dir: &Path, families: &[Family]) -> Result<(), Failed> {
        if !RocksStore::is_in(data_dir) {
            let error = anyhow!("{} is no data folder of a server; name the right one", data_dir.display());
            return Err(Failed::new(Failure::Folder, error));
        }
        // Of several kinds of stores, each as it is.
        let opened = RocksStore::families_in(data_dir, families)
            .and_then(|families| RocksStore::open(data_dir, &families, RocksOptions::default()));
        let store = match opened {
            Ok(store) => store,
            Err(open @ OpenError::AlreadyOpen { .. }) => {
                let error = anyhow!(open).context("a server that runs is backed up with --server");
                return Err(Failed::new(Failure::Folder, error));
            }
            Err(OpenError::Store(error)) => return Err(Failed::new(Failure::of_store(&error), error)),
            Err(error) => return Err(Failed::new(Failure::Folder, error)),
        };
        store.backup(&self.to).await.map_err(|error| Failed::new(of_backup(&error), error))
    }
}

/// Returns the failure of a server that was asked for a backup.
pub fn of_operator(error: OperatorError) -> Failed {
    let failure = match &error {
        OperatorError::NotReached(_) => Failure::Address,
        OperatorError::Refused { .. } | OperatorError::NotOffered { .. } => Failure::Configuration,
        OperatorError::WrongState { .. } => Failure::Storage,
        OperatorError::NotFound { .. }
        | OperatorError::Unclear(_)
        | OperatorError::Malformed { .. }
        | OperatorError::Unexpected { .. }
        | _ => Failure::Other,
    };
    Failed::new(failure, error)
}

fn of_backup(error: &BackupError) -> Failure {
    match error {
        BackupError::NotOffered { .. } | BackupError::Refused { .. } => Failure::Configuration,
        BackupError::Failed { .. } => Failure::Storage,
    }
}
