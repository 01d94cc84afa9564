//! Folders that each kept format has left: they open, and what was open in them goes on.
//!
//! `bin/tests/formats/N` holds the data folders of a coordinator, `bank-a` and `bank-b`, killed in the midst, as a version with
//! format N wrote them. A new format gets one more by `make keep-format`.

use crate::support::api::{commit, describe, get, list, transfer, value};
use crate::support::cli::{Said, undoubt, undoubt_json};
use crate::support::program::{coordinator, run as run_program};
use crate::support::{banks, start, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_platform::identity::{FORMAT, OLDEST_FORMAT};
use undoubt_proto::v1::list_request::Filter;
use undoubt_vocabulary::{CoordinatorId, TransactionPhase};

const BANK_A: Who = Who::Participant(0);
const BANK_B: Who = Who::Participant(1);
const ALL: [(Who, &str); 3] = [(Who::Coordinator, "coordinator"), (BANK_A, "bank-a"), (BANK_B, "bank-b")];

fn formats() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests/formats")
}

/// Participants and a coordinator that keep what has ended for a hundred years, since the folders get old.
fn plan() -> Plan {
    let settings = |all: &[&str]| all.iter().map(ToString::to_string).collect();
    Plan {
        coordinator_settings: settings(&["retention_s=3153600000", "folder_sign=false"]),
        participant_settings: settings(&["folder_sign=false"]),
        ..banks()
    }
}

async fn run(cluster: &Cluster, document: Value, flags: &[&str]) -> Said {
    let file = cluster.folder().join("document.json");
    fs::write(&file, document.to_string()).unwrap();
    undoubt(cluster, &[&["submit", "--file", file.to_str().unwrap()], flags].concat()).await
}

fn saga(id: &str, steps: Value) -> Value {
    json!({"id": id, "mode": "saga", "steps": steps})
}

/// Submits a transaction whose decision the coordinator records before it crashes.
async fn crash_once_it_is_decided(cluster: &mut Cluster, id: &str) {
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, Some("after-append-committed:1")).await.unwrap();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    let _crashed = crate::support::api::submit(cluster, transfer(id, 1)).await;
    until("it has crashed", async || cluster.has_ended(Who::Coordinator).unwrap().then_some(())).await;
}

/// Leaves one transaction of each kind, and is killed.
async fn write(cluster: &mut Cluster) {
    commit(cluster, transfer("committed", 10)).await;
    let large = "x".repeat(5_000);
    let put = format!("put large {large}");
    undoubt(cluster, &["submit", "--id", "put", "--on", "bank-a", &put]).await.expect(0, &["committed"]);
    let read = ["submit", "--id", "read", "--on", "bank-a", "get large", "--on", "bank-b", "add reads 1"];
    undoubt(cluster, &read).await.expect(0, &["committed"]);
    let refused = ["submit", "--id", "refused", "--on", "bank-a", "add alice -1000 floor=-100"];
    undoubt(cluster, &refused).await.expect(3, &["condition"]);
    let steps = |last: &str| {
        json!([
            {"name": "take", "at": "bank-a", "do": ["add seats -1"], "undo": ["add seats 1"]},
            {"name": "give", "at": "bank-b", "do": [last], "undo": ["add places -1"]},
        ])
    };
    run(cluster, saga("done", steps("add places 1")), &[]).await.expect(0, &["committed"]);
    run(cluster, saga("undone", steps("add places 1 ceiling=0")), &[]).await.expect(3, &["aborted"]);
    let stuck = json!([
        {"name": "take", "at": "bank-a", "do": ["add rooms 1 pend"], "undo": ["add rooms -9 floor=0"], "attempts": 1},
        {"name": "give", "at": "bank-b", "do": ["add places 1 ceiling=0"], "undo": ["add places -1"]},
    ]);
    run(cluster, saga("stuck", stuck), &["--no-wait"]).await.expect(0, &["pending"]);
    until_phase_is(cluster, "stuck", TransactionPhase::Stuck).await;
    let called = ["--no-wait", "--callback", "http://127.0.0.1:1/told"];
    run(cluster, json!({"id": "called", "branches": {"bank-a": ["add calls 1"]}}), &called)
        .await
        .expect(0, &["called"]);
    undoubt(cluster, &["wait", "called"]).await.expect(0, &["committed"]);

    crash_once_it_is_decided(cluster, "damaged").await;
    let url = cluster.url(BANK_A).unwrap();
    let who = ["--who", "ada", "--reason", "the coordinator is gone", "--yes"];
    undoubt(cluster, &[&["resolve", "damaged", "abort", "--participant", &url], &who[..]].concat())
        .await
        .expect(0, &["aborted"]);
    cluster.restart(Who::Coordinator, None).await.unwrap();
    until_phase_is(cluster, "damaged", TransactionPhase::Ended).await;
    crash_once_it_is_decided(cluster, "in-doubt").await;
    for who in [BANK_A, BANK_B] {
        cluster.kill(who).await.unwrap();
    }
}

async fn until_phase_is(cluster: &Cluster, tx: &str, phase: TransactionPhase) {
    until(&format!("{tx} is {phase}"), async || (get(cluster, tx).await.ok()?.phase == phase.number()).then_some(()))
        .await;
}

/// Checks that everything is told as it was left, and that what was open goes on.
async fn check(cluster: &Cluster) {
    until_phase_is(cluster, "in-doubt", TransactionPhase::Ended).await;
    for committed in ["committed", "put", "read", "done", "damaged", "in-doubt"] {
        undoubt(cluster, &["wait", committed]).await.expect(0, &["committed"]);
    }
    undoubt(cluster, &["wait", "refused"]).await.expect(3, &["bank-a refused", "floor"]);
    undoubt(cluster, &["wait", "undone"]).await.expect(3, &["bank-b refused", "ceiling"]);
    undoubt(cluster, &["wait", "read"]).await.expect(0, &["xxxxx"]);
    undoubt(cluster, &["history", "done"]).await.expect(0, &["begun", "acted", "take", "decided", "logged"]);
    let done = undoubt_json(cluster, &["status", "done"]).await.json();
    let parts = |at: usize| (done["branches"][at]["step"].clone(), done["branches"][at]["participant"].clone());
    assert_eq!([parts(0), parts(1)], [(json!("take"), json!("bank-a")), (json!("give"), json!("bank-b"))], "{done}");
    assert_eq!(list(cluster, Filter::Damaged).await, ["damaged"]);
    let url = cluster.url(BANK_A).unwrap();
    undoubt(cluster, &["branches", &url]).await.expect(0, &["heuristically-aborted", "ada", "rooms", "stuck"]);

    let values = [("alice", "-11"), ("seats", "-1"), ("rooms", "1"), ("calls", "1")];
    for (key, expected) in values {
        assert_eq!(value(cluster, "bank-a", key).await.as_deref(), Some(expected), "{key}");
    }
    for (key, expected) in [("bob", "12"), ("reads", "1"), ("places", "1")] {
        assert_eq!(value(cluster, "bank-b", key).await.as_deref(), Some(expected), "{key}");
    }

    let who = ["--who", "ada", "--reason", "seen to", "--yes"];
    let skip = [&["resolve-step", "stuck", "take", "skip"], &who[..]].concat();
    undoubt(cluster, &skip).await.expect(0, &["stuck"]);
    until_phase_is(cluster, "stuck", TransactionPhase::Ended).await;
    commit(cluster, transfer("new", 5)).await;
    // Submitted again, each is what it was.
    commit(cluster, transfer("committed", 10)).await;
    assert_eq!(value(cluster, "bank-b", "bob").await.as_deref(), Some("17"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
    }
}

#[tokio::test]
async fn folders_of_every_kept_format_open_and_what_was_open_goes_on() {
    for format in OLDEST_FORMAT..=FORMAT {
        let kept = formats().join(format.to_string());
        assert!(kept.is_dir(), "there is no folder of format {format}; write it with `make keep-format`");
        let home = tempfile::tempdir().unwrap();
        let mut data_dirs = BTreeMap::new();
        for (_, name) in ALL {
            copy(&kept.join(name), &home.path().join(name));
            data_dirs.insert(name.to_owned(), home.path().join(name));
        }
        let cluster = start(Plan { data_dirs, ..plan() }).await;
        vouch_for_the_coordinator(&cluster, format).await;
        check(&cluster).await;
    }
}

/// Does what an operator has to do once where participants know a coordinator from before there were keys, or by one that is not in its
/// folder and is lost.
async fn vouch_for_the_coordinator(cluster: &Cluster, format: u32) {
    let known = if format == OLDEST_FORMAT { "from before coordinators had keys" } else { "lost or replaced" };
    until("sessions are refused, with what to do", async || {
        let described = describe(cluster).await;
        let wants_word = |error: &str| error.contains(known) && error.contains("participants pin");
        described.participants.iter().all(|participant| wants_word(&participant.last_error)).then_some(())
    })
    .await;
    let id = CoordinatorId::try_from(&describe(cluster).await.coordinator_id[..]).unwrap().to_string();
    let file = cluster.folder().join("coordinator/coordinator.key");
    let key = run_program(coordinator(&["key", file.to_str().unwrap()])).await.out.trim_end().to_owned();
    for name in ["bank-a", "bank-b"] {
        let who = ["--who", "ada", "--reason", "it is ours", "--yes"];
        let pin = [&["participants", "pin", name, "--coordinator-id", &id, "--public-key", &key], &who[..]].concat();
        undoubt(cluster, &pin).await.expect(0, &["pinned", &key]);
    }
}

#[tokio::test]
async fn what_is_left_for_later_versions_is_understood_by_this_one() {
    let mut cluster = start(plan()).await;
    write(&mut cluster).await;
    for (who, _) in [ALL[1], ALL[2], ALL[0]] {
        cluster.restart(who, None).await.unwrap();
    }
    check(&cluster).await;
}

#[tokio::test]
#[ignore = "writes into the sources; `make keep-format` runs it when FORMAT is raised"]
async fn write_folders_of_this_format() {
    let to = formats().join(FORMAT.to_string());
    assert!(!to.exists(), "{} is kept for good", to.display());
    let mut cluster = start(plan()).await;
    write(&mut cluster).await;
    for (who, name) in ALL {
        copy(&cluster.data_dir(who), &to.join(name));
        for entry in fs::read_dir(to.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let is_needless = |prefix: &&str| path.file_name().unwrap().to_str().unwrap().starts_with(*prefix);
            // RocksDB's own, which it does without.
            if ["LOCK", "LOG", "OPTIONS"].iter().any(is_needless) {
                fs::remove_file(&path).unwrap();
            }
        }
    }
}
