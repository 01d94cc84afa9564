//! A resource manager in small: what it stores, and what it holds in memory.
//!
//! Locks and work are those of the key-value resource ([`lock`], [`kv`]). A durable write and its answer are one step:
//! a crash between them is the same as a crash right after the answer was sent, for whatever a crashed process has sent
//! may still be dropped unread when its session is found closed.
//!
//! [`lock`]: undoubt_participant_core::lock
//! [`kv`]: undoubt_participant_core::kv

use super::mutant::Mutant;
use super::work;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_participant_core::lock::{Acquire, Age, LockTable};
use undoubt_participant_core::{BranchId, Heuristic, Input, Recovered, kv};
use undoubt_vocabulary::{
    CoordinatorId, Epoch, Execution, Prepare, Refusal, RefusalCode, Ticket, Timestamp, TxId, Vote,
};

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Storage {
    pub(crate) epoch: Option<(CoordinatorId, Epoch)>,
    pub(crate) fence: Ticket,
    pub(crate) values: BTreeMap<Bytes, Bytes>,
    pub(crate) prepared: BTreeMap<TxId, PreparedRecord>,
    pub(crate) committed: BTreeMap<TxId, (BranchId, Bytes)>,
    pub(crate) heuristics: BTreeMap<TxId, (BranchId, Timestamp, Heuristic)>,
    /// Who wrote each key, in order. No resource has this; it is what the checks go by.
    pub(crate) history: BTreeMap<Bytes, Vec<(TxId, Ticket)>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PreparedRecord {
    pub(crate) branch: BranchId,
    pub(crate) begun_at: Timestamp,
    pub(crate) operations: Vec<kv::Operation>,
    pub(crate) writes: BTreeMap<Bytes, Option<Bytes>>,
    pub(crate) result: Bytes,
}

/// What a crash wipes out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Memory {
    pub(crate) locks: LockTable,
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

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Call::Execute { .. } => "execute",
            Call::Commit { .. } => "commit",
            Call::Abort { .. } => "abort",
            Call::Resolve { .. } => "resolve",
        }
    }
}

impl Storage {
    /// What the participant is told at its start.
    pub(crate) fn recovered(&self) -> Vec<Recovered> {
        let coordinator = self.epoch.map(|(id, epoch)| Recovered::Coordinator { id, epoch, fence: self.fence });
        let prepared = self.prepared.values().map(|record| Recovered::Prepared {
            branch: record.branch.clone(),
            begun_at: record.begun_at,
            result: record.result.clone(),
        });
        let committed = self
            .committed
            .values()
            .map(|(branch, result)| Recovered::Committed { branch: branch.clone(), result: result.clone() });
        let heuristics = self.heuristics.values().map(|(branch, begun_at, heuristic)| Recovered::Heuristic {
            branch: branch.clone(),
            begun_at: *begun_at,
            heuristic: heuristic.clone(),
        });
        coordinator.into_iter().chain(prepared).chain(committed).chain(heuristics).collect()
    }

    pub(crate) fn collect(&mut self, fence: Ticket) {
        self.fence = fence;
        self.committed.retain(|_, (branch, _)| branch.ticket >= fence);
    }

    pub(crate) fn has_committed(&self, tx: &TxId) -> impl Iterator<Item = Ticket> {
        let tickets: BTreeSet<Ticket> =
            self.history.values().flatten().filter(|(writer, _)| writer == tx).map(|(_, ticket)| *ticket).collect();
        tickets.into_iter()
    }

    fn apply(&mut self, branch: &BranchId, writes: &BTreeMap<Bytes, Option<Bytes>>) {
        for (key, value) in writes {
            match value {
                Some(value) => self.values.insert(key.clone(), value.clone()),
                None => self.values.remove(key),
            };
            self.history.entry(key.clone()).or_default().push((branch.tx.clone(), branch.ticket));
        }
    }

    fn commit(&mut self, branch: &BranchId) {
        if let Some(record) = self.prepared.remove(&branch.tx) {
            self.apply(branch, &record.writes);
        }
    }
}

impl Memory {
    /// Memory at a start: prepared branches hold their locks again.
    pub(crate) fn recovered(storage: &Storage, mutant: Option<Mutant>) -> Memory {
        let mut memory = Memory::default();
        if mutant != Some(Mutant::LocksNotRestored) {
            for record in storage.prepared.values() {
                let age = Age { begun_at: record.begun_at, tx: record.branch.tx.clone() };
                memory.locks.lock_recovered(&age, &kv::locks(&record.operations));
            }
        }
        memory
    }

    pub(crate) fn release(&mut self, tx: &TxId) {
        for granted in self.locks.release(tx) {
            if let Some(Call::Execute { locks, .. }) = self.calls.get_mut(&granted) {
                *locks = LocksOf::Granted;
            }
        }
    }

    /// The call gets as far as it can; what the participant hears of it, if it is over.
    pub(crate) fn carry_on(
        &mut self,
        tx: &TxId,
        storage: &mut Storage,
        participant: usize,
        mutant: Option<Mutant>,
    ) -> Option<Input> {
        let input = match self.calls.get(tx)?.clone() {
            Call::Execute { branch, prepare, locks, cancelled } => {
                let vote = self.execute(&branch, &prepare, locks, cancelled, storage, participant, mutant)?;
                Input::Executed { branch, vote }
            }
            Call::Commit { branch } => {
                storage.commit(&branch);
                storage.committed.insert(branch.tx.clone(), (branch.clone(), Bytes::new()));
                self.release(tx);
                Input::Committed { branch }
            }
            Call::Abort { branch } => {
                storage.prepared.remove(tx);
                self.release(tx);
                Input::Aborted { branch }
            }
            Call::Resolve { branch, heuristic } => {
                let begun_at = storage.prepared.get(tx).map(|record| record.begun_at).unwrap_or_default();
                if heuristic.commit {
                    storage.commit(&branch);
                }
                storage.prepared.remove(tx);
                storage.heuristics.insert(tx.clone(), (branch.clone(), begun_at, heuristic));
                self.release(tx);
                Input::Resolved { branch }
            }
        };
        self.calls.remove(tx);
        Some(input)
    }

    #[allow(clippy::too_many_arguments)]
    fn execute(
        &mut self,
        branch: &BranchId,
        prepare: &Prepare,
        locks: LocksOf,
        cancelled: bool,
        storage: &mut Storage,
        participant: usize,
        mutant: Option<Mutant>,
    ) -> Option<Vote> {
        let operations = work::operations(&prepare.work, branch);
        let refused = |code| Some(Vote::Refused(Refusal::new(code, "")));
        match locks {
            LocksOf::Granted => self.carry_out(branch, prepare, operations, storage, mutant),
            LocksOf::Waiting if cancelled => self.give_up(&branch.tx),
            LocksOf::Waiting => None,
            LocksOf::NotAsked => {
                match self.locks.acquire(&age(prepare, participant, mutant), &kv::locks(&operations)) {
                    Acquire::Granted => self.carry_out(branch, prepare, operations, storage, mutant),
                    Acquire::Refused { .. } => refused(RefusalCode::LockConflict),
                    Acquire::Crowded => refused(RefusalCode::Unavailable),
                    Acquire::Waiting => {
                        if let Some(Call::Execute { locks, .. }) = self.calls.get_mut(&branch.tx) {
                            *locks = LocksOf::Waiting;
                        }
                        None
                    }
                }
            }
        }
    }

    /// A lock wait is over without the lock.
    pub(crate) fn give_up(&mut self, tx: &TxId) -> Option<Vote> {
        self.release(tx);
        Some(Vote::Refused(Refusal::new(RefusalCode::LockTimeout, "")))
    }

    fn carry_out(
        &mut self,
        branch: &BranchId,
        prepare: &Prepare,
        operations: Vec<kv::Operation>,
        storage: &mut Storage,
        mutant: Option<Mutant>,
    ) -> Option<Vote> {
        let evaluation = match kv::evaluate(&operations, |key| storage.values.get(key).cloned()) {
            Ok(evaluation) => evaluation,
            Err(refusal) => {
                self.release(&branch.tx);
                return Some(Vote::Refused(refusal));
            }
        };
        let result = work::result(&operations, &evaluation);
        match (prepare.execution, evaluation.is_read_only()) {
            (Execution::TwoPhase, true) => {
                if mutant == Some(Mutant::ReadOnlyLeavesAtVote) {
                    self.release(&branch.tx);
                }
                Some(Vote::ReadOnly { result })
            }
            (Execution::OnePhase, true) => {
                self.release(&branch.tx);
                Some(Vote::ReadOnly { result })
            }
            (Execution::OnePhase, false) => {
                storage.apply(branch, &evaluation.writes);
                storage.committed.insert(branch.tx.clone(), (branch.clone(), result.clone()));
                self.release(&branch.tx);
                Some(Vote::Committed { result })
            }
            (Execution::TwoPhase, false) => {
                let writes = evaluation.writes;
                let begun_at = prepare.begun_at;
                let record =
                    PreparedRecord { branch: branch.clone(), begun_at, operations, writes, result: result.clone() };
                if mutant != Some(Mutant::VoteBeforeDurable) {
                    storage.prepared.insert(branch.tx.clone(), record);
                }
                Some(Vote::Prepared { result })
            }
        }
    }
}

fn age(prepare: &Prepare, participant: usize, mutant: Option<Mutant>) -> Age {
    let begun_at = if mutant == Some(Mutant::AgesDiffer) && participant % 2 == 1 {
        // The first byte that differs between `T1` and `T2` is the last.
        let last = prepare.tx.as_bytes().last().copied().unwrap_or_default();
        Timestamp(u64::from(u8::MAX - last))
    } else {
        prepare.begun_at
    };
    Age { begun_at, tx: prepare.tx.clone() }
}
