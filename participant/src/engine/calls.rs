//! Calls of the resource manager.
//!
//! A call is never dropped midway. One that cannot be done now, or of which it is unclear whether it was, is repeated until it
//! is done; only a prepare and a step's action give up, by refusing, once it is clear that they have done nothing.

use super::Engine;
use super::waiting_work::Work;
use crate::config::Config;
use crate::points::{AFTER_RECORD_EPOCH, BEFORE_RECORD_EPOCH};
use crate::resource::{Branches, Ended, Heuristic, Loss, Pin, ResourceError, Voted};
use crate::room::SMALL_BYTES;
use futures::FutureExt as _;
use std::future::Future;
use std::sync::Arc;
use undoubt_participant_core::{BranchId, Input, Operator, StepId};
use undoubt_platform::Random;
use undoubt_vocabulary::{
    CoordinatorId, Epoch, Execution, Prepare, Refusal, RefusalCode, RunStep, StepOutcome, Timestamp, TxId, Vote,
};

/// The meaning of a finished call to the core.
pub(super) enum Done {
    Executed(Voted),
    Committed(Vec<BranchId>),
    /// The branches that were committed one by one, and when.
    CommittedEach(Vec<(BranchId, Ended)>, Timestamp),
    Acted {
        step: StepId,
        outcome: StepOutcome,
    },
    /// There was no room for its result.
    ActionPutOff(StepId, RunStep),
    Input(Input),
    /// The transaction's next call may go on.
    InTurn {
        tx: TxId,
        input: Option<Input>,
    },
    Nothing,
}

/// The way in which calls that cannot be done now are repeated.
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
            let error = match call().await {
                Ok(done) => return Ok(done),
                Err(
                    ends @ (ResourceError::Foreign { .. }
                    | ResourceError::Stopped { .. }
                    | ResourceError::Fenced { .. }),
                ) => return Err(ends),
                Err(
                    again @ (ResourceError::Unavailable { .. } | ResourceError::NoRoom | ResourceError::Unclear { .. }),
                ) => again,
            };
            let pause = self.random.pause(self.config.retries(), attempt);
            attempt = attempt.saturating_add(1);
            tracing::warn!(%error, attempt, pause_ms = pause.as_millis(), "the resource is asked again");
            tokio::time::sleep(pause).await;
        }
    }
}

impl<R: Branches> Engine<R> {
    pub(super) fn handle_done(&mut self, done: Done) {
        match done {
            Done::Executed(Voted { votes, put_off, unclear, waited }) => {
                waited.iter().for_each(|(branch, waited)| self.traced.waited(branch, *waited));
                for (branch, prepare) in put_off {
                    self.wait_for_room(Work::Prepare(branch, prepare), true);
                }
                for (branch, prepare, cause) in unclear {
                    self.clear_up(branch, prepare.execution, cause);
                }
                for (branch, vote) in votes {
                    self.cancellations.remove(&branch);
                    self.handle_input(Input::Executed { branch, vote });
                }
            }
            Done::Committed(branches) => {
                branches.into_iter().for_each(|branch| self.handle_input(Input::Committed { branch }));
            }
            Done::CommittedEach(branches, at) => {
                for (branch, ended) in branches {
                    self.handle_input(match ended {
                        Ended::AsTold => Input::Committed { branch },
                        Ended::Gone => Input::Gone { branch, at },
                    });
                }
            }
            Done::Acted { step, outcome } => {
                self.actions.remove(&step);
                self.handle_input(Input::ActionRan { step, outcome });
            }
            Done::ActionPutOff(step, run) => self.wait_for_room(Work::Action(step, run), true),
            Done::Input(input) => self.handle_input(input),
            Done::InTurn { tx, input } => {
                self.in_turn.end(&tx).into_iter().for_each(|effect| self.carry_out(effect));
                input.into_iter().for_each(|input| self.handle_input(input));
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
            let refused = Voted { votes, ..Voted::default() };
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

    /// Finds out what became of a branch whose execution was unclear, before anybody is told.
    pub(super) fn clear_up(&mut self, branch: BranchId, execution: Execution, cause: String) {
        tracing::warn!(tx = %branch.tx, %cause, "it is unclear what the resource did; it is looked for");
        let (resource, clock) = (self.resource.clone(), self.clock.clone());
        self.call(move |patience| async move {
            let refused = Vote::Refused(Refusal::new(RefusalCode::Unavailable, cause));
            let vote = match execution {
                Execution::TwoPhase => match patience.until_done(|| resource.abort(branch.clone())).await? {
                    Ended::AsTold => refused,
                    Ended::Gone => return Ok(Done::Input(Input::Gone { branch, at: clock.now() })),
                },
                Execution::OnePhase => match patience.until_done(|| resource.settle(branch.clone())).await? {
                    Some(result) => Vote::Committed { result },
                    None => refused,
                },
            };
            Ok(Done::Executed(Voted { votes: vec![(branch, vote)], ..Voted::default() }))
        });
    }

    /// Asks the resource whether a read-only branch has held its locks until now.
    pub(super) fn confirm(&mut self, branch: BranchId) {
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            let held = patience.until_done(|| resource.confirm(branch.clone())).await?;
            Ok(Done::Input(Input::Confirmed { branch, held }))
        });
    }

    /// Hands on what this round has to commit.
    pub(super) fn commit_all(&mut self) {
        if self.committing.is_empty() {
            return;
        }
        let branches = std::mem::take(&mut self.committing);
        branches.iter().for_each(|_| self.crash.reach("before-commit"));
        for (branches, committed) in self.resource.commit_all(branches) {
            let (resource, crash, clock) = (self.resource.clone(), self.crash.clone(), self.clock.clone());
            self.call(move |patience| async move {
                let ended = match committed.await {
                    Ok(()) => None,
                    Err(ResourceError::Unavailable { .. } | ResourceError::Unclear { .. }) => {
                        let mut ended = Vec::with_capacity(branches.len());
                        for branch in &branches {
                            ended.push(patience.until_done(|| resource.commit(branch.clone())).await?);
                        }
                        Some(ended)
                    }
                    Err(
                        ends @ (ResourceError::NoRoom
                        | ResourceError::Foreign { .. }
                        | ResourceError::Stopped { .. }
                        | ResourceError::Fenced { .. }),
                    ) => return Err(ends),
                };
                branches.iter().for_each(|_| crash.reach("after-commit"));
                Ok(match ended {
                    None => Done::Committed(branches),
                    Some(ended) => Done::CommittedEach(branches.into_iter().zip(ended).collect(), clock.now()),
                })
            });
        }
    }

    pub(super) fn abort(&mut self, branch: BranchId) {
        let (resource, crash, clock) = (self.resource.clone(), self.crash.clone(), self.clock.clone());
        self.call(move |patience| async move {
            crash.reach("before-abort");
            let ended = patience.until_done(|| resource.abort(branch.clone())).await?;
            crash.reach("after-abort");
            Ok(Done::Input(match ended {
                Ended::AsTold => Input::Aborted { branch },
                Ended::Gone => Input::Gone { branch, at: clock.now() },
            }))
        });
    }

    pub(super) fn release(&mut self, branch: BranchId) {
        self.in_turn.begin(branch.tx.clone());
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            if patience.until_done(|| resource.abort(branch.clone())).await? == Ended::Gone {
                tracing::error!(tx = %branch.tx, "somebody else has committed a branch in the resource itself that was over here");
            }
            Ok(Done::InTurn { tx: branch.tx, input: None })
        });
    }

    pub(super) fn record_epoch(&mut self, coordinator: CoordinatorId, epoch: Epoch, pin: Option<Pin>, recorded: Input) {
        let (resource, crash) = (self.resource.clone(), self.crash.clone());
        self.call(move |patience| async move {
            crash.reach(BEFORE_RECORD_EPOCH);
            patience.until_done(|| resource.record_epoch(coordinator, epoch, pin)).await?;
            crash.reach(AFTER_RECORD_EPOCH);
            Ok(Done::Input(recorded))
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
        let (resource, clock) = (self.resource.clone(), self.clock.clone());
        self.call(move |patience| async move {
            Ok(Done::Input(match patience.until_done(|| resource.resolve(branch.clone(), heuristic.clone())).await? {
                Ended::AsTold => Input::Resolved { branch },
                Ended::Gone => Input::Gone { branch, at: clock.now() },
            }))
        });
    }

    pub(super) fn store_heuristic(&mut self, branch: BranchId, begun_at: Timestamp, heuristic: Heuristic) {
        self.in_turn.begin(branch.tx.clone());
        let resource = self.resource.clone();
        self.call(move |patience| async move {
            let call = || resource.store_heuristic(branch.clone(), begun_at, heuristic.clone());
            patience.until_done(call).await?;
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
        for (coordinator, low_water_mark) in std::mem::take(&mut self.collectable) {
            let resource = self.resource.clone();
            self.call(move |patience| async move {
                patience.until_done(|| resource.collect(coordinator, low_water_mark.clone())).await?;
                Ok(Done::Nothing)
            });
        }
    }

    pub(super) fn call<F>(&mut self, call: impl FnOnce(Patience) -> F)
    where
        F: Future<Output = Result<Done, ResourceError>> + Send + 'static,
    {
        self.calls.push(call(self.patience()).boxed());
    }

    pub(super) fn patience(&self) -> Patience {
        Patience { config: self.config.clone(), random: self.random.clone() }
    }
}

fn cannot_prepare(kind: &str) -> Vote {
    let detail =
        format!("a resource of kind {kind} cannot prepare; use a saga, or give the transaction this branch alone");
    Vote::Refused(Refusal::new(RefusalCode::InvalidWork, detail))
}
