//! Two-phase commit by hand: what an application would do by itself over the same rows of the same server, one statement after the
//! other and with nobody who remembers what was decided.

use super::load::COUNTERS;
use std::time::Duration;
use undoubt_test_servers::Postgres;

/// The tables of two branches. By hand both are in one database, for that is what PostgreSQL's own benchmark can do.
pub const TABLES: [&str; 2] = ["counters", "counters_too"];

/// Makes both tables in a database, and fills them.
pub async fn fill(server: &Postgres, database: &str) -> anyhow::Result<()> {
    for table in TABLES {
        let fill = format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, value bigint NOT NULL);
             INSERT INTO {table} SELECT id, 0 FROM generate_series(0, {}) AS s (id);",
            COUNTERS - 1
        );
        server.sql(database, &fill).await?;
    }
    Ok(())
}

/// Runs it with PostgreSQL's own benchmark, and returns how many transactions a second it makes.
pub async fn postgresql(server: &Postgres, database: &str, clients: usize, measured: Duration) -> anyhow::Result<f64> {
    let [one, two] = TABLES;
    let script = format!(
        "\\set id random(0, {})
         \\set n random(1, 9000000000000000000)
         BEGIN;
         UPDATE {one} SET value = value + 1 WHERE id = :id;
         PREPARE TRANSACTION 'hand-one-:client_id-:n';
         BEGIN;
         UPDATE {two} SET value = value + 1 WHERE id = :id;
         PREPARE TRANSACTION 'hand-two-:client_id-:n';
         COMMIT PREPARED 'hand-one-:client_id-:n';
         COMMIT PREPARED 'hand-two-:client_id-:n';
        ",
        COUNTERS - 1
    );
    Ok(server.pgbench(database, &script, clients, measured).await?)
}

/// Runs it over two sessions for each client, in two databases, and returns how many transactions a second it makes. `run`: a name
/// that no other run has.
#[cfg(feature = "mariadb")]
pub async fn mariadb(run: &str, urls: &[String], clients: usize, measured: Duration) -> anyhow::Result<f64> {
    use mysql_async::prelude::Queryable as _;
    use tokio::task::JoinSet;
    use tokio::time::Instant;

    let mut sessions = Vec::new();
    for _ in 0..clients {
        let mut of_client = Vec::new();
        for url in urls {
            of_client.push(mysql_async::Conn::from_url(url).await?);
        }
        sessions.push(of_client);
    }
    let (began, mut loops) = (Instant::now(), JoinSet::new());
    for (client, mut sessions) in sessions.into_iter().enumerate() {
        let run = run.to_owned();
        loops.spawn(async move {
            let mut done = 0_u64;
            while began.elapsed() < measured {
                // Clients are far from each other, so that those under way never meet.
                let id = (client as u64 * 1_009 + done * 7_919) % COUNTERS;
                let one = TABLES[0];
                // The databases of a server share the names.
                let xid = |place: usize| format!("'{run}-{client}-{done}-{place}'");
                for (place, session) in sessions.iter_mut().enumerate() {
                    let xid = xid(place);
                    session.query_drop(format!("XA START {xid}")).await?;
                    session.query_drop(format!("UPDATE {one} SET value = value + 1 WHERE id = {id}")).await?;
                    session.query_drop(format!("XA END {xid}")).await?;
                    session.query_drop(format!("XA PREPARE {xid}")).await?;
                }
                for (place, session) in sessions.iter_mut().enumerate() {
                    session.query_drop(format!("XA COMMIT {}", xid(place))).await?;
                }
                done += 1;
            }
            anyhow::Ok((done, sessions))
        });
    }
    let mut all = 0;
    let mut ended = Vec::new();
    while let Some(one) = loops.join_next().await {
        let (done, sessions) = one??;
        all += done;
        ended.extend(sessions);
    }
    let rate = all as f64 / began.elapsed().as_secs_f64();
    for session in ended {
        session.disconnect().await?;
    }
    Ok(rate)
}
