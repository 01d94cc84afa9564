//! `undoubt conformance`: a service that keeps the contract passes, and each way of breaking it is found by the case that is about it.

mod service;

use crate::support::cli::{Said, command, run};
use crate::support::until;
use serde_json::Value;
use service::Fault;
use std::net::SocketAddr;
use std::process::Stdio;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const ALL: &[&str] = &[
    "--act",
    r#"post /things/{n} {"pad": "------------------------"}"#,
    "--undo",
    "post /things/{n}",
    "--finish",
    "post /things/{n}",
    "--refused",
    "post /refused/{n}",
    "--ask",
    "get /asked/{n}",
    "--look",
    "get /look/{n}",
    "--timeout",
    "3s",
];

async fn check(fault: Option<Fault>, more: &[&str], database: SocketAddr) -> Said {
    let address = service::start(fault, database).await;
    let url = format!("http://{address}");
    run(command(&[&["conformance", &url], ALL, more].concat())).await
}

/// Returns the cases that came to this.
fn cases<'a>(report: &'a Value, found: &str) -> Vec<&'a str> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|finding| finding["found"] == found).map(|finding| finding["case"].as_str().unwrap()).collect()
}

/// A free address, on which the checker is to listen for the service's connections to its database.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_service_that_keeps_the_contract_passes_in_every_case() {
    let (database, listen) = (service::database().await, free());
    let way = format!("{listen}={database}");
    for pattern in [&["--output", "json", "--database", &way][..], &["--output", "json", "--database", &way, "--tcc"]] {
        let said = check(None, pattern, listen).await.expect(0, &[]);
        let report = said.json();
        assert_eq!(cases(&report, "kept").len(), 19, "{report:#}");
    }
}

/// Starts a program in Python, and waits until it listens.
async fn python(arguments: &[&str], port: u16) -> Child {
    let mut command = Command::new("python3");
    let child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    until("the example listens", async || TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)).await;
    child
}

#[tokio::test]
async fn the_services_of_the_examples_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let port = free().port();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../participant/examples/http/service.py");
    let file = folder.path().join("things.db");
    let _service = python(&[example, &port.to_string(), file.to_str().unwrap()], port).await;
    let (url, handler) = (format!("http://127.0.0.1:{port}"), r#"post /things {"thing": "{n}"}"#);
    let all = ["--act", handler, "--undo", handler, "--finish", handler, "--look", "get /things", "--output", "json"];
    let said = run(command(&[&["conformance", &url][..], &all].concat())).await.expect(0, &[]);
    assert_eq!(cases(&said.json(), "kept").len(), 14, "{said:?}");

    // The page of the contract has one, too, that listens on a port of its own.
    let page = include_str!("../../../participant/HTTP.md");
    let (_, program) = page.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    let port = free().port();
    let program = program
        .replace("9001", &port.to_string())
        .replace("seats.db", folder.path().join("seats.db").to_str().unwrap());
    let _service = python(&["-c", &program], port).await;
    let (url, handler) = (format!("http://127.0.0.1:{port}"), r#"post /seats {"seat": "{n}"}"#);
    let all = ["--act", handler, "--undo", handler, "--output", "json"];
    let said = run(command(&[&["conformance", &url][..], &all].concat())).await.expect(0, &[]);
    assert_eq!(cases(&said.json(), "kept").len(), 11, "{said:?}");
}

#[tokio::test]
async fn each_fault_is_found_by_the_case_that_is_about_it() {
    use Fault::*;
    let planted = [
        (ActsEachTime, "act-twice", 1),
        (AnswersAnew, "act-twice", 1),
        (ActsAtOnceTwice, "act-at-once", 1),
        (KeepsNoKeyOfWhomHasGone, "act-cut-off-before-answer", 1),
        (ActsOnHalfARequest, "act-cut-off-in-request", 1),
        (UndoesEachTime, "undo-twice", 1),
        (UndoesNothing, "undo-twice", 5),
        (UndoesAtOnceTwice, "undo-at-once", 1),
        (RefusesToUndo, "undo-twice", 5),
        (KeepsNoKeyOfAnUndoneThatHasGone, "undo-cut-off", 1),
        (RefusesToUndoAlone, "undo-first", 2),
        (ForgetsAnUndoAlone, "act-late", 3),
        (ActsAgainOnceUndone, "act-after-undo", 3),
        (ActsThroughAnUndo, "act-against-undo", 3),
        (FinishesEachTime, "finish-twice", 1),
        (FinishesAtOnceTwice, "finish-at-once", 1),
        (RefusesToFinish, "finish-twice", 4),
        (KeepsNoKeyOfAFinishThatHasGone, "finish-cut-off", 1),
        (ForgetsItsRefusal, "refused-twice", 6),
        (ActsAndRefuses, "refused-twice", 6),
        (RefusesEverySecond, "refused-at-once", 6),
        (SaysThatItWasDone, "asked-back", 7),
    ];
    let database = service::database().await;
    for (fault, case, rule) in planted {
        found(fault, case, rule, &check(Some(fault), &["--output", "json"], database).await);
    }
}

#[tokio::test]
async fn faults_that_show_while_a_database_is_slow_are_found() {
    use Fault::*;
    let planted =
        [(ActsBehindATimeout, "act-at-slow-database", 1), (UndoesBeforeTheDatabaseAnswers, "undo-at-slow-database", 3)];
    for (fault, case, rule) in planted {
        let (database, listen) = (service::database().await, free());
        let way = format!("{listen}={database}");
        found(fault, case, rule, &check(Some(fault), &["--output", "json", "--database", &way], listen).await);
    }
}

#[track_caller]
fn found(fault: Fault, case: &str, rule: u64, said: &Said) {
    assert_eq!(said.code, 1, "{fault:?}: {said:?}");
    let report = said.json();
    assert!(cases(&report, "broken").contains(&case), "{fault:?} is not found by {case}: {report:#}");
    let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["case"] == case).unwrap();
    assert_eq!(finding["rule"], rule, "{fault:?}: {finding:#}");
    let requests = finding["requests"].as_array().unwrap();
    assert!(
        requests.iter().all(|request| request["curl"].as_str().unwrap().starts_with("curl -isS -X ")),
        "{finding:#}"
    );
}

#[tokio::test]
async fn what_cannot_be_checked_says_why() {
    let run = async |arguments: &[&str]| run(command(&[&["conformance"], arguments].concat())).await;
    run(&["http://127.0.0.1:1"]).await.expect(2, &["--act"]);
    run(&["https://a", "--act", "post /a"]).await.expect(2, &["http://HOST:PORT"]);
    run(&["http://127.0.0.1:1", "--act", "fetch /a"]).await.expect(2, &["no method of HTTP"]);
    run(&["http://127.0.0.1:1", "--act", "post /a", "--database", "here"]).await.expect(2, &["HOST:PORT=HOST:PORT"]);
    let away = run(&["http://127.0.0.1:1", "--act", "post /a", "--timeout", "1s"]).await;
    away.expect(1, &["BROKEN", "act-twice", "cannot be reached", "curl -isS"]);
}
