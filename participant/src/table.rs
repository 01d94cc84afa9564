//! The transaction table: what an adapter has to keep of transactions beside its resource, over a store of its own.
//!
//! | family | what is kept | until |
//! | --- | --- | --- |
//! | `coordinator` | the highest epoch, the low-water mark with what is still open below it, and the pinned key of each coordinator | for good |
//! | `branch` | prepared branches, with what the adapter needs to commit them | they end |
//! | `finished` | what branches came to | they are over |
//! | `heuristic` | how operators, or unknown hands, have ended branches | an operator forgets it |
//! | `step` | barriers of sagas' steps | they are over |
//! | `audit` | who did what: the server's, see `undoubt_platform::audit` | it is old, or there is too much |
//! | `meta` | whose store this is; its starts, and losses that were accepted | for good |
//!
//! Most methods add to a [`Batch`], which the adapter writes with its own data: so what belongs together is stored together
//! (the promise of [`crate::resource`]). An adapter whose data are in another store writes them with the intent, and finishes
//! it in [`Resource::recover`](crate::resource::Resource::recover).

mod kept_log;
mod record;
mod recovery;
mod schema;

use crate::resource::{
    BranchId, Heuristic, Loss, Pin, PreparedBranch, Recovered, RecoveredLog, ResourceError, StepId, StepState,
};
use bytes::Bytes;
use kept_log::KeptLog;
use prost::Message;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use undoubt_platform::{Batch, Durability, NumberedStore, Store, identity, numbered_store};
use undoubt_proto::record::{self as stored, StepBarrier};
use undoubt_vocabulary::{
    AttemptNumber, BranchOutcome, CoordinatorId, Epoch, LowWaterMark, ParticipantName, Starts, Timestamp, WriteNumber,
};

pub use record::Unreadable;
pub use recovery::{state_of, successor, unreadable};
pub use schema::{AUDIT, BRANCH, COORDINATOR, FINISHED, HEURISTIC, META, STEP};
pub use undoubt_proto::record::step_barrier::State as Barrier;

/// The memory that adapters keep of transactions. The [module](self) says what is where.
pub struct TransactionTable {
    store: Arc<dyn Store>,
    /// The log of a table whose writes are numbered.
    log: Option<KeptLog>,
    /// The coordinators; locked while one is stored, so that of two calls under way none stores the lower epoch or mark
    /// over the higher.
    coordinators: Mutex<BTreeMap<CoordinatorId, Known>>,
}

/// The knowledge of a coordinator.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The highest seen.
    epoch: Epoch,
    low_water_mark: LowWaterMark,
    /// The attempts of which all that was kept has been dropped since the start, or its drop is queued: the next ranges
    /// leave them out. Ranges that all began at the first attempt number would have to be told apart by the store again
    /// and again.
    collected: LowWaterMark,
    /// The one that replaces all others, with the epoch that it was recorded with.
    pin: Option<(Epoch, Pin)>,
}

impl std::fmt::Debug for TransactionTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionTable").finish_non_exhaustive()
    }
}

/// What is to be dropped.
#[derive(Clone, Debug)]
pub struct Passed {
    /// All that is over.
    pub low_water_mark: LowWaterMark,
    /// The attempts whose records are dropped now, in rising order.
    pub attempt_numbers: Vec<Range<AttemptNumber>>,
    /// True unless nothing is still open below the low-water mark, and nothing was.
    stores_still_open: bool,
}

impl From<LowWaterMark> for Passed {
    /// Drops all that is over, whether it was dropped before or not.
    fn from(low_water_mark: LowWaterMark) -> Self {
        let attempt_numbers = low_water_mark.since(&LowWaterMark::default());
        Passed { low_water_mark, attempt_numbers, stores_still_open: true }
    }
}

/// The identity of the table, and its log.
impl TransactionTable {
    /// Returns a table over a store that was opened with the families of this module, and does not number its writes.
    pub fn new(store: Arc<dyn Store>) -> TransactionTable {
        TransactionTable { store, log: None, coordinators: Mutex::default() }
    }

    /// Returns a table over a store that numbers its writes, and whose start has begun.
    pub fn numbered(store: Arc<NumberedStore>, known: numbered_store::Known) -> TransactionTable {
        TransactionTable { log: Some(KeptLog { store: store.clone(), known }), ..TransactionTable::new(store) }
    }

    /// Refuses every owner but the first, whose name it remembers.
    pub async fn claim(&self, owner: &ParticipantName) -> Result<(), ResourceError> {
        match identity::stored_owner(self.store.as_ref(), META)? {
            Some(found) if found == owner.as_str() => Ok(()),
            Some(found) => Err(ResourceError::Foreign {
                cause: format!("it belongs to the participant '{found}', not to '{owner}'"),
            }),
            None => {
                let mut batch = Batch::default();
                identity::put_owner(&mut batch, META, owner.as_str());
                Ok(self.store.write(batch, Durability::Forced).await?)
            }
        }
    }

    /// Does what [`Resource::number`](crate::resource::Resource::number) promises.
    pub fn number(&self) -> Option<WriteNumber> {
        self.log.as_ref().map(|log| log.store.stable())
    }

    /// Does what [`Resource::remember`](crate::resource::Resource::remember) promises.
    pub fn remember(&self, key: &[u8], value: Bytes) {
        if let Some(log) = &self.log {
            log.store.remember(key, value);
        }
    }

    /// Returns once all that is remembered is on stable storage.
    pub async fn store_remembered(&self) -> Result<(), ResourceError> {
        Ok(self.log()?.store.store_remembered().await?)
    }

    /// Returns what the store tells of its log: for a recovery that reads all else elsewhere.
    pub fn recovered_log(&self) -> Result<RecoveredLog, ResourceError> {
        self.log()?.recovered()
    }

    /// Does what [`Resource::store_put_back`](crate::resource::Resource::store_put_back) promises.
    pub async fn store_put_back(&self, why: &str) -> Result<(), ResourceError> {
        Ok(self.log()?.store.note_put_back(why).await?)
    }

    /// Does what [`Resource::accept_loss`](crate::resource::Resource::accept_loss) promises.
    pub async fn accept_loss(&self, loss: Loss, mark: u64) -> Result<Starts, ResourceError> {
        self.log()?.accept_loss(loss, mark).await
    }

    /// Does what [`Resource::audit_store`](crate::resource::Resource::audit_store) promises.
    pub fn audit_store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Reads all that survived. Each prepared branch, and each barrier, is handed to the adapter as it is stored, with the
    /// fields that are its own. A record that cannot be read stops it; nothing is skipped (R8).
    pub fn recover(
        &self,
        each_prepared: impl FnMut(&PreparedBranch, Bytes) -> Result<(), Unreadable>,
        each_step: impl FnMut(&StepId, &StepBarrier),
    ) -> Result<Recovered, ResourceError> {
        let log = self.log.as_ref().map(KeptLog::recovered).transpose()?;
        Ok(Recovered { log, ..recovery::recover(self, each_prepared, each_step)? })
    }

    fn log(&self) -> Result<&KeptLog, ResourceError> {
        let cause = || ResourceError::Unavailable { cause: "its writes are not numbered".to_owned() };
        self.log.as_ref().ok_or_else(cause)
    }
}

/// Coordinators: epochs, and low-water marks of attempts.
impl TransactionTable {
    /// Does what [`Resource::record_epoch`](crate::resource::Resource::record_epoch) promises.
    pub async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        let known = self.note(coordinator, epoch, &LowWaterMark::default(), pin.map(|pin| (epoch, pin)));
        let mut batch = Batch::default();
        record::put_epoch(&mut batch, coordinator, known.epoch);
        if let Some(pin) = known.pin {
            record::put_pin(&mut batch, coordinator, pin);
        }
        Ok(self.store.write(batch, Durability::Forced).await?)
    }

    /// Returns what is to be dropped now: what is over by this low-water mark, or was by another.
    pub fn begin_to_collect(&self, coordinator: CoordinatorId, low_water_mark: &LowWaterMark) -> Passed {
        let mut all = self.coordinators();
        let known = all.entry(coordinator).or_default();
        let had_open = !known.low_water_mark.still_open().is_empty();
        known.low_water_mark = known.low_water_mark.and(low_water_mark);
        let before = std::mem::replace(&mut known.collected, known.low_water_mark.clone());
        let stores_still_open = had_open || !known.low_water_mark.still_open().is_empty();
        let attempt_numbers = known.collected.since(&before);
        Passed { low_water_mark: known.low_water_mark.clone(), attempt_numbers, stores_still_open }
    }

    /// Adds what is over, and drops what was kept to recognise that.
    pub fn put_collected(&self, batch: &mut Batch, coordinator: CoordinatorId, passed: &Passed) {
        record::put_low_water_mark(batch, coordinator, passed.low_water_mark.below());
        if passed.stores_still_open {
            record::put_still_open(batch, coordinator, passed.low_water_mark.still_open());
        }
        for attempt_numbers in &passed.attempt_numbers {
            record::delete_finished(batch, coordinator, attempt_numbers.clone());
            record::delete_steps(batch, coordinator, attempt_numbers.clone());
        }
    }

    /// Notes that what was to be dropped has not been.
    pub fn note_not_collected(&self, coordinator: CoordinatorId, passed: &Passed) {
        self.note_stored(passed.attempt_numbers.iter().map(|attempts| (coordinator, attempts.start)));
    }

    /// Notes that there are records of attempts under these numbers now, or still. What was over by then belongs to the
    /// next ranges.
    pub fn note_stored(&self, attempts: impl IntoIterator<Item = (CoordinatorId, AttemptNumber)>) {
        let mut attempts = attempts.into_iter().peekable();
        if attempts.peek().is_none() {
            return;
        }
        let mut all = self.coordinators();
        for (coordinator, attempt_number) in attempts {
            if let Some(known) = all.get_mut(&coordinator)
                && known.collected.is_over(attempt_number)
            {
                known.collected = known.collected.up_to(attempt_number);
            }
        }
    }

    /// Notes what was seen of a coordinator, and returns all that is known.
    fn note(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        low_water_mark: &LowWaterMark,
        pin: Option<(Epoch, Pin)>,
    ) -> Known {
        let mut all = self.coordinators();
        let known = all.entry(coordinator).or_default();
        known.epoch = epoch.max(known.epoch);
        known.low_water_mark = known.low_water_mark.and(low_water_mark);
        if let Some((at, pin)) = pin
            && known.pin.as_ref().is_none_or(|before| pin.replaces(at, before))
        {
            known.pin = Some((at, pin));
        }
        known.clone()
    }

    fn coordinators(&self) -> MutexGuard<'_, BTreeMap<CoordinatorId, Known>> {
        // Nothing between taking and freeing it can panic.
        self.coordinators.lock().expect("the map of coordinators is whole")
    }
}

/// Branches.
impl TransactionTable {
    /// Adds the record of a prepared branch. `own` is what the adapter needs to commit it and to lock it again, in fields that
    /// begin at 16.
    pub fn put_prepared(
        &self,
        batch: &mut Batch,
        branch: &BranchId,
        begun_at: Timestamp,
        result: Bytes,
        own: &impl Message,
    ) {
        let record = stored::PreparedBranch {
            attempt_number: branch.attempt_number.0,
            coordinator_id: Bytes::copy_from_slice(&branch.coordinator.0),
            begun_at_us: begun_at.0,
            result,
        };
        record::put_prepared(batch, &branch.tx, &record, own);
    }

    /// Returns the record of a prepared branch as it is stored, with the fields that are the adapter's own.
    pub fn prepared(&self, branch: &BranchId) -> Result<Option<Bytes>, ResourceError> {
        Ok(self.store.get(BRANCH, branch.tx.as_bytes())?)
    }

    pub fn delete_prepared(&self, batch: &mut Batch, branch: &BranchId) {
        record::delete_prepared(batch, branch);
    }

    /// Adds what a branch came to; the result matters for one that committed in one phase.
    pub fn put_finished(&self, batch: &mut Batch, branch: &BranchId, outcome: BranchOutcome, result: Bytes) {
        record::put_finished(batch, branch, outcome, result);
    }

    /// Returns the result that is stored of a branch that is over.
    pub fn result_of(&self, branch: &BranchId) -> Result<Option<Bytes>, ResourceError> {
        Ok(self.finished(branch)?.map(|(_, result)| result))
    }

    /// Returns what is stored of a branch that is over, with its result.
    pub fn finished(&self, branch: &BranchId) -> Result<Option<(BranchOutcome, Bytes)>, ResourceError> {
        recovery::finished(self, branch)
    }

    /// Adds a heuristic outcome, in place of the record of the prepared branch.
    pub fn put_heuristic(&self, batch: &mut Batch, branch: &BranchId, begun_at: Timestamp, heuristic: Heuristic) {
        record::delete_prepared(batch, branch);
        record::put_heuristic(batch, branch, begun_at, heuristic);
    }

    /// Drops a heuristic outcome, if one is stored of this very attempt. Returns whether there is something to write.
    pub fn delete_heuristic(&self, batch: &mut Batch, branch: &BranchId) -> Result<bool, ResourceError> {
        let is_stored = recovery::has_heuristic(self, branch)?;
        if is_stored {
            record::delete_heuristic(batch, branch);
        }
        Ok(is_stored)
    }
}

/// Steps of sagas.
impl TransactionTable {
    /// Adds a step's barrier. `pending` are the keys on which its action leaves semantic locks.
    pub fn put_step(&self, batch: &mut Batch, step: &StepId, state: Barrier, result: Bytes, pending: Vec<Bytes>) {
        self.put_barrier(batch, step, &StepBarrier { state: state.into(), result, pending, released: None });
    }

    /// Adds a barrier in the place of one that was [read](Self::barrier).
    pub fn put_barrier(&self, batch: &mut Batch, step: &StepId, barrier: &StepBarrier) {
        record::put_barrier(batch, step, barrier);
    }

    /// Drops a step's barrier: what was attempted has not happened.
    pub fn delete_step(&self, batch: &mut Batch, step: &StepId) {
        record::delete_step(batch, step);
    }

    /// Returns the barrier that is stored of a step.
    pub fn barrier(&self, step: &StepId) -> Result<Option<(Barrier, StepBarrier)>, ResourceError> {
        recovery::barrier(self, step)
    }

    /// Returns what is stored of a step.
    pub fn state_of_step(&self, step: &StepId) -> Result<Option<StepState>, ResourceError> {
        Ok(self.barrier(step)?.map(|(state, barrier)| state_of(state, barrier.result, !barrier.pending.is_empty())))
    }

    /// Returns the result that is stored of an action in effect.
    pub fn result_of_step(&self, step: &StepId) -> Result<Option<Bytes>, ResourceError> {
        Ok(match self.barrier(step)? {
            Some((Barrier::Acted, barrier)) => Some(barrier.result),
            Some((
                Barrier::Compensated | Barrier::Completed | Barrier::Empty | Barrier::Attempted | Barrier::Unspecified,
                _,
            ))
            | None => None,
        })
    }
}
