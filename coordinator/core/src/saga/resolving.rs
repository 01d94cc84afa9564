//! An operator ends what the saga cannot end by itself: a step that is stuck.

use super::{At, Run, Saga, WaitsFor};
use crate::context::Context;
use crate::effect::{Answer, Note, Rejection};
use crate::input::{Client, StepResolution};
use crate::record::Progress;
use crate::saga::logging::Written;
use bytes::Bytes;
use undoubt_vocabulary::{Half, StepName};

impl Saga {
    /// The client hears when it is on record, or the outcome if that is the end.
    pub(crate) fn resolve(
        &mut self,
        name: &StepName,
        resolution: StepResolution,
        client: Client,
        cx: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        let step = self.steps.iter().position(|step| step.definition.name == *name);
        let step = step.ok_or_else(|| Rejection::NoSuchStep { step: name.clone() })?;
        let stuck = self.run(step).filter(|run| run.waits_for == WaitsFor::Operator);
        let run = stuck.ok_or_else(|| Rejection::NotStuck { step: name.clone() })?;
        self.note(Note::Resolved { step: name.clone(), resolution }, cx);
        self.steps[step].at = At::Running(Run { waits_for: WaitsFor::Record(resolution), ..run });
        self.append(Written::Resolved { step, client: Some(client) }, true, cx);
        Ok(())
    }

    pub(super) fn resolution_is_stable(&mut self, step: usize, client: Option<Client>, cx: &mut Context<'_>) {
        if let Some(run) = self.run(step) {
            self.carry_on(step, run, cx);
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

    fn carry_on(&mut self, step: usize, run: Run, cx: &mut Context<'_>) {
        match run.waits_for {
            WaitsFor::Record(StepResolution::Retry) => {
                // Participants run it again only under a higher number.
                let attempt = run.attempt.saturating_add(1);
                self.attempt(step, Run { attempt, refusals: 0, ..run }, cx);
            }
            WaitsFor::Record(StepResolution::Skip) => self.settle_on_record(step, At::Skipped),
            WaitsFor::Record(StepResolution::Done) => self.settle_on_record(step, run.done_by_other_means()),
            // It was answered late, after all.
            WaitsFor::Answer | WaitsFor::Pause | WaitsFor::Operator => {}
        }
    }

    fn settle_on_record(&mut self, step: usize, at: At) {
        self.steps[step].locks_unknown = at == At::Undone;
        self.steps[step].at = at;
        self.steps[step].on_record = true;
    }
}

impl Run {
    fn done_by_other_means(self) -> At {
        match self.half {
            Half::Action => At::Done { result: Bytes::new(), pending: false },
            Half::Compensation => At::Undone,
        }
    }

    pub(super) fn progress(self) -> Progress {
        match self.waits_for {
            WaitsFor::Record(StepResolution::Skip) => Progress::Skipped,
            WaitsFor::Record(StepResolution::Done) => self.done_by_other_means().progress(),
            WaitsFor::Record(StepResolution::Retry) | WaitsFor::Answer | WaitsFor::Pause | WaitsFor::Operator => {
                Progress::Pending
            }
        }
    }
}
