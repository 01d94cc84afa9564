//! The private servers start, crash, come back and leave nothing behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use undoubt_test_servers::{MariaDb, Postgres, ServerError};

/// Returns the folder that the server of this process id works in.
fn folder_of(pid: Option<u32>) -> PathBuf {
    std::fs::read_link(format!("/proc/{}/cwd", pid.unwrap())).unwrap()
}

#[tokio::test]
async fn what_postgresql_prepared_outlives_a_kill_and_nothing_outlives_the_server() {
    let mut server = Postgres::start(&[("max_prepared_transactions", "10")]).await.unwrap();
    let folder = folder_of(server.pid());
    server.sql("postgres", "CREATE TABLE t (a int); CREATE DATABASE other").await.unwrap();
    server.sql("postgres", "BEGIN; INSERT INTO t VALUES (7); PREPARE TRANSACTION 'p'").await.unwrap();
    server.kill_9();
    assert!(server.sql("postgres", "SELECT 1").await.is_err());
    server.restart().await.unwrap();
    assert_eq!("p", server.sql("postgres", "SELECT gid FROM pg_prepared_xacts").await.unwrap());
    server.sql("postgres", "COMMIT PREPARED 'p'").await.unwrap();
    assert_eq!("7", server.sql("postgres", "SELECT a FROM t").await.unwrap());
    server.kill_9();
    drop(server);
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_backup_of_postgresql_brings_back_what_was_in_doubt() {
    let mut server = Postgres::start(&[("max_prepared_transactions", "10")]).await.unwrap();
    server
        .sql("postgres", "CREATE TABLE t (a int); BEGIN; INSERT INTO t VALUES (7); PREPARE TRANSACTION 'p'")
        .await
        .unwrap();
    let backup = server.base_backup().await.unwrap();
    server.sql("postgres", "COMMIT PREPARED 'p'").await.unwrap();
    assert!(matches!(server.put_back(&backup).await, Err(ServerError::Running(_))));
    server.stop().await.unwrap();
    let stopped = server.copy().await.unwrap();
    server.put_back(&backup).await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(
        "0|1",
        server
            .sql("postgres", "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM pg_prepared_xacts)")
            .await
            .unwrap()
    );
    server.stop().await.unwrap();
    server.put_back(&stopped).await.unwrap();
    server.restart().await.unwrap();
    assert_eq!("7", server.sql("postgres", "SELECT a FROM t").await.unwrap());
}

#[tokio::test]
async fn a_standby_of_postgresql_can_be_promoted() {
    let server = Postgres::start(&[]).await.unwrap();
    server.sql("postgres", "CREATE TABLE t (a int)").await.unwrap();
    let standby = server.start_standby(&[]).await.unwrap();
    assert_eq!("t", standby.sql("postgres", "SELECT pg_is_in_recovery()").await.unwrap());
    standby.sql("postgres", "SELECT pg_promote()").await.unwrap();
    standby.sql("postgres", "INSERT INTO t VALUES (1)").await.unwrap();
}

#[tokio::test]
async fn a_start_that_cannot_succeed_tells_the_servers_own_words() {
    let mut server = Postgres::start(&[("max_prepared_transactions", "10")]).await.unwrap();
    server
        .sql("postgres", "CREATE TABLE t (a int); BEGIN; INSERT INTO t VALUES (7); PREPARE TRANSACTION 'p'")
        .await
        .unwrap();
    server.set("max_prepared_transactions", "0");
    let refused = server.restart_once().await.unwrap_err();
    assert!(refused.to_string().contains("max_prepared_transactions"), "{refused}");
    server.set("max_prepared_transactions", "10");
    server.restart().await.unwrap();
    let refused = server.sql("postgres", "SELECT nothing").await.unwrap_err();
    assert!(refused.to_string().contains("nothing"), "{refused}");
}

#[tokio::test]
async fn what_mariadb_prepared_outlives_a_kill_and_nothing_outlives_the_server() {
    let mut server = MariaDb::start(&[]).await.unwrap();
    let folder = folder_of(server.pid());
    server.sql("", "CREATE DATABASE d; CREATE TABLE d.t (a int) ENGINE=InnoDB").await.unwrap();
    server.sql("d", "XA START 'p'; INSERT INTO t VALUES (7); XA END 'p'; XA PREPARE 'p'").await.unwrap();
    server.kill_9();
    assert!(server.sql("d", "SELECT 1").await.is_err());
    server.restart().await.unwrap();
    assert_eq!("1\t1\t0\tp", server.sql("d", "XA RECOVER").await.unwrap());
    server.sql("d", "XA COMMIT 'p'").await.unwrap();
    assert_eq!("7", server.sql("d", "SELECT a FROM t").await.unwrap());
    server.stop().await.unwrap();
    let copy = server.copy().await.unwrap();
    let other = MariaDb::start_from(&copy, &[]).await.unwrap();
    assert_eq!("7", other.sql("d", "SELECT a FROM t").await.unwrap());
    drop(server);
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_server_ends_with_a_test_that_panics() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let panicked = tokio::spawn(async move {
        let server = MariaDb::start(&[]).await.unwrap();
        tell.send((server.pid().unwrap(), folder_of(server.pid()))).unwrap();
        panic!("on purpose");
    });
    let (pid, folder) = told.await.unwrap();
    assert!(panicked.await.unwrap_err().is_panic());
    assert!(!folder.exists());
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn a_server_ends_when_the_process_that_started_it_is_killed() {
    // Cargo puts examples beside the folder of the tests.
    let hold = std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join("hold");
    let holder = Command::new(&hold).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut holder = holder.expect("the example is built: cargo build -p undoubt-test-servers --example hold");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: u32 = line.split_whitespace().next().unwrap().parse().unwrap();
    let folder = folder_of(Some(pid));
    holder.kill().unwrap();
    holder.wait().unwrap();
    for _ in 0..600 {
        if !folder.exists() {
            assert!(!PathBuf::from(format!("/proc/{pid}")).exists());
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server with process id {pid} goes on in {}", folder.display());
}
