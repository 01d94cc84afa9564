//! Steps of sagas: each writes what it does together with its barrier and its semantic locks, forced.

use super::{Mutant, Storage};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_participant_core::{Kept, StepId, StepState};
use undoubt_vocabulary::{AttemptNumber, Direction, RunStep, StepOutcome, TxId, saga};

/// The end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Came {
    InEffect,
    Undone,
    /// Its saga was closed.
    Completed,
    /// Its compensation came first.
    Nothing,
}

/// The semantic locks, by whose they are, and on which keys.
pub(crate) type Marks = BTreeMap<StepId, BTreeSet<Bytes>>;

impl Storage {
    pub(crate) fn act(&mut self, step: &StepId, result: Bytes, marked: BTreeSet<Bytes>) -> Result<(), String> {
        match self.came.insert(step.clone(), Came::InEffect) {
            None => {}
            Some(Came::InEffect) => return broken(step, "its action takes effect twice"),
            Some(Came::Undone | Came::Nothing) => {
                return broken(step, "its action takes effect after its compensation");
            }
            Some(Came::Completed) => return broken(step, "its action takes effect after its completion"),
        }
        self.barrier(step, StepState::Acted { result: Kept::Here(result), pending: !marked.is_empty() });
        if !marked.is_empty() {
            self.marks.insert(step.clone(), marked);
        }
        Ok(())
    }

    /// Undoes a step or completes it, whichever way it runs. What its caller has done himself is in effect for all that is known.
    pub(crate) fn finish(&mut self, step: &StepId, run: &RunStep, mutant: Option<Mutant>) -> Result<(), String> {
        let (came, word) = match run.direction {
            Direction::Completing => (Came::Completed, "completion"),
            Direction::Compensating | Direction::Forward => (Came::Undone, "compensation"),
        };
        match self.came.insert(step.clone(), came) {
            Some(Came::InEffect) if !run.acted_elsewhere => {}
            None if run.acted_elsewhere => {}
            Some(before) if before == came => return broken(step, &format!("its {word} takes effect twice")),
            Some(Came::Completed) => return broken(step, "it is undone after its completion"),
            Some(Came::Undone) => return broken(step, "it is completed after its compensation"),
            None | Some(Came::Nothing | Came::InEffect) => {
                return broken(step, &format!("its {word} runs though it is not in effect"));
            }
        }
        let handed = run.inputs.last().filter(|handed| !(run.acted_elsewhere && handed.is_empty()));
        let anew = StepId { step: saga::place_of(step.step), ..step.clone() };
        let expected = match anew == *step {
            true => self.result_of_step(step).cloned(),
            // What was completed has handed over what it had; if its caller acted himself that is nothing.
            false => handed.and(Some(result_of(&anew))),
        };
        if expected.as_ref() != handed {
            return Err(format!("contract: the {word} of {} is not given what its action came to", named(step)));
        }
        let state = match (mutant, came) {
            // What it did is durable, and nothing says so.
            (Some(Mutant::CompensationUnmarked | Mutant::RefusedThoughDone), Came::Undone) => return Ok(()),
            (Some(Mutant::CompletionUnmarked), Came::Completed) => return Ok(()),
            (_, Came::Completed) => StepState::Completed,
            (_, Came::Undone | Came::InEffect | Came::Nothing) => StepState::Compensated,
        };
        self.marks.remove(step);
        self.barrier(step, state);
        Ok(())
    }

    /// The result that is stored of an action in effect.
    pub(crate) fn result_of_step(&self, step: &StepId) -> Option<&Bytes> {
        match self.steps.get(step) {
            Some(StepState::Acted { result: Kept::Here(result), .. }) => Some(result),
            Some(
                StepState::Acted { result: Kept::Stored, .. }
                | StepState::Compensated
                | StepState::Completed
                | StepState::Empty
                | StepState::Attempted,
            )
            | None => None,
        }
    }

    pub(crate) fn store_empty(&mut self, step: &StepId) -> Result<(), String> {
        match self.came.insert(step.clone(), Came::Nothing) {
            None | Some(Came::Nothing) => {}
            Some(Came::InEffect) => return broken(step, "it is in effect, and its compensation does nothing"),
            Some(Came::Undone) => return broken(step, "it was undone, and is said never to have been in effect"),
            Some(Came::Completed) => return broken(step, "it was completed, and is said never to have been in effect"),
        }
        self.barrier(step, StepState::Empty);
        Ok(())
    }

    pub(crate) fn close_saga(&mut self, closed: AttemptNumber, of: &TxId) {
        for (StepId { attempt_number, tx, .. }, state) in &mut self.steps {
            match state {
                StepState::Acted { pending, .. } if *attempt_number == closed && tx == of => *pending = false,
                StepState::Acted { .. }
                | StepState::Compensated
                | StepState::Completed
                | StepState::Empty
                | StepState::Attempted => {}
            }
        }
        self.marks.retain(|step, _| step.attempt_number != closed || step.tx != *of);
        self.force();
    }

    /// Steps that hold semantic locks.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &StepId> {
        self.marks.keys()
    }

    /// Another saga than this attempt holds a semantic lock on one of the keys.
    pub(crate) fn is_marked_against(&self, tx: &TxId, attempt_number: AttemptNumber, keys: &BTreeSet<Bytes>) -> bool {
        let foreign = |step: &StepId| step.attempt_number != attempt_number || step.tx != *tx;
        self.marks.iter().any(|(step, marked)| foreign(step) && !marked.is_disjoint(keys))
    }

    /// Returns what came of the steps of this transaction, whatever the attempt.
    pub(crate) fn came_of<'a>(&'a self, tx: &'a TxId) -> impl Iterator<Item = (&'a StepId, Came)> {
        self.came.iter().filter(move |(step, _)| step.tx == *tx).map(|(step, came)| (step, *came))
    }

    /// Checks that what is said of a step is true, durably.
    pub(crate) fn has_come_to(&self, step: &StepId, direction: Direction, outcome: &StepOutcome) -> bool {
        let came = self.came.get(step).copied();
        match (direction, outcome) {
            (Direction::Forward, StepOutcome::Done { .. }) => came == Some(Came::InEffect),
            (Direction::Compensating, StepOutcome::Done { .. }) => came == Some(Came::Undone),
            (Direction::Compensating, StepOutcome::Empty) => came == Some(Came::Nothing),
            (Direction::Completing, StepOutcome::Done { .. }) => came == Some(Came::Completed),
            (Direction::Forward | Direction::Completing, StepOutcome::Empty) => false,
            (_, StepOutcome::Refused(_)) => true,
        }
    }

    fn barrier(&mut self, step: &StepId, state: StepState) {
        self.force();
        self.steps.insert(step.clone(), state);
    }
}

/// Returns what the action of this step hands back.
pub(crate) fn result_of(step: &StepId) -> Bytes {
    Bytes::from(format!("{}/{}#{}", step.tx, step.attempt_number, step.step.0))
}

fn broken(step: &StepId, what: &str) -> Result<(), String> {
    Err(format!("barrier: of {}, {what}", named(step)))
}

fn named(StepId { tx, attempt_number, step, .. }: &StepId) -> String {
    format!("step {} of {tx}/{attempt_number}", step.0)
}
