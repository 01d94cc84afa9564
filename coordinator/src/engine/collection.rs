//! Dropping what has expired, a part at a time.
//!
//! Each round looks on where the last one stopped, and so not once more at what that one dropped. What is kept for the sake of
//! a callback is passed over, and looked at again later.

use crate::log::{Collected, Log, LogError};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_platform::Batch;
use undoubt_vocabulary::{AttemptNumber, Timestamp};

/// Ended transactions looked at in one round.
const MAX_COLLECTED_PER_ROUND: usize = 10_000;

/// The bytes of the changes of one round, beyond which it ends; less where the store takes smaller batches, of which a round has
/// a quarter.
const MAX_COLLECTED_BYTES_PER_ROUND: usize = 4 << 20;

/// The time after which rounds begin again with the oldest.
const LOOK_AGAIN_PERIOD: Duration = Duration::from_secs(60);

/// The rounds of collection, one after the other.
#[derive(Debug)]
pub(super) struct Collection {
    /// The key from which the next round looks on.
    from: Bytes,
    began: Instant,
    /// The latest attempt that these rounds have dropped.
    latest: Option<AttemptNumber>,
}

impl Collection {
    pub(super) fn new(now: Instant) -> Collection {
        Collection { from: Bytes::new(), began: now, latest: None }
    }

    /// Lets the next round begin with the oldest, for something was stored that is older than where the last one stopped.
    pub(super) fn look_again(&mut self) {
        self.from = Bytes::new();
    }

    /// Returns a batch that drops some of those that ended before `horizon`.
    pub(super) fn round(&mut self, log: &Log, horizon: Timestamp, now: Instant) -> Result<Batch, LogError> {
        if now.duration_since(self.began) >= LOOK_AGAIN_PERIOD {
            *self = Collection::new(now);
        }
        let max_bytes = MAX_COLLECTED_BYTES_PER_ROUND.min(log.max_batch_bytes() / 4);
        let Collected { batch, from, latest } = log.collect(&self.from, horizon, MAX_COLLECTED_PER_ROUND, max_bytes)?;
        self.from = from;
        self.latest = self.latest.max(latest);
        Ok(batch)
    }

    /// Returns the latest attempt whose record a batch drops that was returned since rounds began with the oldest.
    pub(super) fn latest(&self) -> Option<AttemptNumber> {
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Apart;
    use undoubt_coordinator_core::{EndedRecord, Record};
    use undoubt_platform::Durability;
    use undoubt_vocabulary::TxId;

    fn tx(id: &str) -> TxId {
        id.parse().unwrap()
    }

    /// Returns a log of transactions that ended one after the other, from time 1 on.
    fn log(ids: &[&str]) -> Log {
        let log = Log::new(crate::log::in_memory());
        let mut batch = Batch::default();
        for (at, id) in (1..).zip(ids) {
            let ended = Record::Ended(EndedRecord::presumed(tx(id), AttemptNumber(at), Timestamp(at)));
            Log::put(&mut batch, &ended, Timestamp(at), &[], &mut Apart::default());
        }
        drop(log.write(batch, Durability::Lazy));
        log
    }

    fn round(collection: &mut Collection, log: &Log, horizon: u64, now: Instant) {
        let batch = collection.round(log, Timestamp(horizon), now).unwrap();
        drop(log.write(batch, Durability::Lazy));
    }

    fn kept(log: &Log, ids: &[&str]) -> Vec<String> {
        let kept = ids.iter().filter(|id| log.ended(&tx(id)).unwrap().is_some());
        kept.map(ToString::to_string).collect()
    }

    #[test]
    fn what_somebody_is_yet_to_be_called_back_about_is_kept_until_he_was() {
        let ids = ["a", "b", "c", "d"];
        let log = log(&ids);
        drop(log.write(Log::promised(&tx("b"), &["http://a:1/".to_owned()]), Durability::Lazy));
        let now = Instant::now();
        let mut collection = Collection::new(now);
        round(&mut collection, &log, 4, now);
        assert_eq!(kept(&log, &ids), ["b", "d"]);
        drop(log.write(Log::promised(&tx("b"), &[]), Durability::Lazy));
        round(&mut collection, &log, 4, now + LOOK_AGAIN_PERIOD);
        assert_eq!(kept(&log, &ids), ["d"]);
    }

    #[test]
    fn a_round_looks_on_where_the_last_one_stopped_and_a_horizon_that_falls_back_drops_nothing() {
        let ids = ["a", "b", "c"];
        let log = log(&ids);
        let now = Instant::now();
        let mut collection = Collection::new(now);
        assert!(!collection.round(&log, Timestamp(3), now).unwrap().is_empty());
        assert!(collection.round(&log, Timestamp(3), now).unwrap().is_empty(), "though it is not written yet");
        assert!(collection.round(&log, Timestamp(1), now).unwrap().is_empty());
        round(&mut collection, &log, 4, now);
        assert_eq!(kept(&log, &ids), ["a", "b"]);
    }

    #[test]
    fn what_is_stored_behind_where_the_last_round_stopped_is_dropped_once_it_is_looked_for_again() {
        let ids = ["a", "b"];
        let log = log(&ids);
        let now = Instant::now();
        let mut collection = Collection::new(now);
        round(&mut collection, &log, 3, now);
        let mut batch = Batch::default();
        let ended = Record::Ended(EndedRecord::presumed(tx("c"), AttemptNumber(3), Timestamp(1)));
        Log::put(&mut batch, &ended, Timestamp(1), &[], &mut Apart::default());
        drop(log.write(batch, Durability::Lazy));
        round(&mut collection, &log, 3, now);
        assert_eq!(kept(&log, &["c"]), ["c"]);
        collection.look_again();
        round(&mut collection, &log, 3, now);
        assert!(kept(&log, &["c"]).is_empty());
    }

    #[test]
    fn a_round_ends_when_its_changes_have_many_bytes_and_the_next_goes_on() {
        let ids = ["a", "b", "c"];
        let log = log(&ids);
        let first = log.collect(&[], Timestamp(9), 10, 1).unwrap();
        assert!(!first.batch.is_empty());
        drop(log.write(first.batch, Durability::Lazy));
        assert_eq!(kept(&log, &ids), ["b", "c"]);
        let second = log.collect(&first.from, Timestamp(9), 10, usize::MAX).unwrap();
        drop(log.write(second.batch, Durability::Lazy));
        assert!(kept(&log, &ids).is_empty());
    }
}
