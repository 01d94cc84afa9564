//! Calls of the resource manager.
//!
//! A call is never dropped midway. One that cannot be done now is repeated until it can; only a prepare and
//! a step's action give up, by refusing.

use super::Engine;
use crate::config::Config;
use crate::resource::{Heuristic, ResourceError, ResourceManager};
use futures::FutureExt as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_participant_core::{BranchId, Input, Session, StepId};
use undoubt_platform::Random;
use undoubt_vocabulary::{CoordinatorId, Epoch, Execution, Prepare, Refusal, RefusalCode, StepOutcome, Vote};

/// What a finished call means to the core.
pub(super) enum Done {
    Executed { branch: BranchId, vote: Vote },
    Acted { step: StepId, outcome: StepOutcome },
    Input(Input),
    Nothing,
}

/// How calls that cannot be done now are repeated.
pub(super) struct Patience {
    config: Arc<Config>,
    random: Arc<dyn Random>,
}

impl Patience {
    /// Calls until it is done; pauses double up to their cap and are spread over their upper half (R6).
    pub(super) async fn until_done<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, ResourceError>
    where
        F: Future<Output = Result<T, ResourceError>>,
    {
        let mut attempt = 0_u32;
        loop {
            let cause = match call().await {
                Err(ResourceError::Unavailable { cause }) => cause,
                done => return done,
            };
            let full = self.config.retry_first_pause_ms.saturating_mul(1 << attempt.min(32));
            let full = full.min(self.config.retry_max_pause_ms);
            let pause = Duration::from_millis(full / 2 + self.random.below(full / 2 + 1));
            attempt = attempt.saturating_add(1);
            tracing::warn!(%cause, attempt, ?pause, "the resource cannot do this now; it is asked again");
            tokio::time::sleep(pause).await;
        }
    }
}

impl<R: ResourceManager> Engine<R> {
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Executed { branch, vote } => {
                self.cancellations.remove(&branch);
                self.put(Input::Executed { branch, vote });
            }
            Done::Acted { step, outcome } => {
                self.actions.remove(&step);
                self.put(Input::ActionRan { step, outcome });
            }
            Done::Input(input) => self.put(input),
            Done::Nothing => {}
        }
    }

    pub(super) fn execute(&mut self, branch: BranchId, prepare: Prepare) {
        let token = CancellationToken::new();
        self.cancellations.insert(branch.clone(), token.clone());
        let (resource, crash) = (self.resource.clone(), self.crash.clone());
        let call = async move {
            crash.reach("before-execute");
            if prepare.execution == Execution::TwoPhase && !resource.can_prepare() {
                return Ok(Done::Executed { branch, vote: cannot_prepare(resource.kind()) });
            }
            let vote = match resource.prepare(branch.clone(), prepare, token).await {
                Ok(vote) => vote,
                Err(ResourceError::Unavailable { cause }) => {
                    Vote::Refused(Refusal::new(RefusalCode::Unavailable, cause))
                }
                Err(stopped @ ResourceError::Stopped { .. }) => return Err(stopped),
            };
            crash.reach("after-execute");
            Ok(Done::Executed { branch, vote })
        };
        self.calls.push(call.boxed());
    }

    pub(super) fn commit(&mut self, branch: BranchId) {
        let (resource, crash) = (self.resource.clone(), self.crash.clone());
        self.call(move |patience| async move {
            crash.reach("before-commit");
            patience.until_done(|| resource.commit(branch.clone())).await?;
            crash.reach("after-commit");
            Ok(Done::Input(Input::Committed { branch }))
        });
    }

    pub(super) fn abort(&mut self, branch: BranchId) {
        let (resource, crash) = (self.resource.clone(), self.crash.clone());
        self.call(move |patience| async move {
            crash.reach("before-abort");
            patience.until_done(|| resource.abort(branch.clone())).await?;
            crash.reach("after-abort");
            Ok(Done::Input(Input::Aborted { branch }))
        });
    }

    pub(super) fn release(&mut self, branch: BranchId) {
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.release(branch.clone())).await?;
            Ok(Done::Nothing)
        });
    }

    pub(super) fn record_epoch(&mut self, session: Session, coordinator: CoordinatorId, epoch: Epoch) {
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.record_epoch(coordinator, epoch)).await?;
            Ok(Done::Input(Input::EpochRecorded { session }))
        });
    }

    pub(super) fn resolve(&mut self, branch: BranchId, heuristic: Heuristic) {
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.resolve(branch.clone(), heuristic.clone())).await?;
            Ok(Done::Input(Input::Resolved { branch }))
        });
    }

    pub(super) fn note_decision(&mut self, branch: BranchId, heuristic: Heuristic) {
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.note_decision(branch.clone(), heuristic.clone())).await?;
            Ok(Done::Nothing)
        });
    }

    pub(super) fn forget_heuristic(&mut self, branch: BranchId) {
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.forget_heuristic(branch.clone())).await?;
            Ok(Done::Nothing)
        });
    }

    pub(super) fn collect(&mut self) {
        self.collect_at = None;
        for (coordinator, fence) in std::mem::take(&mut self.collectable) {
            let resource = self.resource.clone();
            self.call(move |patience| async move {
                patience.until_done(|| resource.collect(coordinator, fence)).await?;
                Ok(Done::Nothing)
            });
        }
    }

    pub(super) fn call<F>(&mut self, call: impl FnOnce(Patience) -> F)
    where
        F: Future<Output = Result<Done, ResourceError>> + Send + 'static,
    {
        let patience = Patience { config: self.config.clone(), random: self.random.clone() };
        self.calls.push(call(patience).boxed());
    }
}

fn cannot_prepare(kind: &str) -> Vote {
    let detail =
        format!("a resource of kind {kind} cannot prepare; use a saga, or give the transaction this branch alone");
    Vote::Refused(Refusal::new(RefusalCode::InvalidWork, detail))
}
