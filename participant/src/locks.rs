//! Waiting for locks, for adapters that lock by keys: the pure table, and who is to be woken when it grants.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use undoubt_lock::{Acquire, Age, LockTable, MAX_WAITERS, Mode};
use undoubt_vocabulary::{DigestMap, Refusal, RefusalCode, TxId};

/// The locks of one resource. Its mutex is held for a look at the table only, never across a wait or a write.
#[derive(Debug, Default)]
pub struct Locks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    table: LockTable,
    waiting: DigestMap<TxId, oneshot::Sender<()>>,
}

impl Locks {
    /// Returns once all of `wanted` is locked. A refusal leaves nothing locked. A wait ends at `timeout` or once
    /// `cancelled` (R12).
    pub async fn lock(
        &self,
        age: &Age,
        wanted: &BTreeMap<Bytes, Mode>,
        timeout: Duration,
        cancelled: &CancellationToken,
    ) -> Result<(), Refusal> {
        match self.ask(age, wanted)? {
            Some(granted) => self.wait(&age.tx, granted, timeout, cancelled).await,
            None => Ok(()),
        }
    }

    /// Waits for what [`Locks::ask`] did not grant at once.
    pub async fn wait(
        &self,
        tx: &TxId,
        granted: oneshot::Receiver<()>,
        timeout: Duration,
        cancelled: &CancellationToken,
    ) -> Result<(), Refusal> {
        // In this order, so that the same run ends the same way each time.
        let refusal = tokio::select! {
            biased;
            Ok(()) = granted => return Ok(()),
            () = cancelled.cancelled() => over(tx),
            () = tokio::time::sleep(timeout) => {
                let detail = format!("its locks were not free within {} ms; try again", timeout.as_millis());
                Refusal::new(RefusalCode::LockTimeout, detail)
            }
        };
        // The grant may have come at the last moment: then this frees what was granted.
        self.release(tx);
        Err(refusal)
    }

    /// Locks what a prepared branch held before a crash.
    ///
    /// # Panics
    /// If prepared branches contradict each other.
    pub fn lock_recovered(&self, age: &Age, wanted: &BTreeMap<Bytes, Mode>) {
        self.state().table.lock_recovered(age, wanted);
    }

    /// Notes that the decision about this transaction is known: whoever wants its locks may wait, whatever its age.
    pub fn leaving(&self, tx: &TxId) {
        self.state().table.leave(tx);
    }

    /// Frees all that this transaction has locked, and wakes those who go on.
    pub fn release(&self, tx: &TxId) {
        let mut state = self.state();
        state.waiting.remove(tx);
        for granted in state.table.release(tx) {
            if let Some(waiter) = state.waiting.remove(&granted) {
                // Who has just stopped waiting releases it again.
                let _ = waiter.send(());
            }
        }
    }

    /// Asks for locks without waiting. `None`: granted at once; else what [`Locks::wait`] takes.
    pub fn ask(&self, age: &Age, wanted: &BTreeMap<Bytes, Mode>) -> Result<Option<oneshot::Receiver<()>>, Refusal> {
        let mut state = self.state();
        if state.table.knows(&age.tx) {
            let detail =
                "another branch under this transaction id is not over here; use ids that are unique".to_owned();
            return Err(conflict(detail));
        }
        match state.table.acquire(age, wanted) {
            Acquire::Granted => Ok(None),
            Acquire::Waiting => {
                let (waiter, granted) = oneshot::channel();
                state.waiting.insert(age.tx.clone(), waiter);
                Ok(Some(granted))
            }
            Acquire::Refused { holder } => {
                Err(conflict(format!("the older transaction {holder} has a lock that this one needs; try again")))
            }
            Acquire::Crowded => {
                let detail =
                    format!("{MAX_WAITERS} transactions wait for locks already (MAX_WAITERS); try again later");
                Err(conflict(detail))
            }
        }
    }

    /// Returns the number of keys that are locked or waited for.
    pub fn locked_keys(&self) -> u64 {
        self.state().table.locked_keys() as u64
    }

    /// Returns the number of transactions that wait for locks.
    pub fn waiting(&self) -> u64 {
        self.state().table.waiters().count() as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It panics only where the table finds that two transactions hold one lock. Then nobody may be granted anything.
        self.0.lock().expect("the lock table is sound")
    }

    /// Returns true if nobody holds and nobody waits.
    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.table.is_idle() && state.waiting.is_empty()
    }
}

/// Returns the refusal of a transaction that was aborted before its work began (R11).
pub fn over(tx: &TxId) -> Refusal {
    Refusal::new(RefusalCode::Late, format!("{tx} was over before its work began"))
}

fn conflict(detail: String) -> Refusal {
    Refusal::new(RefusalCode::LockConflict, detail)
}
