//! A PostgreSQL as the public suite needs it.

use super::{PROCEDURES, clear, database, open, server, settings, work};
use bytes::Bytes;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_participant::conformance::{BranchWorld, LateWorld, Locking, SharedWorld, UnclearWorld, World};
use undoubt_participant::resource::{BranchId, Branches as _};
use undoubt_postgresql::{PostgreSql, Settings, list};
use undoubt_test_servers::{Postgres, Proxy};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Execution, Prepare, Timestamp, TxId, Vote};

const DATABASE: &str = "world";

/// A database of a private server, with a participant's schema.
pub struct Databases {
    pub server: Postgres,
    pub proxy: Proxy,
    procedures: String,
    locking: Locking,
    opened: u32,
    read: Cell<u64>,
}

impl Databases {
    pub async fn new() -> Databases {
        let server = server("60").await;
        let proxy = Proxy::postgres(server.address()).await.unwrap();
        let procedures = PROCEDURES.to_owned();
        Databases { server, proxy, procedures, locking: Locking::BoundedWaits, opened: 0, read: Cell::new(0) }
    }

    /// Procedures that declare their keys, so that the participant knows ages.
    pub async fn with_declared_keys() -> Databases {
        Databases { procedures: super::with_declared_keys(), locking: Locking::WaitDie, ..Databases::new().await }
    }

    pub fn settings(&self) -> Settings {
        settings(self.server.url_through(self.proxy.address(), DATABASE))
    }
}

impl World for Databases {
    type Resource = PostgreSql;

    async fn fresh(&mut self) -> PostgreSql {
        self.opened += 1;
        match self.opened {
            1 => database(&self.server, DATABASE).await.unwrap(),
            // Making a database each time would take most of the time.
            _ => clear(&self.server, DATABASE).await,
        }
        open(&self.settings(), &self.procedures)
    }

    async fn reopen(&mut self) -> PostgreSql {
        open(&self.settings(), &self.procedures)
    }

    async fn read(&self, resource: &Arc<PostgreSql>, key: &str) -> Option<String> {
        self.read.set(self.read.get() + 1);
        let (attempt_number, tx) = (AttemptNumber(2_000_000 + self.read.get()), TxId::new("reader").unwrap());
        let branch = BranchId { tx: tx.clone(), attempt_number, coordinator: CoordinatorId([9; 16]) };
        let (begun_at, timeout, execution) = (Timestamp(2_000_000), Duration::from_secs(10), Execution::OnePhase);
        let prepare = Prepare { tx, attempt_number, begun_at, timeout, execution, work: work::get(key) };
        match resource.prepare(branch, prepare, CancellationToken::new()).await {
            Ok(Vote::ReadOnly { result }) => work::value(&result),
            other => panic!("key {key} is free, so reading it in one phase is voted read-only, not {other:?}"),
        }
    }

    fn put(&self, key: &str, value: &str) -> Bytes {
        work::put(key, value)
    }

    fn get(&self, key: &str) -> Bytes {
        work::get(key)
    }

    fn add(&self, key: &str, delta: i64, floor: Option<i64>) -> Bytes {
        work::add(key, delta, floor)
    }

    fn put_pending(&self, key: &str, value: &str) -> Option<Bytes> {
        Some(work::put_marked(key, value))
    }

    fn value(&self, result: &Bytes) -> Option<String> {
        work::value(result)
    }
}

impl BranchWorld for Databases {
    fn locking(&self) -> Locking {
        self.locking
    }

    fn keeps_results(&self) -> bool {
        false
    }
}

impl UnclearWorld for Databases {
    fn lose_the_next_answer(&self, _: &PostgreSql, takes_effect: bool) {
        let place = |text: &str| if takes_effect { self.proxy.after(text) } else { self.proxy.before(text) };
        let (prepare, commit) = (place("PREPARE TRANSACTION").cut(), place("COMMIT").cut());
        tokio::spawn(async move {
            let one = futures::future::select(Box::pin(prepare.happened()), Box::pin(commit.happened()));
            drop(one.await);
        });
        // What it waits for is seen from now on.
    }
}

impl SharedWorld for Databases {
    async fn end_by_another_hand(&self, _: &PostgreSql, branch: &BranchId, commit: bool) {
        let prepared = list(&settings(self.server.url(DATABASE))).await.unwrap();
        let is_it =
            |name: &undoubt_sql::PreparedName| name.tx == branch.tx && name.attempt_number == branch.attempt_number;
        let found = prepared.iter().find(|prepared| prepared.name.as_ref().is_some_and(is_it)).unwrap();
        let verb = if commit { "COMMIT" } else { "ROLLBACK" };
        self.server.sql(DATABASE, &format!("{verb} PREPARED '{}'", found.gid)).await.unwrap();
    }
}

impl LateWorld for Databases {
    async fn land_late(&self, _: &PostgreSql, branch: &BranchId, begun_at: Timestamp, key: &str, value: &str) {
        super::land_late(&self.server, DATABASE, branch, begun_at, key, value).await;
    }
}
