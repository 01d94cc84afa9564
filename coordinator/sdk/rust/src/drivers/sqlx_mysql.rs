//! The barrier over `sqlx` and MariaDB or MySQL.

use std::error::Error as StdError;
use std::time::Duration;

use sqlx::mysql::MySqlDatabaseError;
use sqlx::{Connection as _, Executor as _, MySql, MySqlConnection, Transaction};

use super::{PURGED_AT_ONCE, column, columns};
use crate::connection::{Connection, Held, NotKept, NotLocked, OwnTransaction, is_contended, sealed};
use crate::rules::{Part, Row};
use crate::{Answer, BoxError};

const SCHEMA: &str = include_str!("../schema.mysql.sql");
const IS_THERE: &str = "SELECT 1 FROM undoubt_barrier WHERE effect = ?";
const MAKE: &str = "INSERT IGNORE INTO undoubt_barrier (effect) VALUES (?)";
const READ: &str = concat!("SELECT ", columns!(), " FROM undoubt_barrier WHERE effect = ?");
const OWN: &str = "INSERT IGNORE INTO undoubt_barrier (effect, action_status) VALUES (?, 200)";
const PURGE: &str = "DELETE FROM undoubt_barrier WHERE touched_at < now() - INTERVAL ? SECOND LIMIT ?";
/// The savepoint tells the transaction from any that a handler might begin instead of it.
const BEGIN: &str = "START TRANSACTION; SAVEPOINT undoubt_barrier";
const STILL: &str = "RELEASE SAVEPOINT undoubt_barrier";
const NO_SUCH_SAVEPOINT: u16 = 1305;
/// A deadlock, a lock that was waited for, one that was not waited for, a row that has changed.
const CONTENTION: [u16; 4] = [1213, 1205, 3572, 1020];

impl sealed::Sealed for MySqlConnection {}

impl Connection for MySqlConnection {
    type Work<'t> = &'t mut MySqlConnection;
    type Held<'c> = Transaction<'c, MySql>;

    /// The row is made in a transaction of its own. Were it made in this one, and this one rolled back, those who wait for it would be
    /// given locks on the gap that it leaves, all of them, and then wait for each other.
    async fn lock<'c>(&'c mut self, effect: &str, timeout: Duration) -> Result<(Self::Held<'c>, Row), NotLocked> {
        if self.is_in_transaction() {
            return Err(NotLocked::Open);
        }
        make(self, effect).await.map_err(failed)?;
        let mut transaction = self.begin_with(BEGIN).await.map_err(failed)?;
        match sqlx::query(&locking(timeout)).bind(effect).fetch_optional(&mut *transaction).await {
            Ok(Some(columns)) => Ok((transaction, super::row(&columns).map_err(failed)?)),
            // It was a week old, and purged just now.
            Ok(None) => {
                transaction.roll_back().await;
                Err(NotLocked::Contended)
            }
            Err(error) => {
                transaction.roll_back().await;
                Err(failed(error))
            }
        }
    }

    fn is_contention(error: &(dyn StdError + 'static)) -> bool {
        super::told::<MySqlDatabaseError>(error).is_some_and(|error| CONTENTION.contains(&error.number()))
    }

    async fn create_table(&mut self) -> Result<(), BoxError> {
        self.execute(SCHEMA).await?;
        Ok(())
    }

    async fn purge(&mut self, older_than: Duration) -> Result<u64, BoxError> {
        let purging = sqlx::query(PURGE).bind(older_than.as_secs()).bind(PURGED_AT_ONCE);
        Ok(purging.execute(self).await?.rows_affected())
    }
}

impl Held<MySqlConnection> for Transaction<'_, MySql> {
    fn work(&mut self) -> &mut MySqlConnection {
        self
    }

    async fn keep(&mut self, effect: &str, part: Part, answer: &Answer) -> Result<(), NotKept> {
        self.execute(STILL).await.map_err(not_still)?;
        let keeping = sqlx::query(keep(part)).bind(column(answer.status));
        let keeping = keeping.bind(answer.content_type.as_deref()).bind(&answer.body).bind(effect);
        keeping.execute(&mut **self).await.map_err(|error| NotKept::Failed(error.into()))?;
        Ok(())
    }

    async fn commit(self) -> Result<(), BoxError> {
        Ok(Transaction::commit(self).await?)
    }

    async fn roll_back(self) {
        // Where it fails, the connection is broken, and the server rolls back.
        let _ = self.rollback().await;
    }
}

impl sealed::Sealed for &mut MySqlConnection {}

impl OwnTransaction for &mut MySqlConnection {
    async fn write_row(self, row: &str) -> Result<bool, BoxError> {
        Ok(sqlx::query(OWN).bind(row).execute(self).await?.rows_affected() == 1)
    }
}

/// Makes a row, if it is absent, and commits it. Who looks first does not wait for one that is locked.
async fn make(connection: &mut MySqlConnection, effect: &str) -> Result<(), sqlx::Error> {
    if sqlx::query(IS_THERE).bind(effect).fetch_optional(&mut *connection).await?.is_none() {
        sqlx::query(MAKE).bind(effect).execute(connection).await?;
    }
    Ok(())
}

/// Returns the statement that locks a row and waits for it for a bounded time; in MySQL not at all, for it knows no bound but the session's.
fn locking(timeout: Duration) -> String {
    let seconds = timeout.as_secs_f64().ceil().max(1.0);
    format!("{READ} FOR UPDATE /*!80001 NOWAIT */ /*M!100300 WAIT {seconds} */")
}

fn keep(part: Part) -> &'static str {
    macro_rules! keep {
        ($part:literal) => {
            concat!(
                "UPDATE undoubt_barrier SET ",
                $part,
                "_status = ?, ",
                $part,
                "_type = ?, ",
                $part,
                "_body = ? WHERE effect = ?"
            )
        };
    }
    match part {
        Part::Action => keep!("action"),
        Part::Completion => keep!("completion"),
        Part::Compensation => keep!("compensation"),
    }
}

fn not_still(error: sqlx::Error) -> NotKept {
    let number = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    match number.map(MySqlDatabaseError::number) {
        Some(NO_SUCH_SAVEPOINT) => NotKept::Ended,
        Some(_) | None => NotKept::Failed(error.into()),
    }
}

fn failed(error: sqlx::Error) -> NotLocked {
    let error = BoxError::from(error);
    if is_contended::<MySqlConnection>(&error) { NotLocked::Contended } else { NotLocked::Failed(error) }
}
