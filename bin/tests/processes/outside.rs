//! Events outside: tokens in answers, server-sent events at a gateway, and pushes to an HTTP service, over kill -9 of all of them.

mod pushes;

use crate::support::cli::{undoubt, undoubt_json};
use crate::support::http::{Events, JSON, get, post, request, send};
use crate::support::served::Served;
use crate::support::start;
use serde_json::{Value, json};
use std::path::PathBuf;
use undoubt::cluster::{Cluster, Plan, Who};

const TOPIC: &str = "[[topic]]\nname = \"orders\"\n";

/// Two participants that publish.
async fn publishers(folder: &tempfile::TempDir) -> Cluster {
    let file: PathBuf = folder.path().join("topics.toml");
    std::fs::write(&file, TOPIC).unwrap();
    let names = ["shop", "stock"].map(str::to_owned);
    let configs = names.clone().map(|name| (name, file.clone()));
    start(Plan { configs: configs.into(), ..Plan::impatient(names.to_vec()) }).await
}

fn placed(key: &str) -> String {
    format!("emit orders order.placed key={key} json={{\"item\":\"book\"}}")
}

/// Returns the id of the last event of a participant.
async fn last_event(cluster: &Cluster, at: &str) -> String {
    let said = undoubt_json(cluster, &["events", at]).await;
    said.documents().last().unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_waits_until_it_is_applied_is_told_how_far_each_log_is() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = publishers(&folder).await;
    let (of_shop, of_stock) = (placed("a"), placed("b"));
    let both = ["--on", "shop", &of_shop, "--on", "shop", "add n 1", "--on", "stock", &of_stock];
    let applied = ["submit", "--wait", "applied"];
    for _ in 0..3 {
        let outcome = undoubt_json(&cluster, &[&applied[..], &both].concat()).await.json();
        assert_eq!(outcome["applied"]["everywhere"], true, "{outcome}");
        for at in ["shop", "stock"] {
            assert_eq!(outcome["applied"]["tokens"][at], last_event(&cluster, at).await, "{outcome}");
        }
    }
    // A branch that is alone, and one that publishes nothing.
    let alone = undoubt_json(&cluster, &[&applied[..], &["--on", "shop", &of_shop]].concat()).await.json();
    assert_eq!(alone["applied"]["tokens"], json!({ "shop": last_event(&cluster, "shop").await }), "{alone}");
    let silent = [&applied[..], &["--on", "shop", "add n 1", "--on", "stock", "add n 1"]].concat();
    let silent = undoubt_json(&cluster, &silent).await.json();
    assert_eq!(silent["applied"], json!({ "everywhere": true, "tokens": {} }), "{silent}");
    // Who does not ask is told nothing of it, and a repetition is told what it can be.
    let known = [&["submit", "--id", "again"][..], &both].concat();
    let first = undoubt_json(&cluster, &known).await.json();
    assert_eq!(first.get("applied"), None, "{first}");
    let again = undoubt_json(&cluster, &[&["submit", "--wait", "applied", "--id", "again"][..], &both].concat()).await;
    assert_eq!(again.json()["applied"]["everywhere"], true, "{again:?}");
    let shown = undoubt(&cluster, &[&applied[..], &both].concat()).await;
    shown.expect(0, &["committed", "applied  everywhere", "last event", "shop", "stock"]);
    let both = [&applied[..], &["--no-wait", "--on", "shop", "add n 1"]].concat();
    undoubt(&cluster, &both).await.expect(2, &["--no-wait"]);
}

#[tokio::test]
async fn sagas_and_their_way_back_are_told_too() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = publishers(&folder).await;
    let step = |name: &str, at: &str, works: bool| {
        let guard = if works { "add n 1 floor=0" } else { "add n -9 floor=0" };
        json!({ "name": name, "at": at, "do": [guard, placed(name)], "undo": ["add n -1", placed(&format!("undo-{name}"))] })
    };
    for (works, state) in [(true, "committed"), (false, "aborted")] {
        let saga = json!({ "mode": "saga", "steps": [step("one", "shop", true), step("two", "stock", works)] });
        let file = folder.path().join("saga.json");
        std::fs::write(&file, saga.to_string()).unwrap();
        let said = undoubt_json(&cluster, &["submit", "--wait", "applied", "--file", file.to_str().unwrap()]).await;
        let outcome = said.json();
        assert_eq!(
            (outcome["state"].as_str(), &outcome["applied"]["everywhere"]),
            (Some(state), &json!(works)),
            "{outcome}"
        );
        assert_eq!(outcome["applied"]["tokens"]["shop"], last_event(&cluster, "shop").await, "{outcome}");
    }
    let begun = undoubt_json(&cluster, &["begin", "--id", "trip"]).await;
    assert_eq!(begun.code, 0, "{begun:?}");
    let (act, complete) = (placed("acted"), placed("completed"));
    let join =
        ["join", "trip", "seat", "--on", "stock", "--action", &act, "--undo", "add n -1", "--complete", &complete];
    assert_eq!(undoubt_json(&cluster, &join).await.code, 0);
    let closed = undoubt_json(&cluster, &["close", "trip", "--wait", "applied"]).await.json();
    assert_eq!(closed["applied"]["everywhere"], true, "{closed}");
    assert_eq!(closed["applied"]["tokens"]["stock"], last_event(&cluster, "stock").await, "{closed}");
}

#[tokio::test]
async fn what_is_not_applied_everywhere_in_time_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = publishers(&folder).await;
    let stock = Who::Participant(1);
    cluster.kill(stock).await.unwrap();
    cluster.restart(stock, Some("before-commit:1")).await.unwrap();
    let (of_shop, of_stock) = (placed("a"), placed("b"));
    let submit = ["submit", "--id", "t", "--wait", "applied", "--applied-within", "2s"];
    let both = [&submit[..], &["--on", "shop", &of_shop, "--on", "stock", &of_stock]].concat();
    let outcome = undoubt_json(&cluster, &both).await.json();
    assert_eq!(
        (outcome["state"].as_str(), &outcome["applied"]["everywhere"]),
        (Some("committed"), &json!(false)),
        "{outcome}"
    );
    assert_eq!(outcome["applied"]["tokens"], json!({ "shop": last_event(&cluster, "shop").await }), "{outcome}");
    cluster.restart(stock, None).await.unwrap();
    let again = [&["submit", "--id", "t", "--wait", "applied"][..], &both[7..]].concat();
    let outcome = undoubt_json(&cluster, &again).await.json();
    assert_eq!(outcome["applied"]["everywhere"], true, "{outcome}");
}

/// Publishes an event with work, and returns the id that it is told to have.
async fn publish(served: &Served, number: usize) -> String {
    let work = json!({ "branches": { "store": ["add orders 1", placed(&format!("order-{number}"))] } });
    let outcome = post(served.gateway, "/v1/transactions?applied=10s", &work).await.expect(200).json();
    assert_eq!(outcome["applied"]["everywhere"], true, "{outcome}");
    outcome["applied"]["tokens"]["store"].as_str().unwrap().to_owned()
}

const EVENTS: &str = "/v1/participants/store/events";

#[tokio::test]
async fn a_stream_of_events_goes_on_exactly_where_it_was_whoever_is_killed() {
    let mut served = Served::start(&["--topic", "orders", "--topic", "others"]).await;
    let (mut published, mut read) = (Vec::new(), Vec::new());
    for round in 0..3 {
        for number in 0..4 {
            published.push(publish(&served, 4 * round + number).await);
        }
        let last: Option<&Value> = read.last();
        let header = last.map(|event| format!("last-event-id: {}", event["id"].as_str().unwrap()));
        let headers: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut events = Events::open(served.gateway, &format!("{EVENTS}?topic=orders"), &headers).await;
        // One is left unread, and is the first of the next round.
        while read.len() < published.len() - 1 {
            let event = events.next().await.unwrap();
            assert_eq!((event.kind.as_str(), event.id.as_deref()), ("order.placed", event.data["id"].as_str()));
            assert_eq!(event.data["data"], json!({ "item": "book" }));
            read.push(event.data);
        }
        served = served.kill_and_restart().await;
    }
    let ids: Vec<&str> = read.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids, published[..published.len() - 1]);
    // Each start is a life of the log of its own.
    let lives: std::collections::BTreeSet<&str> = ids.iter().map(|id| id.split('-').next().unwrap()).collect();
    assert_eq!(lives.len(), 3, "{ids:?}");
    let now = get(served.gateway, &format!("{EVENTS}?until_now=true&key=order-3")).await.expect(200);
    assert_eq!(now.body.matches("data: {\"").count(), 1, "{now:?}");
    assert!(now.body.contains("event: undoubt.end"), "{now:?}");
    let others = get(served.gateway, &format!("{EVENTS}?until_now=true&topic=others")).await.expect(200);
    assert!(
        !others.body.contains("order.placed") && others.body.contains(&format!("id: {}", published[11])),
        "{others:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_streamed_is_an_ordinary_error() {
    let served = Served::start(&["--topic", "orders", "--set", "gateway.max_event_streams=1"]).await;
    let last = publish(&served, 0).await;
    let asked = async |query: &str| get(served.gateway, &format!("{EVENTS}{query}")).await;
    asked("?topic=nothing").await.problem(400, "INVALID_REQUEST", &["nothing", "orders"]);
    asked("?after=x").await.problem(400, "INVALID_REQUEST", &["after"]);
    asked("?limit=0").await.problem(400, "INVALID_REQUEST", &["limit"]);
    asked("?from=7").await.problem(400, "INVALID_REQUEST", &["from"]);
    let unknown = get(served.gateway, "/v1/participants/shop/events").await;
    unknown.problem(404, "UNKNOWN_PARTICIPANT", &["shop", "store", "gateway.sources"]);
    // Another life of the log, and a position that it does not have.
    let (life, position) = last.split_once('-').unwrap();
    let other = format!("{}-{position}", "0".repeat(life.len()));
    asked(&format!("?after={other}")).await.problem(409, "LOG_PUT_BACK", &["incarnation"]);
    asked(&format!("?after={life}-99")).await.problem(409, "LOG_PUT_BACK", &["ends"]);
    let header = format!("last-event-id: {other}");
    let resumed = send(served.gateway, &request("GET", EVENTS, &[&header, JSON], b"")).await;
    resumed.problem(409, "LOG_PUT_BACK", &[]);
    let open = Events::open(served.gateway, EVENTS, &[]).await;
    asked("").await.problem(503, "TOO_MANY_REQUESTS", &["gateway.max_event_streams"]);
    drop(open);
    let description = get(served.gateway, "/v1/openapi.json").await.json();
    assert!(description["paths"]["/v1/participants/{participant}/events"]["get"]["responses"]["200"].is_object());
}
