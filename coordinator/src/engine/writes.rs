//! Group commit: one write under way, everything else gathers for the next.
//!
//! Records that nobody waits for ride along with forced ones. They count as stable once a later forced write has
//! succeeded; if none comes within the flush interval, an empty one is forced for them.
//!
//! A write that the store cannot make now is made again after a pause, and until then no other.

use crate::log::Log;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use undoubt_coordinator_core::{Client, Stage};
use undoubt_platform::audit::Audit;
use undoubt_platform::store::Pauses;
use undoubt_platform::{Batch, Durability, StoreError, Written};
use undoubt_vocabulary::limits::{MAX_RECORD_BYTES, MAX_RECORDS_BATCH_BYTES};
use undoubt_vocabulary::{AttemptNumber, TxId};

/// A written item that somebody waits for.
pub(super) enum Item {
    Record(TxId, AttemptNumber, Stage),
    /// An operator has seen to the damage of this ended transaction, and hears when that is stable.
    SeenTo(TxId, Client),
    /// Tells whoever has asked for a listing of losses that all which was added before is stable.
    Listed(oneshot::Sender<()>),
}

/// The bytes that may wait to be written before no more commands are taken.
pub(crate) const MAX_GATHERING_BYTES: usize = 8 << 20;

pub(super) struct Writes {
    flush_interval: Duration,
    /// A batch takes no more once it is as large as this; what is left goes with the next.
    max_batch_bytes: usize,
    /// A batch and one more record are what the store takes.
    max_record_bytes: usize,
    /// The batches that gather, in the order in which they will be written; the last takes what comes.
    gathering: VecDeque<Gathering>,
    under_way: Option<UnderWay>,
    /// The reason why the write under way is put off.
    put_off: Option<String>,
    pauses: Pauses,
    /// Written, but maybe not stable.
    unstable: Vec<Item>,
    unstable_since: Option<Instant>,
}

#[derive(Default)]
struct Gathering {
    batch: Batch,
    items: Vec<Item>,
    forced: bool,
    /// True if it drops what has expired.
    collects: bool,
}

struct UnderWay {
    attempt: Attempt,
    /// The batch, for another attempt.
    batch: Batch,
    items: Vec<Item>,
    forced: bool,
    collects: bool,
}

enum Attempt {
    Begun(Written),
    /// The store could not make it now; it is made again then.
    At(Instant),
}

/// A record that no batch may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has {bytes} bytes, more than the {max} that a record may have")]
pub(super) struct TooLarge {
    bytes: usize,
    max: usize,
}

/// The meaning of a finished write.
pub(super) enum Done {
    /// These are on stable storage now.
    Stable(Vec<Item>),
    /// Unforced records have waited long enough.
    FlushDue,
    /// The store cannot make it now.
    PutOff,
    /// The write that was put off is to be tried again.
    AgainDue,
}

impl Writes {
    /// Returns writes with nothing in them. `max_bytes`: the largest batch that the store takes.
    pub(super) fn new(flush_interval: Duration, max_bytes: usize) -> Writes {
        let max_batch_bytes = MAX_RECORDS_BATCH_BYTES.min(max_bytes / 2);
        Writes {
            flush_interval,
            max_batch_bytes,
            max_record_bytes: MAX_RECORD_BYTES.min(max_bytes.saturating_sub(max_batch_bytes)),
            gathering: VecDeque::new(),
            under_way: None,
            put_off: None,
            pauses: Pauses::default(),
            unstable: Vec::new(),
            unstable_since: None,
        }
    }

    /// Lets nothing wait unforced from now on: the coordinator is about to stop.
    pub(super) fn hurry(&mut self) {
        self.flush_interval = Duration::ZERO;
    }

    /// Adds a record, unless it is too large to be written. Then nothing of it stays, and that is the size it has.
    pub(super) fn add(
        &mut self,
        item: impl Into<Option<Item>>,
        forced: bool,
        put: impl FnOnce(&mut Batch),
    ) -> Result<(), TooLarge> {
        let max = self.max_record_bytes;
        let last = self.last();
        let mark = last.batch.mark();
        let before = last.batch.payload_bytes();
        put(&mut last.batch);
        let bytes = last.batch.payload_bytes().saturating_sub(before);
        if bytes > max {
            last.batch.rewind(mark);
            return Err(TooLarge { bytes, max });
        }
        let item = item.into();
        if bytes == 0 && item.is_some() {
            // What is waited for has to be written, also where the store holds it already.
            last.batch.append(Log::barrier());
        }
        last.items.extend(item);
        last.forced |= forced;
        Ok(())
    }

    /// Adds changes that drop what has expired, and that nobody waits for.
    pub(super) fn add_collected(&mut self, batch: Batch) {
        if !batch.is_empty() {
            let last = self.last();
            last.batch.append(batch);
            last.collects = true;
        }
    }

    /// Returns true while something that was collected is not written.
    pub(super) fn are_collecting(&self) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.collects)
            || self.gathering.iter().any(|gathering| gathering.collects)
    }

    /// Adds changes that must be stable soon.
    pub(super) fn add_forced(&mut self, batch: Batch, item: Option<Item>) {
        let last = self.last();
        last.batch.append(batch);
        last.items.extend(item);
        last.forced = true;
    }

    /// Returns true if so much has gathered that nothing more is to be begun before some of it is written. What is
    /// under way goes on: the records that it still leads to hold no more than what was gathered from participants,
    /// which is bounded too.
    pub(super) fn are_full(&self) -> bool {
        self.gathering_bytes() >= MAX_GATHERING_BYTES
    }

    /// Returns the bytes of what waits for the write under way.
    pub(super) fn gathering_bytes(&self) -> usize {
        self.gathering.iter().map(|gathering| gathering.batch.payload_bytes()).sum()
    }

    /// Returns the items that the next write holds, if it can start now.
    pub(super) fn ready(&self) -> &[Item] {
        match (&self.under_way, self.gathering.front()) {
            (None, Some(next)) => &next.items,
            (Some(_), _) | (None, None) => &[],
        }
    }

    /// Returns why nothing can be written now.
    pub(super) fn put_off(&self) -> Option<&str> {
        self.put_off.as_deref()
    }

    /// Starts the next write if none is under way, or again the one that was put off, once its pause is over. It takes along
    /// which submissions were let in, so that none has a record before it stands in the audit record.
    pub(super) fn start(&mut self, log: &Log, audit: &Audit) {
        if let Some(UnderWay { attempt, batch, forced, .. }) = &mut self.under_way {
            if let Attempt::At(at) = attempt
                && *at <= Instant::now()
            {
                *attempt = Attempt::Begun(log.write(batch.clone(), durability(*forced)));
            }
            return;
        }
        if self.gathering.front().is_some_and(|next| !next.batch.is_empty()) {
            while let Some(batch) = audit.take_submissions(self.max_record_bytes) {
                self.put_before(batch);
            }
        }
        let Some(Gathering { batch, items, forced, collects }) =
            self.gathering.pop_front_if(|next| !next.batch.is_empty())
        else {
            return;
        };
        let attempt = Attempt::Begun(log.write(batch.clone(), durability(forced)));
        self.under_way = Some(UnderWay { attempt, batch, items, forced, collects });
    }

    /// Adds changes to the next batch, or before it where it has no room for them.
    fn put_before(&mut self, batch: Batch) {
        let max_bytes = self.max_batch_bytes + self.max_record_bytes;
        match self.gathering.front_mut() {
            Some(next) if next.batch.payload_bytes() + batch.payload_bytes() <= max_bytes => next.batch.append(batch),
            Some(_) | None => self.gathering.push_front(Gathering { batch, ..Gathering::default() }),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none()
            && self.gathering.iter().all(|gathering| gathering.batch.is_empty())
            && self.unstable.is_empty()
    }

    /// Returns the batch that still has room; recovery may have more to write at once than one write may hold.
    fn last(&mut self) -> &mut Gathering {
        if self.gathering.back().is_none_or(|last| last.batch.payload_bytes() >= self.max_batch_bytes) {
            let batch = self.under_way.as_ref().map_or_else(Batch::default, |before| before.batch.another());
            self.gathering.push_back(Gathering { batch, ..Gathering::default() });
        }
        let last = self.gathering.len() - 1;
        &mut self.gathering[last]
    }

    /// Waits for the write under way, for its next attempt, or for the time to flush. Dropping this future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Done, StoreError> {
        if let Some(UnderWay { attempt, .. }) = &mut self.under_way {
            let written = match attempt {
                Attempt::Begun(written) => written.await,
                Attempt::At(at) => {
                    tokio::time::sleep_until(*at).await;
                    return Ok(Done::AgainDue);
                }
            };
            let Err(StoreError::Unavailable { cause }) = written else {
                written?;
                return Ok(self.finished());
            };
            let pause = self.pauses.next_pause();
            tracing::warn!(%cause, pause_ms = pause.as_millis(), "the log cannot be written now; it is tried again");
            *attempt = Attempt::At(Instant::now() + pause);
            self.put_off = Some(cause);
            return Ok(Done::PutOff);
        }
        match self.unstable_since {
            Some(since) => {
                tokio::time::sleep_until(since + self.flush_interval).await;
                self.add_forced(Log::barrier(), None);
                self.unstable_since = None;
                Ok(Done::FlushDue)
            }
            None => std::future::pending().await,
        }
    }

    fn finished(&mut self) -> Done {
        let Some(UnderWay { items, forced, .. }) = self.under_way.take() else { return Done::Stable(Vec::new()) };
        self.put_off = None;
        self.pauses = Pauses::default();
        self.unstable.extend(items);
        if forced {
            self.unstable_since = None;
            return Done::Stable(std::mem::take(&mut self.unstable));
        }
        if !self.unstable.is_empty() {
            self.unstable_since.get_or_insert_with(Instant::now);
        }
        Done::Stable(Vec::new())
    }
}

fn durability(forced: bool) -> Durability {
    if forced { Durability::Forced } else { Durability::Lazy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_platform::Family;
    use undoubt_platform::audit::{AuditQuery, Origin};

    fn item(number: u64) -> Item {
        Item::Record(format!("t{number}").parse().unwrap(), AttemptNumber(number), Stage::Ended)
    }

    fn attempt_numbers(writes: &Writes) -> impl Iterator<Item = u64> {
        writes.gathering.iter().flat_map(|gathering| &gathering.items).map(|item| match item {
            Item::Record(_, attempt_number, _) => attempt_number.0,
            Item::SeenTo(..) | Item::Listed(_) => panic!("no operator was there"),
        })
    }

    #[test]
    fn what_gathers_while_a_write_is_under_way_goes_out_in_writes_of_bounded_size() {
        const RECORDS: u64 = 40;
        let mut writes = Writes::new(Duration::ZERO, usize::MAX);
        for number in 0..RECORDS {
            let put = |batch: &mut Batch| batch.put(Family("open"), number.to_be_bytes(), vec![0; 1 << 20]);
            writes.add(item(number), number % 2 == 0, put).unwrap();
        }
        let sizes: Vec<usize> = writes.gathering.iter().map(|gathering| gathering.batch.payload_bytes()).collect();
        assert!(sizes.iter().all(|size| *size <= MAX_RECORDS_BATCH_BYTES + (1 << 20) + 8), "{sizes:?}");
        assert!(attempt_numbers(&writes).eq(0..RECORDS));
    }

    #[tokio::test]
    async fn what_is_waited_for_becomes_stable_also_where_the_store_holds_it_already() {
        let store: std::sync::Arc<dyn undoubt_platform::Store> = crate::log::in_memory();
        let (log, audit) = (Log::new(store.clone()), crate::log::audit_in(store));
        let mut writes = Writes::new(Duration::ZERO, usize::MAX);
        writes.add(item(7), true, |_| ()).unwrap();
        writes.start(&log, &audit);
        let Ok(Done::Stable(items)) = writes.next().await else { panic!("it was not written") };
        assert!(matches!(&items[..], [Item::Record(_, AttemptNumber(7), _)]));
    }

    #[tokio::test]
    async fn what_is_collected_counts_until_it_is_written() {
        let store: std::sync::Arc<dyn undoubt_platform::Store> = crate::log::in_memory();
        let (log, audit) = (Log::new(store.clone()), crate::log::audit_in(store));
        let mut writes = Writes::new(Duration::ZERO, usize::MAX);
        writes.add_collected(Batch::default());
        assert!(!writes.are_collecting(), "there was nothing to drop");
        writes.start(&log, &audit);
        writes.add_forced(Log::barrier(), None);
        writes.start(&log, &audit);
        let mut dropped = Batch::default();
        dropped.delete(Family("ended"), *b"t");
        writes.add_collected(dropped);
        assert!(writes.are_collecting(), "it waits for the write under way");
        assert!(matches!(writes.next().await, Ok(Done::Stable(_))));
        writes.start(&log, &audit);
        assert!(writes.are_collecting());
        assert!(matches!(writes.next().await, Ok(Done::Stable(_))));
        assert!(!writes.are_collecting());
    }

    #[tokio::test]
    async fn every_submission_is_recorded_before_any_of_the_records_that_wait_however_many_there_are() {
        const SUBMITTED: usize = 200;
        const MAX_BATCH_BYTES: usize = 4_000;
        let store = crate::log::in_memory();
        store.memory().set_max_batch_bytes(MAX_BATCH_BYTES);
        let (log, audit) = (Log::new(store.clone()), crate::log::audit_in(store.clone()));
        let mut writes = Writes::new(Duration::ZERO, MAX_BATCH_BYTES);
        for number in 0..SUBMITTED as u64 {
            let put = |batch: &mut Batch| batch.put(Family("open"), number.to_be_bytes(), vec![0; 100]);
            writes.add(item(number), true, put).unwrap();
            audit.note_submission(&Origin::default(), "submit", &format!("t{number}").parse().unwrap());
        }
        let recorded = || {
            let query = AuditQuery { limit: SUBMITTED, max_bytes: usize::MAX, ..AuditQuery::default() };
            audit.page(&query).unwrap().entries.iter().map(|entry| entry.txs.len()).sum::<usize>()
        };
        let mut stable = 0;
        while !writes.is_idle() {
            writes.start(&log, &audit);
            if store.memory().contents().keys(Family("open")).next().is_some() {
                assert_eq!(recorded(), SUBMITTED);
            }
            if let Done::Stable(items) = writes.next().await.unwrap() {
                stable += items.len();
            }
        }
        assert_eq!((stable, recorded()), (SUBMITTED, SUBMITTED));
    }

    #[test]
    fn a_record_that_no_batch_may_hold_is_left_out_and_the_others_are_written() {
        let mut writes = Writes::new(Duration::ZERO, 1_000);
        let mut add = |number: u64, bytes: usize| {
            let put = |batch: &mut Batch| batch.put(Family("open"), number.to_be_bytes(), vec![0; bytes]);
            writes.add(item(number), true, put)
        };
        assert_eq!(add(1, 400), Ok(()));
        assert_eq!(add(2, 493), Err(TooLarge { bytes: 501, max: 500 }));
        assert_eq!(add(3, 492), Ok(()));
        assert_eq!(add(4, 400), Ok(()));
        let sizes: Vec<usize> = writes.gathering.iter().map(|gathering| gathering.batch.payload_bytes()).collect();
        assert_eq!(sizes, [908, 408]);
        assert!(attempt_numbers(&writes).eq([1, 3, 4]));
    }
}
