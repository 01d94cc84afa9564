//! Calls of the resource manager.
//!
//! A call is never dropped midway. One that cannot be done now is repeated until it can; only a prepare and
//! a step's action give up, by refusing.

use super::Engine;
use super::waiting::Work;
use crate::config::Config;
use crate::resource::{Heuristic, Loss, ResourceError, ResourceManager, Voted};
use crate::room::SMALL_BYTES;
use futures::FutureExt as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use undoubt_participant_core::{BranchId, Input, Operator, Session, StepId};
use undoubt_platform::Random;
use undoubt_vocabulary::{
    CoordinatorId, Epoch, Execution, Prepare, Refusal, RefusalCode, RunStep, StepOutcome, TxId, Vote,
};

/// What a finished call means to the core.
pub(super) enum Done {
    Executed(Voted),
    Committed(Vec<BranchId>),
    Acted {
        step: StepId,
        outcome: StepOutcome,
    },
    /// There was no room for its result.
    ActionPutOff(StepId, RunStep),
    Input(Input),
    /// What comes next for the transaction may go on.
    InTurn {
        tx: TxId,
        input: Option<Input>,
    },
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
                Err(no_room @ ResourceError::NoRoom) => no_room.to_string(),
                done => return done,
            };
            let full = self.config.retry_first_pause_ms.saturating_mul(1 << attempt.min(32));
            let full = full.min(self.config.retry_max_pause_ms);
            let pause_ms = full / 2 + self.random.below(full / 2 + 1);
            attempt = attempt.saturating_add(1);
            tracing::warn!(%cause, attempt, pause_ms, "the resource cannot do this now; it is asked again");
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }
}

impl<R: ResourceManager> Engine<R> {
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Executed(Voted { votes, put_off }) => {
                for (branch, prepare) in put_off {
                    self.wait_for_room(Work::Prepare(branch, prepare), true);
                }
                for (branch, vote) in votes {
                    self.cancellations.remove(&branch);
                    self.put(Input::Executed { branch, vote });
                }
            }
            Done::Committed(branches) => {
                branches.into_iter().for_each(|branch| self.put(Input::Committed { branch }));
            }
            Done::Acted { step, outcome } => {
                self.actions.remove(&step);
                self.put(Input::ActionRan { step, outcome });
            }
            Done::ActionPutOff(step, run) => self.wait_for_room(Work::Action(step, run), true),
            Done::Input(input) => self.put(input),
            Done::InTurn { tx, input } => {
                self.in_turn.end(&tx).into_iter().for_each(|effect| self.carry_out(effect));
                input.into_iter().for_each(|input| self.put(input));
            }
            Done::Nothing => {}
        }
    }

    /// Hands on what this round has to prepare, as far as there is room for what it comes to.
    pub(super) fn prepare_all(&mut self) {
        let mut calls = std::mem::take(&mut self.preparing);
        if !self.room.takes_large() {
            let full = self.room.why_full().is_some();
            let waits = |(_, prepare): &mut (BranchId, Prepare)| full || prepare.work.len() > SMALL_BYTES;
            for (branch, prepare) in calls.extract_if(.., waits).collect::<Vec<_>>() {
                let large = !full;
                self.wait_for_room(Work::Prepare(branch, prepare), large);
            }
        }
        self.prepare(calls);
    }

    pub(super) fn prepare(&mut self, mut calls: Vec<(BranchId, Prepare)>) {
        if calls.is_empty() {
            return;
        }
        calls.iter().for_each(|_| self.crash.reach("before-execute"));
        if !self.resource.can_prepare() {
            let unable = calls.extract_if(.., |(_, prepare)| prepare.execution == Execution::TwoPhase);
            let refusal = |(branch, _)| (branch, cannot_prepare(self.resource.kind()));
            let votes = unable.map(refusal).collect();
            let refused = Voted { votes, put_off: Vec::new() };
            self.calls.push(std::future::ready(Ok(Done::Executed(refused))).boxed());
        }
        for voted in self.resource.prepare_all(calls, &mut self.cancellations) {
            let crash = self.crash.clone();
            let call = async move {
                let voted = voted.await?;
                voted.votes.iter().for_each(|_| crash.reach("after-execute"));
                Ok(Done::Executed(voted))
            };
            self.calls.push(call.boxed());
        }
    }

    /// Hands on what this round has to commit.
    pub(super) fn commit_all(&mut self) {
        if self.committing.is_empty() {
            return;
        }
        let branches = std::mem::take(&mut self.committing);
        branches.iter().for_each(|_| self.crash.reach("before-commit"));
        for (branches, committed) in self.resource.commit_all(branches) {
            let (resource, crash) = (self.resource.clone(), self.crash.clone());
            self.call(move |patience| async move {
                match committed.await {
                    Err(ResourceError::Unavailable { .. }) => {
                        for branch in &branches {
                            patience.until_done(|| resource.commit(branch.clone())).await?;
                        }
                    }
                    done => done?,
                }
                branches.iter().for_each(|_| crash.reach("after-commit"));
                Ok(Done::Committed(branches))
            });
        }
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
        self.in_turn.begin(branch.tx.clone());
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.release(branch.clone())).await?;
            Ok(Done::InTurn { tx: branch.tx, input: None })
        });
    }

    pub(super) fn record_epoch(&mut self, session: Session, coordinator: CoordinatorId, epoch: Epoch) {
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.record_epoch(coordinator, epoch)).await?;
            Ok(Done::Input(Input::EpochRecorded { session }))
        });
    }

    pub(super) fn store_put_back(&mut self, why: String) {
        tracing::error!(
            target: "undoubt::life",
            why,
            "this participant was put back from an older copy, and serves nobody: use the newest folder, or accept the loss \
             with `undoubt participants accept`"
        );
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.store_put_back(why.clone())).await?;
            Ok(Done::Nothing)
        });
    }

    pub(super) fn accept_loss(&mut self, loss: Loss, operator: Operator) {
        let (resource, mark) = (self.resource.clone(), self.random.u64());
        if let Some(kept) = resource.number() {
            self.losses.push((loss.clone(), kept));
        }
        self.call(move |patience| async move {
            let starts = patience.until_done(|| resource.accept_loss(loss.clone(), mark)).await?;
            Ok(Done::Input(Input::LossAccepted { starts, operator }))
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
        self.in_turn.begin(branch.tx.clone());
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.note_decision(branch.clone(), heuristic.clone())).await?;
            Ok(Done::InTurn { tx: branch.tx, input: None })
        });
    }

    pub(super) fn forget_heuristic(&mut self, branch: BranchId, operator: Operator) {
        self.in_turn.begin(branch.tx.clone());
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            patience.until_done(|| resource.forget_heuristic(branch.clone())).await?;
            Ok(Done::InTurn { tx: branch.tx, input: Some(Input::Forgotten { operator }) })
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
