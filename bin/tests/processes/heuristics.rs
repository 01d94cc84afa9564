//! Deciding without the coordinator (R3): recorded, compared with the decision, and reported until it is forgotten.

use crate::support::api::{branch, commit, list, no_wait, request, submit, transfer, value};
use crate::support::cli::{Said, undoubt, undoubt_json};
use crate::support::{PATIENCE, banks, start, until};
use serde_json::Value;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;
use undoubt_proto::v1::list_request::Filter;
use undoubt_vocabulary::TransactionPhase;

const BANK_A: Who = Who::Participant(0);
const BANK_B: Who = Who::Participant(1);

/// A transfer that both banks have voted for, when the coordinator dies without having recorded its decision.
async fn undecided() -> Cluster {
    let mut cluster = start(banks()).await;
    die_undecided(&mut cluster).await;
    cluster
}

async fn die_undecided(cluster: &mut Cluster) {
    commit(cluster, request("deposit", [branch("bank-a", KvWork::new().put("alice", "100"))])).await;
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, Some("before-append-committed:1")).await.unwrap();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    // It dies before or after it has answered that it took the transaction.
    let _ = submit(cluster, no_wait(transfer("t", 10))).await;
    assert!(!cluster.wait_until_ended(Who::Coordinator, PATIENCE).await.unwrap());
}

async fn branches(cluster: &Cluster, who: Who) -> Vec<Value> {
    let said = undoubt_json(cluster, &["branches", &cluster.url(who).unwrap()]).await.expect(0, &[]);
    said.json()["branches"].as_array().unwrap().clone()
}

async fn resolve(cluster: &Cluster, who: Who, tx: &str, decision: &str) -> Said {
    let url = cluster.url(who).unwrap();
    let why = ["--who", "Ada", "--reason", "the coordinator burnt down", "--yes"];
    undoubt(cluster, &[&["resolve", tx, decision, "--participant", &url], &why[..]].concat()).await
}

async fn until_decision_is_known(cluster: &Cluster, who: Who) -> Value {
    let known = async || {
        let found = branches(cluster, who).await.into_iter().next()?;
        found["heuristic"]["decision"].is_string().then_some(found)
    };
    until("the participant knows the decision", known).await
}

#[tokio::test]
async fn a_branch_resolved_against_the_decision_is_reported_as_damage_until_it_is_forgotten_on_both_sides() {
    let mut cluster = undecided().await;
    let doubt = branches(&cluster, BANK_A).await;
    assert_eq!((doubt[0]["tx"].as_str(), doubt[0]["state"].as_str()), (Some("t"), Some("prepared")));
    resolve(&cluster, BANK_A, "t", "commit").await.expect(0, &["heuristically-committed", "t"]);
    let mine = &branches(&cluster, BANK_A).await[0];
    assert_eq!((mine["heuristic"]["who"].as_str(), mine["heuristic"]["decision"].as_str()), (Some("Ada"), None));

    cluster.restart(Who::Coordinator, None).await.unwrap();
    let found = until_decision_is_known(&cluster, BANK_A).await;
    assert_eq!(
        (found["heuristic"]["decision"].as_str(), &found["heuristic"]["damage"]),
        (Some("aborted"), &true.into())
    );
    assert_eq!(found["heuristic"]["reason"], "the coordinator burnt down");
    let url = cluster.url(BANK_A).unwrap();
    undoubt(&cluster, &["branches", &url]).await.expect(0, &["DAMAGED", "Ada", "the coordinator burnt down"]);
    let damaged = async |cluster: &Cluster| list(cluster, Filter::Damaged).await == ["t"];
    until("the coordinator knows of the damage", async || damaged(&cluster).await.then_some(())).await;
    assert_eq!(value(&cluster, "bank-a", "alice").await.as_deref(), Some("90"));
    assert_eq!(value(&cluster, "bank-b", "bob").await, None);

    for who in [Who::Coordinator, BANK_A] {
        cluster.kill(who).await.unwrap();
        cluster.restart(who, None).await.unwrap();
        assert!(damaged(&cluster).await, "lost after kill -9 of {who:?}");
        assert_eq!(branches(&cluster, BANK_A).await[0]["heuristic"]["damage"], true);
    }
    undoubt(&cluster, &["status", "t"]).await.expect(0, &["aborted", "DAMAGED", "bank-a", "heuristically-committed"]);
    undoubt(&cluster, &["list"]).await.expect(0, &["DAMAGED"]);
    let described = undoubt_json(&cluster, &["describe"]).await.json();
    assert_eq!(described["damaged"], 1);

    undoubt(&cluster, &["forget", "t", "--participant", &url]).await.expect(0, &["forgotten"]);
    undoubt(&cluster, &["forget", "t", "--participant", &url]).await.expect(5, &["nothing of transaction t"]);
    assert_eq!(branches(&cluster, BANK_A).await, Vec::<Value>::new());
    assert!(damaged(&cluster).await, "only the participant has forgotten it");
    undoubt(&cluster, &["forget", "t", "--who", "Ada", "--reason", "put right"]).await.expect(0, &["forgotten"]);
    until("it is forgotten", async || list(&cluster, Filter::Damaged).await.is_empty().then_some(())).await;
    for who in [Who::Coordinator, BANK_A] {
        cluster.kill(who).await.unwrap();
        cluster.restart(who, None).await.unwrap();
    }
    assert_eq!(list(&cluster, Filter::Damaged).await, Vec::<String>::new());
    assert_eq!(branches(&cluster, BANK_A).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_branch_resolved_as_was_decided_is_no_damage() {
    let mut cluster = undecided().await;
    resolve(&cluster, BANK_A, "t", "abort").await.expect(0, &["heuristically-aborted", "t"]);
    // Nothing waits for the coordinator any more.
    let read = branches(&cluster, BANK_A).await;
    assert_eq!(read[0]["state"], "heuristically-aborted");
    cluster.restart(Who::Coordinator, None).await.unwrap();
    let found = until_decision_is_known(&cluster, BANK_A).await;
    assert_eq!(
        (found["heuristic"]["decision"].as_str(), &found["heuristic"]["damage"]),
        (Some("aborted"), &false.into())
    );
    let url = cluster.url(BANK_A).unwrap();
    undoubt(&cluster, &["branches", &url]).await.expect(0, &["as decided"]);
    until("bank-b has aborted", async || branches(&cluster, BANK_B).await.is_empty().then_some(())).await;
    assert_eq!(list(&cluster, Filter::Damaged).await, Vec::<String>::new());
    assert_eq!(value(&cluster, "bank-a", "alice").await.as_deref(), Some("100"));
    undoubt(&cluster, &["forget", "t", "--participant", &url]).await.expect(0, &[]);
    assert_eq!(branches(&cluster, BANK_A).await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_not_in_doubt_cannot_be_resolved_and_nothing_is_resolved_unconfirmed() {
    let cluster = undecided().await;
    let url = cluster.url(BANK_A).unwrap();
    let unconfirmed = ["resolve", "t", "commit", "--participant", &url, "--who", "Ada", "--reason", "haste"];
    undoubt(&cluster, &unconfirmed).await.expect(2, &["confirmed", "--yes"]);
    assert_eq!(branches(&cluster, BANK_A).await[0]["state"], "prepared");
    undoubt(&cluster, &["forget", "t", "--participant", &url]).await.expect(8, &["prepared", "heuristic"]);
    resolve(&cluster, BANK_A, "another", "commit").await.expect(5, &["another"]);
    resolve(&cluster, BANK_A, "t", "commit").await.expect(0, &[]);
    resolve(&cluster, BANK_A, "t", "abort").await.expect(8, &["not in doubt", "heuristically-committed"]);
    assert_eq!(branches(&cluster, BANK_A).await[0]["state"], "heuristically-committed");
    let described = undoubt_json(&cluster, &["participant", &cluster.url(BANK_B).unwrap()]).await.json();
    assert_eq!((&described["branches_in_doubt"], &described["resource"]), (&1.into(), &"kv".into()));
}

#[tokio::test]
async fn giving_up_on_a_participant_that_is_gone_for_good_is_recorded_as_a_hazard() {
    let mut cluster = start(banks()).await;
    cluster.kill(BANK_B).await.unwrap();
    cluster.restart(BANK_B, Some("before-commit:1")).await.unwrap();
    cluster.wait_until_ready(BANK_B).await.unwrap();
    until("it is connected", async || {
        let seen = crate::support::api::describe(&cluster).await;
        seen.participants.iter().all(|participant| participant.connected).then_some(())
    })
    .await;
    submit(&cluster, transfer("t", 10)).await.unwrap();
    assert!(!cluster.wait_until_ended(BANK_B, PATIENCE).await.unwrap());
    until("bank-a has acknowledged", async || {
        let seen = crate::support::api::get(&cluster, "t").await.unwrap();
        seen.branches.iter().any(|branch| branch.outcome != 0).then_some(())
    })
    .await;
    assert_eq!(list(&cluster, Filter::Unacknowledged).await, ["t"]);
    undoubt(&cluster, &["list", "--unacknowledged"]).await.expect(0, &["t", "committing"]);
    undoubt(&cluster, &["forget", "no-such", "--who", "Ada", "--reason", "x"]).await.expect(5, &["no-such"]);

    let forget = ["forget", "t", "--who", "Ada", "--reason", "bank-b burnt down"];
    undoubt(&cluster, &forget).await.expect(0, &["forgotten"]);
    let ended = async || {
        (crate::support::api::get(&cluster, "t").await.unwrap().phase == TransactionPhase::Ended.number()).then_some(())
    };
    until("it has ended", ended).await;
    assert_eq!(list(&cluster, Filter::Damaged).await, ["t"]);
    for round in ["at once", "after kill -9"] {
        let said = undoubt_json(&cluster, &["status", "t"]).await.expect(0, &[]).json();
        assert_eq!((&said["state"], &said["heuristic_damage"]), (&"committed".into(), &true.into()), "{round}");
        let outcome = |name: &str| {
            let branches = said["branches"].as_array().unwrap().iter();
            branches.clone().find(|branch| branch["participant"] == name).unwrap()["outcome"].clone()
        };
        assert_eq!((outcome("bank-a"), outcome("bank-b")), ("committed".into(), "unknown".into()), "{round}");
        undoubt(&cluster, &["history", "t"]).await.expect(0, &["Ada", "bank-b burnt down", "forgotten"]);
        cluster.kill(Who::Coordinator).await.unwrap();
        cluster.restart(Who::Coordinator, None).await.unwrap();
    }
    // It was not gone for good after all: it hears the decision, and the record stays until an operator has seen it.
    cluster.restart(BANK_B, None).await.unwrap();
    until("bank-b knows", async || branches(&cluster, BANK_B).await.is_empty().then_some(())).await;
    assert_eq!(value(&cluster, "bank-b", "bob").await.as_deref(), Some("10"));
    assert_eq!(list(&cluster, Filter::Damaged).await, ["t"]);
    undoubt(&cluster, &["forget", "t", "--who", "Ada", "--reason", "seen"]).await.expect(0, &[]);
    until("it is forgotten", async || list(&cluster, Filter::Damaged).await.is_empty().then_some(())).await;
    undoubt(&cluster, &["history", "t"]).await.expect(0, &["Ada", "bank-b burnt down", "seen"]);
}

#[tokio::test]
async fn what_is_not_decided_cannot_be_forgotten() {
    let mut cluster = start(banks()).await;
    cluster.kill(BANK_B).await.unwrap();
    submit(&cluster, no_wait(transfer("t", 10))).await.unwrap();
    let forget = ["forget", "t", "--who", "Ada", "--reason", "impatience"];
    undoubt(&cluster, &forget).await.expect(8, &["not decided", "cancel"]);
    undoubt(&cluster, &["cancel", "t"]).await.expect(0, &["aborted", "t", "cancelled"]);
    undoubt(&cluster, &["cancel", "t"]).await.expect(0, &["aborted"]);
    commit(&cluster, request("alone", [branch("bank-a", KvWork::new().put("k", "v"))])).await;
    undoubt(&cluster, &["cancel", "alone"]).await.expect(8, &["too late", "committed"]);
    undoubt(&cluster, &["cancel", "no-such"]).await.expect(5, &["no-such"]);
}

#[tokio::test]
async fn the_history_of_what_ended_is_still_whole_after_a_heuristic_outcome_was_reported() {
    let mut cluster = start(banks()).await;
    cluster.kill(BANK_B).await.unwrap();
    cluster.restart(BANK_B, Some("before-commit:1")).await.unwrap();
    cluster.wait_until_ready(BANK_B).await.unwrap();
    until("it is connected", async || {
        let seen = crate::support::api::describe(&cluster).await;
        seen.participants.iter().all(|participant| participant.connected).then_some(())
    })
    .await;
    submit(&cluster, transfer("t", 10)).await.unwrap();
    assert!(!cluster.wait_until_ended(BANK_B, PATIENCE).await.unwrap());
    let forget = ["forget", "t", "--who", "Ada", "--reason", "bank-b burnt down"];
    undoubt(&cluster, &forget).await.expect(0, &["forgotten"]);
    until("it has ended", async || list(&cluster, Filter::Open).await.is_empty().then_some(())).await;
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(BANK_B, None).await.unwrap();
    resolve(&cluster, BANK_B, "t", "abort").await.expect(0, &[]);
    cluster.restart(Who::Coordinator, None).await.unwrap();
    let found = until_decision_is_known(&cluster, BANK_B).await;
    assert_eq!(
        (found["heuristic"]["decision"].as_str(), &found["heuristic"]["damage"]),
        (Some("committed"), &true.into())
    );
    until("it is recorded", async || {
        let said = undoubt(&cluster, &["status", "t"]).await;
        said.out.contains("heuristically-aborted").then_some(())
    })
    .await;
    let words = ["begun", "voted", "decided", "Ada", "bank-b burnt down", "heuristically-aborted"];
    undoubt(&cluster, &["history", "t"]).await.expect(0, &words);
}

#[tokio::test]
async fn what_has_ended_is_collected_after_its_retention_and_what_is_damaged_once_it_is_forgotten() {
    let mut cluster = start(Plan { coordinator_settings: vec!["retention_s=0".to_owned()], ..banks() }).await;
    cluster.kill(BANK_B).await.unwrap();
    cluster.restart(BANK_B, Some("before-commit:1")).await.unwrap();
    cluster.wait_until_ready(BANK_B).await.unwrap();
    until("bank-b has voted", async || {
        let outcome = submit(&cluster, transfer("damaged", 10)).await.unwrap();
        (outcome.state() == v1::State::Committed).then_some(())
    })
    .await;
    assert!(!cluster.wait_until_ended(BANK_B, PATIENCE).await.unwrap());
    undoubt(&cluster, &["forget", "damaged", "--who", "Ada", "--reason", "it burnt down"]).await.expect(0, &[]);
    until("it is reported", async || (list(&cluster, Filter::Damaged).await == ["damaged"]).then_some(())).await;
    let gone = async |tx: &str| {
        let found = crate::support::api::get(&cluster, tx).await;
        found.is_err_and(|status| status.code() == tonic::Code::NotFound).then_some(())
    };
    for tx in ["plain", "another"] {
        submit(&cluster, request(tx, [branch("bank-a", KvWork::new().put("k", "v"))])).await.unwrap();
        until("it is collected", async || gone(tx).await).await;
    }
    assert_eq!(list(&cluster, Filter::Damaged).await, ["damaged"]);
    undoubt(&cluster, &["forget", "damaged", "--who", "Ada", "--reason", "seen"]).await.expect(0, &[]);
    until("it is collected", async || gone("damaged").await).await;
    assert_eq!(list(&cluster, Filter::Damaged).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_in_doubt_is_shown_at_all_participants_by_name_though_the_coordinator_is_dead() {
    let mut cluster = start(banks()).await;
    undoubt(&cluster, &["doubt"]).await.expect(0, &["nothing is in doubt"]);
    die_undecided(&mut cluster).await;
    let shown = undoubt_json(&cluster, &["doubt"]).await.expect(0, &[]).json();
    assert!(shown["coordinator_is_away"].is_string(), "{shown}");
    for (place, name) in ["bank-a", "bank-b"].into_iter().enumerate() {
        let at = &shown["participants"][place];
        assert_eq!((&at["participant"], &at["in_doubt"][0]["tx"]), (&name.into(), &"t".into()), "{shown}");
    }
    undoubt(&cluster, &["doubt"]).await.expect(0, &["are remembered", "t", "bank-a", "bank-b"]);
    undoubt(&cluster, &["branches", "bank-a", "--in-doubt"]).await.expect(0, &["t", "prepared"]);
    undoubt(&cluster, &["branches", "bank-c"]).await.expect(2, &["bank-c", "bank-a, bank-b"]);
    cluster.kill(BANK_B).await.unwrap();
    undoubt(&cluster, &["doubt"]).await.expect(6, &["t", "bank-a", "bank-b was not asked"]);
}

#[tokio::test]
async fn whoever_remembers_no_participants_gives_the_coordinators_configuration() {
    let cluster = undecided().await;
    undoubt(&cluster, &["doubt"]).await.expect(6, &["not remembered", "--config"]);
    let file = cluster.folder().join("coordinator.toml");
    let url = cluster.url(BANK_A).unwrap();
    std::fs::write(&file, format!("name = \"c\"\n[[participants]]\nname = \"bank-a\"\naddress = \"{url}\"\n")).unwrap();
    undoubt(&cluster, &["doubt", "--config", file.to_str().unwrap()]).await.expect(0, &["t", "bank-a"]);
    std::fs::write(&file, "name = \"c\"").unwrap();
    undoubt(&cluster, &["doubt", "--config", file.to_str().unwrap()]).await.expect(2, &["names no participants"]);
}
