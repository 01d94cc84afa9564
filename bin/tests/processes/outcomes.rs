//! Outcomes that a participant keeps in its own store, beside the work.

use crate::support::api::value;
use crate::support::cli::{Said, undoubt};
use crate::support::{banks, start, until};
use serde_json::{Value, json};
use undoubt::cluster::{Cluster, Who};

async fn submit(cluster: &Cluster, document: &Value, flags: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("transaction.json");
    std::fs::write(&path, document.to_string()).unwrap();
    undoubt(cluster, &[&["submit", "--file", path.to_str().unwrap()], flags].concat()).await
}

/// What bank-a keeps of it.
async fn kept(cluster: &Cluster, id: &str) -> Option<String> {
    value(cluster, "bank-a", &format!("order/{id}")).await
}

fn branches(id: &str, amount: i64) -> Value {
    json!({
        "id": id,
        "branches": {"bank-a": [format!("add alice {amount}")], "bank-b": [format!("add bob -{amount} floor=0")]},
        "outcome_at": {"bank-a": format!("order/{id}")},
    })
}

/// At bank-a a step that can be undone, at bank-b one that may be refused, and at bank-a again what comes after.
fn saga(id: &str, amount: i64) -> Value {
    json!({
        "id": id,
        "mode": "saga",
        "steps": [
            {"name": "give", "at": "bank-a", "do": [format!("add alice {amount}")], "undo": [format!("add alice -{amount}")]},
            {"name": "take", "at": "bank-b", "do": [format!("add bob -{amount} floor=0")], "pivot": true},
            {"name": "tell", "at": "bank-a", "do": ["put told yes"]},
        ],
        "outcome_at": {"bank-a": format!("order/{id}")},
    })
}

#[tokio::test]
async fn two_phase_commit_keeps_its_outcome_with_the_work_and_an_abort_keeps_nothing() {
    let cluster = start(banks()).await;
    undoubt(&cluster, &["submit", "--on", "bank-b", "put bob 50"]).await.expect(0, &["committed"]);
    submit(&cluster, &branches("paid", 30), &[]).await.expect(0, &["put order/paid \"committed paid\""]);
    submit(&cluster, &branches("over", 30), &[]).await.expect(3, &["aborted", "bank-b refused"]);
    assert_eq!(kept(&cluster, "paid").await.as_deref(), Some("committed paid"));
    assert_eq!(kept(&cluster, "over").await, None);
    let mut nowhere = branches("nowhere", 1);
    nowhere["outcome_at"] = json!({"bank-c": "order"});
    submit(&cluster, &nowhere, &[]).await.expect(7, &["bank-c was given no work"]);
}

#[tokio::test]
async fn a_saga_keeps_what_became_of_its_steps_to_the_end() {
    let mut cluster = start(banks()).await;
    undoubt(&cluster, &["submit", "--on", "bank-b", "put bob 50"]).await.expect(0, &["committed"]);
    submit(&cluster, &saga("paid", 30), &[]).await.expect(0, &["committed"]);
    submit(&cluster, &saga("over", 30), &[]).await.expect(3, &["aborted", "bank-b refused"]);
    let ended = async |id: &str, outcome: &str| (kept(&cluster, id).await.as_deref() == Some(outcome)).then_some(());
    until("the last step is in effect", async || ended("paid", "committed paid").await).await;
    until("the first step is undone", async || ended("over", "compensated over").await).await;

    cluster.kill(Who::Participant(1)).await.unwrap();
    let mut patient = saga("half", 5);
    patient["steps"][1]["attempts"] = json!(1_000);
    submit(&cluster, &patient, &["--no-wait"]).await.expect(0, &["pending"]);
    let acted = async || (kept(&cluster, "half").await.as_deref() == Some("acted half")).then_some(());
    until("the first step is in effect", acted).await;
    cluster.restart(Who::Participant(1), None).await.unwrap();
    undoubt(&cluster, &["wait", "half"]).await.expect(0, &["committed"]);
    let whole = async || (kept(&cluster, "half").await.as_deref() == Some("committed half")).then_some(());
    until("the last step is in effect", whole).await;
}

#[tokio::test]
async fn where_auto_goes_by_two_phase_commit_the_outcome_and_the_answer_say_so() {
    let cluster = start(banks()).await;
    let mut document = saga("either", 5);
    document["mode"] = json!("auto");
    document["steps"].as_array_mut().unwrap().pop();
    document["steps"][0]["do"] = json!(["add alice 5", "put mark 1 pend"]);
    document["steps"][1]["do"] = json!(["add bob 5"]);
    let said = submit(&cluster, &document, &[]).await;
    said.expect(0, &["committed", "add alice 5", "put mark 1 pend", "add bob 5", "committed either"]);
    undoubt(&cluster, &["history", "either"]).await.expect(0, &["two-phase commit: every participant can prepare"]);
    assert_eq!(kept(&cluster, "either").await.as_deref(), Some("committed either"));
    undoubt(&cluster, &["submit", "--on", "bank-a", "get mark respect-pending"]).await.expect(0, &["committed"]);
}
