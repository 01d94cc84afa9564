//! The stored and the spoken format do not change by accident.
//!
//! Each file in `golden/` holds, for fixed values, their names, what they say, and their bytes. The bytes that are
//! encoded today must be those, and those bytes must still be read as these values. A wanted change raises the format's
//! version where an older reader cannot cope; then write the files anew with `UNDOUBT_GOLDEN=write cargo test`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod values;

use prost::Message;
use std::fmt::{Debug, Write};
use std::path::Path;

#[test]
fn stored_records_keep_their_bytes() {
    check("record.txt", &values::records());
}

#[test]
fn session_messages_keep_their_bytes() {
    check("session.txt", &values::session());
}

#[test]
fn work_and_results_keep_their_bytes() {
    check("work.txt", &values::work());
}

struct Sample {
    name: &'static str,
    shown: String,
    bytes: Vec<u8>,
}

fn sample<M: Message + Default + PartialEq + Debug>(name: &'static str, value: M) -> Sample {
    let bytes = value.encode_to_vec();
    assert_eq!(M::decode(&bytes[..]).unwrap(), value, "{name} does not survive being encoded");
    Sample { name, shown: format!("{value:?}"), bytes }
}

fn check(file: &str, samples: &[Sample]) {
    // Relative to the package: several checkouts share what is compiled.
    let path = Path::new("tests/golden").join(file);
    let found = rendered(samples);
    if std::env::var_os("UNDOUBT_GOLDEN").is_some_and(|mode| mode == "write") {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(found, expected, "the format of {file} changed; see the head of this test");
    }
    assert_eq!(found, expected, "{file} has more or fewer samples than expected; see the head of this test");
}

fn rendered(samples: &[Sample]) -> String {
    samples.iter().fold(String::new(), |mut text, Sample { name, shown, bytes }| {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{name}\n  {shown}\n  {}\n", hex.join(" ")).unwrap();
        text
    })
}
