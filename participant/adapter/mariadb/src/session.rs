//! One session: a connection, and the server's thread behind it.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Column, Conn, Error, Row};
use std::sync::Arc;
use std::time::Duration;

/// The time in which the server has to answer what waits for no lock.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// The server's thread behind a session. Its number is used again for others after a restart; that with the address at the
/// client's end is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Backend {
    pub(crate) id: u64,
    pub(crate) from: String,
}

/// The answer to one statement.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) columns: Option<Arc<[Column]>>,
    pub(crate) rows: Vec<Row>,
    /// The number of rows that it has found, of a statement that returns none.
    pub(crate) affected: u64,
    /// True if it returned more bytes than were asked for; they are dropped.
    pub(crate) is_too_large: bool,
}

/// A statement as the server has parsed it.
#[derive(Debug)]
pub(crate) struct Described {
    /// The columns of its rows.
    pub(crate) columns: Arc<[Column]>,
    /// The places for parameters that it has.
    pub(crate) parameters: usize,
}

#[derive(Debug)]
pub(crate) struct Session {
    conn: Conn,
    pub(crate) backend: Backend,
    /// The number by which the server greeted the connection.
    pub(crate) greeted: u64,
    /// The number of its lease, if it has one.
    pub(crate) lease: Option<usize>,
    is_broken: bool,
}

impl Session {
    pub(crate) fn new(conn: Conn, backend: Backend) -> Session {
        let greeted = u64::from(conn.id());
        Session { conn, backend, greeted, lease: None, is_broken: false }
    }

    /// Returns true if nothing can be asked any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken || self.conn.is_disconnected()
    }

    /// Sends statements in one message, and returns the answers to all. After an error of one, those after it are not run. Only the
    /// last may return rows, else it is not certain which one an error is of. There is no bound to the time that it takes, and whoever gives it up has to end the session.
    pub(crate) async fn ask(&mut self, sql: &str, most_bytes: usize) -> Result<Vec<Answer>, Error> {
        let mut answers = Vec::new();
        // Until all has been read, nothing else may be asked.
        let was_broken = std::mem::replace(&mut self.is_broken, true);
        let asked = read(&mut self.conn, sql, most_bytes, &mut answers).await;
        self.is_broken = was_broken || asked.as_ref().is_err_and(Error::is_fatal);
        asked.map(|()| answers)
    }

    /// Sends statements that wait for no lock, and returns the answer to the last.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<Answer, Error> {
        match tokio::time::timeout(ANSWER_PATIENCE, self.ask(sql, usize::MAX)).await {
            Ok(answers) => Ok(answers?.pop().unwrap_or_default()),
            Err(_) => {
                let late = format!("nothing was answered for {} s", ANSWER_PATIENCE.as_secs());
                Err(Error::from(std::io::Error::new(std::io::ErrorKind::TimedOut, late)))
            }
        }
    }

    /// Returns the rows of a statement that waits for no lock.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        Ok(self.run(sql).await?.rows)
    }

    /// Has the server parse a statement without running it: that takes the tables, columns and rights that running it takes.
    pub(crate) async fn describe(&mut self, sql: &str) -> Result<Described, Error> {
        let statement = self.conn.prep(sql).await?;
        let described = Described { columns: statement.columns(), parameters: usize::from(statement.num_params()) };
        self.conn.close(statement).await?;
        Ok(described)
    }

    /// Ends the session in order.
    pub(crate) async fn close(self) {
        // It ends one way or another.
        let _ = tokio::time::timeout(ANSWER_PATIENCE, self.conn.disconnect()).await;
    }
}

async fn read(conn: &mut Conn, sql: &str, most_bytes: usize, answers: &mut Vec<Answer>) -> Result<(), Error> {
    let mut result = conn.query_iter(sql).await?;
    while let Some(columns) = result.columns() {
        let mut answer = Answer { affected: result.affected_rows(), ..Answer::default() };
        if columns.is_empty() {
            answers.push(answer);
            // Goes on to the next statement, whose error this may be.
            result.next().await?;
            continue;
        }
        let mut bytes = 0_usize;
        while let Some(row) = result.next().await? {
            bytes = bytes.saturating_add(size_of_row(&row));
            answer.is_too_large |= bytes > most_bytes;
            match answer.is_too_large {
                true => answer.rows.clear(),
                false => answer.rows.push(row),
            }
        }
        answers.push(Answer { columns: Some(columns), ..answer });
    }
    // The error of the statement after the last that was answered well is told here.
    result.drop_result().await
}

fn size_of_row(row: &Row) -> usize {
    let size = |place: usize| match row.as_ref(place) {
        Some(mysql_async::Value::Bytes(bytes)) => bytes.len(),
        Some(_) | None => 1,
    };
    (0..row.len()).map(size).sum()
}
