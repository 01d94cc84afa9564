//! When alarms are told, and where.

use crate::range::{CENTURY_S, Ranged, ranged};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tonic::transport::Uri;

/// The settings `[alarm]` of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmConfig {
    /// `http://host:port/path` or https, where each alarm is posted as JSON. The empty text: nowhere.
    pub url: String,
    /// The age from which it is told that something waits: a branch in doubt, a decision that is not acknowledged.
    pub waits_after_s: u64,
    /// The time after which it is told that a participant is away.
    pub away_after_s: u64,
    /// The period in which the log says how it stands, if anything has changed.
    pub status_every_s: u64,
}

impl Default for AlarmConfig {
    fn default() -> Self {
        AlarmConfig { url: String::new(), waits_after_s: 60, away_after_s: 30, status_every_s: 60 }
    }
}

/// The error of an address to which alarms cannot be posted. It does not repeat it, for it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "[alarm] url is not of the form http://host:port/path or https://host:port/path, without a user and a password; correct it, or set none: \"\""
)]
pub struct BadAlarmUrl;

impl AlarmConfig {
    /// Returns the address of the webhook, if there is one.
    pub fn webhook(&self) -> Result<Option<Uri>, BadAlarmUrl> {
        if self.url.is_empty() {
            return Ok(None);
        }
        let usable = |uri: &Uri| {
            let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some()
                && uri.port_u16().is_some()
                && !has_user
        };
        self.url.parse().ok().filter(usable).map(Some).ok_or(BadAlarmUrl)
    }

    pub fn waits_after(&self) -> Duration {
        Duration::from_secs(self.waits_after_s)
    }

    pub fn away_after(&self) -> Duration {
        Duration::from_secs(self.away_after_s)
    }

    pub fn status_every(&self) -> Duration {
        Duration::from_secs(self.status_every_s)
    }

    /// Returns the range of each number.
    pub fn ranges(&self) -> [Ranged; 3] {
        [
            ranged("alarm.waits_after_s", self.waits_after_s, 1, CENTURY_S),
            ranged("alarm.away_after_s", self.away_after_s, 1, CENTURY_S),
            ranged("alarm.status_every_s", self.status_every_s, 1, CENTURY_S),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_a_plain_address_and_a_refusal_repeats_no_secret() {
        let with = |url: &str| AlarmConfig { url: url.to_owned(), ..AlarmConfig::default() }.webhook();
        assert_eq!(with(""), Ok(None));
        assert!(with("http://127.0.0.1:9/alarms?key=1").unwrap().is_some());
        for bad in ["none", "http://host/", "ftp://host:1/", "http://user:secret@host:1/"] {
            let refused = with(bad).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
