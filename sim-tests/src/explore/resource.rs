//! A resource manager in small, as the key-value resource does it: locks, work, and what is asked of it.
//!
//! Locks and work are those of the key-value resource ([`lock`], [`kv`]). A durable write and its answer are one step:
//! a crash between them is the same as a crash right after the answer was sent, for whatever a crashed process has sent
//! may still be dropped unread when its session is found closed.
//!
//! [`lock`]: undoubt_participant_core::lock
//! [`kv`]: undoubt_participant_core::kv

use super::mutant::Mutant;
use super::storage::{PreparedRecord, Storage, Unforced};
use super::work;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_participant_core::lock::{Acquire, Age, LockTable, Mode};
use undoubt_participant_core::{BranchId, Heuristic, Input, kv};
use undoubt_vocabulary::{Execution, Prepare, Refusal, RefusalCode, Timestamp, TxId, Vote};

/// What a crash wipes out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Memory {
    pub(crate) locks: LockTable,
    /// Those that have voted read-only and hold their locks.
    pub(crate) readers: BTreeSet<BranchId>,
    /// What is asked and not yet answered; at most one call a transaction.
    pub(crate) calls: BTreeMap<TxId, Call>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Execute { branch: BranchId, prepare: Prepare, locks: LocksOf, cancelled: bool },
    Commit { branch: BranchId },
    Abort { branch: BranchId },
    Resolve { branch: BranchId, heuristic: Heuristic },
}

/// How far an execution is with its locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LocksOf {
    NotAsked,
    Waiting,
    /// It had to wait and holds them now.
    Granted,
}

impl Call {
    /// Nothing but another's release or its own end can move it.
    pub(crate) fn waits_for_locks(&self) -> bool {
        matches!(self, Call::Execute { locks: LocksOf::Waiting, cancelled: false, .. })
    }

    /// It was cancelled before it had its locks. If it has not begun, it may not have noticed.
    pub(crate) fn may_stop(&self) -> bool {
        matches!(self, Call::Execute { locks: LocksOf::NotAsked | LocksOf::Waiting, cancelled: true, .. })
    }

    pub(crate) fn may_carry_on(&self) -> bool {
        !matches!(self, Call::Execute { locks: LocksOf::Waiting, .. })
    }

    /// The decision is known, and its locks are about to be freed.
    fn is_leaving(&self) -> bool {
        match self {
            Call::Commit { .. } | Call::Abort { .. } => true,
            Call::Execute { .. } | Call::Resolve { .. } => false,
        }
    }

    pub(crate) fn branch(&self) -> &BranchId {
        match self {
            Call::Execute { branch, .. }
            | Call::Commit { branch }
            | Call::Abort { branch }
            | Call::Resolve { branch, .. } => branch,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Call::Execute { .. } => "prepare",
            Call::Commit { .. } => "commit",
            Call::Abort { .. } => "abort",
            Call::Resolve { .. } => "resolve",
        }
    }
}

/// What there is for one step of a resource.
pub(crate) struct Resource<'a> {
    pub(crate) memory: &'a mut Memory,
    pub(crate) storage: &'a mut Storage,
    pub(crate) mutant: Option<Mutant>,
    /// The participant sees ages upside down; only a mutant does.
    pub(crate) sees_ages_upside_down: bool,
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
            storage.prepared.values().for_each(&mut lock);
        }
        // Nothing but a mutant's is left of what was not forced.
        for write in &storage.unforced {
            if let Unforced::Abort(record) = write {
                lock(record);
            }
        }
        memory
    }

    /// A new call, which its branch waits for.
    pub(crate) fn call(&mut self, call: Call, mutant: Option<Mutant>) -> Result<(), String> {
        let tx = call.branch().tx.clone();
        if call.is_leaving() && mutant != Some(Mutant::LeavingUntold) {
            self.locks.leave(&tx);
        }
        match self.calls.insert(tx, call) {
            None => Ok(()),
            Some(earlier) => Err(format!("contract: the resource is asked while it is at {}", earlier.name())),
        }
    }

    pub(crate) fn cancel(&mut self, tx: &TxId) {
        if let Some(Call::Execute { cancelled, .. }) = self.calls.get_mut(tx) {
            *cancelled = true;
        }
    }

    /// What is prepared is never let go without a decision.
    pub(crate) fn release_reader(&mut self, branch: &BranchId) {
        if self.readers.remove(branch) {
            self.release(&branch.tx);
        }
    }

    fn release(&mut self, tx: &TxId) {
        for granted in self.locks.release(tx) {
            if let Some(Call::Execute { locks, .. }) = self.calls.get_mut(&granted) {
                *locks = LocksOf::Granted;
            }
        }
    }

    /// An execution ends without its locks: it was cancelled, or waited long enough.
    pub(crate) fn give_up(&mut self, tx: &TxId) -> Option<Input> {
        let Some(Call::Execute { branch, cancelled, .. }) = self.calls.remove(tx) else { return None };
        self.release(tx);
        let code = if cancelled { RefusalCode::Late } else { RefusalCode::LockTimeout };
        Some(Input::Executed { branch, vote: refused(code) })
    }
}

impl Resource<'_> {
    /// The call gets as far as it can; what the participant hears of it, if it is over.
    pub(crate) fn carry_on(&mut self, tx: &TxId) -> Result<Option<Input>, String> {
        let Some(call) = self.memory.calls.get(tx).cloned() else { return Ok(None) };
        let input = match call {
            Call::Execute { branch, prepare, locks, .. } => match self.execute(&branch, &prepare, locks)? {
                Some(vote) => Input::Executed { branch, vote },
                None => return Ok(None),
            },
            Call::Commit { branch } => {
                self.end(&branch, |storage| storage.commit(&branch));
                Input::Committed { branch }
            }
            Call::Abort { branch } => {
                self.end(&branch, |storage| storage.abort(&branch));
                Input::Aborted { branch }
            }
            Call::Resolve { branch, heuristic } => {
                self.end(&branch, |storage| storage.resolve(&branch, heuristic));
                Input::Resolved { branch }
            }
        };
        self.memory.calls.remove(tx);
        Ok(Some(input))
    }

    /// Nothing happens if the branch is not prepared.
    fn end(&mut self, branch: &BranchId, write: impl FnOnce(&mut Storage)) {
        if self.storage.is_prepared(&branch.tx, branch.ticket) {
            write(self.storage);
            self.memory.release(&branch.tx);
        }
    }

    fn execute(&mut self, branch: &BranchId, prepare: &Prepare, locks: LocksOf) -> Result<Option<Vote>, String> {
        let operations = work::operations(&prepare.work, branch);
        let wanted = kv::locks(&operations);
        match locks {
            LocksOf::Granted => Ok(Some(self.vote(branch, prepare, &operations, wanted))),
            LocksOf::Waiting => Ok(None),
            LocksOf::NotAsked => match self.acquire(prepare, &wanted)? {
                Acquire::Granted => Ok(Some(self.vote(branch, prepare, &operations, wanted))),
                Acquire::Refused { .. } => Ok(Some(refused(RefusalCode::LockConflict))),
                Acquire::Crowded => Ok(Some(refused(RefusalCode::Unavailable))),
                Acquire::Waiting => {
                    if let Some(Call::Execute { locks, .. }) = self.memory.calls.get_mut(&branch.tx) {
                        *locks = LocksOf::Waiting;
                    }
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
            Acquire::Refused { holder } if self.memory.calls.get(holder).is_some_and(Call::is_leaving) => {
                Err(format!("R12: {} is refused for the sake of {holder}, which is leaving", prepare.tx))
            }
            Acquire::Refused { .. } | Acquire::Granted | Acquire::Waiting | Acquire::Crowded => Ok(acquired),
        }
    }

    /// It holds its locks.
    fn vote(
        &mut self,
        branch: &BranchId,
        prepare: &Prepare,
        operations: &[kv::Operation],
        locks: BTreeMap<Bytes, Mode>,
    ) -> Vote {
        let (tx, values) = (&branch.tx, &self.storage.values);
        let evaluation = match kv::evaluate(operations, |key| values.get(key).cloned()) {
            Ok(evaluation) => evaluation,
            Err(refusal) => {
                self.memory.release(tx);
                return Vote::Refused(refusal);
            }
        };
        let result = work::result(operations, &evaluation);
        match (prepare.execution, evaluation.is_read_only()) {
            (Execution::TwoPhase, true) => {
                if self.mutant == Some(Mutant::ReadOnlyLeavesAtVote) {
                    self.memory.release(tx);
                } else {
                    self.memory.readers.insert(branch.clone());
                }
                Vote::ReadOnly { result }
            }
            (Execution::OnePhase, true) => {
                self.memory.release(tx);
                Vote::ReadOnly { result }
            }
            (Execution::OnePhase, false) => {
                self.storage.commit_alone(branch, &evaluation.writes, result.clone());
                self.memory.release(tx);
                Vote::Committed { result }
            }
            (Execution::TwoPhase, false) => {
                let (branch, begun_at, writes) = (branch.clone(), prepare.begun_at, evaluation.writes);
                let record = PreparedRecord { branch, begun_at, locks, writes, result: result.clone() };
                if self.mutant != Some(Mutant::VoteBeforeDurable) {
                    self.storage.prepare(record);
                }
                Vote::Prepared { result }
            }
        }
    }
}

fn refused(code: RefusalCode) -> Vote {
    Vote::Refused(Refusal::new(code, ""))
}

fn age(prepare: &Prepare, upside_down: bool) -> Age {
    let begun_at = if upside_down {
        // The first byte that differs between `T1` and `T2` is the last.
        let last = prepare.tx.as_bytes().last().copied().unwrap_or_default();
        Timestamp(u64::from(u8::MAX - last))
    } else {
        prepare.begun_at
    };
    Age { begun_at, tx: prepare.tx.clone() }
}
