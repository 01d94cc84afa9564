//! The bank over a real PostgreSQL and a store, with kills of everybody.

use crate::support::programs;
use std::time::Duration;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt::databases::{Databases, DatabasesReport, databases, front};
use undoubt::workload::{Length, Load, Mode, PROCEDURES, Progress, Workload, audit, connected, run};
use undoubt_client::Client;
use undoubt_test_servers::{MariaDb, Postgres};

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_between_postgresql_and_the_store_in_every_mode_while_each_of_them_is_killed() {
    let shortened = Databases { kills: 4, stretch: Duration::from_millis(500), ..Databases::default() };
    let report = databases(&programs(), shortened, |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:#?}");
    for mode in ["two-phase committed", "saga committed", "auto committed"] {
        assert!(report.transfers.contains_key(mode), "{report:#?}");
    }
    let broken: [fn(&mut DatabasesReport); 8] = [
        |report| report.torn = 1,
        |report| report.money_off = -1,
        |report| report.prepared = 1,
        |report| report.in_transaction = 1,
        |report| report.pending = 1,
        |report| report.open_transactions = 1,
        |report| report.open_branches = 1,
        |report| report.damaged_transactions = 1,
    ];
    for (place, broken) in broken.into_iter().enumerate() {
        let mut report = report.clone();
        broken(&mut report);
        assert!(!report.is_clean(), "{place} goes unnoticed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smallbank_runs_over_both_databases_and_a_store_and_its_audit_is_clean() {
    let (programs, folder) = (programs(), tempfile::tempdir().unwrap());
    let postgresql = Postgres::start(&[("max_prepared_transactions", "200")]).await.unwrap();
    let mariadb = MariaDb::start(&[]).await.unwrap();
    postgresql.sql("postgres", "CREATE DATABASE run;").await.unwrap();
    mariadb.sql("mysql", "CREATE DATABASE run;").await.unwrap();
    let tables: String = PROCEDURES.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    postgresql.sql("run", &tables).await.unwrap();
    mariadb.sql("run", &tables).await.unwrap();
    let names: Vec<String> = ["mariadb", "postgresql", "store"].map(str::to_owned).to_vec();
    let mut plan = Plan { participants: names.clone(), ..Plan::default() };
    for (name, url) in [("postgresql", postgresql.url("run")), ("mariadb", mariadb.url("run"))] {
        let config = front(&programs, folder.path(), (name, name), &url, PROCEDURES).await.unwrap();
        plan.configs.insert(name.to_owned(), config);
    }
    let cluster = Cluster::start(&programs, plan).await.unwrap();
    let (url, options) = (cluster.url(Who::Coordinator).unwrap(), cluster.options().unwrap());
    let client = Client::connect_lazy(&url, options.clone()).unwrap();
    let languages = crate::support::until("all are connected", async || {
        let languages = connected(&client).await.unwrap();
        (languages.len() == names.len()).then_some(languages)
    })
    .await;
    let load = Load {
        options,
        languages,
        mode: Mode::Mixed,
        customers: 200,
        in_flight: 16,
        length: Length::Count(600),
        ..Load::new(url, names, Workload::SmallBank)
    };
    let mut outcome = run(&load, std::future::pending(), &Progress::ignored()).await.unwrap();
    assert!(outcome.report.tally.committed > 300, "{:#?}", outcome.report);
    let found = audit(&load, &mut outcome.ledger).await.unwrap();
    assert!(found.is_clean(), "{:#?}", found.violations);
    // An audit of databases can fail.
    postgresql.sql("run", "UPDATE run_accounts SET balance = balance + 1;").await.unwrap();
    assert!(!audit(&load, &mut outcome.ledger).await.unwrap().is_clean());
}
