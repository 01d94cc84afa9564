//! Calls of the resource manager for the steps of sagas.

use super::Engine;
use super::calls::Done;
use super::waiting::Work;
use crate::resource::{Mark, ResourceError, ResourceManager};
use bytes::Bytes;
use futures::FutureExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use undoubt_participant_core::{Input, Release, StepId};
use undoubt_vocabulary::{CoordinatorId, Refusal, RefusalCode, RunStep, StepOutcome, Ticket, TxId};

impl<R: ResourceManager> Engine<R> {
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
        let (resource, crash) = (self.resource.clone(), self.crash.clone());
        let call = async move {
            crash.reach("before-act");
            let outcome = match resource.act(step.clone(), run.clone(), token).await {
                Ok(outcome) => outcome,
                Err(ResourceError::Unavailable { cause }) => {
                    StepOutcome::Refused(Refusal::new(RefusalCode::Unavailable, cause))
                }
                Err(ResourceError::NoRoom) => return Ok(Done::ActionPutOff(step, run)),
                Err(stopped @ ResourceError::Stopped { .. }) => return Err(stopped),
            };
            crash.reach("after-act");
            Ok(Done::Acted { step, outcome })
        };
        self.calls.push(call.boxed());
    }

    /// `recall`: the result of the action, which is the last input, is with the resource.
    pub(super) fn compensate(&mut self, step: StepId, mut run: RunStep, recall: bool) {
        let (resource, crash, undoing) = (self.resource.clone(), self.crash.clone(), self.recalls.undoing());
        self.call(move |patience| async move {
            let _permit;
            if recall {
                _permit = undoing.acquire_owned().await.expect("the semaphore is never closed");
                let stored = patience.until_done(|| resource.result_of_step(step.clone())).await?;
                let gone = || ResourceError::Stopped { cause: format!("the stored result of {step:?} is gone") };
                run.inputs.push(stored.ok_or_else(gone)?);
            }
            crash.reach("before-compensate");
            let outcome = patience.until_done(|| resource.compensate(step.clone(), run.clone())).await?;
            crash.reach("after-compensate");
            Ok(Done::Input(Input::CompensationRan { step, outcome }))
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

    pub(super) fn close_saga(&mut self, coordinator: CoordinatorId, ticket: Ticket, tx: TxId) {
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.close_saga(coordinator, ticket, tx.clone())).await?;
            Ok(Done::Input(Input::SagaClosed { coordinator, ticket, tx }))
        });
    }

    pub(super) fn release_marks(&mut self, coordinator: CoordinatorId, ticket: Ticket, tx: TxId, release: Release) {
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            let call = || resource.release_marks(coordinator, ticket, tx.clone(), release.clone());
            patience.until_done(call).await?;
            Ok(Done::Input(Input::MarksReleased { coordinator, ticket, tx }))
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
