//! Tokens that pass the check, and those that do not.

use super::*;
use crate::{Holder, LEEWAY, Refused};
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;

fn all() -> [Pair; 3] {
    Algorithm::ALL.map(|algorithm| Pair::draw(algorithm, &format!("key of {algorithm}")))
}

fn one() -> (Pair, Checker) {
    let pair = Pair::draw(Algorithm::EdDsa, "k1");
    let checker = checker(&[&pair]);
    (pair, checker)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

#[test]
fn a_token_by_each_algorithm_tells_its_holder_the_groups_and_until_when_it_holds() {
    let pairs = all();
    let checker = checker(&pairs.each_ref());
    for pair in &pairs {
        let holder = checker.check(&pair.token(&claims()), NOW).unwrap();
        let groups = vec!["operators".to_owned(), "shop".to_owned()];
        assert_eq!(holder, Holder { name: "ada".to_owned(), groups, until: at(NOW_S + 60).plus(LEEWAY) });
    }
}

#[test]
fn a_token_by_another_key_under_the_same_id_or_one_that_was_changed_is_refused() {
    for pair in all() {
        let checker = checker(&[&pair]);
        assert_eq!(checker.check(&pair.other().token(&claims()), NOW), Err(Refused::Signature(pair.id.clone())));
        let (token, greedy) = (pair.token(&claims()), encode(but(json!({ "sub": "root" })).to_string()));
        let parts: Vec<&str> = token.split('.').collect();
        let changed = [parts[0], &greedy, parts[2]].join(".");
        assert_eq!(checker.check(&changed, NOW), Err(Refused::Signature(pair.id.clone())));
        for signature in ["", "AAAA", &encode([0; 64]), &encode([0; 256])] {
            let changed = [parts[0], parts[1], signature].join(".");
            assert_eq!(checker.check(&changed, NOW), Err(Refused::Signature(pair.id.clone())));
        }
    }
}

#[test]
fn a_token_without_a_signature_is_refused_whatever_its_header_says() {
    let (pair, checker) = one();
    for name in ["none", "None", "NONE", ""] {
        let header = json!({ "alg": name, "kid": pair.id }).to_string();
        let unsigned = format!("{}.{}.", encode(&header), encode(claims().to_string()));
        assert_eq!(checker.check(&unsigned, NOW), Err(Refused::Algorithm(name.to_owned())));
        assert_eq!(checker.check(&pair.token_of(&header, &claims().to_string()), NOW).ok(), None);
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_shared_secret() {
    let pair = Pair::draw(Algorithm::Rs256, "k1");
    let checker = checker(&[&pair]);
    let jwk = pair.jwk();
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    // Whatever form of the public key somebody may take for the secret.
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&modulus));
    for secret in [modulus, jwk.to_string().into_bytes(), pem.into_bytes()] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
        for name in ["HS256", "RS256"] {
            let header = json!({ "alg": name, "kid": pair.id }).to_string();
            let message = format!("{}.{}", encode(header), encode(claims().to_string()));
            let token = format!("{message}.{}", encode(ring::hmac::sign(&key, message.as_bytes())));
            let why =
                if name == "HS256" { Refused::Algorithm(name.to_owned()) } else { Refused::Signature("k1".to_owned()) };
            assert_eq!(checker.check(&token, NOW), Err(why));
        }
    }
}

#[test]
fn the_algorithm_follows_from_the_key() {
    let pairs = all();
    let checker = checker(&pairs.each_ref());
    for (pair, other) in pairs.iter().zip(pairs.iter().cycle().skip(1)) {
        // Signed as its header says, by a key that is known under another id.
        let header = json!({ "alg": pair.algorithm().name(), "kid": other.id });
        let refused = checker.check(&pair.token_with(&header, &claims()), NOW).unwrap_err();
        let (by, given) = (other.algorithm(), pair.algorithm());
        assert_eq!(refused, Refused::OtherAlgorithm { key: other.id.clone(), by, given });
    }
}

#[test]
fn a_key_that_is_not_known_is_refused_with_what_to_do() {
    let (pair, checker) = one();
    let next = Pair::draw(Algorithm::EdDsa, "k2");
    let refused = checker.check(&next.token(&claims()), NOW).unwrap_err();
    assert_eq!(refused, Refused::UnknownKey("k2".to_owned()));
    let said = refused.to_string();
    assert!(["k2", "access.oidc.keys", "jwks_uri", "SIGHUP"].iter().all(|word| said.contains(word)), "{said}");
    assert_eq!(checker.check(&pair.token_with(&json!({ "alg": "EdDSA" }), &claims()), NOW), Err(Refused::NoKeyId));
    // A key that comes along in the token is not looked at.
    let with_key = json!({ "alg": "EdDSA", "kid": "k1", "jwk": next.jwk() });
    assert_eq!(checker.check(&next.token_with(&with_key, &claims()), NOW), Err(Refused::Signature("k1".to_owned())));
}

#[test]
fn a_token_holds_from_its_beginning_to_its_end_with_a_minute_to_spare() {
    let (pair, checker) = one();
    let (begins, ends, leeway) = (NOW_S, NOW_S + 60, LEEWAY.as_secs());
    let token = pair.token(&claims());
    let check = |now: u64| checker.check(&token, at(now)).map(|holder| holder.name);
    assert_eq!(check(begins - leeway - 1), Err(Refused::NotYet(at(begins))));
    for within in [begins - leeway, begins, ends, ends + leeway - 1] {
        assert_eq!(check(within), Ok("ada".to_owned()));
    }
    assert_eq!(check(ends + leeway), Err(Refused::Expired(at(ends))));
    assert_eq!(checker.check(&token, Timestamp(u64::MAX)), Err(Refused::Expired(at(ends))));
    // It may say no beginning, and parts of a second; but an end it says.
    assert!(checker.check(&pair.token(&but(json!({ "nbf": null }))), at(1)).is_ok());
    let parts = pair.token(&but(json!({ "exp": NOW_S as f64 + 0.5 })));
    assert_eq!(checker.check(&parts, NOW).unwrap().until, NOW.plus(LEEWAY + Duration::from_millis(500)));
    for (exp, why) in
        [(json!(null), "missing"), (json!("soon"), "no time"), (json!(-5), "no time"), (json!(1e300), "no time")]
    {
        let refused = checker.check(&pair.token(&but(json!({ "exp": exp }))), NOW).unwrap_err().to_string();
        assert!(refused.contains("\"exp\"") && refused.contains(why), "{refused}");
    }
    let for_ever = checker.check(&pair.token(&but(json!({ "exp": u64::MAX }))), NOW).unwrap();
    assert_eq!(for_ever.until, Timestamp(u64::MAX));
}

#[test]
fn a_token_is_of_this_issuer_and_for_this_audience_to_the_letter() {
    let (pair, checker) = one();
    let check = |changed| checker.check(&pair.token(&but(changed)), NOW);
    for iss in
        [json!("https://login.example/"), json!("HTTPS://login.example"), json!(["https://login.example"]), json!(null)]
    {
        assert!(matches!(check(json!({ "iss": iss })), Err(Refused::Issuer { .. })), "{iss}");
    }
    for aud in [
        json!("undoubt2"),
        json!("UNDOUBT"),
        json!(["shop"]),
        json!([["undoubt"]]),
        json!({ "undoubt": 1 }),
        json!(null),
    ] {
        assert_eq!(check(json!({ "aud": aud })), Err(Refused::Audience(AUDIENCE.to_owned())), "{aud}");
    }
    assert!(check(json!({ "aud": ["shop", "undoubt"] })).is_ok());
}

#[test]
fn what_a_provider_signs_for_other_purposes_is_no_token_of_a_caller() {
    let (pair, checker) = one();
    let check = |typ: Value| {
        checker.check(&pair.token_with(&json!({ "alg": "EdDSA", "kid": "k1", "typ": typ }), &claims()), NOW)
    };
    assert!(["JWT", "jwt", "at+jwt", "application/at+JWT"].into_iter().all(|typ| check(json!(typ)).is_ok()));
    assert_eq!(check(json!("logout+jwt")), Err(Refused::Type("logout+jwt".to_owned())));
    assert!(matches!(check(json!(5)), Err(Refused::Form(_))));
    let critical = json!({ "alg": "EdDSA", "kid": "k1", "crit": ["b64"], "b64": false });
    assert!(matches!(checker.check(&pair.token_with(&critical, &claims()), NOW), Err(Refused::Form(_))));
}

#[test]
fn the_holder_is_named_by_the_claim_that_is_set() {
    let pair = Pair::draw(Algorithm::EdDsa, "k1");
    let check = |claim: &str, changed: Value| {
        let expected = Expected { claim: claim.to_owned(), ..expected() };
        Checker::new(expected, Keys::parse(&jwks(&[&pair])).unwrap()).check(&pair.token(&but(changed)), NOW)
    };
    assert_eq!(check("email", json!({ "email": "ada@shop.example" })).unwrap().name, "ada@shop.example");
    let long = "a".repeat(256);
    for name in [json!(null), json!(7), json!(""), json!("a\nb"), json!(long), json!(["ada"])] {
        let refused = check("email", json!({ "email": name })).unwrap_err();
        assert!(matches!(&refused, Refused::Claim { claim, .. } if claim == "email"), "{refused}");
    }
}

#[test]
fn groups_are_a_list_a_text_or_the_words_of_a_scope_wherever_they_stand() {
    let pair = Pair::draw(Algorithm::EdDsa, "k1");
    let check = |claim: Option<&str>, changed: Value| {
        let expected = Expected { groups_claim: claim.map(str::to_owned), ..expected() };
        let checker = Checker::new(expected, Keys::parse(&jwks(&[&pair])).unwrap());
        checker.check(&pair.token(&but(changed)), NOW).map(|holder| holder.groups.join("|"))
    };
    let is = |groups: &str| Ok(groups.to_owned());
    assert_eq!(check(None, json!({})), is(""));
    assert_eq!(check(Some("groups"), json!({ "groups": null })), is(""));
    assert_eq!(check(Some("groups"), json!({ "groups": "on call" })), is("on call"));
    assert_eq!(check(Some("scope"), json!({ "scope": "submit read" })), is("submit|read"));
    assert_eq!(check(Some("https://shop.example/g"), json!({ "https://shop.example/g": ["a", "b"] })), is("a|b"));
    let nested = json!({ "realm_access": { "roles": ["a", "b"] } });
    assert_eq!(check(Some("/realm_access/roles"), nested.clone()), is("a|b"));
    assert_eq!(check(Some("realm_access.roles"), nested), is(""));
    for wrong in [json!(7), json!([7]), json!({ "operators": true })] {
        assert!(matches!(check(Some("groups"), json!({ "groups": wrong })), Err(Refused::Claim { .. })));
    }
}
