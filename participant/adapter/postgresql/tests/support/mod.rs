//! A private server, databases in it, and work for them.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

pub mod fixture;
pub mod work;
pub mod world;

use std::time::Duration;
use undoubt_participant::resource::BranchId;
use undoubt_postgresql::{PostgreSql, Settings, init};
use undoubt_sql::{Dialect, Identity, PreparedName, Procedures};
use undoubt_test_servers::{Postgres, ServerError};
use undoubt_vocabulary::{ParticipantName, Timestamp};

/// The time for which tests wait for what has to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const PROCEDURES: &str = r#"
[procedure.put]
parameters = { key = "text", value = "text" }
statements = [
  { sql = "SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))" },
  { sql = "INSERT INTO kv (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value" },
]
[procedure.get]
parameters = { key = "text" }
statements = [
  { sql = "SELECT pg_advisory_xact_lock_shared(hashtextextended(:key, 0))" },
  { sql = "SELECT value FROM kv WHERE key = :key" },
]
[procedure.add]
parameters = { key = "text", delta = "bigint", floor = "bigint" }
statements = [
  { sql = "SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))" },
  { sql = """
WITH sum AS (SELECT coalesce((SELECT value FROM kv WHERE key = :key), '0')::bigint + :delta AS sum)
INSERT INTO kv (key, value) SELECT :key, sum::text FROM sum WHERE :floor::bigint IS NULL OR sum >= :floor
ON CONFLICT (key) DO UPDATE SET value = excluded.value RETURNING value -- the sum""", rows = 1, otherwise = "the sum under {key} would be below {floor}" },
]
[procedure.put_marked]
parameters = { key = "text", value = "text" }
locks = ["k:{key}"]
statements = [
  { sql = "SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))" },
  { sql = "INSERT INTO kv (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value" },
]
[procedure.undo_put_marked]
parameters = { key = "text" }
locks = ["k:{key}"]
statements = [{ sql = "DELETE FROM kv WHERE key = :key" }]
"#;

pub const TABLES: &str = "CREATE TABLE kv (key text PRIMARY KEY, value text)";

/// Returns the same procedures, which declare their keys instead of asking the database for them.
pub fn with_declared_keys() -> String {
    let mut text = String::new();
    for line in PROCEDURES.lines() {
        if line.contains("pg_advisory_xact_lock") {
            continue;
        }
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

pub async fn server(slots: &str) -> Postgres {
    Postgres::start(&[("max_prepared_transactions", slots), ("max_connections", "100"), ("fsync", "off")])
        .await
        .unwrap()
}

pub fn settings(url: String) -> Settings {
    Settings { url, workers: 4, committers: 2, max_readers: 6, lock_timeout_ms: 20_000, ..Settings::default() }
}

/// Makes a database with a table and the schema.
pub async fn database(server: &Postgres, name: &str) -> Result<(), ServerError> {
    server.sql("postgres", &format!("CREATE DATABASE {name}")).await?;
    server.sql(name, TABLES).await?;
    init(&settings(server.url(name)), None).await.unwrap();
    Ok(())
}

/// Empties a database that a participant has used, and makes the schema anew.
pub async fn clear(server: &Postgres, name: &str) {
    let statements = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE application_name LIKE 'undoubt%';\n\
        SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts \\gexec\n\
        DROP SCHEMA undoubt CASCADE; TRUNCATE kv;";
    server.sql(name, statements).await.unwrap();
    init(&settings(server.url(name)), None).await.unwrap();
}

pub fn open(settings: &Settings, procedures: &str) -> PostgreSql {
    let procedures = Procedures::read(procedures, Dialect::PostgreSql).unwrap();
    PostgreSql::new(settings, &participant(), procedures).unwrap()
}

/// Waits until a statement returns what is expected.
pub async fn until(server: &Postgres, database: &str, statement: &str, expected: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = server.sql(database, statement).await;
        if found.as_ref().is_ok_and(|found| found.trim() == expected) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{statement}: {found:?}, not {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Prepares a branch as a session of the participant does that has outlived its client.
pub async fn land_late(
    server: &Postgres,
    database: &str,
    branch: &BranchId,
    begun_at: Timestamp,
    key: &str,
    value: &str,
) {
    let identity = server.sql(database, "SELECT encode(id, 'hex') FROM undoubt.identity").await.unwrap();
    let identity = u64::from_str_radix(identity.trim(), 16).unwrap();
    let BranchId { tx, attempt_number, coordinator } = branch.clone();
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let evidence = format!("'\\x{}', {}, '\\x{}', ''", hex(&coordinator.0), attempt_number.0, hex(tx.as_bytes()));
    let identity = Identity(identity.to_be_bytes());
    let gid = PreparedName { identity, coordinator, attempt_number, begun_at, tx }.to_gid();
    let statements = format!(
        "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('{key}', 0)); INSERT INTO kv VALUES ('{key}', '{value}'); INSERT INTO \
         undoubt.finished VALUES ({evidence}); PREPARE TRANSACTION '{gid}'"
    );
    server.sql(database, &statements).await.unwrap();
}
