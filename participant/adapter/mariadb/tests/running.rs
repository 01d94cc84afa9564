//! Tables, rights and sessions that change under a running participant, and the records that it deletes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::sync::Arc;
use std::time::Duration;
use support::branch::{COORDINATOR, branch, prepare, refused, vote};
use support::{PATIENCE, PROCEDURES, TABLES, database, kill_sessions, open, participant, server, settings, work};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use undoubt_mariadb::{MariaDb, Settings, init};
use undoubt_participant::resource::{Branches as _, Ended, Resource as _, ResourceError};
use undoubt_test_servers as servers;
use undoubt_vocabulary::{AttemptNumber, RefusalCode};

const DATABASE: &str = "bank";

/// Recovers a participant, and lets it do what it does by itself.
async fn run(settings: &Settings) -> (Arc<MariaDb>, JoinHandle<Result<(), ResourceError>>) {
    let resource = Arc::new(open(settings, PROCEDURES));
    resource.recover(&participant()).await.unwrap();
    let running = resource.clone();
    (resource, tokio::spawn(async move { running.background(CancellationToken::new()).await }))
}

/// Waits until the warnings are such.
async fn until_warned(resource: &MariaDb, is_it: impl Fn(&[String]) -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let warnings = resource.health().warnings;
        if is_it(&warnings) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{warnings:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn names_the_line(warnings: &[String]) -> bool {
    warnings.iter().any(|warning| warning.contains("line 5: procedure put, statement 1"))
}

#[tokio::test]
async fn procedures_are_described_at_the_start_and_after_a_reconnect() {
    let server = server().await;
    server.sql("", &format!("CREATE DATABASE {DATABASE}")).await.unwrap();
    let settings = settings(server.url(DATABASE));
    init(&settings, None).await.unwrap();
    let (resource, running) = run(&settings).await;
    let warnings = resource.health().warnings;
    assert!(names_the_line(&warnings) && warnings[0].contains("correct"), "{warnings:#?}");
    server.sql(DATABASE, TABLES).await.unwrap();
    until_warned(&resource, <[String]>::is_empty).await;

    server.sql(DATABASE, "RENAME TABLE kv TO gone").await.unwrap();
    kill_sessions(&server, DATABASE).await;
    until_warned(&resource, names_the_line).await;
    server.sql(DATABASE, "RENAME TABLE gone TO kv").await.unwrap();
    until_warned(&resource, <[String]>::is_empty).await;
    running.abort();
}

/// Has a call refused, which names its statement, and waits until people are warned of it.
async fn refuse(resource: &MariaDb, number: u64, says: &str) {
    let broken = refused(vote(resource, number, work::put("k", "text")).await);
    assert_eq!(broken.code, RefusalCode::InvalidWork);
    for says in ["statement 1 of procedure put", says, "correct one of them"] {
        assert!(broken.detail.contains(says), "{says}: {}", broken.detail);
    }
    let warnings = resource.health().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("procedure put")), "{warnings:#?}");
}

#[tokio::test]
async fn what_changes_under_a_running_participant_is_refused_by_statement_and_warned_of() {
    let server = server().await;
    database(&server, DATABASE).await;
    let user = "CREATE USER undoubt@'127.0.0.1'; GRANT ALL ON bank.* TO undoubt@'127.0.0.1'; GRANT PROCESS ON *.* TO \
                undoubt@'127.0.0.1'; REVOKE INSERT ON bank.* FROM undoubt@'127.0.0.1'";
    server.sql(DATABASE, user).await.unwrap();
    let own = "undoubt_run undoubt_coordinator undoubt_finished kv";
    for table in own.split(' ') {
        server.sql(DATABASE, &format!("GRANT INSERT ON {table} TO undoubt@'127.0.0.1'")).await.unwrap();
    }
    let (resource, running) = run(&settings(server.url(DATABASE).replace("root@", "undoubt@"))).await;
    prepare(&resource, 1, work::put("k", "in doubt")).await;
    assert_eq!(resource.commit(branch(1)).await, Ok(Ended::AsTold));
    assert_eq!(resource.health().warnings, [""; 0]);

    server.sql(DATABASE, "RENAME TABLE kv TO gone").await.unwrap();
    refuse(&resource, 2, "doesn't exist").await;
    until_warned(&resource, names_the_line).await;
    server.sql(DATABASE, "RENAME TABLE gone TO kv").await.unwrap();
    until_warned(&resource, <[String]>::is_empty).await;
    prepare(&resource, 3, work::put("k", "in doubt")).await;

    server.sql(DATABASE, "REVOKE INSERT ON kv FROM undoubt@'127.0.0.1'").await.unwrap();
    refuse(&resource, 4, "INSERT command denied").await;
    until_warned(&resource, names_the_line).await;
    assert_eq!(resource.commit(branch(3)).await, Ok(Ended::AsTold), "what is prepared ends all the same");
    server.sql(DATABASE, "GRANT INSERT ON kv TO undoubt@'127.0.0.1'").await.unwrap();
    until_warned(&resource, <[String]>::is_empty).await;

    server.sql(DATABASE, "DELETE FROM kv; ALTER TABLE kv MODIFY value INT NOT NULL").await.unwrap();
    refuse(&resource, 5, "for column `bank`.`kv`.`value`").await;
    server.sql(DATABASE, "ALTER TABLE kv MODIFY value TEXT NOT NULL").await.unwrap();
    prepare(&resource, 6, work::put("k", "text")).await;
    assert_eq!(resource.commit(branch(6)).await, Ok(Ended::AsTold));
    running.abort();
}

async fn waits(server: &servers::MariaDb) -> String {
    server.sql("", "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_waits'").await.unwrap()
}

#[tokio::test]
async fn what_is_over_is_deleted_without_waiting_for_what_is_in_doubt() {
    let server = server().await;
    database(&server, DATABASE).await;
    let resource = open(&settings(server.url(DATABASE)), PROCEDURES);
    resource.recover(&participant()).await.unwrap();
    let before = waits(&server).await;
    for number in 1..=7 {
        prepare(&resource, number, work::put(&format!("k{number}"), "v")).await;
    }
    for number in [1, 2, 4, 6] {
        assert_eq!(resource.commit(branch(number)).await, Ok(Ended::AsTold));
    }
    // The third is below the mark and in doubt.
    resource.collect(COORDINATOR, AttemptNumber(6).into()).await.unwrap();
    let left = "SELECT attempt FROM undoubt_finished ORDER BY 1";
    assert_eq!(server.sql(DATABASE, left).await.unwrap(), "6");
    assert_eq!(waits(&server).await, before, "nothing has waited for a lock");
    for number in [3, 5, 7] {
        assert_eq!(resource.commit(branch(number)).await, Ok(Ended::AsTold));
    }
    assert_eq!(server.sql(DATABASE, left).await.unwrap(), "3\n5\n6\n7");
    resource.collect(COORDINATOR, AttemptNumber(8).into()).await.unwrap();
    assert_eq!(server.sql(DATABASE, left).await.unwrap(), "");
}
