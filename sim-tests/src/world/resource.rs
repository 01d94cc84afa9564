//! The participant's resource, with somebody who watches what becomes of each branch.

use super::mutant::Mutant;
use super::shared::Shared;
use crate::plan::Host;
use crate::trace::{BranchState, Event};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{BranchId, Heuristic, Recovered, ResourceError, ResourceManager};
use undoubt_vocabulary::{CoordinatorId, Epoch, Execution, Prepare, Ticket, Vote};

#[derive(Debug)]
pub(super) struct Observed<R> {
    resource: R,
    shared: Arc<Shared>,
    host: Host,
}

impl<R> Observed<R> {
    pub(super) fn new(resource: R, shared: Arc<Shared>, host: Host) -> Observed<R> {
        Observed { resource, shared, host }
    }

    fn note(&self, branch: &BranchId, state: BranchState) {
        if self.shared.process(self.host).is_dead() {
            return;
        }
        self.shared.recorder.record(self.host, Event::Branch { tx: branch.tx.to_string(), state });
    }
}

impl<R: ResourceManager> ResourceManager for Observed<R> {
    fn kind(&self) -> &'static str {
        self.resource.kind()
    }

    fn refusing_work_because(&self) -> Option<String> {
        self.resource.refusing_work_because()
    }

    async fn recover(&self) -> Result<Recovered, ResourceError> {
        let recovered = self.resource.recover().await?;
        for (branch, ..) in &recovered.prepared {
            self.note(branch, BranchState::Prepared);
        }
        Ok(recovered)
    }

    async fn record_epoch(&self, coordinator: CoordinatorId, epoch: Epoch) -> Result<(), ResourceError> {
        self.resource.record_epoch(coordinator, epoch).await
    }

    async fn prepare(
        &self,
        branch: BranchId,
        prepare: Prepare,
        cancelled: CancellationToken,
    ) -> Result<Vote, ResourceError> {
        self.note(&branch, BranchState::Executing);
        self.shared.reach(self.host, "executing");
        let two_phase = prepare.execution == Execution::TwoPhase;
        let vote = self.resource.prepare(branch.clone(), prepare, cancelled).await?;
        let state = match &vote {
            Vote::Prepared { .. } => BranchState::Prepared,
            Vote::ReadOnly { .. } if two_phase => BranchState::ReadOnly,
            Vote::ReadOnly { .. } | Vote::Committed { .. } | Vote::Refused(_) => BranchState::Over,
        };
        self.note(&branch, state);
        if self.shared.mutates(Mutant::CommitsAtPrepare) && state == BranchState::Prepared {
            self.resource.commit(branch).await?;
        } else if self.shared.mutates(Mutant::ReadLocksFreedAtVote) && state == BranchState::ReadOnly {
            self.resource.release(branch).await?;
        }
        Ok(vote)
    }

    async fn commit(&self, branch: BranchId) -> Result<(), ResourceError> {
        self.note(&branch, BranchState::Committing);
        self.resource.commit(branch.clone()).await?;
        self.note(&branch, BranchState::Over);
        Ok(())
    }

    async fn abort(&self, branch: BranchId) -> Result<(), ResourceError> {
        self.note(&branch, BranchState::Aborting);
        self.shared.reach(self.host, "aborting");
        if !self.shared.mutates(Mutant::AbortOnlyAcknowledged) {
            self.resource.abort(branch.clone()).await?;
        }
        self.note(&branch, BranchState::Over);
        Ok(())
    }

    async fn release(&self, branch: BranchId) -> Result<(), ResourceError> {
        self.resource.release(branch.clone()).await?;
        self.note(&branch, BranchState::Over);
        Ok(())
    }

    async fn resolve(&self, branch: BranchId, heuristic: Heuristic) -> Result<(), ResourceError> {
        self.note(&branch, BranchState::Resolving);
        self.shared.reach(self.host, "resolving");
        self.resource.resolve(branch.clone(), heuristic).await?;
        self.note(&branch, BranchState::Over);
        Ok(())
    }

    async fn note_decision(&self, branch: BranchId, heuristic: Heuristic) -> Result<(), ResourceError> {
        self.resource.note_decision(branch, heuristic).await
    }

    async fn forget_heuristic(&self, branch: BranchId) -> Result<(), ResourceError> {
        self.resource.forget_heuristic(branch).await
    }

    async fn collect(&self, coordinator: CoordinatorId, fence: Ticket) -> Result<(), ResourceError> {
        self.resource.collect(coordinator, fence).await
    }
}
