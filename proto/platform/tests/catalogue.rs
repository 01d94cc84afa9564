//! The catalogue of refusals, `proto/CATALOGUE.md`, says what the code says. `UPDATE_CATALOGUE=1` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use undoubt_platform::Reason;

fn proto() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("..")
}

const HEAD: &str = "# Refusals

What a program may rely on. Generated from `proto/platform/src/reason.rs`; a test holds it to that. Bounds are in [LIMITS.md](LIMITS.md).

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

#[test]
fn the_catalogue_says_what_the_code_says() {
    let catalogue = format!("{HEAD}{}", refusals());
    let place = proto().join("CATALOGUE.md");
    if std::env::var_os("UPDATE_CATALOGUE").is_some() {
        fs::write(&place, &catalogue).unwrap();
    }
    let kept = fs::read_to_string(&place).unwrap_or_default();
    assert_eq!(kept, catalogue, "write {} anew with UPDATE_CATALOGUE=1", place.display());
}
