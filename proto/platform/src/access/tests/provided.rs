//! Callers whom an identity provider names, by tokens that are really signed.

use super::{DRAIN, SUBMIT, headers, identities};
use crate::access::{
    Access, AccessConfig, BadOidc, Grant, Holder, Identities, OidcConfig, Provider, Refused, Role, Roles,
};
use crate::clock::{Clock, Timestamp};
use crate::server::Peer;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tonic::Code;
use undoubt_oidc::{Checker, Expected, Keys};

const READ: &str = "/undoubt.v1.Coordinator/Get";

/// A clock that a test sets.
#[derive(Clone, Default)]
struct Set(Arc<AtomicU64>);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed) * 1_000_000)
    }
}

/// A provider that a test plays, and a server that takes its tokens.
struct World {
    access: Access,
    clock: Set,
    key: Ed25519KeyPair,
    verified: Arc<AtomicUsize>,
}

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

impl World {
    fn new(access: Access) -> World {
        let world = World { access, clock: Set::default(), key: key(1), verified: Arc::default() };
        world.clock.0.store(1_000, Ordering::Relaxed);
        world.trust(&world.key);
        world
    }

    fn trust(&self, key: &Ed25519KeyPair) {
        let x = URL_SAFE_NO_PAD.encode(key.public_key());
        let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] });
        let text = str::to_owned;
        let (claim, groups_claim) = (text("sub"), Some(text("groups")));
        let expected =
            Expected { issuer: text("https://login.example"), audience: text("undoubt"), claim, groups_claim };
        let (checker, verified) =
            (Checker::new(expected, Keys::parse(&jwks.to_string()).unwrap()), self.verified.clone());
        let grants = [
            Grant { group: text("shop"), roles: vec![Role::Submit] },
            Grant { group: text("on call"), roles: vec![Role::Read, Role::Operate] },
        ];
        let verify = move |token: &str, now| {
            verified.fetch_add(1, Ordering::Relaxed);
            let undoubt_oidc::Holder { name, groups, until } =
                checker.check(token, now).map_err(|why| why.to_string())?;
            Ok(Holder { name: name.into(), groups, until })
        };
        self.access.trust(Provider::new(Arc::new(self.clock.clone()), &grants, Box::new(verify)));
    }

    fn token(&self, sub: &str, groups: &Value) -> String {
        let claims =
            json!({ "iss": "https://login.example", "aud": "undoubt", "exp": 2_000, "sub": sub, "groups": groups });
        let header = json!({ "alg": "EdDSA", "kid": "k" }).to_string();
        let message = [header, claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes())))
    }

    fn admit(&self, path: &str, token: &str) -> Result<(String, Roles), Refused> {
        let bearer = headers(&[("authorization", &format!("Bearer {token}"))]);
        let caller = self.access.admit(path, &bearer, &Peer::default())?;
        Ok((caller.name.unwrap_or_default().to_string(), caller.roles))
    }
}

fn roles(roles: &[Role]) -> Roles {
    roles.iter().copied().collect()
}

#[test]
fn a_signed_token_tells_who_asks_and_its_groups_what_the_holder_may() {
    let world = World::new(Access::new(Identities::default(), Roles::NONE));
    let both = world.token("auth0|7", &json!(["shop", "on call", "unheard of"]));
    let all_of_both = roles(&[Role::Submit, Role::Read, Role::Operate]);
    assert_eq!(world.admit(DRAIN, &both), Ok(("auth0|7".to_owned(), all_of_both)));
    let refused = world.admit(DRAIN, &world.token("bob", &json!(["shop"]))).unwrap_err();
    assert_eq!(refused, Refused::Role { who: "bob".into(), needs: "operate".into(), has: roles(&[Role::Submit]) });
    let nothing = world.admit(SUBMIT, &world.token("eve", &json!([]))).unwrap_err();
    assert_eq!(nothing.status().code(), Code::PermissionDenied);
}

#[test]
fn an_identity_with_the_subject_gives_its_own_name_and_roles_and_no_others() {
    let file = "[[identity]]\nname = \"ada\"\nroles = [\"read\"]\nsubjects = [\"auth0|7\", \"Ada Ü\"]\n";
    let world = World::new(Access::new(Identities::parse(file).unwrap(), Roles::NONE));
    for subject in ["auth0|7", "Ada Ü"] {
        let token = world.token(subject, &json!(["shop"]));
        assert_eq!(world.admit(READ, &token), Ok(("ada".to_owned(), roles(&[Role::Read]))));
        assert!(matches!(world.admit(SUBMIT, &token), Err(Refused::Role { .. })));
    }
}

#[test]
fn a_holder_is_not_let_in_under_the_name_of_another_identity_or_one_that_no_record_takes() {
    let world = World::new(Access::new(identities("t"), Roles::ALL));
    let refused = world.admit(SUBMIT, &world.token("ada", &json!(["shop"]))).unwrap_err();
    assert_eq!((&refused, refused.status().code()), (&Refused::NameTaken("ada".to_owned()), Code::Unauthenticated));
    for name in ["Ada-Ü", "bob (through ada)", &"a".repeat(129)] {
        let refused = world.admit(SUBMIT, &world.token(name, &json!(["shop"]))).unwrap_err();
        assert!(refused.to_string().contains("subjects") && refused.is_about_who(), "{refused}");
    }
}

#[test]
fn tokens_that_are_kept_as_hashes_hold_beside_signed_ones() {
    let world = World::new(Access::new(identities("undoubt_1"), Roles::NONE));
    assert_eq!(world.admit(DRAIN, "undoubt_1").unwrap().0, "ada");
    assert_eq!(world.admit(DRAIN, "undoubt_2"), Err(Refused::UnknownToken));
    assert_eq!(world.verified.load(Ordering::Relaxed), 0);
    let without = Access::new(Identities::default(), Roles::NONE);
    let bearer = headers(&[("authorization", &format!("Bearer {}", world.token("bob", &json!(["shop"]))))]);
    let refused = without.admit(SUBMIT, &bearer, &Peer::default()).unwrap_err();
    assert!(refused.to_string().contains("access.oidc") && refused.is_about_who(), "{refused}");
}

#[test]
fn a_refusal_says_why_and_does_not_repeat_the_token() {
    let world = World::new(Access::new(Identities::default(), Roles::ALL));
    let good = world.token("bob", &json!(["shop"]));
    let bad = format!("{}AAAA", &good[..good.len() - 4]);
    let refused = world.admit(SUBMIT, &bad).unwrap_err();
    assert_eq!(refused.status().code(), Code::Unauthenticated);
    assert!(refused.to_string().contains("signature") && !refused.to_string().contains(&bad[..20]), "{refused}");
    // Nor is it taken for one without identity, that may do everything here.
    assert!(matches!(world.admit(SUBMIT, "a.b.c"), Err(Refused::SignedToken(_))));
    let shown = format!("{:?}", world.access);
    assert!(!shown.contains("bob"), "{shown}");
}

#[test]
fn a_token_is_verified_once_until_it_expires_or_other_keys_hold() {
    let world = World::new(Access::new(Identities::default(), Roles::NONE));
    let token = world.token("bob", &json!(["shop"]));
    for _ in 0..5 {
        assert_eq!(world.admit(SUBMIT, &token).unwrap().0, "bob");
    }
    assert_eq!(world.verified.load(Ordering::Relaxed), 1);
    // What is refused is not remembered.
    for _ in 0..2 {
        assert!(world.admit(SUBMIT, &token[..token.len() - 1]).is_err());
    }
    assert_eq!(world.verified.load(Ordering::Relaxed), 3);
    world.clock.0.store(2_060, Ordering::Relaxed);
    assert!(world.admit(SUBMIT, &token).unwrap_err().to_string().contains("expired"));

    world.clock.0.store(1_000, Ordering::Relaxed);
    assert!(world.admit(SUBMIT, &token).is_ok());
    world.trust(&key(2));
    assert!(world.admit(SUBMIT, &token).unwrap_err().to_string().contains("signature"));
    world.trust(&world.key);
    world.access.replace(identities("t"));
    assert!(world.admit(SUBMIT, &token).is_ok(), "other identities leave the provider as it is");
}

#[test]
fn whoever_names_a_provider_asks_all_callers_who_they_are() {
    let nobody = AccessConfig::default();
    assert!(!nobody.asks_who() && nobody.anonymous() == Roles::ALL);
    let oidc = OidcConfig { issuer: "x".into(), audience: "y".into(), keys: "z".into(), ..OidcConfig::default() };
    let asks = AccessConfig { oidc: oidc.clone(), ..AccessConfig::default() };
    assert!(asks.asks_who() && asks.anonymous() == Roles::NONE);
    assert_eq!(oidc.provider(), Ok(Some(&oidc)));
    assert_eq!(OidcConfig::default().provider(), Ok(None));
}

#[test]
fn half_of_the_settings_of_a_provider_is_refused_by_name() {
    let good = OidcConfig { issuer: "x".into(), audience: "y".into(), keys: "z".into(), ..OidcConfig::default() };
    let grant = |group: &str, roles: &[Role]| Grant { group: group.to_owned(), roles: roles.to_vec() };
    let change = |change: fn(&mut OidcConfig)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed
    };
    let twice = vec![grant("a", &[Role::Read]), grant("a", &[Role::Submit])];
    for (config, why) in [
        (change(|config| config.issuer.clear()), BadOidc::Missing("issuer")),
        (change(|config| config.audience.clear()), BadOidc::Missing("audience")),
        (change(|config| config.keys = "".into()), BadOidc::Missing("keys")),
        (change(|config| config.claim.clear()), BadOidc::NoClaim("claim")),
        (change(|config| config.groups_claim.clear()), BadOidc::NoClaim("groups_claim")),
        (OidcConfig { groups: vec![grant("a", &[Role::Read])], ..OidcConfig::default() }, BadOidc::Missing("issuer")),
        (OidcConfig { groups: vec![grant("a", &[])], ..good.clone() }, BadOidc::NoRoles("a".to_owned())),
        (OidcConfig { groups: twice, ..good.clone() }, BadOidc::Twice("a".to_owned())),
        (OidcConfig { groups: vec![grant("a", &[Role::Read]); 1_001], ..good.clone() }, BadOidc::TooMany(1_001)),
    ] {
        assert_eq!(config.provider(), Err(why));
    }
}
