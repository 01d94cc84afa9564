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
use undoubt_test_servers::{Copy, MariaDb, Postgres};

const DATABASE: Who = Who::Participant(0);

/// A private server with the database `run`.
enum Server {
    PostgreSql(Postgres),
    MariaDb(MariaDb),
}

impl Server {
    fn kind(&self) -> &'static str {
        match self {
            Server::PostgreSql(_) => "postgresql",
            Server::MariaDb(_) => "mariadb",
        }
    }

    fn url(&self) -> String {
        match self {
            Server::PostgreSql(server) => server.url("run"),
            Server::MariaDb(server) => server.url("run"),
        }
    }

    async fn sql(&self, statements: &str) -> String {
        let rows = match self {
            Server::PostgreSql(server) => server.sql("run", statements).await,
            Server::MariaDb(server) => server.sql("run", statements).await,
        };
        rows.unwrap().trim().to_owned()
    }

    async fn make_database(&self) {
        let made = match self {
            Server::PostgreSql(server) => server.sql("postgres", "CREATE DATABASE run;").await,
            Server::MariaDb(server) => server.sql("mysql", "CREATE DATABASE run;").await,
        };
        made.unwrap();
        let tables: String = PROCEDURES.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
        self.sql(&format!("{tables} INSERT INTO run_accounts VALUES ('account', 0);")).await;
    }

    async fn backup(&mut self) -> Copy {
        match self {
            Server::PostgreSql(server) => server.base_backup().await.unwrap(),
            Server::MariaDb(server) => {
                server.stop().await.unwrap();
                let copy = server.copy().await.unwrap();
                server.restart().await.unwrap();
                copy
            }
        }
    }

    async fn put_back(&mut self, backup: &Copy) {
        match self {
            Server::PostgreSql(server) => {
                server.kill_9();
                server.put_back(backup).await.unwrap();
                server.restart().await.unwrap();
            }
            Server::MariaDb(server) => {
                server.kill_9();
                server.put_back(backup).await.unwrap();
                server.restart().await.unwrap();
            }
        }
    }
}

async fn add(client: &Client, id: &str) -> Outcome {
    let call = Call::new("add").arg("name", "account").arg("amount", 1);
    let transaction = Transaction::with_id(id.parse().unwrap()).on("database", call);
    client.submit(transaction.on("store", KvWork::new().add("account", -1))).await.unwrap().outcome
}

/// Commits one under some id that begins so, once the participant has found its server, and returns the id.
async fn added(client: &Client, name: &str) -> String {
    let mut tries = 0;
    until("it is committed", async || {
        tries += 1;
        let id = format!("{name}-{tries}");
        (add(client, &id).await == Outcome::Committed).then_some(id)
    })
    .await
}

async fn a_loss_is_noticed(mut server: Server, audited: &str) {
    let (programs, folder) = (programs(), tempfile::tempdir().unwrap());
    server.make_database().await;
    let config = front(&programs, folder.path(), ("database", server.kind()), &server.url(), PROCEDURES).await.unwrap();
    let plan = Plan {
        participants: vec!["database".to_owned(), "store".to_owned()],
        configs: [("database".to_owned(), config)].into(),
        ..Plan::default()
    };
    let mut cluster = start(plan).await;
    until_connected(&cluster, "database").await;
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator).unwrap(), cluster.options().unwrap()).unwrap();
    let acknowledged = async || list(&cluster, Filter::Unacknowledged).await.is_empty().then_some(());
    assert_eq!(add(&client, "before").await, Outcome::Committed);
    until("it is acknowledged", acknowledged).await;
    let backup = server.backup().await;
    let since = added(&client, "since").await;
    until("it is acknowledged", acknowledged).await;
    cluster.kill(DATABASE).await.unwrap();
    server.put_back(&backup).await;
    start_again(&mut cluster, DATABASE).await;
    let said = says_that_it_was_put_back(&cluster, DATABASE).await;
    assert!(said.contains("others have seen its write"), "{said}");
    let refused = add(&client, "meanwhile").await;
    assert!(matches!(refused, Outcome::Aborted(_)), "{refused:?}");
    accept_loss_of(&cluster, DATABASE).await;
    until_connected(&cluster, "database").await;
    assert_eq!(list(&cluster, Filter::Damaged).await, [since]);
    assert_eq!(add(&client, "after").await, Outcome::Committed);
    let balance = "SELECT balance FROM run_accounts WHERE name = 'account';";
    until("before and after are seen", async || (server.sql(balance).await == "2").then_some(())).await;
    // The audit record is in the database itself.
    assert_ne!(server.sql(audited).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_is_restored_serves_nobody_until_the_loss_is_accepted_and_what_it_lost_is_listed() {
    let server = Postgres::start(&[("max_prepared_transactions", "20")]).await.unwrap();
    a_loss_is_noticed(Server::PostgreSql(server), "SELECT count(*) FROM undoubt.kept WHERE family = 'audit';").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_that_is_restored_serves_nobody_until_the_loss_is_accepted_and_what_it_lost_is_listed() {
    let server = MariaDb::start(&[]).await.unwrap();
    a_loss_is_noticed(Server::MariaDb(server), "SELECT count(*) FROM undoubt_kept WHERE family = 'audit';").await;
}
