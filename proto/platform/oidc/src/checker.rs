//! The check of a token, and what it says of its holder.

use crate::json::beginning;
use crate::keys::{Algorithm, Keys};
use crate::token::{MAX_TOKEN_BYTES, Token};
use serde_json::Value;
use std::time::Duration;
use undoubt_vocabulary::Timestamp;

/// The difference between the provider's clock and this machine's for which times allow.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// The longest name of a holder: what OpenID Connect allows `sub`.
pub(crate) const MAX_SUBJECT_BYTES: usize = 255;

/// The claim that is a text of words with spaces between them (RFC 8693).
const SCOPE: &str = "scope";

/// The claims that the tokens of a provider have to have, and where they say who holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The provider (`iss`).
    pub issuer: String,
    /// The name that the provider has for this server (`aud`).
    pub audience: String,
    /// The claim that names the holder.
    pub claim: String,
    /// The claim that lists the holder's groups: a name, or a JSON pointer (RFC 6901) if it begins with `/`.
    pub groups_claim: Option<String>,
}

/// The check of a provider's tokens.
#[derive(Clone, Debug)]
pub struct Checker {
    expected: Expected,
    keys: Keys,
}

/// The holder of a token that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub name: String,
    pub groups: Vec<String>,
    /// The time from which on the token is not taken any more.
    pub until: Timestamp,
}

/// The reason why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it has {0} bytes, more than {MAX_TOKEN_BYTES}; have the identity provider put fewer claims into it")]
    TooLarge(usize),
    #[error("it is no JWT that is signed ({0}); ask the identity provider for one")]
    Form(String),
    #[error(
        "it is signed by {0:?}, and only RS256, ES256 and EdDSA are taken; have the identity provider sign by one of these"
    )]
    Algorithm(String),
    #[error("it is of the type {0:?}, which does not say who asks; send an access token or an ID token")]
    Type(String),
    #[error("its header does not name its key (kid); have the identity provider do so")]
    NoKeyId,
    #[error(
        "its key {0:?} is not among those that this server knows; have the file of access.oidc.keys written anew from the identity \
         provider's jwks_uri, and send SIGHUP, or ask the provider for a new token"
    )]
    UnknownKey(String),
    #[error("it says {given}, and its key {key:?} signs by {by}; ask the identity provider for a new token")]
    OtherAlgorithm { key: String, by: Algorithm, given: Algorithm },
    #[error("its signature is not that of its key {0:?}; ask the identity provider for a new token")]
    Signature(String),
    #[error(
        "it is of the issuer {given:?}, and this server takes those of {expected:?} (access.oidc.issuer); ask that one"
    )]
    Issuer { given: String, expected: String },
    #[error(
        "it is not for this server, which is {0:?} (access.oidc.audience); ask the identity provider for one with that audience"
    )]
    Audience(String),
    #[error("it expired at {0}; ask the identity provider for a new one")]
    Expired(Timestamp),
    #[error("it holds from {0} on; wait, or set the clocks of this server and of the identity provider")]
    NotYet(Timestamp),
    #[error("its claim {claim:?} {why}; have the identity provider correct it, or name another (access.oidc)")]
    Claim { claim: String, why: &'static str },
}

impl Checker {
    pub fn new(expected: Expected, keys: Keys) -> Checker {
        Checker { expected, keys }
    }

    /// Returns the holder of a token, if it is signed by one of the keys, for this server, and holds now.
    pub fn check(&self, token: &str, now: Timestamp) -> Result<Holder, Refused> {
        let token = Token::read(token)?;
        let shown = || beginning(&token.key_id);
        let key = self.keys.get(&token.key_id).ok_or_else(|| Refused::UnknownKey(shown()))?;
        if key.algorithm() != token.algorithm {
            return Err(Refused::OtherAlgorithm { key: shown(), by: key.algorithm(), given: token.algorithm });
        }
        if !key.has_signed(token.message, &token.signature) {
            return Err(Refused::Signature(shown()));
        }
        self.holder(&token.claims()?, now)
    }

    fn holder(&self, claims: &Value, now: Timestamp) -> Result<Holder, Refused> {
        let Expected { issuer, audience, claim, groups_claim } = &self.expected;
        let given = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        if given != issuer {
            return Err(Refused::Issuer { given: beginning(given), expected: issuer.clone() });
        }
        let is_for = match claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(audience)),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
        };
        if !is_for {
            return Err(Refused::Audience(audience.clone()));
        }
        let expires = time(claims, "exp")?.ok_or(Refused::Claim { claim: "exp".to_owned(), why: "is missing" })?;
        let until = expires.plus(LEEWAY);
        if now >= until {
            return Err(Refused::Expired(expires));
        }
        if let Some(begins) = time(claims, "nbf")?.filter(|begins| *begins > now.plus(LEEWAY)) {
            return Err(Refused::NotYet(begins));
        }
        let groups = groups_claim.as_deref().map(|claim| groups(claims, claim)).transpose()?.unwrap_or_default();
        Ok(Holder { name: name(claims, claim)?, groups, until })
    }
}

fn name(claims: &Value, claim: &str) -> Result<String, Refused> {
    let wrong = |why| Refused::Claim { claim: claim.to_owned(), why };
    let name = claims.get(claim).ok_or_else(|| wrong("is missing"))?;
    let name = name.as_str().ok_or_else(|| wrong("is no text"))?;
    if !(1..=MAX_SUBJECT_BYTES).contains(&name.len()) || name.contains(char::is_control) {
        return Err(wrong("has not 1 to 255 bytes of plain text"));
    }
    Ok(name.to_owned())
}

/// Returns the time of a claim, which has seconds and may have parts of one.
fn time(claims: &Value, claim: &str) -> Result<Option<Timestamp>, Refused> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let whole = value.as_u64().map(Duration::from_secs);
    let seconds = whole.or_else(|| Duration::try_from_secs_f64(value.as_f64()?).ok());
    let wrong = || Refused::Claim { claim: claim.to_owned(), why: "is no time in seconds since 1970" };
    Ok(Some(Timestamp::default().plus(seconds.ok_or_else(wrong)?)))
}

/// Returns the texts of a claim. A holder without it is in no group.
fn groups(claims: &Value, claim: &str) -> Result<Vec<String>, Refused> {
    let found = if claim.starts_with('/') { claims.pointer(claim) } else { claims.get(claim) };
    let wrong = || Refused::Claim { claim: claim.to_owned(), why: "is neither a text nor a list of texts" };
    match found {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(words)) if claim == SCOPE => Ok(words.split(' ').map(str::to_owned).collect()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(all)) => {
            all.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or_else(wrong)
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Err(wrong()),
    }
}
