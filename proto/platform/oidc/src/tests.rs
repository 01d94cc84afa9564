//! Tokens of a provider that this test plays: it signs with real keys, as a provider would and as an attacker would.

mod checking;
mod keys_files;
mod reading;

use crate::{Algorithm, Checker, Expected, Keys};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use undoubt_vocabulary::Timestamp;

pub(super) const ISSUER: &str = "https://login.example";
pub(super) const AUDIENCE: &str = "undoubt";
pub(super) const NOW_S: u64 = 1_800_000_000;
pub(super) const NOW: Timestamp = Timestamp(NOW_S * 1_000_000);

/// A key pair of a provider.
pub(super) struct Pair {
    pub(super) id: String,
    secret: Secret,
}

enum Secret {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// RSA pairs for this test alone, as DER in base64: ring draws none.
const RSA_KEY: &str = include_str!("tests/rsa.key");
const OTHER_RSA_KEY: &str = include_str!("tests/other-rsa.key");

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Pair {
    pub(super) fn draw(algorithm: Algorithm, id: &str) -> Pair {
        let random = SystemRandom::new();
        let secret = match algorithm {
            Algorithm::Rs256 => rsa(RSA_KEY),
            Algorithm::Es256 => {
                let way = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let key = EcdsaKeyPair::generate_pkcs8(way, &random).unwrap();
                Secret::P256(EcdsaKeyPair::from_pkcs8(way, key.as_ref(), &random).unwrap())
            }
            Algorithm::EdDsa => {
                let key = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Secret::Ed25519(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
            }
        };
        Pair { id: id.to_owned(), secret }
    }

    /// Returns another pair for the same algorithm, under the same id.
    pub(super) fn other(&self) -> Pair {
        let drawn = Pair::draw(self.algorithm(), &self.id);
        let secret = if self.algorithm() == Algorithm::Rs256 { rsa(OTHER_RSA_KEY) } else { drawn.secret };
        Pair { secret, ..drawn }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match &self.secret {
            Secret::Rsa(_) => Algorithm::Rs256,
            Secret::P256(_) => Algorithm::Es256,
            Secret::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    pub(super) fn jwk(&self) -> Value {
        match &self.secret {
            Secret::Rsa(key) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                let (n, e) = (encode(n), encode(e));
                json!({ "kty": "RSA", "kid": self.id, "use": "sig", "alg": "RS256", "n": n, "e": e })
            }
            Secret::P256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({ "kty": "EC", "kid": self.id, "crv": "P-256", "x": x, "y": y })
            }
            Secret::Ed25519(key) => {
                let x = encode(key.public_key());
                json!({ "kty": "OKP", "kid": self.id, "crv": "Ed25519", "key_ops": ["verify"], "x": x })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.secret {
            Secret::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Secret::P256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Secret::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// Returns a token with these claims, as the provider makes it.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm().name(), "kid": self.id, "typ": "JWT" }), claims)
    }

    /// Returns a token with a header of one's own.
    pub(super) fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    pub(super) fn token_of(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

fn rsa(key: &str) -> Secret {
    let key = base64::engine::general_purpose::STANDARD.decode(key.split_whitespace().collect::<String>()).unwrap();
    Secret::Rsa(Box::new(RsaKeyPair::from_der(&key).unwrap()))
}

pub(super) fn jwks(pairs: &[&Pair]) -> String {
    json!({ "keys": pairs.iter().map(|pair| pair.jwk()).collect::<Vec<_>>() }).to_string()
}

pub(super) fn expected() -> Expected {
    Expected {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        claim: "sub".to_owned(),
        groups_claim: Some("groups".to_owned()),
    }
}

pub(super) fn checker(pairs: &[&Pair]) -> Checker {
    Checker::new(expected(), Keys::parse(&jwks(pairs)).unwrap())
}

/// Returns the claims of a token that holds for a minute from now on.
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "groups": ["operators", "shop"], "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 60
    })
}

/// Returns these claims with some that are others; null takes one out.
pub(super) fn but(changed: Value) -> Value {
    let mut all = claims();
    for (name, value) in changed.as_object().unwrap() {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(name);
        } else {
            all[name] = value.clone();
        }
    }
    all
}
