//! The barrier: what becomes of a step's messages, by what is known of the step.

use super::Participant;
use crate::branch::{Branch, State as BranchState};
use crate::branch_id::BranchId;
use crate::effect::Effect;
use crate::kept_result::Kept;
use crate::saga::Closing;
use crate::step::{Acted, Refused, State, StepId};
use bytes::Bytes;
use undoubt_vocabulary::{Direction, Refusal, RefusalCode, RunStep, StepOutcome, ToCoordinator, saga};

impl Participant {
    pub(super) fn handle_run(&mut self, id: StepId, run: RunStep, is_over: bool, effects: &mut Vec<Effect>) {
        if is_over {
            return self.late(&id, &run, "the saga was over when this arrived", effects);
        }
        match run.direction {
            Direction::Forward => self.act(id, run, effects),
            Direction::Compensating => self.compensate(id, run, effects),
            Direction::Completing => self.complete(id, run, effects),
        }
    }

    fn act(&mut self, id: StepId, run: RunStep, effects: &mut Vec<Effect>) {
        match self.sagas.state_of(&id) {
            None => self.begin_action(id, run, effects),
            Some(State::Refused(Refused { attempt, .. })) if run.attempt > attempt => {
                self.begin_action(id, run, effects);
            }
            // What was attempted has to end, so it is refused for no other reason than its own.
            Some(State::Attempted(before)) if before.as_ref().is_none_or(|before| run.attempt > before.attempt) => {
                self.run_action(id, run, true, effects);
            }
            Some(State::Attempted(None)) => unreachable!("whatever comes then is a new attempt"),
            Some(State::Refused(Refused { refusal, .. }) | State::Attempted(Some(Refused { refusal, .. }))) => {
                self.send_ran(&id, Direction::Forward, run.attempt, StepOutcome::Refused(refusal), effects);
            }
            Some(State::Acting { attempt, attempted, then: None }) => {
                self.sagas.set(&id, State::Acting { attempt: attempt.max(run.attempt), attempted, then: None });
            }
            Some(State::InEffect { acted: Acted::Here { result: Kept::Here(result), pending }, .. }) => {
                self.send_ran(&id, Direction::Forward, run.attempt, StepOutcome::Done { result, pending }, effects);
            }
            Some(State::InEffect { acted: Acted::Here { result: Kept::Stored, .. }, .. }) => {
                effects.push(Effect::RecallOutcome { step: id, attempt: run.attempt });
            }
            Some(State::InEffect { acted: Acted::Unclear, .. }) => {
                self.late(&id, &run, "the step's compensation came before this action", effects);
            }
            Some(State::InEffect { acted: Acted::Elsewhere, .. }) => {
                self.late(&id, &run, "the step's caller has done this action himself", effects);
            }
            Some(State::Compensated | State::Empty) => {
                self.late(&id, &run, "the step's compensation came before this action", effects);
            }
            Some(State::Completed) => self.late(&id, &run, "the step was completed when this action came", effects),
            // The step is being ended, so nobody waits for the action any more.
            Some(
                State::Acting { then: Some(_), .. }
                | State::Compensating { .. }
                | State::Completing { .. }
                | State::Emptying { .. },
            ) => {}
        }
    }

    fn compensate(&mut self, id: StepId, run: RunStep, effects: &mut Vec<Effect>) {
        match self.sagas.state_of(&id) {
            None if run.acted_elsewhere && !self.has_lost_what_is_undone(&id, &run) => {
                self.finish(id, run, Acted::Elsewhere, effects);
            }
            None | Some(State::Refused(_)) => {
                let (state, effect) =
                    (State::Emptying { attempt: run.attempt }, Effect::StoreEmpty { step: id.clone() });
                self.begin(id, run, state, |_| effect, effects);
            }
            Some(State::Acting { attempt, attempted, then }) => {
                if then.is_none() {
                    effects.push(Effect::CancelAction { step: id.clone() });
                }
                let latest = then.filter(|then| then.attempt >= run.attempt).unwrap_or(run);
                self.sagas.set(&id, State::Acting { attempt, attempted, then: Some(latest) });
            }
            Some(State::InEffect { refused: Some((Direction::Compensating, refused)), .. })
                if run.attempt <= refused.attempt =>
            {
                self.send_ran(&id, run.direction, run.attempt, StepOutcome::Refused(refused.refusal), effects);
            }
            Some(State::InEffect { acted, .. }) => self.finish(id, run, acted, effects),
            // It is undone whether or not it took effect: only where it ran can that be told.
            Some(State::Attempted(_)) => self.finish(id, run, Acted::Unclear, effects),
            Some(State::Compensating { acted, attempt }) => {
                self.sagas.set(&id, State::Compensating { acted, attempt: attempt.max(run.attempt) });
            }
            Some(State::Emptying { attempt }) => {
                self.sagas.set(&id, State::Emptying { attempt: attempt.max(run.attempt) });
            }
            Some(State::Compensated) => self.send_ran(&id, Direction::Compensating, run.attempt, finished(), effects),
            Some(State::Empty) => self.send_ran(&id, Direction::Compensating, run.attempt, StepOutcome::Empty, effects),
            Some(State::Completing { .. } | State::Completed) => {
                self.late(&id, &run, "the step was completed: its saga was closed before this came", effects);
            }
        }
    }

    /// Returns true if what was completed here is to be undone, and is not known here any more: the folder was put back. The result of
    /// its action comes with what undoes it, and that of nothing else.
    fn has_lost_what_is_undone(&self, id: &StepId, run: &RunStep) -> bool {
        let completed = StepId { step: saga::place_of(id.step), ..id.clone() };
        completed.step != id.step && !run.inputs.is_empty() && self.sagas.state_of(&completed).is_none()
    }

    /// Completes a step whose saga was closed, which its coordinator does with a step alone that is in effect for all that it knows.
    fn complete(&mut self, id: StepId, run: RunStep, effects: &mut Vec<Effect>) {
        match self.sagas.state_of(&id) {
            None if run.acted_elsewhere => self.finish(id, run, Acted::Elsewhere, effects),
            Some(State::InEffect { refused: Some((Direction::Completing, refused)), .. })
                if run.attempt <= refused.attempt =>
            {
                self.send_ran(&id, run.direction, run.attempt, StepOutcome::Refused(refused.refusal), effects);
            }
            Some(State::InEffect { acted, .. }) => self.finish(id, run, acted, effects),
            Some(State::Completing { acted, attempt }) => {
                self.sagas.set(&id, State::Completing { acted, attempt: attempt.max(run.attempt) });
            }
            Some(State::Completed) => self.send_ran(&id, Direction::Completing, run.attempt, finished(), effects),
            None | Some(State::Acting { .. } | State::Refused(_) | State::Attempted(_)) => {
                self.late(&id, &run, "the step's action is not known to be in effect", effects);
            }
            Some(State::Compensating { .. } | State::Emptying { .. } | State::Compensated | State::Empty) => {
                self.late(&id, &run, "the step was undone: its saga was not closed", effects);
            }
        }
    }

    /// Has the resource manager undo or complete a step.
    fn finish(&mut self, id: StepId, run: RunStep, acted: Acted, effects: &mut Vec<Effect>) {
        let (result, step, attempt) = (acted.result(), id.clone(), run.attempt);
        let state = match run.direction {
            Direction::Compensating => State::Compensating { acted, attempt },
            Direction::Completing => State::Completing { acted, attempt },
            Direction::Forward => unreachable!("an action is not what ends a step"),
        };
        // Of what was completed and is undone as a step of its own the coordinator knows the result.
        let is_given = run.acted_elsewhere && !run.inputs.is_empty();
        let effect = |mut run: RunStep| match result {
            Kept::Here(_) if is_given => Effect::FinishStep { step, run, recall: false },
            Kept::Here(result) => {
                run.inputs.push(result);
                Effect::FinishStep { step, run, recall: false }
            }
            Kept::Stored => Effect::FinishStep { step, run, recall: true },
        };
        self.begin(id, run, state, effect, effects);
    }

    fn begin_action(&mut self, id: StepId, run: RunStep, effects: &mut Vec<Effect>) {
        if let Some(branch) = self.attempt_before(&id).filter(|branch| branch.is_unexplained()) {
            // If somebody else has committed it, the work is done. Unanswered, the action comes again.
            return self.inquire(&branch.id.clone(), effects);
        }
        self.abort_attempt_before(&id, effects);
        let why_not = if self.is_committed_by_an_operator(&id) {
            let detail = "an operator has committed this transaction's branch here before it became a saga: it is done";
            Some(Refusal::new(RefusalCode::Condition, detail))
        } else {
            self.is_full().then(|| Refusal::new(RefusalCode::Unavailable, self.full()))
        };
        if let Some(refusal) = why_not {
            // Remembered like any refusal: the coordinator relies on it that this attempt leaves nothing behind.
            let refused = Refused { attempt: run.attempt, refusal: refusal.clone() };
            self.sagas.set(&id, State::Refused(refused));
            return self.send_ran(&id, Direction::Forward, run.attempt, StepOutcome::Refused(refusal), effects);
        }
        self.run_action(id, run, false, effects);
    }

    fn run_action(&mut self, id: StepId, run: RunStep, attempted: bool, effects: &mut Vec<Effect>) {
        let (state, step) = (State::Acting { attempt: run.attempt, attempted, then: None }, id.clone());
        self.begin(id, run, state, |run| Effect::RunAction { step, run }, effects);
    }

    /// Aborts the attempt by two-phase commit that goes on as this saga: it was aborted, whether or not its abort was
    /// heard.
    fn abort_attempt_before(&mut self, step: &StepId, effects: &mut Vec<Effect>) {
        if let Some(branch) = self.attempt_before(step).map(|branch| branch.id.clone()) {
            self.handle_abort(branch, false, effects);
        }
    }

    fn attempt_before(&self, step: &StepId) -> Option<&Branch> {
        let is_earlier = |id: &BranchId| id.coordinator == step.coordinator && id.attempt_number < step.attempt_number;
        self.branches.get(&step.tx).map(|branch| &**branch).filter(|branch| is_earlier(&branch.id))
    }

    /// Returns true if an operator has committed the branch of two-phase commit that goes on as this saga. Its work
    /// would be done twice.
    fn is_committed_by_an_operator(&self, id: &StepId) -> bool {
        let branch = self.branches.get(&id.tx).filter(|branch| branch.id.coordinator == id.coordinator);
        branch.is_some_and(|branch| match &branch.state {
            BranchState::Heuristic { heuristic, .. } | BranchState::Resolving { heuristic, .. } => heuristic.commit,
            BranchState::Executing { .. }
            | BranchState::Prepared { .. }
            | BranchState::ReadOnly { .. }
            | BranchState::Confirming
            | BranchState::Committing
            | BranchState::Aborting { .. }
            | BranchState::Finished(_) => false,
        })
    }

    /// Asks the resource manager for it, unless the saga is closed.
    fn begin(
        &mut self,
        id: StepId,
        run: RunStep,
        state: State,
        effect: impl FnOnce(RunStep) -> Effect,
        effects: &mut Vec<Effect>,
    ) {
        let saga = self.sagas.get(&id.saga());
        if saga.is_some_and(|saga| saga.closing != Closing::Open) {
            return self.late(&id, &run, "the saga was closed when this arrived", effects);
        }
        if saga.is_some_and(|saga| saga.releasing.is_some()) {
            // Nothing of a saga begins while its semantic locks are being released; unanswered, it comes again.
            return;
        }
        self.sagas.set(&id, state);
        self.sagas.note_beginning(&id.saga(), run.begun_at);
        effects.push(effect(run));
    }

    pub(super) fn handle_action_ran(&mut self, id: StepId, outcome: StepOutcome, effects: &mut Vec<Effect>) {
        let Some(State::Acting { attempt, attempted, then }) = self.sagas.state_of(&id) else {
            unreachable!("the resource manager answers an action once, and the step waits for it")
        };
        let outcome = if attempted { still_unclear(outcome) } else { outcome };
        let state = match outcome.clone() {
            StepOutcome::Done { result, pending } => {
                State::InEffect { acted: Acted::Here { result: self.keep(result), pending }, refused: None }
            }
            StepOutcome::Refused(refusal) if refusal.code == RefusalCode::Unclear => {
                State::Attempted(Some(Refused { attempt, refusal }))
            }
            StepOutcome::Refused(refusal) => State::Refused(Refused { attempt, refusal }),
            StepOutcome::Empty => unreachable!("only a compensation can be empty"),
        };
        self.sagas.set(&id, state);
        match then {
            None => self.send_ran(&id, Direction::Forward, attempt, outcome, effects),
            Some(compensation) => self.compensate(id.clone(), compensation, effects),
        }
        self.at_rest(id.saga(), effects);
    }

    /// Says again what an action came to.
    pub(super) fn handle_outcome_recalled(&self, id: &StepId, attempt: u32, result: Bytes, effects: &mut Vec<Effect>) {
        // It may have been undone meanwhile, or the low-water mark may have passed it.
        if let Some(State::InEffect { acted: Acted::Here { pending, .. }, .. }) = self.sagas.state_of(id) {
            self.send_ran(id, Direction::Forward, attempt, StepOutcome::Done { result, pending }, effects);
        }
    }

    pub(super) fn handle_step_finished(&mut self, id: StepId, outcome: StepOutcome, effects: &mut Vec<Effect>) {
        let (direction, acted, attempt) = match self.sagas.state_of(&id) {
            Some(State::Compensating { acted, attempt }) => (Direction::Compensating, acted, attempt),
            Some(State::Completing { acted, attempt }) => (Direction::Completing, acted, attempt),
            None
            | Some(
                State::Acting { .. }
                | State::Refused(_)
                | State::InEffect { .. }
                | State::Emptying { .. }
                | State::Compensated
                | State::Completed
                | State::Empty
                | State::Attempted(_),
            ) => unreachable!("the resource manager ends a step once, and the step waits for it"),
        };
        let (state, outcome) = match (direction, outcome) {
            // What it read is nobody's: a repetition could not tell it again.
            (Direction::Compensating, StepOutcome::Done { .. }) => (State::Compensated, finished()),
            (Direction::Completing, StepOutcome::Done { .. }) => (State::Completed, finished()),
            (Direction::Compensating, StepOutcome::Empty) => (State::Empty, StepOutcome::Empty),
            (_, StepOutcome::Refused(refusal)) => {
                let refused = Some((direction, Refused { attempt, refusal: refusal.clone() }));
                (State::InEffect { acted, refused }, StepOutcome::Refused(refusal))
            }
            (Direction::Completing | Direction::Forward, _) => {
                unreachable!("only a compensation can be empty, and an action is answered elsewhere")
            }
        };
        self.sagas.set(&id, state);
        self.send_ran(&id, direction, attempt, outcome, effects);
        self.at_rest(id.saga(), effects);
    }

    pub(super) fn handle_empty_stored(&mut self, id: StepId, effects: &mut Vec<Effect>) {
        let Some(State::Emptying { attempt }) = self.sagas.state_of(&id) else {
            unreachable!("an empty compensation that nobody asked for")
        };
        self.sagas.set(&id, State::Empty);
        self.send_ran(&id, Direction::Compensating, attempt, StepOutcome::Empty, effects);
        self.at_rest(id.saga(), effects);
    }

    fn late(&self, id: &StepId, run: &RunStep, detail: &str, effects: &mut Vec<Effect>) {
        let refusal = Refusal::new(RefusalCode::Late, detail);
        self.send_ran(id, run.direction, run.attempt, StepOutcome::Refused(refusal), effects);
    }

    fn send_ran(
        &self,
        id: &StepId,
        direction: Direction,
        attempt: u32,
        outcome: StepOutcome,
        effects: &mut Vec<Effect>,
    ) {
        let StepId { coordinator, attempt_number, step, tx } = id.clone();
        self.send(coordinator, ToCoordinator::Ran { tx, attempt_number, step, direction, attempt, outcome }, effects);
    }
}

/// Returns what came of asking again for an action that was attempted: where it was not asked again after all, for whatever reason of
/// the participant's own, it may be in effect as before.
fn still_unclear(outcome: StepOutcome) -> StepOutcome {
    match outcome {
        StepOutcome::Refused(Refusal { code: RefusalCode::Unavailable | RefusalCode::Late, detail }) => {
            StepOutcome::Refused(Refusal { code: RefusalCode::Unclear, detail })
        }
        StepOutcome::Done { .. } | StepOutcome::Empty | StepOutcome::Refused(_) => outcome,
    }
}

fn finished() -> StepOutcome {
    StepOutcome::Done { result: Bytes::new(), pending: false }
}
