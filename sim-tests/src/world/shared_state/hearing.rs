//! What faults have made of how events are read.

use crate::plan::What;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// The milliseconds that readers take over each batch.
    slow_readers: BTreeMap<u8, u64>,
    /// The milliseconds by which a participant hears of another's events later.
    late_sources: BTreeMap<(u8, u8), u64>,
}

impl Hearing {
    /// The fault begins or, with `false`, ends. Those of one kind do not add up: the first end ends them all.
    pub(super) fn change(&mut self, what: &What, begins: bool) {
        if let What::SlowReader { reader, by_ms, .. } = what {
            change(&mut self.slow_readers, *reader, *by_ms, begins);
        } else if let What::LateSource { participant, from, by_ms, .. } = what {
            change(&mut self.late_sources, (*participant, *from), *by_ms, begins);
        }
    }

    pub(super) fn slowness(&self, reader: u8) -> Duration {
        Duration::from_millis(self.slow_readers.get(&reader).copied().unwrap_or(0))
    }

    pub(super) fn lateness(&self, participant: u8, from: u8) -> Duration {
        Duration::from_millis(self.late_sources.get(&(participant, from)).copied().unwrap_or(0))
    }
}

fn change<K: Ord>(all: &mut BTreeMap<K, u64>, key: K, by_ms: u64, begins: bool) {
    if begins {
        all.insert(key, by_ms);
    } else {
        all.remove(&key);
    }
}
