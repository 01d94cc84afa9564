//! A database that was put back to an earlier state, and what the participant keeps beside its transactions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use std::time::Duration;
use support::fixture::{DATABASE, Fixture, act, prepare, step};
use support::{participant, settings, work};
use undoubt_participant::resource::{Loss, RecoveredLog, Resource as _, ResourceError, StepState, Steps as _};
use undoubt_platform::audit::AUDIT;
use undoubt_platform::{Batch, Durability};
use undoubt_postgresql::{SchemaError, init};
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Direction, Execution, Lack, Start, StepOutcome, Timestamp, WriteNumber,
};

impl Fixture {
    fn number(&self) -> WriteNumber {
        self.resource.number().unwrap()
    }

    async fn commit_in_one_phase(&self, number: u64) {
        let vote = prepare(&self.resource, number, Execution::OnePhase, work::put("k", "new")).await;
        assert!(matches!(vote, Ok(undoubt_vocabulary::Vote::Committed { .. })), "{vote:?}");
    }

    /// Ends the process and starts it again, and returns what it tells of its log.
    async fn log_after_restart(&mut self) -> RecoveredLog {
        self.restart().await.log.unwrap()
    }
}

#[tokio::test]
async fn a_backup_lacks_what_was_answered_for_since_whatever_it_was() {
    for since in ["branch", "one-phase branch", "step", "branch in doubt at the restart"] {
        let mut fixture = Fixture::new().await;
        fixture.commit_in_one_phase(1).await;
        fixture.prepare(2, work::put("j", "in doubt")).await;
        let backup = fixture.server.base_backup().await.unwrap();
        match since {
            "branch" => drop(fixture.commit(2).await.unwrap()),
            "one-phase branch" => fixture.commit_in_one_phase(3).await,
            "step" => drop(act(&fixture.resource, 3, work::put("k", "step")).await.unwrap()),
            _ => {
                fixture.restart().await;
                fixture.commit(2).await.unwrap();
            }
        }
        let shown = fixture.number();
        fixture.server.kill_9();
        fixture.server.put_back(&backup).await.unwrap();
        fixture.server.restart().await.unwrap();
        let log = fixture.log_after_restart().await;
        let lack = log.starts.lack(&shown);
        assert!(matches!(lack, Some(Lack::Writes | Lack::OtherStart | Lack::LaterStart)), "{since}: {lack:?}");
    }
}

#[tokio::test]
async fn a_restart_lacks_nothing_also_when_rows_were_collected_and_the_server_was_killed() {
    let mut fixture = Fixture::new().await;
    let mut shown = Vec::new();
    for start in 0..3_u64 {
        for number in 1..=3 {
            fixture.commit_in_one_phase(start * 10 + number).await;
        }
        shown.push(fixture.number());
        if start == 1 {
            fixture.resource.collect(CoordinatorId([7; 16]), AttemptNumber(15).into()).await.unwrap();
            assert_eq!(fixture.sql("SELECT count(*) FROM undoubt.finished").await, "0");
        }
        fixture.server.kill_9();
        fixture.server.restart().await.unwrap();
        let log = fixture.log_after_restart().await;
        for shown in &shown {
            assert_eq!(log.starts.lack(shown), None, "{shown}");
        }
    }
    let beyond = WriteNumber { writes: shown[1].writes + 1, ..shown[1] };
    assert_eq!(fixture.log_after_restart().await.starts.lack(&beyond), Some(Lack::Writes));
}

#[tokio::test]
async fn a_backup_that_is_put_under_a_running_participant_ends_it() {
    let mut fixture = Fixture::new().await;
    fixture.commit_in_one_phase(1).await;
    let backup = fixture.server.base_backup().await.unwrap();
    fixture.commit_in_one_phase(2).await;
    fixture.server.kill_9();
    fixture.server.put_back(&backup).await.unwrap();
    fixture.server.restart().await.unwrap();
    let (background, _stop) = fixture.spawn_background();
    let ended = background.await.unwrap();
    assert!(matches!(&ended, Err(ResourceError::Foreign { cause }) if cause.contains("put back")), "{ended:?}");
}

#[tokio::test]
async fn a_loss_that_is_accepted_is_kept_and_is_no_sign_any_more() {
    let mut fixture = Fixture::new().await;
    fixture.commit_in_one_phase(1).await;
    let shown = WriteNumber { writes: 99, ..fixture.number() };
    let log = fixture.log_after_restart().await;
    assert_eq!(log.starts.lack(&shown), Some(Lack::Writes));
    fixture.resource.store_put_back("others have seen more".to_owned()).await.unwrap();
    assert_eq!(fixture.log_after_restart().await.put_back.as_deref(), Some("others have seen more"));
    let (at, above) = (Timestamp(7), Start { losses: 0, count: 9, mark: 0 });
    let loss = Loss { at, who: "an operator".into(), reason: "it is so".into(), put_back: "more".into(), above };
    let starts = fixture.resource.accept_loss(loss, 77).await.unwrap();
    assert_eq!((starts.lack(&shown), starts.now.count), (None, 10));
    fixture.commit_in_one_phase(2).await;
    let after = fixture.number();
    assert_eq!((after.start, after.writes > 0), (starts.now, true));
    let log = fixture.log_after_restart().await;
    assert_eq!((log.put_back, log.losses.len()), (None, 1));
    assert_eq!((log.starts.lack(&shown), log.starts.lack(&after)), (None, None));
    assert_eq!(log.starts.lack(&WriteNumber { writes: after.writes + 1, ..after }), Some(Lack::Writes));
}

#[tokio::test]
async fn an_audit_record_and_what_is_remembered_of_others_are_found_again() {
    let mut fixture = Fixture::new().await;
    fixture.resource.remember(Bytes::from("whose"), Bytes::from("seen"));
    let (background, stop) = fixture.spawn_background();
    let mut batch = Batch::default();
    batch.put(AUDIT, "entry", "somebody did something");
    fixture.resource.audit_store().unwrap().write(batch, Durability::Forced).await.unwrap();
    fixture.until("SELECT count(*) FROM undoubt.kept WHERE value = 'seen'", "1").await;
    stop.cancel();
    background.await.unwrap().unwrap();
    let log = fixture.log_after_restart().await;
    assert_eq!(log.remembered[&Bytes::from("whose")], "seen");
    let found = fixture.resource.audit_store().unwrap().get(AUDIT, b"entry").unwrap();
    assert_eq!(found.as_deref(), Some(&b"somebody did something"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_taken_over_from_keeps_nothing_any_more() {
    let fixture = Fixture::new().await;
    let former = fixture.resource.audit_store().unwrap();
    let second = support::open(
        &undoubt_postgresql::Settings { take_over: true, ..settings(fixture.server.url(DATABASE)) },
        &fixture.procedures,
    );
    second.recover(&participant()).await.unwrap();
    let mut batch = Batch::default();
    batch.put(AUDIT, "entry", "too late");
    let written = tokio::time::timeout(Duration::from_secs(60), former.write(batch, Durability::Forced)).await.unwrap();
    assert!(written.is_err(), "{written:?}");
    assert_eq!(fixture.sql("SELECT count(*) FROM undoubt.kept WHERE family = 'audit'").await, "0");
}

/// Brings the schema down to version 4, from there to version 3, and so on to version 1.
const DOWN: [&str; 4] = [
    "DROP TABLE undoubt.unnumbered, undoubt.event, undoubt.log_end, undoubt.lane, undoubt.incarnation, undoubt.topic, undoubt.entity, \
     undoubt.subscription; DROP FUNCTION undoubt.append; UPDATE undoubt.identity SET version = 4",
    "DROP TABLE undoubt.still_open; UPDATE undoubt.identity SET version = 3",
    "ALTER TABLE undoubt.step DROP CONSTRAINT step_state_check, ADD CONSTRAINT step_state_check CHECK (state IN ('acted', 'compensated', \
     'empty')); UPDATE undoubt.identity SET version = 2",
    "ALTER TABLE undoubt.finished DROP COLUMN start, DROP COLUMN write; ALTER TABLE undoubt.step DROP COLUMN start, DROP COLUMN write; DROP \
     TABLE undoubt.written, undoubt.kept, undoubt.enlisted, undoubt.adopted; DROP FUNCTION undoubt.enlist; UPDATE undoubt.identity SET \
     version = 1",
];

#[tokio::test]
async fn a_schema_of_an_earlier_version_is_brought_up_by_init() {
    for versions_down in 1..=DOWN.len() {
        brought_up(&DOWN[..versions_down]).await;
    }
}

async fn brought_up(down: &[&str]) {
    let fixture = Fixture::new().await;
    let direct = settings(fixture.server.url(DATABASE));
    act(&fixture.resource, 7, work::put("seat", "taken")).await.unwrap();
    for down in down {
        fixture.sql(down).await;
    }
    let older = fixture.another().recover(&participant()).await;
    assert!(
        matches!(&older, Err(ResourceError::Foreign { cause }) if cause.contains("undoubt-participant init")),
        "{older:?}"
    );
    init(&direct, None).await.unwrap();
    let again = init(&direct, None).await;
    assert!(matches!(again, Err(SchemaError::Exists)), "{again:?}");
    let mut take_over = direct;
    take_over.take_over = true;
    let second = support::open(&take_over, &fixture.procedures);
    second.recover(&participant()).await.unwrap();
    let vote = prepare(&second, 1, Execution::OnePhase, work::put("k", "new")).await;
    assert!(matches!(vote, Ok(undoubt_vocabulary::Vote::Committed { .. })), "{vote:?}");
    let (id, run) = step(7, work::put("seat", "sold"), Direction::Completing);
    let completed = second.complete(id.clone(), run).await;
    assert!(matches!(completed, Ok(StepOutcome::Done { .. })), "{completed:?}");
    assert_eq!(second.settle_step(id).await, Ok(Some(StepState::Completed)));
    assert_eq!(fixture.value("seat").await, "sold");
}
