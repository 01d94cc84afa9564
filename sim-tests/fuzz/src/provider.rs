//! The texts that an identity provider makes: its file of keys, and its tokens.

use crate::work::as_text;
use crate::{Target, says_why};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use std::sync::LazyLock;
use undoubt_oidc::{Checker, Expected, Keys};
use undoubt_vocabulary::Timestamp;

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "provider-keys", decode: keys, growth: 512, seeds: all_keys },
    Target { name: "provider-token", decode: token, growth: 512, seeds: tokens },
    Target { name: "provider-claims", decode: claims, growth: 512, seeds: all_claims },
];

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

const HEADER: &str = "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":\"at+jwt\"}";

const CLAIMS: &str = "{\"iss\":\"https://login.example\",\"aud\":[\"shop\",\"undoubt\"],\"sub\":\"ada\",\"nbf\":1800000000,\
    \"exp\":1800000060.5,\"realm_access\":{\"roles\":[\"a\",\"b\"]}}";

static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("it has 32 bytes"));

static CHECKER: LazyLock<Checker> = LazyLock::new(|| {
    let expected = Expected {
        issuer: "https://login.example".to_owned(),
        audience: "undoubt".to_owned(),
        claim: "sub".to_owned(),
        groups_claim: Some("/realm_access/roles".to_owned()),
    };
    Checker::new(expected, Keys::parse(&file()).expect("it is whole"))
});

fn keys(input: &[u8]) {
    match Keys::parse(&as_text(input)) {
        Err(why) => says_why(&why, input),
        Ok(keys) => assert!(keys.count() > 0 && keys.count() + keys.left_out() <= input.len()),
    }
}

/// Checks a text. Nobody but the provider can make one that is taken.
fn token(input: &[u8]) {
    let text = as_text(input);
    match CHECKER.check(&text, NOW) {
        Err(why) => says_why(&why, input),
        Ok(holder) => assert!(holder.name == "ada" && *text == token_of(CLAIMS.as_bytes()), "{holder:?}"),
    }
}

/// Checks claims that the provider has signed, whatever they are.
fn claims(input: &[u8]) {
    match CHECKER.check(&token_of(input), NOW) {
        Err(why) => says_why(&why, input),
        Ok(holder) => assert!(holder.until > NOW && !holder.name.is_empty() && holder.groups.len() <= input.len()),
    }
}

fn encode(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}

fn token_of(claims: &[u8]) -> String {
    let message = format!("{}.{}", encode(HEADER.as_bytes()), encode(claims));
    let signature = encode(KEY.sign(message.as_bytes()).as_ref());
    format!("{message}.{signature}")
}

fn file() -> String {
    let x = encode(KEY.public_key().as_ref());
    format!(
        "{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"use\":\"sig\",\"alg\":\"EdDSA\",\"x\":\"{x}\"}}]}}"
    )
}

fn all_keys() -> Vec<Vec<u8>> {
    let (n, x) = (encode(&[0xC5; 256]), encode(&[7; 32]));
    let rsa = format!("{{\"keys\":[{{\"kty\":\"RSA\",\"kid\":\"r\",\"n\":\"{n}\",\"e\":\"AQAB\"}}]}}");
    let p256 = format!(
        "{{\"keys\":[{{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"key_ops\":[\"verify\"],\"x\":\"{x}\",\"y\":\"{x}\"}}]}}"
    );
    [file(), rsa, p256].map(String::into_bytes).to_vec()
}

fn tokens() -> Vec<Vec<u8>> {
    vec![token_of(CLAIMS.as_bytes()).into_bytes()]
}

fn all_claims() -> Vec<Vec<u8>> {
    vec![CLAIMS.as_bytes().to_vec()]
}
