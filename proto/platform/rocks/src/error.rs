//! The reasons why a folder is not opened, and the errors of RocksDB and the operating system in the words of the
//! store's contract.

use std::io;
use std::path::{Path, PathBuf};

use rocksdb::ErrorKind;
use thiserror::Error;

use undoubt_platform::store::StoreError;

/// The reason why a folder was not opened as a store.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    #[error("{path} is already open, here or in another process. Stop the other one, or choose another folder")]
    AlreadyOpen { path: PathBuf },

    #[error(
        "{path} holds {found}, which no store of ours left there. Nothing was changed. Choose an empty folder, or the \
         right one"
    )]
    Foreign { path: PathBuf, found: String },

    #[error(
        "{path} is the data folder of {owner}, which keeps other things than what was started here. Nothing was changed. \
         Name the right folder"
    )]
    OfAnother { path: PathBuf, owner: String },

    #[error("{path} is not a folder. Name a folder for the data, or one that can be made")]
    NoFolder { path: PathBuf },

    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Translates an error. RocksDB hands its errors over as text, so the cause is read from it. `place` says what was
/// being used.
pub(super) fn translate(error: &rocksdb::Error, place: impl FnOnce() -> String) -> StoreError {
    let detail = error.to_string();
    if detail.contains("No space left on device") || detail.contains("Disk quota exceeded") {
        return StoreError::DiskFull { detail };
    }
    // A file that the manifest lists and the folder lacks is lost data.
    let file_missing = detail.contains("No such file or directory");
    if error.kind() == ErrorKind::Corruption || file_missing {
        return StoreError::Damaged { place: place(), detail };
    }
    StoreError::Io { detail: with_advice(detail) }
}

/// Translates as [`translate`] does, while opening: RocksDB locks the folder as well, so that its own tools are kept
/// out too.
pub(super) fn translate_at_open(error: &rocksdb::Error, path: &Path) -> OpenError {
    let detail = error.as_ref();
    if detail.contains("lock hold by current process") || detail.contains("While lock file") {
        return OpenError::AlreadyOpen { path: path.to_owned() };
    }
    translate(error, || path.display().to_string()).into()
}

pub(super) fn translate_io(error: &io::Error, what: &str, path: &Path) -> StoreError {
    let detail = format!("{what} {}: {error}", path.display());
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return StoreError::DiskFull { detail };
    }
    StoreError::Io { detail: with_advice(detail) }
}

/// Adds advice to an error. A process that may have no more files is not short of room: waiting mends nothing.
fn with_advice(detail: String) -> String {
    if detail.contains("Too many open files") {
        return format!("{detail}; raise the limit of open files (`ulimit -n`, or LimitNOFILE of its service)");
    }
    detail
}
