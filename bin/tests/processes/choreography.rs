//! Choreographed sagas: participants that react to each other's events, as real processes that are killed.

use crate::support::api::value;
use crate::support::cli::{undoubt, undoubt_json};
use crate::support::{start, until};
use serde_json::Value;
use std::path::PathBuf;
use undoubt::cluster::{Cluster, Plan, Who};

const SHOP: Who = Who::Participant(0);
const STOCK: Who = Who::Participant(1);
const BANK: Who = Who::Participant(2);
const NAMES: [&str; 3] = ["shop", "stock", "bank"];

const OF_SHOP: &str = include_str!("../../../participant/examples/choreography/shop.toml");
const OF_STOCK: &str = include_str!("../../../participant/examples/choreography/stock.toml");
const OF_BANK: &str = include_str!("../../../participant/examples/choreography/bank.toml");
/// The settings files of the three, in a folder that goes with this.
struct Files {
    folder: tempfile::TempDir,
    expiry: &'static str,
}

impl Files {
    fn new(expiry: &'static str) -> Files {
        Files { folder: tempfile::tempdir().unwrap(), expiry }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.toml"))
    }

    /// Writes them with the addresses of those that are known.
    fn write(&self, addresses: &[(&str, String)]) {
        for (name, declared) in NAMES.into_iter().zip([OF_SHOP, OF_STOCK, OF_BANK]) {
            let mut text = declared.replace("30s", self.expiry);
            for (source, port) in NAMES.into_iter().zip([7_401, 7_402, 7_403]) {
                let address = addresses.iter().find(|(known, _)| *known == source);
                // The port is reserved, so nothing listens on it.
                let address = address.map_or("http://127.0.0.1:1", |(_, address)| address.as_str());
                text = text.replace(&format!("http://127.0.0.1:{port}"), address);
            }
            std::fs::write(self.path(name), text).unwrap();
        }
    }
}

/// Starts the three. Each knows where the others are from its second start on.
async fn three(files: &Files) -> Cluster {
    files.write(&[]);
    let configs = NAMES.map(|name| (name.to_owned(), files.path(name)));
    let plan = Plan { configs: configs.into(), ..Plan::impatient(NAMES.map(str::to_owned).to_vec()) };
    let mut cluster = start(plan).await;
    let all = [SHOP, STOCK, BANK];
    let addresses: Vec<_> = NAMES.into_iter().zip(all.map(|who| cluster.url(who).unwrap())).collect();
    files.write(&addresses);
    for who in all {
        cluster.kill(who).await.unwrap();
        cluster.restart(who, None).await.unwrap();
    }
    cluster
}

async fn order(cluster: &Cluster, id: &str, who: &str) {
    let event = format!(
        "emit orders order.placed key={id} json={{\"item\":\"book\",\"count\":1,\"who\":\"{who}\",\"price\":10}}"
    );
    let said = undoubt(cluster, &["submit", "--id", id, "--on", "shop", &event]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

async fn given(cluster: &Cluster, at: &str, work: &str) {
    let said = undoubt(cluster, &["submit", "--on", at, work]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

/// Returns a number that a participant has under a key; 0 if there is none.
async fn number(cluster: &Cluster, at: &str, key: &str) -> i64 {
    value(cluster, at, key).await.map_or(0, |text| text.parse().unwrap())
}

async fn is(cluster: &Cluster, at: &str, key: &str, expected: i64) {
    until(&format!("{key} at {at} is {expected}"), async || (number(cluster, at, key).await == expected).then_some(()))
        .await;
}

#[tokio::test]
async fn each_order_is_finished_or_undone_everywhere_whoever_is_killed() {
    let files = Files::new("10m");
    let mut cluster = three(&files).await;
    given(&cluster, "stock", "add stock/book 30").await;
    given(&cluster, "bank", "add account/ann 100").await;
    given(&cluster, "bank", "add account/bob 15").await;
    for round in 0..4 {
        for number in 0..8 {
            order(&cluster, &format!("ann-{round}-{number}"), "ann").await;
        }
        order(&cluster, &format!("bob-{round}"), "bob").await;
        for who in [[STOCK, BANK, SHOP, STOCK], [BANK, SHOP, STOCK, BANK]].map(|order| order[round]) {
            cluster.kill(who).await.unwrap();
            cluster.restart(who, None).await.unwrap();
        }
    }
    // Of 36 orders as many are paid as there is money: ten of Ann's, one of Bob's.
    is(&cluster, "shop", "finished", 11).await;
    is(&cluster, "shop", "failed", 25).await;
    assert_eq!(number(&cluster, "bank", "account/ann").await, 0);
    assert_eq!(number(&cluster, "bank", "account/bob").await, 5);
    is(&cluster, "stock", "stock/book", 30 - 11).await;
    until("the stock reads both again", async || {
        let said = undoubt_json(&cluster, &["subscriptions", "stock"]).await;
        let shown: Value = serde_json::from_str(&said.out).unwrap();
        let subscriptions = shown["subscriptions"].as_array().unwrap();
        assert_eq!(subscriptions.len(), 2, "{shown}");
        subscriptions.iter().all(|one| one["standing"] == "reading" && one["parked"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_order_that_does_not_end_in_time_expires_and_what_was_done_is_undone() {
    let files = Files::new("1s");
    let mut cluster = three(&files).await;
    given(&cluster, "stock", "add stock/book 5").await;
    cluster.kill(BANK).await.unwrap();
    order(&cluster, "late", "ann").await;
    until("it has expired", async || {
        let said = undoubt_json(&cluster, &["events", "shop"]).await;
        said.out.contains("order.expired").then_some(())
    })
    .await;
    is(&cluster, "stock", "stock/book", 5).await;
    cluster.restart(BANK, None).await.unwrap();
    given(&cluster, "bank", "add account/ann 100").await;
    // What is undone came first, or comes after it: in the end nothing is paid.
    until("the bank has read all that the others have published", async || {
        let said = undoubt_json(&cluster, &["subscriptions", "bank"]).await;
        let shown: Value = serde_json::from_str(&said.out).ok()?;
        let all = shown["subscriptions"].as_array()?;
        all.iter().all(|one| one["standing"] == "reading" && one["behind_events"] == 0).then_some(())
    })
    .await;
    is(&cluster, "bank", "account/ann", 100).await;
}

#[tokio::test]
async fn what_cannot_be_applied_parks_its_key_and_other_keys_go_on_until_an_operator_says_how() {
    let files = Files::new("10m");
    let cluster = three(&files).await;
    given(&cluster, "stock", "add stock/book 5").await;
    given(&cluster, "bank", "add account/ann 100").await;
    let poison = "emit orders order.placed key=poison json={\"item\":\"book\"}";
    given(&cluster, "shop", poison).await;
    given(&cluster, "shop", poison).await;
    order(&cluster, "good", "ann").await;
    is(&cluster, "shop", "finished", 1).await;
    let parked = async || {
        let said = undoubt_json(&cluster, &["parked", "list", "stock", "reserve"]).await;
        let shown: Value = serde_json::from_str(&said.out).unwrap();
        shown["parked"].as_array().unwrap().clone()
    };
    until("both are parked", async || (parked().await.len() == 2).then_some(())).await;
    let both = parked().await;
    assert!(both[0]["refusal"]["detail"].as_str().unwrap().contains("data.count"), "{both:?}");
    assert_eq!(both[1]["refusal"], Value::Null, "{both:?}");
    let by = ["--who", "Ada", "--reason", "it was published by mistake", "--yes"];
    let said = undoubt(&cluster, &[&["parked", "retry", "stock", "reserve", "poison"], &by[..]].concat()).await;
    assert!(said.code != 0 && said.err.contains("data.count"), "{said:?}");
    let turn = both[0]["turn"].to_string();
    let skip = ["parked", "skip", "stock", "reserve", "poison", "--turn", turn.as_str()];
    let said = undoubt(&cluster, &[&skip, &by[..]].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(parked().await.len(), 1);
    let said = undoubt(&cluster, &[&["parked", "drop", "stock", "reserve", "poison"], &by[..]].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(parked().await.len(), 0);
    let said = undoubt(&cluster, &["parked", "list", "stock", "nobody"]).await;
    assert!(said.code != 0 && said.err.contains("there are: reserve"), "{said:?}");
    is(&cluster, "stock", "stock/book", 4).await;
}
