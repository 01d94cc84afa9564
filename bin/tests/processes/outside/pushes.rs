//! Pushes of events to an HTTP service, whose database is opened in the end: each event is in effect there once, and what undoes it too,
//! whoever was killed.

use crate::support::cli::{undoubt, undoubt_json};
use crate::support::{PATIENCE, start, until};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};
use undoubt::cluster::{Cluster, Plan, Who};

const SHOP: Who = Who::Participant(0);
const PUSH: Who = Who::Participant(1);

/// The participant that hears of orders, and tells the service.
fn of_push(service: &str, shop: &str) -> String {
    format!(
        r#"
resource.kind = "http"
sources = [{{ name = "shop", address = "{shop}" }}]
[http]
allow = ["http://{service}/"]
call_timeout_ms = 2000
[[topic]]
name = "told"
[[on]]
name = "tell"
from = "shop"
topic = "orders"
type = "order.placed"
do = ["http post http://{service}/orders"]
emit = [{{ topic = "told", type = "order.told", data = {{ number = "{{result.0.number}}" }} }}]
refused = {{ topic = "told", type = "order.refused" }}
undo-on = [{{ from = "shop", topic = "orders", type = "order.withdrawn" }}]
undo = ["http post http://{service}/orders/withdraw"]
undone = {{ topic = "told", type = "order.untold" }}
"#
    )
}

/// The service, as a process.
struct Service {
    folder: PathBuf,
    child: Child,
    address: String,
}

impl Service {
    async fn start(folder: &Path, port: &str) -> Service {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/processes/outside/service.py");
        let file = folder.join("address");
        // What an earlier one has written is not the new one's.
        let _ = std::fs::remove_file(&file);
        let python = std::env::var_os("UNDOUBT_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
        let mut command = Command::new(python);
        command.arg(script).arg(folder.join("service.db")).arg(&file).arg(port);
        let log = std::fs::File::options().create(true).append(true).open(folder.join("service.log")).unwrap();
        let child = command.stderr(log).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let address =
            until("the service listens", async || std::fs::read_to_string(&file).ok().filter(|text| !text.is_empty()))
                .await;
        Service { folder: folder.to_owned(), child, address }
    }

    async fn kill_and_restart(mut self) -> Service {
        self.child.kill().await.unwrap();
        let port = self.address.split_once(':').unwrap().1.to_owned();
        Service::start(&self.folder, &port).await
    }

    /// Returns the rows of a question, each with its columns separated by spaces.
    async fn rows(&self, question: &str) -> Vec<String> {
        let python = std::env::var_os("UNDOUBT_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
        let print = "import sqlite3, sys\nfor row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]): print(*row)";
        let mut command = Command::new(python);
        command.arg("-c").arg(print).arg(self.folder.join("service.db")).arg(question);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

async fn publish(cluster: &Cluster, kind: &str, key: &str) {
    let event = format!("emit orders {kind} key={key} json={{\"item\":\"book\"}}");
    let said = undoubt(cluster, &["submit", "--id", &format!("{kind}-{key}"), "--on", "shop", &event]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

/// Returns the types of the events that the pushing participant has published, with how many there are of each.
async fn told(cluster: &Cluster) -> Vec<Value> {
    undoubt_json(cluster, &["events", "push"]).await.documents()
}

async fn both(folder: &Path, service: &Service) -> Cluster {
    let (of_shop, config) = (folder.join("shop.toml"), folder.join("push.toml"));
    std::fs::write(&of_shop, "[[topic]]\nname = \"orders\"\n").unwrap();
    // The port is reserved, so nothing listens on it.
    std::fs::write(&config, of_push(&service.address, "http://127.0.0.1:1")).unwrap();
    let configs = [("shop".to_owned(), of_shop), ("push".to_owned(), config.clone())].into();
    let names = ["shop", "push"].map(str::to_owned).to_vec();
    let mut cluster = start(Plan { configs, ..Plan::impatient(names) }).await;
    std::fs::write(&config, of_push(&service.address, &cluster.url(SHOP).unwrap())).unwrap();
    cluster.kill(PUSH).await.unwrap();
    cluster.restart(PUSH, None).await.unwrap();
    cluster
}

#[tokio::test]
async fn each_event_is_told_to_the_service_once_whoever_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(folder.path(), "0").await;
    let mut cluster = both(folder.path(), &service).await;
    let mut orders = 0;
    for round in 0..6 {
        for _ in 0..6 {
            publish(&cluster, "order.placed", &format!("order-{orders}")).await;
            orders += 1;
        }
        publish(&cluster, "order.placed", &format!("refuse-{round}")).await;
        match round % 3 {
            0 => {
                cluster.kill(PUSH).await.unwrap();
                cluster.restart(PUSH, None).await.unwrap();
            }
            1 => service = service.kill_and_restart().await,
            _ => {
                cluster.kill(SHOP).await.unwrap();
                cluster.restart(SHOP, None).await.unwrap();
                cluster.kill(PUSH).await.unwrap();
                cluster.restart(PUSH, None).await.unwrap();
            }
        }
    }
    let events = until("all are told", async || {
        let told = told(&cluster).await;
        (told.len() >= orders + 6).then_some(told)
    })
    .await;
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((of("order.told"), of("order.refused"), events.len()), (orders, 6, orders + 6), "{events:?}");
    // In order, and each once, though some calls came twice.
    let subjects = service.rows("SELECT subject FROM call ORDER BY number").await;
    let expected: Vec<String> = (0..orders).map(|number| format!("order-{number}")).collect();
    assert_eq!(subjects, expected);
    let repeated = service.rows("SELECT count(*) FROM times WHERE times > 1 AND key IN (SELECT key FROM call)").await;
    assert_ne!(repeated, ["0"], "no call was made again, so this shows nothing");
    // What the answer said is in what is published then; whole numbers as text, so that they stay exact.
    let of_told = events.iter().filter(|event| event["type"] == "order.told");
    let numbers: Vec<&str> = of_told.map(|event| event["data"]["number"].as_str().unwrap()).collect();
    assert_eq!(numbers, (1..=orders).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_told_is_withdrawn_under_the_same_effect_and_what_was_not_is_not_told_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), "0").await;
    let cluster = both(folder.path(), &service).await;
    let publish_in = async |saga: &str, kind: &str| {
        let event = format!("emit orders {kind} key=order-1 json={{}} correlation={saga}");
        let said = undoubt(&cluster, &["submit", "--on", "shop", &event]).await;
        assert_eq!(said.code, 0, "{said:?}");
    };
    publish_in("trip-1", "order.placed").await;
    publish_in("trip-1", "order.withdrawn").await;
    // What undoes it comes first: it is never told.
    publish_in("trip-2", "order.withdrawn").await;
    publish_in("trip-2", "order.placed").await;
    publish_in("trip-3", "order.placed").await;
    until("all are told", async || (told(&cluster).await.len() >= 3).then_some(())).await;
    let kinds: Vec<Value> = told(&cluster).await.into_iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["order.told", "order.untold", "order.told"]);
    assert_eq!(service.rows("SELECT operation FROM call ORDER BY number").await, ["action", "compensation", "action"]);
    assert_eq!(service.rows("SELECT count(DISTINCT effect) FROM call").await, ["2"]);
}

#[tokio::test]
async fn while_the_service_is_away_later_events_wait_and_it_is_shown_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(folder.path(), "0").await;
    let cluster = both(folder.path(), &service).await;
    service.child.kill().await.unwrap();
    for number in 0..3 {
        publish(&cluster, "order.placed", &format!("order-{number}")).await;
    }
    until("it is held up", async || {
        let said = undoubt_json(&cluster, &["subscriptions", "push"]).await;
        let shown: Value = serde_json::from_str(&said.out).unwrap();
        let one = shown["subscriptions"][0].clone();
        (one["standing"] == "held-up").then(|| assert!(one["why"].as_str().unwrap().contains("refused"), "{one}"))
    })
    .await;
    assert_eq!(told(&cluster).await.len(), 0);
    let port = service.address.split_once(':').unwrap().1.to_owned();
    let service = Service::start(folder.path(), &port).await;
    until("all are told", async || (told(&cluster).await.len() == 3).then_some(())).await;
    assert_eq!(service.rows("SELECT subject FROM call ORDER BY number").await, ["order-0", "order-1", "order-2"]);
}
