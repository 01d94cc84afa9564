//! Open transactions that are their owner's alone: whom they take steps and an end from, in front of the coordinator and of a gateway.

use crate::support::cli::{undoubt, undoubt_as};
use crate::support::http::{Answer, JSON, post, request, send};
use crate::support::served::Served;
use crate::support::{banks, start};
use serde_json::{Value, json};
use std::net::SocketAddr;
use undoubt::certificates::{self, Wanted};
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt::credentials::Credentials;
use undoubt_platform::access::TokenHash;

const BEGIN: [&str; 4] = ["begin", "--owner-only", "--deadline", "1h"];
const ROOM: [&str; 7] = ["--on", "bank-b", "--undo", "add released 1", "--complete", "add rooms 1", "--no-wait"];

/// Returns a secured cluster, and what somebody shows there who may submit, has a certificate, and is not the one with the token.
async fn secured() -> (Cluster, Credentials) {
    let coordinator_settings = vec!["tls.client_certificates=optional".to_owned()];
    let mut cluster = start(Plan { secured: true, coordinator_settings, ..banks() }).await;
    let certs = cluster.folder().join("certs");
    let other = Wanted { name: "other".to_owned(), list: vec!["submit".to_owned(), "read".to_owned()] };
    certificates::init(&certs, &[], &[other], 1).unwrap();
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    let file = |name: &str| Some(certs.join(name));
    let shown =
        Credentials { ca: file("ca.crt"), cert: file("other.crt"), key: file("other.key"), ..Credentials::default() };
    (cluster, shown)
}

async fn is_refused(cluster: &Cluster, who: &Credentials, arguments: &[&str]) {
    undoubt_as(cluster, who, arguments).await.expect(7, &["owner_only", "whoever asks is another", "have an operator"]);
}

#[tokio::test]
async fn another_identity_neither_joins_nor_ends_what_is_its_owners_alone_also_after_a_restart() {
    let (mut cluster, other) = secured().await;
    let (owner, admin) = (cluster.token(), cluster.credentials());
    for id in ["closed", "cancelled"] {
        undoubt_as(&cluster, &owner, &[&BEGIN[..], &["--id", id]].concat()).await.expect(0, &[id]);
    }
    for round in ["one", "two"] {
        for id in ["closed", "cancelled"] {
            let join = |step| [&["join", id, step], &ROOM[..]].concat();
            is_refused(&cluster, &other, &join("theirs")).await;
            is_refused(&cluster, &other, &["close", id]).await;
            is_refused(&cluster, &other, &["cancel", id]).await;
            // An operator ends it by his own means, and only so.
            is_refused(&cluster, &admin, &join("theirs")).await;
            is_refused(&cluster, &admin, &["close", id]).await;
            for begin in [&BEGIN[..], &["begin", "--deadline", "1h"]] {
                let again = [begin, &["--id", id]].concat();
                undoubt_as(&cluster, &other, &again).await.expect(7, &["other content"]);
            }
            undoubt_as(&cluster, &owner, &[&BEGIN[..], &["--id", id]].concat()).await.expect(0, &[id]);
            undoubt_as(&cluster, &owner, &join(round)).await.expect(0, &["joined"]);
        }
        cluster.kill(Who::Coordinator).await.unwrap();
        cluster.restart(Who::Coordinator, None).await.unwrap();
    }
    undoubt_as(&cluster, &admin, &["cancel", "cancelled"]).await.expect(0, &["aborted"]);
    undoubt_as(&cluster, &owner, &["close", "closed"]).await.expect(0, &["committed"]);
    let audit = undoubt_as(&cluster, &admin, &["audit", "--tx", "closed", "--output", "json"]).await.json();
    let entries = audit["entries"].as_array().unwrap();
    let refused = |entry: &&Value| entry["who"] == "other" && entry["refused"] == "NOT_OWNER";
    assert!(entries.iter().any(|entry| refused(&entry) && entry["action"] == "cancel"), "{audit}");
}

#[tokio::test]
async fn a_two_phase_transaction_stays_its_owners_while_it_is_closed_and_after_a_crash() {
    let (mut cluster, other) = secured().await;
    let owner = cluster.token();
    let begin = [&BEGIN[..], &["--id", "both", "--completions", "two-phase"]].concat();
    undoubt_as(&cluster, &owner, &begin).await.expect(0, &["both"]);
    for (step, at) in [("a", "bank-a"), ("b", "bank-b")] {
        let join = ["join", "both", step, "--on", at, "--complete", "add n 1"];
        is_refused(&cluster, &other, &join).await;
        undoubt_as(&cluster, &owner, &join).await.expect(0, &["joined"]);
    }
    cluster.kill(Who::Participant(1)).await.unwrap();
    for _ in 0..2 {
        // Its votes are awaited, so it could be cancelled still.
        undoubt_as(&cluster, &owner, &["close", "both", "--no-wait"]).await.expect(0, &["pending"]);
        is_refused(&cluster, &other, &["close", "both", "--no-wait"]).await;
        is_refused(&cluster, &other, &["cancel", "both"]).await;
        cluster.kill(Who::Coordinator).await.unwrap();
        cluster.restart(Who::Coordinator, None).await.unwrap();
        is_refused(&cluster, &other, &["cancel", "both"]).await;
    }
    cluster.restart(Who::Participant(1), None).await.unwrap();
    undoubt_as(&cluster, &owner, &["close", "both"]).await.expect(0, &["committed"]);
}

#[tokio::test]
async fn where_nobody_is_known_nothing_can_be_somebodys_alone() {
    let cluster = start(banks()).await;
    undoubt(&cluster, &[&BEGIN[..], &["--id", "t"]].concat()).await.expect(7, &["owner_only", "access.identities"]);
    undoubt(&cluster, &["status", "t"]).await.expect(5, &[]);
    let served = Served::start(&[]).await;
    let refused = post(served.gateway, "/v1/transactions/t/begin", &json!({ "owner_only": true })).await;
    refused.problem(400, "INVALID_REQUEST", &["owner_only", "access.identities"]);
    post(served.gateway, "/v1/transactions/t/begin", &json!({ "owner_only": false })).await.expect(201);
}

async fn asks(gateway: SocketAddr, who: &str, path: &str, body: &Value) -> Answer {
    let token = format!("authorization: Bearer token-of-{who}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    send(gateway, &request("POST", path, &[JSON, &token], body.as_bytes())).await
}

#[tokio::test]
async fn the_owner_is_the_gateways_caller_and_not_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identities.toml");
    let entry = |name: &str| {
        let hash = TokenHash::of(&format!("token-of-{name}"));
        format!("[[identity]]\nname = \"{name}\"\nroles = [\"submit\"]\ntokens = [\"{hash}\"]\n")
    };
    std::fs::write(&file, entry("ada") + &entry("bob")).unwrap();
    let mut served = Served::start(&["--set", &format!("access.identities={}", file.display())]).await;
    let terms = json!({ "deadline": "1h", "owner_only": true });
    asks(served.gateway, "ada", "/v1/transactions/t/begin", &terms).await.expect(201);
    let step = json!({ "at": "store", "do": ["add n 1"], "undo": ["add n -1"] });
    for _ in 0..2 {
        for (path, body) in
            [("steps/s/join", &step), ("steps/s/run", &step), ("close", &Value::Null), ("cancel", &Value::Null)]
        {
            let refused = asks(served.gateway, "bob", &format!("/v1/transactions/t/{path}"), body).await;
            let problem = refused.problem(403, "NOT_OWNER", &["owner_only"]);
            assert_eq!(problem["retryable"], false);
        }
        asks(served.gateway, "bob", "/v1/transactions/t/begin", &terms).await.problem(409, "OTHER_CONTENT", &[]);
        asks(served.gateway, "ada", "/v1/transactions/t/begin", &terms).await.expect(201);
        asks(served.gateway, "ada", "/v1/transactions/t/steps/s/run", &step).await.expect(200);
        served = served.kill_and_restart().await;
    }
    let closed = asks(served.gateway, "ada", "/v1/transactions/t/close", &Value::Null).await.expect(200).json();
    assert_eq!(closed["state"], "committed");
}
