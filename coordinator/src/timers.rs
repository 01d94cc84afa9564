//! Timers in the order they fall due. None is ever disarmed: one that fires without need is harmless to the core.

use std::collections::BTreeMap;
use tokio::time::Instant;
use undoubt_coordinator_core::Timer;
use undoubt_vocabulary::{AttemptNumber, TxId};

#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeMap<(Instant, u64), (TxId, AttemptNumber, Timer)>,
    armed: u64,
}

impl Timers {
    pub(crate) fn arm(&mut self, at: Instant, tx: TxId, attempt_number: AttemptNumber, timer: Timer) {
        self.armed += 1;
        self.due.insert((at, self.armed), (tx, attempt_number, timer));
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(TxId, AttemptNumber, Timer)> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
