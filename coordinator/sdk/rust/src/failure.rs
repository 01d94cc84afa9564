use std::error::Error as StdError;

use crate::Answer;
use crate::answer::{failed, in_progress, refused};

/// An error of whatever kind.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A handler's word for: never.
///
/// Its changes are rolled back, the answer is 409, and of an action or a try each repetition gets the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    /// Refuses, and says why.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// A handler's word for: not now.
///
/// Its changes are rolled back, the answer is 425, and it is asked again a second later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InProgress(String);

impl InProgress {
    /// Puts it off, and says why.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// The reason why a handler did not do its work: [`Refused`], [`InProgress`], or any other error, by `?` or `into()`.
#[derive(Debug)]
pub struct Failure(BoxError);

impl Failure {
    /// Fails for a reason that `?` does not take, such as an `anyhow::Error` or a text.
    pub fn new(reason: impl Into<BoxError>) -> Self {
        Self(reason.into())
    }

    /// Returns the answer that it stands for; `None` if it is no answer.
    pub(crate) fn answer(&self) -> Option<Answer> {
        let refusal = self.0.downcast_ref().map(|Refused(why)| refused(why));
        refusal.or_else(|| self.0.downcast_ref().map(|InProgress(why)| in_progress(why)))
    }

    pub(crate) fn reason(self) -> BoxError {
        self.0
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Failure {
    fn from(reason: E) -> Self {
        Self(reason.into())
    }
}

/// The reason why a call has no answer. As an [`Answer`] it is 500, which says nothing about what was done, so that it is asked again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The handler failed.
    #[error("the handler failed, and everything was rolled back")]
    Failed(#[source] BoxError),
    /// The database failed before the commit.
    #[error("the database failed, and everything was rolled back")]
    Database(#[source] BoxError),
    /// The commit failed.
    #[error("the commit failed, and whether it happened is unknown until it is asked again")]
    Unclear(#[source] BoxError),
    /// The connection was in a transaction before.
    #[error(
        "a transaction is open on the connection already: commit it or roll it back before the barrier begins its own"
    )]
    Open,
    /// The transaction that the barrier began has ended in the handler.
    #[error(
        "the transaction has ended in the handler: it must neither commit, nor roll back, nor go on after a deadlock"
    )]
    Ended,
}

impl From<Error> for Answer {
    /// Returns 500. What failed is for the service's own log, not for whoever called.
    fn from(error: Error) -> Self {
        failed(&error.to_string())
    }
}

#[cfg(feature = "sqlx")]
impl From<sqlx::Error> for Error {
    /// Returns [`Error::Database`], for what a service does around the barrier, such as taking a connection from a pool.
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

#[cfg(feature = "tokio-postgres")]
impl From<tokio_postgres::Error> for Error {
    /// Returns [`Error::Database`], for what a service does around the barrier.
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// The reason why a service's own transaction could not be recorded. Roll it back.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It must not be committed.
    #[error("transaction {0} was recorded before, or somebody was told that it was not committed: roll back")]
    TooLate(String),
    /// The database failed.
    #[error("the database failed to record transaction {0}")]
    Database(String, #[source] BoxError),
}
