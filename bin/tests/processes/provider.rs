//! Callers whom an OpenID Connect provider names: the test plays the provider, with keys of its own.

use crate::support::program::{coordinator, participant, run};
#[cfg(feature = "oidc")]
use crate::{
    secured::{TRANSFER, hang_up, logged},
    support::{banks, cli::undoubt_as, start},
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::path::Path;
#[cfg(feature = "oidc")]
use undoubt::{
    cluster::{Plan, Who},
    credentials::Credentials,
};
#[cfg(feature = "oidc")]
use undoubt_platform::{Clock as _, SystemClock};

const ISSUER: &str = "https://login.shop.example";

/// A key of the provider.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn draw(id: &'static str) -> Key {
        let (way, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let drawn = EcdsaKeyPair::generate_pkcs8(way, &random).unwrap();
        Key { id, pair: EcdsaKeyPair::from_pkcs8(way, drawn.as_ref(), &random).unwrap() }
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
        json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "alg": "ES256", "x": x, "y": y })
    }

    /// Returns a token that ends so many seconds from now.
    #[cfg(feature = "oidc")]
    fn token(&self, sub: &str, groups: &[&str], seconds: i64) -> String {
        let now = i64::try_from(SystemClock.now().0 / 1_000_000).unwrap();
        let claims = json!({ "iss": ISSUER, "aud": ["undoubt"], "sub": sub, "groups": groups, "exp": now + seconds });
        let header = json!({ "alg": "ES256", "kid": self.id, "typ": "at+jwt" }).to_string();
        let message = [header, claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn write_keys(file: &Path, keys: &[&Key]) {
    let all: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    std::fs::write(file, json!({ "keys": all }).to_string()).unwrap();
}

fn settings(keys: &Path) -> Vec<String> {
    vec![
        format!("access.oidc.issuer={ISSUER}"),
        "access.oidc.audience=undoubt".to_owned(),
        format!("access.oidc.keys={}", keys.display()),
        "access.oidc.groups=[{ group = \"shop\", roles = [\"submit\"] }]".to_owned(),
    ]
}

#[cfg(feature = "oidc")]
#[tokio::test]
async fn a_token_of_the_provider_lets_in_its_holder_with_the_roles_of_its_groups_until_its_key_is_taken_out() {
    let provider = tempfile::tempdir().unwrap();
    let (keys, file) = (provider.path().join("jwks.json"), provider.path().join("token"));
    let (first, second) = (Key::draw("first"), Key::draw("second"));
    write_keys(&keys, &[&first]);
    let mut settings = settings(&keys);
    settings.push("tls.client_certificates=optional".to_owned());
    let cluster = start(Plan { secured: true, coordinator_settings: settings, ..banks() }).await;
    let holder = Credentials { cert: None, key: None, token_file: Some(file.clone()), ..cluster.credentials() };
    let show = |token: &str| std::fs::write(&file, token).unwrap();

    let bob = first.token("auth0|bob", &["shop"], 3_600);
    show(&bob);
    undoubt_as(&cluster, &holder, &TRANSFER).await.expect(0, &["committed"]);
    undoubt_as(&cluster, &holder, &["list"]).await.expect(7, &["auth0|bob may not", "read or operate"]);
    undoubt_as(&cluster, &cluster.credentials(), &["audit"]).await.expect(0, &["auth0|bob"]);

    show(&first.token("auth0|bob", &["shop"], -3_600));
    undoubt_as(&cluster, &holder, &TRANSFER).await.expect(7, &["expired at"]);
    show(&first.token("auth0|eve", &[], 3_600));
    undoubt_as(&cluster, &holder, &TRANSFER).await.expect(7, &["auth0|eve may not", "submit"]);
    let forged = Key::draw("first").token("auth0|bob", &["shop"], 3_600);
    show(&forged);
    let refused = undoubt_as(&cluster, &holder, &TRANSFER).await.expect(7, &["signature"]);
    assert!(!format!("{refused:?}").contains(&forged), "{refused:?}");

    // An identity that has the subject gives its own roles and its name.
    let identities = cluster.folder().join("certs/identities.toml");
    let known = std::fs::read_to_string(&identities).unwrap();
    let entry = "[[identity]]\nname = \"bob\"\nroles = [\"read\"]\nsubjects = [\"auth0|bob\"]\n";
    std::fs::write(&identities, format!("{known}{entry}")).unwrap();
    hang_up(&cluster, Who::Coordinator);
    logged(&cluster, Who::Coordinator, "new identities hold").await;
    show(&bob);
    undoubt_as(&cluster, &holder, &["list"]).await.expect(0, &[]);
    undoubt_as(&cluster, &holder, &TRANSFER).await.expect(7, &["bob may not", "submit"]);

    // A file that cannot be used changes nothing.
    std::fs::write(&keys, "{}").unwrap();
    hang_up(&cluster, Who::Coordinator);
    logged(&cluster, Who::Coordinator, "new keys of the identity provider cannot be used and are kept out").await;
    undoubt_as(&cluster, &holder, &["list"]).await.expect(0, &[]);

    let next = second.token("auth0|bob", &[], 3_600);
    show(&next);
    undoubt_as(&cluster, &holder, &["list"]).await.expect(7, &["second", "jwks_uri", "SIGHUP"]);
    write_keys(&keys, &[&second]);
    hang_up(&cluster, Who::Coordinator);
    logged(&cluster, Who::Coordinator, "new keys of the identity provider hold").await;
    undoubt_as(&cluster, &holder, &["list"]).await.expect(0, &[]);
    show(&bob);
    undoubt_as(&cluster, &holder, &["list"]).await.expect(7, &["first", "jwks_uri"]);
    let log = cluster.log_tail(Who::Coordinator, 10_000);
    assert!([bob, forged, next].iter().all(|token| !log.contains(token)), "a token is in the log");
}

#[cfg(feature = "oidc")]
#[tokio::test]
async fn a_provider_of_which_not_all_is_said_or_whose_keys_cannot_be_used_lets_no_server_start() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks.json");
    let without = |name: &str| settings(&keys).into_iter().filter(|given| !given.contains(name)).collect::<Vec<_>>();
    let secret = json!({ "keys": [{ "kty": "oct", "kid": "s", "k": "c2VjcmV0" }] }).to_string();
    let good = json!({ "keys": [Key::draw("k").jwk()] }).to_string();
    for (settings, text, says) in [
        (without("audience"), good.as_str(), "access.oidc.audience is empty"),
        (without("oidc.keys"), good.as_str(), "access.oidc.keys is empty"),
        (settings(&keys), "[]", "no JWKS"),
        (settings(&keys), secret.as_str(), "\"s\" is secret"),
    ] {
        std::fs::write(&keys, text).unwrap();
        refused_by_both(folder.path(), &settings, &[says]).await;
    }
    std::fs::remove_file(&keys).unwrap();
    refused_by_both(folder.path(), &settings(&keys), &["access.oidc.keys", "cannot be read"]).await;
}

#[cfg(not(feature = "oidc"))]
#[tokio::test]
async fn a_server_that_was_built_without_tokens_of_providers_does_not_start_with_one_and_says_how_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks.json");
    write_keys(&keys, &[&Key::draw("k")]);
    refused_by_both(folder.path(), &settings(&keys), &["--features oidc"]).await;
}

/// Has both servers refuse these settings at their start.
async fn refused_by_both(folder: &Path, settings: &[String], words: &[&str]) {
    let data = folder.join("data").display().to_string();
    let mut arguments = vec!["--listen", "127.0.0.1:0", "--data-dir", &data];
    arguments.extend(settings.iter().flat_map(|given| ["--set", given.as_str()]));
    for server in [coordinator as fn(&[&str]) -> tokio::process::Command, participant] {
        let ended = run(server(&arguments)).await;
        ended.refused_with(words);
        assert_eq!(ended.code, Some(2), "{ended:?}");
    }
}
