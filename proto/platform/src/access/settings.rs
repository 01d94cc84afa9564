//! The tables `[tls]`, `[access]` and `[access.oidc]` of a server's settings. A file that is not named is the empty text.

use super::role::{Role, Roles};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
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
    /// The roles of callers without identity. Where neither a file of identities nor a provider is named, they have all.
    pub anonymous: Vec<Role>,
    /// The provider whose tokens are taken.
    pub oidc: OidcConfig,
}

/// An OpenID Connect provider whose tokens (JWT) a server takes. Where no issuer is named, there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OidcConfig {
    /// The provider, as its tokens name it (`iss`).
    pub issuer: String,
    /// The name that the provider has for this server, or for all of a cluster (`aud`).
    pub audience: String,
    /// The file of the provider's public keys, as a JWKS. It is read again while the server runs.
    pub keys: PathBuf,
    /// The claim that names the holder of a token.
    pub claim: String,
    /// The claim that lists the holder's groups: a name, or a JSON pointer if it begins with `/`.
    pub groups_claim: String,
    /// The roles of groups, for holders that no identity has among its `subjects`.
    pub groups: Vec<Grant>,
}

impl Default for OidcConfig {
    fn default() -> Self {
        OidcConfig {
            issuer: String::new(),
            audience: String::new(),
            keys: PathBuf::new(),
            claim: "sub".to_owned(),
            groups_claim: "groups".to_owned(),
            groups: Vec::new(),
        }
    }
}

/// The roles that those have whom a provider counts to a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub group: String,
    pub roles: Vec<Role>,
}

/// The reason why the settings of a provider cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOidc {
    #[error("access.oidc.{0} is empty; set issuer, audience and keys together, or none of them")]
    Missing(&'static str),
    #[error("access.oidc.{0} is empty; name a claim, or leave it out")]
    NoClaim(&'static str),
    #[error("access.oidc.groups: group {0:?} gives no roles; give it some, or take it out")]
    NoRoles(String),
    #[error("access.oidc.groups: group {0:?} stands there twice; join the two")]
    Twice(String),
    #[error("access.oidc.groups: there are {0}, more than {MAX_GRANTS}; give roles by fewer")]
    TooMany(usize),
}

/// The groups of a provider that may have roles.
pub(crate) const MAX_GRANTS: usize = 1_000;

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

    /// Returns true if callers have to say who they are.
    pub fn asks_who(&self) -> bool {
        self.identities().is_some() || self.oidc.is_on()
    }

    /// Returns the roles of callers that have no identity.
    pub fn anonymous(&self) -> Roles {
        if self.asks_who() { self.anonymous.iter().copied().collect() } else { Roles::ALL }
    }
}

impl OidcConfig {
    fn is_on(&self) -> bool {
        !self.issuer.is_empty() || !self.audience.is_empty() || named(&self.keys).is_some() || !self.groups.is_empty()
    }

    /// Returns the settings, if there is a provider and all is said of it that has to be.
    pub fn provider(&self) -> Result<Option<&OidcConfig>, BadOidc> {
        if !self.is_on() {
            return Ok(None);
        }
        let needed = [
            ("issuer", self.issuer.is_empty()),
            ("audience", self.audience.is_empty()),
            ("keys", named(&self.keys).is_none()),
        ];
        if let Some((name, _)) = needed.into_iter().find(|(_, is_missing)| *is_missing) {
            return Err(BadOidc::Missing(name));
        }
        let claims = [("claim", self.claim.is_empty()), ("groups_claim", self.groups_claim.is_empty())];
        if let Some((name, _)) = claims.into_iter().find(|(_, is_missing)| *is_missing) {
            return Err(BadOidc::NoClaim(name));
        }
        if self.groups.len() > MAX_GRANTS {
            return Err(BadOidc::TooMany(self.groups.len()));
        }
        let mut groups = BTreeSet::new();
        for Grant { group, roles } in &self.groups {
            if roles.is_empty() {
                return Err(BadOidc::NoRoles(group.clone()));
            }
            if !groups.insert(group) {
                return Err(BadOidc::Twice(group.clone()));
            }
        }
        Ok(Some(self))
    }
}
