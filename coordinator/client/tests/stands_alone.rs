//! An application that depends on this crate alone can name, build and take apart all that it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

/// Handles an outcome to its last detail with the names of this crate only.
fn told(answer: &undoubt_client::Answer) -> String {
    let read: &BTreeMap<undoubt_client::PartName, undoubt_client::Bytes> = &answer.results;
    let _: Vec<undoubt_client::Results> = read.values().map(undoubt_client::Results::read).collect();
    match &answer.outcome {
        undoubt_client::Outcome::Committed => "committed".to_owned(),
        undoubt_client::Outcome::Aborted(undoubt_client::AbortReason::Refused { by, refusal }) => {
            let (by, refusal): (&undoubt_client::ParticipantName, &undoubt_client::Refusal) = (by, refusal);
            let code: undoubt_client::RefusalCode = refusal.code;
            format!("{by}: {code}")
        }
        undoubt_client::Outcome::Aborted(reason) => reason.to_string(),
    }
}

#[test]
fn an_outcome_is_handled_to_its_last_detail() {
    let refusal = undoubt_client::Refusal::new(undoubt_client::RefusalCode::Condition, "too little");
    let reason = undoubt_client::AbortReason::Refused { by: "bank-a".parse().unwrap(), refusal };
    let answer = undoubt_client::Answer::new(undoubt_client::Outcome::Aborted(reason), BTreeMap::new());
    assert_eq!(told(&answer), "bank-a: condition");
}

/// The crates whose types an application would otherwise have to depend on.
const INNER: [&str; 3] = ["undoubt_vocabulary", "undoubt_proto", "undoubt_work"];

/// Returns the types of inner crates that stand in the public signatures of a source file.
fn exposed(source: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut names = BTreeSet::new();
    for import in source.split("use ").skip(1).filter_map(|rest| rest.split_once(';')) {
        if INNER.iter().any(|inner| import.0.starts_with(inner)) {
            names.extend(words(import.0).filter(|word| word.starts_with(char::is_uppercase)).map(str::to_owned));
        }
    }
    names.extend(["v1".to_owned()]);
    let signatures = source.match_indices("pub ").filter_map(|(at, _)| {
        let begins_line = source[..at].rsplit('\n').next().is_some_and(|before| before.trim().is_empty());
        let rest = &source[at..];
        // A function's signature ends with its body, a field's line with itself, and an enum's variants with a brace.
        let end = if rest.starts_with("pub enum") {
            "\n}"
        } else if rest.starts_with("pub fn") || rest.starts_with("pub async") {
            " {\n"
        } else {
            "\n"
        };
        begins_line.then(|| rest.split(end).next().unwrap_or_default())
    });
    signatures.flat_map(words).filter(|word| names.contains(*word)).map(str::to_owned).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn every_type_of_a_public_signature_is_exported() {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("src");
    let own = fs::read_to_string(folder.join("lib.rs")).unwrap();
    let exported: BTreeSet<&str> =
        own.split("pub use ").skip(1).flat_map(|rest| words(rest.split(';').next().unwrap())).collect();
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut checked = 0;
    for path in files.filter(|path| path.is_file() && !path.ends_with("lib.rs") && !path.ends_with("test_server.rs")) {
        for name in exposed(&fs::read_to_string(&path).unwrap()) {
            assert!(
                exported.contains(name.as_str()),
                "{} exposes {name}, which lib.rs does not export",
                path.display()
            );
            checked += 1;
        }
    }
    assert!(
        checked > 30,
        "only {checked} names were found: the check does not read the sources as they are written now"
    );
}

#[test]
fn what_is_not_exported_would_be_found() {
    let found = |source: &str| exposed(source).into_iter().collect::<Vec<_>>();
    let import = "use undoubt_vocabulary::{Hidden, TxId};\n";
    assert_eq!(
        found(&format!("{import}    pub async fn f(\n        hidden: Hidden,\n    ) {{\n TxId; }}")),
        ["Hidden"]
    );
    assert_eq!(
        found(&format!("{import}pub struct S {{\n    pub hidden: Option<Hidden>,\n    tx: TxId,\n}}")),
        ["Hidden"]
    );
    assert_eq!(found(&format!("{import}pub enum E {{\n    A {{ tx: TxId }},\n}}")), ["TxId"]);
    assert_eq!(found(&format!("{import}pub(crate) fn f(hidden: Hidden) {{\n}}")), Vec::<String>::new());
}
