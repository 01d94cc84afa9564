//! The tables `[tls]` and `[access]` of a server's settings. A file that is not named is the empty text.

use super::role::{Role, Roles};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The certificates of a server. They are read again while it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate and those between it and its CA, as PEM. Without, nothing is encrypted.
    pub certificate: PathBuf,
    /// The private key to the certificate, as PEM.
    pub key: PathBuf,
    /// The CAs whose certificates those have to show whom this server calls, as PEM.
    pub ca: PathBuf,
    /// The CAs whose certificates callers show, as PEM; without, those of `ca`.
    pub client_ca: PathBuf,
    /// Whether callers have to show a certificate.
    pub client_certificates: ClientCertificates,
}

/// Whether callers have to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Nothing is told to those who show none.
    #[default]
    Required,
    /// Those who show none may have a token.
    Optional,
    /// Nobody is asked for one.
    None,
}

/// The rules of who may do what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// The file of identities, as TOML. It is read again while the server runs.
    pub identities: PathBuf,
    /// The roles of callers without identity. Where no file of identities is named, they have all.
    pub anonymous: Vec<Role>,
}

/// Returns a file that is named.
fn named(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

impl TlsConfig {
    pub fn is_on(&self) -> bool {
        named(&self.certificate).is_some() || named(&self.key).is_some()
    }

    pub fn certificate(&self) -> Option<&Path> {
        named(&self.certificate)
    }

    pub fn key(&self) -> Option<&Path> {
        named(&self.key)
    }

    pub fn ca(&self) -> Option<&Path> {
        named(&self.ca)
    }

    pub fn client_ca(&self) -> Option<&Path> {
        named(&self.client_ca).or_else(|| self.ca())
    }
}

impl AccessConfig {
    pub fn identities(&self) -> Option<&Path> {
        named(&self.identities)
    }

    /// Returns the roles of callers that have no identity.
    pub fn anonymous(&self) -> Roles {
        match self.identities() {
            None => Roles::ALL,
            Some(_) => self.anonymous.iter().copied().collect(),
        }
    }
}
