//! The promises of calls, and how many there may be.

use super::share::destination;
use std::collections::BTreeMap;
use tonic::transport::Uri;
use undoubt_vocabulary::TxId;
use undoubt_vocabulary::limits::MAX_CALLBACKS;

/// Promises that are not kept yet: in all, to one destination, and of one transaction. A call that nobody takes waits for
/// `callback_give_up_s`.
pub(super) const MAX_PROMISES: usize = MAX_CALLBACKS;
pub(crate) const MAX_PROMISES_TO_ONE: usize = 2_500;
pub(crate) const MAX_PROMISES_OF_ONE: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A promise for a transaction of which it is not known yet whether it is let in.
    BeingTaken,
    Kept,
}

/// The reason why nobody more is promised a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("{MAX_PROMISES} callbacks are waiting to be heard, the most there may be; try again later, or ask instead")]
    All,
    #[error(
        "{MAX_PROMISES_TO_ONE} callbacks are waiting to be heard by {destination}, the most there may be; see that it answers, \
         or ask instead"
    )]
    Destination { destination: String },
    #[error(
        "{MAX_PROMISES_OF_ONE} others are to be called back about this transaction, the most there may be; ask instead"
    )]
    Transaction,
}

/// The promises that are not kept yet.
#[derive(Debug, Default)]
pub(super) struct Promises {
    of: BTreeMap<TxId, Vec<(Uri, Stage)>>,
    to: BTreeMap<String, usize>,
    count: usize,
}

impl Promises {
    /// Returns the stage of the promise of a call to this very URL, if there is one.
    pub(super) fn stage(&self, tx: &TxId, url: &Uri) -> Option<Stage> {
        self.of.get(tx)?.iter().find(|(known, _)| known == url).map(|(_, stage)| *stage)
    }

    /// Checks that there is room for another promise.
    pub(super) fn check_room(&self, tx: &TxId, url: &Uri) -> Result<(), Full> {
        let destination = destination(url);
        if self.count >= MAX_PROMISES {
            Err(Full::All)
        } else if self.to.get(&destination).is_some_and(|count| *count >= MAX_PROMISES_TO_ONE) {
            Err(Full::Destination { destination })
        } else if self.of.get(tx).is_some_and(|urls| urls.len() >= MAX_PROMISES_OF_ONE) {
            Err(Full::Transaction)
        } else {
            Ok(())
        }
    }

    /// Adds a promise, or says how far one is.
    pub(super) fn set(&mut self, tx: &TxId, url: &Uri, stage: Stage) {
        let urls = self.of.entry(tx.clone()).or_default();
        match urls.iter_mut().find(|(known, _)| known == url) {
            Some((_, known)) => *known = stage,
            None => {
                urls.push((url.clone(), stage));
                *self.to.entry(destination(url)).or_default() += 1;
                self.count += 1;
            }
        }
    }

    pub(super) fn remove(&mut self, tx: &TxId, url: &Uri) {
        let Some(urls) = self.of.get_mut(tx) else { return };
        let Some(at) = urls.iter().position(|(known, _)| known == url) else { return };
        urls.remove(at);
        if urls.is_empty() {
            self.of.remove(tx);
        }
        self.count -= 1;
        let destination = destination(url);
        if let Some(count) = self.to.get_mut(&destination) {
            *count -= 1;
            if *count == 0 {
                self.to.remove(&destination);
            }
        }
    }

    /// Returns the URLs that are to be called about a transaction.
    pub(super) fn urls(&self, tx: &TxId) -> Vec<String> {
        self.of.get(tx).into_iter().flatten().map(|(url, _)| url.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Uri {
        text.parse().unwrap()
    }

    fn tx(number: usize) -> TxId {
        format!("t{number}").parse().unwrap()
    }

    #[test]
    fn several_are_called_about_one_transaction_up_to_a_bound() {
        let mut promises = Promises::default();
        for port in 1..=MAX_PROMISES_OF_ONE {
            let url = url(&format!("http://host:{port}/"));
            promises.check_room(&tx(1), &url).unwrap();
            promises.set(&tx(1), &url, Stage::Kept);
        }
        assert_eq!(promises.urls(&tx(1)).len(), MAX_PROMISES_OF_ONE);
        assert_eq!(promises.check_room(&tx(1), &url("http://host:99/")), Err(Full::Transaction));
        promises.remove(&tx(1), &url("http://host:1/"));
        promises.remove(&tx(1), &url("http://host:1/"));
        assert_eq!(promises.check_room(&tx(1), &url("http://host:99/")), Ok(()));
    }

    #[test]
    fn one_destination_cannot_take_all_the_room() {
        let mut promises = Promises::default();
        let hangs = url("http://HANGS:1/");
        for number in 0..MAX_PROMISES_TO_ONE {
            promises.set(&tx(number), &hangs, Stage::Kept);
        }
        let refusal = promises.check_room(&tx(0), &url("http://hangs:1/other")).unwrap_err();
        assert!(refusal.to_string().contains("hangs:1"), "{refusal}");
        assert_eq!(promises.check_room(&tx(0), &url("http://healthy:1/")), Ok(()));
        for number in 0..MAX_PROMISES_TO_ONE {
            promises.remove(&tx(number), &hangs);
        }
        assert!(promises.of.is_empty() && promises.to.is_empty() && promises.count == 0);
    }
}
