//! Two transactions that wait for each other across two databases, neither of which sees more than its half of the circle.

use crate::support::{programs, start, until};
use std::time::Duration;
use tokio::task::JoinHandle;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt::databases::front;
use undoubt_client::work::call::Call;
use undoubt_client::{AbortReason, Client, Outcome, Submission, Transaction};
use undoubt_test_servers::{MariaDb, Postgres};

const DATABASE: &str = "bank";

const TABLE: &str = "CREATE TABLE cells (id varchar(20) PRIMARY KEY, value bigint NOT NULL);
    INSERT INTO cells VALUES ('gate', 0), ('row', 0);";

/// The longest wait for a lock: long enough for the circle to be there before it is over.
const LOCK_TIMEOUT_MS: u64 = 10_000;

/// Returns the procedures of a bank. The one that touches the row after the gate waits as long as somebody else keeps that shut.
fn procedures(declared: bool) -> String {
    let locks = if declared { "locks = [\"row\"]\n" } else { "" };
    let touch = |id: &str| format!("{{ sql = \"UPDATE cells SET value = value + 1 WHERE id = '{id}'\" }}");
    let (gate, row) = (touch("gate"), touch("row"));
    format!(
        "lock_timeout_ms = {LOCK_TIMEOUT_MS}\n[procedure.touch]\n{locks}statements = [{row}]\n\
         [procedure.touch_after_the_gate]\n{locks}statements = [{gate}, {row}]\n"
    )
}

/// Two databases whose gates somebody else keeps shut, a participant in front of each, and a coordinator.
struct World {
    postgresql: Postgres,
    mariadb: MariaDb,
    cluster: Cluster,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(declared: bool) -> World {
        let (programs, folder) = (programs(), tempfile::tempdir().unwrap());
        let postgresql = Postgres::start(&[("max_prepared_transactions", "64")]).await.unwrap();
        let mariadb = MariaDb::start(&[]).await.unwrap();
        let create = format!("CREATE DATABASE {DATABASE};");
        postgresql.sql("postgres", &create).await.unwrap();
        mariadb.sql("mysql", &create).await.unwrap();
        postgresql.sql(DATABASE, TABLE).await.unwrap();
        mariadb.sql(DATABASE, TABLE).await.unwrap();
        let mut plan = Plan { participants: ["postgresql", "mariadb"].map(str::to_owned).to_vec(), ..Plan::default() };
        for (name, url) in [("postgresql", postgresql.url(DATABASE)), ("mariadb", mariadb.url(DATABASE))] {
            let procedures = procedures(declared);
            let config = front(&programs, folder.path(), (name, name), &url, &procedures).await.unwrap();
            plan.configs.insert(name.to_owned(), config);
        }
        let cluster = start(plan).await;
        World { postgresql, mariadb, cluster, _folder: folder }
    }

    fn client(&self) -> Client {
        Client::connect_lazy(&self.cluster.url(Who::Coordinator).unwrap(), self.cluster.options().unwrap()).unwrap()
    }

    fn submit(&self, id: &str, at_postgresql: &str, at_mariadb: &str) -> JoinHandle<Outcome> {
        let transaction = Transaction::with_id(id.parse().unwrap())
            .on("postgresql", Call::new(at_postgresql))
            .on("mariadb", Call::new(at_mariadb));
        let (client, submission) = (self.client(), Submission::from(transaction).timeout(Duration::from_secs(60)));
        tokio::spawn(async move { client.submit(submission).await.unwrap().outcome })
    }

    async fn until_postgresql_says(&self, sql: &str, expected: &str) {
        until(sql, async || (self.postgresql.sql(DATABASE, sql).await.unwrap().trim() == expected).then_some(())).await;
    }

    async fn until_mariadb_says(&self, sql: &str, expected: &str) {
        until(sql, async || (self.mariadb.sql(DATABASE, sql).await.unwrap().trim() == expected).then_some(())).await;
    }

    /// Waits until both rows were touched so often. Who submits is answered once it is decided, before it is seen.
    async fn until_touched(&self, times: usize) {
        let value = "SELECT value FROM cells WHERE id = 'row';";
        self.until_postgresql_says(value, &times.to_string()).await;
        self.until_mariadb_says(value, &times.to_string()).await;
    }
}

const WAITING_AT_POSTGRESQL: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock';";
const WAITING_AT_MARIADB: &str = "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT';";
const PREPARED_AT_POSTGRESQL: &str = "SELECT count(*) FROM pg_prepared_xacts;";

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_across_both_databases_ends_when_a_wait_is_over_and_what_was_refused_succeeds_later() {
    let world = World::new(false).await;
    let (shut_postgresql, shut_mariadb) = (
        world.postgresql.sql(DATABASE, "BEGIN; UPDATE cells SET value = 0 WHERE id = 'gate'; SELECT pg_sleep(600);"),
        world.mariadb.sql(DATABASE, "BEGIN; UPDATE cells SET value = 1 WHERE id = 'gate'; SELECT SLEEP(600);"),
    );
    let outcomes = async {
        let shut =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep';";
        world.until_postgresql_says(shut, "1").await;
        let shut = "SELECT count(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(600)';";
        world.until_mariadb_says(shut, "1").await;
        let one = world.submit("one", "touch", "touch_after_the_gate");
        world.until_postgresql_says(PREPARED_AT_POSTGRESQL, "1").await;
        world.until_mariadb_says(WAITING_AT_MARIADB, "1").await;
        let two = world.submit("two", "touch_after_the_gate", "touch");
        world.until_postgresql_says(WAITING_AT_POSTGRESQL, "1").await;
        until("the second is prepared at MariaDB", async || {
            (!world.mariadb.sql(DATABASE, "XA RECOVER;").await.unwrap().trim().is_empty()).then_some(())
        })
        .await;
        let open = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep';";
        world.postgresql.sql(DATABASE, open).await.unwrap();
        let sleeper = "SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP(600)';";
        let sleeper = world.mariadb.sql(DATABASE, sleeper).await.unwrap();
        world.mariadb.sql(DATABASE, &format!("KILL {};", sleeper.trim())).await.unwrap();
        [one.await.unwrap(), two.await.unwrap()]
    };
    let (outcomes, _, _) = tokio::join!(outcomes, shut_postgresql, shut_mariadb);
    let mut committed = 0;
    for (id, outcome) in ["one", "two"].into_iter().zip(outcomes) {
        match outcome {
            Outcome::Committed => committed += 1,
            Outcome::Aborted(AbortReason::Refused { refusal, .. }) => {
                assert!(refusal.code.is_transient(), "it is worth another try: {refusal}");
                let again = world.submit(&format!("{id}-again"), "touch", "touch").await.unwrap();
                assert_eq!(again, Outcome::Committed);
            }
            Outcome::Aborted(other) => panic!("{other}"),
        }
    }
    assert!(committed < 2, "they waited for each other, so both cannot have committed");
    // Each has touched each row once.
    world.until_touched(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_keys_are_declared_no_circle_comes_to_be() {
    let world = World::new(true).await;
    let all: Vec<_> = (0..20).map(|number| world.submit(&format!("tx-{number}"), "touch", "touch")).collect();
    let (mut committed, mut conflicts) = (0, 0);
    for submitted in all {
        match submitted.await.unwrap() {
            Outcome::Committed => committed += 1,
            Outcome::Aborted(AbortReason::Refused { refusal, .. }) => {
                assert_eq!(refusal.code, undoubt_vocabulary::RefusalCode::LockConflict, "{refusal}");
                conflicts += 1;
            }
            Outcome::Aborted(other) => panic!("{other}"),
        }
    }
    assert!(committed > 0 && committed + conflicts == 20);
    world.until_touched(committed).await;
}
