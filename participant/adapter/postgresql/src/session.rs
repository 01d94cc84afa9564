//! One session: a connection, the server's process behind it, and the statements that it has prepared.

use crate::class::told;
use crate::local::STATEMENTS;
use crate::ready::{Form, Named, Ready};
use crate::trip::Part;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
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
    /// Those of them that are sent with others, in the order of [`STATEMENTS`](crate::local::STATEMENTS).
    joined: OnceLock<Vec<Named>>,
    declared: Mutex<DeclaredHere>,
}

/// The statements of procedures that a session knows.
#[derive(Default)]
struct DeclaredHere {
    /// By the procedure's name and the statement's place.
    ready: BTreeMap<(String, usize), Arc<Ready>>,
    /// The server still knows them, and nobody asks for them.
    outdated: Vec<Named>,
    names: u64,
}

impl DeclaredHere {
    fn next_name(&mut self) -> String {
        self.names += 1;
        format!("undoubt_{}", self.names)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("backend", &self.backend).finish_non_exhaustive()
    }
}

/// A parameter of one of the participant's own statements.
pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

impl Session {
    pub(crate) fn new(client: Client, backend: Backend) -> Session {
        Session { client, backend, own: Mutex::default(), joined: OnceLock::new(), declared: Mutex::default() }
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

    /// Has the server prepare the statements that are sent with others.
    pub(crate) async fn prepare_joined(&self) -> Result<(), Error> {
        let prepare = STATEMENTS
            .iter()
            .enumerate()
            .map(|(place, sql)| Named::prepare(&self.client, format!("undoubt_own_{place}"), &[], sql));
        let joined = futures::future::try_join_all(prepare).await?;
        self.joined.get_or_init(|| joined);
        Ok(())
    }

    /// Returns one of the [`STATEMENTS`], with literals for its parameters.
    pub(crate) fn joined(&self, sql: &'static str, literals: &[String]) -> Part<'static> {
        let place = STATEMENTS.iter().position(|known| *known == sql);
        let named = place.and_then(|place| self.joined.get()?.get(place));
        Part::Text(named.expect("a worker's session has prepared them all").call(literals))
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
        let (outdated, name) = {
            let mut here = whole(&self.declared);
            if let Some(known) = here.ready.get(&key) {
                return Ok(known.clone());
            }
            (std::mem::take(&mut here.outdated), here.next_name())
        };
        if !outdated.is_empty() {
            let forget: Vec<String> = outdated.iter().map(Named::forget).collect();
            self.client.batch_execute(&forget.join(";")).await?;
        }
        let ready = Arc::new(Ready::describe(&self.client, &call.procedure, at, name).await?);
        whole(&self.declared).ready.insert(key, ready.clone());
        Ok(ready)
    }

    /// Returns a name for a statement that the session does not know yet.
    pub(crate) fn next_name(&self) -> String {
        whole(&self.declared).next_name()
    }

    /// Forgets what the server said of statements: what they stand for has changed.
    pub(crate) fn describe_anew(&self) {
        let mut here = whole(&self.declared);
        for ready in std::mem::take(&mut here.ready).into_values() {
            if let Form::Named(named) = &ready.form {
                here.outdated.push(named.clone());
            }
        }
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
