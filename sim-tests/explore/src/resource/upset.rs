//! The events of a resource elsewhere, without anybody here having told it.

use super::{Call, Caller, LocksOf, Memory, Resource, refused};
use crate::mutant::Mutant;
use crate::scenario::Budget;
use crate::storage::Storage;
use undoubt_participant_core::{BranchId, Input};
use undoubt_vocabulary::{Execution, RefusalCode, TxId, Vote};

/// One such fault.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Upset {
    /// The connection of a branch that has voted read-only breaks: its locks are free.
    LosesLocks { branch: BranchId },
    /// The end of a prepared branch by somebody else, in the resource itself, or of one that is about to end there: its locks are free.
    OtherHand { tx: TxId, commit: bool },
    /// An execution is done, or not, and its answer is lost.
    Unclear { caller: Caller, became: Became },
    /// A prepare lands that nobody waits for any more.
    Lands { branch: BranchId },
}

/// The fate of an execution whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Became {
    Done,
    NotDone,
    /// It is not done, and may be yet, whatever was found out of it.
    Late,
}

impl Upset {
    /// Returns all that can happen now within the budget.
    pub(crate) fn possible(memory: &Memory, storage: &Storage, budget: Budget) -> Vec<Upset> {
        let mut possible = Vec::new();
        if budget.lost_locks > 0 {
            possible.extend(memory.readers.iter().map(|branch| Upset::LosesLocks { branch: branch.clone() }));
        }
        if budget.other_hands > 0 {
            let untouched = storage.prepared.iter().filter(|(_, record)| record.ended.is_none());
            for (tx, _) in untouched {
                possible.extend([true, false].map(|commit| Upset::OtherHand { tx: tx.clone(), commit }));
            }
            let held = storage.settling.iter().filter(|(_, record)| record.ended.is_none());
            possible.extend(held.map(|(tx, _)| Upset::OtherHand { tx: tx.clone(), commit: false }));
        }
        if budget.unclear > 0 {
            let executing = |call: &Call| matches!(call, Call::Execute { .. }) && call.may_carry_on();
            for (caller, call) in memory.calls.iter().filter(|(_, call)| executing(call)) {
                let prepares =
                    matches!(call, Call::Execute { prepare, .. } if prepare.execution == Execution::TwoPhase);
                let late = (prepares && budget.late > 0).then_some(Became::Late);
                let fates = [Became::Done, Became::NotDone].into_iter().chain(late);
                possible.extend(fates.map(|became| Upset::Unclear { caller: caller.clone(), became }));
            }
        }
        if budget.late > 0 {
            possible.extend(memory.late.may_land(memory, storage).map(|branch| Upset::Lands { branch }));
        }
        possible
    }

    pub(crate) fn spend(&self, budget: &mut Budget) {
        match self {
            Upset::LosesLocks { .. } => budget.lost_locks -= 1,
            Upset::OtherHand { .. } => budget.other_hands -= 1,
            Upset::Unclear { .. } => budget.unclear -= 1,
            Upset::Lands { .. } => budget.late -= 1,
        }
    }

    /// Returns it in words, and what it counts as.
    pub(crate) fn tell(&self) -> (String, &'static str) {
        match self {
            Upset::LosesLocks { branch } => {
                (format!("LOSES the locks with which {} reads", branch.tx), "loses a reader's locks")
            }
            Upset::OtherHand { tx, commit: true } => {
                (format!("has {tx} COMMITTED BY SOMEBODY ELSE"), "another hand commits a branch")
            }
            Upset::OtherHand { tx, commit: false } => {
                (format!("has {tx} ABORTED BY SOMEBODY ELSE"), "another hand aborts a branch")
            }
            Upset::Lands { branch } => {
                let BranchId { tx, attempt_number, .. } = branch;
                (format!("HAS {tx}/{attempt_number} PREPARED, which nobody waits for"), "a prepare lands late")
            }
            Upset::Unclear { caller, became } => {
                let done = match became {
                    Became::Done => "done",
                    Became::NotDone => "not done",
                    Became::Late => "not done yet",
                };
                (format!("LOSES THE ANSWER to the prepare of {caller}, which is {done}"), "an execution is unclear")
            }
        }
    }
}

impl Resource<'_> {
    /// Returns what the participant hears of it, if anything.
    pub(crate) fn upset(&mut self, upset: &Upset) -> Result<Option<Input>, String> {
        match upset {
            Upset::LosesLocks { branch } => self.memory.release_reader(branch),
            Upset::OtherHand { tx, commit } => {
                self.storage.end_by_other_hand(tx, *commit);
                self.memory.release(tx);
            }
            Upset::Unclear { caller, became } => return self.unclear(caller, *became),
            Upset::Lands { branch } => self.land(branch),
        }
        Ok(None)
    }

    fn unclear(&mut self, caller: &Caller, became: Became) -> Result<Option<Input>, String> {
        let Some(Call::Execute { branch, prepare, locks, .. }) = self.memory.calls.get(caller).cloned() else {
            return Ok(None);
        };
        let took_effect = became == Became::Done;
        if became == Became::Late {
            self.memory.late.sent.push((branch.clone(), prepare.clone()));
        }
        if took_effect && self.execute(&branch, &prepare, locks)?.is_none() {
            // It waits, and nobody has asked in vain yet.
            return Ok(None);
        }
        if !took_effect && locks == LocksOf::Granted {
            self.memory.release(&branch.tx);
        }
        self.memory.calls.remove(caller);
        if self.mutant == Some(Mutant::UnclearCalledRefused) {
            return Ok(Some(Input::Executed { branch, vote: refused(RefusalCode::Unavailable) }));
        }
        self.memory.call(Call::ClearUp { branch, execution: prepare.execution }, self.mutant)?;
        Ok(None)
    }

    /// Finds out what became of an execution, and lets nothing of it happen later.
    pub(super) fn clear_up(&mut self, branch: BranchId, execution: Execution) -> Input {
        let committed = match execution {
            Execution::TwoPhase if self.is_gone(&branch, false) => return super::gone(branch),
            Execution::TwoPhase => {
                self.end(&branch, |storage| storage.abort(&branch));
                self.memory.release_reader(&branch);
                None
            }
            Execution::OnePhase => {
                let settled = self.storage.settle(&branch);
                self.memory.release(&branch.tx);
                settled
            }
        };
        let vote = match committed {
            Some(result) => Vote::Committed { result },
            None => refused(RefusalCode::Unavailable),
        };
        Input::Executed { branch, vote }
    }

    /// Returns true if another hand has ended the branch otherwise than so.
    pub(super) fn is_gone(&self, branch: &BranchId, commit: bool) -> bool {
        self.storage.is_gone(branch, commit) && self.mutant != Some(Mutant::OtherHandOverlooked)
    }
}
