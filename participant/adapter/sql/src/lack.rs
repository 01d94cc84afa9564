//! The findings of a look at a database, for its owner.

use serde::Serialize;

/// A thing that a database lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// A sentence that says what is wrong.
    pub what: String,
    /// The line to write or the command to run.
    pub change: String,
    /// True if the participant does not work without it; else it works, and somebody should know.
    #[serde(rename = "needed")]
    pub is_needed: bool,
}

impl Lack {
    /// Returns one without which the participant does not work.
    pub fn needed(what: impl Into<String>, change: impl Into<String>) -> Lack {
        Lack { what: what.into(), change: change.into(), is_needed: true }
    }

    /// Returns one with which it works all the same.
    pub fn advised(what: impl Into<String>, change: impl Into<String>) -> Lack {
        Lack { is_needed: false, ..Lack::needed(what, change) }
    }
}
