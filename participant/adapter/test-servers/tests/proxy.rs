//! The proxy cuts and holds where it was told, over real servers and their own clients.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::time::Duration;

use undoubt_test_servers::{MariaDb, Postgres, Proxy};

const PREPARE: &str = "BEGIN; INSERT INTO t VALUES (7); PREPARE TRANSACTION 'p'; SELECT 'answered'";
const STATE: &str = "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM pg_prepared_xacts)";

async fn postgres() -> (Postgres, Proxy) {
    let server = Postgres::start(&[("max_prepared_transactions", "10")]).await.unwrap();
    server.sql("postgres", "CREATE TABLE t (a int)").await.unwrap();
    let proxy = Proxy::postgres(server.address()).await.unwrap();
    (server, proxy)
}

/// Waits until the table and what is prepared are as expected.
async fn until(server: &Postgres, state: &str) {
    for _ in 0..600 {
        if server.sql("postgres", STATE).await.unwrap() == state {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not {state}, but {}", server.sql("postgres", STATE).await.unwrap());
}

#[tokio::test]
async fn the_five_cuts_leave_what_each_should() {
    let (server, proxy) = postgres().await;
    let through = |statements: &'static str| server.sql_through(proxy.address(), "postgres", statements);

    let trap = proxy.before("PREPARE TRANSACTION").cut();
    through(PREPARE).await.unwrap_err();
    trap.happened().await.unwrap();
    until(&server, "0|0").await;

    let trap = proxy.after("PREPARE TRANSACTION").cut();
    through(PREPARE).await.unwrap_err();
    trap.happened().await.unwrap();
    until(&server, "0|1").await;

    let trap = proxy.before("COMMIT PREPARED").cut();
    through("COMMIT PREPARED 'p'").await.unwrap_err();
    trap.happened().await.unwrap();
    until(&server, "0|1").await;

    let trap = proxy.after("COMMIT PREPARED").cut();
    through("COMMIT PREPARED 'p'").await.unwrap_err();
    trap.happened().await.unwrap();
    until(&server, "1|0").await;

    let trap = proxy.after("COMMIT").cut();
    through("BEGIN; INSERT INTO t VALUES (8); COMMIT").await.unwrap_err();
    trap.happened().await.unwrap();
    until(&server, "2|0").await;
}

#[tokio::test]
async fn without_a_trap_that_fits_everything_passes() {
    let (server, proxy) = postgres().await;
    let trap = proxy.before("ROLLBACK PREPARED").cut();
    assert_eq!("answered", server.sql_through(proxy.address(), "postgres", PREPARE).await.unwrap());
    assert!(!trap.has_happened());
    drop(trap);
    server.sql_through(proxy.address(), "postgres", "ROLLBACK PREPARED 'p'").await.unwrap();
    until(&server, "0|0").await;
}

#[tokio::test]
async fn the_chosen_occurrence_is_cut_and_no_other() {
    let (server, proxy) = postgres().await;
    let trap = proxy.before("INSERT").nth(3).cut();
    let inserts = "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)";
    server.sql_through(proxy.address(), "postgres", inserts).await.unwrap_err();
    assert!(trap.has_happened());
    until(&server, "2|0").await;
    server.sql_through(proxy.address(), "postgres", inserts).await.unwrap();
    until(&server, "5|0").await;
}

#[tokio::test]
async fn a_held_message_waits_until_it_is_let_go() {
    let (server, proxy) = postgres().await;
    let trap = proxy.before("PREPARE TRANSACTION").hold();
    let meanwhile = async {
        trap.happened().await.unwrap();
        until(&server, "0|0").await;
        trap.let_go();
    };
    let (answer, ()) = tokio::join!(server.sql_through(proxy.address(), "postgres", PREPARE), meanwhile);
    assert_eq!("answered", answer.unwrap());

    let trap = proxy.after("COMMIT PREPARED").hold();
    let meanwhile = async {
        trap.happened().await.unwrap();
        until(&server, "1|0").await;
        trap.let_go();
    };
    let commit = server.sql_through(proxy.address(), "postgres", "COMMIT PREPARED 'p'");
    let (answer, ()) = tokio::join!(commit, meanwhile);
    answer.unwrap();
}

#[tokio::test]
async fn an_unreachable_server_is_so_for_old_and_new_connections() {
    let (server, proxy) = postgres().await;
    let trap = proxy.after("pg_sleep").hold();
    let meanwhile = async {
        trap.happened().await.unwrap();
        proxy.set_reachable(false);
    };
    let (answer, ()) = tokio::join!(server.sql_through(proxy.address(), "postgres", "SELECT pg_sleep(60)"), meanwhile);
    answer.unwrap_err();
    server.sql_through(proxy.address(), "postgres", "SELECT 1").await.unwrap_err();
    proxy.set_reachable(true);
    server.sql_through(proxy.address(), "postgres", "SELECT 1").await.unwrap();
}

#[tokio::test]
async fn mariadb_is_cut_before_and_after_its_messages() {
    let server = MariaDb::start(&[]).await.unwrap();
    server.sql("", "CREATE DATABASE d; CREATE TABLE d.t (a int) ENGINE=InnoDB").await.unwrap();
    let proxy = Proxy::mariadb(server.address()).await.unwrap();
    let through = |statements: &'static str| server.sql_through(proxy.address(), "d", statements);
    let prepare = "XA START 'p'; INSERT INTO t VALUES (7); XA END 'p'; XA PREPARE 'p'; SELECT 'answered'";
    let prepared = async |expected: &str| {
        for _ in 0..600 {
            // The one that prepares has to be gone before another may commit.
            let sessions = server.sql("d", "SELECT count(*) FROM information_schema.processlist").await.unwrap();
            if sessions == "1" && server.sql("d", "XA RECOVER").await.unwrap() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not {expected:?}");
    };

    let trap = proxy.before("XA PREPARE").cut();
    through(prepare).await.unwrap_err();
    trap.happened().await.unwrap();
    prepared("").await;

    let trap = proxy.after("XA PREPARE").cut();
    through(prepare).await.unwrap_err();
    trap.happened().await.unwrap();
    prepared("1\t1\t0\tp").await;

    let trap = proxy.after("XA COMMIT").cut();
    through("XA COMMIT 'p'").await.unwrap_err();
    trap.happened().await.unwrap();
    prepared("").await;
    assert_eq!("7", through("SELECT a FROM t").await.unwrap());
}
