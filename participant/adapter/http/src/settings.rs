//! The settings of the resource: the table `[http]`.

use crate::allowed::{Allowed, BadSetting};
use crate::secrets::{BadSecret, HeaderFrom, Secrets};
use serde::{Deserialize, Deserializer, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;

/// The bytes that a result takes beside the body of an answer, at most.
const BESIDE_BODY_BYTES: usize = 64;

/// The longest answer that can be asked for.
pub const MAX_ANSWER_BYTES: usize = MAX_RESULT_BYTES - BESIDE_BODY_BYTES;

/// The headers of an answer.
pub const MAX_ANSWER_HEADERS: usize = 100;

/// The headers of an answer, names and values.
pub const MAX_ANSWER_HEADER_BYTES: usize = 64 << 10;

/// Hosts of which the calls under way are counted.
pub const MAX_HOSTS: usize = 1_024;

/// The bounds that users can meet.
pub const LIMITS: &[Limit] = &[
    limit!(Bytes MAX_ANSWER_BYTES, "The body of an HTTP service's answer, where the setting `http.max_response_bytes` allows as much.", "The answer counts as none: an action is asked for again, then undone."),
    limit!(Count MAX_ANSWER_HEADERS, "Headers of an HTTP service's answer.", "The same."),
    limit!(Bytes MAX_ANSWER_HEADER_BYTES, "All headers of an HTTP service's answer.", "The same."),
    limit!(Count MAX_HOSTS, "HTTP services called at the same time.", "The step is refused with `unavailable`."),
];

/// The settings of a participant over HTTP services.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The prefixes of URLs that may be called, like `https://shop.example/api`. None: nothing may be called.
    #[serde(deserialize_with = "one_or_more")]
    pub allow: Vec<String>,
    /// The hosts whose names may lead to a private network or to this machine, as they stand in `allow`.
    #[serde(deserialize_with = "one_or_more")]
    pub private_hosts: Vec<String>,
    /// The headers that are sent with secrets from files.
    pub headers_from: Vec<HeaderFrom>,
    /// The CAs of `https://` services, as a PEM file: those of the system stand in a file like
    /// `/etc/ssl/certs/ca-certificates.crt`. None: no such service can be called.
    pub ca: Option<PathBuf>,
    /// The certificate that services are shown, as a PEM file, and the key to it.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The time for looking up a host, connecting and the TLS handshake together, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The time for one call that ends a branch, in milliseconds. A step's call has its attempt's.
    pub call_timeout_ms: u64,
    /// The time for which a connection that is not used is kept, in milliseconds. There are as many as were used at once.
    pub idle_timeout_ms: u64,
    /// The body of an answer, in bytes.
    pub max_response_bytes: usize,
    /// The calls of one host under way.
    pub max_calls_per_host: usize,
    /// The calls in a row that a host gives no answer to, after which it is not called for `breaker_pause_ms`. 0: it always is.
    pub breaker_threshold: u32,
    /// The time for which such a host is not called, in milliseconds; then one call finds out.
    pub breaker_pause_ms: u64,
    /// The refusals of a confirm or a cancel after which the branch counts as ended the other way, which is reported as damage.
    pub max_refused_endings: u32,
    /// The room on the device of the participant's own store, in bytes, below which no new work is taken. Set by whoever opens that store.
    #[serde(skip)]
    pub min_free_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            allow: Vec::new(),
            private_hosts: Vec::new(),
            headers_from: Vec::new(),
            ca: None,
            certificate: None,
            key: None,
            connect_timeout_ms: 2_000,
            call_timeout_ms: 10_000,
            idle_timeout_ms: 60_000,
            max_response_bytes: 256 << 10,
            max_calls_per_host: 64,
            breaker_threshold: 20,
            breaker_pause_ms: 1_000,
            max_refused_endings: 20,
            min_free_bytes: 64 << 20,
        }
    }
}

/// Reads a list of texts, or one: a flag gives one without brackets.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        One(String),
        More(Vec<String>),
    }
    Ok(match Given::deserialize(deserializer)? {
        Given::One(one) => one.split(',').map(|part| part.trim().to_owned()).collect(),
        Given::More(all) => all,
    })
}

/// The reason why settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    #[error(transparent)]
    Allow(#[from] BadSetting),
    #[error(transparent)]
    Secret(#[from] BadSecret),
    #[error("http.{name} is {value}; give {least} to {most}")]
    Range { name: &'static str, value: u64, least: u64, most: u64 },
    #[error("http.certificate and http.key belong together; give both, or neither")]
    HalfAPair,
    #[error(
        "http.allow has an https:// URL, and nothing says whose certificates to trust; name a file of CAs in http.ca"
    )]
    NoCa,
}

/// Settings that were checked.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) allowed: Allowed,
    pub(crate) secrets: Secrets,
}

impl Settings {
    /// Checks all but the files.
    pub fn check(&self) -> Result<(), BadSettings> {
        self.allowed().map(drop)
    }

    /// Checks all, and reads the files of headers.
    pub(crate) fn read(&self) -> Result<Checked, BadSettings> {
        Ok(Checked { allowed: self.allowed()?, secrets: Secrets::read(&self.headers_from)? })
    }

    fn allowed(&self) -> Result<Allowed, BadSettings> {
        let bytes = |bytes: usize| bytes as u64;
        let ranges = [
            ("connect_timeout_ms", self.connect_timeout_ms, 1, 60_000),
            ("call_timeout_ms", self.call_timeout_ms, 1, 600_000),
            ("idle_timeout_ms", self.idle_timeout_ms, 0, 3_600_000),
            ("max_response_bytes", bytes(self.max_response_bytes), 1, bytes(MAX_ANSWER_BYTES)),
            ("max_calls_per_host", bytes(self.max_calls_per_host), 1, 100_000),
            ("breaker_threshold", self.breaker_threshold.into(), 0, 1_000_000),
            ("breaker_pause_ms", self.breaker_pause_ms, 1, 600_000),
            ("max_refused_endings", self.max_refused_endings.into(), 1, 1_000_000),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(BadSettings::Range { name, value, least, most });
            }
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(BadSettings::HalfAPair);
        }
        let allowed = Allowed::read(&self.allow, &self.private_hosts)?;
        if self.ca.is_none() && self.allow.iter().any(|prefix| prefix.starts_with("https://")) {
            return Err(BadSettings::NoCa);
        }
        Ok(allowed)
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn breaker_pause(&self) -> Duration {
        Duration::from_millis(self.breaker_pause_ms)
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }
}
