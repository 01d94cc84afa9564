//! The transactions that an earlier process left open, and this one carries on: they are told of at the start, while
//! they last, and when they are over.

use std::time::Duration;
use tokio::time::Instant;
use undoubt_coordinator_core::{OpenedState, Unfinished};
use undoubt_vocabulary::{DigestMap, Timestamp, TxId};

/// First pause before those that are still open are told again; it doubles.
const FIRST_REMINDER: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct CarriedOn {
    /// The open transactions, with the times at which they began.
    open: DigestMap<TxId, Timestamp>,
    count: usize,
    remind: Option<(Instant, Duration)>,
}

impl CarriedOn {
    pub(super) fn add(&mut self, unfinished: &Unfinished) {
        let (tx, begun_at) = match unfinished {
            Unfinished::TwoPhase(open) => (&open.tx, open.begun_at),
            Unfinished::Saga(saga) => (&saga.tx, saga.begun_at),
            Unfinished::Opened(opened, _) if opened.state != OpenedState::Open => (&opened.tx, opened.begun_at),
            // It waits for its client, as it did before.
            Unfinished::Opened(..) => return,
            // It is not carried on, and told as what it is.
            Unfinished::Unusable(_) => return,
        };
        self.open.insert(tx.clone(), begun_at);
        self.count += 1;
    }

    /// Tells what was found, if anything was.
    pub(super) fn tell(&mut self) {
        self.remind = Some((Instant::now() + FIRST_REMINDER, FIRST_REMINDER));
        self.tell_open("transactions that were open at the last stop are carried on");
    }

    /// Tells what is still open of it, with growing pauses.
    pub(super) fn remind(&mut self, now: Instant) {
        if let Some((at, pause)) = &mut self.remind
            && *at <= now
        {
            *pause *= 2;
            *at = now + *pause;
            self.tell_open("transactions that were open at the last stop are still open; `undoubt list` and `undoubt participants` tell what they wait for");
        }
    }

    pub(super) fn remove(&mut self, tx: &TxId) {
        if self.count > 0 && self.open.remove(tx).is_some() && self.open.is_empty() {
            tracing::info!(count = self.count, "all transactions that were open at the last stop have ended");
            self.count = 0;
        }
    }

    fn tell_open(&self, what: &str) {
        if let Some((oldest, begun_at)) =
            self.open.in_any_order().min_by_key(|(tx, begun_at)| (**begun_at, (*tx).clone()))
        {
            tracing::warn!(open = self.open.len(), %oldest, %begun_at, "{what}");
        }
    }
}
