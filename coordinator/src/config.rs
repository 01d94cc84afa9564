//! The settings. Durations end in `_ms` or `_s`, sizes in `_bytes`, counts say of what.

use crate::address::{self, Flaw};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use undoubt_platform::access::{AccessConfig, LimitsConfig, TlsConfig};
use undoubt_platform::alarm::{AlarmConfig, BadAlarmUrl};
use undoubt_platform::audit::{Bounds, MAX_AUDIT_BYTES, MIN_AUDIT_BYTES};
use undoubt_platform::metrics::{BadMetricsAddress, MetricsConfig};
use undoubt_platform::none_or_number;
use undoubt_platform::range::{CENTURY_S, DAY_MS, OutOfRange, Ranged, YEAR_MS, check_ranges, ranged};
use undoubt_platform::server::DEFAULT_ROOM_BYTES;
use undoubt_platform::store::StoreConfig;
use undoubt_platform::traces::{BadTraces, TracesConfig};
use undoubt_vocabulary::id::check_name;
use undoubt_vocabulary::limits::{MAX_TRANSACTION_BYTES, MAX_TRANSACTION_RESULT_BYTES};
use undoubt_vocabulary::{Backoff, InvalidId, ParticipantName};

/// Records that nobody waits for are lost by a loss of power for so long at most.
const MAX_LAZY_FLUSH_MS: u64 = 3_600_000;

/// One connection has a quarter of it, and that has to hold the largest request.
const MIN_ROOM_BYTES: u64 = 64 << 20;

/// The highest value of `min_free_bytes`: no device has more.
const MAX_MIN_FREE_BYTES: u64 = 1 << 60;

/// A coordinator's configuration. [`Config::check`] says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The coordinator's name, for people, which is kept in the data folder: another name on the same folder is
    /// refused.
    pub name: String,
    /// The address to which applications, operators and the CLI connect. Port 0: any free one.
    pub listen: String,
    /// The level of the log: error, warn, info, debug, trace, or a filter of tracing.
    pub log: String,
    pub data_dir: PathBuf,
    /// The file of the secret key by which it proves to participants that it is the one that it says; a relative path lies in
    /// `data_dir`. Drawn at the first start. No backup has it: keep a copy apart, or participants need an operator's word for a new one.
    pub key_file: PathBuf,
    /// Takes notice at the start if the data folder's files are not those that this server wrote, as after a copy. Turn it off
    /// where a file system changes inode numbers by itself. A backup is noticed all the same.
    pub folder_sign: bool,
    pub participants: Vec<ParticipantAddress>,
    /// Connections from applications and operators that may be open at a time; one too many is closed at once.
    pub max_connections: usize,
    /// Requests of which a part is missing may take so much memory, on all connections together; more wait, and are turned
    /// away after a while. One connection may have a quarter of it, and small ones do not count.
    pub max_request_room_bytes: u32,
    /// The same of answers that are not sent yet.
    pub max_answer_room_bytes: u32,
    /// Transactions that are not ended; a submission beyond it is refused.
    pub max_open_transactions: usize,
    /// Open sagas that wait for their clients.
    pub max_begun_transactions: usize,
    /// Attempts at transactions that are given out after one of an open saga, before participants drop what they keep of others that came
    /// after that. Until then the low-water mark waits for it.
    pub open_saga_old_after_attempts: u64,
    /// The work of all transactions that are not ended; a submission beyond it is refused.
    pub max_open_bytes: usize,
    /// The bytes that branches and steps of open transactions have handed back. Above three quarters of it submissions
    /// are refused; beyond it a transaction that would gather more is aborted or compensates, worth another try.
    pub max_gathered_bytes: usize,
    /// Unanswered requests that one SubmitMany stream may have; more are not read until some are answered.
    pub max_in_flight_per_stream: usize,
    /// The timeout of submissions that name none.
    pub default_timeout_ms: u64,
    /// Longer ones are refused.
    pub max_timeout_ms: u64,
    /// Transactions in auto mode of this value or more go through two-phase commit or not at all. With `"none"`, none do.
    #[serde(with = "none_or_number")]
    pub two_phase_from_value: Option<u64>,
    /// The number of two-phase commits in a row that a participant did not answer in time, after which auto turns to
    /// sagas.
    pub breaker_threshold: u32,
    /// The time for which it does, until one two-phase commit tries the participant again.
    pub breaker_pause_ms: u64,
    /// First pause before a decision is repeated to a participant that does not acknowledge it; it doubles. What a
    /// broken session lost is told again with the next one: this is for what is lost otherwise. Longer than an answer takes
    /// under full load, lest repetitions add to it.
    pub retry_first_pause_ms: u64,
    pub retry_max_pause_ms: u64,
    /// First pause before connecting anew; it doubles.
    pub reconnect_first_pause_ms: u64,
    pub reconnect_max_pause_ms: u64,
    pub connect_timeout_ms: u64,
    /// A participant that says nothing, not even to a ping, for this long is taken for gone.
    pub keep_alive_ms: u64,
    /// The time for which the record of an ended transaction is kept: its id may not be used again before.
    pub retention_s: u64,
    /// First pause before whoever wanted to be called back is called again; it doubles.
    pub callback_first_pause_ms: u64,
    pub callback_max_pause_ms: u64,
    /// The time for which a client that asked for a callback is called, counted from the outcome, or from a restart
    /// after it.
    pub callback_give_up_s: u64,
    /// URLs under which callbacks may go. With none, they may go anywhere where callers need no identity, and else nowhere.
    pub callback_allow: Vec<String>,
    /// The file of the secret with which callbacks are signed; without, they are not.
    pub callback_secret: PathBuf,
    /// The CAs of callees with `https://`, as PEM; without, those of `tls.ca`.
    pub callback_ca: PathBuf,
    /// The bytes of the audit record: the oldest entries go when there would be more.
    pub audit_max_bytes: u64,
    /// The time for which an entry of the audit record is kept.
    pub audit_retention_s: u64,
    /// The time for which records that nobody waits for may stay unforced while the coordinator is idle.
    pub lazy_flush_ms: u64,
    /// The room on the device below which no new transaction is taken.
    pub min_free_bytes: u64,
    /// The time for which a start waits for participants to tell what they have seen of this coordinator's log, so that
    /// an older copy of it is noticed. One that does not answer in time is not waited for, unless something is amiss.
    pub witness_wait_ms: u64,
    /// True if every start waits until all participants have told that. Then an older copy is noticed in time though
    /// the participant that knows better is away; and no start is over before all of them are there.
    pub wait_for_all_witnesses: bool,
    /// An operator says that this coordinator is new, though participants know its name with another log.
    pub new: bool,
    /// Start without driving what was recovered, until an operator resumes.
    pub start_paused: bool,
    /// The time for which a drain may wait for open transactions before the process ends anyway.
    pub drain_timeout_ms: u64,
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
    /// The limits of one identity.
    pub limits: LimitsConfig,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParticipantAddress {
    pub name: String,
    /// `http://host:port` or `https://host:port`
    pub address: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            name: "coordinator".into(),
            listen: "127.0.0.1:7400".into(),
            log: "info".into(),
            data_dir: "undoubt-coordinator".into(),
            key_file: "coordinator.key".into(),
            folder_sign: true,
            participants: Vec::new(),
            max_connections: 8_192,
            max_request_room_bytes: DEFAULT_ROOM_BYTES,
            max_answer_room_bytes: DEFAULT_ROOM_BYTES / 2,
            max_open_transactions: 100_000,
            max_begun_transactions: 100_000,
            open_saga_old_after_attempts: 4_096,
            max_open_bytes: 256 << 20,
            max_gathered_bytes: 128 << 20,
            max_in_flight_per_stream: 4_096,
            default_timeout_ms: 10_000,
            max_timeout_ms: 3_600_000,
            two_phase_from_value: None,
            breaker_threshold: 3,
            breaker_pause_ms: 10_000,
            retry_first_pause_ms: 2_000,
            retry_max_pause_ms: 10_000,
            reconnect_first_pause_ms: 50,
            reconnect_max_pause_ms: 2_000,
            connect_timeout_ms: 2_000,
            keep_alive_ms: 5_000,
            retention_s: 86_400,
            callback_first_pause_ms: 200,
            callback_max_pause_ms: 10_000,
            callback_give_up_s: 86_400,
            callback_allow: Vec::new(),
            callback_secret: PathBuf::new(),
            callback_ca: PathBuf::new(),
            audit_max_bytes: 1 << 30,
            audit_retention_s: 90 * 86_400,
            lazy_flush_ms: 50,
            min_free_bytes: 64 << 20,
            witness_wait_ms: 500,
            wait_for_all_witnesses: false,
            new: false,
            start_paused: false,
            drain_timeout_ms: 10_000,
            insecure: false,
            store: StoreConfig::default(),
            alarm: AlarmConfig::default(),
            metrics: MetricsConfig::default(),
            traces: TracesConfig::default(),
            tls: TlsConfig::default(),
            access: AccessConfig::default(),
            limits: LimitsConfig::default(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Name(#[from] InvalidId),
    #[error("participant {0} is configured twice; give each a name of its own")]
    Twice(String),
    #[error(transparent)]
    Alarm(#[from] BadAlarmUrl),
    #[error(transparent)]
    Metrics(#[from] BadMetricsAddress),
    #[error(transparent)]
    Traces(#[from] BadTraces),
    #[error(transparent)]
    Range(#[from] OutOfRange),
    #[error("data_dir is empty; name a folder")]
    NoFolder,
    #[error("key_file is empty; name a file")]
    NoKeyFile,
    #[error("{smaller} is above {larger}; lower it, or raise the other")]
    Crossed { smaller: &'static str, larger: &'static str },
    #[error(
        "participant {name} has the address {address:?}, which is not of the form http://host:port or https://host:port; correct it"
    )]
    Address { name: String, address: String },
    #[error(
        "participant {name} has an https:// address, and no CA is named whose certificates are trusted; set tls.ca"
    )]
    NoCa { name: String },
    #[error("callback_allow: {0:?} is not of the form https://host:port/path; correct it")]
    CallbackAllow(String),
    #[error("the address of participant {name} names a user or a password, and none is sent; take it out")]
    Credentials { name: String },
}

impl Config {
    pub fn check(&self) -> Result<(), ConfigError> {
        check_name("a coordinator's name", &self.name)?;
        let mut names = BTreeSet::new();
        for ParticipantAddress { name, address } in &self.participants {
            name.parse::<ParticipantName>()?;
            if !names.insert(name) {
                return Err(ConfigError::Twice(name.clone()));
            }
            address::check(address).map_err(|flaw| match flaw {
                Flaw::Credentials => ConfigError::Credentials { name: name.clone() },
                Flaw::Form => ConfigError::Address { name: name.clone(), address: address.clone() },
            })?;
            if address.starts_with("https:") && self.tls.ca().is_none() {
                return Err(ConfigError::NoCa { name: name.clone() });
            }
        }
        if let Some(wrong) = self.callback_allow.iter().find(|url| address::parse(url).is_err()) {
            return Err(ConfigError::CallbackAllow(wrong.clone()));
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::NoFolder);
        }
        if self.key_file.as_os_str().is_empty() {
            return Err(ConfigError::NoKeyFile);
        }
        self.alarm.webhook()?;
        self.metrics.address()?;
        self.traces.check()?;
        check_ranges(&self.ranges())?;
        let ordered = [
            ("default_timeout_ms", self.default_timeout_ms, "max_timeout_ms", self.max_timeout_ms),
            ("retry_first_pause_ms", self.retry_first_pause_ms, "retry_max_pause_ms", self.retry_max_pause_ms),
            (
                "callback_first_pause_ms",
                self.callback_first_pause_ms,
                "callback_max_pause_ms",
                self.callback_max_pause_ms,
            ),
            (
                "reconnect_first_pause_ms",
                self.reconnect_first_pause_ms,
                "reconnect_max_pause_ms",
                self.reconnect_max_pause_ms,
            ),
        ];
        match ordered.into_iter().find(|(_, small, _, large)| small > large) {
            Some((smaller, _, larger, _)) => Err(ConfigError::Crossed { smaller, larger }),
            None => Ok(()),
        }
    }

    /// Returns the CAs of callees with `https://`, where some are named.
    pub fn callback_ca(&self) -> Option<&Path> {
        let own = (!self.callback_ca.as_os_str().is_empty()).then_some(self.callback_ca.as_path());
        own.or_else(|| self.tls.ca())
    }

    /// Returns the file of the secret with which callbacks are signed.
    pub fn callback_secret(&self) -> Option<&Path> {
        (!self.callback_secret.as_os_str().is_empty()).then_some(self.callback_secret.as_path())
    }

    /// Returns the range of each number. (`two_phase_from_value` may be any.)
    pub fn ranges(&self) -> Vec<Ranged> {
        let count = |setting, value: usize, max| ranged(setting, value as u64, 1, max);
        let pause = |setting, value| ranged(setting, value, 1, DAY_MS);
        let mut ranges = vec![
            ranged("max_connections", self.max_connections as u64, 1, 1_000_000),
            ranged("max_request_room_bytes", self.max_request_room_bytes.into(), MIN_ROOM_BYTES, u32::MAX.into()),
            ranged("max_answer_room_bytes", self.max_answer_room_bytes.into(), MIN_ROOM_BYTES, u32::MAX.into()),
            count("max_open_transactions", self.max_open_transactions, 10_000_000),
            count("max_begun_transactions", self.max_begun_transactions, 10_000_000),
            ranged("open_saga_old_after_attempts", self.open_saga_old_after_attempts, 0, 1_000_000_000),
            ranged("max_open_bytes", self.max_open_bytes as u64, MAX_TRANSACTION_BYTES as u64, MAX_OPEN_BYTES),
            // At three quarters of it others are turned away, and one that is open still finds room.
            ranged(
                "max_gathered_bytes",
                self.max_gathered_bytes as u64,
                2 * MAX_TRANSACTION_RESULT_BYTES as u64,
                MAX_OPEN_BYTES,
            ),
            count("max_in_flight_per_stream", self.max_in_flight_per_stream, 1_000_000),
            ranged("default_timeout_ms", self.default_timeout_ms, 1, YEAR_MS),
            ranged("max_timeout_ms", self.max_timeout_ms, 1, YEAR_MS),
            ranged("breaker_threshold", self.breaker_threshold.into(), 1, u32::MAX.into()),
            pause("breaker_pause_ms", self.breaker_pause_ms),
            pause("retry_first_pause_ms", self.retry_first_pause_ms),
            pause("retry_max_pause_ms", self.retry_max_pause_ms),
            pause("reconnect_first_pause_ms", self.reconnect_first_pause_ms),
            pause("reconnect_max_pause_ms", self.reconnect_max_pause_ms),
            ranged("connect_timeout_ms", self.connect_timeout_ms, 1, DAY_MS),
            ranged("keep_alive_ms", self.keep_alive_ms, 10, DAY_MS),
            ranged("retention_s", self.retention_s, 0, CENTURY_S),
            pause("callback_first_pause_ms", self.callback_first_pause_ms),
            pause("callback_max_pause_ms", self.callback_max_pause_ms),
            ranged("callback_give_up_s", self.callback_give_up_s, 0, CENTURY_S),
            ranged("audit_max_bytes", self.audit_max_bytes, MIN_AUDIT_BYTES, MAX_AUDIT_BYTES),
            ranged("audit_retention_s", self.audit_retention_s, 1, CENTURY_S),
            ranged("lazy_flush_ms", self.lazy_flush_ms, 1, MAX_LAZY_FLUSH_MS),
            ranged("min_free_bytes", self.min_free_bytes, 0, MAX_MIN_FREE_BYTES),
            ranged("witness_wait_ms", self.witness_wait_ms, 0, DAY_MS),
            ranged("drain_timeout_ms", self.drain_timeout_ms, 0, DAY_MS),
        ];
        ranges.extend(self.alarm.ranges());
        ranges.extend(self.limits.ranges());
        ranges
    }

    pub(crate) fn retries(&self) -> Backoff {
        Backoff { first_ms: self.retry_first_pause_ms, max_ms: self.retry_max_pause_ms }
    }

    pub(crate) fn audit_bounds(&self) -> Bounds {
        Bounds { max_bytes: self.audit_max_bytes, retention: Duration::from_secs(self.audit_retention_s) }
    }

    pub(crate) fn callbacks(&self) -> Backoff {
        Backoff { first_ms: self.callback_first_pause_ms, max_ms: self.callback_max_pause_ms }
    }

    pub(crate) fn reconnections(&self) -> Backoff {
        Backoff { first_ms: self.reconnect_first_pause_ms, max_ms: self.reconnect_max_pause_ms }
    }
}

/// The most that may be set for work and results in memory.
const MAX_OPEN_BYTES: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_credentials_is_refused_without_repeating_them() {
        let participant = |address: &str| Config {
            participants: vec![ParticipantAddress { name: "a".into(), address: address.into() }],
            ..Config::default()
        };
        assert!(participant("http://127.0.0.1:1").check().is_ok());
        let refusal = participant("http://user:secret@127.0.0.1:1").check().unwrap_err().to_string();
        assert!(refusal.contains("participant a") && refusal.contains("take it out"), "{refusal}");
        assert!(!refusal.contains("secret"), "{refusal}");
        // One that is of another wrong form as well.
        let refusal = participant("user:secret@host").check().unwrap_err().to_string();
        assert!(!refusal.contains("secret"), "{refusal}");
    }
}
