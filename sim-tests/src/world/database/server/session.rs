//! One session, from its first request to its end.
//!
//! It takes one request after the other, and learns that its client is gone only when it looks for the next: what was sent before
//! is still done. Only who waits, for a request or a lock, is ended from outside.

use super::engine::{Backend, Engine, Writes};
use super::locks::{Asked, Key, Number};
use crate::plan::Host;
use crate::world::database::rows::{DATA, Saga, marks_on};
use crate::world::database::wire::{Answer, Expected, Failure, Line, Request, SessionId};
use crate::world::shared_state::Cut;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use undoubt_kv_evaluation::{Operation, Tell, evaluate};
use undoubt_lock::Mode;
use undoubt_platform::store::Contents;
use undoubt_platform::{Batch, Operation as Change};
use undoubt_vocabulary::{Refusal, RefusalCode};
use undoubt_work::text::shown;

/// The longest wait for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_millis(700);

/// The time for which one session waits for the end of another.
const TERMINATION_PATIENCE: Duration = Duration::from_millis(1_500);

pub(super) async fn serve(engine: Arc<Engine>, mut line: Line) {
    let (id, backend) = engine.connected();
    let mut session = Session { engine: engine.clone(), id, backend, transaction: None };
    // Who is not there to hear it says nothing either.
    let _ = line.answer(Answer::Welcome(id)).await;
    session.converse(&mut line).await;
    session.roll_back();
    engine.disconnected(id);
}

struct Session {
    engine: Arc<Engine>,
    id: SessionId,
    backend: Backend,
    transaction: Option<Transaction>,
}

#[derive(Default)]
struct Transaction {
    number: Number,
    writes: Writes,
    has_failed: bool,
}

/// The session is to end.
struct Ended;

impl Session {
    async fn converse(&mut self, line: &mut Line) {
        let told_to_end = self.backend.told_to_end.clone();
        loop {
            let request = tokio::select! {
                biased;
                () = told_to_end.cancelled() => return,
                request = line.request() => request,
            };
            let Some(request) = request else { return };
            self.engine.spoke(self.id);
            let cut = self.cut();
            match cut {
                Cut::None | Cut::After => {}
                Cut::Before => return,
                Cut::Late { by_ms } => {
                    line.hang_up().await;
                    tokio::select! {
                        biased;
                        () = told_to_end.cancelled() => return,
                        () = sleep(Duration::from_millis(by_ms)) => {}
                    }
                }
            }
            let Ok(answer) = self.take(request).await else { return };
            if cut == Cut::After {
                return;
            }
            // Who has gone does not hear it; what was sent is done all the same.
            let _ = line.answer(answer).await;
        }
    }

    fn cut(&self) -> Cut {
        match self.engine.host {
            Host::Database(number) => self.engine.shared.cut(Host::Participant(number)),
            Host::Coordinator
            | Host::Standby
            | Host::Participant(_)
            | Host::Service(_)
            | Host::Client(_)
            | Host::Reader(_) => Cut::None,
        }
    }

    async fn take(&mut self, request: Request) -> Result<Answer, Ended> {
        let engine = self.engine.clone();
        Ok(match request {
            Request::Begin => {
                self.roll_back();
                self.transaction = Some(Transaction { number: engine.next_number(), ..Transaction::default() });
                Answer::Done
            }
            Request::Lock(keys) => {
                let locked = self.lock_all(keys.into_iter().map(|(key, mode)| ((DATA, key), mode)).collect()).await?;
                self.answer(locked.map(|()| Answer::Done))
            }
            Request::Unmarked { keys, own } => {
                let unmarked = self.unmarked(&keys, own.as_ref());
                self.answer(unmarked)
            }
            Request::Work { operations, tell, most_bytes } => {
                let worked = self.work(&operations, tell, most_bytes);
                self.answer(worked)
            }
            Request::Rows { batch, expected } => {
                let keys = batch.iter().filter_map(|change| Some((put_key(&change)?, Mode::Exclusive))).collect();
                let put = self.lock_all(keys).await?.and_then(|()| self.put(&batch, expected));
                self.answer(put)
            }
            Request::Commit => match self.transaction.take() {
                Some(Transaction { number, writes, has_failed: false }) => {
                    let committed = engine.commit(number, writes).await;
                    engine.locks.release(number);
                    committed.map_or_else(Answer::Failed, |()| Answer::Done)
                }
                ended => self.rolled_back(ended),
            },
            Request::Rollback => {
                let ended = self.transaction.take();
                self.rolled_back(ended)
            }
            Request::Prepare(gid) => match self.transaction.take() {
                Some(Transaction { number, writes, has_failed: false }) => {
                    match engine.prepare(number, writes, gid).await {
                        Ok(()) => Answer::Done,
                        Err(failure) => {
                            engine.locks.release(number);
                            Answer::Failed(failure)
                        }
                    }
                }
                ended => self.rolled_back(ended),
            },
            Request::CommitPrepared(gid) => engine.end(&gid, true).await.map_or_else(Answer::Failed, |()| Answer::Done),
            Request::RollbackPrepared(gid) => {
                engine.end(&gid, false).await.map_or_else(Answer::Failed, |()| Answer::Done)
            }
            Request::Prepared => Answer::Prepared(engine.prepared()),
            Request::Tables => Answer::Tables(engine.committed()),
            Request::Write(batch) => engine.write_rows(&batch).await.map_or_else(Answer::Failed, |()| Answer::Done),
            Request::TakeOwnership => Answer::Owner(engine.take_ownership(self.id)),
            Request::TakeLease => Answer::Yes(engine.take_lease(self.id)),
            Request::TakeAllLeases => Answer::Yes(engine.take_all_leases(self.id)),
            Request::FreeLeases => {
                engine.free_leases(self.id);
                Answer::Done
            }
            Request::Leaseholders => Answer::Sessions(engine.leaseholders(self.id)),
            Request::Terminate(session) => Answer::Yes(match engine.session(session) {
                None => true,
                Some(other) => {
                    other.told_to_end.cancel();
                    timeout(TERMINATION_PATIENCE, other.ended.cancelled()).await.is_ok()
                }
            }),
            Request::CallOff(session) => {
                if let Some(other) = engine.session(session) {
                    other.called_off.notify_waiters();
                }
                Answer::Done
            }
        })
    }

    /// Notes that an error has ended the transaction.
    fn answer(&mut self, outcome: Result<Answer, Failure>) -> Answer {
        outcome.unwrap_or_else(|failure| {
            if let Some(transaction) = &mut self.transaction {
                transaction.has_failed = true;
                // Its locks are free from then on.
                transaction.writes.clear();
                self.engine.locks.release(transaction.number);
            }
            Answer::Failed(failure)
        })
    }

    fn sound(&mut self) -> Result<&mut Transaction, Failure> {
        self.transaction.as_mut().filter(|transaction| !transaction.has_failed).ok_or(Failure::InFailedTransaction)
    }

    async fn lock_all(&mut self, keys: Vec<(Key, Mode)>) -> Result<Result<(), Failure>, Ended> {
        for (key, mode) in keys {
            if let Err(failure) = self.lock(&key, mode).await? {
                return Ok(Err(failure));
            }
        }
        Ok(Ok(()))
    }

    async fn lock(&mut self, key: &Key, mode: Mode) -> Result<Result<(), Failure>, Ended> {
        let number = match self.sound() {
            Ok(transaction) => transaction.number,
            Err(failure) => return Ok(Err(failure)),
        };
        let granted = match self.engine.locks.ask(number, key, mode) {
            Asked::Granted => return Ok(Ok(())),
            Asked::Deadlock => return Ok(Err(Failure::Deadlock)),
            Asked::Waits(granted) => granted,
        };
        let failure = tokio::select! {
            biased;
            () = self.backend.told_to_end.cancelled() => return Err(Ended),
            _ = granted => return Ok(Ok(())),
            () = self.backend.called_off.notified() => Failure::CalledOff,
            () = sleep(LOCK_TIMEOUT) => Failure::LockTimeout,
        };
        self.engine.locks.forget(number, key);
        Ok(Err(failure))
    }

    /// The keys are locked.
    fn unmarked(&mut self, keys: &[Bytes], own: Option<&Saga>) -> Result<Answer, Failure> {
        self.sound()?;
        let tables: Contents = self.engine.committed();
        for key in keys {
            let stranger = marks_on(&tables, key).find(|mark| own != Some(&Saga::from(&mark.by)));
            if let Some(mark) = stranger {
                let (key, tx) = (shown(key), mark.by.tx);
                let detail = format!("key {key} is pending: the saga {tx} has touched it and is not over");
                return Err(Failure::Refused(Refusal::new(RefusalCode::Pending, detail)));
            }
        }
        Ok(Answer::Done)
    }

    /// The keys are locked.
    fn work(&mut self, operations: &[Operation], tell: Tell, most_bytes: usize) -> Result<Answer, Failure> {
        let engine = self.engine.clone();
        let transaction = self.sound()?;
        let mut read_bytes = 0;
        let evaluated = evaluate(operations, tell, |key| {
            let own = transaction.writes.get(&(DATA, Bytes::copy_from_slice(key)));
            let value = own.cloned().unwrap_or_else(|| engine.value(DATA, key));
            read_bytes += value.as_ref().map_or(0, Bytes::len);
            value
        });
        if read_bytes > most_bytes {
            return Err(Failure::TooLarge);
        }
        let evaluation = evaluated.map_err(Failure::Refused)?;
        let writes = evaluation.writes.into_iter().map(|(key, value)| ((DATA, key), value));
        transaction.writes.extend(writes);
        Ok(Answer::Values(evaluation.results))
    }

    /// The rows that are put are locked.
    fn put(&mut self, batch: &Batch, expected: Expected) -> Result<Answer, Failure> {
        let engine = self.engine.clone();
        let transaction = self.sound()?;
        for change in batch.iter() {
            match change {
                Change::Put { family, key, value } => {
                    let is_there = engine.value(family, key).is_some();
                    if is_there != (expected == Expected::Present) {
                        return Err(Failure::NotAsExpected);
                    }
                    let value = Some(Bytes::copy_from_slice(value));
                    transaction.writes.insert((family, Bytes::copy_from_slice(key)), value);
                }
                Change::Delete { family, key } => {
                    transaction.writes.insert((family, Bytes::copy_from_slice(key)), None);
                }
                // Nobody asks for it within a transaction.
                Change::DeleteRange { .. } => return Err(Failure::NotAsExpected),
            }
        }
        Ok(Answer::Done)
    }

    fn roll_back(&mut self) {
        let ended = self.transaction.take();
        self.rolled_back(ended);
    }

    fn rolled_back(&self, ended: Option<Transaction>) -> Answer {
        if let Some(transaction) = ended {
            self.engine.locks.release(transaction.number);
        }
        Answer::RolledBack
    }
}

fn put_key(change: &Change<'_>) -> Option<Key> {
    match change {
        Change::Put { family, key, .. } => Some((*family, Bytes::copy_from_slice(key))),
        Change::Delete { .. } | Change::DeleteRange { .. } => None,
    }
}
