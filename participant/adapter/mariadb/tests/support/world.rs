//! A MariaDB as the public suite needs it.

use super::{PROCEDURES, database, kill_transactions, open, server, settings, work};
use bytes::Bytes;
use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_mariadb::{MariaDb, Settings, list};
use undoubt_participant::conformance::{BranchWorld, Locking, SharedWorld, UnclearWorld, World};
use undoubt_participant::resource::{BranchId, Branches as _};
use undoubt_test_servers::{self as servers, Proxy, Trap};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Execution, Prepare, Timestamp, TxId, Vote};

/// Databases of one server, each with a participant's tables.
pub struct Databases {
    pub server: servers::MariaDb,
    pub proxy: Proxy,
    procedures: String,
    locking: Locking,
    opened: u32,
    read: Cell<u64>,
    trap: Mutex<Option<Trap>>,
}

impl Databases {
    pub async fn new() -> Databases {
        let server = server().await;
        let proxy = Proxy::mariadb(server.address()).await.unwrap();
        let procedures = PROCEDURES.to_owned();
        let (read, trap) = (Cell::new(0), Mutex::default());
        Databases { server, proxy, procedures, locking: Locking::BoundedWaits, opened: 0, read, trap }
    }

    /// Procedures that declare their keys, so that the participant knows ages.
    pub async fn with_declared_keys() -> Databases {
        Databases { procedures: super::with_declared_keys(), locking: Locking::WaitDie, ..Databases::new().await }
    }

    pub fn name(&self) -> String {
        format!("world{}", self.opened)
    }

    pub fn settings(&self) -> Settings {
        settings(self.server.url_through(self.proxy.address(), &self.name()))
    }
}

impl World for Databases {
    type Resource = MariaDb;

    async fn fresh(&mut self) -> MariaDb {
        self.opened += 1;
        database(&self.server, &self.name()).await;
        open(&self.settings(), &self.procedures)
    }

    async fn reopen(&mut self) -> MariaDb {
        open(&self.settings(), &self.procedures)
    }

    async fn read(&self, resource: &Arc<MariaDb>, key: &str) -> Option<String> {
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
}

impl UnclearWorld for Databases {
    fn lose_the_next_answer(&self, _: &MariaDb, takes_effect: bool) {
        let place = if takes_effect { self.proxy.after("XA PREPARE") } else { self.proxy.before("XA PREPARE") };
        *self.trap.lock().unwrap() = Some(place.or("; COMMIT").or("XA COMMIT").cut());
    }
}

impl SharedWorld for Databases {
    async fn end_by_another_hand(&self, _: &MariaDb, branch: &BranchId, commit: bool) {
        let prepared = list(&settings(self.server.url(&self.name()))).await.unwrap();
        let is_it =
            |name: &undoubt_sql::PreparedName| name.tx == branch.tx && name.attempt_number == branch.attempt_number;
        let found = prepared.iter().find(|prepared| prepared.name.as_ref().is_some_and(is_it)).unwrap();
        // While the session lives that prepared it, nobody else can end it.
        kill_transactions(&self.server, &self.name()).await;
        let verb = if commit { "COMMIT" } else { "ROLLBACK" };
        self.server.sql(&self.name(), &format!("XA {verb} {}", found.xid)).await.unwrap();
    }
}
