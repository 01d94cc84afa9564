//! The id of a branch: which attempt of which transaction.

use std::hash::{Hash, Hasher};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Digest, TxId};

/// One participant's part of one attempt of a global transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BranchId {
    pub tx: TxId,
    pub attempt_number: AttemptNumber,
    /// The coordinator whose decision ends it.
    pub coordinator: CoordinatorId,
}

impl Digest for BranchId {
    /// Attempts under one transaction id are few, and tell apart by themselves.
    fn digest(&self) -> u64 {
        self.tx.digest() ^ self.attempt_number.0
    }
}

impl Hash for BranchId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest());
    }
}
