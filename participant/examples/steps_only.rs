//! A resource that only takes the steps of sagas: a shelf in memory. This file is all that such an adapter has to write; it
//! ends with the conformance suite run on itself (`cargo run --example steps_only`).

#[path = "support/texts.rs"]
pub mod texts;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use texts::{Texts, Values, evaluate};
use tokio_util::sync::CancellationToken;
use undoubt_participant::conformance;
use undoubt_participant::resource::{
    CoordinatorMarks, Kept, Pin, Recovered, RecoveredStep, Resource, ResourceError, StepId, StepState, Steps,
};
use undoubt_vocabulary::{CoordinatorId, Epoch, LowWaterMark, ParticipantName, RunStep, StepOutcome};

/// An epoch, a low-water mark, and the pinned key with the epoch that it came with.
type Known = (Epoch, LowWaterMark, Option<(Epoch, Pin)>);

/// The data that survive a crash of the participant. Each call changes it once, under its lock: all of a call is there,
/// or nothing.
#[derive(Debug, Default)]
pub struct Disk {
    owner: Option<ParticipantName>,
    pub values: Values,
    barriers: BTreeMap<StepId, StepState>,
    coordinators: BTreeMap<CoordinatorId, Known>,
}

#[derive(Debug)]
pub struct Shelf(pub Arc<Mutex<Disk>>);

impl Shelf {
    pub fn change<T>(&self, change: impl FnOnce(&mut Disk) -> T) -> T {
        change(&mut self.0.lock().expect("no change panics"))
    }

    /// Does a step's work, and stores with it what became of the step.
    fn run(&self, step: StepId, run: &RunStep, barrier: impl FnOnce(Kept) -> StepState) -> StepOutcome {
        self.change(|disk| match evaluate(&disk.values, &run.work) {
            Ok(change) => {
                change.value.map(|value| disk.values.insert(change.key, value));
                disk.barriers.insert(step, barrier(Kept::Here(change.result.clone())));
                StepOutcome::Done { result: change.result, pending: false }
            }
            Err(refusal) => StepOutcome::Refused(refusal),
        })
    }
}

impl Resource for Shelf {
    fn kind(&self) -> &'static str {
        "shelf"
    }

    async fn recover(&self, owner: &ParticipantName) -> Result<Recovered, ResourceError> {
        self.change(|disk| {
            let found = disk.owner.get_or_insert_with(|| owner.clone());
            if found != owner {
                return Err(ResourceError::Foreign { cause: format!("it is the shelf of {found}") });
            }
            let coordinators = disk.coordinators.iter();
            let steps = disk.barriers.iter();
            Ok(Recovered {
                coordinators: coordinators
                    .map(|(id, (epoch, mark, pin))| CoordinatorMarks {
                        id: *id,
                        epoch: *epoch,
                        low_water_mark: mark.clone(),
                        pin: pin.map(|(_, pin)| pin),
                    })
                    .collect(),
                steps: steps.map(|(step, state)| RecoveredStep { step: step.clone(), state: state.clone() }).collect(),
                ..Recovered::default()
            })
        })
    }

    async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        self.change(|disk| {
            let (known, _, pinned) = disk.coordinators.entry(coordinator).or_default();
            *known = epoch.max(*known);
            if let Some(pin) = pin
                && pinned.as_ref().is_none_or(|before| pin.replaces(epoch, before))
            {
                *pinned = Some((epoch, pin));
            }
        });
        Ok(())
    }

    async fn collect(&self, coordinator: CoordinatorId, over: LowWaterMark) -> Result<(), ResourceError> {
        self.change(|disk| {
            let (_, known, _) = disk.coordinators.entry(coordinator).or_default();
            *known = known.and(&over);
            disk.barriers.retain(|step, _| step.coordinator != coordinator || !over.is_over(step.attempt_number));
        });
        Ok(())
    }
}

impl Steps for Shelf {
    async fn act(&self, step: StepId, run: RunStep, _: CancellationToken) -> Result<StepOutcome, ResourceError> {
        Ok(self.run(step, &run, |result| StepState::Acted { result, pending: false }))
    }

    async fn compensate(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        Ok(self.run(step, &run, |_| StepState::Compensated))
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        self.change(|disk| disk.barriers.insert(step, StepState::Empty));
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    conforms().await;
    println!("the shelf keeps the contract of a resource that takes steps");
}

async fn conforms() {
    let read = |disk: &Disk, key: &str| disk.values.get(key).cloned();
    conformance::steps(&mut Texts { disk: Arc::default(), open: Shelf, read }).await;
}

#[cfg(test)]
#[tokio::test]
async fn the_shelf_conforms() {
    conforms().await;
}
