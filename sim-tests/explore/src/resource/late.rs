//! Prepares that land late: a session whose client is gone still runs what it was sent.

use super::{Memory, Resource, age};
use crate::mutant::Mutant;
use crate::storage::{PreparedRecord, Storage};
use crate::work;
use std::collections::BTreeSet;
use undoubt_kv_evaluation as evaluation;
use undoubt_lock::Acquire;
use undoubt_participant_core::{BranchId, Input};
use undoubt_vocabulary::{Prepare, TxId};

/// The prepares that nobody waits for any more. A participant that starts ends the sessions that have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Late {
    /// The prepares that have yet to land.
    pub(super) sent: Vec<(BranchId, Prepare)>,
    /// The branches that are prepared now.
    pub(crate) landed: BTreeSet<BranchId>,
    /// The branches that were told of, if a mutant tells of each but once.
    told: BTreeSet<BranchId>,
}

impl Late {
    /// Returns the prepares whose locks are free.
    pub(super) fn may_land<'a>(
        &'a self,
        memory: &'a Memory,
        storage: &'a Storage,
    ) -> impl Iterator<Item = BranchId> + 'a {
        let free = |(branch, prepare): &&(BranchId, Prepare)| {
            let mut locks = memory.locks.clone();
            let wanted = evaluation::locks(&work::operations(&prepare.work, branch));
            !locks.knows(&branch.tx)
                && !storage.prepared.contains_key(&branch.tx)
                && matches!(locks.acquire(&age(prepare, false), &wanted), Acquire::Granted)
        };
        self.sent.iter().filter(free).map(|(branch, _)| branch.clone())
    }

    /// Returns the owners of the locks with which branches have landed.
    pub(crate) fn owners(&self) -> impl Iterator<Item = TxId> + '_ {
        self.landed.iter().map(|branch| branch.tx.clone())
    }
}

impl Resource<'_> {
    pub(super) fn land(&mut self, branch: &BranchId) {
        let Some(at) = self.memory.late.sent.iter().position(|(sent, _)| sent == branch) else { return };
        let (branch, prepare) = self.memory.late.sent.remove(at);
        let operations = work::operations(&prepare.work, &branch);
        let (locks, values) = (evaluation::locks(&operations), &self.storage.values);
        self.memory.locks.acquire(&age(&prepare, self.sees_ages_upside_down), &locks);
        // What became of it may just be found out.
        if self.memory.is_leaving(&branch.tx) {
            self.memory.locks.leave(&branch.tx);
        }
        match evaluation::evaluate(&operations, evaluation::Tell::All, |key| values.get(key).cloned()) {
            Ok(evaluation) if !evaluation.is_read_only() => {
                let result = work::result(&operations, &evaluation);
                let (begun_at, writes) = (prepare.begun_at, evaluation.writes);
                let record = PreparedRecord { branch: branch.clone(), begun_at, locks, writes, result, ended: None };
                self.storage.prepare(record);
                self.memory.late.landed.insert(branch);
            }
            Ok(_) | Err(_) => self.memory.release(&branch.tx),
        }
    }

    /// Returns what the participant hears when its resource looks at what is prepared.
    pub(crate) fn find(&mut self) -> Vec<Input> {
        if self.mutant == Some(Mutant::FoundAborted) {
            // Also what is prepared at the participant's own word.
            let prepared: Vec<BranchId> = self.storage.prepared.values().map(|record| record.branch.clone()).collect();
            prepared.iter().for_each(|branch| self.undo(branch));
            return Vec::new();
        }
        let Late { landed, told, .. } = &mut self.memory.late;
        let mut found: Vec<BranchId> = landed.iter().cloned().collect();
        if self.mutant == Some(Mutant::FoundToldOnce) {
            found.retain(|branch| told.insert(branch.clone()));
        }
        let prepared = &self.storage.prepared;
        let found = found.into_iter().filter_map(|branch| prepared.get(&branch.tx).filter(|it| it.branch == branch));
        found
            .map(|PreparedRecord { branch, begun_at, result, .. }| {
                let (branch, begun_at, result) = (branch.clone(), *begun_at, result.clone());
                Input::Found { branch, begun_at, result }
            })
            .collect()
    }

    /// Undoes a branch that nobody waits for.
    pub(crate) fn undo(&mut self, branch: &BranchId) {
        self.memory.release_reader(branch);
        self.end(branch, |storage| storage.abort(branch));
    }
}
