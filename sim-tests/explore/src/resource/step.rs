//! Steps of sagas: a local transaction each, as the key-value resource has it.
//!
//! A step holds its locks only while it writes, and writing and answering are one, so they are taken and freed at once,
//! unless it has to wait for them.

use super::{Caller, LocksOf, Resource};
use crate::mutant::Mutant;
use crate::storage::{COORDINATOR, Storage, result_of};
use crate::work;
use bytes::Bytes;
use undoubt_kv_evaluation as evaluation;
use undoubt_lock::{Acquire, Age};
use undoubt_participant_core::{BranchId, Input, StepId};
use undoubt_vocabulary::{AttemptNumber, Direction, Refusal, RefusalCode, RunStep, StepOutcome, TxId};

impl Resource<'_> {
    /// `None`: it waits for its locks.
    pub(super) fn act(&mut self, step: &StepId, run: &RunStep, locks: LocksOf) -> Result<Option<StepOutcome>, String> {
        let result = result_of(step);
        let marked = work::pends(&run.work);
        self.under_locks(step, run, locks, |storage, _| {
            let pending = !marked.is_empty();
            storage.act(step, result.clone(), marked)?;
            Ok(StepOutcome::Done { result, pending })
        })
    }

    /// Undoes a step, or completes it. `None`: it waits for its locks.
    pub(super) fn finish(
        &mut self,
        step: &StepId,
        run: &RunStep,
        locks: LocksOf,
    ) -> Result<Option<StepOutcome>, String> {
        self.under_locks(step, run, locks, |storage, mutant| {
            storage.finish(step, run, mutant)?;
            Ok(StepOutcome::Done { result: Bytes::new(), pending: false })
        })
    }

    pub(super) fn store_empty(&mut self, step: &StepId) -> Result<(), String> {
        if self.mutant == Some(Mutant::EmptyUnstored) { Ok(()) } else { self.storage.store_empty(step) }
    }

    pub(super) fn close_saga(&mut self, attempt_number: AttemptNumber, tx: TxId) -> Input {
        if self.mutant != Some(Mutant::MarksLeft) {
            self.storage.close_saga(attempt_number, &tx);
        }
        Input::SagaClosed { coordinator: COORDINATOR, attempt_number, tx }
    }

    pub(super) fn release_marks(&mut self, attempt_number: AttemptNumber, tx: TxId) -> Input {
        if self.mutant != Some(Mutant::ReleaseLeavesMarks) {
            self.storage.close_saga(attempt_number, &tx);
        }
        Input::MarksReleased { coordinator: COORDINATOR, attempt_number, tx }
    }

    fn under_locks(
        &mut self,
        step: &StepId,
        run: &RunStep,
        locks: LocksOf,
        write: impl FnOnce(&mut Storage, Option<Mutant>) -> Result<StepOutcome, String>,
    ) -> Result<Option<StepOutcome>, String> {
        let given = run.inputs.len() - usize::from(run.acted_elsewhere && run.direction != Direction::Forward);
        if run.inputs.iter().take(given).any(Bytes::is_empty) {
            return Err(format!(
                "contract: step {} of {}/{} is not given what it uses",
                run.step.0, run.tx, run.attempt_number
            ));
        }
        let (tx, caller) = (step.tx.clone(), Caller::Step(step.clone()));
        let owner = caller.owner();
        let operations = work::operations(
            &run.work,
            &BranchId { tx, attempt_number: step.attempt_number, coordinator: COORDINATOR },
        );
        if locks == LocksOf::NotAsked {
            let age = Age { begun_at: run.begun_at, tx: owner.clone() };
            match self.memory.locks.acquire(&age, &evaluation::locks(&operations)) {
                Acquire::Granted => {}
                Acquire::Refused { .. } => return Ok(Some(refused(RefusalCode::LockConflict))),
                Acquire::Crowded => return Ok(Some(refused(RefusalCode::Unavailable))),
                Acquire::Waiting => {
                    self.memory.waits(&caller);
                    return Ok(None);
                }
            }
        }
        let heeds = work::heeds(&run.work);
        let is_marked = self.storage.is_marked_against(&step.tx, step.attempt_number, &heeds);
        let outcome =
            match evaluation::evaluate(&operations, evaluation::Tell::All, |key| self.storage.values.get(key).cloned())
            {
                Err(_) if run.check_back && self.mutant == Some(Mutant::FailedCalledDone) => {
                    StepOutcome::Done { result: Bytes::new(), pending: false }
                }
                Err(refusal) => StepOutcome::Refused(refusal),
                Ok(_) if is_marked && self.mutant != Some(Mutant::MarksIgnored) => refused(RefusalCode::Pending),
                Ok(_) if work::balks(&run.work, run.attempt) => {
                    if (self.mutant, run.direction) == (Some(Mutant::RefusedThoughDone), Direction::Compensating) {
                        write(self.storage, self.mutant)?;
                    }
                    refused(RefusalCode::Condition)
                }
                Ok(_) if work::is_for_later(&run.work, run.attempt) => {
                    let told_apart = self.mutant != Some(Mutant::LaterCalledFailed);
                    refused(if told_apart { RefusalCode::Unavailable } else { RefusalCode::Condition })
                }
                Ok(_) => write(self.storage, self.mutant)?,
            };
        self.memory.release(&owner);
        Ok(Some(outcome))
    }
}

fn refused(code: RefusalCode) -> StepOutcome {
    StepOutcome::Refused(Refusal::new(code, ""))
}
