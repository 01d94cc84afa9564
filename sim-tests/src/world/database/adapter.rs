//! The resource over the stand-in database.
//!
//! A branch is a transaction of the database, prepared by it; a row that was written within it proves that it committed. What the
//! participant keeps besides stands in tables of the same database. An error that the server tells is certain. One that ends the
//! session is not: the session is ended, and only then the database is looked at.

mod background;
mod branch;
mod ending;
mod local;
mod record;
mod recovery;
mod sessions;
mod step;

use super::rows::{Gid, marks};
use crate::plan::Mutant;
use crate::world::net::Network;
use crate::world::shared_state::Shared;
use bytes::Bytes;
use sessions::{Sessions, Worker};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{
    BranchId, Branches, Ended, Health, Heuristic, Mark, Pin, Recovered, Release, Resource, ResourceError, Room, StepId,
    StepState, Steps,
};
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Epoch, LowWaterMark, ParticipantName, Prepare, RunStep, StepOutcome, Timestamp, TxId,
    Vote,
};

/// A participant's way to the database with its number.
#[derive(Debug)]
pub(in crate::world) struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    sessions: Sessions,
    branches: Mutex<BTreeMap<BranchId, Known>>,
    room: OnceLock<Room>,
}

/// A branch that is not over, as far as is known here.
#[derive(Debug)]
enum Known {
    /// It is prepared under this name, or was to be.
    Prepared(Gid),
    /// It has read, in a transaction that is still open.
    Reading(Box<Worker>),
}

impl Database {
    pub(in crate::world) fn new(shared: Arc<Shared>, network: Network, number: u8) -> Database {
        let sessions = Sessions::new(shared.clone(), network, number);
        Database(Arc::new(Inner { shared, sessions, branches: Mutex::default(), room: OnceLock::new() }))
    }

    /// Runs a call in a task of its own: a session has to be brought to an end, whatever becomes of who asked.
    async fn own_task<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, ResourceError>> + Send + 'static,
    ) -> Result<T, ResourceError> {
        match tokio::spawn(call).await {
            Ok(done) => done,
            Err(ended) => Err(ResourceError::Unclear { cause: format!("the task of the call ended early: {ended}") }),
        }
    }
}

impl Inner {
    fn mutates(&self, mutant: Mutant) -> bool {
        self.shared.mutates(mutant)
    }

    fn largest_result(&self) -> usize {
        self.room.get_or_init(Room::default).largest()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<BranchId, Known>> {
        // Nothing between taking and freeing it can panic.
        self.branches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gid(&self, branch: &BranchId) -> Option<Gid> {
        match self.known().get(branch)? {
            Known::Prepared(gid) => Some(gid.clone()),
            Known::Reading(_) => None,
        }
    }

    /// Takes away the reader of this branch, if it is one.
    fn take_reader(&self, branch: &BranchId) -> Option<Box<Worker>> {
        let mut known = self.known();
        match known.remove(branch)? {
            Known::Reading(worker) => Some(worker),
            prepared @ Known::Prepared(_) => {
                known.insert(branch.clone(), prepared);
                None
            }
        }
    }
}

impl Resource for Database {
    fn kind(&self) -> &'static str {
        "stand-in"
    }

    async fn recover(&self, _owner: &ParticipantName) -> Result<Recovered, ResourceError> {
        recovery::recover(&self.0).await
    }

    async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        record::record_epoch(&self.0, coordinator, epoch, pin).await
    }

    async fn collect(&self, coordinator: CoordinatorId, over: LowWaterMark) -> Result<(), ResourceError> {
        record::collect(&self.0, coordinator, over).await
    }

    async fn background(&self, stop: CancellationToken) -> Result<(), ResourceError> {
        background::run(&self.0, stop).await
    }

    fn health(&self) -> Health {
        Health { refuses_work: self.0.sessions.away(), ..Health::default() }
    }

    fn use_room(&self, room: Room) {
        // Called once.
        let _ = self.0.room.set(room);
    }
}

impl Steps for Database {
    async fn act(
        &self,
        step: StepId,
        run: RunStep,
        cancelled: CancellationToken,
    ) -> Result<StepOutcome, ResourceError> {
        let inner = self.0.clone();
        self.own_task(async move { step::act(&inner, &step, &run, &cancelled).await }).await
    }

    async fn compensate(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        let inner = self.0.clone();
        self.own_task(async move { step::compensate(&inner, &step, &run).await }).await
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        step::store_empty(&self.0, &step).await
    }

    async fn settle_step(&self, step: StepId) -> Result<Option<StepState>, ResourceError> {
        step::settle(&self.0, &step).await
    }

    fn recalls_results(&self) -> bool {
        true
    }

    async fn result_of_step(&self, step: StepId) -> Result<Option<Bytes>, ResourceError> {
        record::table(&self.0).await?.result_of_step(&step)
    }

    async fn close_saga(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
    ) -> Result<(), ResourceError> {
        record::close_saga(&self.0, coordinator, attempt_number, &tx, None).await
    }

    async fn release_marks(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
        release: Release,
    ) -> Result<(), ResourceError> {
        record::close_saga(&self.0, coordinator, attempt_number, &tx, Some(release)).await
    }

    async fn marks(&self, after: Bytes, limit: usize) -> Result<Vec<Mark>, ResourceError> {
        let tables = record::tables(&self.0).await?;
        let mut found: Vec<Mark> = marks(&tables).filter(|mark| mark.key > after).collect();
        // Steps of one saga may have marked a key together; it is listed once.
        found.dedup_by(|one, other| one.key == other.key);
        found.truncate(limit);
        Ok(found)
    }
}

impl Branches for Database {
    fn others_can_commit(&self) -> bool {
        true
    }

    async fn prepare(
        &self,
        branch: BranchId,
        prepare: Prepare,
        cancelled: CancellationToken,
    ) -> Result<Vote, ResourceError> {
        let inner = self.0.clone();
        self.own_task(async move { branch::prepare(&inner, &branch, &prepare, &cancelled).await }).await
    }

    async fn confirm(&self, branch: BranchId) -> Result<bool, ResourceError> {
        Ok(ending::confirm(&self.0, &branch).await)
    }

    async fn commit(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        ending::commit(&self.0, &branch).await
    }

    async fn abort(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        ending::abort(&self.0, &branch).await
    }

    async fn resolve(&self, branch: BranchId, heuristic: Heuristic) -> Result<Ended, ResourceError> {
        ending::resolve(&self.0, &branch, heuristic).await
    }

    async fn store_heuristic(
        &self,
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    ) -> Result<(), ResourceError> {
        record::put_heuristic(&self.0, &branch, begun_at, heuristic).await
    }

    async fn forget_heuristic(&self, branch: BranchId) -> Result<(), ResourceError> {
        record::forget_heuristic(&self.0, &branch).await
    }

    async fn settle(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        ending::settle(&self.0, &branch).await
    }

    async fn result_of(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        record::table(&self.0).await?.result_of(&branch)
    }
}
