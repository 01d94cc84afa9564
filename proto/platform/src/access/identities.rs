//! The identities that a server knows, and the file in which they stand.

use super::limits::{LimitsByName, OwnLimits};
use super::role::{Role, Roles, UnknownRole};
use super::token::{InvalidHash, TokenHash};
use crate::range::OutOfRange;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use undoubt_vocabulary::InvalidId;
use undoubt_vocabulary::id::check_name;

/// Identities that one file may hold.
pub(crate) const MAX_IDENTITIES: usize = 10_000;

/// Somebody whom a server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name, which records and logs show.
    pub name: Arc<str>,
    pub roles: Roles,
}

/// All whom a server knows.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    all: Vec<Identity>,
    /// Places in `all`, by the names of certificates.
    by_certificate: BTreeMap<String, usize>,
    /// Tokens and places in `all`, by the first bytes of the tokens' hashes.
    by_token: BTreeMap<u64, Vec<(TokenHash, usize)>>,
    /// Places in `all`, by the names that a provider has for them.
    by_subject: BTreeMap<String, usize>,
    names: BTreeSet<Arc<str>>,
    limits: LimitsByName,
}

/// The reason why a file of identities cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentities {
    #[error("it is not of the form [[identity]] with name, roles, certificates, tokens and subjects: {0}")]
    Form(String),
    #[error(transparent)]
    Name(#[from] InvalidId),
    #[error("identity {0:?} stands there twice; join the two")]
    Twice(String),
    #[error("identity {name:?}: {cause}")]
    Role { name: String, cause: UnknownRole },
    #[error("identity {0:?} has no roles, and could do nothing; give it some, or take it out")]
    NoRoles(String),
    #[error(
        "identity {0:?} has neither certificates nor tokens nor subjects, and nobody could be it; give it one, or take it out"
    )]
    Unreachable(String),
    #[error("identity {name:?}: {cause}")]
    Hash { name: String, cause: InvalidHash },
    #[error("identity {name:?}: {cause}")]
    Limits { name: String, cause: OutOfRange },
    #[error("certificate {certificate:?} belongs to {first:?} and to {second:?}; it can be one only")]
    SharedCertificate { certificate: String, first: String, second: String },
    #[error("a token belongs to {first:?} and to {second:?}; make another for one of them")]
    SharedToken { first: String, second: String },
    #[error("subject {subject:?} belongs to {first:?} and to {second:?}; it can be one only")]
    SharedSubject { subject: String, first: String, second: String },
    #[error("it holds {0} identities, more than {MAX_IDENTITIES}; give some a common one")]
    TooMany(usize),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    identity: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    roles: Vec<String>,
    /// DNS names and URIs of certificates.
    #[serde(default)]
    certificates: Vec<String>,
    /// Hashes of tokens.
    #[serde(default)]
    tokens: Vec<String>,
    /// Names that the provider of `access.oidc` has for it.
    #[serde(default)]
    subjects: Vec<String>,
    /// The values that differ from the server's `[limits]`.
    #[serde(default)]
    limits: Option<OwnLimits>,
}

impl Identities {
    /// Reads the text of a file of identities, which is TOML.
    pub fn parse(text: &str) -> Result<Identities, BadIdentities> {
        let file: File = toml::from_str(text).map_err(|error| BadIdentities::Form(error.message().to_owned()))?;
        if file.identity.len() > MAX_IDENTITIES {
            return Err(BadIdentities::TooMany(file.identity.len()));
        }
        let (mut identities, mut limits) = (Identities::default(), BTreeMap::new());
        for mut entry in file.identity {
            let own = entry.limits.take();
            let name = identities.add(entry)?;
            if let Some(own) = own {
                own.check().map_err(|cause| BadIdentities::Limits { name: name.to_string(), cause })?;
                limits.insert(name, own);
            }
        }
        identities.limits = Arc::new(limits);
        Ok(identities)
    }

    /// Adds one, and returns its name.
    fn add(&mut self, entry: Entry) -> Result<Arc<str>, BadIdentities> {
        let Entry { name, roles, certificates, tokens, subjects, limits: _ } = entry;
        check_name("an identity's name", &name)?;
        if self.names.contains(name.as_str()) {
            return Err(BadIdentities::Twice(name));
        }
        let roles = roles.iter().map(|word| word.parse::<Role>()).collect::<Result<Roles, UnknownRole>>();
        let roles = roles.map_err(|cause| BadIdentities::Role { name: name.clone(), cause })?;
        if roles.is_empty() {
            return Err(BadIdentities::NoRoles(name));
        }
        if certificates.is_empty() && tokens.is_empty() && subjects.is_empty() {
            return Err(BadIdentities::Unreachable(name));
        }
        let place = self.all.len();
        for certificate in certificates {
            if let Some(other) = self.by_certificate.insert(certificate_name(&certificate), place) {
                let first = self.name_of(other, &name);
                return Err(BadIdentities::SharedCertificate { certificate, first, second: name });
            }
        }
        for token in &tokens {
            let hash = TokenHash::parse(token).map_err(|cause| BadIdentities::Hash { name: name.clone(), cause })?;
            if let Some(other) = self.place_of(hash) {
                return Err(BadIdentities::SharedToken { first: self.name_of(other, &name), second: name });
            }
            self.by_token.entry(hash.prefix()).or_default().push((hash, place));
        }
        for subject in subjects {
            if let Some(other) = self.by_subject.insert(subject.clone(), place) {
                return Err(BadIdentities::SharedSubject { subject, first: self.name_of(other, &name), second: name });
            }
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        self.all.push(Identity { name: name.clone(), roles });
        Ok(name)
    }

    /// Returns the name at a place; that of the one that is being added is not there yet.
    fn name_of(&self, place: usize, added: &str) -> String {
        self.all.get(place).map_or(added, |known| &known.name).to_owned()
    }

    fn place_of(&self, hash: TokenHash) -> Option<usize> {
        let near = self.by_token.get(&hash.prefix())?;
        near.iter().find(|(known, _)| *known == hash).map(|(_, place)| *place)
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns the limits of those that have some of their own.
    pub fn limits(&self) -> &LimitsByName {
        &self.limits
    }

    /// Returns true if a provider has to tell who some of them are.
    pub fn have_subjects(&self) -> bool {
        !self.by_subject.is_empty()
    }

    pub(super) fn have_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Returns the identity to which the token with this hash belongs.
    pub fn by_token(&self, hash: TokenHash) -> Option<&Identity> {
        self.all.get(self.place_of(hash)?)
    }

    /// Returns the identity that a provider names so.
    pub fn by_subject(&self, subject: &str) -> Option<&Identity> {
        self.all.get(*self.by_subject.get(subject)?)
    }

    /// Returns the identity to which a certificate with one of these names belongs: that of the first name that is known.
    pub fn by_certificate<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<&Identity> {
        let place = names.into_iter().find_map(|name| self.by_certificate.get(&certificate_name(name)))?;
        self.all.get(*place)
    }
}

/// Returns the name of a certificate as it is looked up: DNS names are the same in capitals, URIs are not.
fn certificate_name(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { name.to_ascii_lowercase() }
}
