//! The resource under test behind the participant's rules. What is a repetition, empty or late is decided there; whether
//! it is decided right after a crash depends on what the resource manager has stored.

use super::subject::{Attempt, COORDINATOR, Subject, attempt, done};
use super::{PATIENCE, World};
use crate::engine::inputs_of;
use crate::resource::{Mark, Recovered, Release, Resource as _, StepId, Steps as _};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use undoubt_participant_core::{Answer, Effect, Hello, Input, Limits, Operator, Participant, Proof, Session, Trust};
use undoubt_vocabulary::{
    Direction, Epoch, LowWaterMark, RunStep, StepIndex, StepOutcome, Timestamp, ToCoordinator, ToParticipant,
};

const SESSION: Session = Session(1);

/// A step of the saga with this number, which began at the moment of its number and has it as its attempt number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub id: StepId,
    begun_at: Timestamp,
}

/// Returns the step at this place of the saga with this number.
pub fn step(saga: u64, index: u16) -> Step {
    let Attempt { branch, begun_at } = attempt(saga);
    let (coordinator, attempt_number, tx) = (branch.coordinator, branch.attempt_number, branch.tx);
    Step { id: StepId { coordinator, attempt_number, step: StepIndex(index), tx }, begun_at }
}

impl Step {
    /// Returns the message that runs it in one direction.
    pub fn run(&self, direction: Direction, attempt: u32, work: Bytes) -> RunStep {
        let StepId { coordinator: _, attempt_number, step, tx } = self.id.clone();
        let (begun_at, timeout, inputs) = (self.begun_at, PATIENCE, Vec::new());
        let (acted_elsewhere, check_back) = (false, false);
        RunStep {
            tx,
            attempt_number,
            step,
            direction,
            acted_elsewhere,
            check_back,
            attempt,
            begun_at,
            timeout,
            work,
            inputs,
        }
    }
}

/// The resource under test and the core that stands before it, in one session of one coordinator.
pub struct Server<'w, W: World> {
    pub(super) subject: Subject<'w, W>,
    core: Participant,
    answers: VecDeque<ToCoordinator>,
    /// The last answer to an operator.
    told: Option<Answer>,
}

impl<W: World> fmt::Debug for Server<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("core", &self.core).finish_non_exhaustive()
    }
}

impl<'w, W: World> Server<'w, W> {
    /// Returns one over an empty resource.
    pub async fn fresh(world: &'w mut W) -> Self {
        Self::over(Subject::fresh(world).await, Recovered::default()).await
    }

    /// Crashes, and recovers.
    pub async fn crash(self) -> Self {
        Self::restart(self.subject).await
    }

    pub(super) async fn restart(subject: Subject<'w, W>) -> Self {
        let (subject, recovered) = subject.crash().await;
        Self::over(subject, recovered).await
    }

    async fn over(subject: Subject<'w, W>, recovered: Recovered) -> Self {
        // What it tells again is left with it, however short.
        let largest_kept_bytes = if subject.resource.recalls_results() { 0 } else { usize::MAX };
        let core = Participant::new(Limits { max_open_branches: 100, largest_kept_bytes, trust: Trust::EVERYBODY });
        let mut server = Server { subject, core, answers: VecDeque::new(), told: None };
        // Nobody answers an inquiry here.
        for survived in inputs_of(recovered, false) {
            server.tell(Input::Recovered(survived)).await;
        }
        let hello = Hello {
            coordinator: COORDINATOR,
            proof: Proof::default(),
            name: "conformance".to_owned(),
            epoch: Epoch(1),
            number: None,
            shown: None,
        };
        server.tell(Input::Hello { session: SESSION, hello }).await;
        server
    }

    /// Returns the resource itself, for what a test does past the rules.
    pub fn resource(&self) -> &Arc<W::Resource> {
        &self.subject.resource
    }

    pub(super) async fn act(&mut self, step: &Step, attempt: u32, work: Bytes) -> StepOutcome {
        self.run(step.run(Direction::Forward, attempt, work)).await
    }

    pub(super) async fn compensate(&mut self, step: &Step, attempt: u32, work: Bytes) -> StepOutcome {
        self.run(step.run(Direction::Compensating, attempt, work)).await
    }

    pub(super) async fn complete(&mut self, step: &Step, attempt: u32, work: Bytes) -> StepOutcome {
        self.run(step.run(Direction::Completing, attempt, work)).await
    }

    /// Ends a step whose caller has acted himself, in either direction.
    pub(super) async fn end_elsewhere(
        &mut self,
        step: &Step,
        direction: Direction,
        attempt: u32,
        work: Bytes,
    ) -> StepOutcome {
        self.run(RunStep { acted_elsewhere: true, ..step.run(direction, attempt, work) }).await
    }

    /// Returns the action, which must succeed.
    pub(super) async fn done(&mut self, step: &Step, work: Bytes) -> StepOutcome {
        let outcome = self.act(step, 1, work).await;
        assert!(
            matches!(outcome, StepOutcome::Done { .. }),
            "an action with nobody in its way is done, not {outcome:?}"
        );
        outcome
    }

    pub(super) async fn close(&mut self, step: &Step) {
        let (tx, attempt_number) = (step.id.tx.clone(), step.id.attempt_number);
        self.tell(Input::Message {
            session: SESSION,
            message: ToParticipant::Close { tx: tx.clone(), attempt_number },
        })
        .await;
        assert_eq!(self.answers.pop_front(), Some(ToCoordinator::Closed { tx, attempt_number }), "a close is answered");
    }

    /// Releases the saga's semantic locks, as an operator does.
    pub(super) async fn release(&mut self, step: &Step) {
        let release = Release { at: Timestamp(1), who: "operator".to_owned(), reason: "it is gone".to_owned() };
        let (coordinator, tx, operator) = (COORDINATOR, step.id.tx.clone(), Operator(1));
        self.tell(Input::ReleaseMarks { coordinator, tx, release, operator }).await;
        assert_eq!(self.told.take(), Some(Answer::Released), "an operator's release is answered");
    }

    /// Returns the owners of the semantic locks that are listed, one page after the other.
    pub(super) async fn owners_of_marks(&self) -> Vec<StepId> {
        let (mut owners, mut after) = (Vec::new(), Bytes::new());
        loop {
            let page = done("marks", self.subject.resource.marks(after.clone(), 1)).await;
            let Some(Mark { key, by, .. }) = page.into_iter().next() else { return owners };
            owners.push(by);
            after = key;
        }
    }

    /// Moves the coordinator's low-water mark.
    pub async fn low_water_mark(&mut self, low_water_mark: impl Into<LowWaterMark>) {
        let low_water_mark = low_water_mark.into();
        self.tell(Input::LowWaterMark { session: SESSION, low_water_mark }).await;
    }

    /// Sends it, and answers what is answered.
    pub async fn run(&mut self, run: RunStep) -> StepOutcome {
        self.tell(Input::Message { session: SESSION, message: ToParticipant::Run(run.clone()) }).await;
        match self.answers.pop_front() {
            Some(ToCoordinator::Ran { direction, attempt, outcome, .. })
                if (direction, attempt) == (run.direction, run.attempt) =>
            {
                outcome
            }
            other => panic!("a step is answered, not {other:?}"),
        }
    }

    /// Carries out whatever follows from it.
    async fn tell(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.core.handle_input(input, &mut effects);
            for effect in effects {
                inputs.extend(self.carry_out(effect).await);
            }
        }
    }

    async fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        let resource = &self.subject.resource;
        match effect {
            Effect::RecordEpoch { session, coordinator, epoch, pin } => {
                done("record_epoch", resource.record_epoch(coordinator, epoch, pin)).await;
                Some(Input::EpochRecorded { session })
            }
            Effect::RunAction { step, run } => {
                let outcome = done("act", resource.act(step.clone(), run, CancellationToken::new())).await;
                Some(Input::ActionRan { step, outcome })
            }
            Effect::FinishStep { step, mut run, recall } => {
                if recall {
                    let result = done("result_of_step", resource.result_of_step(step.clone())).await;
                    run.inputs.push(result.expect("the result of an action in effect is told again"));
                }
                let outcome = match run.direction {
                    Direction::Completing => done("complete", resource.complete(step.clone(), run)).await,
                    Direction::Compensating | Direction::Forward => {
                        done("compensate", resource.compensate(step.clone(), run)).await
                    }
                };
                Some(Input::StepFinished { step, outcome })
            }
            Effect::RecallOutcome { step, attempt } => {
                let result = done("result_of_step", resource.result_of_step(step.clone())).await;
                let result = result.expect("the result of an action in effect is told again");
                Some(Input::OutcomeRecalled { step, attempt, result })
            }
            Effect::StoreEmpty { step } => {
                done("store_empty", resource.store_empty(step.clone())).await;
                Some(Input::EmptyStored { step })
            }
            Effect::CloseSaga { coordinator, attempt_number, tx } => {
                done("close_saga", resource.close_saga(coordinator, attempt_number, tx.clone())).await;
                Some(Input::SagaClosed { coordinator, attempt_number, tx })
            }
            Effect::ReleaseMarks { coordinator, attempt_number, tx, release } => {
                done("release_marks", resource.release_marks(coordinator, attempt_number, tx.clone(), release)).await;
                Some(Input::MarksReleased { coordinator, attempt_number, tx })
            }
            Effect::Answer { answer, .. } => {
                self.told = Some(answer);
                None
            }
            Effect::Collect { coordinator, low_water_mark } => {
                done("collect", resource.collect(coordinator, low_water_mark)).await;
                None
            }
            Effect::Send { message, .. } => {
                self.answers.push_back(message);
                None
            }
            Effect::Welcome { .. } => None,
            Effect::RememberSeen { .. } | Effect::RememberName { .. } => None,
            Effect::Close { .. }
            | Effect::StorePutBack { .. }
            | Effect::AcceptLoss { .. }
            | Effect::RecordPin { .. }
            | Effect::Execute { .. }
            | Effect::Cancel { .. }
            | Effect::Confirm { .. }
            | Effect::Commit { .. }
            | Effect::Abort { .. }
            | Effect::Settle { .. }
            | Effect::Release { .. }
            | Effect::Resolve { .. }
            | Effect::StoreHeuristic { .. }
            | Effect::ForgetHeuristic { .. }
            | Effect::RecallVote { .. }
            | Effect::CancelAction { .. } => unreachable!("one session, and steps one after the other"),
        }
    }
}
