//! What operators see and do: recovery, draining, history, watching, lists, participants.

use crate::support::api::{
    abort_reason, branch, commit, describe, get, health, list, no_wait, request, submit, transfer, value, within_ms,
};
use crate::support::cli::{command, run, undoubt, undoubt_json};
use crate::support::{PATIENCE, banks, nobody, start, until};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tonic_health::pb::health_check_response::ServingStatus;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::kv::{Add, KvWork};
use undoubt_proto::v1;
use undoubt_proto::v1::list_request::Filter;
use undoubt_vocabulary::{EventKind, TransactionPhase};

const BANK_A: Who = Who::Participant(0);
const BANK_B: Who = Who::Participant(1);

async fn in_doubt(cluster: &Cluster, who: Who) -> usize {
    let said = undoubt_json(cluster, &["branches", "--in-doubt", &cluster.url(who).unwrap()]).await.expect(0, &[]);
    said.json()["branches"].as_array().unwrap().len()
}

#[tokio::test]
async fn what_was_recovered_waits_while_recovery_is_paused_and_goes_on_when_it_is_resumed() {
    let mut cluster = start(banks()).await;
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, Some("after-append-committed:1")).await.unwrap();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    let _ = submit(&cluster, no_wait(transfer("t", 10))).await;
    assert!(!cluster.wait_until_ended(Who::Coordinator, PATIENCE).await.unwrap());

    cluster.set(Who::Coordinator, "start_paused=true");
    cluster.restart(Who::Coordinator, None).await.unwrap();
    undoubt(&cluster, &["describe"]).await.expect(0, &["paused"]);
    undoubt(&cluster, &["list", "--unacknowledged"]).await.expect(0, &["t", "committing (paused)"]);
    undoubt(&cluster, &["wait", "t"]).await.expect(0, &["committed"]);
    // New work goes on; so there was time to drive the old.
    commit(
        &cluster,
        request("new", [branch("bank-a", KvWork::new().put("k", "v")), branch("bank-b", KvWork::new().get("k"))]),
    )
    .await;
    assert_eq!((in_doubt(&cluster, BANK_A).await, in_doubt(&cluster, BANK_B).await), (1, 1));
    undoubt(&cluster, &["recovery", "resume"]).await.expect(0, &["goes on"]);
    until("it has ended", async || {
        (get(&cluster, "t").await.unwrap().phase == TransactionPhase::Ended.number()).then_some(())
    })
    .await;
    assert_eq!(value(&cluster, "bank-b", "bob").await.as_deref(), Some("10"));
    undoubt(&cluster, &["describe"]).await.expect(0, &["serving"]);
    undoubt(&cluster, &["recovery", "pause"]).await.expect(0, &["paused", "resume"]);
    undoubt(&cluster, &["describe"]).await.expect(0, &["paused"]);
    undoubt(&cluster, &["history", "t"]).await.expect(0, &["recovered", "committed", "finished"]);
}

#[tokio::test]
async fn a_drain_lets_in_nothing_new_finishes_what_is_open_and_ends_well() {
    for by in ["undoubt drain", "SIGTERM"] {
        let mut cluster = start(banks()).await;
        let served = health(&cluster, Who::Coordinator).await;
        assert_eq!(served, Some(ServingStatus::Serving));
        cluster.kill(BANK_B).await.unwrap();
        let open = within_ms(60_000, transfer("open", 10));
        submit(&cluster, no_wait(open.clone())).await.unwrap();
        let mut client = crate::support::api::coordinator(&cluster).await;
        let waiting = tokio::spawn(async move { client.submit(open).await });
        if by == "SIGTERM" {
            cluster.ask_to_stop(Who::Coordinator).unwrap();
        } else {
            undoubt(&cluster, &["drain"]).await.expect(0, &["draining", "undoubt list --open"]);
        }
        let late = |n: usize| no_wait(within_ms(100, transfer(&format!("late-{n}"), 1)));
        let mut asked = 0;
        let status = if by == "SIGTERM" {
            // The signal takes its time, and what is let in before is answered for ever.
            until("new work is refused", async || {
                asked += 1;
                submit(&cluster, late(asked)).await.err()
            })
            .await
        } else {
            submit(&cluster, late(asked)).await.unwrap_err()
        };
        assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
        assert!(status.message().contains("draining"), "{status:?}");
        assert!(status.metadata().contains_key("retry-after-ms"));
        assert_eq!(health(&cluster, Who::Coordinator).await, Some(ServingStatus::NotServing));
        undoubt(&cluster, &["describe"]).await.expect(0, &["draining"]);
        assert!(!cluster.has_ended(Who::Coordinator).unwrap());

        cluster.restart(BANK_B, None).await.unwrap();
        let outcome = waiting.await.unwrap().unwrap().into_inner().outcome.unwrap();
        assert_eq!(outcome.state(), v1::State::Committed, "{by}");
        assert!(cluster.wait_until_ended(Who::Coordinator, PATIENCE).await.unwrap(), "{by}: it did not end well");
        cluster.restart(Who::Coordinator, None).await.unwrap();
        assert_eq!(list(&cluster, Filter::Open).await, Vec::<String>::new());
        undoubt(&cluster, &["status", &format!("late-{asked}")]).await.expect(5, &["no trace"]);
    }
}

#[tokio::test]
async fn a_drain_that_takes_too_long_leaves_the_rest_to_the_next_start() {
    let mut cluster = start(Plan { coordinator_settings: vec!["drain_timeout_ms=200".to_owned()], ..banks() }).await;
    cluster.kill(BANK_B).await.unwrap();
    submit(&cluster, no_wait(within_ms(60_000, transfer("open", 10)))).await.unwrap();
    undoubt(&cluster, &["drain"]).await.expect(0, &[]);
    assert!(cluster.wait_until_ended(Who::Coordinator, PATIENCE).await.unwrap());
    assert!(cluster.log_tail(Who::Coordinator, 20).contains("drain timeout"));
    cluster.restart(BANK_B, None).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    // Nobody had decided, so it is presumed aborted and may be submitted again.
    commit(&cluster, transfer("open", 10)).await;
    assert_eq!(value(&cluster, "bank-b", "bob").await.as_deref(), Some("10"));
}

#[tokio::test]
async fn history_tells_every_step_with_votes_and_reasons() {
    let cluster = start(banks()).await;
    commit(&cluster, transfer("committed", 10)).await;
    let events = |seen: v1::Transaction| -> Vec<(i32, String, String)> {
        seen.history.into_iter().map(|event| (event.kind, event.participant, event.detail)).collect()
    };
    let seen = events(get(&cluster, "committed").await.unwrap());
    let has = |event: EventKind, participant: &str, detail: &str| {
        let found = seen.iter().any(|(e, p, d)| *e == event.number() && p == participant && d == detail);
        assert!(found, "no {event} {participant} {detail} in {seen:#?}");
    };
    has(EventKind::Begun, "", "2 branches");
    for bank in ["bank-a", "bank-b"] {
        has(EventKind::Sent, bank, "prepare");
        has(EventKind::Voted, bank, "prepared");
        has(EventKind::Sent, bank, "commit");
        has(EventKind::Finished, bank, "committed");
    }
    has(EventKind::Decided, "", "committed");
    has(EventKind::Logged, "", "committed");
    undoubt(&cluster, &["history", "committed"]).await.expect(0, &["begun", "voted", "bank-b", "prepared", "finished"]);

    let poor = branch("bank-a", KvWork::new().add("alice", Add::of(-1_000).floor(0)));
    let refused = request("aborted", [poor, branch("bank-b", KvWork::new().add("bob", 1_000))]);
    abort_reason(submit(&cluster, refused).await.unwrap());
    undoubt(&cluster, &["history", "aborted"]).await.expect(0, &["voted", "refused: condition", "decided", "floor"]);
    undoubt(&cluster, &["status", "aborted"]).await.expect(0, &["aborted", "bank-a refused", "condition"]);
    undoubt(&cluster, &["history", "no-such"]).await.expect(5, &["no trace"]);
}

#[tokio::test]
async fn watching_one_transaction_ends_with_it_and_watching_all_goes_on() {
    let mut cluster = start(banks()).await;
    let connected = async |cluster: &Cluster| describe(cluster).await.participants.iter().all(|p| p.connected);
    cluster.kill(BANK_B).await.unwrap();
    submit(&cluster, no_wait(within_ms(60_000, transfer("t", 10)))).await.unwrap();
    let url = cluster.url(Who::Coordinator).unwrap();
    let one = command(&["watch", "t", "--output", "json", "--coordinator", &url]);
    let mut all = command(&["watch", "--output", "json", "--coordinator", &url]);
    let mut all = all.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(all.stdout.take().unwrap()).lines();
    // Something happens until the watcher is heard to watch.
    let watched = tokio::spawn(run(one));
    let mut spark = 0;
    until("all is watched", async || {
        spark += 1;
        let get = branch("bank-a", KvWork::new().get("k"));
        commit(&cluster, request(&format!("spark {spark}"), [get])).await;
        let heard = tokio::time::timeout(std::time::Duration::from_millis(10), lines.next_line()).await;
        heard.is_ok().then_some(())
    })
    .await;
    cluster.restart(BANK_B, None).await.unwrap();
    until("bank-b is back", async || connected(&cluster).await.then_some(())).await;
    let watched = watched.await.unwrap().expect(0, &[]);
    let events: Vec<_> = watched.documents();
    assert!(events.iter().all(|event| event["tx"] == "t"), "{events:#?}");
    assert!(events.iter().any(|event| event["event"] == "finished" && event["participant"] == "bank-b"), "{events:#?}");
    undoubt(&cluster, &["watch", "t"]).await.expect(0, &["committed"]);
    loop {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if event["tx"] == "t" && event["event"] == "finished" {
            break;
        }
    }
    assert!(all.try_wait().unwrap().is_none(), "watching all has ended");
}

#[tokio::test]
async fn lists_are_filtered_by_how_transactions_stand() {
    let cluster = start(Plan { foreign_participants: vec![nobody("gone")], ..banks() }).await;
    commit(&cluster, transfer("done-1", 1)).await;
    commit(&cluster, transfer("done-2", 1)).await;
    let put = |participant: &str| branch(participant, KvWork::new().put("k", "v"));
    submit(&cluster, within_ms(100, request("late", [put("bank-a"), put("gone")]))).await.unwrap();
    submit(&cluster, no_wait(within_ms(60_000, request("open", [put("bank-a"), put("gone")])))).await.unwrap();
    let said = async |arguments: &[&str]| -> Vec<String> {
        let said = undoubt_json(&cluster, &[&["list"], arguments].concat()).await.expect(0, &[]).json();
        let listed = said["transactions"].as_array().unwrap().iter();
        listed.map(|transaction| transaction["tx"].as_str().unwrap().to_owned()).collect()
    };
    until("the abort is in the log", async || (said(&["--ended"]).await.len() == 3).then_some(())).await;
    assert_eq!(said(&[]).await, ["open", "late", "done-2", "done-1"]);
    assert_eq!(said(&["--open"]).await, ["open"]);
    assert_eq!(said(&["--ended"]).await, ["late", "done-2", "done-1"]);
    assert_eq!(said(&["--ended", "--state", "committed"]).await, ["done-2", "done-1"]);
    assert_eq!(said(&["--state", "aborted"]).await, ["late"]);
    assert_eq!(said(&["--state", "pending"]).await, ["open"]);
    assert_eq!(said(&["--older-than", "1h"]).await, Vec::<String>::new());
    assert_eq!(said(&["--unacknowledged"]).await, Vec::<String>::new());
    undoubt(&cluster, &["list", "--limit", "2"]).await.expect(0, &["open", "late", "There may be more"]);
    undoubt(&cluster, &["list", "--damaged"]).await.expect(0, &["no such transactions"]);
    undoubt(&cluster, &["wait", "late"]).await.expect(3, &["aborted", "gone"]);
}

#[tokio::test]
async fn participants_that_cannot_be_reached_are_shown_with_the_reason() {
    let mut cluster = start(Plan { foreign_participants: vec![nobody("gone")], ..banks() }).await;
    let state = async |cluster: &Cluster, name: &str| {
        let said = undoubt_json(cluster, &["participants"]).await.expect(0, &[]).json();
        let all = said["participants"].as_array().unwrap().clone();
        all.into_iter().find(|participant| participant["name"] == name).unwrap()
    };
    until("all have been tried", async || {
        let gone = state(&cluster, "gone").await;
        (gone["connection_attempts"].as_u64() > Some(0) && state(&cluster, "bank-b").await["connected"] == true)
            .then_some(gone)
    })
    .await;
    undoubt(&cluster, &["participants"]).await.expect(0, &["gone", "broken", "refused", "bank-a", "connected", "kv"]);
    undoubt(&cluster, &["describe"]).await.expect(0, &["2 of 3 connected"]);
    cluster.kill(BANK_B).await.unwrap();
    let down = async || {
        let seen = state(&cluster, "bank-b").await;
        (seen["connected"] == false).then_some(seen)
    };
    let seen = until("the loss is seen", down).await;
    assert!(seen["last_error"].as_str().is_some_and(|error| !error.is_empty()), "{seen}");
    let url = cluster.url(BANK_B).unwrap();
    let asked = ["participant", &url, "--timeout", "300ms"];
    undoubt(&cluster, &asked).await.expect(6, &[&url, "refused", "undoubt-participant"]);
    undoubt(&cluster, &["participant", &cluster.url(Who::Coordinator).unwrap()]).await.expect(7, &["does not offer"]);
}

#[tokio::test]
async fn waiting_for_what_is_not_decided_says_so_when_the_time_is_over() {
    let cluster = start(Plan { foreign_participants: vec![nobody("gone")], ..banks() }).await;
    let put = |participant: &str| branch(participant, KvWork::new().put("k", "v"));
    submit(&cluster, no_wait(within_ms(60_000, request("open", [put("bank-a"), put("gone")])))).await.unwrap();
    for timeout in ["50ms", "200ms", "500ms"] {
        undoubt(&cluster, &["wait", "open", "--timeout", timeout]).await.expect(4, &["open", "undecided"]);
    }
}
