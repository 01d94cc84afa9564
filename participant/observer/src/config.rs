//! The settings of an observer. Durations end in `_ms`, sizes in `_bytes`, counts say of what.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use tonic::transport::Uri;
use undoubt_platform::access::{AccessConfig, TlsConfig};
use undoubt_platform::alarm::{AlarmConfig, BadAlarmUrl};
use undoubt_platform::metrics::{BadMetricsAddress, MetricsConfig};
use undoubt_platform::range::{DAY_MS, OutOfRange, Ranged, check_ranges, ranged};
use undoubt_platform::server::DEFAULT_ROOM_BYTES;
use undoubt_platform::store::StoreConfig;
use undoubt_stream::observer::{MAX_OBSERVED_SAGAS, Terms};
use undoubt_vocabulary::id::check_name;
use undoubt_vocabulary::{Backoff, InvalidId};

/// One connection has a quarter of it.
const MIN_ROOM_BYTES: u64 = 64 << 20;

/// The highest value of `min_free_bytes`: no device has more.
const MAX_MIN_FREE_BYTES: u64 = 1 << 60;

/// An observer's configuration. [`Config::check`] says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The observer's name, which is kept in the data folder: another name on it is refused.
    pub name: String,
    /// The address at which it is asked. Port 0: any free one.
    pub listen: String,
    /// The level of the log: error, warn, info, debug, trace, or a filter of tracing.
    pub log: String,
    pub data_dir: PathBuf,
    /// The participants of the choreography, all of them.
    pub participants: Vec<Observed>,
    /// The silence after which it is told of a saga that nothing was heard of what it waits for.
    pub quiet_after_ms: u64,
    /// The period in which participants are asked how their subscriptions stand.
    pub ask_every_ms: u64,
    /// Sagas that are followed at a time. Of more, the oldest are not followed any more, and listed as unknown.
    pub max_running_sagas: usize,
    /// Sagas that have ended and are kept for lists and histories; of more, the oldest are dropped.
    pub max_ended_sagas: usize,
    /// Connections that may be open at a time; one too many is closed at once.
    pub max_connections: usize,
    /// Requests of which a part is missing may take so much memory, on all connections together.
    pub max_request_room_bytes: u32,
    /// The same of answers that are not sent yet.
    pub max_answer_room_bytes: u32,
    /// First pause before a participant that is away is tried again; it doubles.
    pub retry_first_pause_ms: u64,
    pub retry_max_pause_ms: u64,
    /// A participant that says nothing, not even to a ping, for this long is taken for gone.
    pub keep_alive_ms: u64,
    /// The room on the device below which it stops, until there is more.
    pub min_free_bytes: u64,
    /// True if it may listen beyond this machine without TLS: whoever reaches it reads along.
    pub insecure: bool,
    /// The kind of store that keeps the data.
    pub store: StoreConfig,
    /// When alarms are told, and where.
    pub alarm: AlarmConfig,
    /// Where figures are told.
    pub metrics: MetricsConfig,
    /// Certificates, which it shows to participants too.
    pub tls: TlsConfig,
    /// Who may ask what.
    pub access: AccessConfig,
}

/// A participant that is observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    pub name: String,
    /// `http://host:port` or `https://host:port`
    pub address: String,
    /// The file of its settings, or of what they declare of its events; from the folder of the observer's own file.
    pub settings: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            name: "observer".into(),
            listen: "127.0.0.1:7490".into(),
            log: "info".into(),
            data_dir: "undoubt-observer".into(),
            participants: Vec::new(),
            quiet_after_ms: 5_000,
            ask_every_ms: 1_000,
            max_running_sagas: 10_000,
            max_ended_sagas: 100_000,
            max_connections: 512,
            max_request_room_bytes: DEFAULT_ROOM_BYTES,
            max_answer_room_bytes: DEFAULT_ROOM_BYTES,
            retry_first_pause_ms: 50,
            retry_max_pause_ms: 5_000,
            keep_alive_ms: 5_000,
            min_free_bytes: 64 << 20,
            insecure: false,
            store: StoreConfig::default(),
            alarm: AlarmConfig::default(),
            metrics: MetricsConfig::default(),
            tls: TlsConfig::default(),
            access: AccessConfig::default(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Name(#[from] InvalidId),
    #[error(transparent)]
    Alarm(#[from] BadAlarmUrl),
    #[error(transparent)]
    Metrics(#[from] BadMetricsAddress),
    #[error(transparent)]
    Range(#[from] OutOfRange),
    #[error("participants: there are none; name those of the choreography, each with name, address and settings")]
    Nobody,
    #[error("participants: {name} is named twice; leave one out")]
    Twice { name: String },
    #[error("participants: {address:?} of {name} is no address; write http://host:port or https://host:port")]
    Address { name: String, address: String },
    #[error("participants: the settings of {name} are missing; name the file that declares its events")]
    NoSettings { name: String },
    #[error("data_dir is empty; name a folder")]
    NoFolder,
    #[error("retry_first_pause_ms is above retry_max_pause_ms; lower it, or raise the other")]
    Crossed,
    #[error(
        "{who} reacts to events of {from}, which is not among the participants; add it, or what it publishes is never heard of"
    )]
    Missing { who: String, from: String },
}

impl Config {
    pub fn check(&self) -> Result<(), ConfigError> {
        check_name("an observer's name", &self.name)?;
        if self.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::NoFolder);
        }
        self.check_participants()?;
        self.alarm.webhook()?;
        self.metrics.address()?;
        check_ranges(&self.ranges())?;
        if self.retry_first_pause_ms > self.retry_max_pause_ms { Err(ConfigError::Crossed) } else { Ok(()) }
    }

    fn check_participants(&self) -> Result<(), ConfigError> {
        if self.participants.is_empty() {
            return Err(ConfigError::Nobody);
        }
        for (place, Observed { name, address, settings }) in self.participants.iter().enumerate() {
            check_name("a participant's name", name)?;
            if self.participants[..place].iter().any(|other| other.name == *name) {
                return Err(ConfigError::Twice { name: name.clone() });
            }
            let whole = |uri: &Uri| {
                let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
                is_http && uri.host().is_some() && uri.port_u16().is_some() && uri.path() == "/"
            };
            if address.contains('@') || !address.parse::<Uri>().is_ok_and(|uri| whole(&uri)) {
                return Err(ConfigError::Address { name: name.clone(), address: address.replace('@', "…") });
            }
            if settings.as_os_str().is_empty() {
                return Err(ConfigError::NoSettings { name: name.clone() });
            }
        }
        Ok(())
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms {
            max_running: self.max_running_sagas,
            max_ended: self.max_ended_sagas,
            quiet_after: Duration::from_millis(self.quiet_after_ms),
        }
    }

    pub(crate) fn retries(&self) -> Backoff {
        Backoff { first_ms: self.retry_first_pause_ms, max_ms: self.retry_max_pause_ms }
    }

    /// Returns the range of each number.
    pub fn ranges(&self) -> Vec<Ranged> {
        let pause = |setting, value| ranged(setting, value, 1, DAY_MS);
        let mut ranges = vec![
            ranged("quiet_after_ms", self.quiet_after_ms, 1, DAY_MS),
            ranged("ask_every_ms", self.ask_every_ms, 10, DAY_MS),
            ranged("max_running_sagas", self.max_running_sagas as u64, 1, MAX_OBSERVED_SAGAS as u64),
            ranged("max_ended_sagas", self.max_ended_sagas as u64, 0, MAX_OBSERVED_SAGAS as u64),
            ranged("max_connections", self.max_connections as u64, 1, 1_000_000),
            ranged("max_request_room_bytes", self.max_request_room_bytes.into(), MIN_ROOM_BYTES, u32::MAX.into()),
            ranged("max_answer_room_bytes", self.max_answer_room_bytes.into(), MIN_ROOM_BYTES, u32::MAX.into()),
            pause("retry_first_pause_ms", self.retry_first_pause_ms),
            pause("retry_max_pause_ms", self.retry_max_pause_ms),
            ranged("keep_alive_ms", self.keep_alive_ms, 10, DAY_MS),
            ranged("min_free_bytes", self.min_free_bytes, 0, MAX_MIN_FREE_BYTES),
        ];
        ranges.extend(self.alarm.ranges());
        ranges
    }
}
