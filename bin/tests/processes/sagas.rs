//! Sagas from the command line: completed, undone, stuck, cancelled, called back.

use crate::support::api::{get, value};
use crate::support::cli::{undoubt, undoubt_json};
use crate::support::{banks, start, until};
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_vocabulary::TransactionPhase;

struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(TempDir::new().unwrap())
    }

    fn write(&self, document: &Value) -> PathBuf {
        let path = self.0.path().join(format!("{}.json", document["id"].as_str().unwrap()));
        std::fs::write(&path, document.to_string()).unwrap();
        path
    }
}

fn saga(id: &str, steps: Value) -> Value {
    json!({"id": id, "mode": "saga", "steps": steps})
}

/// Takes money from alice, then gives it to bob.
fn transfer(id: &str, amount: i64) -> Value {
    saga(
        id,
        json!([
            {"name": "take", "at": "bank-a", "do": [format!("add alice -{amount} floor=0")],
             "undo": [format!("add alice {amount}")]},
            {"name": "give", "at": "bank-b", "do": [format!("add bob {amount} ceiling=50")], "pivot": true},
        ]),
    )
}

async fn opened() -> (Cluster, Files) {
    let cluster = start(banks()).await;
    undoubt(&cluster, &["submit", "--on", "bank-a", "put alice 100"]).await.expect(0, &["committed"]);
    (cluster, Files::new())
}

async fn submit(cluster: &Cluster, files: &Files, document: &Value, flags: &[&str]) -> crate::support::cli::Said {
    let path = files.write(document);
    undoubt(cluster, &[&["submit", "--file", path.to_str().unwrap()], flags].concat()).await
}

async fn holdings(cluster: &Cluster) -> (Option<String>, Option<String>) {
    (value(cluster, "bank-a", "alice").await, value(cluster, "bank-b", "bob").await)
}

#[tokio::test]
async fn a_saga_is_done_or_undone_and_its_history_says_how() {
    let (cluster, files) = opened().await;
    submit(&cluster, &files, &transfer("good", 30), &[]).await.expect(0, &["committed", "take", "give", "70", "30"]);
    assert_eq!(holdings(&cluster).await, (Some("70".into()), Some("30".into())));
    submit(&cluster, &files, &transfer("over", 40), &[]).await.expect(3, &["aborted", "bank-b refused", "ceiling"]);
    assert_eq!(holdings(&cluster).await, (Some("70".into()), Some("30".into())));
    undoubt(&cluster, &["history", "over"]).await.expect(0, &["acted", "compensating", "compensated", "take"]);
    undoubt(&cluster, &["status", "over"]).await.expect(0, &["saga", "undone"]);
    submit(&cluster, &files, &transfer("good", 30), &[]).await.expect(0, &["committed"]);
    submit(&cluster, &files, &transfer("good", 31), &[]).await.expect(7, &["other content"]);
}

#[tokio::test]
async fn a_saga_that_could_not_be_undone_is_refused_with_the_path_to_the_fault() {
    let (cluster, files) = opened().await;
    let step = |name: &str, extra: Value| {
        let mut step = json!({"name": name, "at": "bank-a", "do": ["get x"]});
        step.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        step
    };
    let undo = json!({"undo": ["get x"]});
    for (id, steps, path) in [
        ("no-undo", json!([step("a", json!({}))]), "steps[0].compensation"),
        (
            "circle",
            json!([step("a", json!({"undo": ["get x"], "after": ["b"]})), step("b", undo.clone())]),
            "steps[0].after",
        ),
        ("late-undo", json!([step("a", json!({"pivot": true})), step("b", undo.clone())]), "steps[1].compensation"),
        ("no-use", json!([step("a", json!({"undo": ["get x"], "uses": ["b"]})), step("b", undo)]), "steps[0].uses[0]"),
        (
            "pend-in-undo",
            json!([step("a", json!({"undo": ["get x", "delete x pend"]})), step("b", json!({"pivot": true}))]),
            "steps[0].compensation[1]: pend",
        ),
        (
            "no-result",
            json!([step("a", json!({"pivot": true})), step("b", json!({"do": ["put x value-from=a.7"]}))]),
            "steps[1].action[0]: a.7",
        ),
        ("none", json!([]), "no steps"),
        ("no-name", json!([step("a", json!({"pivot": true, "after": ["z"]}))]), "names z"),
    ] {
        submit(&cluster, &files, &saga(id, steps), &[]).await.expect(7, &[path]);
    }
}

#[tokio::test]
async fn results_of_a_step_are_used_by_later_ones_and_by_what_undoes_them() {
    let (cluster, files) = opened().await;
    let steps = json!([
        {"name": "reserve", "at": "bank-a", "do": ["add next-seat 1", "put note free"], "undo": ["delete note"]},
        {"name": "book", "at": "bank-b", "do": ["put seat/ alice key-from=reserve.0"],
         "undo": ["delete seat/ key-from=reserve.0"]},
        {"name": "pay", "at": "bank-a", "do": ["add alice -500 floor=0"], "pivot": true},
    ]);
    submit(&cluster, &files, &saga("trip", steps.clone()), &[]).await.expect(3, &["condition"]);
    assert_eq!(value(&cluster, "bank-b", "seat/1").await, None);
    let mut cheap = steps;
    cheap[2]["do"] = json!(["add alice -5 floor=0"]);
    submit(&cluster, &files, &saga("cheap", cheap), &[]).await.expect(0, &["committed"]);
    assert_eq!(value(&cluster, "bank-b", "seat/2").await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn a_step_that_is_stuck_is_seen_and_ended_by_an_operator() {
    let (cluster, files) = opened().await;
    let steps = json!([
        {"name": "pay", "at": "bank-a", "do": ["add alice -10 floor=0"], "pivot": true},
        {"name": "tell", "at": "bank-b", "do": ["cas mailbox expected=open value=told"], "attempts": 2,
         "first_pause": "1ms", "max_pause": "2ms"},
    ]);
    submit(&cluster, &files, &saga("told", steps), &["--no-wait"]).await.expect(0, &["pending"]);
    let stuck = async || (get(&cluster, "told").await.ok()?.phase == TransactionPhase::Stuck.number()).then_some(());
    until("the step is stuck", stuck).await;
    undoubt(&cluster, &["status", "told"]).await.expect(0, &["tell", "stuck"]);
    let resolve = |how: &'static str| ["resolve-step", "told", "tell", how, "--who", "me", "--reason", "it has to"];
    undoubt(&cluster, &["resolve-step", "told", "pay", "skip", "--who", "me", "--reason", "x"])
        .await
        .expect(8, &["nothing left to resolve"]);
    undoubt(&cluster, &["cancel", "told"]).await.expect(8, &["too late"]);
    undoubt(&cluster, &resolve("retry")).await.expect(0, &[]);
    until("it is stuck again", stuck).await;
    undoubt(&cluster, &["submit", "--on", "bank-b", "put mailbox open"]).await.expect(0, &[]);
    undoubt(&cluster, &resolve("retry")).await.expect(0, &[]);
    undoubt(&cluster, &["wait", "told"]).await.expect(0, &["committed"]);
    assert_eq!(value(&cluster, "bank-b", "mailbox").await.as_deref(), Some("told"));
    undoubt(&cluster, &["history", "told"]).await.expect(0, &["stuck", "operator", "it has to"]);
}

#[tokio::test]
async fn auto_takes_two_phase_commit_where_that_can_be_and_a_saga_where_it_cannot_and_says_why() {
    let (mut cluster, files) = opened().await;
    let auto = |id: &str, amount: i64| {
        let mut document = transfer(id, amount);
        document["mode"] = json!("auto");
        document
    };
    submit(&cluster, &files, &auto("both", 5), &[]).await.expect(0, &["committed"]);
    undoubt(&cluster, &["history", "both"]).await.expect(0, &["chosen", "two-phase commit"]);
    let mut twice = auto("twice", 5);
    twice["steps"][1]["at"] = json!("bank-a");
    submit(&cluster, &files, &twice, &[]).await.expect(0, &["committed"]);
    undoubt(&cluster, &["history", "twice"]).await.expect(0, &["chosen", "saga"]);
    twice["id"] = json!("dear");
    twice["two_phase_only"] = json!(true);
    submit(&cluster, &files, &twice, &[]).await.expect(7, &["two"]);

    // Nobody answers the prepare: it is repeated as a saga, which waits for the participant to come back.
    cluster.kill(Who::Participant(1)).await.unwrap();
    let mut silent = auto("silent", 5);
    silent["steps"][1]["attempts"] = json!(100);
    submit(&cluster, &files, &silent, &["--no-wait", "--deadline", "2s"]).await.expect(0, &["pending"]);
    until("it goes on as a saga", async || get(&cluster, "silent").await.ok()?.saga.then_some(())).await;
    cluster.restart(Who::Participant(1), None).await.unwrap();
    let said = undoubt_json(&cluster, &["wait", "silent"]).await.json();
    let (alice, bob) = holdings(&cluster).await;
    match said["state"].as_str() {
        Some("committed") => assert_eq!((alice.as_deref(), bob.as_deref()), (Some("85"), Some("10"))),
        other => assert_eq!((other, alice.as_deref(), bob.as_deref()), (Some("aborted"), Some("90"), Some("5"))),
    }
    undoubt(&cluster, &["history", "silent"]).await.expect(0, &["chosen", "saga", "bank-b"]);
}

#[tokio::test]
async fn whoever_did_not_wait_is_called_back_until_he_answers_also_after_a_restart() {
    let plan = Plan { coordinator_settings: vec!["callback_max_pause_ms=200".into()], ..banks() };
    let mut cluster = start(plan).await;
    undoubt(&cluster, &["submit", "--on", "bank-a", "put alice 100"]).await.expect(0, &["committed"]);
    let files = Files::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    submit(&cluster, &files, &transfer("later", 10), &["--no-wait", "--callback", &url]).await.expect(0, &["pending"]);
    answer(&listener, "500 Not Now").await;
    // A submission that is refused takes nothing from the one that was accepted.
    let other = transfer("later", 11);
    let elsewhere = ["--no-wait", "--callback", "http://127.0.0.1:1/"];
    submit(&cluster, &files, &other, &elsewhere).await.expect(7, &["other content"]);
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    let heard = answer(&listener, "200 OK").await;
    assert!(heard.starts_with("POST /done"), "{heard}");
    assert!(heard.contains(r#"{"tx":"later","state":"committed""#), "{heard}");
    submit(&cluster, &files, &transfer("bad", 1), &["--no-wait", "--callback", "ftp://x"])
        .await
        .expect(7, &["http://"]);
}

/// Takes one request, and answers it so.
async fn answer(listener: &TcpListener, status: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut heard = Vec::new();
    let mut part = [0; 4_096];
    while !String::from_utf8_lossy(&heard).contains('}') {
        let count = stream.read(&mut part).await.unwrap();
        assert!(count > 0, "the request ended early: {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&part[..count]);
    }
    stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}
