//! Files that a server reads at its start: settings, identities, keys, certificates.

use crate::work::as_text;
use crate::{Target, says_why};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::LazyLock;
use undoubt_coordinator::{CallbackSecret, Config as OfCoordinator};
use undoubt_participant::Config as OfParticipant;
use undoubt_platform::access::{Access, Identities, Role, TokenHash, new_token};
use undoubt_platform::server::Peer;
use undoubt_platform::{SecretKey, SeededRandom};
use undoubt_vocabulary::PublicKey;

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "coordinator-settings", decode: of_coordinator, growth: 4_096, seeds: coordinators },
    Target { name: "participant-settings", decode: of_participant, growth: 4_096, seeds: participants },
    Target { name: "identities", decode: identities, growth: 4_096, seeds: all_identities },
    Target { name: "authorization", decode: authorization, growth: 64, seeds: authorizations },
    Target { name: "key-file", decode: key_file, growth: 512, seeds: keys },
    Target { name: "certificates", decode: certificates, growth: 512, seeds: all_certificates },
    Target { name: "callback-secret", decode: callback_secret, growth: 64, seeds: secrets },
];

/// Reads settings, checks them, and has them written and read again. A file overrules the defaults.
fn settings<C>(input: &[u8], check: impl Fn(&C) -> Option<String>)
where
    C: Default + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let read = as_text(input).parse::<toml::Table>().and_then(|table| C::deserialize(toml::Value::Table(table)));
    let config = match read {
        Ok(config) => config,
        Err(why) => return says_why(&why, input),
    };
    if let Some(why) = check(&config) {
        assert!(!why.is_empty());
        says_why(&why, input);
    }
    // A number that no TOML has is refused by the check.
    if let Ok(written) = toml::to_string(&config) {
        let again: C = toml::from_str(&written).expect("what is written can be read");
        assert_eq!(again, config);
    }
}

fn of_coordinator(input: &[u8]) {
    settings::<OfCoordinator>(input, |config| config.check().err().map(|why| why.to_string()));
}

fn of_participant(input: &[u8]) {
    settings::<OfParticipant>(input, |config| config.check().err().map(|why| why.to_string()));
}

fn identities(input: &[u8]) {
    match Identities::parse(&as_text(input)) {
        Err(why) => says_why(&why, input),
        Ok(identities) => assert!(identities.len() <= input.len()),
    }
}

static GUARDED: LazyLock<Access> = LazyLock::new(|| {
    let identities = Identities::parse(&identity_file()).expect("it is whole");
    Access::new(identities, [Role::Read].into_iter().collect())
});

/// Looks at a request's headers: who asks, and on whose behalf. Each line is another header.
fn authorization(input: &[u8]) {
    let mut lines = input.splitn(4, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    let names =
        [AUTHORIZATION.as_str(), "undoubt-on-behalf-of", "undoubt-on-behalf-roles", "undoubt-on-behalf-address"];
    for (name, value) in names.into_iter().zip(&mut lines) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    for path in ["/undoubt.v1.Coordinator/Submit", "/undoubt.v1.Operator/Describe", "/grpc.health.v1.Health/Check"] {
        if let Err(why) = GUARDED.admit(path, &headers, &Peer::default()) {
            says_why(&why, input);
            says_why(&why.status().message(), input);
        }
    }
    if let Err(why) = TokenHash::parse(&as_text(input)) {
        says_why(&why, input);
    }
}

fn key_file(input: &[u8]) {
    match SecretKey::from_text(&as_text(input)) {
        Err(why) => says_why(&why, input),
        Ok(key) => {
            let again = SecretKey::from_text(&key.to_text()).expect("what is written can be read");
            assert_eq!((again.public(), again.successions()), (key.public(), key.successions()));
        }
    }
    if let Ok(key) = as_text(input).parse::<PublicKey>() {
        assert_eq!(key.to_string().parse::<PublicKey>().ok(), Some(key));
    }
}

fn certificates(input: &[u8]) {
    if let Err(why) = undoubt_tls::check_pem(input) {
        says_why(&why, input);
    }
}

fn callback_secret(input: &[u8]) {
    if let Err(why) = CallbackSecret::new(input) {
        says_why(&why, input);
    }
}

fn coordinators() -> Vec<Vec<u8>> {
    let participant = "\n[[participants]]\nname = \"bank-a\"\naddress = \"http://127.0.0.1:7501\"\n";
    let config = OfCoordinator::default();
    let whole = toml::to_string(&config).expect("the defaults are TOML").replace("participants = []\n", "");
    vec![
        [whole.as_str(), participant].concat().into_bytes(),
        b"name = \"c\"\nlisten = \"127.0.0.1:0\"\ntwo_phase_from_value = 7\n[tls]\nca = \"ca.pem\"\n".to_vec(),
        b"[access.oidc]\nissuer = \"https://login.example\"\naudience = \"undoubt\"\nkeys = \"jwks.json\"\n\
          groups = [{ group = \"ops\", roles = [\"read\"] }]\n"
            .to_vec(),
        b"[alarm]\nurl = \"http://127.0.0.1:80/alarm\"\n[access]\nanonymous = [\"read\"]\nidentities = \"i.toml\"\n"
            .to_vec(),
    ]
}

fn participants() -> Vec<Vec<u8>> {
    vec![toml::to_string(&OfParticipant::default()).expect("the defaults are TOML").into_bytes()]
}

fn token() -> String {
    new_token(&SeededRandom::new(1))
}

fn identity_file() -> String {
    format!(
        "[[identity]]\nname = \"shop\"\nroles = [\"submit\", \"delegate\"]\ntokens = [\"{}\"]\n\
         [[identity]]\nname = \"ada\"\nroles = [\"operate\", \"read\"]\ncertificates = [\"ada.example\", \"spiffe://x/ada\"]\n\
         subjects = [\"auth0|7\"]\n",
        TokenHash::of(&token())
    )
}

fn all_identities() -> Vec<Vec<u8>> {
    vec![identity_file().into_bytes()]
}

fn authorizations() -> Vec<Vec<u8>> {
    let bearer = format!("Bearer {}", token());
    vec![bearer.clone().into_bytes(), format!("{bearer}\ncustomer-7").into_bytes(), b"Basic YWRhOmFkYQ==".to_vec()]
}

fn keys() -> Vec<Vec<u8>> {
    let key = SecretKey::draw(&SeededRandom::new(1));
    let next = key.succeed(&SeededRandom::new(2));
    vec![key.to_text().into_bytes(), next.to_text().into_bytes(), key.public().to_string().into_bytes()]
}

fn all_certificates() -> Vec<Vec<u8>> {
    let made = crate::network::certificate();
    vec![made.certificate.clone().into_bytes(), made.key.clone().into_bytes()]
}

fn secrets() -> Vec<Vec<u8>> {
    vec![b" 0123456789abcdef\n".to_vec()]
}
