//! The suite can fail: each resource manager here breaks one promise, and is found out by the rule that names it.

use super::{conformance, numbered};
use crate::KeyValue;
use crate::tests::world::MemoryWorld;
use bytes::Bytes;
use futures::FutureExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{
    BranchId, Branches, Cancellations, Committing, Ended, Heuristic, Kept, Mark, Pin, Preparing, Recovered, Release,
    Resource, ResourceError, Room, StepId, StepState, Steps, Voted, commit_each, prepare_each,
};
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Epoch, Execution, LowWaterMark, ParticipantName, Prepare, RunStep, StepOutcome,
    Timestamp, TxId, Vote,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    ForgetsLocksInACrash,
    CommitsNothing,
    AbortsNothing,
    ConfirmsAndKeepsLocks,
    ConfirmsWhatIsLost,
    ServesAnybody,
    NeverStops,
    CommitsWhatItShouldPrepare,
    WaitsWithoutEnd,
    IgnoresCancellation,
    LosesOneOfMany,
    PreparesManyInTurn,
    CommitsOneOfMany,
    ForgetsThoseWithoutRoom,
    RecordsNoEpoch,
    RecordsNoPin,
    KeepsTheFirstPin,
    RecordsNoHeuristic,
    StoresNoDecision,
    ForgetsNoHeuristic,
    CollectsNothing,
    CollectsTooMuch,
    CollectsWhatIsStillOpen,
    ForgetsWhatIsStillOpen,
    ActsWithoutBarrier,
    StoresBarriersApart,
    StoresBarriersOfRefusals,
    ForgetsResultsOfActions,
    TellsNoResultOfSteps,
    TellsNoResultOfBranches,
    KeepsLocksOfActions,
    FreesLocksOfBranches,
    IgnoresCancellationOfActions,
    CompensatesNothing,
    CompensatesWithoutBarrier,
    StoresNoEmptyCompensation,
    ClosesNoSaga,
    ReleasesNoMarks,
    ListsNoMarks,
    SaysNothingOfOpenSagas,
    CompletesNothing,
    CompletesWithoutBarrier,
    StoresBarriersOfRefusedCompletions,
    EndsWithoutBarrierWhatWasDoneElsewhere,
    DropsMarksOfOtherSteps,
}

struct Broken {
    sound: KeyValue,
    flaw: Flaw,
    prepared: Mutex<Vec<BranchId>>,
}

impl Broken {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// Work that stores nothing but itself.
    async fn bare(&self, step: &StepId, run: RunStep, execution: Execution) -> Result<StepOutcome, ResourceError> {
        let StepId { coordinator, attempt_number, tx, .. } = step.clone();
        let RunStep { begun_at, timeout, work, .. } = run;
        let prepare = Prepare { tx: tx.clone(), attempt_number, begun_at, timeout, execution, work };
        let vote =
            self.sound.prepare(BranchId { tx, attempt_number, coordinator }, prepare, CancellationToken::new()).await?;
        Ok(match vote {
            Vote::Committed { result } | Vote::ReadOnly { result } | Vote::Prepared { result } => {
                StepOutcome::Done { result, pending: false }
            }
            Vote::Refused(refusal) => StepOutcome::Refused(refusal),
        })
    }
}

impl Resource for Broken {
    fn kind(&self) -> &'static str {
        "broken"
    }

    async fn recover(&self, owner: &ParticipantName) -> Result<Recovered, ResourceError> {
        let claimed: ParticipantName;
        let owner = if self.has(Flaw::ServesAnybody) {
            claimed = "conformance".parse().unwrap();
            &claimed
        } else {
            owner
        };
        let mut recovered = self.sound.recover(owner).await?;
        if self.has(Flaw::ForgetsLocksInACrash) {
            for prepared in &recovered.prepared {
                self.sound.abort(prepared.branch.clone()).await?;
            }
        }
        if self.has(Flaw::ForgetsWhatIsStillOpen) {
            for marks in &mut recovered.coordinators {
                marks.low_water_mark = marks.low_water_mark.below().into();
            }
        }
        if self.has(Flaw::ForgetsResultsOfActions) {
            for kept in &mut recovered.steps {
                if let StepState::Acted { result, .. } = &mut kept.state {
                    *result = Kept::Here(Bytes::new());
                }
            }
        }
        Ok(recovered)
    }

    async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        if self.has(Flaw::RecordsNoEpoch) {
            return Ok(());
        }
        let drops_pin =
            self.has(Flaw::RecordsNoPin) || self.has(Flaw::KeepsTheFirstPin) && pin.is_some_and(|pin| pin.vouched);
        self.sound.record_epoch(coordinator, epoch, pin.filter(|_| !drops_pin)).await
    }

    async fn collect(&self, coordinator: CoordinatorId, over: LowWaterMark) -> Result<(), ResourceError> {
        if self.has(Flaw::CollectsNothing) {
            return Ok(());
        }
        let still_open = over.still_open().iter().copied();
        let over = if self.has(Flaw::CollectsTooMuch) {
            LowWaterMark::new(over.below().next(), still_open)
        } else if self.has(Flaw::CollectsWhatIsStillOpen) {
            over.below().into()
        } else {
            over
        };
        self.sound.collect(coordinator, over).await
    }

    async fn background(&self, stop: CancellationToken) -> Result<(), ResourceError> {
        if self.has(Flaw::NeverStops) {
            return std::future::pending().await;
        }
        self.sound.background(stop).await
    }

    fn use_room(&self, room: Room) {
        self.sound.use_room(room);
    }
}

impl Steps for Broken {
    async fn act(
        &self,
        step: StepId,
        run: RunStep,
        mut cancelled: CancellationToken,
    ) -> Result<StepOutcome, ResourceError> {
        let empty = RunStep { work: Bytes::new(), ..run.clone() };
        if self.has(Flaw::ActsWithoutBarrier) {
            return self.bare(&step, run, Execution::OnePhase).await;
        }
        if self.has(Flaw::StoresBarriersApart) {
            let outcome = self.bare(&step, run, Execution::OnePhase).await?;
            tokio::task::yield_now().await;
            self.sound.act(step, empty, cancelled).await?;
            return Ok(outcome);
        }
        if self.has(Flaw::IgnoresCancellationOfActions) {
            cancelled = CancellationToken::new();
        }
        let outcome = self.sound.act(step.clone(), run.clone(), cancelled.clone()).await?;
        if self.has(Flaw::StoresBarriersOfRefusals) && matches!(outcome, StepOutcome::Refused(_)) {
            self.sound.act(step.clone(), empty, cancelled).await?;
        }
        if self.has(Flaw::KeepsLocksOfActions) {
            self.bare(&step, run, Execution::TwoPhase).await?;
        }
        if self.has(Flaw::FreesLocksOfBranches) {
            let same = |branch: &&BranchId| branch.tx == step.tx;
            let branch = self.prepared.lock().unwrap().iter().find(same).cloned();
            if let Some(branch) = branch {
                self.sound.abort(branch).await?;
            }
        }
        Ok(outcome)
    }

    async fn compensate(&self, step: StepId, mut run: RunStep) -> Result<StepOutcome, ResourceError> {
        let forgets = self.has(Flaw::EndsWithoutBarrierWhatWasDoneElsewhere) && run.acted_elsewhere;
        if self.has(Flaw::CompensatesWithoutBarrier) || forgets {
            return self.bare(&step, run, Execution::OnePhase).await;
        }
        if self.has(Flaw::CompensatesNothing) {
            run.work = Bytes::new();
        }
        self.sound.compensate(step, run).await
    }

    fn takes_open_sagas(&self) -> bool {
        !self.has(Flaw::SaysNothingOfOpenSagas)
    }

    async fn complete(&self, step: StepId, mut run: RunStep) -> Result<StepOutcome, ResourceError> {
        let empty = RunStep { work: Bytes::new(), ..run.clone() };
        if self.has(Flaw::CompletesWithoutBarrier) {
            return self.bare(&step, run, Execution::OnePhase).await;
        }
        if self.has(Flaw::CompletesNothing) {
            run.work = Bytes::new();
        }
        let outcome = self.sound.complete(step.clone(), run).await?;
        if self.has(Flaw::StoresBarriersOfRefusedCompletions) && matches!(outcome, StepOutcome::Refused(_)) {
            self.sound.complete(step.clone(), empty).await?;
        }
        if self.has(Flaw::DropsMarksOfOtherSteps) {
            self.sound.close_saga(step.coordinator, step.attempt_number, step.tx).await?;
        }
        Ok(outcome)
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        if self.has(Flaw::StoresNoEmptyCompensation) { Ok(()) } else { self.sound.store_empty(step).await }
    }

    fn recalls_results(&self) -> bool {
        self.has(Flaw::TellsNoResultOfSteps) || self.has(Flaw::TellsNoResultOfBranches)
    }

    async fn result_of_step(&self, step: StepId) -> Result<Option<Bytes>, ResourceError> {
        if self.has(Flaw::TellsNoResultOfSteps) { Ok(None) } else { self.sound.result_of_step(step).await }
    }

    async fn close_saga(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
    ) -> Result<(), ResourceError> {
        if self.has(Flaw::ClosesNoSaga) { Ok(()) } else { self.sound.close_saga(coordinator, attempt_number, tx).await }
    }

    async fn release_marks(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
        release: Release,
    ) -> Result<(), ResourceError> {
        if self.has(Flaw::ReleasesNoMarks) {
            return Ok(());
        }
        self.sound.release_marks(coordinator, attempt_number, tx, release).await
    }

    async fn marks(&self, after: Bytes, limit: usize) -> Result<Vec<Mark>, ResourceError> {
        if self.has(Flaw::ListsNoMarks) { Ok(Vec::new()) } else { self.sound.marks(after, limit).await }
    }
}

impl Branches for Broken {
    async fn prepare(
        &self,
        branch: BranchId,
        mut prepare: Prepare,
        mut cancelled: CancellationToken,
    ) -> Result<Vote, ResourceError> {
        self.prepared.lock().unwrap().push(branch.clone());
        if self.has(Flaw::WaitsWithoutEnd) {
            prepare.timeout = Duration::MAX;
        }
        if self.has(Flaw::IgnoresCancellation) {
            cancelled = CancellationToken::new();
        }
        if self.has(Flaw::CommitsWhatItShouldPrepare) {
            prepare.execution = Execution::OnePhase;
            return Ok(match self.sound.prepare(branch, prepare, cancelled).await? {
                Vote::Committed { result } => Vote::Prepared { result },
                other @ (Vote::Prepared { .. } | Vote::ReadOnly { .. } | Vote::Refused(_)) => other,
            });
        }
        self.sound.prepare(branch, prepare, cancelled).await
    }

    fn prepare_all(
        self: &Arc<Self>,
        mut calls: Vec<(BranchId, Prepare)>,
        cancellations: &mut Cancellations,
    ) -> Vec<Preparing> {
        if self.has(Flaw::LosesOneOfMany) {
            calls.pop();
        }
        let each = prepare_each(self, calls, cancellations);
        if self.has(Flaw::ForgetsThoseWithoutRoom) {
            let forgets =
                |preparing: Preparing| async { Ok(Voted { put_off: Vec::new(), ..preparing.await? }) }.boxed();
            return each.into_iter().map(forgets).collect();
        }
        if !self.has(Flaw::PreparesManyInTurn) {
            return each;
        }
        let in_turn = async {
            let mut all = Voted::default();
            for preparing in each {
                let Voted { votes, put_off, .. } = preparing.await?;
                all.votes.extend(votes);
                all.put_off.extend(put_off);
            }
            Ok(all)
        };
        vec![in_turn.boxed()]
    }

    async fn confirm(&self, branch: BranchId) -> Result<bool, ResourceError> {
        if self.has(Flaw::ConfirmsAndKeepsLocks) {
            return Ok(true);
        }
        let held = self.sound.confirm(branch).await?;
        Ok(held || self.has(Flaw::ConfirmsWhatIsLost))
    }

    async fn commit(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        if self.has(Flaw::CommitsNothing) { self.sound.abort(branch).await } else { self.sound.commit(branch).await }
    }

    fn commit_all(self: &Arc<Self>, mut branches: Vec<BranchId>) -> Vec<Committing> {
        if self.has(Flaw::CommitsOneOfMany) {
            branches.truncate(2);
        }
        commit_each(self, branches)
    }

    async fn abort(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        if self.has(Flaw::AbortsNothing) { self.sound.commit(branch).await } else { self.sound.abort(branch).await }
    }

    async fn resolve(&self, branch: BranchId, heuristic: Heuristic) -> Result<Ended, ResourceError> {
        match (self.has(Flaw::RecordsNoHeuristic), heuristic.commit) {
            (false, _) => self.sound.resolve(branch, heuristic).await,
            (true, true) => self.sound.commit(branch).await,
            (true, false) => self.sound.abort(branch).await,
        }
    }

    async fn store_heuristic(
        &self,
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    ) -> Result<(), ResourceError> {
        if self.has(Flaw::StoresNoDecision) {
            return Ok(());
        }
        self.sound.store_heuristic(branch, begun_at, heuristic).await
    }

    async fn forget_heuristic(&self, branch: BranchId) -> Result<(), ResourceError> {
        if self.has(Flaw::ForgetsNoHeuristic) { Ok(()) } else { self.sound.forget_heuristic(branch).await }
    }

    async fn result_of(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        if self.has(Flaw::TellsNoResultOfBranches) { Ok(None) } else { self.sound.result_of(branch).await }
    }
}

macro_rules! found_out {
    ($($test:ident: $flaw:ident, $promise:literal;)*) => {$(
        #[tokio::test(start_paused = true)]
        #[should_panic(expected = $promise)]
        async fn $test() {
            conformance(&mut MemoryWorld::new(|sound| Broken { sound, flaw: Flaw::$flaw, prepared: Mutex::default() })).await;
        }
    )*};
}

found_out! {
    forgetting_locks_in_a_crash_is_found_out: ForgetsLocksInACrash, "what is in doubt is locked again after a crash";
    committing_nothing_is_found_out: CommitsNothing, "what was committed is seen";
    aborting_nothing_is_found_out: AbortsNothing, "what was aborted is not seen";
    keeping_locks_of_readers_is_found_out: ConfirmsAndKeepsLocks, "a reader that has left holds nothing any more";
    confirming_what_is_lost_is_found_out: ConfirmsWhatIsLost, "a reader that has left holds nothing any more";
    serving_anybody_is_found_out: ServesAnybody, "a resource that another participant has served is refused";
    never_stopping_is_found_out: NeverStops, "background answers";
    committing_too_early_is_found_out: CommitsWhatItShouldPrepare, "what a prepared branch wrote is locked";
    waiting_without_end_is_found_out: WaitsWithoutEnd, "prepare answers";
    ignoring_a_cancellation_is_found_out: IgnoresCancellation, "prepare answers";
    losing_one_of_many_is_found_out: LosesOneOfMany, "each of the branches that come together is voted";
    preparing_many_in_turn_is_found_out: PreparesManyInTurn, "what keeps one branch waiting keeps no other";
    committing_one_of_many_is_found_out: CommitsOneOfMany, "key b is free";
    forgetting_those_without_room_is_found_out: ForgetsThoseWithoutRoom, "each is voted or handed back";
    recording_no_epoch_is_found_out: RecordsNoEpoch, "the highest epoch recorded of each coordinator is forced";
    recording_no_pin_is_found_out: RecordsNoPin, "the key that is recorded with an epoch is forced with it";
    keeping_the_first_pin_is_found_out: KeepsTheFirstPin, "the key that was recorded last is the one that counts";
    recording_no_heuristic_is_found_out: RecordsNoHeuristic, "an operator's decision is kept";
    storing_no_decision_is_found_out: StoresNoDecision, "the coordinator's decision is kept beside";
    forgetting_no_heuristic_is_found_out: ForgetsNoHeuristic, "what an operator forgets is gone";
    collecting_nothing_is_found_out: CollectsNothing, "what is finished below the low-water mark is dropped";
    collecting_too_much_is_found_out: CollectsTooMuch, "what is finished at or above the low-water mark stays";
    collecting_what_is_still_open_is_found_out: CollectsWhatIsStillOpen, "what is still open below the low-water mark keeps its barriers";
    forgetting_what_is_still_open_is_found_out: ForgetsWhatIsStillOpen, "what is still open is stored with the low-water mark";
    acting_without_a_barrier_is_found_out: ActsWithoutBarrier, "an action and its barrier are stored together";
    storing_barriers_apart_is_found_out: StoresBarriersApart, "an action and its barrier are stored together";
    storing_barriers_of_refusals_is_found_out: StoresBarriersOfRefusals, "a refused action leaves no barrier";
    forgetting_results_of_actions_is_found_out: ForgetsResultsOfActions, "a crash does not change an action's answer";
    telling_no_result_of_steps_is_found_out: TellsNoResultOfSteps, "the result of an action in effect is told again";
    telling_no_result_of_branches_is_found_out: TellsNoResultOfBranches, "the result of a branch that committed in one phase is told again";
    keeping_locks_of_actions_is_found_out: KeepsLocksOfActions, "key k is free";
    freeing_locks_of_branches_is_found_out: FreesLocksOfBranches, "an action leaves the locks of a branch";
    ignoring_that_an_action_is_called_off_is_found_out: IgnoresCancellationOfActions, "act answers";
    compensating_nothing_is_found_out: CompensatesNothing, "a compensation and its barrier are stored together";
    compensating_without_a_barrier_is_found_out: CompensatesWithoutBarrier, "a compensation and its barrier are stored together";
    storing_no_empty_compensation_is_found_out: StoresNoEmptyCompensation, "an action after its compensation is late";
    closing_no_saga_is_found_out: ClosesNoSaga, "a saga's semantic locks end with it";
    releasing_no_marks_is_found_out: ReleasesNoMarks, "an operator's release drops one saga's semantic locks";
    listing_no_marks_is_found_out: ListsNoMarks, "what is marked is listed with its owner";
    saying_nothing_of_open_sagas_is_found_out: SaysNothingOfOpenSagas, "coordinators let steps with completions join only where it says so";
    completing_nothing_is_found_out: CompletesNothing, "a completion does its work once, and its locks are free";
    completing_without_a_barrier_is_found_out: CompletesWithoutBarrier, "a completion does its work once, whatever crashes";
    storing_barriers_of_refused_completions_is_found_out: StoresBarriersOfRefusedCompletions, "what was not completed is still in effect";
    ending_without_a_barrier_what_was_done_elsewhere_is_found_out: EndsWithoutBarrierWhatWasDoneElsewhere, "what was done elsewhere is ended once, whatever crashes";
    dropping_marks_of_other_steps_is_found_out: DropsMarksOfOtherSteps, "a refused completion leaves the semantic locks as they were";
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "it numbers its writes")]
async fn numbering_nothing_is_found_out() {
    numbered(&mut MemoryWorld::new(|sound| sound)).await;
}

/// A crash takes everything, as if nothing had been forced.
#[tokio::test(start_paused = true)]
#[should_panic(expected = "a commit is forced")]
async fn forcing_nothing_is_found_out() {
    let mut world = MemoryWorld::forcing_nothing(|sound| sound);
    conformance(&mut world).await;
}
