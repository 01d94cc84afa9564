//! Calls of the resource manager for the steps of sagas.

use super::Engine;
use super::calls::{Done, Patience};
use super::waiting_work::Work;
use crate::resource::{Branches, Kept, Mark, ResourceError, StepState};
use bytes::Bytes;
use futures::FutureExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use undoubt_participant_core::{Input, Release, StepId};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Direction, Refusal, RefusalCode, RunStep, StepOutcome, TxId};

impl<R: Branches> Engine<R> {
    /// Begins an action, or lets it wait where there is no room for what it comes to.
    pub(super) fn take_action(&mut self, step: StepId, run: RunStep) {
        self.actions.insert(step.clone(), CancellationToken::new());
        let work = Work::Action(step, run);
        let large = work.is_large();
        match work {
            Work::Action(step, run) if self.room.takes_large() || (!large && self.room.why_full().is_none()) => {
                self.act(step, run);
            }
            work @ (Work::Action(..) | Work::Prepare(..)) => self.wait_for_room(work, large),
        }
    }

    pub(super) fn act(&mut self, step: StepId, run: RunStep) {
        let token = self.actions.entry(step.clone()).or_default().clone();
        let (resource, crash, patience) = (self.resource.clone(), self.crash.clone(), self.patience());
        let call = async move {
            crash.reach("before-act");
            let outcome = match resource.act(step.clone(), run.clone(), token).await {
                Ok(outcome) => outcome,
                Err(ResourceError::Unavailable { cause }) => {
                    StepOutcome::Refused(Refusal::new(RefusalCode::Unavailable, cause))
                }
                Err(ResourceError::Unclear { cause }) => settle_action(&*resource, &patience, &step, cause).await?,
                Err(ResourceError::NoRoom) => return Ok(Done::ActionPutOff(step, run)),
                Err(
                    ends @ (ResourceError::Foreign { .. }
                    | ResourceError::Stopped { .. }
                    | ResourceError::Fenced { .. }),
                ) => return Err(ends),
            };
            crash.reach("after-act");
            Ok(Done::Acted { step, outcome })
        };
        self.calls.push(call.boxed());
    }

    /// Undoes or completes a step. `recall`: the result of the action, which is the last input, is with the resource.
    pub(super) fn finish_step(&mut self, step: StepId, mut run: RunStep, recall: bool) {
        let (resource, crash, undoing) = (self.resource.clone(), self.crash.clone(), self.recalls.undoing());
        self.call(move |patience| async move {
            let _permit;
            if recall {
                _permit = undoing.acquire_owned().await.expect("the semaphore is never closed");
                let stored = patience.until_done(|| resource.result_of_step(step.clone())).await?;
                let gone = || ResourceError::Stopped { cause: format!("the stored result of {step:?} is gone") };
                run.inputs.push(stored.ok_or_else(gone)?);
            }
            let (before, after) = match run.direction {
                Direction::Compensating | Direction::Forward => ("before-compensate", "after-compensate"),
                Direction::Completing => ("before-complete", "after-complete"),
            };
            crash.reach(before);
            let outcome = finished(&*resource, &patience, &step, &run).await?;
            crash.reach(after);
            Ok(Done::Input(Input::StepFinished { step, outcome }))
        });
    }

    pub(super) fn store_empty(&mut self, step: StepId) {
        let (resource, crash) = (self.resource.clone(), self.crash.clone());
        self.call(move |patience| async move {
            crash.reach("before-compensate");
            patience.until_done(|| resource.store_empty(step.clone())).await?;
            crash.reach("after-compensate");
            Ok(Done::Input(Input::EmptyStored { step }))
        });
    }

    pub(super) fn close_saga(&mut self, coordinator: CoordinatorId, attempt_number: AttemptNumber, tx: TxId) {
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.close_saga(coordinator, attempt_number, tx.clone())).await?;
            Ok(Done::Input(Input::SagaClosed { coordinator, attempt_number, tx }))
        });
    }

    pub(super) fn release_marks(
        &mut self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
        release: Release,
    ) {
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            let call = || resource.release_marks(coordinator, attempt_number, tx.clone(), release.clone());
            patience.until_done(call).await?;
            Ok(Done::Input(Input::MarksReleased { coordinator, attempt_number, tx }))
        });
    }

    /// Lists at most `limit` semantic locks, from the first key above `after` on. The asker may have gone by then.
    pub(super) fn list_marks(
        &mut self,
        after: Bytes,
        limit: usize,
        reply: oneshot::Sender<Result<Vec<Mark>, ResourceError>>,
    ) {
        let resource = self.resource.clone();
        self.call(move |_| async move {
            drop(reply.send(resource.marks(after, limit).await));
            Ok(Done::Nothing)
        });
    }
}

/// Returns what became of an action whose call was unclear, before anybody is told.
async fn settle_action<R: Branches>(
    resource: &R,
    patience: &Patience,
    step: &StepId,
    cause: String,
) -> Result<StepOutcome, ResourceError> {
    tracing::warn!(tx = %step.tx, step = step.step.0, %cause, "it is unclear what the resource did; it is looked for");
    let (result, pending) = match patience.until_done(|| resource.settle_step(step.clone())).await? {
        Some(StepState::Acted { result: Kept::Here(result), pending }) => (result, pending),
        Some(StepState::Acted { result: Kept::Stored, pending }) => {
            let stored = patience.until_done(|| resource.result_of_step(step.clone())).await?;
            let gone = || ResourceError::Stopped { cause: format!("the stored result of {step:?} is gone") };
            (stored.ok_or_else(gone)?, pending)
        }
        Some(StepState::Attempted) => return Ok(StepOutcome::Refused(Refusal::new(RefusalCode::Unclear, cause))),
        // A barrier of any other kind is not this call's.
        Some(StepState::Compensated | StepState::Completed | StepState::Empty) | None => {
            return Ok(StepOutcome::Refused(Refusal::new(RefusalCode::Unavailable, cause)));
        }
    };
    Ok(StepOutcome::Done { result, pending })
}

/// Undoes or completes a step, and asks what became of it wherever that is unclear: until that is known, it is not tried once
/// more.
async fn finished<R: Branches>(
    resource: &R,
    patience: &Patience,
    step: &StepId,
    run: &RunStep,
) -> Result<StepOutcome, ResourceError> {
    let once = || async {
        let outcome = match run.direction {
            Direction::Compensating | Direction::Forward => resource.compensate(step.clone(), run.clone()).await,
            Direction::Completing => resource.complete(step.clone(), run.clone()).await,
        };
        let Err(ResourceError::Unclear { cause }) = outcome else { return outcome };
        match (run.direction, patience.until_done(|| resource.settle_step(step.clone())).await?) {
            (Direction::Compensating, Some(StepState::Compensated))
            | (Direction::Completing, Some(StepState::Completed)) => {
                Ok(StepOutcome::Done { result: Bytes::new(), pending: false })
            }
            (
                Direction::Forward | Direction::Compensating | Direction::Completing,
                Some(
                    StepState::Acted { .. }
                    | StepState::Compensated
                    | StepState::Completed
                    | StepState::Empty
                    | StepState::Attempted,
                )
                | None,
            ) => Err(ResourceError::Unavailable { cause }),
        }
    };
    patience.until_done(once).await
}
