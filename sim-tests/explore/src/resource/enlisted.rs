//! What applications prepare by themselves, as a database has it: adopted by the attempt that asks for it, or undone once nobody will.

use super::{Resource, refused};
use crate::mutant::Mutant;
use crate::scenario::Enlisting;
use crate::storage::{COORDINATOR, EnlistedRecord};
use crate::work;
use undoubt_kv_evaluation as evaluation;
use undoubt_lock::Age;
use undoubt_participant_core::BranchId;
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Execution, Prepare, RefusalCode, Timestamp, TxId, Vote};

/// A coordinator that was never here.
const STRANGER: CoordinatorId = CoordinatorId([9; 16]);

impl Resource<'_> {
    /// An application prepares something. Its locks are those of nobody else here.
    pub(crate) fn enlist(&mut self, tx: &TxId, enlisting: Enlisting) {
        let coordinator = if enlisting.for_a_stranger { STRANGER } else { COORDINATOR };
        let named = BranchId { tx: tx.clone(), attempt_number: AttemptNumber::NONE, coordinator };
        let operations = work::operations(enlisting.work.as_bytes(), &named);
        let (locks, values) = (evaluation::locks(&operations), &self.storage.values);
        let evaluated = evaluation::evaluate(&operations, evaluation::Tell::All, |key| values.get(key).cloned());
        let writes = evaluated.map(|evaluation| evaluation.writes).unwrap_or_default();
        self.memory.locks.lock_recovered(&Age { begun_at: Timestamp::default(), tx: tx.clone() }, &locks);
        self.storage.enlist(tx, EnlistedRecord { coordinator, locks, writes });
    }

    pub(super) fn adopt(&mut self, branch: &BranchId, prepare: &Prepare) -> Vote {
        match prepare.execution {
            Execution::OnePhase => refused(RefusalCode::InvalidWork),
            Execution::TwoPhase if self.storage.adopt(branch, prepare.begun_at) => {
                Vote::Prepared { result: bytes::Bytes::new() }
            }
            Execution::TwoPhase => refused(RefusalCode::Condition),
        }
    }

    /// Undoes what nobody will submit.
    pub(crate) fn undo_unsubmitted(&mut self) -> Result<(), String> {
        for tx in std::mem::take(&mut self.memory.unsubmitted) {
            if self.storage.undo_enlisted(&tx) {
                self.memory.release(&tx);
            } else if self.mutant == Some(Mutant::AdoptedUndone)
                && let Some(branch) = self.storage.prepared.get(&tx).map(|record| record.branch.clone())
            {
                self.undo(&branch);
            }
        }
        Ok(())
    }
}
