//! The participants of a coordinator by their names, also while the coordinator is dead: what it said last is remembered.
//!
//! The memory is a file of the person who uses the command line: `undoubt/participants.json` in `$XDG_STATE_HOME`, or in
//! `~/.local/state`. It is written when a coordinator tells of its participants and something has changed.

use crate::args::Global;
use crate::exit::{Exit, Failure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};
use undoubt_client::{CoordinatorView, OperatorError};

/// Names and addresses, of a configuration file's `participants` or of the memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    /// `http://host:port`
    pub address: String,
}

/// The participants of a coordinator, and how they are known.
#[derive(Debug)]
pub struct AddressBook {
    pub entries: Vec<Entry>,
    pub source: Source,
}

/// The source of the addresses.
#[derive(Debug)]
pub enum Source {
    /// The coordinator itself.
    Coordinator,
    /// A coordinator's configuration file.
    File,
    /// The memory, because the coordinator does not answer.
    Memory { coordinator_is_away: String },
}

/// The remembered participants, by the coordinators' addresses.
type Memory = BTreeMap<String, Vec<Entry>>;

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    participants: Vec<Entry>,
}

impl AddressBook {
    /// Reads the participants from a coordinator's configuration file, or asks the coordinator for them, or remembers them.
    pub async fn open(config: Option<&Path>, global: &Global) -> Result<AddressBook, Failure> {
        if let Some(path) = config {
            return AddressBook::of_file(path);
        }
        let away = match global.client()?.describe().await {
            Ok(view) => {
                remember(&global.coordinator, &view);
                return Ok(AddressBook { entries: entries(&view), source: Source::Coordinator });
            }
            Err(OperatorError::NotReached(away)) => away.to_string(),
            Err(error) => return Err(error.into()),
        };
        match memory().remove(&global.coordinator) {
            Some(entries) => Ok(AddressBook { entries, source: Source::Memory { coordinator_is_away: away } }),
            None => Err(Failure::new(
                Exit::NotReady,
                format!(
                    "{away}, and its participants are not remembered here: give their addresses instead of names, or a \
                     coordinator's configuration file with `undoubt doubt --config FILE`"
                ),
            )),
        }
    }

    fn of_file(path: &Path) -> Result<AddressBook, Failure> {
        let unusable = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| unusable(format!("it cannot be read: {error}")))?;
        let file: ConfigFile = toml::from_str(&text).map_err(|error| unusable(error.message().to_owned()))?;
        if file.participants.is_empty() {
            return Err(unusable("it names no participants; give the configuration file of a coordinator".to_owned()));
        }
        Ok(AddressBook { entries: file.participants, source: Source::File })
    }

    /// Returns the address of a participant that a person has named, or the address itself where he has given one.
    pub async fn address_of(participant: &str, global: &Global) -> Result<String, Failure> {
        if participant.contains(':') || participant.contains('/') {
            return Ok(participant.to_owned());
        }
        let book = AddressBook::open(None, global).await?;
        if let Some(entry) = book.entries.iter().find(|entry| entry.name == participant) {
            return Ok(entry.address.clone());
        }
        let names: Vec<&str> = book.entries.iter().map(|entry| entry.name.as_str()).collect();
        let why = format!(
            "the coordinator has no participant {participant:?}; there are: {}. Or give its address, http://HOST:PORT",
            names.join(", ")
        );
        Err(Failure::new(Exit::Usage, why))
    }
}

impl AddressBook {
    /// Returns the participants that a coordinator has just told.
    pub fn told_by(view: &CoordinatorView) -> Vec<Entry> {
        entries(view)
    }

    /// Returns those that a coordinator told last; none if it never did.
    pub fn remembered(coordinator: &str) -> Vec<Entry> {
        memory().remove(coordinator).unwrap_or_default()
    }
}

fn entries(view: &CoordinatorView) -> Vec<Entry> {
    let addressed = view.participants.iter().filter(|participant| !participant.address.is_empty());
    addressed.map(|view| Entry { name: view.name.to_string(), address: view.address.clone() }).collect()
}

/// Remembers the participants of a coordinator. Whoever has no place to remember goes without.
pub fn remember(coordinator: &str, view: &CoordinatorView) {
    let mut memory = memory();
    let entries = entries(view);
    if entries.is_empty() || memory.get(coordinator) == Some(&entries) {
        return;
    }
    memory.insert(coordinator.to_owned(), entries);
    if let Err(error) = write(&memory) {
        tracing::debug!(%error, "the participants' addresses are not remembered");
    }
}

/// Returns what is remembered; nothing where it cannot be read.
fn memory() -> Memory {
    let text = place().and_then(|path| fs::read_to_string(path).ok());
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn write(memory: &Memory) -> io::Result<()> {
    let path = place().ok_or(io::ErrorKind::NotFound)?;
    let folder = path.parent().ok_or(io::ErrorKind::NotFound)?;
    fs::create_dir_all(folder)?;
    // Readers see the whole text or that of before.
    let part = path.with_extension(format!("{}.part", std::process::id()));
    fs::write(&part, serde_json::to_string_pretty(memory)?)?;
    fs::rename(&part, &path)
}

fn place() -> Option<PathBuf> {
    let given = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = given("XDG_STATE_HOME").or_else(|| Some(given("HOME")?.join(".local/state")))?;
    Some(state.join("undoubt/participants.json"))
}
