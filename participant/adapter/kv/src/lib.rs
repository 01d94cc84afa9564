//! A key-value store as a resource.
//!
//! Everything is in one store: data, votes, what branches came to, and the barriers of sagas' steps. So each change is
//! one batch, and there is no second record to reconcile (R2). Locks are in memory; a prepared branch's record says
//! what to lock again.
//!
//! | change | one write | forced |
//! | --- | --- | --- |
//! | prepare | the branch's record | yes |
//! | commit | its data, its record goes, what it came to | yes |
//! | one-phase | its data, what it came to with its result | yes |
//! | abort | its record goes | no: presumed again |
//! | action | its data, its barrier, its marks of what is pending | yes |
//! | compensation | its data, its barrier, its marks go | yes |
//! | close, release | the saga's marks go, also from its barriers | yes |
//! | resolve | its data if committed, its record goes, the heuristic record | yes |
//!
//! Locks are freed only after the write is answered, so who gets them next reads what was written. A write that was
//! answered with an error other than "not applied" leaves the locks as they are: the process stops (R8), and nobody may
//! act on what is not certain.
//!
//! What work comes to is in [`evaluation`](undoubt_kv_evaluation), as pure functions.

mod attempt;
mod commit;
mod marks;
mod prepare;
mod publish;
mod react;
mod record;
mod recovery;
mod schema;
mod step;
pub mod work;
mod write_bound;

use bytes::Bytes;
use marks::Marks;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use tokio_util::sync::CancellationToken;
use undoubt_participant::emitted::Emitted;
use undoubt_participant::event_log::{EventLog, EventSource, OpenError, Topics};
use undoubt_participant::locks::Locks;
use undoubt_participant::resource::{
    BranchId, Branches, Cancellations, Committing, Ended, Health, Heuristic, Loss, Mark, Pin, Preparing, Recovered,
    Release, Resource, ResourceError, Room, StepId, StepState, Steps,
};
use undoubt_participant::room::SMALL_BYTES;
use undoubt_participant::subscription::{ReactionStore, Rows};
use undoubt_participant::table::{Passed, TransactionTable};
use undoubt_platform::numbered_store;
use undoubt_platform::{BackingUp, Batch, Clock, Durability, NumberedStore, Store, StoreError};
use undoubt_proto::record::{StoredEvent, Write};
use undoubt_stream::declarations::Declarations;
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, DigestMap, Epoch, Incarnation, LowWaterMark, ParticipantName, Prepare, Refusal,
    RefusalCode, RunStep, Starts, StepOutcome, Timestamp, TxId, Vote, WriteNumber,
};

use react::Reactions;
use write_bound::Writing;

pub use schema::{FAMILIES, META};
pub use undoubt_lock::LIMITS as LOCK_LIMITS;

/// Branches that share a write are written once they have this many bytes of keys and values; what is left makes the next. Fewer
/// where the store takes smaller batches.
const MAX_GROUP_BYTES: usize = 1 << 20;

/// The bytes of keys and records that a write has beside data and results, at most: also one that ends later what is begun now.
const BESIDE_BYTES: usize = 4 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyValueOptions {
    /// The room on the device, in bytes, below which work that writes is refused, so that what is prepared can still be
    /// committed (R9).
    pub min_free_bytes: u64,
}

impl Default for KeyValueOptions {
    fn default() -> Self {
        KeyValueOptions { min_free_bytes: 64 << 20 }
    }
}

/// A key-value store that votes. Its work and results are the operations and values of `work.proto`.
pub struct KeyValue {
    store: Arc<dyn Store>,
    table: TransactionTable,
    options: KeyValueOptions,
    room: OnceLock<Room>,
    writing: Writing,
    log: Option<Arc<EventLog>>,
    emitted: OnceLock<Emitted>,
    subscriptions: Rows,
    locks: Locks,
    marks: Marks,
    /// The branches that have voted and are not over, by their transaction.
    branches: Mutex<DigestMap<TxId, Arc<Branch>>>,
}

/// A branch that has voted.
#[derive(Clone, Debug)]
struct Branch {
    id: BranchId,
    begun_at: Timestamp,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    ReadOnly,
    /// `None`: it is large, and read back from the branch's record when it is needed.
    Prepared {
        effects: Option<Arc<Effects>>,
        bytes: usize,
    },
}

/// What a branch does when it commits.
#[derive(Clone, Debug, Default)]
struct Effects {
    writes: Vec<Write>,
    events: Vec<StoredEvent>,
}

impl Stage {
    fn prepared(effects: Effects) -> Stage {
        let length = |write: &Write| write.key.len() + write.value.as_ref().map_or(0, Bytes::len);
        let bytes = effects.writes.iter().map(length).sum::<usize>() + publish::bytes_of(&effects.events);
        Stage::Prepared { effects: (bytes <= SMALL_BYTES).then(|| effects.into()), bytes }
    }
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValue").field("options", &self.options).finish_non_exhaustive()
    }
}

impl KeyValue {
    /// Returns the reason why no work that writes is taken, if there is too little room for it (R9).
    fn lack_of_room(&self) -> Result<Option<String>, StoreError> {
        Ok(self.store.room()?.lack(self.options.min_free_bytes))
    }

    /// Returns the bytes with which branches that share a write are written. One more branch still fits into the same batch.
    fn max_group_bytes(&self) -> usize {
        MAX_GROUP_BYTES.min(self.store.max_batch_bytes() / 2)
    }

    /// Refuses a branch or a step that brings so many bytes, if a write cannot hold it: nothing of it is ever cut (R13). What
    /// commits or undoes its record later holds no more.
    fn refuse_too_large(&self, bytes: usize) -> Result<(), Refusal> {
        let max = self.store.max_batch_bytes().saturating_sub(self.max_group_bytes() + BESIDE_BYTES);
        if bytes <= max {
            return Ok(());
        }
        let detail = format!(
            "its writes and results have {bytes} bytes together, more than the {max} that are stored at once here; split it"
        );
        Err(Refusal::new(RefusalCode::TooLarge, detail))
    }

    /// Returns a key-value store over a store that was opened with [`FAMILIES`], and whose start has begun.
    pub fn numbered(store: NumberedStore, known: numbered_store::Known, options: KeyValueOptions) -> Self {
        let store = Arc::new(store);
        KeyValue { table: TransactionTable::numbered(store.clone(), known), ..KeyValue::new(store, options) }
    }

    /// Returns one that does not number its writes, over a store that was opened with [`FAMILIES`].
    pub fn new(store: Arc<dyn Store>, options: KeyValueOptions) -> Self {
        KeyValue {
            table: TransactionTable::new(store.clone()),
            store,
            options,
            room: OnceLock::new(),
            writing: Writing::default(),
            log: None,
            emitted: OnceLock::new(),
            subscriptions: Rows::default(),
            locks: Locks::default(),
            marks: Marks::default(),
            branches: Mutex::default(),
        }
    }

    /// Publishes the events of work to the topics that are declared, in a log in the same store. `incarnation` is drawn anew for each start.
    pub fn publishing(
        self,
        declarations: &Declarations,
        incarnation: Incarnation,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let topics = Topics::declared(declarations)?;
        let log = EventLog::open(self.store.clone(), topics, incarnation, clock)?;
        Ok(KeyValue { log: Some(Arc::new(log)), ..self })
    }

    fn branches(&self) -> MutexGuard<'_, DigestMap<TxId, Arc<Branch>>> {
        // Nothing between taking and freeing it can panic.
        self.branches.lock().expect("the map of branches is whole")
    }

    /// Returns this very attempt, if it has voted and is not over.
    fn branch(&self, id: &BranchId) -> Option<Arc<Branch>> {
        self.branches().get(&id.tx).filter(|known| known.id == *id).cloned()
    }

    /// Takes a branch away that is over: its locks are free.
    fn leave(&self, branch: &BranchId) {
        self.branches().remove(&branch.tx);
        self.locks.release(&branch.tx);
    }

    fn room(&self) -> &Room {
        self.room.get_or_init(Room::default)
    }

    /// Queues the batch before it returns, however much waits there already: for what is small. What is awaited is only the
    /// answer.
    fn write(&self, batch: Batch, durability: Durability) -> impl Future<Output = Result<(), ResourceError>> + use<> {
        let written = self.store.write(batch, durability);
        async move { Ok(written.await?) }
    }
}

/// Returns the write that drops what a low-water mark has passed.
fn collection(
    kv: &KeyValue,
    coordinator: CoordinatorId,
    passed: &Passed,
    marks: &[(StepId, BTreeSet<Bytes>)],
) -> Result<Batch, ResourceError> {
    let mut batch = Batch::default();
    kv.table.put_collected(&mut batch, coordinator, passed);
    marks::delete_passed(kv, &mut batch, marks)?;
    Ok(batch)
}

impl Resource for KeyValue {
    fn kind(&self) -> &'static str {
        "kv"
    }

    async fn recover(&self, owner: &ParticipantName) -> Result<Recovered, ResourceError> {
        self.table.claim(owner).await?;
        recovery::recover(self)
    }

    async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        self.table.record_epoch(coordinator, epoch, pin).await
    }

    async fn collect(&self, coordinator: CoordinatorId, over: LowWaterMark) -> Result<(), ResourceError> {
        let passed = self.table.begin_to_collect(coordinator, &over);
        let marks = self.marks.take_over(coordinator, &passed.low_water_mark);
        let written = match collection(self, coordinator, &passed, &marks) {
            Ok(batch) => self.write(batch, Durability::Lazy).await,
            Err(error) => Err(error),
        };
        if written.is_err() {
            self.table.note_not_collected(coordinator, &passed);
            self.marks.put_back(marks);
        }
        written
    }

    fn health(&self) -> Health {
        let min_free_bytes = self.options.min_free_bytes;
        let (refuses_work, free_bytes) = match self.store.room() {
            Ok(room) => (room.lack(min_free_bytes), room.bytes),
            Err(error) => (Some(error.to_string()), None),
        };
        let little = free_bytes.filter(|free| refuses_work.is_none() && *free < min_free_bytes.saturating_mul(2));
        let warning = little.map(|free| {
            format!(
                "{free} bytes are free on the device that holds the data, and with less than min_free_bytes = {min_free_bytes} no work \
                 that writes is taken; free some space"
            )
        });
        let mut numbers = vec![
            ("locked_keys", self.locks.locked_keys()),
            ("transactions_waiting_for_locks", self.locks.waiting()),
            ("marked_keys", self.marks.keys()),
        ];
        numbers.extend(free_bytes.map(|bytes| ("free_bytes", bytes)));
        Health { refuses_work, warnings: warning.into_iter().collect(), numbers }
    }

    fn use_room(&self, room: Room) {
        // Called once.
        let _ = self.room.set(room);
    }

    fn use_emitted(&self, emitted: Emitted) {
        // Called once.
        let _ = self.emitted.set(emitted);
    }

    fn number(&self) -> Option<WriteNumber> {
        self.table.number()
    }

    fn events(&self) -> Option<Arc<dyn EventSource>> {
        self.log.clone().map(|log| log as Arc<dyn EventSource>)
    }

    fn reactions(self: &Arc<Self>) -> Option<Arc<dyn ReactionStore>> {
        Some(Arc::new(Reactions(self.clone())))
    }

    fn audit_store(&self) -> Option<Arc<dyn Store>> {
        Some(self.table.audit_store())
    }

    fn remember(&self, key: Bytes, value: Bytes) {
        self.table.remember(&key, value);
    }

    async fn store_put_back(&self, why: String) -> Result<(), ResourceError> {
        self.table.store_put_back(&why).await
    }

    async fn accept_loss(&self, loss: Loss, mark: u64) -> Result<Starts, ResourceError> {
        self.table.accept_loss(loss, mark).await
    }

    fn backup(&self, to: &Path) -> BackingUp {
        self.store.backup(to)
    }
}

impl Steps for KeyValue {
    async fn act(
        &self,
        step: StepId,
        run: RunStep,
        cancelled: CancellationToken,
    ) -> Result<StepOutcome, ResourceError> {
        step::act(self, &step, run, cancelled).await
    }

    async fn compensate(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        step::compensate(self, &step, run).await
    }

    fn takes_open_sagas(&self) -> bool {
        true
    }

    async fn complete(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        step::complete(self, &step, run).await
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        step::store_empty(self, &step).await
    }

    async fn settle_step(&self, step: StepId) -> Result<Option<StepState>, ResourceError> {
        self.table.state_of_step(&step)
    }

    fn recalls_results(&self) -> bool {
        true
    }

    async fn result_of_step(&self, step: StepId) -> Result<Option<Bytes>, ResourceError> {
        self.table.result_of_step(&step)
    }

    async fn close_saga(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
    ) -> Result<(), ResourceError> {
        marks::close_saga(self, coordinator, attempt_number, &tx, None).await
    }

    async fn release_marks(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
        release: Release,
    ) -> Result<(), ResourceError> {
        marks::close_saga(self, coordinator, attempt_number, &tx, Some(release)).await
    }

    async fn marks(&self, after: Bytes, limit: usize) -> Result<Vec<Mark>, ResourceError> {
        marks::list(self, &after, limit)
    }
}

impl Branches for KeyValue {
    async fn prepare(
        &self,
        branch: BranchId,
        prepare: Prepare,
        cancelled: CancellationToken,
    ) -> Result<Vote, ResourceError> {
        prepare::prepare(self, &branch, &prepare, &cancelled).await
    }

    fn prepare_all(
        self: &Arc<Self>,
        calls: Vec<(BranchId, Prepare)>,
        cancellations: &mut Cancellations,
    ) -> Vec<Preparing> {
        prepare::prepare_all(self, calls, cancellations)
    }

    async fn confirm(&self, branch: BranchId) -> Result<bool, ResourceError> {
        let reads = self.branch(&branch).is_some_and(|known| matches!(known.stage, Stage::ReadOnly));
        // What is prepared is never let go without a decision, whoever asks for it.
        if reads {
            self.leave(&branch);
        }
        Ok(reads)
    }

    async fn commit(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        commit::commit(self, &branch).await?;
        Ok(Ended::AsTold)
    }

    fn commit_all(self: &Arc<Self>, branches: Vec<BranchId>) -> Vec<Committing> {
        commit::commit_all(self, branches)
    }

    async fn abort(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        match self.branch(&branch).map(|known| known.stage.clone()) {
            // The table keeps only those of the finished that have committed.
            None if self.table.result_of(&branch)?.is_some() => return Ok(Ended::Gone),
            None => {}
            Some(Stage::ReadOnly) => self.leave(&branch),
            Some(Stage::Prepared { .. }) => {
                self.locks.leaving(&branch.tx);
                let mut batch = Batch::default();
                self.table.delete_prepared(&mut batch, &branch);
                self.write(batch, Durability::Lazy).await?;
                self.leave(&branch);
            }
        }
        Ok(Ended::AsTold)
    }

    async fn resolve(&self, branch: BranchId, heuristic: Heuristic) -> Result<Ended, ResourceError> {
        let Some(known) = self.branch(&branch) else { return Ok(Ended::AsTold) };
        let Stage::Prepared { .. } = &known.stage else { return Ok(Ended::AsTold) };
        let mut batch = Batch::default();
        let effects = if heuristic.commit { commit::effects_of(self, &known)? } else { Arc::default() };
        record::put_data(&mut batch, &effects.writes);
        self.table.put_heuristic(&mut batch, &branch, known.begun_at, heuristic);
        self.publish_in_turn(batch, effects.events.clone()).await?;
        self.leave(&branch);
        Ok(Ended::AsTold)
    }

    async fn store_heuristic(
        &self,
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    ) -> Result<(), ResourceError> {
        let mut batch = Batch::default();
        self.table.put_heuristic(&mut batch, &branch, begun_at, heuristic);
        self.write(batch, Durability::Forced).await
    }

    async fn forget_heuristic(&self, branch: BranchId) -> Result<(), ResourceError> {
        let mut batch = Batch::default();
        if !self.table.delete_heuristic(&mut batch, &branch)? {
            return Ok(());
        }
        self.write(batch, Durability::Forced).await
    }

    async fn settle(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        self.table.result_of(&branch)
    }

    async fn result_of(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        self.table.result_of(&branch)
    }
}

#[cfg(test)]
mod tests;
