//! One face of each driver: how to connect, and what tests ask of a database.

use std::future::Future;

use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection, Row as _, SqliteConnection};
use tokio_postgres::NoTls;
use undoubt_barrier::{Connection, Failure, record};

/// A connection that tests work over.
pub trait Tested: Connection + Sized + 'static {
    /// The table in which handlers note that they were there.
    const NOTES: &str;

    /// What has a connection wait for a second, where the barrier leaves that to it.
    const PATIENCE: &str;

    fn open(url: &str) -> impl Future<Output = Self> + Send;

    /// Notes that a handler was there.
    fn note(work: Self::Work<'_>, effect: &str, operation: &str) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Runs a statement within a handler.
    fn act(work: Self::Work<'_>, statement: &str) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Runs statements, each in a transaction of its own unless they begin one.
    fn sql(&mut self, statements: &str) -> impl Future<Output = ()> + Send;

    /// Returns the first column of each row, which is a text.
    fn texts(&mut self, query: &'static str) -> impl Future<Output = Vec<String>> + Send;

    /// Commits a transaction of the service's own, if it may.
    fn own(&mut self, transaction: &str) -> impl Future<Output = bool> + Send;
}

const NOTE: &str = "INSERT INTO notes (effect, operation) VALUES ($1, $2)";
const SERIAL_NOTES: &str = "CREATE TABLE notes (id bigserial PRIMARY KEY, effect text, operation text)";

impl Tested for tokio_postgres::Client {
    const PATIENCE: &str = "SELECT 1";
    const NOTES: &str = SERIAL_NOTES;

    async fn open(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the database answers");
        // It ends with the client.
        tokio::spawn(async {
            let _ = connection.await;
        });
        client
    }

    async fn note(work: Self::Work<'_>, effect: &str, operation: &str) -> Result<(), Failure> {
        work.execute(NOTE, &[&effect, &operation]).await?;
        Ok(())
    }

    async fn act(work: Self::Work<'_>, statement: &str) -> Result<(), Failure> {
        Ok(work.batch_execute(statement).await?)
    }

    async fn sql(&mut self, statements: &str) {
        self.batch_execute(statements).await.expect(statements);
    }

    async fn texts(&mut self, query: &'static str) -> Vec<String> {
        self.query(query, &[]).await.expect(query).iter().map(|row| row.get(0)).collect()
    }

    async fn own(&mut self, transaction: &str) -> bool {
        let own = self.transaction().await.expect("it begins");
        let recorded = record(&own, transaction).await.is_ok();
        own.commit().await.expect("it commits");
        recorded
    }
}

macro_rules! over_sqlx {
    ($connection:ty, $patience:expr, $notes:expr, $note:expr) => {
        impl Tested for $connection {
            const PATIENCE: &str = $patience;
            const NOTES: &str = $notes;

            async fn open(url: &str) -> Self {
                Self::connect(url).await.expect("the database answers")
            }

            async fn note(work: Self::Work<'_>, effect: &str, operation: &str) -> Result<(), Failure> {
                sqlx::query($note).bind(effect).bind(operation).execute(work).await?;
                Ok(())
            }

            async fn act(work: Self::Work<'_>, statement: &str) -> Result<(), Failure> {
                work.execute(statement).await?;
                Ok(())
            }

            async fn sql(&mut self, statements: &str) {
                self.execute(statements).await.expect(statements);
            }

            async fn texts(&mut self, query: &'static str) -> Vec<String> {
                let rows = sqlx::query(query).fetch_all(self).await.expect(query);
                // Unchecked, because sqlx takes a text for bytes where a database compares texts by them.
                rows.iter().map(|row| row.get_unchecked(0)).collect()
            }

            async fn own(&mut self, transaction: &str) -> bool {
                let mut own = self.begin().await.expect("it begins");
                let recorded = record(&mut *own, transaction).await.is_ok();
                own.commit().await.expect("it commits");
                recorded
            }
        }
    };
}

over_sqlx!(PgConnection, "SELECT 1", SERIAL_NOTES, NOTE);
over_sqlx!(
    MySqlConnection,
    "SELECT 1",
    "CREATE TABLE notes (id bigint AUTO_INCREMENT PRIMARY KEY, effect varchar(512), operation varchar(20))",
    "INSERT INTO notes (effect, operation) VALUES (?, ?)"
);
over_sqlx!(
    SqliteConnection,
    "PRAGMA busy_timeout = 1000",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, effect TEXT, operation TEXT)",
    "INSERT INTO notes (effect, operation) VALUES (?, ?)"
);
