//! A database that is restored from a backup is noticed, as a folder is: by what the coordinator has seen of it.

use crate::restored_folders::{accept_loss_of, says_that_it_was_put_back, start_again, until_connected};
use crate::support::api::list;
use crate::support::{programs, start, until};
use undoubt::cluster::{Plan, Who};
use undoubt::databases::front;
use undoubt::workload::PROCEDURES;
use undoubt_client::kv::KvWork;
use undoubt_client::work::call::Call;
use undoubt_client::{Client, Outcome, Transaction};
use undoubt_proto::v1::list_request::Filter;
use undoubt_test_servers::Postgres;

const DATABASE: Who = Who::Participant(0);

async fn add(client: &Client, id: &str) -> Outcome {
    let call = Call::new("add").arg("name", "account").arg("amount", 1);
    let transaction = Transaction::with_id(id.parse().unwrap()).on("postgresql", call);
    client.submit(transaction.on("store", KvWork::new().add("account", -1))).await.unwrap().outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_restored_serves_nobody_until_the_loss_is_accepted_and_what_it_lost_is_listed() {
    let (programs, folder) = (programs(), tempfile::tempdir().unwrap());
    let mut server = Postgres::start(&[("max_prepared_transactions", "20")]).await.unwrap();
    server.sql("postgres", "CREATE DATABASE run;").await.unwrap();
    let tables: String = PROCEDURES.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    server.sql("run", &format!("{tables} INSERT INTO run_accounts VALUES ('account', 0);")).await.unwrap();
    let kind = ("postgresql", "postgresql");
    let config = front(&programs, folder.path(), kind, &server.url("run"), PROCEDURES).await.unwrap();
    let plan = Plan {
        participants: vec!["postgresql".to_owned(), "store".to_owned()],
        configs: [("postgresql".to_owned(), config)].into(),
        ..Plan::default()
    };
    let mut cluster = start(plan).await;
    until_connected(&cluster, "postgresql").await;
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator).unwrap(), cluster.options().unwrap()).unwrap();
    assert_eq!(add(&client, "before").await, Outcome::Committed);
    until("it is acknowledged", async || list(&cluster, Filter::Unacknowledged).await.is_empty().then_some(())).await;
    let backup = server.base_backup().await.unwrap();
    assert_eq!(add(&client, "since").await, Outcome::Committed);
    until("it is acknowledged", async || list(&cluster, Filter::Unacknowledged).await.is_empty().then_some(())).await;
    cluster.kill(DATABASE).await.unwrap();
    server.kill_9();
    server.put_back(&backup).await.unwrap();
    server.restart().await.unwrap();
    start_again(&mut cluster, DATABASE).await;
    let said = says_that_it_was_put_back(&cluster, DATABASE).await;
    assert!(said.contains("others have seen its write"), "{said}");
    let refused = add(&client, "meanwhile").await;
    assert!(matches!(refused, Outcome::Aborted(_)), "{refused:?}");
    accept_loss_of(&cluster, DATABASE).await;
    until_connected(&cluster, "postgresql").await;
    assert_eq!(list(&cluster, Filter::Damaged).await, ["since"]);
    assert_eq!(add(&client, "after").await, Outcome::Committed);
    until("before and after are seen", async || {
        let balance = server.sql("run", "SELECT balance FROM run_accounts WHERE name = 'account';").await.unwrap();
        (balance.trim() == "2").then_some(())
    })
    .await;
    // The audit record is in the database itself.
    let kept = "SELECT count(*) > 0 FROM undoubt.kept WHERE family = 'audit';";
    assert_eq!(server.sql("run", kept).await.unwrap().trim(), "t");
}
