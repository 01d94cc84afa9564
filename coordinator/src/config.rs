//! What can be set. Durations end in `_ms` or `_s`, sizes in `_bytes`, counts say of what.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use undoubt_platform::server::DEFAULT_ROOM_BYTES;
use undoubt_vocabulary::id::check_name;
use undoubt_vocabulary::{InvalidId, ParticipantName};

/// A coordinator's configuration. [`Config::check`] says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// For people, and kept in the data folder: another name on the same folder is refused.
    pub name: String,
    /// Where applications, operators and the CLI connect. Port 0: any free one.
    pub listen: String,
    pub data_dir: PathBuf,
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
    /// Unanswered requests that one SubmitMany stream may have; more are not read until some are answered.
    pub max_in_flight_per_stream: usize,
    /// For submissions that name no timeout.
    pub default_timeout_ms: u64,
    /// Longer ones are refused.
    pub max_timeout_ms: u64,
    /// Transactions in auto mode of this value or more go through two-phase commit or not at all. Without: none do.
    pub two_phase_from_value: Option<u64>,
    /// After so many two-phase commits in a row that a participant did not answer in time, auto turns to sagas.
    pub breaker_threshold: u32,
    /// How long it does, until one two-phase commit tries the participant again.
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
    /// How long the record of an ended transaction is kept: its id may not be used again before.
    pub retention_s: u64,
    /// First pause before whoever wanted to be called back is called again; it doubles.
    pub callback_first_pause_ms: u64,
    pub callback_max_pause_ms: u64,
    /// How long whoever wanted to be called back is called, counted from the outcome, or from a restart after it.
    pub callback_give_up_s: u64,
    /// How long records that nobody waits for may stay unforced while the coordinator is idle.
    pub lazy_flush_ms: u64,
    /// With less room on the device no new transaction is taken.
    pub min_free_bytes: u64,
    /// An operator accepts that the data folder has lost what was decided up to this start of the coordinator, which
    /// participants have met and the folder does not know; a folder that is refused for that names the number. 0: nothing.
    pub accept_loss_up_to_epoch: u64,
    /// Start without driving what was recovered, until an operator resumes.
    pub start_paused: bool,
    /// How long a drain may wait for open transactions before the process ends anyway.
    pub drain_timeout_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParticipantAddress {
    pub name: String,
    /// `http://host:port`
    pub address: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            name: "coordinator".into(),
            listen: "127.0.0.1:7400".into(),
            data_dir: "undoubt-coordinator".into(),
            participants: Vec::new(),
            max_connections: 8_192,
            max_request_room_bytes: DEFAULT_ROOM_BYTES,
            max_answer_room_bytes: DEFAULT_ROOM_BYTES,
            max_open_transactions: 100_000,
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
            lazy_flush_ms: 50,
            min_free_bytes: 64 << 20,
            accept_loss_up_to_epoch: 0,
            start_paused: false,
            drain_timeout_ms: 10_000,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Name(#[from] InvalidId),
    #[error("participant {0} is configured twice; give each a name of its own")]
    Twice(String),
    #[error("{setting} is 0; give it at least 1")]
    Zero { setting: &'static str },
    #[error("{smaller} is above {larger}; lower it, or raise the other")]
    Crossed { smaller: &'static str, larger: &'static str },
    #[error("participant {name} has the address {address:?}, which is not of the form http://host:port; correct it")]
    Address { name: String, address: String },
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
            if !crate::address::is_plain_http(address) {
                return Err(ConfigError::Address { name: name.clone(), address: address.clone() });
            }
        }
        let positive = [
            ("max_connections", self.max_connections as u64),
            ("max_request_room_bytes", self.max_request_room_bytes.into()),
            ("max_answer_room_bytes", self.max_answer_room_bytes.into()),
            ("max_open_transactions", self.max_open_transactions as u64),
            ("max_in_flight_per_stream", self.max_in_flight_per_stream as u64),
            ("default_timeout_ms", self.default_timeout_ms),
            ("retry_first_pause_ms", self.retry_first_pause_ms),
            ("callback_first_pause_ms", self.callback_first_pause_ms),
            ("breaker_threshold", self.breaker_threshold.into()),
            ("breaker_pause_ms", self.breaker_pause_ms),
            ("reconnect_first_pause_ms", self.reconnect_first_pause_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("keep_alive_ms", self.keep_alive_ms),
            ("lazy_flush_ms", self.lazy_flush_ms),
        ];
        if let Some((setting, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Zero { setting });
        }
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

    pub(crate) fn retry_pause(&self, attempt: u32) -> Backoff {
        Backoff { first_ms: self.retry_first_pause_ms, max_ms: self.retry_max_pause_ms, attempt }
    }

    pub(crate) fn callback_pause(&self, attempt: u32) -> Backoff {
        Backoff { first_ms: self.callback_first_pause_ms, max_ms: self.callback_max_pause_ms, attempt }
    }

    pub(crate) fn reconnect_pause(&self, attempt: u32) -> Backoff {
        Backoff { first_ms: self.reconnect_first_pause_ms, max_ms: self.reconnect_max_pause_ms, attempt }
    }
}

/// A pause that doubles with each attempt up to a cap, and is then spread over its upper half, so that many who wait
/// do not come back together (R6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first_ms: u64,
    max_ms: u64,
    attempt: u32,
}

impl Backoff {
    /// Before the next attempt of a saga's step, after so many.
    pub(crate) fn of_step(first: Duration, max: Duration, attempts: u32) -> Backoff {
        let ms = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        Backoff { first_ms: ms(first), max_ms: ms(max), attempt: attempts.saturating_sub(1) }
    }

    pub(crate) fn pause(self, random: &dyn undoubt_platform::Random) -> Duration {
        let full = self.first_ms.saturating_mul(1 << self.attempt.min(32)).min(self.max_ms);
        Duration::from_millis(full / 2 + random.below(full / 2 + 1))
    }
}
