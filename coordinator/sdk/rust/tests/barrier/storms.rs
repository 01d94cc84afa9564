//! 32 calls at once, in any order, while the process of the handlers is killed: each is done once, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{MySqlConnection, PgConnection, SqliteConnection};
use tokio::task::JoinSet;
use undoubt_test_servers::MariaDb;

use crate::databases::{Database, Placed, postgres};
use crate::ledger::Ledger;

const AT_ONCE: usize = 32;
/// What is asked for at once, and what before.
const OPERATIONS: [(&str, Option<&str>); 6] = [
    ("action", None),
    ("completion", Some("action")),
    ("compensation", Some("action")),
    ("try", None),
    ("confirm", Some("try")),
    ("cancel", Some("try")),
];

type Answers = Vec<((String, &'static str), (u16, String))>;

/// Asks for everything at once, and kills the process so often in the middle.
async fn storm(ledger: &Arc<Ledger>, path: &'static str, calls: Vec<(String, &'static str)>, kills: u32) -> Answers {
    let mut asking = JoinSet::new();
    for (effect, operation) in calls {
        let ledger = Arc::clone(ledger);
        asking.spawn(async move {
            let answer = ledger.ask(path, &effect, operation).await;
            ((effect, operation), answer)
        });
    }
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(15 + 37 * u64::from(kill))).await;
        ledger.kill();
    }
    asking.join_all().await
}

/// Puts calls into an order that is as good as any, and the same in each run.
fn shuffled(mut calls: Vec<(String, &'static str)>, seed: u64) -> Vec<(String, &'static str)> {
    let mut state = seed;
    for at in (1..calls.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        calls.swap(at, (state >> 33) as usize % (at + 1));
    }
    calls
}

async fn notes<T: Placed>(database: &Database) -> Vec<(String, String)> {
    let mut connection = T::open(&database.url).await;
    let effects = connection.texts("SELECT effect FROM notes ORDER BY id").await;
    effects.into_iter().zip(connection.texts("SELECT operation FROM notes ORDER BY id").await).collect()
}

/// Each operation, 32 times at once, and killed.
async fn repeated<T: Placed>(kind: &'static str, database: &Database) {
    let ledger = Arc::new(Ledger::start(kind, &database.url));
    for (operation, before) in OPERATIONS {
        let effect = format!("repeated {operation}");
        if let Some(before) = before {
            assert_eq!(ledger.ask("plain", &effect, before).await.0, 200);
        }
        let answers = storm(&ledger, "plain", vec![(effect.clone(), operation); AT_ONCE], 1).await;
        let told: BTreeSet<_> = answers.iter().map(|(_, answer)| answer).collect();
        assert!(told.len() == 1 && told.iter().all(|(status, _)| *status == 200), "{operation}: {told:?}");
        let noted: Vec<_> = notes::<T>(database).await.into_iter().filter(|(noted, _)| *noted == effect).collect();
        let expected: Vec<_> =
            before.into_iter().chain([operation]).map(|one| (effect.clone(), one.to_owned())).collect();
        assert_eq!(noted, expected);
    }
}

/// Actions, completions and compensations in any order, which fail, refuse, die or are killed.
async fn reordered<T: Placed>(kind: &'static str, database: &Database, path: &'static str, kills: u32) {
    let ledger = Arc::new(Ledger::start(kind, &database.url));
    let effects: Vec<_> = (0..8).map(|number| format!("{path} {number}")).collect();
    let operations = |number| if number % 4 == 0 { ["action", "completion"] } else { ["action", "compensation"] };
    let calls = effects.iter().enumerate().flat_map(|(number, effect)| {
        operations(number).into_iter().flat_map(move |operation| vec![(effect.clone(), operation); 4])
    });
    let answers = storm(&ledger, path, shuffled(calls.collect(), 7), kills).await;
    let mut told: BTreeMap<(String, &str), BTreeSet<(u16, String)>> = BTreeMap::new();
    for (call, answer) in answers {
        told.entry(call).or_default().insert(answer);
    }
    let noted = notes::<T>(database).await;
    for ((effect, operation), told) in &told {
        let at = |operation: &str| noted.iter().position(|(at, done)| at == effect && done == operation);
        let count = noted.iter().filter(|(at, done)| at == effect && done == operation).count();
        assert!(count <= 1, "{operation} of {effect} was done {count} times");
        assert_eq!(told.len(), 1, "{operation} of {effect} was answered differently: {told:?}");
        let is_done = told.iter().all(|(status, _)| *status == 200);
        match *operation {
            "compensation" => {
                assert!(is_done, "{effect}: {told:?}");
                assert_eq!(at("action").is_some(), count == 1, "{effect}: nothing else is undone, and all of it");
                assert!(at("action") <= at("compensation"), "{effect} was undone before it was done");
            }
            _ => assert_eq!(is_done, count == 1, "{operation} of {effect}: {told:?}"),
        }
    }
    if path == "dies" || kills > 0 {
        assert!(ledger.ends.load(std::sync::atomic::Ordering::Relaxed) > 0, "nothing died");
    }
}

async fn all<T: Placed>(kind: &'static str, database: Database) -> Database {
    repeated::<T>(kind, &database).await;
    reordered::<T>(kind, &database, "plain", 3).await;
    for path in ["fails", "refuses", "dies"] {
        reordered::<T>(kind, &database, path, 0).await;
    }
    database
}

// One after another: the machine may be small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_each_effect_is_done_once_or_not_at_all() {
    for database in [
        all::<tokio_postgres::Client>("tokio-postgres", Database::make::<tokio_postgres::Client>().await).await,
        all::<PgConnection>("sqlx-postgres", Database::make::<PgConnection>().await).await,
    ] {
        let query = format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{}'", database.name);
        assert_eq!(postgres().await.sql("postgres", &query).await.expect("a count"), "0");
    }
    // It counts deadlocks for all databases, and other tests make some.
    let mariadb = MariaDb::start(&[("max-connections", "200")]).await.expect("it starts");
    mariadb.sql("", "CREATE DATABASE storm").await.expect("it is made");
    let database = Database::fill::<MySqlConnection>(mariadb.url("storm"), "storm".to_owned()).await;
    all::<MySqlConnection>("sqlx-mariadb", database).await;
    let query = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'INNODB_DEADLOCKS'";
    assert_eq!(mariadb.sql("", query).await.expect("a count"), "0");
    all::<SqliteConnection>("sqlx-sqlite", Database::make::<SqliteConnection>().await).await;
}
