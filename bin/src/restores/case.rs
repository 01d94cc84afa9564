//! The ways in which people put folders back.

use std::fmt;

/// One way to put a folder back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub of: Of,
    pub copied: Copied,
}

/// The process whose folder it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Coordinator,
    Participant,
}

/// The folder that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// A copy of its files, taken while the server ran.
    Files,
    /// Such a copy, where nothing in the folder shows it, as with a snapshot of a device.
    Snapshot,
    /// A backup, made by the server itself.
    Backup,
    /// The folder with nothing in it.
    Emptied,
    /// A copy is started too: of a coordinator beside the one that runs on, of a participant in the place of one that has run
    /// on and then died.
    Twin,
}

impl Case {
    /// Returns all of them.
    pub fn all() -> impl Iterator<Item = Case> + Clone {
        const COPIED: [Copied; 5] = [Copied::Files, Copied::Snapshot, Copied::Backup, Copied::Emptied, Copied::Twin];
        [Of::Coordinator, Of::Participant].into_iter().flat_map(|of| COPIED.map(|copied| Case { of, copied }))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            Of::Coordinator => "coordinator",
            Of::Participant => "participant",
        };
        let copied = match self.copied {
            Copied::Files => "copied files put back",
            Copied::Snapshot => "copied files put back, without a sign of it",
            Copied::Backup => "backup put back",
            Copied::Emptied => "folder emptied",
            Copied::Twin => "copy started too",
        };
        write!(f, "{of}: {copied}")
    }
}
