//! Two-phase commit over two databases of one server, with participants in front of them, against the same rows driven by hand.
//! Both go by turns, on the same server.

use super::by_hand::{self, TABLES};
use super::finding::{Finding, Goal};
use super::load::{self, COUNTERS, Length, Pace, Shape};
use super::stage::Stage;
use super::{Effort, Report};
use crate::cluster::{Cluster, Plan, Who};
use crate::databases::front;
use anyhow::Context as _;
use std::path::Path;
use std::time::Duration;
use undoubt_test_servers::{MariaDb, Postgres, ServerError};

/// The databases, each with a participant of the same name.
const DATABASES: [&str; 2] = ["one", "two"];

/// Clients at a time, each with the least share of the rate by hand that is asked for.
const POSTGRESQL: [(usize, Goal); 2] = [(16, Goal::AtLeast(0.9)), (64, Goal::AtLeast(1.0))];
const MARIADB: [(usize, Goal); 2] = [(16, Goal::AtLeast(0.8)), (64, Goal::AtLeast(0.8))];

/// The most that a lone transaction may take, as a share of what it takes by hand.
const LONE: Goal = Goal::AtMost(1.3);

const PROCEDURES: &str = r#"
[procedure.add]
parameters = { id = "bigint", amount = "bigint" }
statements = [{ sql = "UPDATE counters SET value = value + :amount WHERE id = :id" }]
"#;

/// A private server with both databases.
enum Server {
    PostgreSql(Postgres),
    MariaDb(MariaDb),
}

pub async fn databases(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let settings = [("max_prepared_transactions", "600"), ("max_connections", "400")];
    match Postgres::start(&settings).await {
        Ok(server) => compare(stage, Server::PostgreSql(server), &POSTGRESQL, effort, report).await?,
        Err(missing @ ServerError::Missing { .. }) => report.skip("databases: PostgreSQL", missing.to_string()),
        Err(error) => return Err(error.into()),
    }
    match MariaDb::start(&[("max_connections", "400")]).await {
        Ok(server) => compare(stage, Server::MariaDb(server), &MARIADB, effort, report).await,
        Err(missing @ ServerError::Missing { .. }) => {
            report.skip("databases: MariaDB", missing.to_string());
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

async fn compare(
    stage: &Stage,
    server: Server,
    goals: &[(usize, Goal)],
    effort: Effort,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    let kind = server.kind();
    server.fill().await?;
    let folder = tempfile::tempdir_in(stage.folder()).context("no temporary folder")?;
    let cluster = cluster(stage, &server, folder.path()).await?;
    let lone = std::iter::once((1, LONE));
    for (clients, goal) in lone.chain(goals.iter().copied()) {
        let (mut by_hand, mut with_us, mut ratios, mut told) = (Vec::new(), Vec::new(), Vec::new(), String::new());
        for round in 0..effort.rounds {
            let ours = async || ours(stage, &cluster, clients, effort.measured).await;
            let hand = async || server.by_hand(&stage.run_name(), clients, effort.measured).await;
            // Each goes first in every other round.
            let (hand, ours) = if round % 2 == 0 {
                let hand = hand().await?;
                (hand, ours().await?)
            } else {
                let ours = ours().await?;
                (hand().await?, ours)
            };
            let (ours, summary) = ours;
            told = summary;
            by_hand.push(hand);
            with_us.push(ours);
            ratios.push(if clients == 1 { hand / ours } else { ours / hand });
        }
        let name = |what: &str| format!("databases/{kind}/clients={clients}/{what}");
        report.add(Finding::of_rounds(name("by-hand"), by_hand, "tx/s"));
        report.add(Finding::of_rounds(name("rate"), with_us, "tx/s").note(told));
        let ratio = if clients == 1 { name("time-over-by-hand") } else { name("rate-over-by-hand") };
        report.add(Finding::of_rounds(ratio, ratios, "x").goal(goal));
    }
    Ok(())
}

/// Starts a coordinator, and a participant in front of each database.
async fn cluster(stage: &Stage, server: &Server, folder: &Path) -> anyhow::Result<Cluster> {
    let mut plan = Plan { participants: DATABASES.map(str::to_owned).to_vec(), ..Plan::default() };
    for name in DATABASES {
        let config = front(stage.programs(), folder, (name, server.kind()), &server.url(name), PROCEDURES).await?;
        plan.configs.insert(name.to_owned(), config);
    }
    stage.cluster_of(plan).await
}

/// Returns the transactions a second, and what else is to be told of them.
async fn ours(stage: &Stage, cluster: &Cluster, clients: usize, measured: Duration) -> anyhow::Result<(f64, String)> {
    let length = Length { warm_up: Duration::from_secs(1), measured };
    let shape = Shape { procedure: Some("add"), ..Shape::new(&stage.run_name(), &DATABASES.map(str::to_owned)) };
    let pace = Pace::Closed { in_flight: clients };
    let found = load::run_with(&cluster.url(Who::Coordinator)?, cluster.options()?, &shape, pace, length).await?;
    Ok((found.per_s(), found.summary()))
}

impl Server {
    fn kind(&self) -> &'static str {
        match self {
            Server::PostgreSql(_) => "postgresql",
            Server::MariaDb(_) => "mariadb",
        }
    }

    fn url(&self, database: &str) -> String {
        match self {
            Server::PostgreSql(server) => server.url(database),
            Server::MariaDb(server) => server.url(database),
        }
    }

    /// Makes the databases, each with the tables full.
    async fn fill(&self) -> anyhow::Result<()> {
        for name in DATABASES {
            match self {
                Server::PostgreSql(server) => {
                    server.sql("postgres", &format!("CREATE DATABASE {name};")).await?;
                    by_hand::fill(server, name).await?;
                }
                Server::MariaDb(server) => {
                    let [table, _] = TABLES;
                    let fill = format!(
                        "CREATE DATABASE {name};
                         CREATE TABLE {name}.{table} (id bigint PRIMARY KEY, value bigint NOT NULL);
                         INSERT INTO {name}.{table} SELECT seq, 0 FROM seq_0_to_{};",
                        COUNTERS - 1
                    );
                    server.sql("mysql", &fill).await?;
                }
            }
        }
        Ok(())
    }

    async fn by_hand(&self, run: &str, clients: usize, measured: Duration) -> anyhow::Result<f64> {
        match self {
            Server::PostgreSql(server) => by_hand::postgresql(server, DATABASES[0], clients, measured).await,
            #[cfg(feature = "mariadb")]
            Server::MariaDb(server) => {
                by_hand::mariadb(run, &DATABASES.map(|name| server.url(name)), clients, measured).await
            }
            #[cfg(not(feature = "mariadb"))]
            Server::MariaDb(_) => anyhow::bail!("it was built without the feature mariadb"),
        }
    }
}
