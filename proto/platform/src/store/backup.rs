//! The answer to whoever wants a copy.

use crate::reason::Reason;
use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use thiserror::Error;
use tonic::Status;

/// A copy that is being made. Dropping this does not recall it.
pub type BackingUp = BoxFuture<'static, Result<(), BackupError>>;

/// The reason why there is no copy. Nothing is left of it, and whatever was to be copied goes on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BackupError {
    #[error("no backup was made at {to}: what is kept here is in no folder of its own; back it up by its own means")]
    NotOffered { to: PathBuf },

    #[error("no backup was made at {to}: {why}")]
    Refused { to: PathBuf, why: String },

    #[error(
        "no backup was made at {to}: {detail}. Nothing is left there, and the server goes on. See that there is room, and that \
         the server may write there, then try again"
    )]
    Failed { to: PathBuf, detail: String },
}

impl BackupError {
    /// Returns the answer of what cannot be copied.
    pub fn not_offered(to: &Path) -> BackingUp {
        ready(Err(BackupError::NotOffered { to: to.to_owned() })).boxed()
    }
}

impl From<BackupError> for Status {
    fn from(error: BackupError) -> Status {
        let message = error.to_string();
        match error {
            BackupError::NotOffered { .. } => Reason::NotOffered.refuse(message),
            BackupError::Refused { .. } => Reason::InvalidRequest.refuse(message),
            BackupError::Failed { .. } => Reason::WrongState.refuse(message),
        }
    }
}
