//! Looking at transactions: lists in pages, watching, and histories.

use crate::support::api::{branch, commit, coordinator, no_wait, request, transfer, within_ms};
use crate::support::cli::{command, run, undoubt, undoubt_json};
use crate::support::{banks, start, until};
use serde_json::Value;
use undoubt::cluster::Who;
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;

fn ids(listing: &Value) -> Vec<String> {
    let rows = listing["transactions"].as_array().unwrap().iter();
    rows.map(|row| row["tx"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_that_is_cut_says_so_and_goes_on_from_its_cursor() {
    let cluster = start(banks()).await;
    for number in 0..7 {
        commit(&cluster, transfer(&format!("t{number}"), 1)).await;
    }
    let first = undoubt_json(&cluster, &["list", "--limit", "4"]).await.json();
    assert_eq!(
        (ids(&first), &first["more"]),
        (["t6", "t5", "t4", "t3"].map(str::to_owned).to_vec(), &Value::from(true))
    );
    let cursor = first["cursor"].as_str().unwrap();
    let rest = undoubt_json(&cluster, &["list", "--after", cursor]).await.json();
    assert_eq!((ids(&rest), &rest["more"]), (["t2", "t1", "t0"].map(str::to_owned).to_vec(), &Value::from(false)));
    assert!(rest["cursor"].is_null());
    undoubt(&cluster, &["list", "--limit", "4"]).await.expect(0, &["--after", cursor]);
    undoubt(&cluster, &["list", "--open", "--after", cursor]).await.expect(7, &["cursor"]);
    undoubt(&cluster, &["list", "--after", "nonsense"]).await.expect(2, &["cursor"]);
}

#[tokio::test]
async fn a_transaction_that_is_just_ending_has_one_row_and_is_never_gone() {
    let cluster = start(banks()).await;
    let mut client = coordinator(&cluster).await;
    for number in 0..50 {
        let tx = format!("t{number}");
        client.submit(transfer(&tx, 1)).await.unwrap();
        let listed = client.list(v1::ListRequest::default()).await.unwrap().into_inner();
        let rows = listed.transactions.iter().filter(|row| row.tx == tx.as_bytes()).count();
        assert_eq!(rows, 1, "{listed:?}");
        let found = client.get(v1::GetRequest { tx: tx.clone().into() }).await.unwrap().into_inner();
        assert_eq!(found.outcome.unwrap().state(), v1::State::Committed);
    }
}

#[tokio::test]
async fn a_list_does_not_carry_what_transactions_read() {
    let cluster = start(banks()).await;
    let value = "x".repeat(60_000);
    let put = (0..10).fold(KvWork::new(), |work, key| work.put(format!("k{key}"), value.clone()));
    commit(&cluster, request("put", [branch("bank-a", put)])).await;
    for number in 0..20 {
        let get = (0..10).fold(KvWork::new(), |work, key| work.get(format!("k{key}")));
        commit(&cluster, request(&format!("get{number}"), [branch("bank-a", get)])).await;
    }
    let said = undoubt_json(&cluster, &["list"]).await;
    assert!(said.out.len() < 100_000, "{} bytes", said.out.len());
    let status = undoubt_json(&cluster, &["status", "get7"]).await.json();
    assert_eq!(status["results"]["bank-a"]["values"][9].as_str().unwrap().len(), 60_000);
}

#[tokio::test]
async fn a_watch_ends_with_its_transaction_and_one_of_nothing_is_refused() {
    let mut cluster = start(banks()).await;
    undoubt(&cluster, &["watch", "unknown"]).await.expect(5, &["no trace"]);
    cluster.kill(Who::Participant(1)).await.unwrap();
    let submitted = within_ms(60_000, no_wait(transfer("t", 1)));
    coordinator(&cluster).await.submit(submitted).await.unwrap();
    let url = cluster.url(Who::Coordinator).unwrap();
    let (watched, _) =
        tokio::join!(run(command(&["watch", "t", "--coordinator", &url])), undoubt(&cluster, &["cancel", "t"]),);
    assert!(watched.out.contains("aborted"), "{watched:?}");
}

#[tokio::test]
async fn an_attempt_that_a_crash_forgot_is_in_the_history_of_the_next_one() {
    let mut cluster = start(banks()).await;
    cluster.kill(Who::Participant(1)).await.unwrap();
    let submitted = within_ms(60_000, no_wait(transfer("t", 1)));
    coordinator(&cluster).await.submit(submitted).await.unwrap();
    let prepared = async || {
        let status = undoubt_json(&cluster, &["status", "t"]).await.json();
        let branches = status["branches"].as_array().unwrap();
        branches.iter().any(|branch| branch["state"] == "prepared").then_some(())
    };
    until("bank-a has voted", prepared).await;
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    cluster.restart(Who::Participant(1), None).await.unwrap();
    let bank_a = cluster.url(Who::Participant(0)).unwrap();
    let over = async || {
        let branches = run(command(&["branches", &bank_a, "--output", "json"])).await.json();
        branches["branches"].as_array().unwrap().is_empty().then_some(())
    };
    until("bank-a has heard that it aborted", over).await;
    commit(&cluster, transfer("t", 1)).await;
    undoubt(&cluster, &["history", "t"]).await.expect(0, &["earlier-attempt", "inquiry", "answered by abort", "begun"]);
}
