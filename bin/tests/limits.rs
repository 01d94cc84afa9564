//! The page of limits, `proto/LIMITS.md`, says what the code says, and leaves no bound out. `UPDATE_CATALOGUE=1` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use undoubt_coordinator::Config as OfCoordinator;
use undoubt_gateway::Config as OfGateway;
use undoubt_observer::Config as OfObserver;
use undoubt_participant::Config as OfParticipant;
use undoubt_platform::limits as platform;
use undoubt_platform::range::Ranged;
use undoubt_vocabulary::limit::Limit;

const HEAD: &str = "# Limits

Every bound that a user can meet. Generated from the code (`LIMITS` of each crate, `ranges` of either server's settings); a test holds the page
to it, and fails where a bound is missing. What stands like `TOO_LARGE` is the reason of a refusal ([CATALOGUE.md](CATALOGUE.md)); what
like `too-large` is the code with which a participant refuses work.
";

fn root() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("..")
}

/// The parts of what no setting changes.
fn tables() -> Vec<(&'static str, &'static [Limit])> {
    vec![
        ("Transactions", undoubt_vocabulary::limits::LIMITS),
        ("Work", undoubt_client::work::LIMITS),
        ("Procedures of databases", undoubt_sql::LIMITS),
        ("Events and reactions", undoubt_stream::LIMITS),
        ("HTTP services", undoubt_http::LIMITS),
        ("Locks", undoubt_kv::LOCK_LIMITS),
        ("Requests and connections", platform::OF_CONNECTIONS),
        ("TLS", undoubt_tls::LIMITS),
        ("Who may do what", platform::OF_ACCESS),
        ("Tokens of an identity provider", undoubt_oidc::LIMITS),
        ("A coordinator", undoubt_coordinator::LIMITS),
        ("A participant", undoubt_participant::LIMITS),
        ("An observer", undoubt_observer::LIMITS),
        ("Stores, metrics and alarms", platform::OF_SERVERS),
        ("The client's library", undoubt_client::LIMITS),
        ("A gateway", undoubt_gateway::LIMITS),
    ]
}

fn fixed() -> String {
    let head = "\n## What no setting changes\n\nIn the order in which one meets them.\n";
    tables().into_iter().fold(head.to_owned(), |mut page, (title, limits)| {
        write!(page, "\n### {title}\n\n| limit | value | of | where it is met |\n| --- | --- | --- | --- |\n").unwrap();
        for Limit { name, value, unit, of, met } in limits {
            writeln!(page, "| `{name}` | {} | {of} | {met} |", with_unit(*value, unit.as_str())).unwrap();
        }
        page
    })
}

fn with_unit(value: u64, unit: &str) -> String {
    format!("{} {unit}", grouped(value)).trim_end().to_owned()
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap());
    groups.collect::<Vec<_>>().join(",")
}

/// Returns the comments of a struct's fields, by their names.
fn comments(source: &str) -> BTreeMap<String, String> {
    let (mut told, mut said) = (BTreeMap::new(), Vec::new());
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            said.push(text.trim().to_owned());
            continue;
        }
        if let Some((name, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(": ")) {
            told.insert(name.to_owned(), said.join(" "));
        }
        if !line.starts_with('#') {
            said.clear();
        }
    }
    told
}

fn settings(title: &str, ranges: &[Ranged], sources: &[&str]) -> String {
    let mut page =
        format!("\n### {title}\n\n| setting | default | least | most | of |\n| --- | --- | --- | --- | --- |\n");
    let sources = sources.iter().map(|source| fs::read_to_string(root().join(source)).unwrap());
    let comments: BTreeMap<String, String> = sources.flat_map(|source| comments(&source)).collect();
    for Ranged { setting, value, min, max } in ranges {
        let name = setting.rsplit('.').next().unwrap();
        let units = [("_ms", "ms"), ("_s", "s"), ("_bytes", "bytes")];
        let unit = units.into_iter().find(|(end, _)| name.ends_with(end)).map_or("", |(_, unit)| unit);
        let [value, min, max] = [*value, *min, *max].map(|number| with_unit(number, unit));
        let of = comments.get(name).unwrap_or_else(|| panic!("there is no setting {setting}"));
        let of = if of.is_empty() { "It goes with the one above." } else { of.as_str() };
        writeln!(page, "| `{setting}` | {value} | {min} | {max} | {of} |").unwrap();
    }
    page
}

fn page() -> String {
    let alarms = "proto/platform/src/alarm/config.rs";
    let identities = "proto/platform/src/access/limits.rs";
    let head = "\n## What a setting changes\n\nA value outside of its range is refused at the start. `--print-config` prints all settings, these and others.\n";
    [
        HEAD,
        &fixed(),
        head,
        &settings(
            "Of a coordinator",
            &OfCoordinator::default().ranges(),
            &["coordinator/src/config.rs", alarms, identities],
        ),
        &settings("Of a participant", &OfParticipant::default().ranges(), &["participant/src/config.rs", alarms]),
        &settings("Of an observer", &OfObserver::default().ranges(), &["participant/observer/src/config.rs", alarms]),
        &settings("Of a gateway", &OfGateway::default().ranges(), &["coordinator/gateway/src/config.rs"]),
    ]
    .concat()
}

#[test]
fn the_page_of_limits_says_what_the_code_says() {
    let (place, page) = (root().join("proto/LIMITS.md"), page());
    if std::env::var_os("UPDATE_CATALOGUE").is_some() {
        fs::write(&place, &page).unwrap();
    }
    let kept = fs::read_to_string(&place).unwrap_or_default();
    assert_eq!(kept, page, "write {} anew with UPDATE_CATALOGUE=1", place.display());
}

/// Bounds that nobody meets from outside: how work is cut into pieces inside, how long an end may take, the ends of the
/// ranges of settings, which the page tells with the settings, and what of a trace is left out, which changes no outcome.
const INNER: &[&str] = &[
    "CONNECT_TIMEOUT",
    "FIRST_WORD_TIMEOUT",
    "LAST_FLUSH_TIMEOUT",
    "LOCK_TIMEOUT",
    "LOOK_TIMEOUT",
    "MAKE_ROOM_TIMEOUT",
    "MAX_ANSWERS_PER_BATCH",
    "MAX_ASKED_AT_A_TIME",
    "MAX_AUDIT_BYTES",
    "MAX_BATCHES_UNDER_WAY",
    "MAX_BYTES_PER_BATCH",
    "MAX_CALL_TIME",
    "MAX_COLLECTED_BYTES_PER_ROUND",
    "MAX_COLLECTED_PER_ROUND",
    "MAX_COLLECTED_ROWS",
    "MAX_COMMANDS_PER_ROUND",
    "MAX_DRAWS",
    "MAX_DROPPED_AT_ONCE",
    "MAX_DROPPED_PER_BATCH",
    "MAX_EARLIER_EVENTS_PER_TRANSACTION",
    "MAX_EARLIER_TRANSACTIONS",
    "MAX_ENCODED_LEVELS",
    "MAX_EVENTS_PER_SPAN",
    "MAX_EXPONENT_BYTES",
    "MAX_FIRST_WORD_BYTES",
    "MAX_GAPS_KEPT",
    "MAX_GATHERING_BYTES",
    "MAX_GIVEN_UP_READ",
    "MAX_GIVEN_UP_SHOWN",
    "MAX_GROUP_BYTES",
    "MAX_HISTORY_EVENTS",
    "MAX_HOST_BYTES",
    "MAX_INCARNATIONS",
    "MAX_INLINE_BYTES",
    "MAX_IN_DOUBT",
    "MAX_KEEP_EVENTS_MS",
    "MAX_KEPT_BATCH_BYTES",
    "MAX_KINDS",
    "MAX_KINDS_OF_ONE",
    "MAX_LABEL_BYTES",
    "MAX_LAZY_FLUSH_MS",
    "MAX_LIST_BYTES",
    "MAX_LOG_BYTES_SHOWN",
    "MAX_LOOKED_AT_PER_PAGE",
    "MAX_MARK_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_MESSAGE_OVERHEAD_BYTES",
    "MAX_MIN_FREE_BYTES",
    "MAX_NAMED_AT_STOP",
    "MAX_NAMED_BYTES",
    "MAX_NUMBERED_BYTES",
    "MAX_NUMBERED_EVENTS",
    "MAX_OBSERVED_SAGAS",
    "MAX_OPEN_BYTES",
    "MAX_PAGE_BYTES_READ",
    "MAX_PAGE_ENTRIES",
    "MAX_PARKED_LISTED",
    "MAX_PASSED_UNSTORED",
    "MAX_PAUSE",
    "MAX_PER_S",
    "MAX_PIPED",
    "MAX_PROMISES",
    "MAX_QUEUED_ACCEPTANCES",
    "MAX_QUEUED_BYTES",
    "MAX_RANGES",
    "MAX_READ_BYTES",
    "MAX_READ_EVENTS",
    "MAX_READ_OUT_BYTES",
    "MAX_RECORDS_BATCH_BYTES",
    "MAX_RECORD_OVERHEAD_BYTES",
    "MAX_RUNS",
    "MAX_SEEN_PER_WRITE",
    "MAX_SENT_BYTES",
    "MAX_SESSIONS",
    "MAX_SHARED_BATCH_BYTES",
    "MAX_SHOWN_CHARACTERS",
    "MAX_SHOWN_CHARS",
    "MAX_TEXT_BYTES",
    "MAX_TOLD_APART",
    "MAX_TRACED",
    "MAX_TRACEPARENT_BYTES",
    "MAX_TRACE_BYTES",
    "MAX_TRACE_STATE_BYTES",
    "MAX_TRACE_STATE_MEMBERS",
    "MAX_TRIES",
    "MAX_TXS_OF_REFUSED",
    "MAX_TXS_PER_ENTRY",
    "MAX_UNDER_WAY",
    "MAX_UNDOING",
    "MAX_USES_PER_LINK",
    "MAX_WARNINGS",
    "MAX_WAYS",
    "MAX_WORDS_WAITING",
    "MAX_WRITING_BYTES",
    "MIN_ALLOWED_BYTES",
    "MIN_AUDIT_BYTES",
    "MIN_LOG_BYTES",
    "MIN_ROOM_BYTES",
    "MIN_TOTAL_WAL_BYTES",
    "KEEP_TIMEOUT",
    "OPEN_TIMEOUT",
    "PARTING_NOTE_TIMEOUT",
    "PARTING_TIMEOUT",
    "READ_OUT_TIMEOUT",
    "RECORD_TIMEOUT",
    "RESUME_TIMEOUT",
    "STOP_TIMEOUT",
    "WORD_TIMEOUT",
];

/// Returns the constants of a source file that bound something, by their names.
fn bounds_in(source: &str) -> impl Iterator<Item = &str> {
    // Tests of a module stand at its end.
    let product = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    product.lines().filter_map(|line| {
        let line = line.trim_start();
        let rest = ["const ", "pub const ", "pub(crate) const ", "pub(super) const "]
            .iter()
            .find_map(|head| line.strip_prefix(head))?;
        let (name, kind) = rest.split_once(": ")?;
        let is_value = ["usize", "u64", "u32", "u16", "u8", "Duration"].iter().any(|known| kind.starts_with(known));
        let bounds = name.starts_with("MAX_") || name.starts_with("MIN_") || name.ends_with("_TIMEOUT");
        (bounds && is_value).then_some(name)
    })
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        if entry.is_dir() && !["tests", "examples", "conformance", "sdk", "target"].contains(&name.as_str()) {
            sources(&entry, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(entry);
        }
    }
}

#[test]
fn no_bound_of_the_code_is_missing_on_the_page_or_named_for_nothing() {
    let told: BTreeSet<&str> = tables().iter().flat_map(|(_, limits)| limits.iter().map(|limit| limit.name)).collect();
    let mut files = Vec::new();
    ["proto", "coordinator", "participant"].iter().for_each(|folder| sources(&root().join(folder), &mut files));
    let mut there_are = BTreeSet::new();
    let mut missing = Vec::new();
    for file in &files {
        let source = fs::read_to_string(file).unwrap();
        for name in bounds_in(&source) {
            there_are.insert(name.to_owned());
            if !told.contains(name) && !INNER.contains(&name) {
                missing.push(format!("{name} in {}", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "neither on the page of limits nor among INNER:\n{}", missing.join("\n"));
    let gone: Vec<&&str> = INNER.iter().filter(|name| !there_are.contains(**name)).collect();
    assert!(gone.is_empty(), "INNER names what is no bound any more: {gone:?}");
}

#[test]
fn comments_and_bounds_are_found_where_they_stand() {
    let told = comments(
        "struct A {\n    /// The first,\n    /// and more.\n    #[serde(x)]\n    pub one_ms: u64,\n    pub two: u64,\n}",
    );
    assert_eq!((told["one_ms"].as_str(), told["two"].as_str()), ("The first, and more.", ""));
    let source = "const MAX_A: u8 = 1;\n    pub(crate) const B_TIMEOUT: Duration = d();\nconst OTHER: u8 = 1;\nconst MAX_M: Metric = m();\n#[cfg(test)]\nmod tests {\nconst MAX_C: u8 = 1;";
    assert_eq!(bounds_in(source).collect::<Vec<_>>(), ["MAX_A", "B_TIMEOUT"]);
}
