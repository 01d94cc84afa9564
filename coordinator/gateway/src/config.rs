//! The settings of a gateway.

use http::Uri;
use serde::{Deserialize, Serialize};
use undoubt_platform::range::{OutOfRange, Ranged, check_ranges, ranged};
use undoubt_vocabulary::{InvalidId, ParticipantName};

/// A gateway's configuration. [`Config::check`] says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address at which HTTP is served. Port 0: any free one.
    pub listen: String,
    /// Connections of callers that may be open at a time; one too many is closed at once.
    pub max_connections: usize,
    /// Streams of events that may be open at a time; one too many is refused.
    pub max_event_streams: usize,
    /// Names, beside addresses and `localhost`, by which callers may call it where nobody is asked who he is: a page from elsewhere that a
    /// browser shows could else make a name of its own mean this machine.
    pub hosts: Vec<String>,
    /// True if the set of coordinators behind it is the same as it was when the oldest id was begun that is still asked for: an id is then at
    /// its home, and no other coordinator is asked for it before anything is done.
    pub settled: bool,
    /// The participants whose events it hands on; in `undoubt serve` those inside the process are among them by themselves.
    pub sources: Vec<SourceAddress>,
}

/// A participant whose events are handed on, and its address: `http://host:port` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceAddress {
    pub name: String,
    pub address: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: "127.0.0.1:7480".into(),
            max_connections: 4_096,
            max_event_streams: 1_024,
            hosts: Vec::new(),
            settled: false,
            sources: Vec::new(),
        }
    }
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("gateway.{0}")]
    Range(#[from] OutOfRange),
    #[error("gateway.sources: {0}")]
    SourceName(#[from] InvalidId),
    #[error("gateway.sources: {name} is named twice; leave one out")]
    SourceTwice { name: String },
    #[error("gateway.sources: {address:?} of {name} is no address; write http://host:port or https://host:port")]
    SourceAddress { name: String, address: String },
}

impl Config {
    /// Checks that every number is in its range, and that sources are named once and have addresses.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (place, SourceAddress { name, address }) in self.sources.iter().enumerate() {
            name.parse::<ParticipantName>()?;
            if self.sources[..place].iter().any(|other| other.name == *name) {
                return Err(ConfigError::SourceTwice { name: name.clone() });
            }
            let whole = |uri: &Uri| {
                let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
                is_http && uri.host().is_some() && uri.port_u16().is_some() && uri.path() == "/"
            };
            if address.contains('@') || !address.parse::<Uri>().is_ok_and(|uri| whole(&uri)) {
                let (name, address) = (name.clone(), address.replace('@', "…"));
                return Err(ConfigError::SourceAddress { name, address });
            }
        }
        Ok(check_ranges(&self.ranges())?)
    }

    /// Returns the range of each number.
    pub fn ranges(&self) -> Vec<Ranged> {
        vec![
            ranged("max_connections", self.max_connections as u64, 1, 1_000_000),
            ranged("max_event_streams", self.max_event_streams as u64, 1, 1_000_000),
        ]
    }
}
