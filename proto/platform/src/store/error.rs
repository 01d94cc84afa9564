//! The errors of a store that are common to all kinds of store. What only one kind knows, such as a folder, is in errors of its
//! own.

use thiserror::Error;

/// The reason why a store refuses or stops. Cloned to every write of a group that failed together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    #[error(transparent)]
    Fenced(#[from] Fenced),

    /// The store cannot do this now: nothing of the write was applied, and it may be repeated as it is.
    #[error("the store cannot do this now: {cause}. Nothing was written; try again later")]
    Unavailable { cause: String },

    /// The store can never do this: nothing of the write was applied.
    #[error(
        "the write was not applied: its {bytes} bytes of keys and values exceed the bound {bound} of {limit} bytes. \
         Write less at a time, or raise the bound"
    )]
    BatchTooLarge { bytes: usize, bound: &'static str, limit: usize },

    #[error(
        "{place} is damaged: {detail}. Nothing was repaired or skipped. Restore it from a backup or a healthy replica; do \
         not start with an older copy, it would forget decisions that others have already acted on"
    )]
    Damaged { place: String, detail: String },

    #[error(
        "no room is left ({detail}). It is unknown how much of the last write landed, so this store stopped: free some, then \
         open it again"
    )]
    DiskFull { detail: String },

    #[error(
        "input or output failed: {detail}. What was not answered as durable may be lost. Mend the cause, then open the store \
         again"
    )]
    Io { detail: String },

    #[error("nothing was written, because the store stopped earlier: {cause}. Open it again once that is mended")]
    Stopped { cause: String },

    #[error(
        "the store has the unknown families {families:?}, so a newer version wrote it. Start that version, or a newer one"
    )]
    UnknownFamilies { families: Vec<String> },

    #[error("the store was opened without the family '{family}'. This is a defect of the program: please report it")]
    NoSuchFamily { family: &'static str },
}

/// The store was taken over by somebody else. What was not answered before may be found by the new owner or not;
/// nothing that is written later lands, and every later write fails with this too.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "another process has taken this store over ({detail}). Nothing is written here any more, and this process ends: leave \
     the work to the other"
)]
pub struct Fenced {
    pub detail: String,
}
