//! Connections to the database.

use crate::class::{class_of, told};
use crate::config::{InvalidSettings, Settings};
use crate::session::{Backend, Session};
use mysql_async::{Conn, DriverError, Error, IoError, OptsBuilder};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use undoubt_participant::resource::ResourceError;
use undoubt_sql::Class;

/// The way to the database.
#[derive(Debug)]
pub(crate) struct Connector {
    settings: Settings,
    database: OptsBuilder,
}

/// The reason why there is no session. Nothing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The database is away, or does not let the participant in; it may later.
    Away(String),
    /// Another process has taken it over.
    Fenced(String),
    /// It is not the database that it was.
    Foreign(String),
}

impl From<Absent> for ResourceError {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Away(cause) => ResourceError::Unavailable { cause },
            Absent::Fenced(cause) => ResourceError::Fenced { cause },
            Absent::Foreign(cause) => ResourceError::Foreign { cause },
        }
    }
}

impl Absent {
    pub(crate) fn away(error: &Error) -> Absent {
        let cause = told(error);
        Absent::Away(match class_of(error) {
            Class::Access => format!(
                "the database does not let this participant in: {cause}; correct the user, its password or its rights, \
                 resource.url, or resource.ca_file, without which there is no TLS (undoubt-participant check tells what is missing)"
            ),
            Class::Condition
            | Class::Declaration
            | Class::Conflict
            | Class::LockTimeout
            | Class::Cancelled
            | Class::Unavailable
            | Class::Unknown
            | Class::Failed => format!("the database is away: {cause}; it is tried again until it answers"),
        })
    }
}

/// The settings of a session, whatever the server's own are. Those in the second list are not there in all versions.
const SESSION: &str = "SET SESSION autocommit = 1, sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
     time_zone = '+00:00', wait_timeout = 31536000; SET NAMES utf8mb4; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
const UNBOUNDED: [&str; 5] = [
    "max_statement_time",
    "max_execution_time",
    "idle_transaction_timeout",
    "idle_write_transaction_timeout",
    "idle_readonly_transaction_timeout",
];

impl Connector {
    /// `program`: the name by which people see these sessions in the server.
    pub(crate) fn new(settings: &Settings, program: &str) -> Result<Connector, InvalidSettings> {
        settings.check()?;
        let database = settings.database()?.connect_attribute("program_name", program);
        Ok(Connector { settings: settings.clone(), database })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Connects, and sets what a session needs.
    pub(crate) async fn connect(&self) -> Result<Session, Absent> {
        let limit = Duration::from_millis(self.settings.connect_timeout_ms);
        let connecting = async {
            let conn = self.dial().await?;
            self.set_up(conn).await.map_err(|error| Absent::away(&error))
        };
        tokio::time::timeout(limit, connecting).await.unwrap_or_else(|_| {
            let limit_ms = self.settings.connect_timeout_ms;
            Err(Absent::Away(format!("the database did not answer within {limit_ms} ms (resource.connect_timeout_ms)")))
        })
    }

    async fn dial(&self) -> Result<Conn, Absent> {
        let mut database = self.database.clone();
        if let Some(path) = &self.settings.password_file {
            let read = std::fs::read_to_string(path).map_err(|cause| {
                let path = path.display();
                Absent::Away(format!("resource.password_file {path} cannot be read: {cause}; correct it"))
            })?;
            database = database.pass(read.lines().next().map(str::to_owned));
        }
        if let Some(path) = &self.settings.ca_file {
            check_ca_file(path)?;
        }
        Conn::new(database).await.map_err(|error| unsecured(&error).unwrap_or_else(|| Absent::away(&error)))
    }

    async fn set_up(&self, conn: Conn) -> Result<Session, Error> {
        let greeted = u64::from(conn.id());
        let mut session = Session::new(conn, Backend { id: greeted, from: String::new() });
        let lock_timeout_s = self.settings.lock_timeout_ms.div_ceil(1_000);
        session.run(&format!("{SESSION}; SET SESSION innodb_lock_wait_timeout = {lock_timeout_s}")).await?;
        let names = UNBOUNDED.map(|name| format!("'{name}'")).join(", ");
        let known = session.rows(&format!("SHOW SESSION VARIABLES WHERE Variable_name IN ({names})")).await?;
        for row in &known {
            let name: String = row.get(0).unwrap_or_default();
            session.run(&format!("SET SESSION {name} = 0")).await?;
        }
        let rows =
            session.rows("SELECT ID, HOST FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()").await?;
        if let Some(row) = rows.first() {
            session.backend = Backend { id: row.get(0).unwrap_or(greeted), from: row.get(1).unwrap_or_default() };
        }
        Ok(session)
    }
}

/// The driver would say of a file without certificates that no server's is accepted, and not which file it is.
fn check_ca_file(path: &Path) -> Result<(), Absent> {
    let unusable = |cause: &str| {
        let path = path.display();
        Err(Absent::Away(format!("resource.ca_file {path} cannot be used: {cause}; correct it")))
    };
    match std::fs::read(path) {
        Ok(read) if read.windows(PEM.len()).any(|window| window == PEM) => Ok(()),
        Ok(_) => unusable("it has no certificate as PEM"),
        Err(cause) => unusable(&cause.to_string()),
    }
}

const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Returns what it means if a connection could not be made secure.
fn unsecured(error: &Error) -> Option<Absent> {
    let what_to_do = match error {
        // A handshake that fails is an error of what came.
        Error::Io(IoError::Io(cause)) if cause.kind() == ErrorKind::InvalidData => CERTIFICATE,
        Error::Io(IoError::Tls(_)) => CERTIFICATE,
        Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            "the server offers no TLS; set ssl_cert and ssl_key in its my.cnf, or leave resource.ca_file out"
        }
        Error::Io(IoError::Io(_)) | Error::Driver(_) | Error::Other(_) | Error::Server(_) | Error::Url(_) => {
            return None;
        }
    };
    Some(Absent::Away(format!("the connection to the database cannot be made secure: {}; {what_to_do}", told(error))))
}

const CERTIFICATE: &str = "the server's certificate is not accepted: name in resource.ca_file the authority that signed it, and in \
     resource.url the host that it is for";
