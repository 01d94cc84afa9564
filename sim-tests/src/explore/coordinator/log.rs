//! What survives a crash of the coordinator.

use std::collections::BTreeMap;
use undoubt_coordinator_core::{EndedRecord, OpenKind, OpenRecord, Record};
use undoubt_vocabulary::{Outcome, ParticipantName, Ticket, TxId};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    pub(crate) epoch: u32,
    pub(crate) open: BTreeMap<TxId, OpenRecord>,
    pub(crate) ended: BTreeMap<TxId, EndedRecord>,
}

impl Log {
    pub(crate) fn write(&mut self, record: Record) {
        match record {
            Record::Open(open) => {
                self.open.insert(open.tx.clone(), open);
            }
            Record::Ended(ended) => {
                self.open.remove(&ended.tx);
                self.ended.insert(ended.tx.clone(), ended);
            }
        }
    }

    /// Whether a commit decision of this attempt is on stable storage.
    pub(crate) fn has_commit(&self, tx: &TxId, ticket: Ticket) -> bool {
        let open = self.open.get(tx).is_some_and(|open| open.ticket == ticket && open.kind == OpenKind::Committed);
        let ended = |ended: &EndedRecord| ended.ticket == ticket && ended.outcome == Outcome::Committed;
        open || self.ended.get(tx).is_some_and(ended)
    }

    /// The branches of this attempt, if the log says that it committed, or that its one branch may have.
    pub(crate) fn commits(&self, tx: &TxId, ticket: Ticket) -> Option<Vec<ParticipantName>> {
        let open = self.open.get(tx).filter(|open| open.ticket == ticket);
        let ended = self.ended.get(tx).filter(|ended| ended.ticket == ticket && ended.outcome == Outcome::Committed);
        let open = open.map(|open| open.participants.iter().chain(&open.read_only).cloned().collect());
        open.or(ended.map(|ended| ended.branches.iter().map(|(name, _)| name.clone()).collect()))
    }
}
