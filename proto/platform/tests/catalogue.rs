//! The catalogue of refusals and limits, `proto/CATALOGUE.md`, says what the code says. `UPDATE_CATALOGUE=1` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use undoubt_platform::Reason;

fn proto() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("..")
}

const HEAD: &str = "# Refusals and limits

What a program may rely on. Generated from `proto/platform/src/reason.rs` and `proto/vocabulary/src/limits.rs`; a test holds it to them.

## Refusals

The gRPC status of a refused request carries `google.rpc.ErrorInfo` with one of these reasons, domain `undoubt.dev`; where a field is at
fault `google.rpc.BadRequest` with the path to it; where the very same request may come back `google.rpc.RetryInfo`, and the same in the
metadata `retry-after-ms`. Then nothing was done with it. On a stream of many the reason stands in `SubmitError.reason`. An abort is no
refusal: it is an outcome, with a reason of its own (`AbortReason` in `transaction.proto`).

| reason | gRPC code | come back after | meaning |
| --- | --- | --- | --- |
";

fn refusals() -> String {
    Reason::ALL.iter().fold(String::new(), |mut table, reason| {
        let after = reason.retry_after().map(|after| format!("{} ms", after.as_millis())).unwrap_or_default();
        let (word, code) = (reason.as_str(), format!("{:?}", reason.code()));
        writeln!(table, "| `{word}` | {code} | {after} | {} |", reason.meaning()).unwrap();
        table
    })
}

/// Returns the constants of a source file with what stands above each.
fn limits(source: &str) -> String {
    let (mut table, mut said) = (String::new(), Vec::new());
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("///") {
            said.push(text.trim().to_owned());
            continue;
        }
        if let Some((name, value)) = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(": usize = ")) {
            let value = number(value.trim_end_matches(';'));
            writeln!(table, "| `{name}` | {} | {} |", grouped(value), said.join(" ")).unwrap();
        }
        said.clear();
    }
    table
}

/// Returns the value of a whole number, or of one that is shifted by another.
fn number(text: &str) -> u64 {
    let plain =
        |text: &str| text.trim().replace('_', "").parse::<u64>().unwrap_or_else(|_| panic!("{text:?} is no number"));
    match text.split_once("<<") {
        Some((number, by)) => plain(number) << plain(by),
        None => plain(text),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap());
    groups.collect::<Vec<_>>().join(",")
}

#[test]
fn the_catalogue_says_what_the_code_says() {
    let source = fs::read_to_string(proto().join("vocabulary/src/limits.rs")).unwrap();
    let limits = limits(&source);
    assert!(limits.lines().count() > 15, "the limits were not found:\n{limits}");
    let limits_head = "\n## Limits\n\nThose that no setting changes, in bytes where the name says so. Settings have limits of their own: \
                       `--print-config`.\n\n| limit | value | of |\n| --- | --- | --- |\n";
    let catalogue = format!("{HEAD}{}{limits_head}{limits}", refusals());
    let place = proto().join("CATALOGUE.md");
    if std::env::var_os("UPDATE_CATALOGUE").is_some() {
        fs::write(&place, &catalogue).unwrap();
    }
    let kept = fs::read_to_string(&place).unwrap_or_default();
    assert_eq!(kept, catalogue, "write {} anew with UPDATE_CATALOGUE=1", place.display());
}

#[test]
fn numbers_are_read_as_the_source_says_them() {
    assert_eq!((number("64"), number("10_000"), number("1 << 20")), (64, 10_000, 1 << 20));
    assert_eq!(grouped(16 << 20), "16,777,216");
}
