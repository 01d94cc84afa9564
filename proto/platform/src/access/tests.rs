mod provided;

use super::methods::METHODS;
use super::*;
use crate::random::SeededRandom;
use crate::server::Peer;
use http::{HeaderMap, HeaderValue};
use prost::Message as _;
use std::collections::BTreeSet;
use tonic::Code;

const SUBMIT: &str = "/undoubt.v1.Coordinator/Submit";
const DRAIN: &str = "/undoubt.v1.Operator/Drain";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

fn identities(token: &str) -> Identities {
    let hash = TokenHash::of(token);
    let text = format!(
        "[[identity]]\nname = \"orders\"\nroles = [\"submit\"]\ncertificates = [\"Orders.example\", \"spiffe://shop/orders\"]\n\
         [[identity]]\nname = \"ada\"\nroles = [\"operate\", \"delegate\"]\ntokens = [\"{hash}\"]\n"
    );
    Identities::parse(&text).unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| ((*name).try_into().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}

fn with_names(names: &[&str]) -> Peer {
    Peer { names: names.iter().map(ToString::to_string).collect(), ..Peer::default() }
}

#[test]
fn every_method_that_there_is_has_its_roles_and_no_other_does() {
    let sets = [undoubt_proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
    let files = sets.into_iter().flat_map(|set| prost_types::FileDescriptorSet::decode(set).unwrap().file);
    let at_the_port_for_figures = ["/metrics", "/healthz", "/readyz"].map(str::to_owned);
    let there_are: BTreeSet<String> = files
        .flat_map(|file| {
            let package = file.package().to_owned();
            file.service.into_iter().flat_map(move |service| {
                let of = format!("/{package}.{}", service.name());
                service.method.into_iter().map(move |method| format!("{of}/{}", method.name())).collect::<Vec<_>>()
            })
        })
        .chain(at_the_port_for_figures)
        .collect();
    let listed: BTreeSet<String> = METHODS.iter().map(|(path, ..)| (*path).to_owned()).collect();
    assert_eq!(listed, there_are);
    assert_eq!(METHODS.len(), listed.len(), "a method stands there twice");
    assert!(METHODS.iter().all(|(path, _, word)| action(path) == *word && !word.contains(char::is_uppercase)));
}

#[test]
fn a_method_that_is_not_known_is_open_to_nobody_that_is_not() {
    assert_eq!(needed("/undoubt.v1.Operator/NewOne"), Needed::OneOf(&Role::ALL));
    let access = Access::new(Identities::default(), Roles::NONE);
    assert!(access.admit("/undoubt.v1.Operator/NewOne", &HeaderMap::new(), &Peer::default()).is_err());
}

#[test]
fn a_token_or_a_certificate_tells_who_asks_and_its_roles_what_it_may() {
    let token = new_token(&SeededRandom::new(1));
    let access = Access::new(identities(&token), Roles::NONE);
    let bearer = headers(&[("authorization", &format!("Bearer {token}"))]);
    let ada = access.admit(DRAIN, &bearer, &Peer::default()).unwrap();
    assert_eq!(ada.name.as_deref(), Some("ada"));
    let refused = access.admit(SUBMIT, &bearer, &Peer::default()).unwrap_err();
    assert_eq!(refused.status().code(), Code::PermissionDenied);
    assert!(refused.to_string().contains("ada may not") && refused.to_string().contains("submit"), "{refused}");
    for name in ["orders.EXAMPLE", "spiffe://shop/orders"] {
        let orders = access.admit(SUBMIT, &HeaderMap::new(), &with_names(&["unknown.example", name])).unwrap();
        assert_eq!(orders.name.as_deref(), Some("orders"));
    }
    assert!(access.admit(DRAIN, &HeaderMap::new(), &with_names(&["orders.example"])).is_err());
}

#[test]
fn whoever_is_unknown_hears_what_to_do_and_may_ask_for_health_only() {
    let access = Access::new(identities("t"), Roles::NONE);
    let wrong = headers(&[("authorization", "Bearer undoubt_0000")]);
    let form = headers(&[("authorization", "Basic YTpi")]);
    for (headers, peer, says) in [
        (HeaderMap::new(), Peer::default(), "--token-file"),
        (HeaderMap::new(), with_names(&["stranger.example"]), "stranger.example"),
        (wrong.clone(), with_names(&["orders.example"]), "withdrawn"),
        (form, Peer::default(), "Bearer TOKEN"),
    ] {
        let refused = access.admit(SUBMIT, &headers, &peer).unwrap_err();
        assert_eq!(refused.status().code(), Code::Unauthenticated);
        assert!(refused.to_string().contains(says) && !refused.to_string().contains("0000"), "{refused}");
    }
    let anybody = access.admit(HEALTH, &wrong, &Peer::default()).unwrap();
    assert!(anybody.roles.is_empty());
}

#[test]
fn only_a_gateway_asks_on_anothers_behalf() {
    let access = Access::new(identities("t"), Roles::ALL);
    let through = headers(&[("authorization", "Bearer t"), (ON_BEHALF_OF, "bob@shop.example")]);
    let bob = access.admit(DRAIN, &through, &Peer::default()).unwrap();
    assert_eq!((bob.name.as_deref(), bob.through.as_deref()), (Some("bob@shop.example"), Some("ada")));
    let refused =
        access.admit(SUBMIT, &headers(&[(ON_BEHALF_OF, "bob")]), &with_names(&["orders.example"])).unwrap_err();
    assert_eq!(refused.status().code(), Code::PermissionDenied);
    let nameless = headers(&[("authorization", "Bearer t"), (ON_BEHALF_OF, "")]);
    assert_eq!(access.admit(DRAIN, &nameless, &Peer::default()).unwrap_err().status().code(), Code::InvalidArgument);
}

#[test]
fn whom_a_gateway_asks_for_has_the_roles_that_it_says_and_never_more_than_its_own() {
    let text = "[[identity]]\nname = \"gate\"\nroles = [\"delegate\", \"submit\", \"read\"]\ntokens = [\"HASH\"]\n";
    let known = Identities::parse(&text.replace("HASH", &TokenHash::of("t").to_string())).unwrap();
    let access = Access::new(known, Roles::NONE);
    let asks = |path, given: &[(&'static str, &str)]| {
        let given = [&[("authorization", "Bearer t")], given].concat();
        access.admit(path, &headers(&given), &Peer::default())
    };
    let bob =
        asks(SUBMIT, &[(ON_BEHALF_OF, "bob"), (ON_BEHALF_ROLES, "submit, operate"), (ON_BEHALF_ADDRESS, "10.0.0.7")]);
    let bob = bob.unwrap();
    assert_eq!((bob.name.as_deref(), bob.through.as_deref()), (Some("bob"), Some("gate")));
    assert_eq!(
        (bob.roles.to_string().as_str(), bob.address.unwrap().ip().to_string().as_str()),
        ("submit", "10.0.0.7")
    );
    let nobody = asks(SUBMIT, &[(ON_BEHALF_ROLES, "submit")]).unwrap();
    assert_eq!((nobody.name, nobody.through.as_deref()), (None, Some("gate")));
    for (given, code) in [
        (&[(ON_BEHALF_OF, "bob"), (ON_BEHALF_ROLES, "read")][..], Code::PermissionDenied),
        (&[(ON_BEHALF_ROLES, "none")], Code::Unauthenticated),
        (&[(ON_BEHALF_ROLES, "rule")], Code::InvalidArgument),
        (&[(ON_BEHALF_OF, "bob"), (ON_BEHALF_ADDRESS, "here")], Code::InvalidArgument),
    ] {
        assert_eq!(asks(SUBMIT, given).unwrap_err().status().code(), code, "{given:?}");
    }
}

#[test]
fn another_part_of_the_process_may_do_everything_and_asks_for_others() {
    let access = Access::new(Identities::default(), Roles::NONE);
    let part = Peer { part: Some("gateway"), ..Peer::default() };
    assert!(access.admit(DRAIN, &headers(&[]), &part).is_ok());
    let refused = access.admit(DRAIN, &headers(&[(ON_BEHALF_OF, "bob"), (ON_BEHALF_ROLES, "read")]), &part);
    assert_eq!(refused.unwrap_err().who(), Some("bob"));
    assert!(access.admit(DRAIN, &headers(&[]), &Peer::default()).is_err());
}

#[test]
fn new_rules_hold_from_the_next_request_on() {
    let access = Access::new(identities("old"), Roles::NONE);
    let old = headers(&[("authorization", "Bearer old")]);
    assert!(access.admit(DRAIN, &old, &Peer::default()).is_ok());
    access.replace(identities("new"));
    assert_eq!(access.admit(DRAIN, &old, &Peer::default()).unwrap_err(), Refused::UnknownToken);
}

#[test]
fn what_cannot_be_meant_in_a_file_of_identities_is_refused_by_name() {
    let hash = TokenHash::of("t");
    let entry = |name: &str, rest: &str| format!("[[identity]]\nname = \"{name}\"\n{rest}\n");
    let good = entry("a", &format!("roles = [\"read\"]\ntokens = [\"{hash}\"]"));
    for (text, says) in [
        (entry("a", "roles = [\"rule\"]\ntokens = []"), "there is no role \"rule\""),
        (entry("a", "roles = []\ncertificates = [\"x\"]"), "no roles"),
        (entry("a", "roles = [\"read\"]"), "neither"),
        (
            format!(
                "{}{}",
                entry("a", "roles = [\"read\"]\nsubjects = [\"x\"]"),
                entry("b", "roles = [\"read\"]\nsubjects = [\"x\"]")
            ),
            "subject \"x\" belongs to \"a\" and to \"b\"",
        ),
        (entry("a b", "roles = [\"read\"]\ncertificates = [\"x\"]"), "a b"),
        (entry("a", "roles = [\"read\"]\ntokens = [\"undoubt_secret\"]"), "undoubt tokens new"),
        (format!("{good}{}", entry("b", &format!("roles = [\"read\"]\ntokens = [\"{hash}\"]"))), "\"a\" and to \"b\""),
        (format!("{good}{good}"), "twice"),
        (entry("a", "role = \"read\""), "role"),
    ] {
        let refused = Identities::parse(&text).unwrap_err().to_string();
        assert!(refused.contains(says) && !refused.contains("undoubt_secret"), "{refused}");
    }
    assert_eq!(Identities::parse(&good).unwrap().len(), 1);
    assert!(Identities::parse("").unwrap().is_empty());
}

#[test]
fn records_name_the_identity_and_keep_what_the_request_says_as_a_note() {
    let named = Caller { name: Some("ada".into()), ..Caller::default() };
    let signed = |caller: &Caller, who: &str| {
        let Signed { who, reason } = caller.sign(who.to_owned(), "lost".to_owned()).unwrap();
        (who, reason)
    };
    let pair = |who: &str, reason: &str| (who.to_owned(), reason.to_owned());
    assert_eq!(signed(&named, "bob"), pair("ada", "lost (as bob)"));
    assert_eq!(signed(&named, ""), pair("ada", "lost"));
    assert_eq!(signed(&Caller::default(), "bob"), pair("bob", "lost"));
    assert!(Caller::default().sign(String::new(), "lost".to_owned()).is_err());
    let through = Caller { through: Some("gateway".into()), ..named };
    assert_eq!(signed(&through, "ada").0, "ada (through gateway)");
}

#[test]
fn a_token_is_random_and_neither_it_nor_its_hash_is_shown_by_accident() {
    let random = SeededRandom::new(1);
    let (one, two) = (new_token(&random), new_token(&random));
    assert_ne!(one, two);
    assert_eq!(one.len(), "undoubt_".len() + 64);
    let access = Access::new(identities(&one), Roles::NONE);
    let shown = format!("{access:?} {:?} {:?}", identities(&one), TokenHash::of(&one));
    assert!(!shown.contains(&one[8..]) && !shown.contains(&TokenHash::of(&one).to_string()), "{shown}");
}
