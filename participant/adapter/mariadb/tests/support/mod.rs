//! A private server, databases in it, and work for them.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

pub mod branch;
pub mod work;
pub mod world;

use std::time::Duration;
use undoubt_mariadb::{MariaDb, Settings, init};
use undoubt_sql::{Dialect, Procedures};
use undoubt_test_servers as servers;
use undoubt_vocabulary::ParticipantName;

/// The time for which tests wait for what has to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const PROCEDURES: &str = r#"
[procedure.put]
parameters = { key = "text", value = "text" }
statements = [
  { sql = "INSERT INTO kv (name, value) VALUES (:key, :value) ON DUPLICATE KEY UPDATE value = :value -- or over it" },
]
[procedure.get]
parameters = { key = "text" }
read_only = true
statements = [{ sql = "SELECT value FROM kv WHERE name = :key LOCK IN SHARE MODE" }]
[procedure.add]
parameters = { key = "text", delta = "bigint", floor = "bigint" }
statements = [
  { sql = "INSERT INTO kv (name, value) VALUES (:key, '0') ON DUPLICATE KEY UPDATE name = :key" },
  { sql = "UPDATE kv SET value = value + :delta WHERE name = :key AND (:floor IS NULL OR value + :delta >= :floor)", rows = 1, otherwise = "the sum under {key} would be below {floor}" },
  { sql = "SELECT value FROM kv WHERE name = :key FOR UPDATE" },
]
[procedure.put_marked]
parameters = { key = "text", value = "text" }
locks = ["k:{key}"]
statements = [
  { sql = "INSERT INTO kv (name, value) VALUES (:key, :value) ON DUPLICATE KEY UPDATE value = :value" },
]
[procedure.two]
parameters = { first = "text", second = "text" }
statements = [
  { sql = "UPDATE kv SET value = 'new' WHERE name = :first", rows = 1 },
  { sql = "UPDATE kv /* then */ SET value = 'new' WHERE name = :second", rows = 1 },
]
"#;

pub const TABLES: &str = "CREATE TABLE kv (name VARCHAR(200) COLLATE utf8mb4_bin PRIMARY KEY, value MEDIUMTEXT NOT NULL) ENGINE = InnoDB \
     DEFAULT CHARACTER SET utf8mb4";

/// Returns the same procedures, which declare their keys instead of leaving them to the database.
pub fn with_declared_keys() -> String {
    let mut text = String::new();
    for line in PROCEDURES.lines() {
        text.push_str(line);
        text.push('\n');
        if line.starts_with("parameters") && !text.contains("put_marked") {
            text.push_str("locks = [\"k:{key}\"]\n");
        }
    }
    text
}

pub fn participant() -> ParticipantName {
    "conformance".parse().unwrap()
}

pub async fn server() -> servers::MariaDb {
    servers::MariaDb::start(&[("max-connections", "400")]).await.unwrap()
}

pub fn settings(url: String) -> Settings {
    Settings { url, workers: 4, slots: 8, max_readers: 6, lock_timeout_ms: 20_000, ..Settings::default() }
}

/// Makes a database with a table and the participant's own tables.
pub async fn database(server: &servers::MariaDb, name: &str) {
    server.sql("", &format!("CREATE DATABASE {name}")).await.unwrap();
    server.sql(name, TABLES).await.unwrap();
    init(&settings(server.url(name)), None).await.unwrap();
}

pub fn procedures(text: &str) -> Procedures {
    Procedures::read(text, Dialect::MariaDb).unwrap()
}

pub fn open(settings: &Settings, text: &str) -> MariaDb {
    MariaDb::new(settings, &participant(), procedures(text)).unwrap()
}

/// Waits until a statement returns what is expected.
pub async fn until(server: &servers::MariaDb, database: &str, statement: &str, expected: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = server.sql(database, statement).await;
        if found.as_ref().is_ok_and(|found| found.trim() == expected) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{statement}: {found:?}, not {expected}");
        // InnoDB makes its list of transactions anew only for who asks after a pause.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

/// The statement that counts the transactions of sessions that have ended.
pub const ENDING: &str = "SELECT COUNT(*) FROM information_schema.INNODB_TRX t LEFT JOIN information_schema.PROCESSLIST p ON p.ID = \
     t.trx_mysql_thread_id WHERE t.trx_mysql_thread_id <> 0 AND p.ID IS NULL";

/// Ends all sessions that are connected to a database, and waits for it.
pub async fn kill_sessions(server: &servers::MariaDb, database: &str) {
    kill(
        server,
        &format!("SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{database}' AND ID <> CONNECTION_ID()"),
    )
    .await;
}

/// Ends the sessions connected to a database that are in transactions, and waits for it.
pub async fn kill_transactions(server: &servers::MariaDb, database: &str) {
    // InnoDB makes its list of transactions anew only after such a pause.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let sessions = format!(
        "SELECT p.ID FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id WHERE p.DB = \
         '{database}'"
    );
    kill(server, &sessions).await;
}

async fn kill(server: &servers::MariaDb, sessions: &str) {
    for id in server.sql("", sessions).await.unwrap().lines() {
        // It may have ended in between.
        let _ = server.sql("", &format!("KILL {id}")).await;
        until(server, "", &format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {id}"), "0").await;
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    until(server, "", ENDING, "0").await;
}
