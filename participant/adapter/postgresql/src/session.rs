//! One session: a connection, the server's process behind it, and the statements that it has prepared.

use crate::class::told;
use crate::ready::Ready;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};
use undoubt_sql::Bound;

/// The server's process behind a session. Its number is used again for others, its beginning is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Backend {
    pub(crate) pid: i32,
    pub(crate) started_us: i64,
}

pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) backend: Backend,
    /// The participant's own statements, by their text.
    own: Mutex<BTreeMap<&'static str, Statement>>,
    /// Statements of procedures, by the procedure's name and the statement's place.
    declared: Mutex<BTreeMap<(String, usize), Arc<Ready>>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("backend", &self.backend).finish_non_exhaustive()
    }
}

/// A parameter of one of the participant's own statements.
pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// The same where it is sent later.
pub(crate) type Owned = Box<dyn ToSql + Sync + Send>;

impl Session {
    pub(crate) fn new(client: Client, backend: Backend) -> Session {
        Session { client, backend, own: Mutex::default(), declared: Mutex::default() }
    }

    /// Returns one of the participant's own statements, described by the server at its first use in this session.
    pub(crate) async fn own(&self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(known) = whole(&self.own).get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql).await?;
        whole(&self.own).insert(sql, statement.clone());
        Ok(statement)
    }

    /// Has the server describe statements, so that each is sent at once when it is used.
    pub(crate) async fn describe(&self, statements: &[&'static str]) -> Result<(), Error> {
        futures::future::try_join_all(statements.iter().map(|sql| self.own(sql))).await.map(drop)
    }

    pub(crate) async fn query(&self, sql: &'static str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        let statement = self.own(sql).await?;
        self.client.query(&statement, parameters).await
    }

    pub(crate) async fn execute(&self, sql: &'static str, parameters: &[Parameter<'_>]) -> Result<u64, Error> {
        let statement = self.own(sql).await?;
        self.client.execute(&statement, parameters).await
    }

    /// Returns a procedure's statement, described by the server at its first use in this session.
    pub(crate) async fn declared(&self, call: &Bound, at: usize) -> Result<Arc<Ready>, Unready> {
        let key = (call.procedure.name.clone(), at);
        if let Some(known) = whole(&self.declared).get(&key) {
            return Ok(known.clone());
        }
        let ready = Arc::new(Ready::describe(&self.client, &call.procedure, at).await?);
        whole(&self.declared).insert(key, ready.clone());
        Ok(ready)
    }

    /// Forgets what the server said of statements: what they stand for has changed.
    pub(crate) fn describe_anew(&self) {
        whole(&self.declared).clear();
    }
}

/// The reason why a declared statement cannot be run.
#[derive(Debug)]
pub(crate) enum Unready {
    Server(Error),
    /// The statement does what a procedure cannot do; for people.
    Unfit(String),
}

impl Unready {
    pub(crate) fn told(&self) -> String {
        match self {
            Unready::Server(error) => told(error),
            Unready::Unfit(why) => why.clone(),
        }
    }
}

impl From<Error> for Unready {
    fn from(error: Error) -> Self {
        Unready::Server(error)
    }
}

fn whole<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing between taking and freeing it can panic.
    map.lock().expect("the map of statements is whole")
}

/// Returns the type in which a parameter is sent.
pub(crate) fn type_of(kind: undoubt_sql::ParameterType) -> Type {
    use undoubt_sql::ParameterType as Kind;
    match kind {
        Kind::Boolean => Type::BOOL,
        Kind::SmallInt => Type::INT2,
        Kind::Integer => Type::INT4,
        Kind::BigInt => Type::INT8,
        Kind::Real => Type::FLOAT4,
        Kind::Double => Type::FLOAT8,
        Kind::Numeric => Type::NUMERIC,
        Kind::Text => Type::TEXT,
        Kind::Bytes => Type::BYTEA,
        Kind::Timestamp => Type::TIMESTAMPTZ,
        Kind::Json => Type::JSONB,
        Kind::Uuid => Type::UUID,
    }
}
