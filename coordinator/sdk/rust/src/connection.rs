use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use crate::rules::{Part, Row};
use crate::{Answer, BoxError};

/// Why a row was not locked.
#[derive(Debug)]
pub enum NotLocked {
    /// Somebody else had it for too long.
    Contended,
    /// The connection is in a transaction.
    Open,
    /// The database failed.
    Failed(BoxError),
}

/// Why an answer was not kept.
#[derive(Debug)]
pub enum NotKept {
    /// The transaction in which the row was locked has ended.
    Ended,
    /// The database failed.
    Failed(BoxError),
}

/// A connection to a database that a [`Barrier`](crate::Barrier) can work over.
///
/// It is implemented for the connections of the drivers whose features are on, and for nothing else.
pub trait Connection: sealed::Sealed + Send {
    /// What a handler changes the database with: the connection within the barrier's transaction.
    type Work<'t>: Send;
    /// A transaction that has locked a row. Dropping it rolls back.
    #[doc(hidden)]
    type Held<'c>: Held<Self>
    where
        Self: 'c;

    /// Begins a transaction and locks the row of an effect, which is made if it is absent.
    #[doc(hidden)]
    fn lock<'c>(
        &'c mut self,
        effect: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<(Self::Held<'c>, Row), NotLocked>> + Send;

    /// Returns whether this very error says: the database rolled it back for the sake of another transaction.
    #[doc(hidden)]
    fn is_contention(error: &(dyn StdError + 'static)) -> bool;

    /// Makes the table, if it is absent.
    #[doc(hidden)]
    fn create_table(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Deletes rows that were last touched before, but not more than some, and returns how many.
    #[doc(hidden)]
    fn purge(&mut self, older_than: Duration) -> impl Future<Output = Result<u64, BoxError>> + Send;
}

/// A transaction that has locked a row.
#[doc(hidden)]
pub trait Held<C: Connection + ?Sized>: Send {
    fn work(&mut self) -> C::Work<'_>;

    /// Puts an answer into the row, if the transaction is still the one that has locked it.
    fn keep(&mut self, effect: &str, part: Part, answer: &Answer) -> impl Future<Output = Result<(), NotKept>> + Send;

    fn commit(self) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Rolls back. Where the connection is broken, the server does it by itself.
    fn roll_back(self) -> impl Future<Output = ()> + Send;
}

/// An open transaction of a service's own.
///
/// It is implemented for what a driver makes changes with, and for nothing else.
pub trait OwnTransaction: sealed::Sealed + Send {
    /// Writes the row of the transaction. Returns false if it was there.
    #[doc(hidden)]
    fn write_row(self, row: &str) -> impl Future<Output = Result<bool, BoxError>> + Send;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// Returns whether any of an error's causes says that the database rolled back for the sake of another transaction.
pub(crate) fn is_contended<C: Connection>(error: &BoxError) -> bool {
    let first: &(dyn StdError + 'static) = &**error;
    std::iter::successors(Some(first), |&error| error.source()).any(C::is_contention)
}
