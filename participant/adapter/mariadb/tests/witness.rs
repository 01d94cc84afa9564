//! Databases that were put back to an earlier state.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use bytes::Bytes;
use support::branch::{COORDINATOR, act, branch, end, prepare, step};
use support::{PATIENCE, PROCEDURES, database, open, participant, server, settings, work};
use tokio_util::sync::CancellationToken;
use undoubt_mariadb::{MariaDb, SchemaError, Settings, init};
use undoubt_participant::resource::{
    Branches as _, Ended, Loss, Recovered, RecoveredLog, Resource as _, ResourceError, StepState, Steps as _,
};
use undoubt_platform::audit::AUDIT;
use undoubt_platform::{Batch, Durability};
use undoubt_test_servers as servers;
use undoubt_vocabulary::{AttemptNumber, Direction, Lack, Start, StepOutcome, Timestamp};

const DATABASE: &str = "bank";

async fn start(settings: &Settings) -> (MariaDb, Recovered) {
    let resource = open(&Settings { take_over: true, ..settings.clone() }, PROCEDURES);
    let recovered = resource.recover(&participant()).await.unwrap();
    (resource, recovered)
}

async fn stop(resource: &MariaDb) {
    let stop = CancellationToken::new();
    stop.cancel();
    resource.background(stop).await.unwrap();
}

fn log(recovered: Recovered) -> RecoveredLog {
    recovered.log.unwrap()
}

#[tokio::test]
async fn a_copy_lacks_what_was_committed_after_it_and_an_operator_may_accept_that() {
    let mut server = server().await;
    database(&server, DATABASE).await;
    let settings = settings(server.url(DATABASE));
    let (resource, first) = start(&settings).await;
    let first = log(first);
    prepare(&resource, 1, work::put("a", "in doubt")).await;
    prepare(&resource, 2, work::put("b", "2")).await;
    assert_eq!(resource.commit(branch(2)).await, Ok(Ended::AsTold));
    let told = resource.number().unwrap();
    assert_eq!((told.start, told.writes), (first.starts.now, 1));
    resource.remember(Bytes::from_static(b"coordinator/1"), Bytes::from_static(b"seen"));
    stop(&resource).await;
    server.stop().await.unwrap();
    let copy = server.copy().await.unwrap();

    // The branch that was in doubt for long commits after a later one, and is counted all the same.
    server.restart().await.unwrap();
    let (resource, again) = start(&settings).await;
    assert_eq!(again.prepared.len(), 1);
    let again = log(again);
    assert_eq!(again.starts.lack(&told), None);
    assert_eq!(again.remembered.get(&b"coordinator/1"[..]), Some(&Bytes::from_static(b"seen")));
    assert_eq!(resource.commit(branch(1)).await, Ok(Ended::AsTold));
    resource.collect(COORDINATOR, AttemptNumber(3).into()).await.unwrap();
    let seen = resource.number().unwrap();
    assert_eq!((seen.start, seen.writes), (again.starts.now, 1));
    stop(&resource).await;
    let (resource, third) = start(&settings).await;
    let third = log(third);
    assert_eq!((third.starts.lack(&told), third.starts.lack(&seen)), (None, None), "what is collected is counted");
    let latest = resource.number().unwrap();
    stop(&resource).await;

    server.stop().await.unwrap();
    server.put_back(&copy).await.unwrap();
    server.restart().await.unwrap();
    let (resource, put_back) = start(&settings).await;
    let put_back = log(put_back);
    assert_eq!(put_back.starts.lack(&seen), Some(Lack::OtherStart));
    assert_eq!(put_back.starts.lack(&latest), Some(Lack::LaterStart));
    resource.store_put_back("it lacks a start".to_owned()).await.unwrap();
    stop(&resource).await;
    let (resource, still) = start(&settings).await;
    assert_eq!(log(still).put_back.as_deref(), Some("it lacks a start"));
    let loss = Loss {
        at: Timestamp(7),
        who: "ada".to_owned(),
        reason: "there is no newer one".to_owned(),
        put_back: "it lacks a start".to_owned(),
        above: Start { losses: 0, count: 40, mark: 0 },
    };
    let starts = resource.accept_loss(loss, 99).await.unwrap();
    assert_eq!(starts.now, Start { losses: 1, count: 41, mark: 99 });
    assert_eq!((starts.lack(&seen), starts.lack(&latest)), (None, None));
    // New sessions go on under the new number.
    prepare(&resource, 5, work::put("c", "5")).await;
    assert_eq!(resource.commit(branch(5)).await, Ok(Ended::AsTold));
    assert_eq!(resource.number().unwrap().writes, 1);
    stop(&resource).await;
    let (_resource, last) = start(&settings).await;
    let last = log(last);
    assert_eq!((last.put_back, last.starts.now.losses, last.losses.len()), (None, 1, 1));
    assert_eq!(last.losses[0].0.who, "ada");
}

#[tokio::test]
async fn a_copy_made_while_one_is_in_doubt_lacks_its_commit() {
    let mut server = server().await;
    database(&server, DATABASE).await;
    let settings = settings(server.url(DATABASE));
    let (resource, _) = start(&settings).await;
    prepare(&resource, 1, work::put("a", "in doubt")).await;
    prepare(&resource, 2, work::put("b", "2")).await;
    assert_eq!(resource.commit(branch(2)).await, Ok(Ended::AsTold));
    // As a crash leaves it: what the copy has is what the server had forced.
    server.kill_9();
    let copy = server.copy().await.unwrap();
    server.restart().await.unwrap();
    // The process goes on, in the same run.
    while resource.commit(branch(1)).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let seen = resource.number().unwrap();
    assert_eq!(seen.writes, 2);
    stop(&resource).await;
    server.stop().await.unwrap();
    server.put_back(&copy).await.unwrap();
    server.restart().await.unwrap();
    let (_resource, put_back) = start(&settings).await;
    assert_eq!(put_back.prepared.len(), 1, "it is in doubt again");
    assert_eq!(log(put_back).starts.lack(&seen), Some(Lack::Writes));
}

#[tokio::test]
async fn an_audit_record_is_found_again_and_whoever_was_taken_over_from_adds_nothing() {
    let server = server().await;
    database(&server, DATABASE).await;
    let settings = settings(server.url(DATABASE));
    let (resource, _) = start(&settings).await;
    let store = resource.audit_store().unwrap();
    let entries = |value: &str| {
        let mut batch = Batch::default();
        batch.put(AUDIT, "first", value);
        batch.put(AUDIT, "second", "it's '; DROP TABLE undoubt_kept; --");
        batch
    };
    store.write(entries("somebody did something"), Durability::Forced).await.unwrap();
    let mut batch = Batch::default();
    batch.delete(AUDIT, "second");
    store.write(batch, Durability::Forced).await.unwrap();
    let (second, _) = start(&settings).await;
    let found = second.audit_store().unwrap();
    assert_eq!(found.get(AUDIT, b"first").unwrap().as_deref(), Some(&b"somebody did something"[..]));
    assert_eq!(found.get(AUDIT, b"second").unwrap(), None);
    let late = tokio::time::timeout(PATIENCE, store.write(entries("too late"), Durability::Forced)).await.unwrap();
    assert!(late.is_err(), "{late:?}");
    let kept = server.sql(DATABASE, "SELECT name, value FROM undoubt_kept").await.unwrap();
    assert_eq!(kept.trim(), "first\tsomebody did something");
}

/// Brings the tables down to version 4, from there to version 3, and so on to version 1.
const DOWN: [&str; 4] = [
    "DROP TABLE undoubt_unnumbered, undoubt_event, undoubt_log_end, undoubt_lane, undoubt_incarnation, undoubt_topic, undoubt_entity, \
     undoubt_subscription; UPDATE undoubt_identity SET version = 4;",
    "DROP TABLE undoubt_still_open; UPDATE undoubt_identity SET version = 3;",
    "ALTER TABLE undoubt_step MODIFY COLUMN state ENUM('acted', 'compensated', 'empty') NOT NULL; UPDATE undoubt_identity SET version = 2;",
    "ALTER TABLE undoubt_identity DROP COLUMN log, DROP COLUMN put_back; ALTER TABLE undoubt_run DROP COLUMN losses, DROP COLUMN mark, DROP \
     COLUMN collected; ALTER TABLE undoubt_finished DROP COLUMN run; ALTER TABLE undoubt_step DROP COLUMN run, DROP COLUMN undone_run; DROP \
     TABLE undoubt_seen, undoubt_loss; UPDATE undoubt_identity SET version = 1;",
];

#[tokio::test]
async fn tables_of_an_earlier_version_are_brought_up_by_init() {
    let server = server().await;
    for versions_down in 1..=DOWN.len() {
        brought_up(&server, &format!("{DATABASE}{versions_down}"), &DOWN[..versions_down]).await;
    }
}

async fn brought_up(server: &servers::MariaDb, name: &str, down: &[&str]) {
    database(server, name).await;
    let settings = settings(server.url(name));
    let (resource, _) = start(&settings).await;
    act(&resource, 7, work::put("seat", "taken")).await;
    drop(resource);
    for down in down {
        server.sql(name, down).await.unwrap();
    }
    let older = open(&settings, PROCEDURES).recover(&participant()).await;
    assert!(
        matches!(&older, Err(ResourceError::Foreign { cause }) if cause.contains("undoubt-participant init")),
        "{older:?}"
    );
    init(&settings, None).await.unwrap();
    let again = init(&settings, None).await;
    assert!(matches!(again, Err(SchemaError::Exists)), "{again:?}");
    let (resource, _) = start(&settings).await;
    prepare(&resource, 1, work::put("a", "1")).await;
    assert_eq!(resource.commit(branch(1)).await, Ok(Ended::AsTold));
    assert_eq!(resource.number().unwrap().writes, 1);
    let (id, run) = step(7, work::put("seat", "sold"), Direction::Completing);
    let completed = end(&resource, (id.clone(), run)).await;
    assert!(matches!(completed, Ok(StepOutcome::Done { .. })), "{completed:?}");
    assert_eq!(resource.settle_step(id).await, Ok(Some(StepState::Completed)));
    assert_eq!(server.sql(name, "SELECT value FROM kv WHERE name = 'seat'").await.unwrap(), "sold");
}
