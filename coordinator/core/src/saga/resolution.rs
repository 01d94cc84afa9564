//! An operator ends what the saga does not end by itself: any step that is not settled.
//!
//! Skipping a step, or calling it done, is the operator's word, and its price is his: what was sent before may still take
//! effect at the participant, since nobody can call it back. Whatever comes late of it changes nothing here.

use super::{At, Run, Saga, WaitsFor};
use crate::context::Context;
use crate::effect::{Answer, Note, Rejection};
use crate::input::{Client, StepResolution};
use crate::saga::log::Written;
use bytes::Bytes;
use undoubt_vocabulary::{Direction, StepName};

impl Saga {
    /// Resolves a step. The client hears when it is on record, or the outcome if that is the end.
    pub(crate) fn resolve(
        &mut self,
        name: &StepName,
        resolution: StepResolution,
        client: Client,
        cx: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let step = self.steps.iter().position(|step| step.definition.name == *name);
        let step = step.ok_or_else(|| Rejection::NoSuchStep { step: name.clone() })?;
        let (at, direction) = (&self.steps[step].at, self.direction_to_do());
        if !self.is_undecided() || at.is_settled(direction) {
            return Err(Rejection::StepSettled { step: name.clone(), state: at.state().as_str() });
        }
        let settled = match resolution {
            StepResolution::Retry => None,
            StepResolution::Skip => Some(At::Skipped),
            StepResolution::Done => Some(at.done_by_other_means(direction)),
        };
        match (settled, self.run(step)) {
            (Some(at), _) => {
                let locks_unknown = at == At::Undone;
                let known = &mut self.steps[step];
                (known.at, known.locks_unknown, known.word_unrecorded) = (at, locks_unknown, true);
            }
            (None, Some(run)) if run.waits_for == WaitsFor::Operator => {
                self.steps[step].at = At::Running(Run { waits_for: WaitsFor::Record, ..run });
            }
            (None, _) => return Err(Rejection::NotStuck { step: name.clone(), state: at.state() }),
        }
        self.note(Note::Resolved { step: name.clone(), resolution }, cx);
        self.append(Written::Resolved { step, client: Some(client) }, true, cx);
        Ok(())
    }

    pub(super) fn handle_stable_resolution(&mut self, step: usize, client: Option<Client>, cx: &mut Context<'_>) {
        if self.steps[step].word_unrecorded {
            self.steps[step].word_unrecorded = false;
            self.steps[step].on_record = true;
            self.answer_callers(step, cx);
        } else if let Some(run) = self.run(step).filter(|run| run.waits_for == WaitsFor::Record) {
            // Participants run it again only under a higher number.
            let attempt = run.attempt.saturating_add(1);
            self.attempt(step, Run { attempt, refusals: 0, ..run }, cx);
        }
        if self.is_settled() {
            // Whatever was settled since that record was written has been appended behind it.
            self.finish(self.unstable.is_empty(), cx);
        } else {
            self.advance(cx);
        }
        match client {
            Some(client) if self.is_undecided() => self.answer(client, Answer::Pending, cx),
            Some(client) => self.wait_for(client, true, cx),
            None => {}
        }
    }

    /// Returns the direction in which its steps are still to be run.
    pub(super) fn direction_to_do(&self) -> Direction {
        if self.compensating.is_some() {
            Direction::Compensating
        } else if self.is_closed() {
            Direction::Completing
        } else {
            Direction::Forward
        }
    }
}

impl At {
    /// Returns the step's state on an operator's word that it is done in this direction. If the action may be in effect
    /// here as well, it may have left semantic locks.
    fn done_by_other_means(&self, direction: Direction) -> At {
        match direction {
            Direction::Forward => At::Done { result: Bytes::new(), pending: self.may_be_in_effect() },
            Direction::Compensating => At::Undone,
            Direction::Completing => At::Completed,
        }
    }
}
