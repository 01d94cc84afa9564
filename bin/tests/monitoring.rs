//! The files for those who watch: alert rules, dashboard, and the page of metrics agree with what servers tell. Rules are run by
//! Prometheus' own tool, which `make test` installs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use undoubt_platform::metrics::{Kind, Metric};

/// All metrics, by who tells them.
fn tables() -> [(&'static str, &'static [Metric]); 8] {
    [
        ("Every server", undoubt_platform::metrics::METRICS),
        ("A coordinator", undoubt_coordinator::metrics::METRICS),
        ("A participant", undoubt_participant::metrics::METRICS),
        ("The events of a participant", undoubt_participant::event_upkeep::METRICS),
        ("The store of a server", undoubt_platform::metrics::STORE_METRICS),
        ("Requests and connections", undoubt_platform::server::METRICS),
        ("Spans", undoubt_platform::traces::METRICS),
        ("The process", undoubt::process::PROCESS_METRICS),
    ]
}

fn all() -> impl Iterator<Item = &'static Metric> {
    tables().into_iter().flat_map(|(_, metrics)| metrics)
}

fn folder() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("monitoring")
}

fn file(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// The page of metrics, as it has to be.
fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\nWhat servers tell at `/metrics`, by the names to query. Made from the code: `make metrics-page`.\n",
    );
    for (who, metrics) in tables() {
        writeln!(page, "\n## {who}\n\n| name | kind | labels | meaning |\n| --- | --- | --- | --- |").unwrap();
        for metric in metrics {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, labels) = (metric.queried(), labels.join(", "));
            writeln!(page, "| `{name}` | {kind} | {labels} | {} |", metric.help).unwrap();
        }
    }
    page
}

#[test]
fn names_and_units_are_those_of_the_conventions_and_no_name_is_given_twice() {
    let mut names = BTreeSet::new();
    for Metric { name, kind, labels: _, help } in all() {
        assert!(names.insert(name), "{name} is there twice");
        assert!(name.starts_with("undoubt_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert!(!name.ends_with("_total"), "the format adds that: {name}");
        assert!(!["_ms", "_us", "_millis", "_kb"].iter().any(|unit| name.ends_with(unit)), "no base unit: {name}");
        assert!(!name.contains("duration") || name.ends_with("_seconds"), "{name}");
        assert!(!help.is_empty() && !help.ends_with('.') && !help.contains('|'), "{name}: {help}");
        if *kind == Kind::Histogram {
            assert!(name.ends_with("_seconds") || name.contains("_per_"), "{name} has no unit");
        }
    }
}

#[test]
fn the_page_of_metrics_is_that_of_the_code() {
    assert!(file("METRICS.md") == page(), "it is out of date: run `make metrics-page`");
}

#[test]
#[ignore = "writes the page of metrics"]
fn write_the_page_of_metrics() {
    std::fs::write(folder().join("METRICS.md"), page()).unwrap();
}

/// The names of metrics in a text, with what formats add to them.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("undoubt_") || word.starts_with("process_")).collect()
}

/// The names that can be queried.
fn queried() -> BTreeSet<String> {
    let endings = |metric: &Metric| match metric.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"].map(|ending| format!("{}{ending}", metric.name)).to_vec(),
        Kind::Counter | Kind::Gauge => vec![metric.queried()],
    };
    all().flat_map(endings).collect()
}

fn unknown(text: &str) -> Vec<&str> {
    let there_are = queried();
    named(text).into_iter().filter(|name| !there_are.contains(*name)).collect()
}

#[test]
fn every_metric_that_rules_their_tests_or_the_dashboard_ask_for_is_told() {
    for name in ["alerts.yml", "alerts_test.yml", "dashboard.json"] {
        let text = file(name);
        assert!(named(&text).len() > 10, "{name} names none");
        assert_eq!(unknown(&text), [""; 0], "{name} asks for what nobody tells");
    }
    assert_eq!(unknown("rate(undoubt_no_such_total[5m]) + undoubt_ready"), ["undoubt_no_such_total"]);
}

#[test]
fn the_dashboard_has_a_query_in_every_panel_and_every_state_of_the_servers_somewhere() {
    let dashboard: serde_json::Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        let has_query = panel["targets"].as_array().is_some_and(|all| all.iter().all(|one| one["expr"].is_string()));
        assert!(panel["type"] == "row" || has_query, "{}", panel["title"]);
    }
}

fn alerts() -> Vec<String> {
    let text = file("alerts.yml");
    let name = |line: &str| Some(line.trim().strip_prefix("- alert: ")?.to_owned());
    text.lines().filter_map(name).collect()
}

#[test]
fn every_alert_says_what_to_do_and_is_tested_to_fire_and_not_before() {
    let (rules, tests) = (file("alerts.yml"), file("alerts_test.yml"));
    let alerts = alerts();
    assert!(alerts.len() > 15, "{alerts:?}");
    for wanted in ["summary: ", "todo: ", "severity: "] {
        assert_eq!(rules.matches(wanted).count(), alerts.len(), "some alert has no {wanted}");
    }
    for alert in alerts {
        for case in [format!("name: {alert} fires\n"), format!("name: {alert} does not fire yet\n")] {
            assert!(tests.contains(&case), "there is no test {case}");
        }
    }
}

/// Runs Prometheus' tool. Without it there is nothing to go by, so the test fails and says what is missing.
fn promtool(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output();
    output.unwrap_or_else(|error| panic!("promtool cannot be run ({error}): install Prometheus with .ci/prometheus"))
}

#[test]
fn rules_are_valid_and_each_alert_fires_when_it_should_and_not_before() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = promtool(&folder(), &arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let configuration = promtool(&folder(), &["check", "config", "prometheus.yml"]);
    assert!(configuration.status.success(), "{configuration:?}");
}

#[test]
fn an_alert_that_comes_too_early_or_not_at_all_fails_its_test() {
    let rules = file("alerts.yml");
    let hasty: String =
        rules.lines().filter(|line| !line.trim().starts_with("for: ")).map(|line| format!("{line}\n")).collect();
    let silent = rules.replace("transactions_stuck > 0", "transactions_stuck > 9");
    for (why, changed) in BTreeMap::from([("comes too early", hasty), ("never comes", silent)]) {
        assert!(changed != rules);
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("alerts.yml"), changed).unwrap();
        std::fs::write(folder.path().join("alerts_test.yml"), file("alerts_test.yml")).unwrap();
        let output = promtool(folder.path(), &["test", "rules", "alerts_test.yml"]);
        assert!(!output.status.success(), "an alert that {why} is not noticed");
    }
}
