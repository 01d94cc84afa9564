//! What is bounded at a coordinator, and who is turned away then.

use crate::support::api::{branch, coordinator, describe, no_wait, refused, request, submit, within_ms};
use crate::support::cli::undoubt;
use crate::support::{banks, nobody, start, until};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::timeout;
use tonic::Code;
use undoubt::cluster::{Cluster, Plan};
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;
use undoubt_vocabulary::TransactionPhase;
use undoubt_vocabulary::limits::MAX_WAITERS_PER_TRANSACTION;

/// A transaction that stays open: one of its participants cannot be reached.
fn stuck(tx: &str) -> v1::SubmitRequest {
    let put = |participant: &str| branch(participant, KvWork::new().put(tx.to_owned(), "v"));
    within_ms(600_000, request(tx, [put("bank-a"), put("gone")]))
}

async fn start_with(settings: &[&str]) -> Cluster {
    let coordinator_settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
    start(Plan { foreign_participants: vec![nobody("gone")], coordinator_settings, ..banks() }).await
}

async fn cancel(cluster: &Cluster, tx: &str) {
    let tx = Bytes::copy_from_slice(tx.as_bytes());
    coordinator(cluster).await.cancel(v1::CancelRequest { tx }).await.unwrap();
}

#[tokio::test]
async fn beyond_the_most_open_transactions_new_ones_are_turned_away_until_one_has_ended() {
    let cluster = start_with(&["max_open_transactions=2"]).await;
    for tx in ["t-1", "t-2"] {
        submit(&cluster, no_wait(stuck(tx))).await.unwrap();
    }
    let status = submit(&cluster, stuck("t-3")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("max_open_transactions"), "{status:?}");
    let hint = status.metadata().get("retry-after-ms").expect("no hint when to come back");
    assert!(hint.to_str().unwrap().parse::<u32>().unwrap() > 0);

    let requests = vec![v1::SequencedRequest { sequence: 1, request: Some(stuck("t-3")) }];
    let batch = v1::SubmitBatch { requests };
    let mut answers = coordinator(&cluster).await.submit_many(tokio_stream::once(batch)).await.unwrap().into_inner();
    let answered = answers.message().await.unwrap().unwrap().responses.remove(0);
    let Some(v1::sequenced_response::Result::Error(error)) = answered.result else { panic!("{answered:?}") };
    assert_eq!(Code::from(error.code), Code::ResourceExhausted);
    assert!(error.retry_after_ms > 0);
    let said = ["submit", "--on", "bank-a", "get k", "--on", "bank-b", "get k", "--timeout", "500ms"];
    undoubt(&cluster, &said).await.expect(6, &["max_open_transactions", "nothing was done"]);

    // What is in already is answered all the same.
    let known = submit(&cluster, no_wait(stuck("t-1"))).await.unwrap();
    assert_eq!(known.state(), v1::State::Pending);
    cancel(&cluster, "t-1").await;
    until("there is room", async || submit(&cluster, no_wait(stuck("t-3"))).await.ok()).await;
}

#[tokio::test]
async fn a_transaction_ends_though_its_client_has_gone() {
    let cluster = start_with(&[]).await;
    let left = within_ms(1_000, stuck("left"));
    let waited = timeout(Duration::from_millis(100), submit(&cluster, left)).await;
    assert!(waited.is_err(), "it was answered: {waited:?}");
    let look = async || {
        crate::support::api::get(&cluster, "left")
            .await
            .ok()
            .filter(|seen| seen.phase == TransactionPhase::Ended.number())
    };
    let seen = until("the transaction has ended", look).await;
    assert_eq!(seen.outcome.unwrap().state(), v1::State::Aborted);
    assert_eq!(describe(&cluster).await.open, 0);
}

#[tokio::test]
async fn only_those_who_still_wait_count_as_waiting() {
    let cluster = start_with(&[]).await;
    submit(&cluster, no_wait(stuck("t"))).await.unwrap();
    let mut client = coordinator(&cluster).await;
    let wait = v1::AwaitRequest { tx: "t".into(), timeout_ms: 1 };
    for _ in 0..MAX_WAITERS_PER_TRANSACTION + 10 {
        // Each gives up after a moment.
        assert_eq!(refused(client.r#await(wait.clone()).await).0, Code::DeadlineExceeded);
    }
    let (asked, ()) = tokio::join!(submit(&cluster, stuck("t")), async {
        let waits = async || (describe(&cluster).await.open == 1).then_some(());
        until("it is open", waits).await;
        cancel(&cluster, "t").await;
    });
    assert_eq!(asked.unwrap().state(), v1::State::Aborted);
}

#[tokio::test]
async fn beyond_the_most_waiting_clients_others_are_turned_away_and_all_who_wait_hear_the_end() {
    let cluster = start_with(&[]).await;
    submit(&cluster, no_wait(stuck("t"))).await.unwrap();
    let client = coordinator(&cluster).await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..MAX_WAITERS_PER_TRANSACTION + 1 {
        let mut client = client.clone();
        waiting.spawn(async move { client.r#await(v1::AwaitRequest { tx: "t".into(), timeout_ms: 0 }).await });
    }
    // Only one too many is answered while the transaction is open.
    let (code, message) = refused(waiting.join_next().await.unwrap().unwrap());
    assert_eq!(code, Code::ResourceExhausted, "{message}");
    assert!(message.contains(&MAX_WAITERS_PER_TRANSACTION.to_string()), "{message}");
    // Somebody who cancels waits for the end as well, for which there is no room: it is cancelled all the same.
    let _ = coordinator(&cluster).await.cancel(v1::CancelRequest { tx: "t".into() }).await;
    let mut ended = 0;
    while let Some(answer) = waiting.join_next().await {
        let outcome = answer.unwrap().unwrap().into_inner().outcome.unwrap();
        assert_eq!(outcome.state(), v1::State::Aborted);
        ended += 1;
    }
    assert_eq!(ended, MAX_WAITERS_PER_TRANSACTION);
}
