//! The fates of branches and steps when sessions, servers, slots and schemas fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;
use support::fixture::{Fixture, act, assert_code, branch, call, prepare, step};
use support::{PATIENCE, PROCEDURES, participant, work};
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{Branches as _, Ended, Resource as _, ResourceError, StepState, Steps as _};
use undoubt_vocabulary::{Direction, Execution, RefusalCode, Vote};
use undoubt_work::call::Call;

fn assert_unclear<T: std::fmt::Debug>(answer: &Result<T, ResourceError>) {
    assert!(matches!(answer, Err(ResourceError::Unclear { .. })), "{answer:?}");
}

/// Without a fence it happens: the tests of the fence can fail.
#[tokio::test]
async fn a_prepare_lands_though_its_client_is_gone() {
    let fixture = Fixture::new().await;
    let holder = fixture.hold("k").await;
    let late = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('k', 0)); INSERT INTO kv VALUES ('k', 'late'); PREPARE \
        TRANSACTION 'late'";
    let trap = fixture.proxy.after("TRANSACTION 'late'").cut();
    let (client, connection) = tokio_postgres::connect(&fixture.settings().url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(late).await.unwrap_err();
    trap.happened().await.unwrap();
    assert_eq!(fixture.prepared().await, "0");
    drop(holder);
    fixture.until("SELECT count(*) FROM pg_prepared_xacts", "1").await;
}

#[tokio::test]
async fn a_late_prepare_of_an_ended_process_never_lands() {
    let fixture = Fixture::new().await;
    let holder = fixture.hold("k").await;
    let resource = fixture.resource.clone();
    let late = tokio::spawn(async move { prepare(&resource, 1, Execution::TwoPhase, work::put("k", "late")).await });
    fixture.until_waiting(1).await;
    fixture.proxy.set_reachable(false);
    assert_unclear(&late.await.unwrap());
    fixture.until_waiting(1).await;

    let second = fixture.another();
    let recovered = second.recover(&participant()).await.unwrap();
    assert!(recovered.prepared.is_empty());
    fixture.until_waiting(0).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    let vote = prepare(&second, 2, Execution::OnePhase, work::put("k", "next")).await;
    assert!(matches!(vote, Ok(Vote::Committed { .. })), "{vote:?}");
    assert_eq!((fixture.prepared().await, fixture.value("k").await), ("0".to_owned(), "next".to_owned()));
}

#[tokio::test]
async fn a_late_prepare_of_a_living_process_is_ended_by_its_abort() {
    let fixture = Fixture::new().await;
    let holder = fixture.hold("k").await;
    let resource = fixture.resource.clone();
    let late = tokio::spawn(async move { prepare(&resource, 1, Execution::TwoPhase, work::put("k", "late")).await });
    fixture.until_waiting(1).await;
    fixture.proxy.set_reachable(false);
    assert_unclear(&late.await.unwrap());
    let away = fixture.abort(1).await;
    assert!(matches!(away, Err(ResourceError::Unavailable { .. } | ResourceError::Unclear { .. })), "{away:?}");
    fixture.proxy.set_reachable(true);
    assert_eq!(fixture.until_done(async || fixture.abort(1).await).await, Ended::AsTold);
    fixture.until_waiting(0).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    fixture.prepare(2, work::put("k", "next")).await;
    assert_eq!(fixture.prepared().await, "1", "only what came after it");
}

#[tokio::test]
async fn what_a_cut_leaves_in_doubt_is_what_a_restart_tells() {
    for (takes_effect, expected) in [(false, 0), (true, 1)] {
        let mut fixture = Fixture::new().await;
        let trap = match takes_effect {
            false => fixture.proxy.before("PREPARE TRANSACTION").cut(),
            true => fixture.proxy.after("PREPARE TRANSACTION").cut(),
        };
        assert_unclear(&fixture.try_prepare(1, work::put("k", "new")).await);
        trap.happened().await.unwrap();
        let recovered = fixture.restart().await;
        let found: Vec<_> = recovered.prepared.iter().map(|prepared| prepared.branch.clone()).collect();
        assert_eq!(found, vec![branch(1); expected]);
        assert_eq!(fixture.prepared().await, expected.to_string());
    }
}

#[tokio::test]
async fn commits_and_aborts_whose_answers_are_lost_are_repeated_by_the_same_process_and_by_the_next() {
    for restarts in [false, true] {
        for takes_effect in [false, true] {
            for commit in [false, true] {
                let mut fixture = Fixture::new().await;
                fixture.prepare(1, work::put("k", "new")).await;
                let text = if commit { "COMMIT PREPARED" } else { "ROLLBACK PREPARED" };
                let place = if takes_effect { fixture.proxy.after(text) } else { fixture.proxy.before(text) };
                let trap = place.cut();
                let ended = if commit { fixture.commit(1).await } else { fixture.abort(1).await };
                assert_unclear(&ended);
                trap.happened().await.unwrap();
                if restarts {
                    let recovered = fixture.restart().await;
                    assert_eq!(recovered.prepared.len(), usize::from(!takes_effect));
                    assert_eq!(recovered.finished.len(), usize::from(takes_effect && commit));
                }
                for _ in 0..2 {
                    let ended = fixture.until_done(async || match commit {
                        true => fixture.commit(1).await,
                        false => fixture.abort(1).await,
                    });
                    assert_eq!(ended.await, Ended::AsTold);
                }
                assert_eq!(fixture.value("k").await, if commit { "new" } else { "" });
                assert_eq!(fixture.prepared().await, "0");
            }
        }
    }
}

#[tokio::test]
async fn what_became_of_local_commits_whose_answers_are_lost_is_what_a_restart_tells() {
    for takes_effect in [false, true] {
        let mut fixture = Fixture::new().await;
        let cut = |fixture: &Fixture| match takes_effect {
            true => fixture.proxy.after("COMMIT").cut(),
            false => fixture.proxy.before("COMMIT").cut(),
        };
        let trap = cut(&fixture);
        assert_unclear(&prepare(&fixture.resource, 1, Execution::OnePhase, work::put("one", "1")).await);
        trap.happened().await.unwrap();
        let recovered = fixture.restart().await;
        assert_eq!(recovered.finished.len(), usize::from(takes_effect));
        assert_eq!(fixture.value("one").await, if takes_effect { "1" } else { "" });

        let trap = cut(&fixture);
        assert_unclear(&act(&fixture.resource, 2, work::put("two", "2")).await);
        trap.happened().await.unwrap();
        let recovered = fixture.restart().await;
        assert_eq!(recovered.steps.len(), usize::from(takes_effect));
        assert_eq!(fixture.value("two").await, if takes_effect { "2" } else { "" });

        act(&fixture.resource, 3, work::put("three", "3")).await.unwrap();
        let trap = cut(&fixture);
        let (id, run) = step(3, work::put("three", "undone"), Direction::Compensating);
        assert_unclear(&fixture.resource.compensate(id.clone(), run).await);
        trap.happened().await.unwrap();
        let recovered = fixture.restart().await;
        let state = recovered.steps.into_iter().find(|kept| kept.step == id).map(|kept| kept.state);
        assert_eq!(state == Some(StepState::Compensated), takes_effect, "{state:?}");
        assert_eq!(fixture.value("three").await, if takes_effect { "undone" } else { "3" });
    }
}

#[tokio::test]
async fn a_terminated_worker_is_unknown_where_it_could_commit_and_refused_where_it_could_not() {
    let fixture = Fixture::new().await;
    let holder = fixture.hold("k").await;
    let spawn = |execution| {
        let resource = fixture.resource.clone();
        tokio::spawn(async move { prepare(&resource, 1, execution, work::put("k", "lost")).await })
    };
    let prepared = spawn(Execution::TwoPhase);
    fixture.until_waiting(1).await;
    fixture.kill_workers().await;
    assert_unclear(&prepared.await.unwrap());
    assert_eq!(fixture.abort(1).await, Ok(Ended::AsTold));
    // Its COMMIT was not sent yet.
    let committed = spawn(Execution::OnePhase);
    fixture.until_waiting(1).await;
    fixture.kill_workers().await;
    let vote = committed.await.unwrap();
    assert!(matches!(&vote, Ok(Vote::Refused(refusal)) if refusal.code == RefusalCode::Unavailable), "{vote:?}");
    drop(holder);
    fixture.prepare(3, work::put("k", "next")).await;
    assert_eq!(fixture.commit(3).await, Ok(Ended::AsTold));
    assert_eq!(fixture.value("k").await, "next");
}

#[tokio::test]
async fn a_reader_whose_session_was_ended_has_not_held_what_it_read() {
    let fixture = Fixture::new().await;
    let vote = fixture.try_prepare(1, work::get("k")).await;
    assert!(matches!(vote, Ok(Vote::ReadOnly { .. })), "{vote:?}");
    fixture
        .sql("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        .await;
    assert_eq!(fixture.resource.confirm(branch(1)).await, Ok(false));
}

#[tokio::test]
async fn all_goes_on_after_all_sessions_were_ended() {
    let fixture = Fixture::new().await;
    fixture.prepare(1, work::put("k", "1")).await;
    fixture
        .sql("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE application_name LIKE 'undoubt/%'")
        .await;
    assert_eq!(fixture.until_done(async || fixture.commit(1).await).await, Ended::AsTold);
    assert_eq!(fixture.value("k").await, "1");
    let vote = fixture.until_done(async || fixture.try_prepare(2, work::put("k", "2")).await).await;
    assert!(matches!(vote, Vote::Prepared { .. }), "{vote:?}");
}

#[tokio::test]
async fn a_crash_of_the_server_is_waited_out_and_loses_nothing() {
    let mut fixture = Fixture::new().await;
    fixture.prepare(1, work::put("a", "1")).await;
    fixture.prepare(2, work::put("b", "2")).await;
    let (background, stop) = fixture.spawn_background();
    fixture.server.kill_9();
    let away = async || {
        while fixture.resource.health().refuses_work.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, away()).await.expect("it is told that the database is away");
    let vote = fixture.try_prepare(3, work::put("c", "3")).await;
    assert!(matches!(&vote, Ok(Vote::Refused(refusal)) if refusal.code == RefusalCode::Unavailable), "{vote:?}");
    fixture.server.restart().await.unwrap();
    assert_eq!(fixture.until_done(async || fixture.commit(1).await).await, Ended::AsTold);
    assert_eq!(fixture.until_done(async || fixture.abort(2).await).await, Ended::AsTold);
    assert_eq!((fixture.value("a").await, fixture.value("b").await), ("1".to_owned(), String::new()));
    assert_eq!(fixture.prepared().await, "0");
    let back = async {
        while fixture.resource.health().refuses_work.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("it is told that the database is back");
    stop.cancel();
    assert_eq!(background.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_crash_of_the_server_in_the_midst_of_work_is_unclear_and_then_clear() {
    let mut fixture = Fixture::new().await;
    let _holder = fixture.hold("k").await;
    let resource = fixture.resource.clone();
    let prepared =
        tokio::spawn(async move { prepare(&resource, 1, Execution::TwoPhase, work::put("k", "lost")).await });
    fixture.until_waiting(1).await;
    fixture.server.kill_9();
    assert_unclear(&prepared.await.unwrap());
    fixture.server.restart().await.unwrap();
    assert_eq!(fixture.until_done(async || fixture.abort(1).await).await, Ended::AsTold);
    fixture.prepare(2, work::put("k", "next")).await;
}

#[tokio::test]
async fn without_a_slot_a_branch_is_refused_until_one_is_free() {
    let fixture = Fixture::with("2", PROCEDURES).await;
    fixture.prepare(1, work::put("a", "1")).await;
    fixture.prepare(2, work::put("b", "2")).await;
    let refusal = fixture.refusal(3, work::put("c", "3")).await;
    assert_code(&refusal, RefusalCode::Unavailable, &["53200"]);
    // Neither work in one phase nor steps need one.
    let vote = prepare(&fixture.resource, 4, Execution::OnePhase, work::put("c", "4")).await;
    assert!(matches!(vote, Ok(Vote::Committed { .. })), "{vote:?}");
    assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    fixture.prepare(3, work::put("c", "3")).await;
    let (background, stop) = fixture.spawn_background();
    let warned = async {
        while fixture.resource.health().warnings.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, warned).await.expect("it warns of slots that are used up");
    let health = fixture.resource.health();
    assert!(health.warnings[0].contains("max_prepared_transactions"), "{health:?}");
    assert!(health.numbers.contains(&("prepared_slots_left", 0)), "{health:?}");
    stop.cancel();
    background.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_others_have_prepared_is_never_touched() {
    let mut fixture = Fixture::new().await;
    let elsewhere = support::fixture::DATABASE;
    support::database(&fixture.server, "another").await.unwrap();
    let neighbour = support::open(&support::settings(fixture.server.url("another")), PROCEDURES);
    neighbour.recover(&participant()).await.unwrap();
    prepare(&neighbour, 1, Execution::TwoPhase, work::put("k", "neighbour")).await.unwrap();
    for name in ["somebodys", "undoubt1_", "undoubt1_AAAA"] {
        fixture.sql(&format!("BEGIN; INSERT INTO kv VALUES ('{name}', ''); PREPARE TRANSACTION '{name}'")).await;
    }
    fixture.prepare(1, work::put("k", "own")).await;
    let recovered = fixture.restart().await;
    assert_eq!(recovered.prepared.len(), 1, "its own in {elsewhere}, nobody else's");
    assert_eq!(fixture.abort(1).await, Ok(Ended::AsTold));
    assert_eq!(fixture.prepared().await, "4");
    let listed = undoubt_postgresql::list(&fixture.settings()).await.unwrap();
    assert_eq!(listed.iter().filter(|prepared| prepared.ours).count(), 0);
    assert_eq!(listed.len(), 3, "of this database: {listed:?}");
    assert!(listed[0].tables.contains(&"kv".to_owned()), "{listed:?}");
}

#[tokio::test]
async fn of_two_processes_of_one_participant_the_second_does_not_start_while_the_first_speaks() {
    let fixture = Fixture::new().await;
    let (background, stop) = fixture.spawn_background();
    let second = fixture.another();
    let refused = second.recover(&participant()).await;
    assert!(
        matches!(&refused, Err(ResourceError::Fenced { cause }) if cause.contains("resource.take_over=true")),
        "{refused:?}"
    );
    fixture.prepare(1, work::put("k", "first")).await;
    stop.cancel();
    background.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_is_taken_over_from_ends_and_does_nothing_any_more() {
    let fixture = Fixture::new().await;
    let (background, _stop) = fixture.spawn_background();
    let taking = undoubt_postgresql::Settings {
        take_over: true,
        ..support::settings(fixture.server.url(support::fixture::DATABASE))
    };
    let second = support::open(&taking, PROCEDURES);
    second.recover(&participant()).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, background).await.expect("it notices").unwrap();
    assert!(matches!(&ended, Err(ResourceError::Fenced { .. })), "{ended:?}");
    let vote = fixture.try_prepare(1, work::put("k", "first")).await;
    assert!(matches!(&vote, Err(ResourceError::Fenced { .. })), "{vote:?}");
    let vote = prepare(&second, 2, Execution::TwoPhase, work::put("k", "second")).await;
    assert!(matches!(vote, Ok(Vote::Prepared { .. })), "{vote:?}");
}

#[tokio::test]
async fn a_change_of_the_schema_is_told_with_the_statement_and_heals_with_it() {
    let fixture = Fixture::new().await;
    fixture.prepare(1, work::put("k", "1")).await;
    assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    fixture.sql("ALTER TABLE kv RENAME TO vk").await;
    let refusal = fixture.refusal(2, work::put("k", "2")).await;
    assert_code(&refusal, RefusalCode::InvalidWork, &["statement 2 of procedure put", "kv"]);
    fixture.sql("ALTER TABLE vk RENAME TO kv").await;
    fixture.prepare(2, work::put("k", "2")).await;
    assert_eq!(fixture.commit(2).await, Ok(Ended::AsTold));
    fixture.sql("ALTER TABLE kv ALTER COLUMN value TYPE varchar(3)").await;
    let refusal = fixture.refusal(3, work::put("k", "long")).await;
    assert_code(&refusal, RefusalCode::Condition, &["statement 2 of procedure put"]);
    fixture.prepare(4, work::put("k", "4")).await;
    assert_eq!(fixture.prepared().await, "1");
}

#[tokio::test]
async fn a_revoked_right_is_told_with_the_statement() {
    let fixture = Fixture::new().await;
    fixture.sql("CREATE ROLE undoubt LOGIN; GRANT SELECT ON kv TO undoubt; DROP SCHEMA undoubt CASCADE").await;
    fixture.sql(&undoubt_postgresql::init_sql(Some("undoubt"))).await;
    let url = fixture.server.url(support::fixture::DATABASE).replace("postgres@", "undoubt@");
    let resource = support::open(&support::settings(url), PROCEDURES);
    resource.recover(&participant()).await.unwrap();
    let vote = prepare(&resource, 1, Execution::TwoPhase, work::put("k", "1")).await;
    let Ok(Vote::Refused(refusal)) = vote else { panic!("{vote:?}") };
    assert_code(&refusal, RefusalCode::InvalidWork, &["statement 2 of procedure put", "permission denied"]);
    fixture.sql("GRANT INSERT, UPDATE ON kv TO undoubt").await;
    let vote = prepare(&resource, 2, Execution::TwoPhase, work::put("k", "1")).await;
    assert!(matches!(vote, Ok(Vote::Prepared { .. })), "{vote:?}");
    assert_eq!(resource.commit(branch(2)).await, Ok(Ended::AsTold), "a role without privileges ends what it prepared");
}

const CHILD: &str = r#"
[procedure.child]
parameters = { id = "bigint" }
statements = [{ sql = "INSERT INTO child VALUES (:id)" }]
"#;

#[tokio::test]
async fn a_deferred_constraint_refuses_at_the_vote_and_not_later() {
    let procedures = format!("{PROCEDURES}{CHILD}");
    let fixture = Fixture::with("20", &procedures).await;
    fixture
        .sql("CREATE TABLE parent (id bigint PRIMARY KEY); CREATE TABLE child (id bigint REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
        .await;
    let child = |id: i64| work::work(Call::new("child").arg("id", id));
    let refusal = fixture.refusal(1, child(1)).await;
    assert_code(&refusal, RefusalCode::Condition, &["23503"]);
    let vote = prepare(&fixture.resource, 2, Execution::OnePhase, child(1)).await;
    assert!(matches!(&vote, Ok(Vote::Refused(refusal)) if refusal.code == RefusalCode::Condition), "{vote:?}");
    fixture.sql("INSERT INTO parent VALUES (1)").await;
    fixture.prepare(3, child(1)).await;
    assert_eq!(fixture.prepared().await, "1");
}

#[tokio::test]
async fn a_branch_that_is_called_off_at_any_moment_is_done_whole_or_not_at_all() {
    let fixture = Fixture::new().await;
    let mut committed = 0_u32;
    for number in 1..=150_u64 {
        let (branch, prepare) = call(number, Execution::OnePhase, work::put(&format!("k{number}"), "v"));
        let cancelled = CancellationToken::new();
        let later = cancelled.clone();
        let calling_off = async move {
            tokio::time::sleep(Duration::from_micros(number * 20)).await;
            later.cancel();
        };
        let voting = fixture.resource.prepare(branch, prepare, cancelled);
        match futures::future::join(voting, calling_off).await.0.unwrap() {
            Vote::Committed { .. } => committed += 1,
            Vote::Refused(_) => {}
            other @ (Vote::Prepared { .. } | Vote::ReadOnly { .. }) => panic!("{other:?}"),
        }
    }
    assert_eq!(fixture.sql("SELECT count(*) FROM kv").await, committed.to_string());
    assert_eq!(fixture.sql("SELECT count(*) FROM undoubt.finished").await, committed.to_string());
}

#[tokio::test]
async fn a_database_that_was_copied_is_refused() {
    let mut fixture = Fixture::new().await;
    fixture.sql("UPDATE undoubt.identity SET system_identifier = 1").await;
    let copied = fixture.another().recover(&participant()).await;
    assert!(matches!(&copied, Err(ResourceError::Foreign { .. })), "{copied:?}");
    fixture.server.stop().await.unwrap();
    let away = fixture.another().recover(&participant()).await;
    assert!(matches!(&away, Err(ResourceError::Unavailable { .. })), "{away:?}");
}

#[tokio::test]
async fn a_branch_beyond_those_that_may_be_in_doubt_waits_until_one_is_ended() {
    let fixture = Fixture::new().await;
    let bounded = undoubt_postgresql::Settings { max_in_doubt: 1, take_over: true, ..fixture.settings() };
    let bounded = support::open(&bounded, &fixture.procedures);
    bounded.recover(&participant()).await.unwrap();
    let vote = prepare(&bounded, 1, Execution::TwoPhase, work::put("a", "1")).await;
    assert!(matches!(vote, Ok(Vote::Prepared { .. })), "{vote:?}");
    let (second, mut asked) = call(2, Execution::TwoPhase, work::put("b", "2"));
    asked.timeout = Duration::from_millis(300);
    let refused = bounded.prepare(second, asked, CancellationToken::new()).await;
    let Ok(Vote::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_code(&refusal, RefusalCode::Unavailable, &["resource.max_in_doubt"]);
    // One phase is never in doubt.
    let vote = prepare(&bounded, 3, Execution::OnePhase, work::put("c", "3")).await;
    assert!(matches!(vote, Ok(Vote::Committed { .. })), "{vote:?}");
    let waits = prepare(&bounded, 4, Execution::TwoPhase, work::put("d", "4"));
    let (vote, ended) = tokio::join!(waits, bounded.commit(branch(1)));
    assert!(matches!(vote, Ok(Vote::Prepared { .. })), "{vote:?}");
    assert_eq!(ended.unwrap(), Ended::AsTold);
}
