//! Events about logs that may have been put back.

use super::Event;
use crate::plan::{Copied, Host};
use serde::Serialize;
use std::fmt;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// An earlier state of the host's disk was put back, which lacks something of so many transactions.
    PutBack { copy: Copied, lost: usize },
    /// It finds that its folder is a copy.
    Signed,
    /// A coordinator serves nobody, for its log may be an older copy.
    Held,
    /// A participant has been shown that its log is an older copy.
    Refuses,
    /// A coordinator has heard what a participant knows of its log.
    Recalled {
        by: Host,
        /// The lack of the coordinator's log, which the participant has to know.
        lacks: Option<String>,
        /// The lack of the participant's log, which the coordinator has to know.
        it_lacks: Option<String>,
        /// The participant says that it was put back.
        it_says_so: bool,
        /// The number that it has to know of the coordinator's log, and does not show.
        forgot: Option<String>,
    },
    /// A coordinator has heard from a participant which transactions that has committed.
    Remembers { by: Host, committed: Vec<String> },
    /// A coordinator claims its epoch.
    Greets { whom: Host },
    /// A participant has welcomed a coordinator in a session.
    Welcomed { by: Host, lacks: Option<String>, it_lacks: Option<String> },
    /// An operator is about to accept what it has lost.
    Accepts,
    /// He was refused.
    Rejected { why: String },
}

impl From<Standing> for Event {
    fn from(what: Standing) -> Event {
        Event::Standing { what }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::PutBack { copy, lost } => write!(f, "DISK PUT BACK: {copy:?}, {lost} transactions lost"),
            Standing::Signed => f.write_str("finds that its folder is a copy"),
            Standing::Held => f.write_str("is held"),
            Standing::Refuses => f.write_str("refuses all"),
            Standing::Recalled { by, lacks, it_lacks, it_says_so, forgot } => {
                let says = if *it_says_so { "which says that it was put back, " } else { "" };
                let forgot =
                    forgot.as_ref().map(|number| format!(", and it does not show {number}")).unwrap_or_default();
                write!(f, "has asked {by}, {says}{}{forgot}", lack(lacks, it_lacks))
            }
            Standing::Welcomed { by, lacks, it_lacks } => write!(f, "welcomed by {by}, {}", lack(lacks, it_lacks)),
            Standing::Remembers { by, committed } => {
                write!(f, "hears that {by} has committed {}", committed.join(", "))
            }
            Standing::Greets { whom } => write!(f, "says hello to {whom}"),
            Standing::Accepts => f.write_str("an operator accepts its loss"),
            Standing::Rejected { why } => write!(f, "the operator is refused: {why}"),
        }
    }
}

fn lack(lacks: &Option<String>, it_lacks: &Option<String>) -> String {
    let told: Vec<&str> = [lacks, it_lacks].into_iter().flatten().map(String::as_str).collect();
    if told.is_empty() { "and nothing is lacking".to_owned() } else { told.join("; ") }
}
