//! The settings of a MariaDB participant: the table `[resource]` of its configuration.

use mysql_async::{Opts, OptsBuilder, SslOpts};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Settings. [`Settings::check`] says what is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Always "mariadb".
    pub kind: String,
    /// The database and the user, as `mysql://undoubt@db/bank`.
    pub url: String,
    /// The file whose first line is the user's password.
    pub password_file: Option<PathBuf>,
    /// Certificates of the authorities that the server's certificate is checked by, as PEM. Without it there is no TLS.
    pub ca_file: Option<PathBuf>,
    /// Sessions that do work in one phase and of sagas, each for one branch or step at a time.
    pub workers: usize,
    /// Branches that are in doubt, or on the way there, at a time: each keeps a session of its own until it is decided.
    pub slots: usize,
    /// Branches that only read and wait for the end of their transaction, each with a session of its own; one more is refused.
    pub max_readers: usize,
    /// The longest wait for one lock, which the server counts in whole seconds; a branch's own deadline may be shorter.
    pub lock_timeout_ms: u64,
    /// The longest time that the statements of one branch or step may take.
    pub statement_timeout_ms: u64,
    /// The time in which the server has to answer when a connection is made.
    pub connect_timeout_ms: u64,
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
            slots: 64,
            max_readers: 16,
            lock_timeout_ms: 1_000,
            statement_timeout_ms: 60_000,
            connect_timeout_ms: 5_000,
            take_over: false,
        }
    }
}

/// The reason why settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    #[error("resource.kind is {kind:?}; here it has to be \"mariadb\"")]
    Kind { kind: String },
    #[error("resource.url cannot be read: {cause}; write mysql://USER@HOST/DATABASE")]
    Url { cause: String },
    #[error(
        "resource.url has a password, which would be shown with it; put it into a file, and name that in resource.password_file"
    )]
    PasswordInUrl,
    #[error("resource.{name} is {value}, and has to be {least} to {most}")]
    OutOfRange { name: &'static str, value: u64, least: u64, most: u64 },
    #[error("{0}")]
    Procedure(undoubt_sql::Fault),
}

const MAX_SESSIONS: u64 = 1_000;
const HOUR_MS: u64 = 60 * 60 * 1_000;

/// A connection on which nothing comes for so long is asked whether it still is one.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

impl Settings {
    /// Returns the first fault.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        if self.kind != crate::KIND {
            return Err(InvalidSettings::Kind { kind: self.kind.clone() });
        }
        for (name, value, least, most) in [
            ("workers", self.workers as u64, 1, MAX_SESSIONS),
            ("slots", self.slots as u64, 1, MAX_SESSIONS),
            ("max_readers", self.max_readers as u64, 0, MAX_SESSIONS),
            ("lock_timeout_ms", self.lock_timeout_ms, 1, HOUR_MS),
            ("statement_timeout_ms", self.statement_timeout_ms, 1, HOUR_MS),
            ("connect_timeout_ms", self.connect_timeout_ms, 1, HOUR_MS),
        ] {
            if !(least..=most).contains(&value) {
                return Err(InvalidSettings::OutOfRange { name, value, least, most });
            }
        }
        self.database().map(drop)
    }

    /// Returns the number of sessions that there are at most.
    pub(crate) fn most_sessions(&self) -> usize {
        crate::sessions::SINGLE + crate::sessions::RECORDERS + self.workers + self.slots + self.max_readers
    }

    /// Returns what the driver connects to, without the password.
    pub(crate) fn database(&self) -> Result<OptsBuilder, InvalidSettings> {
        let unreadable = |cause: String| InvalidSettings::Url { cause };
        let database = Opts::from_url(&self.url).map_err(|error| unreadable(error.to_string()))?;
        if database.pass().is_some() {
            return Err(InvalidSettings::PasswordInUrl);
        }
        if database.user().is_none() {
            return Err(unreadable("it names no user".to_owned()));
        }
        if database.db_name().is_none_or(str::is_empty) {
            return Err(unreadable("it names no database".to_owned()));
        }
        let tls = self
            .ca_file
            .clone()
            .map(|file| SslOpts::default().with_root_certs(vec![file.into()]).with_disable_built_in_roots(true));
        let database = OptsBuilder::from_opts(database)
            .ssl_opts(tls)
            // By its own address: a socket that the server names would pass by what stands in between.
            .prefer_socket(false)
            // Counts the rows that a statement has found, as conditions mean it, not those that it has changed.
            .client_found_rows(true)
            .stmt_cache_size(0)
            .tcp_keepalive(Some(KEEP_ALIVE));
        Ok(database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Settings {
        Settings { url: url.to_owned(), ..Settings::default() }
    }

    #[test]
    fn settings_that_cannot_be_used_say_what_to_change() {
        assert_eq!(settings("mysql://undoubt@db/bank").check(), Ok(()));
        assert_eq!(settings("mysql://undoubt:secret@db/bank").check(), Err(InvalidSettings::PasswordInUrl));
        for url in ["", "mysql://undoubt@db", "mysql://db/bank", "postgresql://undoubt@db/bank"] {
            assert!(matches!(settings(url).check(), Err(InvalidSettings::Url { .. })), "{url}");
        }
        let none = Settings { slots: 0, ..settings("mysql://undoubt@db/bank") };
        assert!(none.check().unwrap_err().to_string().contains("resource.slots is 0, and has to be 1 to 1000"));
    }
}
