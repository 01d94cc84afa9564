//! Work and results: as bytes, as text, as JSON; and the documents of whole transactions.

use crate::{Target, says_why};
use bytes::Bytes;
use std::borrow::Cow;
use undoubt_gateway::document::{duration, from_json, from_toml};
use undoubt_work::kv::{self, Add, KvWork, Operation};
use undoubt_work::text::{from_string, shown, to_string, to_word, words};
use undoubt_work::{Inputs, Reference, Results, Value, Work, raw_from_text};

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "work", decode: binary, growth: 512, seeds: works },
    Target { name: "results", decode: results, growth: 512, seeds: all_results },
    Target { name: "work-text", decode: text, growth: 512, seeds: texts },
    Target { name: "words", decode: split, growth: 512, seeds: texts },
    Target { name: "work-json", decode: json, growth: 1_024, seeds: jsons },
    Target { name: "document-json", decode: document_json, growth: 2_048, seeds: documents },
    Target { name: "document-toml", decode: document_toml, growth: 4_096, seeds: toml_documents },
    Target { name: "duration", decode: span, growth: 512, seeds: spans },
];

/// Returns what a text target is given: texts are UTF-8 by the time they are read.
pub(crate) fn as_text(input: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(input)
}

fn binary(input: &[u8]) {
    let work = Bytes::copy_from_slice(input);
    let read = match kv::read(&work) {
        Ok(read) => read,
        Err(why) => return says_why(&why, input),
    };
    let (mut again, mut refers) = (KvWork::new(), false);
    for operation in read {
        let (operation, extras) = match operation {
            Ok(read) => read,
            Err(why) => return says_why(&why, input),
        };
        if let Err(why) = operation.check() {
            return says_why(&why, input);
        }
        refers |= extras.key_suffix_from.or(extras.value_from).or(extras.expected_from).is_some();
        again = again.operation(operation);
        again = if extras.pend { again.pend() } else { again };
        again = if extras.respect_pending { again.respect_pending() } else { again };
        again = extras.value_in_branch.into_iter().fold(again, KvWork::value_in_branch);
    }
    if refers || again.operations().is_empty() {
        return;
    }
    let written = again.encode().unwrap_or_else(|why| panic!("{why}, of what was read"));
    let read: Vec<_> =
        kv::read(&written).expect("what is written can be read").map(|read| read.expect("it is whole")).collect();
    for ((operation, extras), (written, given)) in read.iter().zip(again.operations().iter().zip(again.extras())) {
        assert_eq!((operation, extras.pend, extras.respect_pending), (written, given.pend, given.respect_pending));
        assert_eq!(extras.value_in_branch, given.value_in_branch);
    }
    assert_eq!(read.len(), again.operations().len());
}

fn results(input: &[u8]) {
    let encoded = Bytes::copy_from_slice(input);
    let read = Results::read(&encoded);
    if let Some(values) = read.values() {
        assert_eq!(Results::read(&Results::encode(values)), read);
    }
    let lines = read.shown(None);
    assert!(lines.iter().all(|[_, value]| value.len() <= 2 + 2 * input.len() + 20));
    serde_json::to_string(&read).expect("results are JSON");
    let of_step = [encoded];
    for operation in [0, 1, u32::MAX] {
        let from = undoubt_work::Input { input: 0, operation, cell: None };
        if let Err(refusal) = Inputs::of_step(&of_step).value(&from) {
            says_why(&refusal.detail, input);
        }
    }
}

fn text(input: &[u8]) {
    match as_text(input).parse::<Work>() {
        Err(why) => says_why(&why, input),
        Ok(work) => {
            let texts = work.texts();
            assert_eq!(texts.len(), 1);
            assert_eq!(texts[0].parse::<Work>(), Ok(work), "{}", texts[0]);
        }
    }
}

fn split(input: &[u8]) {
    let line = as_text(input);
    match words(&line) {
        Err(why) => says_why(&why, input),
        Ok(words) => {
            for word in words {
                match word.bytes() {
                    Err(why) => says_why(&why, input),
                    Ok(bytes) => {
                        assert_eq!(from_string(&to_string(&bytes)), Ok(bytes.clone()));
                        let again = undoubt_work::text::words(&to_word(&bytes)).expect("a word is read as one");
                        assert_eq!(again.len(), 1);
                        assert_eq!(again[0].bytes(), Ok(bytes.clone()));
                        assert!(!shown(&bytes).chars().any(char::is_control));
                    }
                }
            }
        }
    }
    if let Err(why) = raw_from_text(&line) {
        says_why(&why, input);
    }
}

fn json(input: &[u8]) {
    match serde_json::from_slice::<Work>(input) {
        Err(why) => says_why(&why, input),
        Ok(work) => {
            let written = serde_json::to_string(&work.texts()).expect("texts are JSON");
            // Raw work has no texts.
            if !work.texts().is_empty() {
                let again: Work = serde_json::from_str(&written).expect("what is written can be read");
                // A text does not tell what a put brings where it is part of a branch: only auto writes that.
                assert_eq!(again.texts(), work.texts());
            }
        }
    }
}

fn document_json(input: &[u8]) {
    match undoubt_gateway::text(input).and_then(from_json) {
        Err(why) => says_why(&why, input),
        Ok(submission) => assert!(!submission.id().as_bytes().is_empty()),
    }
}

fn document_toml(input: &[u8]) {
    match undoubt_gateway::text(input).and_then(from_toml) {
        Err(why) => says_why(&why, input),
        Ok(submission) => assert!(!submission.id().as_bytes().is_empty()),
    }
}

fn span(input: &[u8]) {
    if let Err(why) = duration(&as_text(input)) {
        says_why(&why, input);
    }
}

fn works() -> Vec<Vec<u8>> {
    let all = KvWork::new()
        .get("rate")
        .put("seat/7", "taken")
        .pend()
        .delete("gone")
        .respect_pending()
        .add("alice", Add::of(-10).floor(0).ceiling(100))
        .operation(Operation::CompareAndSet { key: "k".into(), expected: None, value: Some("1".into()) });
    let referring = KvWork::new().put("seat/", "").key_suffix_from(Reference::to("flight", 0));
    let referring = Work::from(referring).encode(&["flight"]).expect("it is valid");
    let branch = KvWork::new().put("k", "saga").value_in_branch("branch");
    vec![
        all.encode().expect("it is valid").to_vec(),
        referring.to_vec(),
        branch.encode().expect("it is valid").to_vec(),
    ]
}

fn all_results() -> Vec<Vec<u8>> {
    let values = [Value::Absent, Value::Bytes("70".into()), Value::Integer(i64::MIN), Value::Bytes(Bytes::new())];
    vec![Results::encode(&values).to_vec(), b"raw".to_vec()]
}

const TEXTS: [&str; 8] = [
    "get alice",
    "put \"two words\" 0xff00 pend",
    "delete x respect-pending",
    "add alice -10 floor=0 ceiling=9",
    "cas k expected=absent value=\"absent\"",
    "put seat/ \"\" key-from=flight.0 pend",
    "put x value-from=a.1",
    "cas x value=1 expected-from=a.0",
];

fn texts() -> Vec<Vec<u8>> {
    TEXTS.map(|text| text.as_bytes().to_vec()).into()
}

fn jsons() -> Vec<Vec<u8>> {
    let all = [
        r#"["get alice", {"put": {"key": "k", "value": "0xff"}}, {"add": {"key": "a", "delta": -3, "floor": 0}}]"#,
        r#"[{"delete": {"key": "k", "respect_pending": true}}, {"cas": {"key": "k", "expected": null, "value": "1"}}]"#,
        r#"{"raw": "0x0102"}"#,
        r#"{"raw": "AQI="}"#,
    ];
    all.map(|text| text.as_bytes().to_vec()).into()
}

const SAGA: &str = r#"{"id": "order-17", "mode": "auto", "value": 7, "deadline": "1m 30s", "outcome_at": {"bank": "k"},
 "steps": [{"name": "flight", "at": "airline", "do": ["add seats -1 floor=0"], "undo": ["add seats 1"]},
 {"name": "pay", "at": "bank", "do": ["put a value-from=flight.0"], "after": ["flight"], "uses": ["flight"], "pivot": true,
  "attempts": 20, "first_pause": "5ms", "max_pause": "1s", "attempt_timeout": "2s"}]}"#;

fn documents() -> Vec<Vec<u8>> {
    let branches = r#"{"branches": {"bank-a": ["add alice -10 floor=0"], "bank-b": {"raw": "0x01"}}}"#;
    vec![SAGA.as_bytes().to_vec(), branches.as_bytes().to_vec()]
}

fn toml_documents() -> Vec<Vec<u8>> {
    let branches =
        "id = \"t\"\ndeadline = \"10s\"\n[branches]\nbank-a = [\"add alice -10\", { get = { key = \"x\" } }]\n";
    let saga = "mode = \"saga\"\n[[steps]]\nname = \"a\"\nat = \"bank\"\ndo = [\"get x\"]\nundo = [\"get x\"]\n";
    vec![branches.as_bytes().to_vec(), saga.as_bytes().to_vec()]
}

fn spans() -> Vec<Vec<u8>> {
    ["500ms", "10s", "1m 30s", "1h30m", "-3s", "PT1H"].map(|text| text.as_bytes().to_vec()).into()
}
