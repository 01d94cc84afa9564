//! The failures that end a server, as its exit code and one line tell them.

use std::process::ExitCode;
use undoubt_platform::terminal::complain;
use undoubt_platform::{IdentityError, StoreError};

/// The kind of failure that ended a server. Each has an exit code of its own, so that a supervisor can tell what
/// another start may mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 1: a defect, or what has no code of its own.
    Other,
    /// 2: the command line or the settings. Another start changes nothing.
    Configuration,
    /// 3: the data folder is another's, damaged, of a newer format, open elsewhere, or cannot be opened.
    Folder,
    /// 4: another process has taken over this coordinator, or the folder is an old copy. It must not be started again.
    FencedByEpoch,
    /// 5: it cannot listen on its address.
    Address,
    /// 6: the device failed while it ran. Another start recovers, once the device is mended.
    Storage,
    /// 7: another process has taken its store over, and works with it. What was open is carried on there.
    FencedByStore,
}

/// The exit codes, for the help of a server.
pub const EXIT_CODES: &str = "Exit codes: 0 stopped as asked, 1 another failure, 2 command line or settings, 3 data folder \
                              (another's, damaged, newer format, open elsewhere), 4 fenced by a newer epoch (another process has taken \
                              over: do not start it again), 5 address, 6 device failed, 7 fenced from its store (another process has \
                              taken its store over, and carries on).";

impl Failure {
    pub const ALL: [Failure; 7] = [
        Failure::Other,
        Failure::Configuration,
        Failure::Folder,
        Failure::FencedByEpoch,
        Failure::Address,
        Failure::Storage,
        Failure::FencedByStore,
    ];

    /// Returns true if a supervisor should start the server again: another start may find it mended, and harms nobody.
    pub fn may_start_again(self) -> bool {
        match self {
            Failure::Other | Failure::Address | Failure::Storage => true,
            Failure::Configuration | Failure::Folder | Failure::FencedByEpoch | Failure::FencedByStore => false,
        }
    }

    pub fn code(self) -> u8 {
        match self {
            Failure::Other => 1,
            Failure::Configuration => 2,
            Failure::Folder => 3,
            Failure::FencedByEpoch => 4,
            Failure::Address => 5,
            Failure::Storage => 6,
            Failure::FencedByStore => 7,
        }
    }

    /// Returns the word for it in JSON.
    pub fn kind(self) -> &'static str {
        match self {
            Failure::Other => "unexpected",
            Failure::Configuration => "usage",
            Failure::Folder => "folder",
            Failure::FencedByEpoch => "fenced-by-epoch",
            Failure::Address => "not-ready",
            Failure::Storage => "storage",
            Failure::FencedByStore => "fenced-by-store",
        }
    }

    /// Returns the kind of failure of a store that could not be opened, or stopped.
    pub fn of_store(error: &StoreError) -> Failure {
        match error {
            StoreError::Fenced(_) => Failure::FencedByStore,
            StoreError::Damaged { .. } | StoreError::UnknownFamilies { .. } => Failure::Folder,
            StoreError::DiskFull { .. } | StoreError::Io { .. } | StoreError::Stopped { .. } => Failure::Storage,
            StoreError::Unavailable { .. } | StoreError::BatchTooLarge { .. } | StoreError::NoSuchFamily { .. } => {
                Failure::Other
            }
        }
    }

    pub fn of_identity(error: &IdentityError) -> Failure {
        match error {
            IdentityError::Store(error) => Failure::of_store(error),
            IdentityError::OlderFormat { .. }
            | IdentityError::NewerFormat { .. }
            | IdentityError::OtherKind { .. }
            | IdentityError::OtherName { .. }
            | IdentityError::Malformed { .. } => Failure::Folder,
        }
    }
}

/// The reason why a server ended, and of which kind that is.
#[derive(Debug)]
pub struct Failed {
    failure: Failure,
    error: anyhow::Error,
}

impl Failed {
    pub fn new(failure: Failure, error: impl Into<anyhow::Error>) -> Failed {
        Failed { failure, error: error.into() }
    }

    /// Returns it for programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "kind": self.failure.kind(), "message": chain(&self.error) })
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Failed::new(Failure::Other, error)
    }
}

/// Says of which kind a failure is.
pub trait OrFailed<T> {
    fn or_failed(self, failure: Failure) -> Result<T, Failed>;
}

impl<T, E: Into<anyhow::Error>> OrFailed<T> for Result<T, E> {
    fn or_failed(self, failure: Failure) -> Result<T, Failed> {
        self.map_err(|error| Failed::new(failure, error))
    }
}

/// Tells on the standard error why a server ended, in one line, and gives the exit code.
pub fn exit(ended: Result<(), Failed>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { failure, error }) => {
            complain(format_args!("error: {}", chain(&error)));
            ExitCode::from(failure.code())
        }
    }
}

/// The error and its causes, without those that the ones before have told already.
fn chain(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn causes_are_told_once_and_in_one_line() {
        let error = Err::<(), _>(anyhow::anyhow!("no\nroom")).context("cannot write: no\nroom").context("it ended");
        assert_eq!(chain(&error.unwrap_err()), "it ended: cannot write: no room");
    }
}
