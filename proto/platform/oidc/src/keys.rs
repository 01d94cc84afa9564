//! The public keys of a provider, as a JWKS has them (RFC 7517, 7518, 8037).

use crate::json::{beginning, object};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

pub(crate) const MAX_KEYS_FILE_BYTES: usize = 256 << 10;

pub(crate) const MAX_KEYS: usize = 100;

/// Shorter ones can be broken.
pub(crate) const MIN_RSA_BYTES: usize = 256;

pub(crate) const MAX_RSA_BYTES: usize = 1024;

/// The bytes of an RSA key's exponent; 65,537 has three.
const MAX_EXPONENT_BYTES: usize = 4;

/// The bytes of a coordinate of P-256, and of a key of Ed25519.
const POINT_BYTES: usize = 32;

/// A way of signing that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

/// The keys of a provider that can be used, by their ids.
#[derive(Clone, Debug)]
pub struct Keys {
    by_id: BTreeMap<String, Key>,
    left_out: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Key {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point, uncompressed.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The reason why a file of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    #[error("it has {0} bytes, more than {MAX_KEYS_FILE_BYTES}; keep the keys of one identity provider in it")]
    TooLarge(usize),
    #[error("it is no JWKS, {{\"keys\": […]}} as JSON ({0}); write what the identity provider tells at its jwks_uri")]
    Form(String),
    #[error("it holds {0} keys, more than {MAX_KEYS}; take out those that sign nothing any more")]
    TooMany(usize),
    #[error("key {0:?} stands there twice; take one out")]
    Twice(String),
    #[error(
        "key {0:?} is secret, and only public ones belong here; have whoever made the file take it out, and replace the key"
    )]
    Secret(String),
    #[error("key {id:?} is damaged: {why}; write the file anew")]
    Damaged { id: String, why: &'static str },
    #[error(
        "none of its {0} keys can be used: it takes one with an id (kid) that signs (use) by RS256, ES256 or EdDSA with Ed25519; have \
         the identity provider sign by one of these"
    )]
    NoneOfUse(usize),
}

impl Algorithm {
    pub const ALL: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

    /// Returns its name in a token (`alg`).
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Algorithm> {
        // RFC 9864 names the curve.
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Keys {
    /// Reads a JWKS. Keys that sign nothing, or by other algorithms, are left out, as a provider may well have some.
    pub fn parse(text: &str) -> Result<Keys, BadKeys> {
        if text.len() > MAX_KEYS_FILE_BYTES {
            return Err(BadKeys::TooLarge(text.len()));
        }
        let form = |why: &str| BadKeys::Form(why.to_owned());
        let set = object(text.as_bytes()).map_err(|error| BadKeys::Form(error.to_string()))?;
        let given = set.get("keys").and_then(Value::as_array).ok_or_else(|| form("there is no list `keys`"))?;
        if given.len() > MAX_KEYS {
            return Err(BadKeys::TooMany(given.len()));
        }
        let (count, mut by_id) = (given.len(), BTreeMap::new());
        for jwk in given {
            let id = text_of(jwk, "kid");
            if jwk.get("d").or(jwk.get("k")).is_some() {
                return Err(BadKeys::Secret(beginning(id.unwrap_or_default())));
            }
            let Some((id, algorithm)) = id.zip(algorithm_of(jwk)) else { continue };
            let key = Key::read(algorithm, jwk).map_err(|why| BadKeys::Damaged { id: beginning(id), why })?;
            if by_id.insert(id.to_owned(), key).is_some() {
                return Err(BadKeys::Twice(beginning(id)));
            }
        }
        if by_id.is_empty() {
            return Err(BadKeys::NoneOfUse(count));
        }
        Ok(Keys { left_out: count - by_id.len(), by_id })
    }

    /// Returns the number of keys that can be used.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Returns the number of keys in the file that cannot be used.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Key> {
        self.by_id.get(id)
    }
}

fn text_of<'a>(jwk: &'a Value, member: &str) -> Option<&'a str> {
    jwk.get(member)?.as_str()
}

/// Returns the one algorithm by which a key signs, if it is one that is taken.
fn algorithm_of(jwk: &Value) -> Option<Algorithm> {
    let signs = jwk.get("use").is_none_or(|used| used.as_str() == Some("sig"));
    let verifies = |operations: &Value| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
    if !signs || !jwk.get("key_ops").is_none_or(verifies) {
        return None;
    }
    let algorithm = match (text_of(jwk, "kty")?, text_of(jwk, "crv")) {
        ("RSA", _) => Algorithm::Rs256,
        ("EC", Some("P-256")) => Algorithm::Es256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        _ => return None,
    };
    let named = |alg: &Value| alg.as_str().and_then(Algorithm::from_name) == Some(algorithm);
    jwk.get("alg").is_none_or(named).then_some(algorithm)
}

impl Key {
    fn read(algorithm: Algorithm, jwk: &Value) -> Result<Key, &'static str> {
        let number = |member| {
            let text = text_of(jwk, member).ok_or("a number is missing")?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| "a number is not base64url without padding")
        };
        let point = |member| match number(member)? {
            point if point.len() == POINT_BYTES => Ok(point),
            _ => Err("a coordinate has not 32 bytes"),
        };
        Ok(match algorithm {
            Algorithm::Rs256 => {
                let (modulus, exponent) = (without_zeros(number("n")?), without_zeros(number("e")?));
                if !(MIN_RSA_BYTES..=MAX_RSA_BYTES).contains(&modulus.len()) {
                    return Err("its modulus has not 256 to 1,024 bytes");
                }
                let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
                if exponent.len() > MAX_EXPONENT_BYTES || exponent == [1] || !is_odd {
                    return Err("its exponent is none of RSA's");
                }
                Key::Rsa { modulus, exponent }
            }
            Algorithm::Es256 => Key::P256([vec![4], point("x")?, point("y")?].concat()),
            Algorithm::EdDsa => Key::Ed25519(point("x")?),
        })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Key::Rsa { .. } => Algorithm::Rs256,
            Key::P256(_) => Algorithm::Es256,
            Key::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Returns true if the signature is this key's.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Key::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Key::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Key::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature).is_ok(),
        }
    }
}

/// Returns a number without the zeros that some encoders put before it.
fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}
