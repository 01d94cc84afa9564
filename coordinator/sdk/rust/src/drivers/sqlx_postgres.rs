//! The barrier over `sqlx` and PostgreSQL.

use std::error::Error as StdError;
use std::time::Duration;

use sqlx::postgres::PgDatabaseError;
use sqlx::{Connection as _, Executor as _, PgConnection, Postgres, Transaction};

use super::postgresql::{self, LOCK, OWN, PURGE, SCHEMA};
use super::{PURGED_AT_ONCE, column};
use crate::connection::{Connection, Held, NotKept, NotLocked, OwnTransaction, is_contended, sealed};
use crate::rules::{Part, Row};
use crate::{Answer, BoxError};

impl sealed::Sealed for PgConnection {}

impl Connection for PgConnection {
    type Work<'t> = &'t mut PgConnection;
    type Held<'c> = Transaction<'c, Postgres>;

    async fn lock<'c>(&'c mut self, effect: &str, timeout: Duration) -> Result<(Self::Held<'c>, Row), NotLocked> {
        if self.is_in_transaction() {
            return Err(NotLocked::Open);
        }
        let mut transaction = self.begin().await.map_err(failed)?;
        let locking = sqlx::query(LOCK).bind(effect).bind(postgresql::lock_timeout(timeout));
        match locking.fetch_one(&mut *transaction).await {
            Ok(columns) => Ok((transaction, super::row(&columns).map_err(failed)?)),
            Err(error) => {
                transaction.roll_back().await;
                Err(failed(error))
            }
        }
    }

    fn is_contention(error: &(dyn StdError + 'static)) -> bool {
        super::told::<PgDatabaseError>(error).is_some_and(|error| postgresql::is_contention(error.code()))
    }

    async fn create_table(&mut self) -> Result<(), BoxError> {
        self.execute(SCHEMA).await?;
        Ok(())
    }

    async fn purge(&mut self, older_than: Duration) -> Result<u64, BoxError> {
        let purging = sqlx::query(PURGE).bind(older_than.as_secs_f64()).bind(PURGED_AT_ONCE);
        Ok(purging.execute(self).await?.rows_affected())
    }
}

impl Held<PgConnection> for Transaction<'_, Postgres> {
    fn work(&mut self) -> &mut PgConnection {
        self
    }

    async fn keep(&mut self, effect: &str, part: Part, answer: &Answer) -> Result<(), NotKept> {
        let keeping = sqlx::query(postgresql::keep(part)).bind(effect).bind(column(answer.status));
        let keeping = keeping.bind(answer.content_type.as_deref()).bind(&answer.body);
        match keeping.execute(&mut **self).await {
            Ok(kept) if kept.rows_affected() == 1 => Ok(()),
            Ok(_) => Err(NotKept::Ended),
            Err(error) => Err(NotKept::Failed(error.into())),
        }
    }

    async fn commit(self) -> Result<(), BoxError> {
        Ok(Transaction::commit(self).await?)
    }

    async fn roll_back(self) {
        // Where it fails, the connection is broken, and the server rolls back.
        let _ = self.rollback().await;
    }
}

impl sealed::Sealed for &mut PgConnection {}

impl OwnTransaction for &mut PgConnection {
    async fn write_row(self, row: &str) -> Result<bool, BoxError> {
        Ok(sqlx::query(OWN).bind(row).execute(self).await?.rows_affected() == 1)
    }
}

fn failed(error: sqlx::Error) -> NotLocked {
    let error = BoxError::from(error);
    if is_contended::<PgConnection>(&error) { NotLocked::Contended } else { NotLocked::Failed(error) }
}
