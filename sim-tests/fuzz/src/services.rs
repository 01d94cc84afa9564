//! The inputs of participants over HTTP services: work by anybody, and the URLs in it and in settings.

use crate::work::as_text;
use crate::{Target, says_why};
use bytes::Bytes;
use std::sync::LazyLock;
use undoubt_http::address::Address;
use undoubt_http::allowed::Allowed;
use undoubt_http::message::Message;
use undoubt_work::http::{HttpResult, HttpWork, Request, read};
use undoubt_work::{Reference, Results, Work};

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "http-work", decode: work, growth: 1_024, seeds: works },
    Target { name: "http-address", decode: address, growth: 512, seeds: addresses },
];

static ALLOWED: LazyLock<Allowed> =
    LazyLock::new(|| Allowed::read(&["http://h/a".to_owned()], &[]).expect("it is a prefix"));

/// The answer that a step before left, and one that is not known.
static RESULTS: LazyLock<[Bytes; 2]> = LazyLock::new(|| {
    let body = Bytes::from_static(br#"{"id": 7, "all": ["a/b", null], "up": ".."}"#);
    [Results::encode_answer(&HttpResult { status: 200, body, is_json: true }), Bytes::new()]
});

fn work(input: &[u8]) {
    match read(&Bytes::copy_from_slice(input)) {
        Err(why) => says_why(&why, input),
        Ok(HttpWork { request, ending }) => {
            let ending = ending.map(|ending| [ending.confirm, ending.cancel]);
            for request in std::iter::once(request).chain(ending.into_iter().flatten()) {
                match Message::new(request, RESULTS.as_slice(), &ALLOWED) {
                    Err(refusal) => says_why(&refusal.detail, input),
                    Ok(message) => assert!(ALLOWED.allows(&message.address), "{}", message.address),
                }
            }
        }
    }
}

fn address(input: &[u8]) {
    let text = as_text(input);
    match Address::read(&text) {
        Err(why) => says_why(&why, input),
        Ok(address) => {
            let again = Address::read(&address.to_string()).expect("what is written can be read");
            assert_eq!((&again.origin, &again.path), (&address.origin, &address.path));
            assert!(!address.path.split('/').any(|part| part == ".."), "{address}");
        }
    }
}

fn works() -> Vec<Vec<u8>> {
    let id = || Reference::to_column("s", 0, "id");
    let one = Request::post("http://h/a/{id}?x={id}").parameter("id", id()).header("x-a", "b");
    let one = one.json(serde_json::json!({"id": "{id}", "all": ["{id}", 7]}));
    let end = |name: &str| Request::post(&format!("http://h/a/{name}"));
    let three = HttpWork::try_then(end("try").bytes("x"), end("confirm"), end("cancel"));
    [Work::from(one).encode(&["s"]), Work::from(three).encode(&[])]
        .into_iter()
        .map(|work| work.expect("it is small").to_vec())
        .collect()
}

fn addresses() -> Vec<Vec<u8>> {
    let all = ["http://h.example:8080/a/%20b?c=d", "https://[::1]/x;y", "http://127.0.0.1/%2e%2e/", "http://u@h/"];
    all.into_iter().map(|url| url.as_bytes().to_vec()).collect()
}
