//! Databases that stand in the place of the participant's own: standbys, dumps, and others of the same name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::sync::Arc;
use support::fixture::{DATABASE, Fixture, branch, prepare};
use support::{database, open, participant, server, settings, until, work};
use undoubt_participant::resource::{Branches as _, Ended, Resource as _, ResourceError};
use undoubt_postgresql::PostgreSql;
use undoubt_test_servers::Postgres;
use undoubt_vocabulary::{Execution, Vote};

const SETTINGS: [(&str, &str); 3] = [("max_prepared_transactions", "20"), ("max_connections", "100"), ("fsync", "off")];

impl Fixture {
    async fn commit_in_one_phase(&self, number: u64, key: &str) {
        let vote = prepare(&self.resource, number, Execution::OnePhase, work::put(key, "new")).await;
        assert!(matches!(vote, Ok(Vote::Committed { .. })), "{vote:?}");
    }

    /// Returns a standby that has all that is committed by now.
    async fn standby(&self) -> Postgres {
        let standby = self.server.start_standby(&SETTINGS).await.unwrap();
        let position = self.sql("SELECT pg_current_wal_lsn()").await;
        until(&standby, DATABASE, &format!("SELECT pg_last_wal_replay_lsn() >= '{position}'"), "t").await;
        standby
    }

    fn over(&self, server: &Postgres) -> PostgreSql {
        open(&settings(server.url(DATABASE)), &self.procedures)
    }
}

async fn promote(standby: &Postgres) {
    standby.sql("postgres", "SELECT pg_promote()").await.unwrap();
    until(standby, DATABASE, "SELECT pg_is_in_recovery()", "f").await;
}

#[tokio::test]
async fn a_standby_is_waited_for_and_once_it_is_promoted_it_goes_on_with_what_is_in_doubt() {
    let mut fixture = Fixture::new().await;
    fixture.prepare(1, work::put("in doubt", "new")).await;
    fixture.commit_in_one_phase(2, "committed").await;
    let shown = fixture.resource.number().unwrap();
    let standby = fixture.standby().await;
    fixture.server.kill_9();
    let resource = fixture.over(&standby);
    let refused = resource.recover(&participant()).await;
    assert!(
        matches!(&refused, Err(ResourceError::Unavailable { cause }) if cause.contains("does not allow writes")),
        "{refused:?}"
    );
    promote(&standby).await;
    let recovered = resource.recover(&participant()).await.unwrap();
    assert_eq!(recovered.log.unwrap().starts.lack(&shown), None);
    assert_eq!(recovered.prepared.iter().map(|prepared| prepared.branch.clone()).collect::<Vec<_>>(), [branch(1)]);
    assert_eq!(resource.commit(branch(1)).await, Ok(Ended::AsTold));
    assert_eq!(standby.sql(DATABASE, "SELECT count(*) FROM kv").await.unwrap().trim(), "2");
}

#[tokio::test]
async fn a_standby_that_was_promoted_without_all_that_was_answered_for_is_noticed() {
    let mut fixture = Fixture::new().await;
    fixture.commit_in_one_phase(1, "early").await;
    let mut standby = fixture.standby().await;
    standby.kill_9();
    fixture.commit_in_one_phase(2, "late").await;
    let shown = fixture.resource.number().unwrap();
    fixture.server.kill_9();
    standby.restart().await.unwrap();
    promote(&standby).await;
    assert_eq!(standby.sql(DATABASE, "SELECT key FROM kv").await.unwrap().trim(), "early");
    let recovered = fixture.over(&standby).recover(&participant()).await.unwrap();
    let lack = recovered.log.unwrap().starts.lack(&shown);
    assert!(lack.is_some(), "what it lacks is not noticed");
}

#[tokio::test]
async fn a_participant_that_finds_itself_on_a_standby_waits_and_does_not_end() {
    let fixture = Fixture::new().await;
    let standby = fixture.standby().await;
    let resource = Arc::new(fixture.over(&standby));
    for _ in 0..3 {
        let refused = resource.recover(&participant()).await;
        assert!(matches!(refused, Err(ResourceError::Unavailable { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_dump_that_was_restored_elsewhere_is_refused() {
    let fixture = Fixture::new().await;
    fixture.commit_in_one_phase(1, "k").await;
    let dump = fixture.server.dump(DATABASE).await.unwrap();
    // In another server, and in another database of the same one.
    let other = server("20").await;
    for (at, name) in [(&other, DATABASE), (&fixture.server, "restored")] {
        at.sql("postgres", &format!("CREATE DATABASE {name}")).await.unwrap();
        at.sql(name, &dump).await.unwrap();
        assert_eq!(at.sql(name, "SELECT count(*) FROM kv").await.unwrap().trim(), "1");
        let refused = open(&settings(at.url(name)), &fixture.procedures).recover(&participant()).await;
        assert!(
            matches!(&refused, Err(ResourceError::Foreign { cause }) if cause.contains("restored from a dump")),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn another_database_under_the_same_name_is_noticed_by_what_was_answered_for() {
    let fixture = Fixture::new().await;
    fixture.commit_in_one_phase(1, "k").await;
    let shown = fixture.resource.number().unwrap();
    let rename = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = 'bank'; \
                  ALTER DATABASE bank RENAME TO former";
    fixture.server.sql("postgres", rename).await.unwrap();
    let resource = fixture.over(&fixture.server);
    let absent = resource.recover(&participant()).await;
    assert!(matches!(absent, Err(ResourceError::Unavailable { .. })), "{absent:?}");
    database(&fixture.server, DATABASE).await.unwrap();
    let recovered = resource.recover(&participant()).await.unwrap();
    assert!(recovered.log.unwrap().starts.lack(&shown).is_some(), "the other database is taken for the former");
}
