//! The part of the vault that is as the shelf's, and its world.

use super::*;

impl Resource for Vault {
    fn kind(&self) -> &'static str {
        "vault"
    }

    async fn recover(&self, owner: &ParticipantName) -> Result<Recovered, ResourceError> {
        let recovered = self.shelf.recover(owner).await?;
        Ok(self.change(|ledger, _| Recovered {
            prepared: ledger.prepared.iter().map(|(prepared, _)| prepared.clone()).collect(),
            finished: ledger.finished.clone(),
            heuristics: ledger.heuristics.clone(),
            ..recovered
        }))
    }

    async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        self.shelf.record_epoch(coordinator, epoch, pin).await
    }

    async fn collect(&self, coordinator: CoordinatorId, over: LowWaterMark) -> Result<(), ResourceError> {
        let passed = |branch: &BranchId| branch.coordinator == coordinator && over.is_over(branch.attempt_number);
        self.change(|ledger, _| ledger.finished.retain(|kept| !passed(&kept.branch)));
        self.shelf.collect(coordinator, over).await
    }
}

impl Steps for Vault {
    async fn act(&self, step: StepId, run: RunStep, off: CancellationToken) -> Result<StepOutcome, ResourceError> {
        match self.refusal(&run.work, false) {
            Some(refusal) => Ok(StepOutcome::Refused(refusal)),
            None => self.shelf.act(step, run, off).await,
        }
    }

    async fn compensate(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        match self.refusal(&run.work, false) {
            Some(refusal) => Ok(StepOutcome::Refused(refusal)),
            None => self.shelf.compensate(step, run).await,
        }
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        self.shelf.store_empty(step).await
    }
}

impl BranchWorld for Texts<Ledger, Vault> {
    fn locking(&self) -> Locking {
        Locking::BoundedWaits
    }
}

#[tokio::main(flavor = "current_thread")]
pub async fn main() {
    conforms().await;
    println!("the vault keeps the contract of a resource that takes steps and branches");
}

async fn conforms() {
    let read = |ledger: &Ledger, key: &str| Shelf(ledger.shelf.clone()).change(|disk| disk.values.get(key).cloned());
    let mut world = Texts { disk: Arc::default(), open: Vault::over, read };
    conformance::steps(&mut world).await;
    conformance::branches(&mut world).await;
    conformance::read_only(&mut world).await;
}

#[cfg(test)]
#[tokio::test]
async fn the_vault_conforms() {
    conforms().await;
}
