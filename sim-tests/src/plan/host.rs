//! The hosts of a simulated world.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A simulated machine, with one process. Numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Host {
    Coordinator,
    /// Takes the coordinator's volume over while the old one is paused.
    Standby,
    Participant(u8),
    /// The machine of the database that the participant with this number stands in front of.
    Database(u8),
    /// The machine of the HTTP service that the participant with this number calls.
    Service(u8),
    Client(u8),
    /// Reads the events that participants publish.
    Reader(u8),
}

impl Host {
    pub fn is_coordinator(self) -> bool {
        match self {
            Host::Coordinator | Host::Standby => true,
            Host::Participant(_) | Host::Database(_) | Host::Service(_) | Host::Client(_) | Host::Reader(_) => false,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Coordinator => f.pad("coordinator"),
            Host::Standby => f.pad("standby"),
            Host::Participant(number) => f.pad(&format!("p{number}")),
            Host::Database(number) => f.pad(&format!("db{number}")),
            Host::Service(number) => f.pad(&format!("svc{number}")),
            Host::Client(number) => f.pad(&format!("client{number}")),
            Host::Reader(number) => f.pad(&format!("reader{number}")),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is nobody here: there are coordinator, standby, p1, p2, ..., db1, db2, ..., svc1, svc2, ..., client1, client2, ... and reader1, reader2, ..."
)]
pub struct UnknownHost(String);

impl FromStr for Host {
    type Err = UnknownHost;

    fn from_str(name: &str) -> Result<Self, UnknownHost> {
        let number = |prefix: &str| name.strip_prefix(prefix)?.parse().ok().filter(|number| *number > 0);
        match name {
            "coordinator" => Ok(Host::Coordinator),
            "standby" => Ok(Host::Standby),
            _ => number("client")
                .map(Host::Client)
                .or_else(|| number("reader").map(Host::Reader))
                .or_else(|| number("db").map(Host::Database))
                .or_else(|| number("svc").map(Host::Service))
                .or_else(|| number("p").map(Host::Participant))
                .ok_or_else(|| UnknownHost(name.to_owned())),
        }
    }
}

impl From<Host> for String {
    fn from(host: Host) -> String {
        host.to_string()
    }
}

impl TryFrom<String> for Host {
    type Error = UnknownHost;

    fn try_from(name: String) -> Result<Self, UnknownHost> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_read_back_from_its_name_and_nobody_else_is() {
        for host in [
            Host::Coordinator,
            Host::Standby,
            Host::Participant(3),
            Host::Database(2),
            Host::Service(4),
            Host::Client(12),
            Host::Reader(2),
        ] {
            assert_eq!(host.to_string().parse(), Ok(host));
        }
        for nobody in ["", "p", "p0", "client", "p-1", "q1", "coordinator1"] {
            assert!(nobody.parse::<Host>().is_err(), "{nobody}");
        }
    }
}
