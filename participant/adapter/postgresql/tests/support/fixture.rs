//! One participant over a database, and what tests ask of it.

use super::{PATIENCE, PROCEDURES, database, open, participant, server, settings};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{
    BranchId, Branches as _, Ended, Recovered, Resource as _, ResourceError, StepId, Steps as _,
};
use undoubt_postgresql::{PostgreSql, Settings};
use undoubt_test_servers::{Postgres, Proxy};
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Direction, Execution, Prepare, Refusal, RefusalCode, RunStep, StepIndex, StepOutcome,
    Timestamp, TxId, Vote,
};

pub const DATABASE: &str = "bank";

pub struct Fixture {
    pub server: Postgres,
    pub proxy: Proxy,
    pub resource: Arc<PostgreSql>,
    pub procedures: String,
}

impl Fixture {
    pub async fn new() -> Fixture {
        Fixture::with("20", PROCEDURES).await
    }

    pub async fn with(slots: &str, procedures: &str) -> Fixture {
        let server = server(slots).await;
        database(&server, DATABASE).await.unwrap();
        let proxy = Proxy::postgres(server.address()).await.unwrap();
        let through = settings(server.url_through(proxy.address(), DATABASE));
        let resource = Arc::new(open(&through, procedures));
        resource.recover(&participant()).await.unwrap();
        Fixture { server, proxy, resource, procedures: procedures.to_owned() }
    }

    pub fn settings(&self) -> Settings {
        settings(self.server.url_through(self.proxy.address(), DATABASE))
    }

    /// Returns another process of the same participant, not recovered.
    pub fn another(&self) -> PostgreSql {
        open(&settings(self.server.url(DATABASE)), &self.procedures)
    }

    /// Ends the process, and starts it again.
    pub async fn restart(&mut self) -> Recovered {
        self.resource = Arc::new(open(&self.settings(), &self.procedures));
        self.resource.recover(&participant()).await.unwrap()
    }

    pub fn spawn_background(&self) -> (JoinHandle<Result<(), ResourceError>>, CancellationToken) {
        let (resource, stop) = (self.resource.clone(), CancellationToken::new());
        let until = stop.clone();
        (tokio::spawn(async move { resource.background(until).await }), stop)
    }

    pub async fn sql(&self, statement: &str) -> String {
        self.server.sql(DATABASE, statement).await.unwrap().trim().to_owned()
    }

    pub async fn until(&self, statement: &str, expected: &str) {
        super::until(&self.server, DATABASE, statement, expected).await;
    }

    /// Returns a session of somebody else, past the proxy.
    pub async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.server.url(DATABASE), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Returns a session that holds what work on this key has to lock, until it is dropped or rolls back.
    pub async fn hold(&self, key: &str) -> Client {
        let client = self.client().await;
        let lock = format!("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('{key}', 0))");
        client.batch_execute(&lock).await.unwrap();
        client
    }

    /// Waits until so many sessions of the participant wait for a lock.
    pub async fn until_waiting(&self, count: usize) {
        let statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'undoubt/%' AND wait_event_type = 'Lock'";
        self.until(statement, &count.to_string()).await;
    }

    pub async fn kill_workers(&self) {
        let statement = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE application_name LIKE 'undoubt/%' AND \
            wait_event_type = 'Lock'";
        self.sql(statement).await;
    }

    pub async fn prepared(&self) -> String {
        self.sql("SELECT count(*) FROM pg_prepared_xacts").await
    }

    pub async fn value(&self, key: &str) -> String {
        self.sql(&format!("SELECT value FROM kv WHERE key = '{key}'")).await
    }

    pub async fn try_prepare(&self, number: u64, work: Bytes) -> Result<Vote, ResourceError> {
        prepare(&self.resource, number, Execution::TwoPhase, work).await
    }

    pub async fn prepare(&self, number: u64, work: Bytes) {
        let vote = self.try_prepare(number, work).await;
        assert!(matches!(vote, Ok(Vote::Prepared { .. })), "{vote:?}");
    }

    pub async fn refusal(&self, number: u64, work: Bytes) -> Refusal {
        match self.try_prepare(number, work).await {
            Ok(Vote::Refused(refusal)) => refusal,
            other => panic!("it has to be refused, not {other:?}"),
        }
    }

    pub async fn commit(&self, number: u64) -> Result<Ended, ResourceError> {
        self.resource.commit(branch(number)).await
    }

    pub async fn abort(&self, number: u64) -> Result<Ended, ResourceError> {
        self.resource.abort(branch(number)).await
    }

    /// Repeats a call, as the server does, until it is done.
    pub async fn until_done<T>(&self, call: impl AsyncFn() -> Result<T, ResourceError>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match call().await {
                Ok(done) => return done,
                Err(ResourceError::Unavailable { .. } | ResourceError::Unclear { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(tokio::time::Instant::now() < deadline, "it is done in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub fn branch(number: u64) -> BranchId {
    let tx = TxId::new(format!("tx-{number}")).unwrap();
    BranchId { tx, attempt_number: AttemptNumber(number), coordinator: CoordinatorId([7; 16]) }
}

pub fn call(number: u64, execution: Execution, work: Bytes) -> (BranchId, Prepare) {
    let branch = branch(number);
    let (begun_at, timeout) = (Timestamp(number), Duration::from_secs(20));
    let prepare =
        Prepare { tx: branch.tx.clone(), attempt_number: branch.attempt_number, begun_at, timeout, execution, work };
    (branch, prepare)
}

pub async fn prepare(
    resource: &PostgreSql,
    number: u64,
    execution: Execution,
    work: Bytes,
) -> Result<Vote, ResourceError> {
    let (branch, prepare) = call(number, execution, work);
    resource.prepare(branch, prepare, CancellationToken::new()).await
}

pub fn step(number: u64, work: Bytes, direction: Direction) -> (StepId, RunStep) {
    let BranchId { tx, attempt_number, coordinator } = branch(number);
    let id = StepId { coordinator, attempt_number, step: StepIndex(0), tx: tx.clone() };
    let (begun_at, timeout, inputs) = (Timestamp(number), Duration::from_secs(20), vec![Bytes::new()]);
    (
        id,
        RunStep {
            tx,
            attempt_number,
            step: StepIndex(0),
            direction,
            acted_elsewhere: false,
            check_back: false,
            attempt: 1,
            begun_at,
            timeout,
            work,
            inputs,
        },
    )
}

pub async fn act(resource: &PostgreSql, number: u64, work: Bytes) -> Result<StepOutcome, ResourceError> {
    let (id, run) = step(number, work, Direction::Forward);
    resource.act(id, run, CancellationToken::new()).await
}

pub fn assert_code(refusal: &Refusal, code: RefusalCode, says: &[&str]) {
    assert_eq!(refusal.code, code, "{refusal}");
    for says in says {
        assert!(refusal.detail.contains(says), "{refusal} says {says:?}");
    }
}
