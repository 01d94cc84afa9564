//! Texts that name somebody: addresses, callbacks, ids.

use crate::work::as_text;
use crate::{Target, says_why};
use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::LazyLock;
use tokio::runtime::Runtime;
use undoubt_client::{Client, ClientOptions};
use undoubt_coordinator::{Config, decoders};
use undoubt_platform::alarm::AlarmConfig;
use undoubt_platform::metrics::MetricsConfig;
use undoubt_vocabulary::printable_text::clean;
use undoubt_vocabulary::{ParticipantName, StepName, TxId};

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "address", decode: address, growth: 512, seeds: addresses },
    Target { name: "callback-url", decode: callback_url, growth: 512, seeds: addresses },
    Target { name: "id", decode: id, growth: 64, seeds: ids },
];

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is room for it"));

fn address(input: &[u8]) {
    let text = as_text(input);
    decoders::is_address(&text);
    let _runtime = RUNTIME.enter();
    match Client::connect_lazy(&text, ClientOptions::default()) {
        Err(why) => says_why(&why, input),
        Ok(client) => drop(client),
    }
    let alarm = AlarmConfig { url: text.clone().into_owned(), ..AlarmConfig::default() };
    if let Err(why) = alarm.webhook() {
        says_why(&why, input);
    }
    let metrics = MetricsConfig { listen: text.into_owned() };
    if let Err(why) = metrics.address() {
        says_why(&why, input);
    }
}

/// The rules of a coordinator that calls back to some only.
static STRICT: LazyLock<Config> = LazyLock::new(|| Config {
    callback_allow: vec!["http://127.0.0.1:80/hooks".to_owned(), "https://shop.example:443".to_owned()],
    ..Config::default()
});

static OPEN: LazyLock<Config> = LazyLock::new(Config::default);

fn callback_url(input: &[u8]) {
    let text = as_text(input);
    let open = decoders::callback_url(&text, &OPEN);
    match decoders::callback_url(&text, &STRICT) {
        Err(why) => says_why(&why, input),
        Ok(url) => {
            assert!(url.path().split('/').all(|part| part != ".."), "{url}");
            let (host, port) = (url.host().unwrap_or_default().to_ascii_lowercase(), url.port_u16());
            let expected = [("127.0.0.1", Some(80)), ("shop.example", Some(443))];
            assert!(expected.contains(&(host.as_str(), port)), "{url}");
            assert!(open.is_ok() || url.scheme_str() == Some("https"));
        }
    }
}

fn id(input: &[u8]) {
    let text = as_text(input);
    named::<TxId>(&text, input);
    named::<ParticipantName>(&text, input);
    named::<StepName>(&text, input);
    match TxId::new(bytes::Bytes::copy_from_slice(input)) {
        Err(why) => says_why(&why, input),
        Ok(tx) => {
            let shown = tx.to_string();
            assert_eq!(clean(&shown), shown, "it is shown as it is");
            assert_eq!(shown.parse::<TxId>(), Ok(tx), "it is read as it was shown");
        }
    }
}

fn named<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str, input: &[u8]) {
    match text.parse::<T>() {
        Err(why) => says_why(&why, input),
        Ok(name) => assert_eq!(name.to_string().parse::<T>().ok(), Some(name)),
    }
}

fn addresses() -> Vec<Vec<u8>> {
    let all = [
        "http://127.0.0.1:7400",
        "https://user:secret@[::1]:443/hooks?a=b@c#d",
        "127.0.0.1:80/hooks/a",
        "http://127.0.0.1:80/hooks/x/%2e%2e/y",
        "https://SHOP.example:443/a?b=c",
        "none",
    ];
    all.map(|text| text.as_bytes().to_vec()).into()
}

fn ids() -> Vec<Vec<u8>> {
    ["order-17", "0x00ff", "0x", "Überweisung-№17", "a b", "step.1_x"].map(|text| text.as_bytes().to_vec()).into()
}
