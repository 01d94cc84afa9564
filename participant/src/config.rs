//! The settings of a participant. Durations end in `_ms`, sizes in `_bytes`, counts say of what.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use tonic::transport::Uri;
use undoubt_platform::access::{AccessConfig, TlsConfig};
use undoubt_platform::alarm::{AlarmConfig, BadAlarmUrl};
use undoubt_platform::audit::{Bounds, MAX_AUDIT_BYTES, MIN_AUDIT_BYTES};
use undoubt_platform::metrics::{BadMetricsAddress, MetricsConfig};
use undoubt_platform::range::{CENTURY_S, DAY_MS, OutOfRange, Ranged, check_ranges, ranged};
use undoubt_platform::server::DEFAULT_ROOM_BYTES;
use undoubt_platform::store::StoreConfig;
use undoubt_platform::traces::{BadTraces, TracesConfig};
use undoubt_stream::retention::Keep;
use undoubt_vocabulary::id::check_name;
use undoubt_vocabulary::{Backoff, InvalidId};

/// One connection has a quarter of it, and that has to hold the largest request.
const MIN_ROOM_BYTES: u64 = 64 << 20;

/// The highest value of `min_free_bytes` and `max_log_bytes`: no device has more.
const MAX_MIN_FREE_BYTES: u64 = 1 << 60;

/// A log drops events by the thousand, and each may be large.
const MIN_LOG_BYTES: u64 = 128 << 20;

/// The highest value of `keep_events_ms`: a century.
const MAX_KEEP_EVENTS_MS: u64 = CENTURY_S * 1_000;

/// A participant's configuration. [`Config::check`] says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The participant's name, as the coordinator's configuration calls it, which is kept in the data folder: another
    /// name on it is refused.
    pub name: String,
    /// The address to which coordinators and operators connect. Port 0: any free one.
    pub listen: String,
    /// The level of the log: error, warn, info, debug, trace, or a filter of tracing.
    pub log: String,
    pub data_dir: PathBuf,
    /// Takes notice at the start if the data folder's files are not those that this server wrote, as after a copy. Turn it off
    /// where a file system changes inode numbers by itself. A backup is noticed all the same.
    pub folder_sign: bool,
    /// Connections from coordinators and operators that may be open at a time; one too many is closed at once.
    pub max_connections: usize,
    /// Batches and requests of which a part is missing may take so much memory, on all connections together; more wait, and are turned
    /// away after a while. One connection may have a quarter of it, and small ones do not count.
    pub max_request_room_bytes: u32,
    /// The same of answers that are not sent yet.
    pub max_answer_room_bytes: u32,
    /// Branches that are not finished and steps under way; a prepare or an action beyond it is refused.
    pub max_open_branches: usize,
    /// Results of branches that are open, and of what is over where the resource does not tell them again: kept so that they can
    /// be said again. Past half of it large results wait, past all of it every prepare and action does, until it is refused.
    pub max_kept_result_bytes: usize,
    /// The participants whose events it reads.
    pub sources: Vec<SourceAddress>,
    /// The age below which published events are kept though all registered readers have taken them, so that new ones can begin there.
    pub keep_events_ms: u64,
    /// The bytes of all events that are kept. Beyond it young events are dropped that all have taken, then the readers that are furthest
    /// behind.
    pub max_log_bytes: u64,
    /// Coordinators whose keys are pinned at first contact, without an operator's word. Whoever comes after that needs one.
    pub max_unvouched_pins: usize,
    /// Takes coordinators of which no key is pinned without a proof, as those that speak version 1 of the protocol, and pins the key
    /// of one that was known before there were keys. Only where everybody who reaches this participant is trusted.
    pub accept_unproven_coordinators: bool,
    /// The period in which what is in doubt asks for its decision.
    pub sweep_period_ms: u64,
    /// First pause before the resource is asked again for what it could not do; it doubles.
    pub retry_first_pause_ms: u64,
    pub retry_max_pause_ms: u64,
    /// A coordinator that says nothing, not even to a ping, for this long is taken for gone.
    pub keep_alive_ms: u64,
    /// The bytes of the audit record: the oldest entries go when there would be more.
    pub audit_max_bytes: u64,
    /// The time for which an entry of the audit record is kept.
    pub audit_retention_s: u64,
    /// The room on the device below which no work that writes is taken.
    pub min_free_bytes: u64,
    /// True if it may listen beyond this machine without TLS: whoever reaches it reads along, and may do everything unless `access`
    /// says otherwise.
    pub insecure: bool,
    /// The kind of store that keeps the data.
    pub store: StoreConfig,
    /// When alarms are told, and where.
    pub alarm: AlarmConfig,
    /// Where figures are told.
    pub metrics: MetricsConfig,
    /// The destination of spans, and the share of transactions that have some.
    pub traces: TracesConfig,
    /// Certificates.
    pub tls: TlsConfig,
    /// Who may do what.
    pub access: AccessConfig,
}

/// A participant whose events are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceAddress {
    pub name: String,
    /// `http://host:port` or `https://host:port`
    pub address: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            name: "participant".into(),
            listen: "127.0.0.1:7401".into(),
            log: "info".into(),
            data_dir: "undoubt-participant".into(),
            folder_sign: true,
            max_connections: 512,
            max_request_room_bytes: DEFAULT_ROOM_BYTES,
            max_answer_room_bytes: DEFAULT_ROOM_BYTES,
            max_open_branches: 100_000,
            max_kept_result_bytes: 128 << 20,
            sources: Vec::new(),
            keep_events_ms: DAY_MS,
            max_log_bytes: 4 << 30,
            max_unvouched_pins: 256,
            accept_unproven_coordinators: false,
            sweep_period_ms: 1_000,
            retry_first_pause_ms: 50,
            retry_max_pause_ms: 5_000,
            keep_alive_ms: 5_000,
            audit_max_bytes: 64 << 20,
            audit_retention_s: 90 * 86_400,
            min_free_bytes: 64 << 20,
            insecure: false,
            store: StoreConfig::default(),
            alarm: AlarmConfig::default(),
            metrics: MetricsConfig::default(),
            traces: TracesConfig::default(),
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
    Traces(#[from] BadTraces),
    #[error(transparent)]
    Range(#[from] OutOfRange),
    #[error("sources: {name} is named twice; leave one out")]
    SourceTwice { name: String },
    #[error("sources: {address:?} of {name} is no address; write http://host:port or https://host:port")]
    SourceAddress { name: String, address: String },
    #[error("data_dir is empty; name a folder")]
    NoFolder,
    #[error("retry_first_pause_ms is above retry_max_pause_ms; lower it, or raise the other")]
    Crossed,
}

impl Config {
    pub fn check(&self) -> Result<(), ConfigError> {
        check_name("a participant's name", &self.name)?;
        if self.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::NoFolder);
        }
        self.check_sources()?;
        self.alarm.webhook()?;
        self.metrics.address()?;
        self.traces.check()?;
        check_ranges(&self.ranges())?;
        if self.retry_first_pause_ms > self.retry_max_pause_ms { Err(ConfigError::Crossed) } else { Ok(()) }
    }

    fn check_sources(&self) -> Result<(), ConfigError> {
        for (place, SourceAddress { name, address }) in self.sources.iter().enumerate() {
            check_name("a source's name", name)?;
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
        Ok(())
    }

    /// Returns how much of the log of events is kept.
    pub(crate) fn log_keep(&self) -> Keep {
        Keep { keep: Duration::from_millis(self.keep_events_ms), max_bytes: self.max_log_bytes }
    }

    pub(crate) fn audit_bounds(&self) -> Bounds {
        Bounds { max_bytes: self.audit_max_bytes, retention: Duration::from_secs(self.audit_retention_s) }
    }

    pub(crate) fn retries(&self) -> Backoff {
        Backoff { first_ms: self.retry_first_pause_ms, max_ms: self.retry_max_pause_ms }
    }

    /// Returns the range of each number.
    pub fn ranges(&self) -> Vec<Ranged> {
        let pause = |setting, value| ranged(setting, value, 1, DAY_MS);
        let mut ranges = vec![
            ranged("max_connections", self.max_connections as u64, 1, 1_000_000),
            ranged("max_request_room_bytes", self.max_request_room_bytes.into(), MIN_ROOM_BYTES, u32::MAX.into()),
            ranged("max_answer_room_bytes", self.max_answer_room_bytes.into(), MIN_ROOM_BYTES, u32::MAX.into()),
            ranged("max_open_branches", self.max_open_branches as u64, 1, 10_000_000),
            ranged("max_kept_result_bytes", self.max_kept_result_bytes as u64, 1 << 20, 1 << 40),
            ranged("max_unvouched_pins", self.max_unvouched_pins as u64, 0, 100_000),
            pause("sweep_period_ms", self.sweep_period_ms),
            pause("retry_first_pause_ms", self.retry_first_pause_ms),
            pause("retry_max_pause_ms", self.retry_max_pause_ms),
            ranged("keep_events_ms", self.keep_events_ms, 0, MAX_KEEP_EVENTS_MS),
            ranged("max_log_bytes", self.max_log_bytes, MIN_LOG_BYTES, MAX_MIN_FREE_BYTES),
            ranged("keep_alive_ms", self.keep_alive_ms, 10, DAY_MS),
            ranged("audit_max_bytes", self.audit_max_bytes, MIN_AUDIT_BYTES, MAX_AUDIT_BYTES),
            ranged("audit_retention_s", self.audit_retention_s, 1, CENTURY_S),
            ranged("min_free_bytes", self.min_free_bytes, 0, MAX_MIN_FREE_BYTES),
        ];
        ranges.extend(self.alarm.ranges());
        ranges
    }
}
