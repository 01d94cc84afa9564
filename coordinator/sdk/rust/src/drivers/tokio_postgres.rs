//! The barrier over `tokio-postgres`.

use std::error::Error as StdError;
use std::time::Duration;

use tokio_postgres::error::DbError;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::postgresql::{self, LOCK, OWN, PURGE, SCHEMA};
use super::{PURGED_AT_ONCE, column, kept};
use crate::connection::{Connection, Held, NotKept, NotLocked, OwnTransaction, is_contended, sealed};
use crate::rules::{Part, Row};
use crate::{Answer, BoxError};

impl sealed::Sealed for Client {}

impl Connection for Client {
    type Work<'t> = &'t Transaction<'t>;
    type Held<'c> = Transaction<'c>;

    async fn lock<'c>(&'c mut self, effect: &str, timeout: Duration) -> Result<(Transaction<'c>, Row), NotLocked> {
        let transaction = self.transaction().await.map_err(failed)?;
        let timeout = postgresql::lock_timeout(timeout);
        match transaction.query_typed_one(LOCK, &[(&effect, Type::VARCHAR), (&timeout, Type::TEXT)]).await {
            Ok(columns) => {
                let row = row(&columns).map_err(failed)?;
                Ok((transaction, row))
            }
            Err(error) => {
                // The answer to this tells no more than that one.
                let _ = transaction.rollback().await;
                Err(failed(error))
            }
        }
    }

    fn is_contention(error: &(dyn StdError + 'static)) -> bool {
        error.downcast_ref::<DbError>().is_some_and(|error| postgresql::is_contention(error.code().code()))
    }

    async fn create_table(&mut self) -> Result<(), BoxError> {
        Ok(self.batch_execute(SCHEMA).await?)
    }

    async fn purge(&mut self, older_than: Duration) -> Result<u64, BoxError> {
        let seconds = older_than.as_secs_f64();
        Ok(self.execute_typed(PURGE, &[(&seconds, Type::FLOAT8), (&PURGED_AT_ONCE, Type::INT8)]).await?)
    }
}

impl Held<Client> for Transaction<'_> {
    fn work(&mut self) -> &Transaction<'_> {
        self
    }

    async fn keep(&mut self, effect: &str, part: Part, answer: &Answer) -> Result<(), NotKept> {
        let (status, content_type) = (column(answer.status), answer.content_type.as_deref());
        let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
            (&effect, Type::VARCHAR),
            (&status, Type::INT2),
            (&content_type, Type::VARCHAR),
            (&answer.body, Type::BYTEA),
        ];
        match self.execute_typed(postgresql::keep(part), &values).await {
            Ok(1) => Ok(()),
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

impl sealed::Sealed for &Transaction<'_> {}

impl OwnTransaction for &Transaction<'_> {
    async fn write_row(self, row: &str) -> Result<bool, BoxError> {
        Ok(self.execute_typed(OWN, &[(&row, Type::VARCHAR)]).await? == 1)
    }
}

fn row(columns: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    let answer = |at: usize| Ok(kept(columns.try_get(at)?, columns.try_get(at + 1)?, columns.try_get(at + 2)?));
    Ok(Row { action: answer(0)?, completion: answer(3)?, compensation: answer(6)? })
}

fn failed(error: tokio_postgres::Error) -> NotLocked {
    let error = BoxError::from(error);
    if is_contended::<Client>(&error) { NotLocked::Contended } else { NotLocked::Failed(error) }
}
