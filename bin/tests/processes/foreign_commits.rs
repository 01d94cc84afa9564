//! A branch that somebody commits in its database by hand is reported as damage, whichever server was away meanwhile.

use crate::restored_folders::until_connected;
use crate::support::api::{get, list};
use crate::support::{nobody, programs, start, until};
use std::time::Duration;
use undoubt::cluster::{Plan, Who};
use undoubt::databases::front;
use undoubt::workload::PROCEDURES;
use undoubt_client::kv::KvWork;
use undoubt_client::work::call::Call;
use undoubt_client::{Client, Transaction};
use undoubt_proto::v1;
use undoubt_proto::v1::list_request::Filter;
use undoubt_test_servers::Postgres;

const DATABASE: Who = Who::Participant(0);

/// Longer than any test.
const UNDECIDED_FOR: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_commit_is_damage_though_a_restart_finds_only_evidence_of_it_and_its_coordinator_has_forgotten_it() {
    let (programs, folder) = (programs(), tempfile::tempdir().unwrap());
    let server = Postgres::start(&[("max_prepared_transactions", "20")]).await.unwrap();
    server.sql("postgres", "CREATE DATABASE run;").await.unwrap();
    let tables: String = PROCEDURES.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    server.sql("run", &format!("{tables} INSERT INTO run_accounts VALUES ('account', 0);")).await.unwrap();
    let config =
        front(&programs, folder.path(), ("database", "postgresql"), &server.url("run"), PROCEDURES).await.unwrap();
    let plan = Plan {
        participants: vec!["database".to_owned()],
        foreign_participants: vec![nobody("gone")],
        configs: [("database".to_owned(), config)].into(),
        ..Plan::default()
    };
    let mut cluster = start(plan).await;
    until_connected(&cluster, "database").await;
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator).unwrap(), cluster.options().unwrap()).unwrap();
    let call = Call::new("add").arg("name", "account").arg("amount", 1);
    let transaction = Transaction::with_id("t".parse().unwrap()).on("database", call);
    let transaction = transaction.on("gone", KvWork::new().add("account", -1)).timeout(UNDECIDED_FOR);
    client.submit_no_wait(transaction).await.unwrap();
    let gid = until("the branch is prepared", async || {
        let gid = server.sql("run", "SELECT gid FROM pg_prepared_xacts;").await.unwrap().trim().to_owned();
        (!gid.is_empty()).then_some(gid)
    })
    .await;

    cluster.kill(DATABASE).await.unwrap();
    cluster.kill(Who::Coordinator).await.unwrap();
    server.sql("run", &format!("COMMIT PREPARED '{gid}';")).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    cluster.restart(DATABASE, None).await.unwrap();
    let is_listed = async || (list(&cluster, Filter::Damaged).await == ["t"]).then_some(());
    until("the damage is on record", is_listed).await;
    let branches = get(&cluster, "t").await.unwrap().branches;
    let outcomes: Vec<_> = branches.iter().map(|branch| (branch.participant.as_str(), branch.outcome())).collect();
    assert_eq!(outcomes, [("database", v1::BranchOutcome::HeuristicallyCommitted)]);
    let balance = server.sql("run", "SELECT balance FROM run_accounts WHERE name = 'account';").await.unwrap();
    assert_eq!(balance.trim(), "1");
}
