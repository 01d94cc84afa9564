//! What applications prepare by themselves: it is no branch before an attempt adopts it.

use super::{PreparedRecord, Storage};
use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_lock::Mode;
use undoubt_participant_core::BranchId;
use undoubt_vocabulary::{CoordinatorId, Timestamp, TxId};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EnlistedRecord {
    pub(crate) coordinator: CoordinatorId,
    pub(crate) locks: BTreeMap<Bytes, Mode>,
    pub(crate) writes: BTreeMap<Bytes, Option<Bytes>>,
}

impl Storage {
    pub(crate) fn enlist(&mut self, tx: &TxId, record: EnlistedRecord) {
        self.force();
        self.enlisted.insert(tx.clone(), record);
    }

    /// Makes what an application has prepared the branch of this attempt. Returns false if there is nothing.
    pub(crate) fn adopt(&mut self, branch: &BranchId, begun_at: Timestamp) -> bool {
        let is_its = self.enlisted.get(&branch.tx).is_some_and(|record| record.coordinator == branch.coordinator);
        let Some(EnlistedRecord { locks, writes, .. }) = is_its.then(|| self.enlisted.remove(&branch.tx)).flatten()
        else {
            return false;
        };
        let (branch, result) = (branch.clone(), Bytes::new());
        self.prepare(PreparedRecord { branch, begun_at, locks, writes, result, ended: None });
        true
    }

    /// Undoes what no attempt has adopted. Returns false if there is nothing.
    pub(crate) fn undo_enlisted(&mut self, tx: &TxId) -> bool {
        if self.enlisted.remove(tx).is_none() {
            return false;
        }
        self.force();
        true
    }
}
