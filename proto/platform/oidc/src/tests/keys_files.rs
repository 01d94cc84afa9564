//! Files of keys.

use super::*;
use crate::BadKeys;
use proptest::prelude::*;

fn file(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn with(jwk: &Value, member: &str, value: Value) -> Value {
    let mut jwk = jwk.clone();
    jwk[member] = value;
    jwk
}

#[test]
fn keys_that_cannot_be_used_are_left_out_and_counted() {
    let pair = Pair::draw(Algorithm::Es256, "k1");
    let jwk = pair.jwk();
    let rsa = Pair::draw(Algorithm::Rs256, "r").jwk();
    let keys = Keys::parse(&file(&[
        jwk.clone(),
        with(&jwk, "use", json!("enc")),
        with(&jwk, "key_ops", json!(["encrypt"])),
        with(&jwk, "crv", json!("P-384")),
        with(&jwk, "kty", json!("XYZ")),
        with(&jwk, "kid", json!(null)),
        with(&jwk, "alg", json!("ES384")),
        with(&rsa, "alg", json!("RS512")),
        with(&rsa, "alg", json!("HS256")),
    ]));
    let keys = keys.unwrap();
    assert_eq!((keys.count(), keys.left_out()), (1, 8));
    assert!(Checker::new(expected(), keys).check(&pair.token(&claims()), NOW).is_ok());
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_what_to_do() {
    let [rsa, p256, ed] = Algorithm::ALL.map(|algorithm| Pair::draw(algorithm, algorithm.name()).jwk());
    let many: Vec<Value> = (0..101).map(|number| with(&ed, "kid", json!(number.to_string()))).collect();
    let secret = json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" });
    for (text, says) in [
        (String::new(), "no JWKS"),
        ("[]".to_owned(), "no JWKS"),
        ("{}".to_owned(), "no list `keys`"),
        ("{\"keys\": {}}".to_owned(), "no list `keys`"),
        (format!("{{\"keys\": [{ed}], \"keys\": []}}"), "twice"),
        (" ".repeat(300_000), "300000 bytes"),
        (file(&[]), "none of its 0 keys"),
        (file(&[json!(5), json!("x")]), "none of its 2 keys"),
        (file(&many), "101 keys"),
        (file(&[ed.clone(), with(&rsa, "kid", json!("EdDSA"))]), "\"EdDSA\" stands there twice"),
        (file(&[ed.clone(), secret]), "\"s\" is secret"),
        (file(&[with(&p256, "d", json!("AAAA"))]), "\"ES256\" is secret"),
        (file(&[with(&ed, "x", json!("AAAA"))]), "32 bytes"),
        (file(&[with(&p256, "y", json!(null))]), "missing"),
        (file(&[with(&p256, "y", json!("+/=="))]), "base64url"),
        (file(&[with(&rsa, "n", json!(encode([1; 255])))]), "256 to 1,024"),
        (file(&[with(&rsa, "n", json!(encode([1; 1_025])))]), "256 to 1,024"),
        (file(&[with(&rsa, "e", json!("AQ"))]), "exponent"),
        (file(&[with(&rsa, "e", json!("AAA"))]), "exponent"),
        (file(&[with(&rsa, "e", json!("AQAAAAAB"))]), "exponent"),
    ] {
        let refused = Keys::parse(&text).unwrap_err().to_string();
        assert!(refused.contains(says) && refused.contains(';') && !refused.contains("c2VjcmV0"), "{refused}");
    }
}

#[test]
fn zeros_before_the_modulus_of_a_key_change_nothing() {
    let pair = Pair::draw(Algorithm::Rs256, "k1");
    let jwk = pair.jwk();
    let padded = [vec![0], URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap()].concat();
    let keys = Keys::parse(&file(&[with(&jwk, "n", json!(encode(padded)))])).unwrap();
    assert!(Checker::new(expected(), keys).check(&pair.token(&claims()), NOW).is_ok());
}

#[test]
fn a_point_that_is_on_no_curve_verifies_nothing() {
    let pair = Pair::draw(Algorithm::Es256, "k1");
    let off = with(&pair.jwk(), "y", json!(encode([1; 32])));
    let checker = Checker::new(expected(), Keys::parse(&file(&[off])).unwrap());
    assert!(checker.check(&pair.token(&claims()), NOW).is_err());
    assert_eq!(Keys::parse("{}").unwrap_err(), BadKeys::Form("there is no list `keys`".to_owned()));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,300}") {
        prop_assert!(Keys::parse(&text).is_err());
    }

    #[test]
    fn no_members_of_a_key_make_it_panic(
        kty in prop_oneof![Just("RSA"), Just("EC"), Just("OKP")], numbers in prop::collection::vec("[A-Za-z0-9_-]{0,60}", 5)
    ) {
        let [n, e, x, y, kid] = [0, 1, 2, 3, 4].map(|place: usize| numbers[place].clone());
        let crv = if kty == "EC" { "P-256" } else { "Ed25519" };
        let jwk = json!({ "kty": kty, "crv": crv, "kid": kid, "n": n, "e": e, "x": x, "y": y });
        if let Ok(keys) = Keys::parse(&file(&[jwk])) {
            prop_assert_eq!(keys.count(), 1);
            let pair = Pair::draw(if kty == "EC" { Algorithm::Es256 } else { Algorithm::EdDsa }, &kid);
            prop_assert!(Checker::new(expected(), keys).check(&pair.token(&claims()), NOW).is_err());
        }
    }
}
