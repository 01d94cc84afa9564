//! A resource that only takes steps, as the server needs it.

use super::{
    BranchId, Branches, Ended, Health, Heuristic, Loss, Mark, Pin, Recovered, Release, Resource, ResourceError, Room,
    StepId, StepState, Steps, TracedCall,
};
use crate::emitted::Emitted;
use crate::event_log::EventSource;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use undoubt_platform::{BackingUp, Store};
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Epoch, LowWaterMark, ParticipantName, Prepare, Refusal, RefusalCode, RunStep, Starts,
    StepOutcome, Timestamp, TraceContext, TxId, Vote, WriteNumber,
};

/// A resource without branches: every prepare is refused, so none is ever in doubt.
#[derive(Debug)]
pub struct StepsOnly<R>(pub R);

impl<R: Steps> Resource for StepsOnly<R> {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn recover(&self, owner: &ParticipantName) -> impl Future<Output = Result<Recovered, ResourceError>> + Send {
        self.0.recover(owner)
    }

    async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        self.0.record_epoch(coordinator, epoch, pin).await
    }

    async fn collect(&self, coordinator: CoordinatorId, over: LowWaterMark) -> Result<(), ResourceError> {
        self.0.collect(coordinator, over).await
    }

    async fn background(&self, stop: CancellationToken) -> Result<(), ResourceError> {
        self.0.background(stop).await
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    fn use_room(&self, room: Room) {
        self.0.use_room(room);
    }

    fn use_emitted(&self, emitted: Emitted) {
        self.0.use_emitted(emitted);
    }

    fn traced(&self, call: TracedCall<'_>, context: TraceContext) {
        self.0.traced(call, context);
    }

    fn number(&self) -> Option<WriteNumber> {
        self.0.number()
    }

    fn remember(&self, key: Bytes, value: Bytes) {
        self.0.remember(key, value);
    }

    async fn store_put_back(&self, why: String) -> Result<(), ResourceError> {
        self.0.store_put_back(why).await
    }

    async fn accept_loss(&self, loss: Loss, mark: u64) -> Result<Starts, ResourceError> {
        self.0.accept_loss(loss, mark).await
    }

    fn events(&self) -> Option<Arc<dyn EventSource>> {
        self.0.events()
    }

    fn audit_store(&self) -> Option<Arc<dyn Store>> {
        self.0.audit_store()
    }

    fn backup(&self, to: &Path) -> BackingUp {
        self.0.backup(to)
    }
}

impl<R: Steps> Steps for StepsOnly<R> {
    async fn act(
        &self,
        step: StepId,
        run: RunStep,
        cancelled: CancellationToken,
    ) -> Result<StepOutcome, ResourceError> {
        self.0.act(step, run, cancelled).await
    }

    async fn compensate(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        self.0.compensate(step, run).await
    }

    fn takes_open_sagas(&self) -> bool {
        self.0.takes_open_sagas()
    }

    async fn complete(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        self.0.complete(step, run).await
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        self.0.store_empty(step).await
    }

    async fn settle_step(&self, step: StepId) -> Result<Option<StepState>, ResourceError> {
        self.0.settle_step(step).await
    }

    fn recalls_results(&self) -> bool {
        self.0.recalls_results()
    }

    async fn result_of_step(&self, step: StepId) -> Result<Option<Bytes>, ResourceError> {
        self.0.result_of_step(step).await
    }

    async fn close_saga(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
    ) -> Result<(), ResourceError> {
        self.0.close_saga(coordinator, attempt_number, tx).await
    }

    async fn release_marks(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
        release: Release,
    ) -> Result<(), ResourceError> {
        self.0.release_marks(coordinator, attempt_number, tx, release).await
    }

    async fn marks(&self, after: Bytes, limit: usize) -> Result<Vec<Mark>, ResourceError> {
        self.0.marks(after, limit).await
    }
}

impl<R: Steps> Branches for StepsOnly<R> {
    fn can_prepare(&self) -> bool {
        false
    }

    fn takes_branches(&self) -> bool {
        false
    }

    async fn prepare(&self, _: BranchId, _: Prepare, _: CancellationToken) -> Result<Vote, ResourceError> {
        let kind = self.0.kind();
        let detail = format!("a resource of kind {kind} only takes the steps of sagas; submit a saga");
        Ok(Vote::Refused(Refusal::new(RefusalCode::InvalidWork, detail)))
    }

    async fn confirm(&self, _: BranchId) -> Result<bool, ResourceError> {
        Ok(false)
    }

    async fn commit(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        Err(never_prepared(&branch))
    }

    async fn abort(&self, _: BranchId) -> Result<Ended, ResourceError> {
        Ok(Ended::AsTold)
    }

    async fn resolve(&self, branch: BranchId, _: Heuristic) -> Result<Ended, ResourceError> {
        Err(never_prepared(&branch))
    }

    async fn store_heuristic(&self, branch: BranchId, _: Timestamp, _: Heuristic) -> Result<(), ResourceError> {
        Err(never_prepared(&branch))
    }

    async fn forget_heuristic(&self, _: BranchId) -> Result<(), ResourceError> {
        Ok(())
    }
}

fn never_prepared(branch: &BranchId) -> ResourceError {
    ResourceError::Stopped { cause: format!("{} is to end, and was never prepared here", branch.tx) }
}
