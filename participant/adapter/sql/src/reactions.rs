//! The local transactions of subscriptions, over a table of rows in the database in which the work is done.
//!
//! The declared calls, the events, and how far the subscription has come are one transaction. A watermark moves from where it is alone, and
//! what ends with the transaction (a timer, a parked event) is there until then: so of two processes one is refused by the rows
//! themselves. These rows also tell what became of a transaction of which no answer came.

use crate::emits::Outgoing;
use crate::kept_store::Pair;
use crate::procedure::Procedures;
use crate::table_log::Outbox;
use crate::task::{Place, Task};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_lock::Age;
use undoubt_participant::locks::Locks;
use undoubt_participant::resource::ResourceError;
use undoubt_participant::subscription::{
    Carried, GIVEN_UP, GIVEN_UP_LIMIT, INBOX, InboxId, LocalTransaction, PARKED, REACTION, ReactionStore,
    StoredSubscriptions, TIMER, barrier_key, put_barrier, put_parked, put_place, read_barrier, read_timer,
    read_watermark, timer_keys, watermark_row,
};
use undoubt_platform::store::{Operation, Pauses};
use undoubt_platform::{Batch, Family};
use undoubt_stream::barrier::{Barrier, BarrierId, Written};
use undoubt_stream::expiry::Timer;
use undoubt_vocabulary::{ReactionName, Refusal, RefusalCode, TxId};

/// A watermark that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub inbox: InboxId,
    pub key: Bytes,
    /// The value of its row until then; `None`: there is no row, or an empty one.
    pub from: Option<Bytes>,
    pub to: Bytes,
}

/// The changes to the rows of subscriptions that one local transaction makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowChanges {
    /// Each fails unless its row is as it says.
    pub steps: Vec<Step>,
    pub put: Vec<Pair>,
    /// Keys with their families. Each fails if there is no such row.
    pub deleted: Vec<(Family, Bytes)>,
}

/// The end of a local transaction: what is written with the work.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct End {
    pub rows: RowChanges,
    pub events: Vec<Outgoing>,
}

/// What came of a local transaction in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    Committed,
    /// Nothing is left behind.
    Refused(Refusal),
    /// A row was not as it has to be. Nothing is left behind.
    Moved,
    /// It may have committed, or commit yet.
    Unclear,
}

/// The table of subscriptions, and the database that it is in.
pub trait ReactionTable: Send + Sync + 'static {
    fn procedures(&self) -> &Procedures;

    fn outbox(&self) -> &Outbox;

    fn locks(&self) -> &Locks;

    /// Returns rows of a family in the order of their keys: from this key on, and before another one.
    fn rows(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Bytes, Bytes)>, ResourceError>> + Send;

    /// Runs the calls of a task, and what `end` says by their results, in one transaction. `timeout`: the bound of a wait for locks.
    ///
    /// # Errors
    /// With [`ResourceError::Unavailable`] and [`ResourceError::NoRoom`] nothing was done.
    fn run(
        &self,
        tx: &TxId,
        task: &Task,
        timeout: Duration,
        end: impl FnOnce(Bytes) -> Result<End, Refusal> + Send,
    ) -> impl Future<Output = Result<Ran, ResourceError>> + Send;

    /// Returns once nothing takes effect any more of what was unclear. May be repeated.
    fn settle(&self) -> impl Future<Output = Result<(), ResourceError>> + Send;
}

/// A database, as subscriptions use it.
#[derive(Debug)]
pub struct TableReactions<T>(pub T);

impl<T: ReactionTable> ReactionStore for TableReactions<T> {
    fn stored(&self) -> BoxFuture<'_, Result<StoredSubscriptions, ResourceError>> {
        async {
            let inbox = self.0.rows(INBOX, b"", None, usize::MAX).await?;
            let parked = self.0.rows(PARKED, b"", None, usize::MAX).await?;
            let given_up = self.0.rows(GIVEN_UP, b"", None, GIVEN_UP_LIMIT).await?;
            StoredSubscriptions::read(inbox, parked, given_up)
        }
        .boxed()
    }

    fn barrier(&self, id: &BarrierId) -> BoxFuture<'_, Result<Option<Barrier>, ResourceError>> {
        let key = barrier_key(id);
        async move { self.row(REACTION, &key).await?.map(|value| read_barrier(&key, value)).transpose() }.boxed()
    }

    fn next_timer(&self, name: &ReactionName) -> BoxFuture<'_, Result<Option<(Timer, Bytes)>, ResourceError>> {
        let (name, (from, to)) = (name.clone(), timer_keys(name));
        async move {
            let first = self.0.rows(TIMER, &from, Some(&to), 1).await?.into_iter().next();
            first.map(|(key, value)| Ok((read_timer(&name, &key, value)?, key))).transpose()
        }
        .boxed()
    }

    fn carry_out(&self, transaction: LocalTransaction) -> BoxFuture<'_, Result<Carried, ResourceError>> {
        self.carried_out(transaction).boxed()
    }
}

impl<T: ReactionTable> TableReactions<T> {
    async fn row(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ResourceError> {
        let behind = [key, &[0]].concat();
        Ok(self.0.rows(family, key, Some(&behind), 1).await?.into_iter().next().map(|(_, value)| value))
    }

    /// Returns the value of a watermark's row, unless it is empty.
    async fn watermark(&self, step: &Step) -> Result<Option<Bytes>, ResourceError> {
        Ok(self.row(INBOX, &step.key).await?.filter(|value| !value.is_empty()))
    }

    async fn carried_out(&self, transaction: LocalTransaction) -> Result<Carried, ResourceError> {
        let task = match &transaction.work {
            None => Task::default(),
            Some(work) => match Task::read(work, Place::Branch, self.0.procedures(), &self.0.outbox().topics) {
                Ok(task) => task,
                Err(refusal) => return Ok(Carried::Refused(refusal)),
            },
        };
        let id = transaction.id.clone();
        let age = Age { begun_at: transaction.begun_at, tx: id.clone() };
        let locks = self.0.locks();
        if let Err(refusal) = locks.lock(&age, task.locks(), transaction.timeout, &CancellationToken::new()).await {
            return Ok(Carried::Refused(refusal));
        }
        locks.leaving(&id);
        let carried = self.under_locks(&task, transaction).await;
        // It is certain what became of it, or the process ends.
        locks.release(&id);
        carried
    }

    async fn under_locks(&self, task: &Task, transaction: LocalTransaction) -> Result<Carried, ResourceError> {
        let LocalTransaction { id, correlation, timeout, advances, place, timer, barrier, parked, then, .. } =
            transaction;
        let mut batch = Batch::default();
        place.iter().for_each(|place| put_place(&mut batch, place));
        timer.iter().for_each(|key| batch.delete(TIMER, key));
        parked.iter().for_each(|(subscription, change)| put_parked(&mut batch, subscription, change));
        let step = |(inbox, advance): &(InboxId, undoubt_stream::inbox::Advance)| {
            let (key, to) = watermark_row(inbox, advance.to);
            let from = advance.from.0.is_some().then(|| watermark_row(inbox, advance.from).1.into());
            Step { inbox: inbox.clone(), key: key.into(), from, to: to.into() }
        };
        let mut rows = RowChanges { steps: advances.iter().map(step).collect(), ..RowChanges::default() };
        rows.take(&batch);
        let before = rows.clone();
        let mut set = None;
        let end = |results: Bytes| {
            let mut events = task.events(Place::Branch, &results, self.0.outbox(), &correlation.0)?;
            let Written { barrier: written, events: emitted } = then(results).map_err(|unfit| Refusal::from(&unfit))?;
            events.extend(self.0.outbox().outgoing(emitted, &correlation.0)?);
            if let (Some(id), Some(written)) = (&barrier, &written) {
                let mut batch = Batch::default();
                put_barrier(&mut batch, id, written);
                rows.take(&batch);
            }
            set = written;
            Ok(End { rows, events })
        };
        let ran = self.0.run(&id, task, timeout, end).await?;
        let is_done = match ran {
            Ran::Committed => true,
            Ran::Refused(refusal) => return Ok(Carried::Refused(refusal)),
            Ran::Moved => return self.moved(&before).await,
            Ran::Unclear => match self.looked_at(&before).await? {
                Looked::Committed => true,
                Looked::Undone => false,
                Looked::Moved => return self.moved(&before).await,
            },
        };
        if is_done {
            self.0.outbox().committed();
            return Ok(Carried::Done { barrier: set, written: ready(Ok(())).boxed() });
        }
        let detail = "the database went away before it was written; it is tried again";
        Ok(Carried::Refused(Refusal::new(RefusalCode::Unavailable, detail)))
    }

    /// Returns which row somebody else has changed.
    async fn moved(&self, rows: &RowChanges) -> Result<Carried, ResourceError> {
        for step in &rows.steps {
            let stored = self.watermark(step).await?;
            if stored != step.from {
                let stored = stored.map(read_watermark).transpose()?.unwrap_or_default();
                return Ok(Carried::Moved { inbox: step.inbox.clone(), stored });
            }
        }
        let cause = "a timer or a parked event is not there any more that is to end: another process is at work on it";
        Err(ResourceError::Stopped { cause: cause.to_owned() })
    }

    /// Finds out what became of a transaction of which no answer came, as long as that takes.
    async fn looked_at(&self, rows: &RowChanges) -> Result<Looked, ResourceError> {
        let mut pauses = Pauses::default();
        loop {
            let look = async {
                self.0.settle().await?;
                if let Some(step) = rows.steps.first() {
                    let stored = self.watermark(step).await?;
                    return Ok(if stored == step.from {
                        Looked::Undone
                    } else if stored.unwrap_or_default() == step.to {
                        Looked::Committed
                    } else {
                        Looked::Moved
                    });
                }
                let Some((family, key)) = rows.deleted.first() else {
                    // It says how something stands, and may be said again.
                    return Ok(Looked::Undone);
                };
                let is_there = self.row(*family, key).await?.is_some();
                Ok(if is_there { Looked::Undone } else { Looked::Committed })
            };
            match look.await {
                Err(ResourceError::Unavailable { cause } | ResourceError::Unclear { cause }) => {
                    tracing::warn!(cause, "it is not known yet whether a reaction was written; it is looked at again");
                    pauses.pause().await;
                }
                looked => return looked,
            }
        }
    }
}

/// What became of a transaction of which no answer came.
enum Looked {
    Committed,
    Undone,
    Moved,
}

impl RowChanges {
    /// Takes the changes of a batch.
    fn take(&mut self, batch: &Batch) {
        for operation in batch.iter() {
            match operation {
                Operation::Put { family, key, value } => {
                    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                    self.put.push(Pair { family: family.0.to_owned(), key, value });
                }
                Operation::Delete { family, key } => self.deleted.push((family, Bytes::copy_from_slice(key))),
                Operation::DeleteRange { .. } => unreachable!("rows of subscriptions are not deleted in ranges"),
            }
        }
    }
}
