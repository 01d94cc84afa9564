//! The barrier over `sqlx` and SQLite. A transaction that writes has the whole database, so there is no row to lock.

use std::error::Error as StdError;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;
use sqlx::{Connection as _, Executor as _, Sqlite, SqliteConnection, Transaction};

use super::{PURGED_AT_ONCE, column, columns};
use crate::connection::{Connection, Held, NotKept, NotLocked, OwnTransaction, is_contended, sealed};
use crate::rules::{Part, Row};
use crate::{Answer, BoxError};

const SCHEMA: &str = include_str!("../schema.sqlite.sql");
const READ: &str = concat!("SELECT ", columns!(), " FROM undoubt_barrier WHERE effect = ?");
const OWN: &str = "INSERT INTO undoubt_barrier (effect, action_status) VALUES (?, 200) ON CONFLICT (effect) DO NOTHING";
const PURGE: &str = "DELETE FROM undoubt_barrier WHERE effect IN
     (SELECT effect FROM undoubt_barrier WHERE touched_at < datetime('now', ?) LIMIT ?)";
/// The savepoint tells the transaction from any that a handler might begin instead of it.
const BEGIN: &str = "BEGIN IMMEDIATE; SAVEPOINT undoubt_barrier";
const BUSY: u32 = 5;
const LOCKED: u32 = 6;

impl sealed::Sealed for SqliteConnection {}

impl Connection for SqliteConnection {
    type Work<'t> = &'t mut SqliteConnection;
    type Held<'c> = Transaction<'c, Sqlite>;

    /// Waits for as long as the connection's `busy_timeout` says, since it is that of each of its statements.
    async fn lock<'c>(&'c mut self, effect: &str, _: Duration) -> Result<(Self::Held<'c>, Row), NotLocked> {
        if self.is_in_transaction() {
            return Err(NotLocked::Open);
        }
        let mut transaction = self.begin_with(BEGIN).await.map_err(failed)?;
        let columns = sqlx::query(READ).bind(effect).fetch_optional(&mut *transaction).await.map_err(failed)?;
        let row = columns.as_ref().map(super::row).transpose().map_err(failed)?;
        Ok((transaction, row.unwrap_or_default()))
    }

    fn is_contention(error: &(dyn StdError + 'static)) -> bool {
        let code = super::told::<SqliteError>(error).and_then(|error| error.code()?.parse::<u32>().ok());
        // The extended codes have the plain one in their last byte.
        code.is_some_and(|code| matches!(code & 0xFF, BUSY | LOCKED))
    }

    async fn create_table(&mut self) -> Result<(), BoxError> {
        self.execute(SCHEMA).await?;
        Ok(())
    }

    async fn purge(&mut self, older_than: Duration) -> Result<u64, BoxError> {
        let purging = sqlx::query(PURGE).bind(format!("-{} seconds", older_than.as_secs())).bind(PURGED_AT_ONCE);
        Ok(purging.execute(self).await?.rows_affected())
    }
}

impl Held<SqliteConnection> for Transaction<'_, Sqlite> {
    fn work(&mut self) -> &mut SqliteConnection {
        self
    }

    async fn keep(&mut self, effect: &str, part: Part, answer: &Answer) -> Result<(), NotKept> {
        let keeping = sqlx::query(keep(part)).bind(effect).bind(column(answer.status));
        let keeping = keeping.bind(answer.content_type.as_deref()).bind(&answer.body);
        keeping.execute(&mut **self).await.map_err(not_kept)?;
        Ok(())
    }

    async fn commit(self) -> Result<(), BoxError> {
        Ok(Transaction::commit(self).await?)
    }

    async fn roll_back(self) {
        // Where it fails there is nothing to roll back: SQLite did it, or a handler.
        let _ = self.rollback().await;
    }
}

impl sealed::Sealed for &mut SqliteConnection {}

impl OwnTransaction for &mut SqliteConnection {
    async fn write_row(self, row: &str) -> Result<bool, BoxError> {
        Ok(sqlx::query(OWN).bind(row).execute(self).await?.rows_affected() == 1)
    }
}

fn keep(part: Part) -> &'static str {
    macro_rules! keep {
        ($part:literal) => {
            concat!(
                "RELEASE undoubt_barrier; INSERT INTO undoubt_barrier (effect, ",
                $part,
                "_status, ",
                $part,
                "_type, ",
                $part,
                "_body) VALUES (?, ?, ?, ?) ON CONFLICT (effect) DO UPDATE SET ",
                $part,
                "_status = excluded.",
                $part,
                "_status, ",
                $part,
                "_type = excluded.",
                $part,
                "_type, ",
                $part,
                "_body = excluded.",
                $part,
                "_body, touched_at = CURRENT_TIMESTAMP"
            )
        };
    }
    match part {
        Part::Action => keep!("action"),
        Part::Completion => keep!("completion"),
        Part::Compensation => keep!("compensation"),
    }
}

/// SQLite has one code for a savepoint that is not there and for all other mistakes.
fn not_kept(error: sqlx::Error) -> NotKept {
    match error.as_database_error() {
        Some(told) if told.message().starts_with("no such savepoint") => NotKept::Ended,
        Some(_) | None => NotKept::Failed(error.into()),
    }
}

fn failed(error: sqlx::Error) -> NotLocked {
    let error = BoxError::from(error);
    if is_contended::<SqliteConnection>(&error) { NotLocked::Contended } else { NotLocked::Failed(error) }
}
