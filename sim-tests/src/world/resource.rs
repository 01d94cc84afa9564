//! The participant's resource, with somebody who watches what becomes of each branch.

mod other_hands;

use super::planted::Hasty;
use super::shared_state::{Fate, Shared};
use super::subscribing::Reacting;
use super::temper::Temper;
use crate::plan::{Host, Mutant};
use crate::trace::{BranchState, Event};
use bytes::Bytes;
use futures::FutureExt as _;
use other_hands::OtherHands;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use undoubt_participant::event_log::EventSource;
use undoubt_participant::resource::{
    BranchId, Branches, Cancellations, Committing, Ended, Health, Heuristic, Loss, Mark, Pin, Preparing, Recovered,
    Release, Resource, ResourceError, Room, StepId, StepState, Steps, commit_each, prepare_each,
};
use undoubt_participant::subscription::ReactionStore;
use undoubt_vocabulary::saga::UNDONE_ANEW;
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Epoch, Execution, LowWaterMark, ParticipantName, Prepare, Refusal, RefusalCode,
    RunStep, Starts, StepOutcome, Timestamp, TxId, Vote, WriteNumber,
};

/// The answer is lost.
fn unclear() -> ResourceError {
    ResourceError::Unclear { cause: "the connection broke before the answer came".to_owned() }
}

/// Returns a refusal for good.
fn refused(why: &str) -> StepOutcome {
    StepOutcome::Refused(Refusal::new(RefusalCode::Condition, why))
}

/// The way in which a branch was to be prepared.
#[derive(Clone, Copy, Debug)]
struct Asked {
    begun_at: Timestamp,
    two_phase: bool,
}

impl From<&Prepare> for Asked {
    fn from(prepare: &Prepare) -> Asked {
        Asked { begun_at: prepare.begun_at, two_phase: prepare.execution == Execution::TwoPhase }
    }
}

#[derive(Debug)]
pub(super) struct Observed<R> {
    resource: Arc<R>,
    shared: Arc<Shared>,
    host: Host,
    hands: OtherHands,
}

impl<R> Observed<R> {
    pub(super) fn new(resource: R, shared: Arc<Shared>, host: Host) -> Observed<R> {
        Observed { resource: Arc::new(resource), shared, host, hands: OtherHands::default() }
    }

    fn note(&self, branch: &BranchId, state: BranchState) {
        if self.shared.process(self.host).is_dead() {
            return;
        }
        self.shared.recorder.record(self.host, Event::Branch { tx: branch.tx.to_string(), state });
    }

    /// Notes what a vote came to, and does what is planted there.
    async fn voted(&self, branch: &BranchId, vote: &Vote, asked: Asked) -> Result<(), ResourceError>
    where
        R: Branches,
    {
        let Asked { begun_at, two_phase } = asked;
        let state = match vote {
            Vote::Prepared { .. } => BranchState::Prepared,
            Vote::ReadOnly { .. } if two_phase => BranchState::ReadOnly,
            Vote::ReadOnly { .. } | Vote::Committed { .. } | Vote::Refused(_) => BranchState::Over,
        };
        self.note(branch, state);
        let forgets_readers =
            self.shared.temper(self.host).forgets_readers || self.shared.mutates(Mutant::ReadLocksFreedAtVote);
        if self.shared.mutates(Mutant::CommitsAtPrepare) && state == BranchState::Prepared {
            self.resource.commit(branch.clone()).await?;
        } else if forgets_readers && state == BranchState::ReadOnly {
            self.resource.abort(branch.clone()).await?;
        } else if state == BranchState::Prepared {
            self.hands.prepared(branch, begun_at);
            self.shared.stirred(self.host).notify_one();
        }
        Ok(())
    }

    /// Makes a call whose answer may be lost.
    async fn perhaps<T>(&self, call: impl Future<Output = Result<T, ResourceError>>) -> Result<T, ResourceError> {
        match self.shared.fate(self.host) {
            Fate::Clear => call.await,
            Fate::Done => {
                call.await?;
                Err(unclear())
            }
            Fate::NotDone => Err(unclear()),
        }
    }

    /// Returns true if what is unclear is to be called refused.
    fn guesses<T>(&self, answer: &Result<T, ResourceError>) -> bool {
        self.shared.mutates(Mutant::UnclearCalledRefused) && matches!(answer, Err(ResourceError::Unclear { .. }))
    }

    /// Returns true if its work is done on another machine.
    fn is_elsewhere(&self) -> bool {
        self.shared.has_database(self.host) || self.shared.has_service(self.host)
    }

    /// Returns true if it refuses work in this temper. A service does so itself: its participant may have called it before.
    fn refuses(&self, what: impl Fn(Temper) -> bool) -> bool {
        !self.shared.has_service(self.host) && what(self.shared.temper(self.host))
    }

    fn note_step(&self, step: &StepId, state: BranchState) {
        if self.shared.process(self.host).is_dead() {
            return;
        }
        self.shared.recorder.record(self.host, Event::Branch { tx: step.tx.to_string(), state });
    }
}

impl<R: Branches> Resource for Observed<R> {
    fn kind(&self) -> &'static str {
        self.resource.kind()
    }

    async fn recover(&self, owner: &ParticipantName) -> Result<Recovered, ResourceError> {
        let mut recovered = self.resource.recover(owner).await?;
        if self.shared.mutates(Mutant::BarriersForgotten) {
            recovered.steps.clear();
        }
        if self.shared.mutates(Mutant::CancelForgotten) {
            recovered.aborting.clear();
        }
        if let Some(log) = recovered.log.as_mut().filter(|_| self.shared.mutates(Mutant::PutBackServes)) {
            log.put_back = None;
        }
        for prepared in &recovered.prepared {
            self.note(&prepared.branch, BranchState::Prepared);
        }
        self.hide_other_hands(&mut recovered);
        Ok(recovered)
    }

    async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        let pin = pin.filter(|_| !self.shared.mutates(Mutant::PinForgotten));
        self.resource.record_epoch(coordinator, epoch, pin).await
    }

    async fn collect(&self, coordinator: CoordinatorId, over: LowWaterMark) -> Result<(), ResourceError> {
        for branch in self.hands.take_over(coordinator, &over) {
            self.resource.forget_heuristic(branch).await?;
        }
        self.resource.collect(coordinator, over).await
    }

    async fn background(&self, stop: CancellationToken) -> Result<(), ResourceError> {
        if self.is_elsewhere() {
            // There they are at work in the database, or the service, itself.
            return self.resource.background(stop).await;
        }
        tokio::try_join!(self.resource.background(stop.clone()), self.let_other_hands(stop))?;
        Ok(())
    }

    fn health(&self) -> Health {
        self.resource.health()
    }

    fn use_room(&self, room: Room) {
        self.resource.use_room(room);
    }

    fn number(&self) -> Option<WriteNumber> {
        self.resource.number()
    }

    fn remember(&self, key: Bytes, value: Bytes) {
        self.shared.participant_learns(self.host, &key, &value);
        if !self.shared.mutates(Mutant::NumbersForgotten) {
            self.resource.remember(key, value);
        }
    }

    fn events(&self) -> Option<Arc<dyn EventSource>> {
        let events = self.resource.events()?;
        Some(match self.host {
            Host::Participant(_) if self.shared.mutates(Mutant::UnstableEventsServed) => {
                let disk = self.shared.disk(self.host).clone();
                Arc::new(Hasty::new(events, disk))
            }
            Host::Participant(_)
            | Host::Coordinator
            | Host::Standby
            | Host::Database(_)
            | Host::Service(_)
            | Host::Client(_)
            | Host::Reader(_) => events,
        })
    }

    fn reactions(self: &Arc<Self>) -> Option<Arc<dyn ReactionStore>> {
        let store = self.resource.reactions()?;
        Some(Arc::new(Reacting::new(store, self.shared.clone(), self.host)))
    }

    async fn store_put_back(&self, why: String) -> Result<(), ResourceError> {
        self.resource.store_put_back(why).await
    }

    async fn accept_loss(&self, loss: Loss, mark: u64) -> Result<Starts, ResourceError> {
        self.resource.accept_loss(loss, mark).await
    }
}

impl<R: Branches> Steps for Observed<R> {
    async fn act(
        &self,
        step: StepId,
        run: RunStep,
        cancelled: CancellationToken,
    ) -> Result<StepOutcome, ResourceError> {
        if self.refuses(|temper| temper.refuses_actions) {
            return Ok(refused("it does not act at the moment"));
        }
        self.note_step(&step, BranchState::Acting);
        self.shared.reach(self.host, "acting");
        let outcome = self.perhaps(self.resource.act(step.clone(), run, cancelled)).await;
        self.note_step(&step, BranchState::Over);
        if self.guesses(&outcome) { Ok(refused("nobody knows")) } else { outcome }
    }

    async fn compensate(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        if self.refuses(|temper| temper.refuses_compensations) {
            return Ok(refused("it does not compensate at the moment"));
        }
        self.note_step(&step, BranchState::Compensating);
        self.shared.reach(self.host, "compensating");
        let is_undone_anew = step.step.0 >= UNDONE_ANEW;
        if self.shared.mutates(Mutant::CompensationsOnlyAnswered)
            || (self.shared.mutates(Mutant::UndoneAnewOnlyAnswered) && is_undone_anew)
        {
            self.note_step(&step, BranchState::Over);
            return Ok(StepOutcome::Done { result: Bytes::new(), pending: false });
        }
        let outcome = self.perhaps(self.resource.compensate(step.clone(), run)).await?;
        self.note_step(&step, BranchState::Over);
        Ok(outcome)
    }

    fn takes_open_sagas(&self) -> bool {
        self.resource.takes_open_sagas()
    }

    async fn complete(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        if self.refuses(|temper| temper.refuses_actions) {
            return Ok(refused("it does not complete at the moment"));
        }
        self.note_step(&step, BranchState::Acting);
        let outcome = self.perhaps(self.resource.complete(step.clone(), run)).await?;
        self.note_step(&step, BranchState::Over);
        Ok(outcome)
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        self.perhaps(self.resource.store_empty(step)).await
    }

    async fn settle_step(&self, step: StepId) -> Result<Option<StepState>, ResourceError> {
        self.resource.settle_step(step).await
    }

    fn recalls_results(&self) -> bool {
        self.resource.recalls_results()
    }

    async fn result_of_step(&self, step: StepId) -> Result<Option<Bytes>, ResourceError> {
        self.resource.result_of_step(step).await
    }

    async fn close_saga(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
    ) -> Result<(), ResourceError> {
        self.resource.close_saga(coordinator, attempt_number, tx).await
    }

    async fn release_marks(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
        release: Release,
    ) -> Result<(), ResourceError> {
        self.resource.release_marks(coordinator, attempt_number, tx, release).await
    }

    async fn marks(&self, after: Bytes, limit: usize) -> Result<Vec<Mark>, ResourceError> {
        self.resource.marks(after, limit).await
    }
}

impl<R: Branches> Branches for Observed<R> {
    fn can_prepare(&self) -> bool {
        let unable = self.shared.plan.shape.cannot_prepare.map(Host::Participant);
        self.resource.can_prepare() && unable != Some(self.host)
    }

    fn others_can_commit(&self) -> bool {
        self.resource.others_can_commit()
    }

    async fn prepare(
        &self,
        branch: BranchId,
        prepare: Prepare,
        cancelled: CancellationToken,
    ) -> Result<Vote, ResourceError> {
        self.note(&branch, BranchState::Executing);
        self.shared.reach(self.host, "executing");
        let asked = Asked::from(&prepare);
        let slow = self.shared.temper(self.host).prepares_after;
        if !slow.is_zero() {
            // Whoever cancels it need not wait.
            let _ = timeout(slow, cancelled.cancelled()).await;
        }
        let voted = async {
            let vote = self.resource.prepare(branch.clone(), prepare, cancelled).await?;
            self.voted(&branch, &vote, asked).await?;
            Ok(vote)
        };
        let vote = self.perhaps(voted).await;
        if self.guesses(&vote) {
            return Ok(Vote::Refused(Refusal::new(RefusalCode::Unavailable, "nobody knows")));
        }
        vote
    }

    fn prepare_all(
        self: &Arc<Self>,
        calls: Vec<(BranchId, Prepare)>,
        cancellations: &mut Cancellations,
    ) -> Vec<Preparing> {
        let temper = self.shared.temper(self.host);
        if temper.is_unclear || !temper.prepares_after.is_zero() {
            return prepare_each(self, calls, cancellations);
        }
        let mut asked = BTreeMap::new();
        for (branch, prepare) in &calls {
            self.note(branch, BranchState::Executing);
            self.shared.reach(self.host, "executing");
            asked.insert(branch.clone(), Asked::from(prepare));
        }
        let asked = Arc::new(asked);
        let observed = |preparing: Preparing| {
            let (observed, asked) = (self.clone(), asked.clone());
            async move {
                let voted = preparing.await?;
                for (branch, vote) in &voted.votes {
                    observed.voted(branch, vote, asked[branch]).await?;
                }
                Ok(voted)
            }
            .boxed()
        };
        self.resource.prepare_all(calls, cancellations).into_iter().map(observed).collect()
    }

    async fn confirm(&self, branch: BranchId) -> Result<bool, ResourceError> {
        let held = self.resource.confirm(branch.clone()).await?;
        self.note(&branch, BranchState::Over);
        let from_memory =
            self.shared.mutates(Mutant::ConfirmedFromMemory) || self.shared.mutates(Mutant::ReadLocksFreedAtVote);
        Ok(held || from_memory)
    }

    async fn commit(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        self.note(&branch, BranchState::Committing);
        self.shared.reach(self.host, "committing");
        let committed = async {
            match self.ended_by_other_hand(&branch).await {
                None => self.resource.commit(branch.clone()).await,
                Some(ended) if ended.commit => self.note_as_told(&branch, ended).await.map(|()| Ended::AsTold),
                Some(_) if self.shared.mutates(Mutant::OtherHandIgnored) => {
                    self.leave_no_trace(&branch).await.map(|()| Ended::AsTold)
                }
                Some(_) => Ok(Ended::Gone),
            }
        };
        let mut ended = self.perhaps(committed).await?;
        if self.shared.mutates(Mutant::RefusedConfirmCommitted) {
            ended = Ended::AsTold;
        }
        self.note(&branch, BranchState::Over);
        Ok(ended)
    }

    fn commit_all(self: &Arc<Self>, branches: Vec<BranchId>) -> Vec<Committing> {
        branches.iter().for_each(|branch| self.hands.told_to_end(branch));
        if self.shared.temper(self.host).is_unclear || branches.iter().any(|branch| self.hands.has_ended(branch)) {
            return commit_each(self, branches);
        }
        for branch in &branches {
            self.note(branch, BranchState::Committing);
            self.shared.reach(self.host, "committing");
        }
        let observed = |(branches, committed): Committing| {
            let (observed, over) = (self.clone(), branches.clone());
            let committed = async move {
                committed.await?;
                over.iter().for_each(|branch| observed.note(branch, BranchState::Over));
                Ok(())
            };
            (branches, committed.boxed())
        };
        self.resource.commit_all(branches).into_iter().map(observed).collect()
    }

    async fn abort(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        self.note(&branch, BranchState::Aborting);
        self.shared.reach(self.host, "aborting");
        let aborted = async {
            match self.ended_by_other_hand(&branch).await {
                None if self.shared.mutates(Mutant::AbortOnlyAcknowledged) => Ok(Ended::AsTold),
                None if self.shared.mutates(Mutant::AbortPublishes) => {
                    self.shared.planted.aborts(self.host, branch.tx.as_bytes());
                    self.resource.commit(branch.clone()).await?;
                    // As for one that had not voted yet.
                    self.resource.abort(branch.clone()).await
                }
                None => self.resource.abort(branch.clone()).await,
                Some(ended) if ended.commit && !self.shared.mutates(Mutant::OtherHandIgnored) => Ok(Ended::Gone),
                Some(_) => self.leave_no_trace(&branch).await.map(|()| Ended::AsTold),
            }
        };
        let ended = self.perhaps(aborted).await?;
        self.note(&branch, BranchState::Over);
        Ok(ended)
    }

    async fn resolve(&self, branch: BranchId, heuristic: Heuristic) -> Result<Ended, ResourceError> {
        self.note(&branch, BranchState::Resolving);
        self.shared.reach(self.host, "resolving");
        let ended = match self.ended_by_other_hand(&branch).await {
            None => self.resource.resolve(branch.clone(), heuristic).await?,
            Some(ended) if ended.commit == heuristic.commit => {
                self.leave_to_operator(&branch, ended, heuristic).await?;
                Ended::AsTold
            }
            Some(_) => Ended::Gone,
        };
        self.note(&branch, BranchState::Over);
        Ok(ended)
    }

    async fn store_heuristic(
        &self,
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    ) -> Result<(), ResourceError> {
        self.resource.store_heuristic(branch.clone(), begun_at, heuristic).await?;
        self.hands.forget(&branch);
        Ok(())
    }

    async fn forget_heuristic(&self, branch: BranchId) -> Result<(), ResourceError> {
        self.resource.forget_heuristic(branch).await
    }

    async fn settle(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        let settled = self.resource.settle(branch.clone()).await?;
        self.note(&branch, BranchState::Over);
        Ok(settled)
    }

    async fn result_of(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        self.resource.result_of(branch).await
    }
}
