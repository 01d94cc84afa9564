use std::time::Duration;

use crate::answer::in_progress;
use crate::call::own_row;
use crate::connection::{Connection, Held, NotKept, NotLocked, OwnTransaction, is_contended};
use crate::rules::{Decision, Ending, Part, decide, settle};
use crate::{Answer, BoxError, Call, Error, Failure, Operation, RecordError};

const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// A week: the time for which rows are kept where nothing else is said.
pub const A_WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const NOT_HAD: &str = "another call with this effect is under way";
const ROLLED_BACK: &str = "the database rolled it back for the sake of another transaction";

/// A barrier before a service's handlers, which has each call of a participant done once or not at all.
///
/// It keeps the answer to a call in a row of its effect, in the very transaction in which the handler works.
#[derive(Debug, Clone, Copy)]
#[must_use = "a barrier does nothing but by its calls"]
pub struct Barrier {
    lock_timeout: Duration,
    always: bool,
}

impl Default for Barrier {
    fn default() -> Self {
        Self::new()
    }
}

impl Barrier {
    /// Returns a barrier that waits up to 5 s for another call with the same effect.
    pub const fn new() -> Self {
        Self { lock_timeout: LOCK_TIMEOUT, always: false }
    }

    /// Waits for another call with the same effect for so long, then answers 425.
    ///
    /// MariaDB counts whole seconds, and MySQL does not wait at all. PostgreSQL has it for all locks of the transaction. SQLite waits for
    /// as long as the connection's `busy_timeout` says, which is 5 s unless it is set.
    pub const fn lock_timeout(self, lock_timeout: Duration) -> Self {
        Self { lock_timeout, ..self }
    }

    /// Runs a compensation though no action was heard: for steps that joined an open saga without one.
    pub const fn always(self) -> Self {
        Self { always: true, ..self }
    }

    /// Does what is asked once, and returns the answer: the one that the call got before, or the one of `work`.
    ///
    /// `work` runs in the transaction in which its answer is kept, so it neither commits nor rolls back. An answer of 2xx commits its
    /// changes; any other answer, [`Refused`](crate::Refused), [`InProgress`](crate::InProgress) and each other error roll them back. An
    /// error of the database that says "another transaction was preferred" is answered with 425, wherever among the causes it is.
    ///
    /// Dropping the future rolls back, unless the commit is under way.
    ///
    /// # Errors
    ///
    /// Where `work` failed, or the database did: see [`Error`]. Answer with 500, as an [`Answer`] made of it is.
    pub async fn run<C, W>(&self, connection: &mut C, call: &Call, work: W) -> Result<Answer, Error>
    where
        C: Connection,
        W: for<'t> AsyncFnOnce(C::Work<'t>) -> Result<Answer, Failure>,
    {
        match self.carry_out(connection, call, work).await {
            Ok(answer) => Ok(answer),
            Err(Stopped::Contended(why)) => Ok(in_progress(why)),
            Err(Stopped::Failed(error)) => Err(error),
        }
    }

    /// Answers a check-back: whether the service's own transaction was committed. If it was not, it cannot be any more.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn check_back<C: Connection>(&self, connection: &mut C, call: &Call) -> Result<Answer, Error> {
        if call.operation != Operation::CheckBack {
            return Ok(Answer::not_done_here(call.operation));
        }
        self.run(connection, call, async |_| Ok(Answer::done())).await
    }

    /// Makes the barrier's table, if it is absent.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn create_table(&self, connection: &mut impl Connection) -> Result<(), Error> {
        connection.create_table().await.map_err(Error::Database)
    }

    /// Deletes rows that were last touched before so long ([`A_WEEK`], say), a thousand at once, and returns how many.
    ///
    /// Keep them for longer than the coordinator's `retention_s`, and than transactions may stay open.
    ///
    /// # Errors
    ///
    /// The database's. Some may be deleted.
    pub async fn purge(&self, connection: &mut impl Connection, older_than: Duration) -> Result<u64, Error> {
        let mut purged = 0;
        loop {
            match connection.purge(older_than).await.map_err(Error::Database)? {
                0 => return Ok(purged),
                some => purged += some,
            }
        }
    }

    async fn carry_out<C, W>(&self, connection: &mut C, call: &Call, work: W) -> Result<Answer, Stopped>
    where
        C: Connection,
        W: for<'t> AsyncFnOnce(C::Work<'t>) -> Result<Answer, Failure>,
    {
        let (effect, operation) = (call.row(), call.operation);
        let part = Part::of(operation);
        let (mut held, row) = connection.lock(&effect, self.lock_timeout).await?;
        let (held, answer) = match decide(row, operation, self.always) {
            Decision::Answer(answer) => {
                held.roll_back().await;
                return Ok(answer);
            }
            Decision::Keep(answer) => (held, answer),
            Decision::Run => {
                let worked = work(held.work()).await;
                match worked.or_else(|failure| answer_of::<C>(failure)) {
                    Err(stopped) => {
                        held.roll_back().await;
                        return Err(stopped);
                    }
                    Ok(answer) => match settle(operation, &answer) {
                        Ending::Commit => (held, answer),
                        Ending::RollBack => {
                            held.roll_back().await;
                            return Ok(answer);
                        }
                        Ending::KeepRefusal => {
                            // The changes go, and the lock with them: another call may come between.
                            held.roll_back().await;
                            let (held, row) = connection.lock(&effect, self.lock_timeout).await?;
                            match decide(row, operation, self.always) {
                                Decision::Run => (held, answer),
                                Decision::Keep(answer) => (held, answer),
                                Decision::Answer(answer) => {
                                    held.roll_back().await;
                                    return Ok(answer);
                                }
                            }
                        }
                    },
                }
            }
        };
        keep_and_commit::<C>(held, &effect, part, &answer).await?;
        Ok(answer)
    }
}

/// Writes, within an open transaction of the service's own, that it is committed if it is: what a check-back is answered by.
///
/// `transaction` is the id of the saga, as the coordinator knows it.
///
/// # Errors
///
/// [`RecordError::TooLate`] if it must not be committed any more.
pub async fn record(own: impl OwnTransaction, transaction: &str) -> Result<(), RecordError> {
    let failed = |error| RecordError::Database(transaction.to_owned(), error);
    match own.write_row(&own_row(transaction)).await.map_err(failed)? {
        true => Ok(()),
        false => Err(RecordError::TooLate(transaction.to_owned())),
    }
}

/// Why a call got no answer by its row or its handler. Nothing of it was done, unless it is [`Error::Unclear`].
enum Stopped {
    Contended(&'static str),
    Failed(Error),
}

impl From<NotLocked> for Stopped {
    fn from(why: NotLocked) -> Self {
        match why {
            NotLocked::Contended => Self::Contended(NOT_HAD),
            NotLocked::Open => Self::Failed(Error::Open),
            NotLocked::Failed(error) => Self::Failed(Error::Database(error)),
        }
    }
}

/// Returns the answer that a handler's failure stands for.
fn answer_of<C: Connection>(failure: Failure) -> Result<Answer, Stopped> {
    match failure.answer() {
        Some(answer) => Ok(answer),
        None => Err(contended_or::<C>(failure.reason(), Error::Failed)),
    }
}

fn contended_or<C: Connection>(error: BoxError, failed: fn(BoxError) -> Error) -> Stopped {
    match is_contended::<C>(&error) {
        true => Stopped::Contended(ROLLED_BACK),
        false => Stopped::Failed(failed(error)),
    }
}

async fn keep_and_commit<C: Connection>(
    mut held: C::Held<'_>,
    effect: &str,
    part: Part,
    answer: &Answer,
) -> Result<(), Stopped> {
    if let Err(not_kept) = held.keep(effect, part, answer).await {
        held.roll_back().await;
        return Err(match not_kept {
            NotKept::Ended => Stopped::Failed(Error::Ended),
            NotKept::Failed(error) => contended_or::<C>(error, Error::Database),
        });
    }
    held.commit().await.map_err(|error| Stopped::Failed(Error::Unclear(error)))
}
