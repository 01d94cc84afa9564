//! What applications have prepared and nobody has submitted: for how long, whether its coordinator holds it open, and what is to be undone.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_sql::EnlistedName;
use undoubt_vocabulary::{CoordinatorId, TxId};

/// The names that the looks have shown, each until one does not show it any more.
#[derive(Debug, Default)]
pub(crate) struct Unsubmitted(BTreeMap<EnlistedName, Waiting>);

#[derive(Debug)]
struct Waiting {
    since: Instant,
    is_late: bool,
    /// True once it is known that nobody will have it.
    is_to_be_undone: bool,
}

impl Unsubmitted {
    /// Notes what a look has shown. Returns what is to be undone.
    pub(crate) fn look(&mut self, shown: Vec<EnlistedName>, now: Instant, grace: Duration) -> Vec<EnlistedName> {
        let mut before = std::mem::take(&mut self.0);
        let first = || Waiting { since: now, is_late: false, is_to_be_undone: false };
        self.0 = shown.into_iter().map(|name| (name.clone(), before.remove(&name).unwrap_or_else(first))).collect();
        self.0.values_mut().for_each(|waiting| waiting.is_late = now.duration_since(waiting.since) >= grace);
        self.0.iter().filter(|(_, waiting)| waiting.is_to_be_undone).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the transactions whose coordinators have to say whether they are open.
    pub(crate) fn asked_about(&self) -> Vec<(CoordinatorId, TxId)> {
        let asked = |(_, waiting): &(&EnlistedName, &Waiting)| waiting.is_late && !waiting.is_to_be_undone;
        self.0.iter().filter(asked).map(|(name, _)| (name.coordinator, name.tx.clone())).collect()
    }

    /// Has what is prepared for a transaction undone with the next look, which its coordinator does not hold open.
    pub(crate) fn undo(&mut self, coordinator: CoordinatorId, tx: &TxId) {
        let of_it = |(name, _): &(&EnlistedName, &mut Waiting)| name.coordinator == coordinator && name.tx == *tx;
        self.0.iter_mut().filter(of_it).for_each(|(_, waiting)| waiting.is_to_be_undone = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_sql::Identity;

    #[tokio::test]
    async fn what_is_late_is_asked_about_and_undone_only_once_nobody_has_it_open() {
        let (coordinator, tx): (_, TxId) = (CoordinatorId([1; 16]), "order".parse().unwrap());
        let name = EnlistedName { identity: Identity([2; 8]), coordinator, tx: tx.clone() };
        let (grace, began) = (Duration::from_secs(30), Instant::now());
        let mut unsubmitted = Unsubmitted::default();
        let look = |unsubmitted: &mut Unsubmitted, after_s| {
            unsubmitted.look(vec![name.clone()], began + Duration::from_secs(after_s), grace)
        };
        assert!(look(&mut unsubmitted, 0).is_empty() && unsubmitted.asked_about().is_empty());
        assert!(look(&mut unsubmitted, 30).is_empty(), "nobody was asked yet");
        assert_eq!(unsubmitted.asked_about(), [(coordinator, tx.clone())]);
        assert!(look(&mut unsubmitted, 3_000).is_empty(), "its coordinator may hold it open");
        unsubmitted.undo(CoordinatorId([9; 16]), &tx);
        assert!(look(&mut unsubmitted, 3_001).is_empty(), "that was another's");
        unsubmitted.undo(coordinator, &tx);
        assert_eq!(look(&mut unsubmitted, 3_002), std::slice::from_ref(&name));
        assert!(unsubmitted.look(Vec::new(), began, grace).is_empty() && unsubmitted.asked_about().is_empty());
        // Under the same name, but prepared anew.
        assert!(look(&mut unsubmitted, 3_003).is_empty() && unsubmitted.asked_about().is_empty());
    }
}
