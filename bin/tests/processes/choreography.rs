//! Choreographed sagas: participants that react to each other's events, as real processes that are killed.

use crate::support::choreography::{BANK, Files, SHOP, STOCK, given, is, number, order, three};
use crate::support::cli::{undoubt, undoubt_json};
use crate::support::until;
use serde_json::Value;

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
