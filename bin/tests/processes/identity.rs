//! The same id is the same transaction (R10): while it runs, after its end, and after kill -9.

use crate::support::api::{
    abort_reason, branch, commit, coordinator, no_wait, refused, request, submit, transfer, value, values, within_ms,
};
use crate::support::cli::undoubt;
use crate::support::{banks, program, start, until};
use bytes::Bytes;
use std::time::Duration;
use tonic::{Code, Status};
use undoubt::cluster::{Cluster, Who};
use undoubt_client::kv::{Add, KvWork};
use undoubt_proto::v1;

async fn kill_and_restart(cluster: &mut Cluster, who: Who) {
    cluster.kill(who).await.unwrap();
    cluster.restart(who, None).await.unwrap();
}

async fn deposit(cluster: &Cluster, tx: &str, participant: &str, account: &'static str, amount: i64) {
    commit(cluster, request(tx, [branch(participant, KvWork::new().add(account, amount))])).await;
}

/// One of each way to commit: two phases with and without a reader, one phase, only reading in one phase and in two.
fn every_kind() -> Vec<v1::SubmitRequest> {
    let add = |participant| branch(participant, KvWork::new().add("n", 1).get("n"));
    let get = |participant| branch(participant, KvWork::new().get("n").get("none"));
    vec![
        request("writes", [add("bank-a"), add("bank-b")]),
        request("writes and reads", [add("bank-a"), get("bank-b")]),
        request("writes alone", [add("bank-a")]),
        request("reads alone", [get("bank-a")]),
        request("reads", [get("bank-a"), get("bank-b")]),
    ]
}

#[tokio::test]
async fn an_ended_transaction_answers_with_its_outcome_and_values_for_ever_and_is_not_done_again() {
    let mut cluster = start(banks()).await;
    let mut first = Vec::new();
    for request in every_kind() {
        first.push(commit(&cluster, request).await);
    }
    assert_eq!(first[1][0].1, [Some("2".into()), Some("2".into())]);
    assert_eq!(first[1][1].1, [Some("1".into()), None]);
    assert_eq!(first[4][0].1, [Some("3".into()), None]);
    for round in ["at once", "after kill -9", "after another kill -9", "after a stop"] {
        match round {
            "at once" => {}
            "after a stop" => {
                assert!(cluster.stop(Who::Coordinator, crate::support::PATIENCE).await.unwrap());
                cluster.restart(Who::Coordinator, None).await.unwrap();
            }
            _ => kill_and_restart(&mut cluster, Who::Coordinator).await,
        }
        for (request, first) in every_kind().into_iter().zip(&first) {
            // The order of the branches and the time it may take do not make it another transaction.
            let branches = request.branches.iter().rev().cloned().collect();
            let again = v1::SubmitRequest { branches, timeout_ms: 4_000, ..request.clone() };
            assert_eq!(commit(&cluster, again).await, *first, "{round}");
            let waited = v1::AwaitRequest { tx: request.tx, timeout_ms: 0 };
            let waited = coordinator(&cluster).await.r#await(waited).await.unwrap().into_inner();
            assert_eq!(values(&waited.outcome.unwrap()), *first, "{round}");
        }
    }
    assert_eq!(value(&cluster, "bank-a", "n").await.as_deref(), Some("3"));
}

#[tokio::test]
async fn whoever_submits_it_again_while_it_runs_hears_the_one_outcome_with_its_values() {
    let mut cluster = start(banks()).await;
    deposit(&cluster, "deposit", "bank-a", "alice", 100).await;
    let bank_b = Who::Participant(1);
    cluster.kill(bank_b).await.unwrap();
    let pending = submit(&cluster, no_wait(within_ms(60_000, transfer("t", 30)))).await.unwrap();
    assert_eq!(pending.state(), v1::State::Pending);
    let ask = async || submit(&cluster, transfer("t", 30)).await;
    let restarted = async {
        let known = submit(&cluster, no_wait(transfer("t", 30))).await.unwrap();
        assert_eq!(known.state(), v1::State::Pending);
        let (code, message) = refused(submit(&cluster, transfer("t", 31)).await);
        assert_eq!(code, Code::AlreadyExists, "{message}");
    };
    let ((), asked) = tokio::join!(restarted, async {
        let asked = (0..3).map(|_| tokio::time::timeout(Duration::from_millis(300), ask()));
        futures::future::join_all(asked).await
    });
    assert!(asked.iter().all(Result::is_err), "decided without bank-b: {asked:?}");
    cluster.restart(bank_b, None).await.unwrap();
    let ask = async || submit(&cluster, transfer("t", 30)).await;
    let answers: Vec<Result<v1::Outcome, Status>> = futures::future::join_all((0..3).map(|_| ask())).await;
    for answer in answers {
        let outcome = answer.unwrap();
        assert_eq!(outcome.state(), v1::State::Committed);
        assert_eq!(values(&outcome)[0].1, [Some("70".into()), Some("70".into())]);
    }
    assert_eq!(value(&cluster, "bank-b", "bob").await.as_deref(), Some("30"));
}

#[tokio::test]
async fn the_same_id_with_other_content_is_refused_whatever_became_of_it() {
    let mut cluster = start(banks()).await;
    deposit(&cluster, "deposit", "bank-a", "alice", 100).await;
    commit(&cluster, transfer("committed", 10)).await;
    let poor = |tx| {
        let from = branch("bank-a", KvWork::new().add("alice", Add::of(-1_000).floor(0)));
        request(tx, [from, branch("bank-b", KvWork::new().add("bob", 1_000))])
    };
    abort_reason(submit(&cluster, poor("aborted")).await.unwrap());
    for round in ["at once", "after kill -9"] {
        let others = [
            transfer("committed", 11),
            transfer("aborted", 10),
            request("committed", transfer("committed", 10).branches.into_iter().take(1)),
            request("aborted", poor("aborted").branches.into_iter().rev().take(1)),
        ];
        for other in others {
            let (code, message) = refused(submit(&cluster, other).await);
            assert_eq!(code, Code::AlreadyExists, "{round}: {message}");
            assert!(message.contains("other content") && message.contains("new id"), "{message}");
        }
        let said = ["submit", "--id", "committed", "--on", "bank-a", "get alice"];
        undoubt(&cluster, &said).await.expect(7, &["committed", "other content", "new id"]);
        kill_and_restart(&mut cluster, Who::Coordinator).await;
    }
    assert_eq!(value(&cluster, "bank-a", "alice").await.as_deref(), Some("90"));
}

#[tokio::test]
async fn an_aborted_id_stays_aborted_with_its_reason_though_it_could_commit_by_now() {
    let mut cluster = start(banks()).await;
    let withdraw = |tx| {
        let from = branch("bank-a", KvWork::new().add("alice", Add::of(-10).floor(0)));
        request(tx, [from, branch("bank-b", KvWork::new().add("bob", 10))])
    };
    let alone = |tx| request(tx, withdraw(tx).branches.into_iter().take(1));
    let both = [withdraw("t"), alone("alone")];
    let mut reasons = Vec::new();
    for request in both.clone() {
        reasons.push(abort_reason(submit(&cluster, request).await.unwrap()));
    }
    deposit(&cluster, "deposit", "bank-a", "alice", 100).await;
    for who in [Who::Coordinator, Who::Participant(0), Who::Coordinator] {
        for (request, reason) in both.clone().into_iter().zip(&reasons) {
            assert_eq!(abort_reason(submit(&cluster, request).await.unwrap()), *reason);
        }
        kill_and_restart(&mut cluster, who).await;
    }
    let connected =
        async || crate::support::api::describe(&cluster).await.participants.iter().all(|p| p.connected).then_some(());
    until("all are connected", connected).await;
    commit(&cluster, withdraw("another")).await;
    assert_eq!(value(&cluster, "bank-a", "alice").await.as_deref(), Some("90"));
}

#[tokio::test]
async fn a_transaction_that_was_never_answered_happens_once_after_a_restart_as_well() {
    let mut cluster = start(banks()).await;
    deposit(&cluster, "deposit", "bank-a", "alice", 100).await;
    let (mut alice, mut bob) = (100, 0);
    for (point, tx) in [
        ("before-append-committed:1", "undecided"),
        ("after-append-committed:1", "decided"),
        ("before-answer:1", "unanswered"),
        ("after-append-delegated:1", "delegated"),
    ] {
        cluster.kill(Who::Coordinator).await.unwrap();
        cluster.restart(Who::Coordinator, Some(point)).await.unwrap();
        cluster.wait_until_ready(Who::Coordinator).await.unwrap();
        let moved = transfer(tx, 10);
        let moved = if tx == "delegated" { request(tx, moved.branches.into_iter().take(1)) } else { moved };
        let (code, message) = refused(submit(&cluster, within_ms(60_000, moved.clone())).await);
        assert!(matches!(code, Code::Unavailable | Code::Unknown | Code::Cancelled), "{code:?} {message}");
        cluster.restart(Who::Coordinator, None).await.unwrap();
        // What was not decided is done now, or not at all; what was decided is answered.
        let again = submit(&cluster, within_ms(60_000, moved.clone())).await.unwrap();
        assert_eq!(submit(&cluster, moved.clone()).await.unwrap(), again, "{point}");
        if again.state() == v1::State::Committed {
            alice -= 10;
            bob += if moved.branches.len() == 2 { 10 } else { 0 };
        }
        assert!(tx != "decided" || again.state() == v1::State::Committed, "a decision was lost");
        assert_eq!(value(&cluster, "bank-a", "alice").await, Some(alice.to_string()), "{point}");
        assert_eq!(value(&cluster, "bank-b", "bob").await.unwrap_or("0".to_owned()), bob.to_string(), "{point}");
    }
}

#[tokio::test]
async fn the_outcome_is_told_though_a_participant_is_configured_no_more() {
    let mut cluster = start(banks()).await;
    let first = commit(&cluster, transfer("t", 10)).await;
    assert!(cluster.stop(Who::Coordinator, crate::support::PATIENCE).await.unwrap());
    let data_dir = cluster.data_dir(Who::Coordinator).display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let address_file = folder.path().join("address");
    let bank_a = format!("bank-a={}", cluster.url(Who::Participant(0)).unwrap());
    let mut command = program::coordinator(&["--name", "coordinator", "--data-dir", &data_dir]);
    command.args(["--listen", "127.0.0.1:0", "--participant", &bank_a, "--address-file"]).arg(&address_file);
    let _child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let address = until("it listens", async || std::fs::read_to_string(&address_file).ok()).await;
    let client = until("it serves", async || {
        v1::coordinator_client::CoordinatorClient::connect(format!("http://{address}")).await.ok()
    });
    let mut client = client.await;
    // It listens before it has recovered, and says "not yet".
    let again = until("it serves", async || client.submit(transfer("t", 10)).await.ok()).await;
    assert_eq!(values(&again.into_inner().outcome.unwrap()), first);
    let (code, _) = refused(client.submit(transfer("new", 10)).await);
    assert_eq!(code, Code::NotFound);
    let tx = Bytes::from_static(b"t");
    client.get(v1::GetRequest { tx }).await.unwrap();
}
