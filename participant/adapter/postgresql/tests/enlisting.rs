//! Branches that applications prepare in sessions of their own: adopted, ended and undone, whatever fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use std::time::Duration;
use support::fixture::{DATABASE, Fixture, assert_code, branch};
use support::{PROCEDURES, open, participant, settings};
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;
use undoubt_enlist::{EnlistError, Enlisting};
use undoubt_participant::resource::{BranchId, Branches as _, Ended, Heuristic, Resource as _, ResourceError};
use undoubt_postgresql::{PostgreSql, Settings};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Execution, Prepare, RefusalCode, Timestamp, Vote};
use undoubt_work::Work;

const COORDINATOR: CoordinatorId = CoordinatorId([7; 16]);

fn enlisting() -> Enlisting {
    Enlisting::new(COORDINATOR)
}

/// Returns the branch of a later attempt under the id of the transaction with this number.
fn attempt(number: u64, attempt_number: u64) -> BranchId {
    BranchId { attempt_number: AttemptNumber(attempt_number), ..branch(number) }
}

/// Inserts an order of its own, and prepares.
async fn enlist(client: &mut Client, number: u64, key: &str) -> Result<(), EnlistError> {
    let own = enlisting().begin(client, &branch(number).tx).await?;
    own.execute("INSERT INTO kv VALUES ($1, 'own')", &[&key]).await?;
    own.prepare().await.map(drop)
}

async fn adopt(resource: &PostgreSql, branch: &BranchId) -> Result<Vote, ResourceError> {
    adopt_in(resource, branch, Execution::TwoPhase).await
}

async fn adopt_in(resource: &PostgreSql, branch: &BranchId, execution: Execution) -> Result<Vote, ResourceError> {
    let work: Bytes = Work::enlisted().encode(&[]).unwrap();
    let (begun_at, timeout) = (Timestamp(5), Duration::from_secs(20));
    let BranchId { tx, attempt_number, coordinator: _ } = branch.clone();
    let prepare = Prepare { tx, attempt_number, begun_at, timeout, execution, work };
    resource.prepare(branch.clone(), prepare, CancellationToken::new()).await
}

fn assert_prepared(vote: Result<Vote, ResourceError>) {
    assert!(matches!(vote, Ok(Vote::Prepared { .. })), "{vote:?}");
}

fn assert_condition(vote: Result<Vote, ResourceError>, says: &[&str]) {
    match vote {
        Ok(Vote::Refused(refusal)) => assert_code(&refusal, RefusalCode::Condition, says),
        other => panic!("it has to be refused, not {other:?}"),
    }
}

/// Returns the rows of the participant's records about what is enlisted.
async fn records(fixture: &Fixture) -> String {
    fixture.sql("SELECT (SELECT count(*) FROM undoubt.adopted) || ' ' || (SELECT count(*) FROM undoubt.enlisted)").await
}

/// A fixture whose participant gives what nobody submits a moment only, in the background.
async fn impatient() -> (Fixture, CancellationToken) {
    let mut fixture = Fixture::new().await;
    let settings = Settings { enlist_grace_ms: 1, ..fixture.settings() };
    fixture.resource = std::sync::Arc::new(open(&settings, PROCEDURES));
    fixture.resource.recover(&participant()).await.unwrap();
    let (_, stop) = fixture.spawn_background();
    let (resource, stopped) = (fixture.resource.clone(), stop.clone());
    tokio::spawn(async move { stopped.run_until_cancelled(nobody_submits(&resource)).await });
    (fixture, stop)
}

/// Says of all that the participant asks about that no coordinator has it open.
async fn nobody_submits(resource: &PostgreSql) {
    loop {
        for (coordinator, tx) in resource.unsubmitted() {
            resource.nobody_submits(coordinator, &tx);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_an_application_has_prepared_commits_as_any_branch() {
    let fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    enlist(&mut client, 1, "a").await.unwrap();
    assert_prepared(adopt(&fixture.resource, &branch(1)).await);
    assert_eq!(fixture.value("a").await, "", "it is seen only once it has committed");
    for _ in 0..2 {
        assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    }
    assert_eq!((fixture.value("a").await, fixture.prepared().await), ("own".into(), "0".into()));
    // An abort that comes late changes nothing, and says so.
    assert_eq!(fixture.abort(1).await, Ok(Ended::Gone));
    fixture.resource.collect(COORDINATOR, AttemptNumber(1).into()).await.unwrap();
    assert_eq!(records(&fixture).await, "1 1");
    fixture.resource.collect(COORDINATOR, AttemptNumber(2).into()).await.unwrap();
    assert_eq!(records(&fixture).await, "0 0");
    // The session goes on as before.
    assert_eq!(client.query("SELECT 1", &[]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_aborted_may_be_enlisted_anew_and_is_told_apart_from_it() {
    let fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    enlist(&mut client, 1, "a").await.unwrap();
    assert_prepared(adopt(&fixture.resource, &attempt(1, 1)).await);
    for _ in 0..2 {
        assert_eq!(fixture.resource.abort(attempt(1, 1)).await, Ok(Ended::AsTold));
    }
    assert_eq!((fixture.prepared().await, records(&fixture).await), ("0".into(), "0 0".into()));
    enlist(&mut client, 1, "a").await.unwrap();
    assert_prepared(adopt(&fixture.resource, &attempt(1, 2)).await);
    assert_eq!(fixture.resource.commit(attempt(1, 2)).await, Ok(Ended::AsTold));
    assert_eq!(fixture.resource.abort(attempt(1, 1)).await, Ok(Ended::AsTold), "that attempt never committed");
    assert_eq!(fixture.value("a").await, "own");
}

#[tokio::test]
async fn what_is_not_there_is_refused_and_may_come_later() {
    let fixture = Fixture::new().await;
    assert_condition(
        adopt(&fixture.resource, &branch(1)).await,
        &["prepare it before it is submitted", "enlist_grace_ms"],
    );
    assert_eq!(records(&fixture).await, "0 0");
    let mut client = fixture.client().await;
    enlist(&mut client, 1, "a").await.unwrap();
    let another = BranchId { coordinator: CoordinatorId([8; 16]), ..branch(1) };
    assert_condition(adopt(&fixture.resource, &another).await, &["this coordinator's"]);
    let alone = adopt_in(&fixture.resource, &branch(1), Execution::OnePhase).await;
    assert!(matches!(&alone, Ok(Vote::Refused(refusal)) if refusal.code == RefusalCode::InvalidWork), "{alone:?}");
    assert_eq!(fixture.prepared().await, "1", "a refusal leaves it to be submitted");
    assert_prepared(adopt(&fixture.resource, &attempt(1, 2)).await);
    assert_eq!(fixture.resource.commit(attempt(1, 2)).await, Ok(Ended::AsTold));
}

#[tokio::test]
async fn what_is_dropped_or_has_failed_leaves_nothing_behind() {
    let fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let own = enlisting().begin(&mut client, &branch(1).tx).await.unwrap();
    own.execute("INSERT INTO kv VALUES ('a', 'own')", &[]).await.unwrap();
    drop(own);
    // PREPARE TRANSACTION of a failed transaction is answered as if it had been done.
    let own = enlisting().begin(&mut client, &branch(1).tx).await.unwrap();
    own.execute("INSERT INTO kv VALUES ('a', 'own')", &[]).await.unwrap();
    own.execute("INSERT INTO kv VALUES ('a', 'own')", &[]).await.unwrap_err();
    let failed = own.prepare().await;
    assert!(matches!(failed, Err(EnlistError::Refused(_))), "{failed:?}");
    for (number, by_hand) in [(2, "COMMIT"), (3, "ROLLBACK"), (4, "COMMIT; BEGIN; SELECT pg_current_xact_id()")] {
        let own = enlisting().begin(&mut client, &branch(number).tx).await.unwrap();
        own.batch_execute(by_hand).await.unwrap();
        let ended = own.prepare().await;
        assert!(matches!(ended, Err(EnlistError::Ended)), "{by_hand}: {ended:?}");
    }
    assert_eq!((fixture.prepared().await, fixture.value("a").await), ("0".into(), String::new()));
    enlist(&mut client, 1, "a").await.unwrap();
    assert_eq!(fixture.prepared().await, "1");
}

#[tokio::test]
async fn a_deferred_constraint_refuses_before_anything_is_prepared() {
    let fixture = Fixture::new().await;
    fixture.sql("CREATE TABLE parent (id bigint PRIMARY KEY); CREATE TABLE child (id bigint REFERENCES parent DEFERRABLE INITIALLY DEFERRED)").await;
    let mut client = fixture.client().await;
    let own = enlisting().begin(&mut client, &branch(1).tx).await.unwrap();
    own.execute("INSERT INTO child VALUES (1)", &[]).await.unwrap();
    let refused = own.prepare().await.unwrap_err();
    assert!(refused.to_string().contains("23503"), "{refused}");
    assert_eq!(fixture.prepared().await, "0");
}

#[tokio::test]
async fn an_id_is_enlisted_once() {
    let fixture = Fixture::new().await;
    let (mut client, mut another) = (fixture.client().await, fixture.client().await);
    enlist(&mut client, 1, "a").await.unwrap();
    let again = enlist(&mut another, 1, "b").await;
    assert!(matches!(&again, Err(EnlistError::Prepared { .. })), "{again:?}");
    assert_prepared(adopt(&fixture.resource, &branch(1)).await);
    assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    let again = enlist(&mut another, 1, "b").await;
    assert!(matches!(&again, Err(EnlistError::Committed { .. })), "{again:?}");
    assert_eq!((fixture.prepared().await, fixture.value("b").await), ("0".into(), String::new()));
}

#[tokio::test]
async fn a_restart_keeps_what_is_adopted_and_what_may_yet_be() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    for (number, key) in [(1, "a"), (2, "b"), (3, "c")] {
        enlist(&mut client, number, key).await.unwrap();
    }
    for number in [1, 2] {
        assert_prepared(adopt(&fixture.resource, &branch(number)).await);
    }
    let recovered = fixture.restart().await;
    let found: Vec<_> =
        recovered.prepared.iter().map(|prepared| (prepared.branch.clone(), prepared.begun_at)).collect();
    assert_eq!(found, [(branch(1), Timestamp(5)), (branch(2), Timestamp(5))], "what nobody has submitted is no branch");
    assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    assert_eq!(fixture.abort(2).await, Ok(Ended::AsTold));
    assert_prepared(adopt(&fixture.resource, &branch(3)).await);
    let recovered = fixture.restart().await;
    let finished: Vec<_> = recovered.finished.iter().map(|finished| finished.branch.clone()).collect();
    assert_eq!((recovered.prepared.len(), finished), (1, vec![branch(1)]));
    // Told again, as after a crash of the coordinator.
    assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    assert_eq!(fixture.abort(2).await, Ok(Ended::AsTold));
    assert_eq!(fixture.commit(3).await, Ok(Ended::AsTold));
    let values = (fixture.value("a").await, fixture.value("b").await, fixture.value("c").await);
    assert_eq!(values, ("own".into(), String::new(), "own".into()));
    assert_eq!(fixture.prepared().await, "0");
}

#[tokio::test]
async fn a_crash_of_the_server_loses_nothing_that_is_prepared() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    enlist(&mut client, 1, "a").await.unwrap();
    enlist(&mut client, 2, "b").await.unwrap();
    assert_prepared(adopt(&fixture.resource, &branch(1)).await);
    let own = enlisting().begin(&mut client, &branch(3).tx).await.unwrap();
    own.execute("INSERT INTO kv VALUES ('c', 'own')", &[]).await.unwrap();
    fixture.server.kill_9();
    // Its sessions outlive it for a moment, and would still prepare.
    fixture.server.restart().await.unwrap();
    own.prepare().await.unwrap_err();
    let vote = fixture.until_done(async || match adopt(&fixture.resource, &branch(2)).await {
        Ok(Vote::Refused(refusal)) if refusal.code == RefusalCode::Unavailable => {
            Err(ResourceError::Unavailable { cause: refusal.detail })
        }
        other => other,
    });
    assert!(matches!(vote.await, Vote::Prepared { .. }));
    for number in [1, 2] {
        assert_eq!(fixture.until_done(async || fixture.commit(number).await).await, Ended::AsTold);
    }
    assert_condition(adopt(&fixture.resource, &branch(3)).await, &["nothing is prepared"]);
    assert_eq!(
        (fixture.value("a").await, fixture.value("b").await, fixture.value("c").await),
        ("own".into(), "own".into(), String::new())
    );
}

#[tokio::test]
async fn a_session_that_ends_while_it_prepares_is_unclear_and_submitting_it_clears_that_up() {
    for prepared in [false, true] {
        let fixture = Fixture::new().await;
        let url = fixture.server.url_through(fixture.proxy.address(), DATABASE);
        let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let trap = match prepared {
            false => fixture.proxy.before("PREPARE TRANSACTION").cut(),
            true => fixture.proxy.after("PREPARE TRANSACTION").cut(),
        };
        let unclear = enlist(&mut client, 1, "a").await;
        assert!(matches!(&unclear, Err(EnlistError::Unclear { .. })), "{unclear:?}");
        trap.happened().await.unwrap();
        // The server may still be at what it was sent.
        fixture.until("SELECT count(*) FROM pg_prepared_xacts", if prepared { "1" } else { "0" }).await;
        let vote = adopt(&fixture.resource, &branch(1)).await;
        match prepared {
            false => assert_condition(vote, &["nothing is prepared"]),
            true => assert_prepared(vote),
        }
        let _ = fixture.commit(1).await;
        assert_eq!(fixture.value("a").await, if prepared { "own" } else { "" });
        assert_eq!(fixture.prepared().await, "0");
    }
}

#[tokio::test]
async fn an_adoption_whose_answer_is_lost_is_undone_by_its_abort() {
    for taken in [false, true] {
        let fixture = Fixture::new().await;
        let mut client = fixture.client().await;
        enlist(&mut client, 1, "a").await.unwrap();
        // A statement is sent by its name, so the records are what the server is asked to describe first.
        let trap = match taken {
            false => fixture.proxy.before("INSERT INTO undoubt.adopted").cut(),
            true => fixture.proxy.before("FROM pg_prepared_xacts p WHERE p.gid").cut(),
        };
        let vote = adopt(&fixture.resource, &branch(1)).await;
        trap.happened().await.unwrap();
        assert!(matches!(vote, Err(ResourceError::Unclear { .. })), "{vote:?}");
        assert_eq!(fixture.until_done(async || fixture.abort(1).await).await, Ended::AsTold);
        assert_eq!((fixture.prepared().await, records(&fixture).await), ("0".into(), "0 0".into()));
        assert_condition(adopt(&fixture.resource, &branch(1)).await, &["nothing is prepared"]);
    }
}

#[tokio::test]
async fn what_nobody_submits_is_undone_in_time_and_what_is_adopted_is_not() {
    let (fixture, stop) = impatient().await;
    let holder = fixture.client().await;
    let mut client = fixture.client().await;
    // While its record is held, neither has it.
    holder.batch_execute("BEGIN; LOCK TABLE undoubt.adopted").await.unwrap();
    enlist(&mut client, 1, "a").await.unwrap();
    let resource = fixture.resource.clone();
    let adopting = tokio::spawn(async move { adopt(&resource, &branch(1)).await });
    fixture.until("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted", "t").await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    let adopted = matches!(adopting.await.unwrap(), Ok(Vote::Prepared { .. }));
    enlist(&mut client, 2, "b").await.unwrap();
    let submitted = usize::from(adopted).to_string();
    fixture.until("SELECT count(*) FROM pg_prepared_xacts", &submitted).await;
    assert_condition(adopt(&fixture.resource, &branch(2)).await, &["nothing is prepared"]);
    if adopted {
        assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    }
    assert_eq!(fixture.value("a").await, if adopted { "own" } else { "" });
    assert_eq!(fixture.value("b").await, "");
    stop.cancel();
}

#[tokio::test]
async fn what_is_adopted_outlives_what_is_undone_beside_it_and_foreign_names_stay() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    for (number, key) in [(1, "a"), (2, "b")] {
        enlist(&mut client, number, key).await.unwrap();
    }
    assert_prepared(adopt(&fixture.resource, &branch(1)).await);
    let foreign = undoubt_sql::EnlistedName {
        identity: undoubt_sql::Identity([9; 8]),
        coordinator: COORDINATOR,
        tx: branch(2).tx,
    };
    for name in [foreign.to_gid(), "undoubt1e_".to_owned(), "somebodys".to_owned()] {
        fixture.sql(&format!("BEGIN; INSERT INTO kv VALUES ('{name}', ''); PREPARE TRANSACTION '{name}'")).await;
    }
    let settings = Settings { enlist_grace_ms: 1, ..fixture.settings() };
    fixture.resource = std::sync::Arc::new(open(&settings, PROCEDURES));
    assert_eq!(fixture.resource.recover(&participant()).await.unwrap().prepared.len(), 1);
    let (background, stop) = fixture.spawn_background();
    let (resource, stopped) = (fixture.resource.clone(), stop.clone());
    tokio::spawn(async move { stopped.run_until_cancelled(nobody_submits(&resource)).await });
    fixture.until("SELECT count(*) FROM pg_prepared_xacts", "4").await;
    enlist(&mut client, 3, "c").await.unwrap();
    fixture.until("SELECT count(*) FROM pg_prepared_xacts", "4").await;
    assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    assert_eq!((fixture.value("a").await, fixture.value("b").await), ("own".into(), String::new()));
    let listed = undoubt_postgresql::list(&fixture.settings()).await.unwrap();
    assert_eq!((listed.len(), listed.iter().filter(|prepared| prepared.ours).count()), (3, 0), "{listed:?}");
    stop.cancel();
    background.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_belongs_to_an_open_transaction_stays_for_as_long_as_nobody_says_otherwise() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    enlist(&mut client, 1, "a").await.unwrap();
    let settings = Settings { enlist_grace_ms: 1, ..fixture.settings() };
    fixture.resource = std::sync::Arc::new(open(&settings, PROCEDURES));
    fixture.resource.recover(&participant()).await.unwrap();
    let (background, stop) = fixture.spawn_background();
    let asked = async || {
        while fixture.resource.unsubmitted().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked()).await.expect("it is asked about");
    assert_eq!(fixture.resource.unsubmitted(), [(COORDINATOR, branch(1).tx)]);
    // Another is undone meanwhile, so that looks have passed.
    enlist(&mut client, 2, "b").await.unwrap();
    fixture.until("SELECT count(*) FROM pg_prepared_xacts", "2").await;
    let both = async || {
        while fixture.resource.unsubmitted().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), both()).await.expect("both are asked about");
    fixture.resource.nobody_submits(COORDINATOR, &branch(2).tx);
    fixture.until("SELECT count(*) FROM pg_prepared_xacts", "1").await;
    assert_prepared(adopt(&fixture.resource, &branch(1)).await);
    assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    assert_eq!((fixture.value("a").await, fixture.value("b").await), ("own".into(), String::new()));
    stop.cancel();
    background.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_undoing_that_a_crash_interrupts_is_finished_and_never_adopted() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    enlist(&mut client, 1, "a").await.unwrap();
    fixture
        .sql("INSERT INTO undoubt.adopted (coordinator, tx, begun_at) VALUES (decode(repeat('07', 16), 'hex'), 'tx-1', 0)")
        .await;
    assert_condition(adopt(&fixture.resource, &branch(1)).await, &["being undone", "begin it again"]);
    assert_eq!(fixture.prepared().await, "1");
    assert_eq!(fixture.restart().await.prepared, []);
    assert_eq!((fixture.prepared().await, records(&fixture).await), ("0".into(), "0 0".into()));
}

#[tokio::test]
async fn an_operator_ends_what_is_adopted_as_any_branch() {
    for commit in [false, true] {
        let mut fixture = Fixture::new().await;
        let mut client = fixture.client().await;
        enlist(&mut client, 1, "a").await.unwrap();
        assert_prepared(adopt(&fixture.resource, &branch(1)).await);
        let heuristic =
            Heuristic { commit, at: Timestamp(9), who: "ada".into(), reason: "lost".into(), decision: None };
        assert_eq!(fixture.resource.resolve(branch(1), heuristic.clone()).await, Ok(Ended::AsTold));
        let recovered = fixture.restart().await;
        assert_eq!((recovered.prepared.len(), recovered.finished.len()), (0, 0));
        let kept = &recovered.heuristics[0];
        assert_eq!((&kept.branch, &kept.heuristic, kept.begun_at), (&branch(1), &heuristic, Timestamp(5)));
        assert_eq!(fixture.value("a").await, if commit { "own" } else { "" });
        fixture.resource.forget_heuristic(branch(1)).await.unwrap();
        assert_eq!(records(&fixture).await, "0 0");
    }
}

#[tokio::test]
async fn what_another_hand_has_ended_of_it_is_reported() {
    let fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    for (number, verb) in [(1, "ROLLBACK"), (2, "COMMIT")] {
        enlist(&mut client, number, &format!("k{number}")).await.unwrap();
        assert_prepared(adopt(&fixture.resource, &branch(number)).await);
        fixture.sql(&format!("SELECT format('{verb} PREPARED %L', gid) FROM pg_prepared_xacts \\gexec")).await;
    }
    assert_eq!(fixture.commit(1).await, Ok(Ended::Gone));
    assert_eq!(fixture.abort(2).await, Ok(Ended::Gone));
}

#[tokio::test]
async fn what_another_hand_has_committed_before_it_was_submitted_is_reported() {
    let fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    enlist(&mut client, 1, "a").await.unwrap();
    fixture.sql("SELECT format('COMMIT PREPARED %L', gid) FROM pg_prepared_xacts \\gexec").await;
    let vote = adopt(&fixture.resource, &branch(1)).await;
    assert!(matches!(vote, Err(ResourceError::Unclear { .. })), "{vote:?}");
    assert_eq!(fixture.abort(1).await, Ok(Ended::Gone));
}

#[tokio::test]
async fn an_application_needs_no_more_than_the_participants_role() {
    let fixture = Fixture::new().await;
    fixture
        .sql("CREATE ROLE undoubt LOGIN; CREATE ROLE orders LOGIN; GRANT INSERT ON kv TO orders; DROP SCHEMA undoubt CASCADE")
        .await;
    fixture.sql(&undoubt_postgresql::init_sql(Some("undoubt"))).await;
    let url = |role: &str| fixture.server.url(DATABASE).replace("postgres@", &format!("{role}@"));
    let resource = open(&settings(url("undoubt")), PROCEDURES);
    resource.recover(&participant()).await.unwrap();
    let (mut client, connection) = tokio_postgres::connect(&url("orders"), NoTls).await.unwrap();
    tokio::spawn(connection);
    let own = async |client: &mut Client, enlisting: &Enlisting| {
        let own = enlisting.begin(client, &branch(1).tx).await?;
        own.execute("INSERT INTO kv VALUES ('a', 'own')", &[]).await?;
        own.prepare().await.map(drop)
    };
    for enlisting in [enlisting(), enlisting().role("undoubt")] {
        let refused = own(&mut client, &enlisting).await.unwrap_err();
        assert!(refused.to_string().contains("GRANT undoubt TO orders"), "{refused}");
    }
    fixture.sql("GRANT undoubt TO orders").await;
    own(&mut client, &enlisting().role("undoubt")).await.unwrap();
    let role: String = client.query_one("SELECT current_user::text", &[]).await.unwrap().get(0);
    assert_eq!(role, "orders", "the session's role is as it was");
    assert_prepared(adopt(&resource, &branch(1)).await);
    assert_eq!(resource.commit(branch(1)).await, Ok(Ended::AsTold));
    assert_eq!(fixture.value("a").await, "own");
}

#[tokio::test]
async fn what_the_participant_could_not_end_or_not_recognise_is_refused() {
    let fixture = Fixture::new().await;
    fixture.sql("CREATE ROLE undoubt LOGIN; DROP SCHEMA undoubt CASCADE").await;
    fixture.sql(&undoubt_postgresql::init_sql(Some("undoubt"))).await;
    let url = fixture.server.url(DATABASE).replace("postgres@", "undoubt@");
    let resource = open(&settings(url), PROCEDURES);
    resource.recover(&participant()).await.unwrap();
    let mut client = fixture.client().await;
    enlist(&mut client, 1, "a").await.unwrap();
    assert_condition(adopt(&resource, &branch(1)).await, &["by the role postgres", "as undoubt"]);
    fixture.sql("SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts \\gexec").await;
    let identity = fixture.sql("SELECT encode(id, 'hex') FROM undoubt.identity").await;
    let identity = undoubt_sql::Identity(u64::from_str_radix(&identity, 16).unwrap().to_be_bytes());
    let gid = undoubt_sql::EnlistedName { identity, coordinator: COORDINATOR, tx: branch(1).tx }.to_gid();
    fixture.sql(&format!("GRANT INSERT ON kv TO undoubt; BEGIN; SET LOCAL ROLE undoubt; INSERT INTO kv VALUES ('a', ''); PREPARE TRANSACTION '{gid}'")).await;
    assert_condition(adopt(&resource, &branch(1)).await, &["undoubt.enlist"]);
    assert_eq!(fixture.prepared().await, "1");
}

#[tokio::test]
async fn a_step_of_a_saga_adopts_nothing() {
    let fixture = Fixture::new().await;
    let outcome = support::fixture::act(&fixture.resource, 1, Work::enlisted().encode(&[]).unwrap()).await;
    assert!(format!("{outcome:?}").contains("enlisted"), "{outcome:?}");
}
