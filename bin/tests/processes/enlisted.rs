//! Services that run SQL of their own, in sessions of their own, and prepare it under one open transaction, in whose close all of it commits.

use crate::support::cli::undoubt_json;
use crate::support::{programs, until};
use serde_json::json;
use std::time::Duration;
use tempfile::TempDir;
use tokio_postgres::NoTls;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt::databases::front;
use undoubt_client::{Client, ClientOptions, CompletionOrder, OpenSaga, OpenStep, Opening, Outcome};
use undoubt_enlist::Enlisting;
use undoubt_test_servers::Postgres;

/// The services, each with a database of its own and a participant of the same name in front of it.
const SERVICES: [&str; 2] = ["orders", "stock"];

const DATABASE: &str = "shop";

/// Shorter than what the tests keep open.
const GRACE: &str = "enlist_grace_ms = 500\n";

struct Shop {
    cluster: Cluster,
    servers: Vec<Postgres>,
    _folder: TempDir,
}

impl Shop {
    async fn open() -> Shop {
        let (programs, folder) = (programs(), tempfile::tempdir().unwrap());
        let (mut plan, mut servers) = (Plan::impatient(SERVICES.map(str::to_owned).to_vec()), Vec::new());
        for name in SERVICES {
            let server = Postgres::start(&[("max_prepared_transactions", "20")]).await.unwrap();
            server.sql("postgres", &format!("CREATE DATABASE {DATABASE};")).await.unwrap();
            server.sql(DATABASE, "CREATE TABLE entries (tx text PRIMARY KEY);").await.unwrap();
            let config = front(&programs, folder.path(), (name, "postgresql"), &server.url(DATABASE), GRACE).await;
            plan.configs.insert(name.to_owned(), config.unwrap());
            servers.push(server);
        }
        Shop { cluster: Cluster::start(&programs, plan).await.unwrap(), servers, _folder: folder }
    }

    fn client(&self) -> Client {
        let options = ClientOptions::default().deadline(Duration::from_secs(60));
        Client::connect_lazy(&self.cluster.url(Who::Coordinator).unwrap(), options).unwrap()
    }

    /// Has each service enter the transaction into its own database, prepare that, and join.
    async fn all_join(&self, saga: &OpenSaga) {
        for (name, server) in SERVICES.into_iter().zip(&self.servers) {
            let work = self.prepare(server, saga.id()).await;
            saga.join(OpenStep::new(name, name).complete(work)).await.unwrap();
        }
    }

    async fn prepare(&self, server: &Postgres, tx: &undoubt_client::TxId) -> undoubt_enlist::Enlisted {
        let coordinator = self.client().describe().await.unwrap().id.unwrap();
        let (mut session, connection) = tokio_postgres::connect(&server.url(DATABASE), NoTls).await.unwrap();
        tokio::spawn(connection);
        let own = Enlisting::new(coordinator).begin(&mut session, tx).await.unwrap();
        own.execute("INSERT INTO entries VALUES ($1)", &[&tx.to_string()]).await.unwrap();
        own.prepare().await.unwrap()
    }

    /// Waits until what was prepared for nobody is undone everywhere, so that all else that is prepared is older than the grace.
    async fn grace_passes(&self, name: &str) {
        let stray = format!("stray-{name}").parse().unwrap();
        for server in &self.servers {
            let before = prepared(server).await;
            let _nobody_submits_it = self.prepare(server, &stray).await;
            until("what nobody has begun is undone", async || (prepared(server).await == before).then_some(())).await;
        }
    }

    /// Returns how many databases have an entry of this transaction.
    async fn entries(&self, name: &str) -> usize {
        let mut count = 0;
        for server in &self.servers {
            let found =
                server.sql(DATABASE, &format!("SELECT count(*) FROM entries WHERE tx = '{name}'")).await.unwrap();
            count += found.trim().parse::<usize>().unwrap();
        }
        count
    }

    /// Checks that nothing is left of any transaction.
    async fn is_over(&self) {
        for server in &self.servers {
            until("nothing is prepared any more", async || (prepared(server).await == 0).then_some(())).await;
        }
        for which in ["--open", "--damaged"] {
            until("all are over", async || {
                let listed = undoubt_json(&self.cluster, &["list", which]).await.json();
                (listed["transactions"] == json!([])).then_some(())
            })
            .await;
        }
    }

    async fn kill_and_restart(&mut self, who: Who) {
        self.cluster.kill(who).await.unwrap();
        self.cluster.restart(who, None).await.unwrap();
    }
}

async fn prepared(server: &Postgres) -> usize {
    server.sql(DATABASE, "SELECT count(*) FROM pg_prepared_xacts").await.unwrap().trim().parse().unwrap()
}

fn opening(name: &str) -> Opening {
    Opening::with_id(name.parse().unwrap()).completions(CompletionOrder::TwoPhase).timeout(Duration::from_secs(600))
}

const VICTIMS: [Who; 3] = [Who::Coordinator, Who::Participant(0), Who::Participant(1)];

#[tokio::test(flavor = "multi_thread")]
async fn what_services_prepared_under_one_id_waits_as_long_as_it_is_open_and_all_commits_or_all_is_undone() {
    let mut shop = Shop::open().await;
    for (number, victim) in [None].into_iter().chain(VICTIMS.map(Some)).enumerate() {
        for is_closed in [true, false] {
            let name = format!("open-{number}-{is_closed}");
            let saga = shop.client().begin(opening(&name)).await.unwrap();
            shop.all_join(&saga).await;
            shop.grace_passes(&format!("{name}-before")).await;
            if let Some(victim) = victim {
                shop.kill_and_restart(victim).await;
                shop.grace_passes(&format!("{name}-after")).await;
            }
            for server in &shop.servers {
                assert_eq!(prepared(server).await, 1, "{name}: it is open, and what was prepared for it is undone");
            }
            let saga = shop.client().open_saga(saga.id().clone());
            if is_closed {
                assert_eq!(saga.close().await.unwrap().outcome, Outcome::Committed, "{name}");
            } else {
                assert!(matches!(saga.cancel().await.unwrap().decided, Some(Outcome::Aborted(_))), "{name}");
            }
            shop.is_over().await;
            assert_eq!(shop.entries(&name).await, if is_closed { SERVICES.len() } else { 0 }, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_right_after_the_close_leaves_all_of_it_or_nothing() {
    let mut shop = Shop::open().await;
    for (number, victim) in VICTIMS.into_iter().cycle().take(9).enumerate() {
        let name = format!("closed-{number}");
        let saga = shop.client().begin(opening(&name)).await.unwrap();
        shop.all_join(&saga).await;
        saga.close_no_wait().await.unwrap();
        shop.kill_and_restart(victim).await;
        // It is open again where a crash took the close back, and the work adopted for that close is undone.
        let outcome = shop.client().open_saga(saga.id().clone()).close().await.unwrap().outcome;
        shop.is_over().await;
        let expected = if outcome == Outcome::Committed { SERVICES.len() } else { 0 };
        assert_eq!(shop.entries(&name).await, expected, "{name}: {outcome}");
        assert!(victim == Who::Coordinator || outcome == Outcome::Committed, "{name}: {outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_closes_in_time_is_undone_everywhere() {
    let shop = Shop::open().await;
    let saga = shop.client().begin(opening("late").timeout(Duration::from_secs(2))).await.unwrap();
    shop.all_join(&saga).await;
    shop.is_over().await;
    assert_eq!(shop.entries("late").await, 0);
    assert!(matches!(saga.close().await.unwrap().outcome, Outcome::Aborted(_)));
}
