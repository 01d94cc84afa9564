//! Events of participants in front of databases, as real processes that are killed.

use crate::support::cli::{undoubt, undoubt_json};
use crate::support::{programs, start, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt::databases::front;
use undoubt_test_servers::{MariaDb, Postgres};

const DATABASE: &str = "shop";

const TABLES: &str = "CREATE TABLE stock (item VARCHAR(20) PRIMARY KEY, free BIGINT NOT NULL); INSERT INTO stock VALUES ('book', 30), \
     ('pen', 1000); CREATE TABLE account (who VARCHAR(20) PRIMARY KEY, balance BIGINT NOT NULL); INSERT INTO account VALUES ('ann', 100), \
     ('bob', 15);";

const PUBLISHING: &str = r#"
[procedure.take]
parameters = { item = "text", count = "bigint" }
statements = [{ sql = "UPDATE stock SET free = free - :count WHERE item = :item RETURNING free", rows = 1 }]

[[topic]]
name = "stock"
partitions = 3
"#;

/// Takes pens one by one, and publishes how many are left.
async fn take(cluster: &Cluster, id: &str, also_at: Option<&str>) {
    let (call, event) = ("call take item=pen count=1", "emit stock pen.taken key=pen data-from=.0.free");
    let mut said = vec!["submit", "--id", id, "--on", "stock", call, "--on", "stock", event];
    // A second participant makes it a two-phase commit.
    if let Some(at) = also_at {
        said.extend(["--on", at, "add taken 1"]);
    }
    let said = undoubt(cluster, &said).await;
    assert_eq!(said.code, 0, "{said:?}");
}

async fn events(cluster: &Cluster, at: &str) -> Vec<Value> {
    let said = undoubt_json(cluster, &["events", at]).await;
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_postgresql_have_dense_positions_in_the_order_of_the_work_whoever_is_killed() {
    let (programs, folder) = (programs(), tempfile::tempdir().unwrap());
    let mut server = Postgres::start(&[("max_prepared_transactions", "50")]).await.unwrap();
    server.sql("postgres", &format!("CREATE DATABASE {DATABASE};")).await.unwrap();
    server.sql(DATABASE, TABLES).await.unwrap();
    let url = server.url(DATABASE);
    let config = front(&programs, folder.path(), ("stock", "postgresql"), &url, PUBLISHING).await.unwrap();
    let participants = ["stock", "store"].map(str::to_owned).to_vec();
    let plan = Plan { configs: [("stock".to_owned(), config)].into(), ..Plan::impatient(participants) };
    let mut cluster = start(plan).await;
    let stock = Who::Participant(0);
    const ROUNDS: u64 = 4;
    for round in 0..ROUNDS {
        for number in 0..5 {
            take(&cluster, &format!("one-{round}-{number}"), None).await;
            take(&cluster, &format!("two-{round}-{number}"), Some("store")).await;
        }
        if round % 2 == 0 {
            cluster.kill(stock).await.unwrap();
            cluster.restart(stock, None).await.unwrap();
        } else {
            server.kill_9();
            server.restart().await.unwrap();
        }
    }
    let all = 10 * ROUNDS;
    let events = until("all events have positions", async || {
        let events = events(&cluster, "stock").await;
        (events.len() as u64 >= all).then_some(events)
    })
    .await;
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event["position"], place + 1, "{event}");
        assert_eq!(event["data"].as_str().unwrap(), (999 - place).to_string(), "{event}");
    }
    assert_eq!(events.len() as u64, all);
}

const STOCK: &str = r#"
[procedure.take]
parameters = { item = "text", count = "bigint" }
statements = [{ sql = "UPDATE stock SET free = free - :count WHERE item = :item AND free >= :count RETURNING free", rows = 1, otherwise = "too few of {item} are left" }]

[procedure.give_back]
parameters = { item = "text", count = "bigint" }
statements = [{ sql = "UPDATE stock SET free = free + :count WHERE item = :item", rows = 1 }]

[[sources]]
name = "shop"
address = "http://127.0.0.1:1"

[[sources]]
name = "bank"
address = "http://127.0.0.1:3"

[[topic]]
name = "stock"
partitions = 4

[[on]]
name = "reserve"
from = "shop"
topic = "orders"
type = "order.placed"
do = ["call take item={data.item} count={data.count}"]
emit = { topic = "stock", type = "stock.reserved", data = { who = "{data.who}", price = "{data.price}", left = "{result.0.free}" } }
refused = { topic = "stock", type = "stock.refused" }
undo-on = [
  { from = "bank", topic = "payments", type = "payment.refused" },
  { from = "shop", topic = "orders", type = "order.expired" },
]
undo = ["call give_back item={data.item} count={data.count}"]
"#;

const BANK: &str = r#"
[procedure.pay]
parameters = { who = "text", price = "bigint" }
statements = [{ sql = "UPDATE account SET balance = balance - :price WHERE who = :who AND balance >= :price", rows = 1, otherwise = "{who} has less than {price}" }]

[procedure.pay_back]
parameters = { who = "text", price = "bigint" }
statements = [{ sql = "UPDATE account SET balance = balance + :price WHERE who = :who", rows = 1 }]

[[sources]]
name = "stock"
address = "http://127.0.0.1:2"

[[sources]]
name = "shop"
address = "http://127.0.0.1:1"

[[topic]]
name = "payments"
partitions = 4

[[on]]
name = "pay"
from = "stock"
topic = "stock"
type = "stock.reserved"
do = ["call pay who={data.who} price={data.price}"]
emit = { topic = "payments", type = "payment.taken" }
refused = { topic = "payments", type = "payment.refused" }
undo-on = [{ from = "shop", topic = "orders", type = "order.expired" }]
undo = ["call pay_back who={data.who} price={data.price}"]
"#;

/// Writes where the others are into the settings of each.
fn introduce(configs: &BTreeMap<String, PathBuf>, addresses: [&str; 3]) {
    for config in configs.values() {
        let mut text = std::fs::read_to_string(config).unwrap();
        for (port, address) in ["1", "2", "3"].into_iter().zip(addresses) {
            text = text.replace(&format!("\"http://127.0.0.1:{port}\""), &format!("\"{address}\""));
        }
        std::fs::write(config, text).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_end_everywhere_over_a_store_and_both_databases_whoever_is_killed() {
    let (programs, folder) = (programs(), tempfile::tempdir().unwrap());
    let mut postgresql = Postgres::start(&[("max_prepared_transactions", "50")]).await.unwrap();
    let mut mariadb = MariaDb::start(&[]).await.unwrap();
    postgresql.sql("postgres", &format!("CREATE DATABASE {DATABASE};")).await.unwrap();
    mariadb.sql("", &format!("CREATE DATABASE {DATABASE};")).await.unwrap();
    postgresql.sql(DATABASE, TABLES).await.unwrap();
    mariadb.sql(DATABASE, TABLES).await.unwrap();
    let shop = include_str!("../../../participant/examples/choreography/shop.toml").replace("30s", "10m");
    let shop = shop.replace("127.0.0.1:7402", "127.0.0.1:2").replace("127.0.0.1:7403", "127.0.0.1:3");
    let mut configs = BTreeMap::from([("shop".to_owned(), folder.path().join("shop.toml"))]);
    std::fs::write(&configs["shop"], shop).unwrap();
    let (stock_at, bank_at) = (postgresql.url(DATABASE), mariadb.url(DATABASE));
    for (name, kind, url, declared) in [("stock", "postgresql", &stock_at, STOCK), ("bank", "mariadb", &bank_at, BANK)]
    {
        configs.insert(name.to_owned(), front(&programs, folder.path(), (name, kind), url, declared).await.unwrap());
    }
    let names = ["shop", "stock", "bank"].map(str::to_owned).to_vec();
    let mut plan = Plan { configs: configs.clone(), ..Plan::impatient(names) };
    // Whoever waits for a server that was killed asks again soon.
    plan.participant_settings.push("retry_max_pause_ms=500".to_owned());
    let mut cluster = start(plan).await;
    let all = [0, 1, 2].map(Who::Participant);
    let addresses = all.map(|who| cluster.url(who).unwrap());
    introduce(&configs, [&addresses[0], &addresses[1], &addresses[2]]);
    for who in all {
        cluster.kill(who).await.unwrap();
        cluster.restart(who, None).await.unwrap();
    }
    let order = async |cluster: &Cluster, id: String, who: &str| {
        let data = format!("{{\"item\":\"book\",\"count\":1,\"who\":\"{who}\",\"price\":10}}");
        let event = format!("emit orders order.placed key={id} json={data}");
        let said = undoubt(cluster, &["submit", "--id", &id, "--on", "shop", &event]).await;
        assert_eq!(said.code, 0, "{said:?}");
    };
    for round in 0..4 {
        for number in 0..8 {
            order(&cluster, format!("ann-{round}-{number}"), "ann").await;
        }
        order(&cluster, format!("bob-{round}"), "bob").await;
        match round {
            0 => cluster.kill(all[1]).await.unwrap(),
            1 => cluster.kill(all[2]).await.unwrap(),
            2 => postgresql.kill_9(),
            _ => mariadb.kill_9(),
        }
        match round {
            0 => cluster.restart(all[1], None).await.unwrap(),
            1 => cluster.restart(all[2], None).await.unwrap(),
            2 => postgresql.restart().await.unwrap(),
            _ => mariadb.restart().await.unwrap(),
        }
    }
    // Of 36 orders 30 have books; as many of those are paid as there is money: ten of Ann's, one of Bob's.
    let number = async |key: &str| {
        let found = crate::support::api::value(&cluster, "shop", key).await;
        found.map_or(0, |text| text.parse::<i64>().unwrap())
    };
    until("all orders have ended", async || {
        let (finished, failed) = (number("finished").await, number("failed").await);
        (finished + failed == 36).then_some(())
    })
    .await;
    assert_eq!((number("finished").await, number("failed").await), (11, 25));
    until("the stock has back what is not paid", async || {
        let free = postgresql.sql(DATABASE, "SELECT free FROM stock WHERE item = 'book'").await.ok()?;
        (free.trim() == "19").then_some(())
    })
    .await;
    let balances = mariadb.sql(DATABASE, "SELECT who, balance FROM account ORDER BY who").await.unwrap();
    assert_eq!(balances.trim(), "ann\t0\nbob\t5");
    for who in ["stock", "bank"] {
        let said = undoubt_json(&cluster, &["subscriptions", who]).await;
        let shown: Value = serde_json::from_str(&said.out).unwrap();
        let subscriptions = shown["subscriptions"].as_array().unwrap();
        assert!(subscriptions.iter().all(|one| one["parked"] == 0), "{shown}");
    }
}
