//! The settings of a PostgreSQL participant: the table `[resource]` of its configuration.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Settings. [`Settings::check`] says what is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Always "postgresql".
    pub kind: String,
    /// The database and the role, as `postgresql://undoubt@db/bank`. Several hosts may be named: the one that takes writes is used.
    pub url: String,
    /// The file whose first line is the role's password.
    pub password_file: Option<PathBuf>,
    /// Certificates of the authorities that the server's certificate is checked by, as PEM. Without it there is no TLS.
    pub ca_file: Option<PathBuf>,
    /// Sessions that do work, each for one branch or step at a time.
    pub workers: usize,
    /// Sessions that commit and abort what is prepared. Apart from workers, which may all wait for what these end.
    pub committers: usize,
    /// Branches that are being prepared, or are prepared and not ended, at a time: the next one waits. A server has
    /// `max_prepared_transactions` of them in all, and one that gathers more than its committers can end is of no use to anybody.
    pub max_in_doubt: usize,
    /// Branches that only read and wait for the end of their transaction, each with a session of its own; one more is refused.
    pub max_readers: usize,
    /// The longest wait for one lock; a branch's own deadline may be shorter.
    pub lock_timeout_ms: u64,
    /// The longest time that one statement may take.
    pub statement_timeout_ms: u64,
    /// The time in which the server has to answer when a connection is made.
    pub connect_timeout_ms: u64,
    /// The time for which what an application has prepared waits until it is submitted. Then its coordinator is asked, and what belongs to no open
    /// transaction is undone.
    pub enlist_grace_ms: u64,
    /// Takes the database over from another process of this participant even if that one answers.
    pub take_over: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            kind: crate::KIND.to_owned(),
            url: String::new(),
            password_file: None,
            ca_file: None,
            workers: 16,
            committers: 16,
            max_in_doubt: 64,
            max_readers: 16,
            lock_timeout_ms: 1_000,
            statement_timeout_ms: 60_000,
            connect_timeout_ms: 5_000,
            enlist_grace_ms: 30_000,
            take_over: false,
        }
    }
}

/// The reason why settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    #[error("resource.kind is {kind:?}; here it has to be \"postgresql\"")]
    Kind { kind: String },
    #[error("resource.url cannot be read: {cause}; write postgresql://ROLE@HOST/DATABASE")]
    Url { cause: String },
    #[error(
        "resource.url has a password, which would be shown with it; put it into a file, and name that in resource.password_file"
    )]
    PasswordInUrl,
    #[error("resource.{name} is {value}, and has to be {least} to {most}")]
    OutOfRange { name: &'static str, value: u64, least: u64, most: u64 },
    #[error("resource.{name} {path} cannot be used: {cause}", path = path.display())]
    File { name: &'static str, path: PathBuf, cause: String },
    #[error("resource.url asks for TLS (sslmode), and nothing says by what the server is known: name resource.ca_file")]
    NoAuthority,
}

const MAX_SESSIONS: u64 = 1_000;
const MAX_IN_DOUBT: u64 = 100_000;
const HOUR_MS: u64 = 60 * 60 * 1_000;

impl Settings {
    /// Returns the first fault.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        if self.kind != crate::KIND {
            return Err(InvalidSettings::Kind { kind: self.kind.clone() });
        }
        for (name, value, least, most) in [
            ("workers", self.workers as u64, 1, MAX_SESSIONS),
            ("committers", self.committers as u64, 1, MAX_SESSIONS),
            ("max_in_doubt", self.max_in_doubt as u64, 1, MAX_IN_DOUBT),
            ("max_readers", self.max_readers as u64, 0, MAX_SESSIONS),
            ("lock_timeout_ms", self.lock_timeout_ms, 1, HOUR_MS),
            ("statement_timeout_ms", self.statement_timeout_ms, 1, HOUR_MS),
            ("connect_timeout_ms", self.connect_timeout_ms, 1, HOUR_MS),
            ("enlist_grace_ms", self.enlist_grace_ms, 1, HOUR_MS),
        ] {
            if !(least..=most).contains(&value) {
                return Err(InvalidSettings::OutOfRange { name, value, least, most });
            }
        }
        self.database().map(drop)
    }

    /// Returns what the driver connects to.
    pub(crate) fn database(&self) -> Result<tokio_postgres::Config, InvalidSettings> {
        let unreadable = |error: tokio_postgres::Error| InvalidSettings::Url { cause: crate::class::told(&error) };
        let mut database: tokio_postgres::Config = self.url.parse().map_err(unreadable)?;
        if database.get_password().is_some() {
            return Err(InvalidSettings::PasswordInUrl);
        }
        if database.get_hosts().is_empty() {
            return Err(InvalidSettings::Url { cause: "it names no host".to_owned() });
        }
        if database.get_ssl_mode() == tokio_postgres::config::SslMode::Require && self.ca_file.is_none() {
            return Err(InvalidSettings::NoAuthority);
        }
        if self.ca_file.is_some() {
            database.ssl_mode(tokio_postgres::config::SslMode::Require);
        }
        database
            .target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite)
            .connect_timeout(Duration::from_millis(self.connect_timeout_ms))
            .keepalives_idle(KEEP_ALIVE)
            .keepalives_interval(KEEP_ALIVE)
            .keepalives_retries(2)
            .tcp_user_timeout(2 * KEEP_ALIVE);
        Ok(database)
    }
}

/// A connection on which nothing comes for so long is asked whether it still is one.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Settings {
        Settings { url: url.to_owned(), ..Settings::default() }
    }

    #[test]
    fn settings_that_cannot_be_used_say_what_to_change() {
        assert_eq!(settings("postgresql://undoubt@db/bank").check(), Ok(()));
        assert_eq!(settings("postgresql://undoubt:secret@db/bank").check(), Err(InvalidSettings::PasswordInUrl));
        assert_eq!(settings("postgresql://undoubt@db/bank?sslmode=require").check(), Err(InvalidSettings::NoAuthority));
        assert!(matches!(settings("").check(), Err(InvalidSettings::Url { .. })));
        let none = Settings { workers: 0, ..settings("postgresql://undoubt@db/bank") };
        assert!(none.check().unwrap_err().to_string().contains("resource.workers is 0, and has to be 1 to 1000"));
    }
}
