//! Which attempt of which transaction.

use undoubt_vocabulary::{CoordinatorId, Ticket, TxId};

/// One participant's part of one attempt of a global transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BranchId {
    pub tx: TxId,
    pub ticket: Ticket,
    /// Whose decision ends it.
    pub coordinator: CoordinatorId,
}
