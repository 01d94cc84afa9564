//! The kinds of store that a server can keep its data in, by the word of the settings: `[store] kind = "rocksdb"`.

use super::{Failed, Failure};
use anyhow::Context as _;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use undoubt_platform::numbered_store::FolderSign;
use undoubt_platform::store::StoreConfig;
use undoubt_platform::{Family, Store, StoreError};
use undoubt_rocks::{OpenError, RocksOptions, RocksStore};

/// A kind of store. To add one: a line here, in [`StoreKind::ALL`] and in each `match` below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Rocksdb,
}

/// The place where a server keeps its data.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub kind: StoreKind,
    pub data_dir: &'a Path,
    pub families: &'a [Family],
    /// Looks whether the files of a data folder are those that its server wrote.
    pub checks_folder: bool,
}

/// A store that is open, of whichever kind.
#[derive(Clone, Debug)]
pub enum OpenStore {
    Rocksdb(Arc<RocksStore>),
}

/// The reason why a store was not opened.
#[derive(Debug)]
pub enum NotOpened {
    /// There is no room now; there may be later.
    DiskFull(anyhow::Error),
    Failed(Failed),
}

impl StoreKind {
    pub const ALL: [StoreKind; 1] = [StoreKind::Rocksdb];

    /// Returns the kind that the settings name.
    pub fn chosen(config: &StoreConfig) -> anyhow::Result<StoreKind> {
        let found = StoreKind::ALL.into_iter().find(|kind| kind.to_string() == config.kind);
        let known = StoreKind::ALL.map(|kind| kind.to_string()).join(", ");
        found.with_context(|| format!("[store] kind: there is no store of kind {:?}; there are: {known}", config.kind))
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreKind::Rocksdb => f.write_str("rocksdb"),
        }
    }
}

impl OpenStore {
    pub fn open(place: Place<'_>) -> Result<OpenStore, NotOpened> {
        match place.kind {
            StoreKind::Rocksdb => {
                let options = RocksOptions { checks_folder: place.checks_folder, ..RocksOptions::default() };
                match RocksStore::open(place.data_dir, place.families, options) {
                    Ok(store) => Ok(OpenStore::Rocksdb(Arc::new(store))),
                    Err(OpenError::Store(full @ StoreError::DiskFull { .. })) => Err(NotOpened::DiskFull(full.into())),
                    Err(error) => {
                        let path = place.data_dir.display();
                        let error =
                            anyhow::Error::new(error).context(format!("the data folder {path} cannot be opened"));
                        Err(NotOpened::Failed(Failed::new(Failure::Folder, error)))
                    }
                }
            }
        }
    }

    pub fn store(&self) -> Arc<dyn Store> {
        match self {
            OpenStore::Rocksdb(store) => store.clone(),
        }
    }

    /// Returns the sign that the data were put back, if they show one.
    pub fn folder_sign(&self) -> Option<FolderSign> {
        match self {
            OpenStore::Rocksdb(store) => {
                let why = store.local_sign()?.to_string();
                tracing::warn!("{why}; if there is a newer folder of this server, stop it and use that");
                let store = store.clone();
                Some(FolderSign { why, settle: Box::new(move || store.settle_folder()) })
            }
        }
    }

    /// Returns true if the store stopped for want of room, whatever error later writers were told.
    pub fn ran_out_of_room(&self) -> bool {
        match self {
            OpenStore::Rocksdb(store) => store.ran_out_of_room(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_is_refused_with_those_that_there_are() {
        assert_eq!(StoreKind::chosen(&StoreConfig::default()).unwrap(), StoreKind::Rocksdb);
        let refused = StoreKind::chosen(&StoreConfig { kind: "paper".into() }).unwrap_err().to_string();
        assert_eq!(refused, "[store] kind: there is no store of kind \"paper\"; there are: rocksdb");
    }
}
