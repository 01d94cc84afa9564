//! A resource manager in small, as the key-value resource does it: locks, work, and what is asked of it.
//!
//! Locks and work are those of the key-value resource ([`lock`], [`evaluation`]). A durable write and its answer are one step:
//! a crash between them is the same as a crash right after the answer was sent, for whatever a crashed process has sent
//! may still be dropped unread when its session is found closed.
//!
//! [`lock`]: undoubt_lock
//! [`evaluation`]: undoubt_kv_evaluation

mod call;
mod enlisted;
mod late;
mod step;
mod upset;

use crate::mutant::Mutant;
use crate::storage::{PreparedRecord, Storage, Unforced};
use crate::work;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_kv_evaluation as evaluation;
use undoubt_lock::{Acquire, Age, LockTable, Mode};
use undoubt_participant_core::{BranchId, Input};
use undoubt_vocabulary::{Execution, Prepare, Refusal, RefusalCode, StepOutcome, Timestamp, TxId, Vote};

pub(crate) use call::{Call, Caller, LocksOf};
pub(crate) use late::Late;
pub(crate) use upset::Upset;

/// A resource's memory, which a crash wipes out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Memory {
    pub(crate) locks: LockTable,
    /// The branches that have voted read-only and hold their locks.
    pub(crate) readers: BTreeSet<BranchId>,
    /// The calls that are not yet answered.
    pub(crate) calls: BTreeMap<Caller, Call>,
    pub(crate) late: Late,
    /// The transactions that nobody has open, so that what is prepared for them is to be undone.
    pub(crate) unsubmitted: BTreeSet<TxId>,
}

/// The surroundings of one step of a resource.
pub(crate) struct Resource<'a> {
    pub(crate) memory: &'a mut Memory,
    pub(crate) storage: &'a mut Storage,
    pub(crate) mutant: Option<Mutant>,
    /// The participant sees ages upside down; only a mutant does.
    pub(crate) sees_ages_upside_down: bool,
    /// True if its work is done by a service; see [`crate::scenario::Scenario::calls_services`].
    pub(crate) calls_services: bool,
}

impl Memory {
    /// Memory at a start: prepared branches hold their locks again.
    pub(crate) fn recovered(storage: &Storage, mutant: Option<Mutant>) -> Memory {
        let mut memory = Memory::default();
        let mut lock = |record: &PreparedRecord| {
            let age = Age { begun_at: record.begun_at, tx: record.branch.tx.clone() };
            memory.locks.lock_recovered(&age, &record.locks);
        };
        if mutant != Some(Mutant::LocksNotRestored) {
            let held = storage.prepared.values().chain(storage.settling.values());
            held.filter(|record| record.ended.is_none()).for_each(&mut lock);
        }
        // Nothing but a mutant's is left of what was not forced.
        for write in &storage.unforced {
            if let Unforced::Abort(record) = write {
                lock(record);
            }
        }
        for (tx, record) in &storage.enlisted {
            let age = Age { begun_at: Timestamp::default(), tx: tx.clone() };
            memory.locks.lock_recovered(&age, &record.locks);
        }
        memory
    }

    /// A new call, which its caller waits for.
    pub(crate) fn call(&mut self, call: Call, mutant: Option<Mutant>) -> Result<(), String> {
        let caller = call.caller();
        if call.is_leaving() && mutant != Some(Mutant::LeavingUntold) {
            self.locks.leave(&caller.owner());
        }
        match self.calls.insert(caller, call) {
            None => Ok(()),
            Some(earlier) => Err(format!("contract: the resource is asked while it is at {}", earlier.name())),
        }
    }

    pub(crate) fn cancel(&mut self, caller: &Caller) {
        if let Some(Call::Execute { cancelled, .. } | Call::Act { cancelled, .. }) = self.calls.get_mut(caller) {
            *cancelled = true;
        }
    }

    /// Checks that what is prepared is not let go without a decision.
    pub(crate) fn release_reader(&mut self, branch: &BranchId) {
        if self.readers.remove(branch) {
            self.release(&branch.tx);
        }
    }

    fn waits(&mut self, caller: &Caller) {
        if let Some(call) = self.calls.get_mut(caller) {
            call.set_locks(LocksOf::Waiting);
        }
    }

    fn is_leaving(&self, holder: &TxId) -> bool {
        self.calls.iter().any(|(caller, call)| caller.owner() == *holder && call.is_leaving())
    }

    fn release(&mut self, tx: &TxId) {
        for granted in self.locks.release(tx) {
            if let Some((_, call)) = self.calls.iter_mut().find(|(caller, _)| caller.owner() == granted) {
                call.set_locks(LocksOf::Granted);
                if call.is_leaving() {
                    self.locks.leave(&granted);
                }
            }
        }
    }

    /// An execution ends without its locks: it was cancelled, or waited long enough.
    pub(crate) fn give_up(&mut self, caller: &Caller) -> Option<Input> {
        let call = self.calls.remove(caller)?;
        // What an application has prepared keeps its locks, adopted or not.
        if !matches!(&call, Call::Execute { prepare, .. } if work::adopts(&prepare.work)) {
            self.release(&caller.owner());
        }
        let code = if call.is_cancelled() { RefusalCode::Late } else { RefusalCode::LockTimeout };
        let outcome = StepOutcome::Refused(Refusal::new(code, ""));
        match call {
            Call::Execute { branch, .. } => Some(Input::Executed { branch, vote: refused(code) }),
            Call::Act { step, .. } => Some(Input::ActionRan { step, outcome }),
            Call::Finish { step, .. } => Some(Input::StepFinished { step, outcome }),
            Call::Confirm { .. }
            | Call::Commit { .. }
            | Call::Abort { .. }
            | Call::Resolve { .. }
            | Call::ClearUp { .. }
            | Call::StoreEmpty { .. }
            | Call::CloseSaga { .. }
            | Call::ReleaseMarks { .. } => None,
        }
    }
}

impl Resource<'_> {
    /// The call gets as far as it can; what the participant hears of it, if it is over.
    pub(crate) fn carry_on(&mut self, caller: &Caller) -> Result<Option<Input>, String> {
        let Some(call) = self.memory.calls.get(caller).cloned() else { return Ok(None) };
        let input = match call {
            Call::Execute { branch, prepare, locks, .. } => match self.execute(&branch, &prepare, locks)? {
                Some(vote) => Input::Executed { branch, vote },
                None => return Ok(None),
            },
            Call::Confirm { branch } => {
                let from_memory =
                    matches!(self.mutant, Some(Mutant::ConfirmedFromMemory | Mutant::ReadOnlyLeavesAtVote));
                let held = self.memory.readers.contains(&branch) || from_memory;
                self.memory.release_reader(&branch);
                Input::Confirmed { branch, held }
            }
            Call::Commit { branch } if self.is_gone(&branch, true) => gone(branch),
            Call::Commit { branch } => {
                self.end(&branch, |storage| storage.commit(&branch));
                Input::Committed { branch }
            }
            Call::Abort { branch } if self.is_gone(&branch, false) => gone(branch),
            Call::Abort { branch }
                if self.calls_services && self.storage.is_prepared(&branch.tx, branch.attempt_number) =>
            {
                self.end(&branch, |storage| storage.begin_abort(&branch));
                return Ok(None);
            }
            Call::Abort { branch } => {
                self.end(&branch, |storage| storage.abort(&branch));
                self.storage.finish_abort(&branch);
                Input::Aborted { branch }
            }
            Call::Resolve { branch, heuristic } if self.is_gone(&branch, heuristic.commit) => gone(branch),
            Call::Resolve { branch, heuristic } => {
                self.end(&branch, |storage| storage.resolve(&branch, heuristic));
                Input::Resolved { branch }
            }
            Call::ClearUp { branch, execution } => self.clear_up(branch, execution),
            Call::Act { step, run, locks, .. } => match self.act(&step, &run, locks)? {
                Some(outcome) => Input::ActionRan { step, outcome },
                None => return Ok(None),
            },
            Call::Finish { step, run, locks } => match self.finish(&step, &run, locks)? {
                Some(outcome) => Input::StepFinished { step, outcome },
                None => return Ok(None),
            },
            Call::StoreEmpty { step } => {
                self.store_empty(&step)?;
                Input::EmptyStored { step }
            }
            Call::CloseSaga { attempt_number, tx } => self.close_saga(attempt_number, tx),
            Call::ReleaseMarks { attempt_number, tx } => self.release_marks(attempt_number, tx),
        };
        self.memory.calls.remove(caller);
        Ok(Some(input))
    }

    /// Ends a branch; nothing happens if it is not prepared.
    fn end(&mut self, branch: &BranchId, write: impl FnOnce(&mut Storage)) {
        if self.storage.is_prepared(&branch.tx, branch.attempt_number) {
            write(self.storage);
            self.memory.release(&branch.tx);
            self.memory.late.landed.remove(branch);
        }
    }

    fn execute(&mut self, branch: &BranchId, prepare: &Prepare, locks: LocksOf) -> Result<Option<Vote>, String> {
        if work::adopts(&prepare.work) {
            return Ok(Some(self.adopt(branch, prepare)));
        }
        let operations = work::operations(&prepare.work, branch);
        let wanted = evaluation::locks(&operations);
        match locks {
            LocksOf::Granted => self.vote(branch, prepare, &operations, wanted),
            LocksOf::Waiting => Ok(None),
            // An earlier attempt has landed late, and has them.
            LocksOf::NotAsked if self.memory.late.owners().any(|tx| tx == branch.tx) => {
                Ok(Some(refused(RefusalCode::LockConflict)))
            }
            LocksOf::NotAsked => match self.acquire(prepare, &wanted)? {
                Acquire::Granted => self.vote(branch, prepare, &operations, wanted),
                Acquire::Refused { .. } => Ok(Some(refused(RefusalCode::LockConflict))),
                Acquire::Crowded => Ok(Some(refused(RefusalCode::Unavailable))),
                Acquire::Waiting => {
                    self.memory.waits(&Caller::Branch(branch.tx.clone()));
                    Ok(None)
                }
            },
        }
    }

    fn acquire(&mut self, prepare: &Prepare, wanted: &BTreeMap<Bytes, Mode>) -> Result<Acquire, String> {
        let table = &mut self.memory.locks;
        if self.mutant == Some(Mutant::AnybodyWaits) {
            let holders: Vec<TxId> = table.holders().cloned().collect();
            holders.iter().for_each(|holder| table.leave(holder));
        }
        let acquired = table.acquire(&age(prepare, self.sees_ages_upside_down), wanted);
        match &acquired {
            Acquire::Refused { holder } if self.memory.is_leaving(holder) => {
                Err(format!("R12: {} is refused for the sake of {holder}, which is leaving", prepare.tx))
            }
            Acquire::Refused { .. } | Acquire::Granted | Acquire::Waiting | Acquire::Crowded => Ok(acquired),
        }
    }

    /// Votes for a branch, which holds its locks; `None`: it is alone and ends from now on.
    fn vote(
        &mut self,
        branch: &BranchId,
        prepare: &Prepare,
        operations: &[evaluation::Operation],
        locks: BTreeMap<Bytes, Mode>,
    ) -> Result<Option<Vote>, String> {
        let (tx, values) = (&branch.tx, &self.storage.values);
        // All, unlike the shipped resource: in results here, no value stands for one that was never written.
        let evaluation = match evaluation::evaluate(operations, evaluation::Tell::All, |key| values.get(key).cloned()) {
            Ok(evaluation) => evaluation,
            Err(refusal) => {
                self.memory.release(tx);
                return Ok(Some(Vote::Refused(refusal)));
            }
        };
        let result = work::result(operations, &evaluation);
        Ok(Some(match (prepare.execution, evaluation.is_read_only()) {
            (Execution::TwoPhase, true) => {
                if self.mutant == Some(Mutant::ReadOnlyLeavesAtVote) {
                    self.memory.release(tx);
                }
                self.memory.readers.insert(branch.clone());
                Vote::ReadOnly { result }
            }
            (Execution::OnePhase, true) => {
                self.memory.release(tx);
                Vote::ReadOnly { result }
            }
            (Execution::OnePhase, false) if self.calls_services => {
                let (branch, begun_at, writes) = (branch.clone(), prepare.begun_at, evaluation.writes);
                let record = PreparedRecord { branch: branch.clone(), begun_at, locks, writes, result, ended: None };
                self.storage.begin_to_settle(record);
                self.memory.calls.remove(&Caller::Branch(branch.tx.clone()));
                self.memory.call(Call::ClearUp { branch, execution: Execution::OnePhase }, self.mutant)?;
                return Ok(None);
            }
            (Execution::OnePhase, false) => {
                self.storage.commit_alone(branch, &evaluation.writes, result.clone());
                self.memory.release(tx);
                Vote::Committed { result }
            }
            (Execution::TwoPhase, false) => {
                let (branch, begun_at, writes) = (branch.clone(), prepare.begun_at, evaluation.writes);
                let record = PreparedRecord { branch, begun_at, locks, writes, result: result.clone(), ended: None };
                if self.mutant != Some(Mutant::VoteBeforeDurable) {
                    self.storage.prepare(record);
                }
                Vote::Prepared { result }
            }
        }))
    }
}

fn gone(branch: BranchId) -> Input {
    Input::Gone { branch, at: Timestamp::default() }
}

fn refused(code: RefusalCode) -> Vote {
    Vote::Refused(Refusal::new(code, ""))
}

fn age(prepare: &Prepare, upside_down: bool) -> Age {
    let begun_at = if upside_down {
        // `T1` and `T2` begin at the same time: what is the older for others, by its id, is the younger here.
        let other = if prepare.tx.as_bytes() == b"T1" { "T2" } else { "T1" };
        Timestamp(u64::from(prepare.tx.as_bytes() < other.as_bytes()))
    } else {
        prepare.begun_at
    };
    Age { begun_at, tx: prepare.tx.clone() }
}
