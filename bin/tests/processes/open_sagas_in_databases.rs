//! Open sagas whose steps are in databases, through crashes of the participants in front of them at every point.

use crate::open_sagas::{Script, Steps, sweep};
use crate::support::cli::undoubt_json;
use crate::support::programs;
use serde_json::json;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt::databases::front;
use undoubt_client::OpenStep;
use undoubt_client::work::call::{Call, CallWork};
use undoubt_test_servers::{MariaDb, Postgres};

const DATABASES: [&str; 2] = ["postgresql", "mariadb"];

const DATABASE: &str = "theatre";

const TABLE: &str = "CREATE TABLE stock (id VARCHAR(20) PRIMARY KEY, free BIGINT NOT NULL, sold BIGINT NOT NULL, released BIGINT NOT NULL); \
    INSERT INTO stock VALUES ('seat', 1000, 0, 0);";

const PROCEDURES: &str = r#"
[procedure.take]
parameters = { id = "text", number = "bigint" }
locks = ["stock:{id}"]
statements = [{ sql = "UPDATE stock SET free = free - :number WHERE id = :id AND free >= :number", rows = 1, otherwise = "too few are free" }]
undo = "untake"

[procedure.untake]
parameters = { id = "text", number = "bigint" }
locks = ["stock:{id}"]
statements = [{ sql = "UPDATE stock SET free = free + :number WHERE id = :id", rows = 1 }]

[procedure.sell]
parameters = { id = "text", number = "bigint" }
locks = ["stock:{id}"]
statements = [{ sql = "UPDATE stock SET sold = sold + :number WHERE id = :id", rows = 1 }]

[procedure.release]
parameters = { id = "text" }
statements = [{ sql = "UPDATE stock SET released = released + 1 WHERE id = :id", rows = 1 }]
"#;

fn work(procedure: &str, number: i64) -> Call {
    Call::new(procedure).arg("id", "seat").arg("number", number)
}

/// Returns a seat in each database, which is marked from when it is taken until it is sold or free again.
fn seats() -> Vec<OpenStep> {
    let seat = |at: &&str| {
        OpenStep::new(&format!("seat-{at}"), at)
            .action(CallWork::from(work("take", 1).pend()))
            .undo(CallWork::from(work("take", 1).undo()))
            .complete(CallWork::from(work("sell", 1)))
    };
    DATABASES.iter().map(seat).collect()
}

/// Returns ten seats in each database that their caller takes himself.
fn reserved() -> Vec<OpenStep> {
    let reserved = |at: &&str| {
        OpenStep::new(&format!("reserved-{at}"), at)
            .undo(CallWork::from(Call::new("release").arg("id", "seat")))
            .complete(CallWork::from(work("sell", 10)))
    };
    DATABASES.iter().map(reserved).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_of_a_participant_in_front_of_a_database_leaves_each_step_completed_once_or_undone_once() {
    let (programs, folder) = (programs(), tempfile::tempdir().unwrap());
    let postgresql = Postgres::start(&[("max_prepared_transactions", "20")]).await.unwrap();
    let mariadb = MariaDb::start(&[]).await.unwrap();
    postgresql.sql("postgres", &format!("CREATE DATABASE {DATABASE};")).await.unwrap();
    mariadb.sql("mysql", &format!("CREATE DATABASE {DATABASE};")).await.unwrap();
    postgresql.sql(DATABASE, TABLE).await.unwrap();
    mariadb.sql(DATABASE, TABLE).await.unwrap();
    let mut plan = Plan::impatient(DATABASES.map(str::to_owned).to_vec());
    for (name, url) in DATABASES.into_iter().zip([postgresql.url(DATABASE), mariadb.url(DATABASE)]) {
        let config = front(&programs, folder.path(), (name, name), &url, PROCEDURES).await.unwrap();
        plan.configs.insert(name.to_owned(), config);
    }
    let mut cluster = Cluster::start(&programs, plan).await.unwrap();
    let points = [
        undoubt_participant::OPEN_SAGA_POINTS,
        &["before-act", "after-act", "before-compensate", "after-compensate", "after-send-compensated"],
    ]
    .concat();
    let (mut sagas, script) = ([0, 0], Script::Saga(Steps { run: seats, joined: reserved }));
    for index in 0..DATABASES.len() {
        let reached = sweep(&mut cluster, Who::Participant(index), &points, script, &mut sagas).await;
        // Each is met by whatever is closed, or by whatever is cancelled, or by both.
        assert!(reached >= points.len(), "only {reached} of {} points were reached", points.len());
    }
    let [closed, cancelled] = sagas;
    let expected = format!("{} {} {cancelled}", 1_000 - closed, 11 * closed);
    let counted = "SELECT CONCAT_WS(' ', free, sold, released) FROM stock";
    assert_eq!(postgresql.sql(DATABASE, counted).await.unwrap().trim(), expected);
    assert_eq!(mariadb.sql(DATABASE, counted).await.unwrap().trim(), expected);
    for which in ["--open", "--damaged"] {
        assert_eq!(undoubt_json(&cluster, &["list", which]).await.json()["transactions"], json!([]), "{which}");
    }
    crate::support::until("nothing is marked any more", async || {
        let postgresql = postgresql.sql(DATABASE, "SELECT count(*) FROM undoubt.pending").await.unwrap();
        let mariadb = mariadb.sql(DATABASE, "SELECT COUNT(*) FROM undoubt_pending").await.unwrap();
        (postgresql.trim() == "0" && mariadb.trim() == "0").then_some(())
    })
    .await;
}
