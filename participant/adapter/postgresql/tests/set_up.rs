//! The commands that an owner runs before the first start, and after the last.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::fixture::{DATABASE, Fixture, branch};
use support::{PROCEDURES, TABLES, settings, work};
use undoubt_participant::resource::Branches as _;
use undoubt_postgresql::{SchemaError, check, init, remove};
use undoubt_sql::Lack;
use undoubt_sql::{Dialect, Procedures};
use undoubt_test_servers::Postgres;

async fn lacks(server: &Postgres, procedures: &str) -> Vec<Lack> {
    let procedures = Procedures::read(procedures, Dialect::PostgreSql).unwrap();
    check(&settings(server.url("postgres")), &procedures).await
}

fn has(lacks: &[Lack], what: &str, change: &str) {
    let found = lacks.iter().any(|lack| lack.what.contains(what) && lack.change.contains(change));
    assert!(found, "{what:?} with {change:?} in {lacks:#?}");
}

#[tokio::test]
async fn a_check_tells_what_a_server_lacks_with_the_line_to_change() {
    let mut server =
        Postgres::start(&[("max_prepared_transactions", "0"), ("fsync", "off"), ("max_connections", "12")])
            .await
            .unwrap();
    let found = lacks(&server, PROCEDURES).await;
    has(&found, "prepares no transactions", "max_prepared_transactions = 200   # in postgresql.conf, then restart");
    has(&found, "fsync is off", "fsync = on");
    has(&found, "connections", "max_connections = ");
    has(&found, "no schema undoubt", "undoubt-participant init");

    server.set("max_prepared_transactions", "100");
    server.set("fsync", "on");
    server.set("max_connections", "100");
    server.restart().await.unwrap();
    init(&settings(server.url("postgres")), None).await.unwrap();
    let found = lacks(&server, PROCEDURES).await;
    has(&found, "procedure add, statement 2", "correct the statement");
    has(&found, "line ", "");
    assert!(found.iter().all(|lack| lack.what.contains("\"kv\"")), "only the table is missing: {found:#?}");
    server.sql("postgres", TABLES).await.unwrap();
    assert_eq!(lacks(&server, PROCEDURES).await, []);
    server.stop().await.unwrap();
    has(&lacks(&server, PROCEDURES).await, "away", "resource.url");
}

#[tokio::test]
async fn a_statement_whose_result_cannot_be_carried_is_told() {
    let server = support::server("10").await;
    init(&settings(server.url("postgres")), None).await.unwrap();
    let odd = "[procedure.odd]\nstatements = [{ sql = \"SELECT '1 day'::interval AS wait\" }, { sql = \"SELECT 'x'::text\" }]";
    has(&lacks(&server, odd).await, "procedure odd, statement 1: column wait is of type interval", "");
    let typed =
        "[procedure.typed]\nparameters = { id = \"text\" }\nstatements = [{ sql = \"SELECT 1 WHERE 7 = :id\" }]";
    has(
        &lacks(&server, typed).await,
        "line 3: procedure typed, statement 1: operator does not exist",
        "types of its parameters",
    );
}

#[tokio::test]
async fn a_schema_is_made_once_and_not_removed_while_something_is_in_doubt() {
    let fixture = Fixture::new().await;
    let direct = settings(fixture.server.url(DATABASE));
    let again = init(&direct, None).await;
    assert!(matches!(again, Err(SchemaError::Exists)), "{again:?}");
    fixture.prepare(1, work::put("k", "1")).await;
    let Fixture { server, resource, proxy, .. } = fixture;
    drop(resource);
    let refused = remove(&direct).await;
    assert!(matches!(&refused, Err(SchemaError::InUse { what, .. }) if what.contains("tx-1")), "{refused:?}");
    let resource = support::open(&direct, PROCEDURES);
    undoubt_participant::resource::Resource::recover(&resource, &support::participant()).await.unwrap();
    resource.commit(branch(1)).await.unwrap();
    drop(resource);
    remove(&direct).await.unwrap();
    assert_eq!(server.sql(DATABASE, "SELECT value FROM kv").await.unwrap().trim(), "1", "the owner's data stay");
    assert!(matches!(remove(&direct).await, Err(SchemaError::Missing)));
    init(&direct, None).await.unwrap();
    drop(proxy);
}
