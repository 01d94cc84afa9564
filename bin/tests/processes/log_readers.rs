//! Logs of events that are trimmed behind their readers, and readers whose source was put back.

use crate::restored_folders::{accept_loss_of, says_that_it_was_put_back, start_again, until_connected};
use crate::support::cli::{undoubt, undoubt_json};
use crate::support::{start, until};
use serde_json::Value;
use std::path::Path;
use undoubt::cluster::{Cluster, Plan, Who};

const SHOP: Who = Who::Participant(0);
const STOCK: Who = Who::Participant(1);

const OF_SHOP: &str = "keep_events_ms = 0\n[[topic]]\nname = \"orders\"\npartitions = 2\n";

fn of_stock(shop: &str) -> String {
    format!(
        "[[sources]]\nname = \"shop\"\naddress = \"{shop}\"\n[[topic]]\nname = \"stock\"\n[[on]]\nname = \"count\"\nfrom = \"shop\"\ntopic = \
         \"orders\"\ntype = \"order.placed\"\ndo = [\"add orders/{{data.item}} 1\"]\n"
    )
}

async fn two(folder: &Path) -> Cluster {
    let path = |name: &str| folder.join(format!("{name}.toml"));
    std::fs::write(path("shop"), OF_SHOP).unwrap();
    std::fs::write(path("stock"), of_stock("http://127.0.0.1:1")).unwrap();
    let configs = ["shop", "stock"].map(|name| (name.to_owned(), path(name)));
    let names = ["shop", "stock"].map(str::to_owned).to_vec();
    let mut cluster = start(Plan { configs: configs.into(), ..Plan::impatient(names) }).await;
    std::fs::write(path("stock"), of_stock(&cluster.url(SHOP).unwrap())).unwrap();
    cluster.kill(STOCK).await.unwrap();
    cluster.restart(STOCK, None).await.unwrap();
    cluster
}

/// Places orders, 250 in a transaction.
async fn place(cluster: &Cluster, item: &str, transactions: usize) {
    let emit = format!("emit orders order.placed key={item} json={{\"item\":\"{item}\"}}");
    for _ in 0..transactions {
        let each = std::iter::repeat_n(["--on", "shop", emit.as_str()], 250).flatten();
        let arguments: Vec<&str> = std::iter::once("submit").chain(each).collect();
        let said = undoubt(cluster, &arguments).await;
        assert_eq!(said.code, 0, "{said:?}");
    }
}

async fn counted(cluster: &Cluster, item: &str, expected: i64) {
    until(&format!("{expected} of {item} are counted"), async || {
        let count = crate::support::api::value(cluster, "stock", &format!("orders/{item}")).await;
        (count.as_deref() == Some(expected.to_string().as_str())).then_some(())
    })
    .await;
}

async fn shown(cluster: &Cluster, arguments: &[&str]) -> Value {
    let said = undoubt_json(cluster, arguments).await;
    assert_eq!(said.code, 0, "{said:?}");
    serde_json::from_str(&said.out).unwrap()
}

#[tokio::test]
async fn a_log_is_trimmed_behind_its_readers_and_one_that_is_away_keeps_what_it_has_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = two(folder.path()).await;
    place(&cluster, "book", 10).await;
    counted(&cluster, "book", 2_500).await;
    until("what was taken is dropped", async || {
        let readers = shown(&cluster, &["readers", "list", "shop"]).await;
        assert_eq!(readers["readers"][0]["name"], "stock/count", "{readers}");
        (readers["log"]["first"].as_u64().unwrap() > 2_000).then_some(())
    })
    .await;
    cluster.kill(STOCK).await.unwrap();
    place(&cluster, "book", 10).await;
    cluster.kill(SHOP).await.unwrap();
    cluster.restart(SHOP, None).await.unwrap();
    cluster.restart(STOCK, None).await.unwrap();
    counted(&cluster, "book", 5_000).await;
    let gone = undoubt(&cluster, &["events", "shop", "--after", "1"]).await;
    assert!(gone.code != 0 && gone.err.contains("were dropped"), "{gone:?}");
    let forgotten =
        undoubt(&cluster, &["readers", "forget", "shop", "nobody", "--who", "ann", "--reason", "test", "--yes"]).await;
    assert!(forgotten.code != 0 && forgotten.err.contains("no reader nobody is registered"), "{forgotten:?}");
}

#[tokio::test]
async fn a_subscription_whose_source_was_put_back_stops_and_goes_on_where_an_operator_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = two(folder.path()).await;
    place(&cluster, "book", 1).await;
    counted(&cluster, "book", 250).await;
    cluster.kill(SHOP).await.unwrap();
    let copy = cluster.copy(SHOP, "copy").unwrap();
    cluster.restart(SHOP, None).await.unwrap();
    place(&cluster, "pen", 1).await;
    counted(&cluster, "pen", 250).await;
    cluster.kill(SHOP).await.unwrap();
    cluster.put_back(SHOP, &copy).unwrap();
    start_again(&mut cluster, SHOP).await;
    says_that_it_was_put_back(&cluster, SHOP).await;
    accept_loss_of(&cluster, SHOP).await;
    until_connected(&cluster, "shop").await;
    let stands = async |standing: &str| {
        until(&format!("the subscription is {standing}"), async || {
            let subscriptions = shown(&cluster, &["subscriptions", "stock"]).await;
            (subscriptions["subscriptions"][0]["standing"] == standing).then_some(())
        })
        .await;
    };
    stands("stopped").await;
    let resumed = undoubt(
        &cluster,
        &[
            "resume-subscription",
            "stock",
            "count",
            "shop",
            "--after",
            "250",
            "--who",
            "ann",
            "--reason",
            "looked",
            "--yes",
        ],
    )
    .await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    stands("reading").await;
    place(&cluster, "cup", 1).await;
    counted(&cluster, "cup", 250).await;
    counted(&cluster, "book", 250).await;
    let again = undoubt(
        &cluster,
        &["resume-subscription", "stock", "count", "shop", "--who", "ann", "--reason", "looked", "--yes"],
    )
    .await;
    assert!(again.code != 0 && again.err.contains("has not stopped"), "{again:?}");
}
