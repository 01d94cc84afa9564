//! A share of the calls for each destination, so that one that hangs delays no other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::Uri;

/// Calls under way at the same time, at most: to one destination, and in all.
pub(crate) const MAX_CALLS_TO_ONE: usize = 4;
pub(crate) const MAX_CALLS: usize = 128;

/// The calls under way.
pub(super) struct Shares {
    all: Arc<Semaphore>,
    /// The permits of each destination that somebody calls or wants to call.
    each: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// The right to make one call, for as long as it lives.
pub(super) struct Turn<'a> {
    shares: &'a Shares,
    destination: String,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

/// Returns `host:port`, by which shares are given.
pub(super) fn destination(url: &Uri) -> String {
    url.authority().map(|authority| authority.as_str().to_lowercase()).unwrap_or_default()
}

impl Shares {
    pub(super) fn new() -> Shares {
        Shares { all: Arc::new(Semaphore::new(MAX_CALLS)), each: Mutex::default() }
    }

    /// Waits for a turn: first among those who call the same destination, then among all. So whoever hangs holds no more
    /// than a share of the whole, and those who wait behind it hold nothing. `None` never comes.
    pub(super) async fn turn(&self, url: &Uri) -> Option<Turn<'_>> {
        let destination = destination(url);
        let one = self
            .each()
            .entry(destination.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(MAX_CALLS_TO_ONE)))
            .clone();
        let mut turn = Turn { shares: self, destination, permits: None };
        let of_one = one.acquire_owned().await.ok()?;
        let of_all = self.all.clone().acquire_owned().await.ok()?;
        turn.permits = Some((of_one, of_all));
        Some(turn)
    }

    fn each(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Semaphore>>> {
        // Nothing between taking and freeing it can panic.
        self.each.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.permits = None;
        let mut each = self.shares.each();
        // Nobody else calls there: permits, and those who wait for one, hold it too.
        if each.get(&self.destination).is_some_and(|one| Arc::strong_count(one) == 1) {
            each.remove(&self.destination);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn a_destination_that_hangs_keeps_its_share_and_no_more() {
        let shares = Shares::new();
        let (hangs, healthy): (Uri, Uri) = ("http://hangs:1/x".parse().unwrap(), "http://healthy:1/".parse().unwrap());
        let turn = |url: &Uri| shares.turn(url).now_or_never().flatten();
        let held: Vec<Turn<'_>> = (0..MAX_CALLS_TO_ONE).map(|_| turn(&hangs).unwrap()).collect();
        assert!(turn(&hangs).is_none(), "its share is used up");
        assert!(turn(&healthy).is_some(), "and concerns nobody else");
        drop(held);
        assert!(turn(&hangs).is_some());
        assert!(shares.each().is_empty(), "nothing is kept of those whom nobody calls");
    }

    #[test]
    fn all_together_are_bounded_too() {
        let shares = Shares::new();
        let url = |port: usize| format!("http://host:{port}/").parse::<Uri>().unwrap();
        let held: Vec<_> =
            (0..MAX_CALLS).map(|port| shares.turn(&url(port + 1)).now_or_never().flatten().unwrap()).collect();
        assert!(shares.turn(&url(60_000)).now_or_never().is_none());
        drop(held);
        assert!(shares.turn(&url(60_000)).now_or_never().is_some());
    }
}
