//! Texts that are no token at all.

use super::*;
use crate::Refused;
use crate::token::MAX_TOKEN_BYTES;
use proptest::prelude::*;
use std::sync::LazyLock;

static PAIR: LazyLock<Pair> = LazyLock::new(|| Pair::draw(Algorithm::EdDsa, "k1"));
static CHECKER: LazyLock<Checker> = LazyLock::new(|| checker(&[&PAIR]));

fn check(token: &str) -> Result<String, Refused> {
    CHECKER.check(token, NOW).map(|holder| holder.name)
}

#[test]
fn a_token_that_is_too_large_is_refused_before_it_is_read() {
    let sized = |filling: usize| PAIR.token(&but(json!({ "filling": "x".repeat(filling) })));
    let most = (0..MAX_TOKEN_BYTES).rev().map(sized).find(|token| token.len() <= MAX_TOKEN_BYTES).unwrap();
    assert_eq!(check(&most), Ok("ada".to_owned()));
    let too_large = "x".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(check(&too_large), Err(Refused::TooLarge(MAX_TOKEN_BYTES + 1)));
}

#[test]
fn garbage_is_refused_with_words() {
    let good = PAIR.token(&claims());
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let garbage = [
        String::new(),
        "undoubt_0000".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b".to_owned(),
        "....".to_owned(),
        format!("{good}.{good}"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        PAIR.token_of("[]", "{}"),
        PAIR.token_of("{\"alg\": 5}", "{}"),
        PAIR.token_of(&deep, "{}"),
        PAIR.token_of("{\"alg\":\"EdDSA\",\"kid\":\"k1\"", &claims().to_string()),
        PAIR.token_of("{\"alg\":\"EdDSA\",\"kid\":\"k1\"}", "7"),
        PAIR.token_of("{\"alg\":\"EdDSA\",\"kid\":\"k1\"}", "{}{}"),
    ];
    for token in garbage {
        let refused = check(&token).unwrap_err();
        assert!(matches!(refused, Refused::Form(_)), "{token:?}: {refused}");
    }
}

#[test]
fn what_stands_twice_is_refused_in_header_and_claims_and_below() {
    let (header, claims) = ("{\"alg\":\"EdDSA\",\"kid\":\"k1\"", claims().to_string());
    let twice = [
        PAIR.token_of(&format!("{header},\"alg\":\"EdDSA\"}}"), &claims),
        PAIR.token_of(&format!("{header}}}"), &claims.replacen('{', "{\"sub\":\"root\",", 1)),
        PAIR.token_of(&format!("{header}}}"), &claims.replacen('{', "{\"x\":{\"y\":1,\"y\":2},", 1)),
    ];
    for token in twice {
        let refused = check(&token).unwrap_err();
        assert!(refused.to_string().contains("twice"), "{refused}");
    }
}

#[test]
fn a_refusal_shows_the_beginning_of_what_somebody_else_has_written() {
    let long = "k".repeat(4_000);
    let refused = check(&PAIR.token_with(&json!({ "alg": "EdDSA", "kid": long }), &claims())).unwrap_err().to_string();
    assert!(refused.len() < 500, "{refused}");
    let control = check(&PAIR.token_with(&json!({ "alg": "EdDSA", "kid": "\u{1b}[2J" }), &claims())).unwrap_err();
    assert!(!control.to_string().contains('\u{1b}'), "{control}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_is_taken(text in ".{0,200}") {
        prop_assert!(check(&text).is_err());
    }

    #[test]
    fn no_bytes_in_the_place_of_a_part_make_it_panic_or_are_taken(
        part in prop::collection::vec(any::<u8>(), 0..200), place in 0_usize..3
    ) {
        let good = PAIR.token(&claims());
        let mut parts: Vec<String> = good.split('.').map(str::to_owned).collect();
        parts[place] = encode(part);
        let changed = parts.join(".");
        prop_assert!(changed == good || check(&changed).is_err());
    }

    #[test]
    fn no_bytes_that_are_signed_make_it_panic(claims in prop::collection::vec(any::<u8>(), 0..200)) {
        let _refused_or_not = check(&PAIR.token_of("{\"alg\":\"EdDSA\",\"kid\":\"k1\"}", &String::from_utf8_lossy(&claims)));
    }

    #[test]
    fn a_token_of_which_one_letter_was_changed_is_refused(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_.-]") {
        let good = PAIR.token(&claims());
        let at = at.index(good.len());
        let changed = [&good[..at], &with, &good[at + 1..]].concat();
        prop_assert!(changed == good || check(&changed).is_err());
    }
}
