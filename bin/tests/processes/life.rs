//! Tests of the life of servers: how they start, what they say while something is wrong, and how they end.

use crate::support::api::{commit, describe, submit, transfer};
use crate::support::cli::undoubt;
use crate::support::program::{coordinator, participant, run};
use crate::support::{PATIENCE, banks, nobody, start, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs::File;
use undoubt::cluster::{Cluster, Plan, Who};

const BOTH: [Who; 2] = [Who::Coordinator, Who::Participant(0)];

async fn logged(cluster: &Cluster, who: Who, words: &str) {
    until(words, async || cluster.log_tail(who, 1_000).contains(words).then_some(())).await;
}

/// A saga that waits for bank-b past its pivot.
async fn open_saga(cluster: &Cluster, id: &str) {
    let step = |name: &str, at: &str| json!({"name": name, "at": at, "do": [format!("put {id} 1")]});
    let mut first = step("first", "bank-a");
    first["pivot"] = true.into();
    let saga = json!({"id": id, "mode": "saga", "steps": [first, step("last", "bank-b")]});
    let file = cluster.folder().join(format!("{id}.json"));
    std::fs::write(&file, saga.to_string()).unwrap();
    undoubt(cluster, &["submit", "--no-wait", "--file", file.to_str().unwrap()]).await.expect(0, &["pending"]);
    until("it has passed its pivot", async || {
        let history = undoubt(cluster, &["history", id]).await.out;
        history.lines().any(|line| line.contains("bank-b")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hang_up_ends_no_server_and_tells_what_it_changed() {
    let mut cluster = start(banks()).await;
    for who in BOTH {
        let pid = cluster.pid(who).and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap())).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        logged(&cluster, who, "SIGHUP: no file of certificates, identities or keys has changed").await;
        kill_process(pid, Signal::HUP).unwrap();
    }
    commit(&cluster, transfer("t", 1)).await;
    for who in BOTH {
        assert!(!cluster.has_ended(who).unwrap());
    }
}

#[tokio::test]
async fn what_is_not_forced_yet_does_not_keep_a_server_from_stopping() {
    let settings = vec!["lazy_flush_ms=3600000".to_owned(), "drain_timeout_ms=3600000".to_owned()];
    let mut cluster = start(Plan { coordinator_settings: settings, ..banks() }).await;
    // It is answered, and its end waits for company.
    submit(&cluster, transfer("t", 1)).await.unwrap();
    assert!(cluster.stop(Who::Coordinator, PATIENCE).await.unwrap());
    cluster.restart(Who::Coordinator, None).await.unwrap();
    undoubt(&cluster, &["status", "t"]).await.expect(0, &["committed"]);
}

#[tokio::test]
async fn a_participant_that_cannot_be_reached_or_is_another_is_told_in_the_log() {
    let cluster = start(banks()).await;
    let wrong = ("bank-c".to_owned(), cluster.url(Who::Participant(0)).unwrap());
    let plan = Plan { foreign_participants: vec![nobody("bank-d"), wrong], ..banks() };
    let other = start(plan).await;
    logged(&other, Who::Coordinator, "bank-d").await;
    logged(&other, Who::Coordinator, "bank-c").await;
    let told = other.log_tail(Who::Coordinator, 1_000);
    let line = |name: &str| told.lines().find(|line| line.contains("no connection") && line.contains(name)).unwrap();
    assert!(line("bank-d").contains("WARN") && line("bank-c").contains("bank-a"), "{told}");
}

#[tokio::test]
async fn a_participant_that_comes_back_is_told_too() {
    let mut cluster = start(banks()).await;
    cluster.kill(Who::Participant(1)).await.unwrap();
    logged(&cluster, Who::Coordinator, "no connection").await;
    cluster.restart(Who::Participant(1), None).await.unwrap();
    until("it is connected", async || {
        let log = cluster.log_tail(Who::Coordinator, 1_000);
        log.lines().any(|line| line.contains(" connected") && !line.contains("failed_attempts=0")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_stays_open_at_a_stop_is_told_at_the_stop_at_the_start_and_when_it_ends() {
    let mut cluster = start(Plan { coordinator_settings: vec!["drain_timeout_ms=200".to_owned()], ..banks() }).await;
    cluster.kill(Who::Participant(1)).await.unwrap();
    open_saga(&cluster, "left-open").await;
    assert!(cluster.stop(Who::Coordinator, PATIENCE).await.unwrap());
    let told = cluster.log_tail(Who::Coordinator, 1_000);
    let line = told.lines().find(|line| line.contains("the drain timeout has passed")).unwrap();
    assert!(line.contains("open=1") && line.contains("left-open"), "{line}");

    cluster.restart(Who::Coordinator, None).await.unwrap();
    let told = cluster.log_tail(Who::Coordinator, 1_000);
    let line = told.lines().find(|line| line.contains("are carried on") && line.contains("oldest")).unwrap();
    assert!(line.contains("open=1") && line.contains("left-open"), "{line}");
    cluster.restart(Who::Participant(1), None).await.unwrap();
    logged(&cluster, Who::Coordinator, "all transactions that were open at the last stop have ended").await;
}

#[tokio::test]
async fn a_participant_that_was_taken_out_with_work_open_is_told_and_shown() {
    let mut cluster = start(Plan { coordinator_settings: vec!["drain_timeout_ms=200".to_owned()], ..banks() }).await;
    cluster.kill(Who::Participant(1)).await.unwrap();
    open_saga(&cluster, "waits").await;
    assert!(cluster.stop(Who::Coordinator, PATIENCE).await.unwrap());

    let listen = cluster.url(Who::Coordinator).unwrap().replace("http://", "");
    let bank_a = format!("bank-a={}", cluster.url(Who::Participant(0)).unwrap());
    let data_dir = cluster.data_dir(Who::Coordinator).display().to_string();
    let log = cluster.folder().join("without-bank-b");
    let arguments = ["--name", "coordinator", "--listen", &listen, "--data-dir", &data_dir, "--participant", &bank_a];
    let _without = coordinator(&arguments).stderr(File::create(&log).unwrap()).spawn().unwrap();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap_or(());
    until("it serves", async || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.contains("recovery done").then_some(())
    })
    .await;
    let text = std::fs::read_to_string(&log).unwrap();
    let line = text.lines().find(|line| line.contains("not configured")).unwrap();
    assert!(line.contains("WARN") && line.contains("bank-b") && line.contains("open=1"), "{line}");
    let described = describe(&cluster).await;
    let bank_b = described.participants.iter().find(|participant| participant.name == "bank-b").unwrap();
    assert!(bank_b.last_error.contains("not configured") && bank_b.open == 1, "{bank_b:?}");
    undoubt(&cluster, &["participants"]).await.expect(0, &["bank-b", "not configured"]);
}

#[tokio::test]
async fn logs_in_json_have_no_forms_of_a_programming_language() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data").display().to_string();
    let mut cluster = start(banks()).await;
    cluster.kill(Who::Coordinator).await.unwrap();
    let listen = cluster.url(Who::Coordinator).unwrap().replace("http://", "");
    let log = folder.path().join("log");
    let named: Vec<String> =
        [0, 1].map(|at| format!("{}={}", ["bank-a", "bank-b"][at], cluster.url(Who::Participant(at)).unwrap())).into();
    let arguments = [
        "--listen",
        &listen,
        "--data-dir",
        &data_dir,
        "--new",
        "--participant",
        &named[0],
        "--participant",
        &named[1],
        "--log-format",
        "json",
        "--log",
        "undoubt=trace",
    ];
    let _coordinator = coordinator(&arguments).stderr(File::create(&log).unwrap()).spawn().unwrap();
    until("it serves", async || std::fs::read_to_string(&log).unwrap().contains("recovery done").then_some(())).await;
    until("it commits", async || submit(&cluster, transfer("t", 1)).await.ok()).await;
    until("it has ended", async || std::fs::read_to_string(&log).unwrap().contains("retired").then_some(())).await;
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("Some(") && !text.contains("None"), "{text}");
    assert!(text.contains(r#""participant":"bank-a""#));
}

#[tokio::test]
async fn each_kind_of_failure_has_an_exit_code_and_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data").display().to_string();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    type Start = fn(&[&str]) -> tokio::process::Command;
    for start in [coordinator as Start, participant] {
        let usage = run(start(&["--no-such-flag"])).await;
        assert_eq!(usage.code, Some(2), "{usage:?}");
        let settings = run(start(&["--set", "keep_alive_ms=0"])).await;
        settings.refused_with(&["keep_alive_ms"]);
        assert_eq!(settings.code, Some(2));
        let address = run(start(&["--data-dir", &data_dir, "--listen", &taken])).await;
        address.refused_with(&[&taken, "--listen"]);
        assert_eq!(address.code, Some(5));
        std::fs::remove_dir_all(&data_dir).unwrap();
        assert!(run(start(&["--help"])).await.out.contains("Exit codes:"));
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_ends_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("address");
    let (data_dir, address_file) = (folder.path().join("data").display().to_string(), address.display().to_string());
    let arguments = ["--data-dir", &data_dir, "--listen", "127.0.0.1:0", "--address-file", &address_file];
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut server = participant(&arguments).stderr(full).spawn().unwrap();
    until("it listens", async || address.exists().then_some(())).await;
    let pid = Pid::from_raw(i32::try_from(server.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = tokio::time::timeout(PATIENCE, server.wait()).await.expect("it stops").unwrap();
    assert!(ended.success(), "{ended}");
}
