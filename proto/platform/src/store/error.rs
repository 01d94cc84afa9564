//! Why a store refuses or stops.

use std::path::PathBuf;

use thiserror::Error;

/// One cause each. Cloned to every write of a group that failed together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    #[error(
        "{place} is damaged: {detail}. Nothing was repaired or skipped. Restore this folder from a backup or a healthy \
         replica; do not start with an older copy, it would forget decisions that others have already acted on"
    )]
    Damaged { place: String, detail: String },

    #[error(
        "no room left on the device ({detail}). It is unknown how much of the last write landed, so this store stopped: \
         free some space, then open the folder again"
    )]
    DiskFull { detail: String },

    #[error(
        "input or output failed: {detail}. What was not answered as durable may be lost. Check the device and its \
         permissions, then open the folder again"
    )]
    Io { detail: String },

    #[error(
        "nothing was written, because the store stopped earlier: {cause}. Open the folder again once that is mended"
    )]
    Stopped { cause: String },

    #[error(
        "the write was not applied: {queued} wait already, and the bound {bound} is {limit}. Storage is slower than its \
         callers: try again later, or raise the bound"
    )]
    QueueFull { bound: &'static str, limit: usize, queued: usize },

    #[error(
        "the write was not applied: its {bytes} bytes of keys and values exceed the bound {bound} of {limit} bytes. \
         Split it, or raise the bound"
    )]
    BatchTooLarge { bytes: usize, bound: &'static str, limit: usize },

    #[error("{path} is already open, here or in another process. Stop the other one, or choose another folder")]
    AlreadyOpen { path: PathBuf },

    #[error(
        "{path} holds {found}, which no store of ours left there. Nothing was changed. Choose an empty folder, or the \
         right one"
    )]
    Foreign { path: PathBuf, found: String },

    #[error(
        "{path} has the unknown families {families:?}, so a newer version wrote it. Start that version, or a newer one"
    )]
    UnknownFamilies { path: PathBuf, families: Vec<String> },

    #[error(
        "{path} is the data folder of {owner}, which keeps other things than what was started here. Nothing was changed. \
         Name the right folder"
    )]
    OfAnother { path: PathBuf, owner: String },

    #[error("{path} is not a folder. Name a folder for the data, or one that can be made")]
    NoFolder { path: PathBuf },

    #[error("the store was opened without the family '{family}'. This is a defect of the program: please report it")]
    NoSuchFamily { family: &'static str },
}
