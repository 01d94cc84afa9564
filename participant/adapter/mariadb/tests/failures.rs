//! The failures of sessions and servers, and the doings of other hands.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use mysql_async::prelude::Queryable as _;
use std::sync::Arc;
use std::time::Duration;
use support::branch::{COORDINATOR, branch, call, prepare, refused, vote};
use support::{PATIENCE, PROCEDURES, database, kill_sessions, open, participant, server, settings, until, work};
use tokio_util::sync::CancellationToken;
use undoubt_mariadb::{MariaDb, Settings, list};
use undoubt_participant::resource::{Branches as _, Ended, Recovered, Resource as _, ResourceError};
use undoubt_sql::{PreparedName, Xid};
use undoubt_test_servers::{self as servers, Proxy};
use undoubt_vocabulary::{Execution, RefusalCode, Timestamp, Vote};
use undoubt_work::call::{Call, CallWork};

const DATABASE: &str = "bank";
const IN_DOUBT: &str = "XA RECOVER";

/// A server with one database, and a participant in it that has recovered.
struct Bank {
    server: servers::MariaDb,
    proxy: Proxy,
    resource: Arc<MariaDb>,
}

impl Bank {
    async fn new() -> Bank {
        let server = server().await;
        database(&server, DATABASE).await;
        let proxy = Proxy::mariadb(server.address()).await.unwrap();
        let resource = Arc::new(open(&through(&server, &proxy), PROCEDURES));
        recover(&resource).await;
        Bank { server, proxy, resource }
    }

    fn settings(&self) -> Settings {
        through(&self.server, &self.proxy)
    }

    /// Starts the participant anew as after a crash: nothing of the former one is closed in order.
    async fn crash(&mut self) -> Recovered {
        self.resource = Arc::new(open(&Settings { take_over: true, ..self.settings() }, PROCEDURES));
        recover(&self.resource).await
    }

    async fn commit(&self, number: u64) -> Ended {
        repeated(async || self.resource.commit(branch(number)).await).await
    }

    async fn abort(&self, number: u64) -> Ended {
        repeated(async || self.resource.abort(branch(number)).await).await
    }

    async fn value(&self, key: &str) -> String {
        self.server.sql(DATABASE, &format!("SELECT value FROM kv WHERE name = '{key}'")).await.unwrap()
    }

    async fn is_clean(&self) {
        until(&self.server, DATABASE, IN_DOUBT, "").await;
        until(&self.server, DATABASE, "SELECT COUNT(*) FROM information_schema.INNODB_TRX", "0").await;
    }
}

fn through(server: &servers::MariaDb, proxy: &Proxy) -> Settings {
    Settings { lock_timeout_ms: 5_000, ..settings(server.url_through(proxy.address(), DATABASE)) }
}

async fn recover(resource: &MariaDb) -> Recovered {
    repeated(async || resource.recover(&participant()).await).await
}

/// Repeats a call as the server does: as long as it is not available, or unclear what became of it.
async fn repeated<T>(call: impl AsyncFn() -> Result<T, ResourceError>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(done) => return done,
            Err(ResourceError::Unavailable { .. } | ResourceError::Unclear { .. })
                if tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("it succeeds in the end, but: {error}"),
        }
    }
}

#[tokio::test]
async fn a_prepare_that_is_on_its_way_when_another_process_takes_over_never_lands() {
    let mut bank = Bank::new().await;
    let (held, former) = (bank.proxy.before("XA PREPARE").hold(), bank.resource.clone());
    let late = tokio::spawn(async move { vote(&former, 1, work::put("k", "late")).await });
    held.happened().await.unwrap();
    let recovered = bank.crash().await;
    assert!(recovered.prepared.is_empty());
    held.let_go();
    assert!(matches!(late.await.unwrap(), Err(ResourceError::Unclear { .. })));
    prepare(&bank.resource, 2, work::put("k", "next")).await;
    assert_eq!(bank.commit(2).await, Ended::AsTold);
    assert_eq!(bank.value("k").await, "next");
    bank.is_clean().await;
}

#[tokio::test]
async fn a_statement_that_waits_for_a_lock_when_its_process_dies_is_ended_by_the_next() {
    let mut bank = Bank::new().await;
    let mut holder = mysql_async::Conn::from_url(bank.server.url(DATABASE)).await.unwrap();
    holder.query_drop("START TRANSACTION; INSERT INTO kv VALUES ('k', 'held')").await.unwrap();
    let (passed, former) = (bank.proxy.after("XA START").cut(), bank.resource.clone());
    let late = tokio::spawn(async move { vote(&former, 1, work::put("k", "late")).await });
    passed.happened().await.unwrap();
    refused(late.await.unwrap());
    assert!(bank.crash().await.prepared.is_empty());
    holder.query_drop("ROLLBACK").await.unwrap();
    bank.is_clean().await;
    assert_eq!(bank.value("k").await, "");
}

#[tokio::test]
async fn a_branch_whose_session_was_killed_ends_as_it_was_decided() {
    let bank = Bank::new().await;
    prepare(&bank.resource, 1, work::put("a", "1")).await;
    prepare(&bank.resource, 2, work::put("b", "2")).await;
    kill_sessions(&bank.server, DATABASE).await;
    assert_eq!(bank.commit(1).await, Ended::AsTold);
    assert_eq!(bank.abort(2).await, Ended::AsTold);
    assert_eq!((bank.value("a").await.as_str(), bank.value("b").await.as_str()), ("1", ""));
    bank.is_clean().await;
}

#[tokio::test]
async fn no_commit_is_told_that_is_not_there_however_soon_it_follows_the_end_of_its_session() {
    let bank = Bank::new().await;
    let ids = format!("SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{DATABASE}'");
    let mut killer = mysql_async::Conn::from_url(bank.server.url("")).await.unwrap();
    for number in 1..=60 {
        prepare(&bank.resource, number, work::put("k", &number.to_string())).await;
        let sessions: Vec<u64> = killer.query(&ids).await.unwrap();
        for id in sessions {
            // Not waited for: the commit meets sessions that are just ending.
            let _ = killer.query_drop(format!("KILL {id}")).await;
        }
        assert_eq!(bank.commit(number).await, Ended::AsTold);
        assert_eq!(bank.value("k").await, number.to_string(), "what was told to be committed is there");
    }
    bank.is_clean().await;
}

#[tokio::test]
async fn what_the_server_has_lost_is_told_and_committed_once_it_is_found_again() {
    let mut bank = Bank::new().await;
    let (id, begun_at) = (branch(1), Timestamp(1));
    // A session that is reset after XA PREPARE is what a pool leaves: the server then takes its branch for nobody's, and a commit for
    // done.
    let known = list(&settings(bank.server.url(DATABASE))).await.unwrap();
    assert!(known.is_empty());
    let identity = bank.server.sql(DATABASE, "SELECT HEX(id) FROM undoubt_identity").await.unwrap();
    let identity: Vec<u8> = (0..8).map(|at| u8::from_str_radix(&identity[2 * at..2 * at + 2], 16).unwrap()).collect();
    let name = PreparedName {
        identity: undoubt_sql::Identity(identity.try_into().unwrap()),
        coordinator: COORDINATOR,
        attempt_number: id.attempt_number,
        begun_at,
        tx: id.tx.clone(),
    };
    let xid = literal(&name.to_xid());
    let evidence = format!(
        "INSERT INTO undoubt_finished VALUES ({}, 1, {}, 1, 1, '')",
        hex(&COORDINATOR.0),
        hex(id.tx.as_bytes())
    );
    let mut lost = mysql_async::Conn::from_url(bank.server.url(DATABASE)).await.unwrap();
    lost.query_drop(format!(
        "XA START {xid}; {evidence}; INSERT INTO kv VALUES ('k', 'lost'); XA END {xid}; XA PREPARE {xid}"
    ))
    .await
    .unwrap();
    let _ = lost.reset().await;
    bank.server.sql(DATABASE, &format!("XA COMMIT {xid}")).await.unwrap();
    assert_eq!(bank.value("k").await, "", "the server has answered OK and not committed");
    assert_eq!(bank.server.sql("", IN_DOUBT).await.unwrap(), "");

    let recovered = bank.crash().await;
    assert_eq!(recovered.prepared.len(), 1, "it is in doubt all the same");
    let told = bank.resource.commit(id.clone()).await;
    let Err(ResourceError::Unavailable { cause }) = told else {
        panic!("it is not there, so it is not told: {told:?}")
    };
    assert!(cause.contains("Restart the server"), "{cause}");

    bank.server.kill_9();
    bank.server.restart().await.unwrap();
    assert_eq!(bank.commit(1).await, Ended::AsTold);
    assert_eq!(bank.value("k").await, "lost");
    bank.is_clean().await;
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{digits}'")
}

fn literal(Xid { format_id, gtrid, bqual }: &Xid) -> String {
    format!("{},{},{format_id}", hex(gtrid), hex(bqual))
}

#[tokio::test]
async fn what_is_in_doubt_outlives_a_kill_of_the_server() {
    let mut bank = Bank::new().await;
    for number in 1..=4 {
        prepare(&bank.resource, number, work::put(&format!("k{number}"), "in doubt")).await;
    }
    bank.server.kill_9();
    let away = vote(&bank.resource, 5, work::put("k5", "away")).await;
    assert_eq!(refused(away).code, RefusalCode::Unavailable);
    assert!(bank.resource.health().refuses_work.is_some());
    bank.server.restart().await.unwrap();
    // The process that prepared them goes on with two, another one with the rest.
    assert_eq!(bank.commit(1).await, Ended::AsTold);
    assert_eq!(bank.abort(2).await, Ended::AsTold);
    assert_eq!(bank.crash().await.prepared.len(), 2);
    assert_eq!(bank.commit(3).await, Ended::AsTold);
    assert_eq!(bank.abort(4).await, Ended::AsTold);
    let values = bank.server.sql(DATABASE, "SELECT name FROM kv ORDER BY 1").await.unwrap();
    assert_eq!(values, "k1\nk3");
    bank.is_clean().await;
}

#[tokio::test]
async fn whatever_is_cut_off_ends_as_it_was_decided() {
    let mut bank = Bank::new().await;
    let mut number = 0;
    for takes_effect in [false, true] {
        for commit in [false, true] {
            for crashes in [false, true] {
                number += 1;
                let key = format!("k{number}");
                prepare(&bank.resource, number, work::put(&key, "new")).await;
                let text = if commit { "XA COMMIT" } else { "XA ROLLBACK" };
                let place = if takes_effect { bank.proxy.after(text) } else { bank.proxy.before(text) };
                let trap = place.cut();
                let answered = match commit {
                    true => bank.resource.commit(branch(number)).await,
                    false => bank.resource.abort(branch(number)).await,
                };
                trap.happened().await.unwrap();
                assert!(matches!(answered, Ok(Ended::AsTold) | Err(ResourceError::Unclear { .. })), "{answered:?}");
                if crashes {
                    bank.crash().await;
                }
                let ended = if commit { bank.commit(number).await } else { bank.abort(number).await };
                assert_eq!(ended, Ended::AsTold);
                assert_eq!(bank.value(&key).await, if commit { "new" } else { "" });
            }
        }
    }
    bank.is_clean().await;
}

#[tokio::test]
async fn a_branch_that_finds_no_slot_is_refused_and_another_time_it_succeeds() {
    let bank = Bank::new().await;
    let few = open(&Settings { slots: 2, take_over: true, ..bank.settings() }, PROCEDURES);
    recover(&few).await;
    prepare(&few, 1, work::put("a", "1")).await;
    prepare(&few, 2, work::put("b", "2")).await;
    let (id, third) = call(3, Execution::TwoPhase, Duration::from_millis(50), work::put("c", "3"));
    let crowded = refused(few.prepare(id, third, CancellationToken::new()).await);
    assert_eq!(crowded.code, RefusalCode::LockTimeout);
    assert!(crowded.detail.contains("resource.slots"), "{}", crowded.detail);
    // What is in doubt keeps nobody else from working.
    let (id, lone) = call(4, Execution::OnePhase, Duration::from_secs(10), work::put("d", "4"));
    assert!(matches!(few.prepare(id, lone, CancellationToken::new()).await, Ok(Vote::Committed { .. })));
    few.commit(branch(1)).await.unwrap();
    prepare(&few, 3, work::put("c", "3")).await;
    few.commit(branch(2)).await.unwrap();
    few.abort(branch(3)).await.unwrap();
    bank.is_clean().await;
}

#[tokio::test]
async fn what_others_have_prepared_is_never_touched() {
    let mut bank = Bank::new().await;
    database(&bank.server, "other").await;
    let other = open(&settings(bank.server.url("other")), PROCEDURES);
    recover(&other).await;
    prepare(&other, 1, work::put("k", "other")).await;
    bank.server
        .sql(DATABASE, "XA START 'theirs'; INSERT INTO kv VALUES ('theirs', '1'); XA END 'theirs'; XA PREPARE 'theirs'")
        .await
        .unwrap();
    prepare(&bank.resource, 1, work::put("k", "ours")).await;
    let recovered = bank.crash().await;
    assert_eq!(recovered.prepared.len(), 1);
    assert_eq!(bank.abort(1).await, Ended::AsTold);
    let mut listed = list(&settings(bank.server.url(DATABASE))).await.unwrap();
    listed.sort_by_key(|prepared| prepared.name.is_some());
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|prepared| !prepared.ours));
    assert_eq!(listed[0].xid, "x'746865697273',x'',1");
    other.commit(branch(1)).await.unwrap();
    assert_eq!(bank.server.sql("other", "SELECT value FROM kv").await.unwrap(), "other");
    bank.server.sql(DATABASE, "XA COMMIT 'theirs'").await.unwrap();
    assert_eq!(bank.value("theirs").await, "1");
    bank.is_clean().await;
}

#[tokio::test]
async fn of_two_processes_of_one_participant_the_second_is_refused_unless_it_takes_over() {
    let bank = Bank::new().await;
    let stop = CancellationToken::new();
    let (first, stopped) = (bank.resource.clone(), stop.clone());
    let background = tokio::spawn(async move { first.background(stopped).await });
    let second = open(&bank.settings(), PROCEDURES);
    let refused = second.recover(&participant()).await;
    let Err(ResourceError::Fenced { cause }) = refused else { panic!("the first answers: {refused:?}") };
    assert!(cause.contains("resource.take_over=true"), "{cause}");
    let second = open(&Settings { take_over: true, ..bank.settings() }, PROCEDURES);
    recover(&second).await;
    let ended = tokio::time::timeout(PATIENCE, background).await.unwrap().unwrap();
    assert!(matches!(ended, Err(ResourceError::Fenced { .. })), "{ended:?}");
    let late = vote(&bank.resource, 1, work::put("k", "late")).await;
    assert!(matches!(late, Err(ResourceError::Fenced { .. })), "{late:?}");
    prepare(&second, 2, work::put("k", "second")).await;
    second.commit(branch(2)).await.unwrap();
    assert_eq!(bank.value("k").await, "second");
}

#[tokio::test]
async fn a_changed_table_is_told_with_the_statement_that_it_breaks() {
    let bank = Bank::new().await;
    bank.server.sql(DATABASE, "ALTER TABLE kv RENAME COLUMN value TO amount").await.unwrap();
    let broken = refused(vote(&bank.resource, 1, work::put("k", "1")).await);
    assert_eq!(broken.code, RefusalCode::InvalidWork);
    assert!(broken.detail.contains("statement 1 of procedure put"), "{}", broken.detail);
    bank.server.sql(DATABASE, "ALTER TABLE kv RENAME COLUMN amount TO value").await.unwrap();
    prepare(&bank.resource, 2, work::put("k", "2")).await;
    assert_eq!(bank.commit(2).await, Ended::AsTold);
}

#[tokio::test]
async fn of_a_deadlock_in_the_database_one_is_refused_and_the_other_prepares() {
    let bank = Bank::new().await;
    for (number, key) in [(1, "a"), (2, "b")] {
        prepare(&bank.resource, number, work::put(key, "0")).await;
        bank.commit(number).await;
    }
    // Both are held between their two keys, so that each has the one that the other wants.
    let begun = [bank.proxy.before("/* then */").hold(), bank.proxy.before("/* then */").nth(2).hold()];
    let both = |number: u64, first: &'static str, second: &'static str| {
        let resource = bank.resource.clone();
        let two = Call::new("two").arg("first", first).arg("second", second);
        tokio::spawn(async move { vote(&resource, number, work::work(two)).await })
    };
    let voting = [both(3, "a", "b"), both(4, "b", "a")];
    for held in &begun {
        held.happened().await.unwrap();
    }
    drop(begun);
    let mut prepared = 0;
    for (number, vote) in (3..).zip(voting) {
        match vote.await.unwrap() {
            Ok(Vote::Prepared { .. }) => {
                prepared += 1;
                bank.commit(number).await;
            }
            vote => assert_eq!(refused(vote).code, RefusalCode::LockConflict),
        }
    }
    assert_eq!(prepared, 1, "the server ends one of the two");
    bank.is_clean().await;
}

#[tokio::test]
async fn a_connection_that_swallows_everything_is_given_up_in_time_and_its_session_ended() {
    let bank = Bank::new().await;
    prepare(&bank.resource, 1, work::put("k", "1")).await;
    let silent = bank.proxy.before("XA COMMIT").hold();
    let unclear = bank.resource.commit(branch(1)).await;
    assert!(matches!(unclear, Err(ResourceError::Unclear { .. })), "{unclear:?}");
    assert_eq!(bank.commit(1).await, Ended::AsTold);
    silent.let_go();
    assert_eq!(bank.value("k").await, "1");
    bank.is_clean().await;
}

#[tokio::test]
async fn what_a_prepared_branch_has_read_in_share_mode_stays_until_its_decision() {
    let bank = Bank::new().await;
    prepare(&bank.resource, 1, work::put("limit", "5")).await;
    assert_eq!(bank.commit(1).await, Ended::AsTold);
    let both =
        CallWork::from(Call::new("get").arg("key", "limit")).call(Call::new("put").arg("key", "k").arg("value", "4"));
    prepare(&bank.resource, 2, both.encode().unwrap()).await;
    let (id, change) = call(3, Execution::TwoPhase, Duration::from_millis(200), work::put("limit", "3"));
    let early = refused(bank.resource.prepare(id, change, CancellationToken::new()).await);
    assert_eq!(early.code, RefusalCode::LockTimeout);
    assert_eq!(bank.commit(2).await, Ended::AsTold);
    prepare(&bank.resource, 4, work::put("limit", "3")).await;
    assert_eq!(bank.commit(4).await, Ended::AsTold);
}
