//! Transactions until whose application somebody waits, and what they have published by then.
//!
//! Nothing is decided by it, so the core does not know of it. What nobody follows is not kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use undoubt_coordinator_core::EndedRecord;
use undoubt_proto::convert::Applied;
use undoubt_vocabulary::limits::MAX_BRANCHES_PER_TRANSACTION;
use undoubt_vocabulary::{BranchOutcome, EventId, Outcome, ParticipantName, TxId};

/// The transactions that are followed. Cheap to share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followed(Arc<Mutex<BTreeMap<TxId, Entry>>>);

#[derive(Debug)]
struct Entry {
    followers: usize,
    tokens: BTreeMap<ParticipantName, EventId>,
    /// Whether it is in effect everywhere, once nothing is owed for it any more.
    over: watch::Sender<Option<bool>>,
}

impl Followed {
    /// Begins to follow a transaction; before it is submitted, so that nothing is missed.
    pub(crate) fn follow(&self, tx: &TxId) -> Following {
        let mut entries = self.entries();
        let new = || Entry { followers: 0, tokens: BTreeMap::new(), over: watch::Sender::new(None) };
        let entry = entries.entry(tx.clone()).or_insert_with(new);
        entry.followers += 1;
        let over = entry.over.subscribe();
        Following { followed: self.clone(), tx: tx.clone(), over }
    }

    /// Notes the last event that a participant says a transaction has published there.
    pub(crate) fn note(&self, tx: &TxId, participant: &ParticipantName, last: EventId) {
        let mut entries = self.entries();
        let Some(Entry { tokens, .. }) = entries.get_mut(tx) else { return };
        if tokens.len() < MAX_BRANCHES_PER_TRANSACTION || tokens.contains_key(participant) {
            let known = tokens.entry(participant.clone()).or_insert(last);
            if known.position < last.position {
                *known = last;
            }
        }
    }

    /// Notes that nothing is owed for a transaction any more.
    pub(super) fn ended(&self, record: &EndedRecord) {
        if let Some(entry) = self.entries().get(&record.tx) {
            entry.over.send_replace(Some(is_in_effect(record)));
        }
    }

    /// Returns true if somebody follows a transaction of which it was not noted yet that nothing is owed.
    pub(super) fn waits_for(&self, tx: &TxId) -> bool {
        self.entries().get(tx).is_some_and(|entry| entry.over.borrow().is_none())
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<TxId, Entry>> {
        self.0.lock().expect("nobody panics with the entries half changed")
    }
}

/// Returns true if every participant has acknowledged that it is in effect there.
fn is_in_effect(record: &EndedRecord) -> bool {
    let is_so = |outcome: BranchOutcome| match outcome {
        BranchOutcome::Committed | BranchOutcome::HeuristicallyCommitted => true,
        // A step of an open saga that was refused.
        BranchOutcome::Aborted => record.saga,
        BranchOutcome::HeuristicallyAborted | BranchOutcome::Unknown => false,
    };
    record.outcome == Outcome::Committed && record.branches.iter().all(|branch| is_so(branch.outcome))
}

/// One who follows a transaction, until this is dropped.
#[derive(Debug)]
pub(crate) struct Following {
    followed: Followed,
    tx: TxId,
    over: watch::Receiver<Option<bool>>,
}

impl Following {
    /// Waits until nothing is owed for the transaction any more, at most so long and until `stopped`, and returns how far it is applied.
    pub(crate) async fn applied(mut self, within: Duration, stopped: impl Future<Output = ()>) -> Applied {
        let everywhere = tokio::select! {
            over = timeout(within, self.over.wait_for(Option::is_some)) => {
                over.is_ok_and(|over| over.is_ok_and(|over| *over == Some(true)))
            }
            () = stopped => false,
        };
        Applied { everywhere, tokens: self.tokens() }
    }

    /// Returns what it is known to have published.
    pub(crate) fn tokens(&self) -> BTreeMap<ParticipantName, EventId> {
        self.followed.entries().get(&self.tx).map(|entry| entry.tokens.clone()).unwrap_or_default()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut entries = self.followed.entries();
        if let Some(entry) = entries.get_mut(&self.tx) {
            entry.followers -= 1;
            if entry.followers == 0 {
                entries.remove(&self.tx);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_vocabulary::{Incarnation, Position};

    fn event(position: u64) -> EventId {
        EventId { incarnation: Incarnation([1; 16]), position: Position(position) }
    }

    #[tokio::test]
    async fn what_nobody_follows_is_not_kept_and_the_last_event_counts() {
        let followed = Followed::default();
        let (tx, at): (TxId, ParticipantName) = ("t".parse().unwrap(), "shop".parse().unwrap());
        followed.note(&tx, &at, event(9));
        let (one, other) = (followed.follow(&tx), followed.follow(&tx));
        for position in [3, 5, 4] {
            followed.note(&tx, &at, event(position));
        }
        drop(other);
        let applied = one.applied(Duration::ZERO, std::future::pending()).await;
        assert_eq!(applied, Applied { everywhere: false, tokens: [(at, event(5))].into() });
        assert!(followed.entries().is_empty());
    }
}
