//! Connections to the database.

use crate::class::{class_of, told};
use crate::config::{InvalidSettings, Settings};
use crate::session::{Backend, Session};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres::{Client, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use undoubt_participant::resource::ResourceError;
use undoubt_sql::Class;

/// The way to the database.
pub(crate) struct Connector {
    settings: Settings,
    database: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("settings", &self.settings).finish_non_exhaustive()
    }
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
    /// There was one, and it did not answer: it may have happened.
    Silent,
}

impl From<Absent> for ResourceError {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Away(cause) => ResourceError::Unavailable { cause },
            Absent::Fenced(cause) => ResourceError::Fenced { cause },
            Absent::Foreign(cause) => ResourceError::Foreign { cause },
            Absent::Silent => ResourceError::Unclear { cause: crate::attempt::NO_ANSWER.to_owned() },
        }
    }
}

impl Absent {
    pub(crate) fn away(error: &Error) -> Absent {
        let cause = told(error);
        Absent::Away(match class_of(error) {
            Class::Access => format!(
                "the database does not let this participant in: {cause}; correct the role, its password or its rights, or \
                 resource.url (undoubt-participant check tells what is missing)"
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

impl Connector {
    /// `application`: the name by which people see these sessions in the server.
    pub(crate) fn new(settings: &Settings, application: &str) -> Result<Connector, InvalidSettings> {
        settings.check()?;
        let mut database = settings.database()?;
        database.application_name(application);
        let tls = settings.ca_file.as_deref().map(tls).transpose()?;
        Ok(Connector { settings: settings.clone(), database, tls })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Connects, and sets what a session needs whatever the server's own settings are.
    pub(crate) async fn connect(&self) -> Result<Session, Absent> {
        let client = self.dial().await?;
        self.set_up(client).await.map_err(|error| Absent::away(&error))
    }

    async fn dial(&self) -> Result<Client, Absent> {
        let mut database = self.database.clone();
        if let Some(path) = &self.settings.password_file {
            let read = std::fs::read_to_string(path).map_err(|cause| {
                let path = path.display();
                Absent::Away(format!("resource.password_file {path} cannot be read: {cause}; correct it"))
            })?;
            database.password(read.lines().next().unwrap_or_default());
        }
        // The task ends with its client.
        let client = match &self.tls {
            None => {
                let (client, connection) = database.connect(NoTls).await.map_err(|error| Absent::away(&error))?;
                tokio::spawn(connection);
                client
            }
            Some(tls) => {
                let connected = database.connect(tls.clone()).await;
                let (client, connection) = connected.map_err(|error| Absent::away(&error))?;
                tokio::spawn(connection);
                client
            }
        };
        Ok(client)
    }

    async fn set_up(&self, client: Client) -> Result<Session, Error> {
        let Settings { lock_timeout_ms, statement_timeout_ms, .. } = &self.settings;
        // Settings that end idle sessions are not there in all versions.
        client
            .batch_execute(&format!(
                "SET synchronous_commit = on; SET lock_timeout = {lock_timeout_ms}; SET statement_timeout = {statement_timeout_ms}; \
                 SET default_transaction_isolation = 'read committed'; \
                 SET client_min_messages = warning; SET TimeZone = 'UTC'; SET standard_conforming_strings = on; \
                 SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN \
                 ('idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')"
            ))
            .await?;
        let row = client
            .query_one(
                "SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity WHERE pid = pg_backend_pid()",
                &[],
            )
            .await?;
        let backend = Backend { pid: row.try_get(0)?, started_us: row.try_get(1)? };
        Ok(Session::new(client, backend))
    }
}

fn tls(ca_file: &Path) -> Result<MakeRustlsConnect, InvalidSettings> {
    let unusable = |cause: String| InvalidSettings::File { name: "ca_file", path: ca_file.to_owned(), cause };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it has no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
