//! Group commit: one write under way, everything else gathers for the next.
//!
//! Records that nobody waits for ride along with forced ones. They count as stable once a later forced write has
//! succeeded; if none comes within the flush interval, an empty one is forced for them.

use crate::log::Log;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_coordinator_core::Stage;
use undoubt_platform::{Batch, Durability, StoreError, Written};
use undoubt_vocabulary::{Ticket, TxId};

/// A record that was written.
pub(super) type Item = (TxId, Ticket, Stage);

/// A batch is not made larger than this; what is left goes with the next.
const MAX_BATCH_BYTES: usize = 8 << 20;

pub(super) struct Writes {
    flush_interval: Duration,
    /// In the order in which they will be written; the last takes what comes.
    gathering: VecDeque<Gathering>,
    under_way: Option<UnderWay>,
    /// Written, but maybe not stable.
    unstable: Vec<Item>,
    unstable_since: Option<Instant>,
}

#[derive(Default)]
struct Gathering {
    batch: Batch,
    items: Vec<Item>,
    forced: bool,
}

struct UnderWay {
    written: Written,
    items: Vec<Item>,
    forced: bool,
}

/// What a finished write means.
pub(super) enum Done {
    /// These are on stable storage now.
    Stable(Vec<Item>),
    /// Unforced records have waited long enough.
    FlushDue,
}

impl Writes {
    pub(super) fn new(flush_interval: Duration) -> Writes {
        Writes {
            flush_interval,
            gathering: VecDeque::new(),
            under_way: None,
            unstable: Vec::new(),
            unstable_since: None,
        }
    }

    /// From now on nothing waits unforced: the coordinator is about to stop.
    pub(super) fn hurry(&mut self) {
        self.flush_interval = Duration::ZERO;
    }

    /// Where a record is to be put.
    pub(super) fn batch(&mut self, item: Item, forced: bool) -> &mut Batch {
        let last = self.last();
        last.items.push(item);
        last.forced |= forced;
        &mut last.batch
    }

    /// Changes that no transaction waits for.
    pub(super) fn add_lazy(&mut self, batch: Batch) {
        self.last().batch.append(batch);
    }

    /// Changes that must be stable soon.
    pub(super) fn add_forced(&mut self, batch: Batch) {
        let last = self.last();
        last.batch.append(batch);
        last.forced = true;
    }

    /// What the next write holds, if it can start now.
    pub(super) fn ready(&self) -> &[Item] {
        match (&self.under_way, self.gathering.front()) {
            (None, Some(next)) => &next.items,
            (Some(_), _) | (None, None) => &[],
        }
    }

    /// Starts the next write if none is under way.
    pub(super) fn start(&mut self, log: &Log) {
        if self.under_way.is_some() {
            return;
        }
        let Some(Gathering { batch, items, forced }) = self.gathering.pop_front_if(|next| !next.batch.is_empty())
        else {
            return;
        };
        let durability = if forced { Durability::Forced } else { Durability::Lazy };
        let written = log.write(batch, durability);
        self.under_way = Some(UnderWay { written, items, forced });
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none()
            && self.gathering.iter().all(|gathering| gathering.batch.is_empty())
            && self.unstable.is_empty()
    }

    /// The batch that still has room; recovery may have more to write at once than one write may hold.
    fn last(&mut self) -> &mut Gathering {
        if self.gathering.back().is_none_or(|last| last.batch.payload_bytes() >= MAX_BATCH_BYTES) {
            self.gathering.push_back(Gathering::default());
        }
        let last = self.gathering.len() - 1;
        &mut self.gathering[last]
    }

    /// Waits for the write under way, or for the time to flush. Dropping this future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Done, StoreError> {
        if let Some(under_way) = &mut self.under_way {
            (&mut under_way.written).await?;
            return Ok(self.finished());
        }
        match self.unstable_since {
            Some(since) => {
                tokio::time::sleep_until(since + self.flush_interval).await;
                self.add_forced(Log::barrier());
                self.unstable_since = None;
                Ok(Done::FlushDue)
            }
            None => std::future::pending().await,
        }
    }

    fn finished(&mut self) -> Done {
        let Some(UnderWay { items, forced, .. }) = self.under_way.take() else { return Done::Stable(Vec::new()) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_platform::Family;

    #[test]
    fn what_gathers_while_a_write_is_under_way_goes_out_in_writes_of_bounded_size() {
        const RECORDS: u64 = 40;
        let mut writes = Writes::new(Duration::ZERO);
        for number in 0..RECORDS {
            let tx: TxId = format!("t{number}").parse().unwrap();
            let batch = writes.batch((tx, Ticket(number), Stage::Ended), number % 2 == 0);
            batch.put(Family("open"), number.to_be_bytes(), vec![0; 1 << 20]);
        }
        let sizes: Vec<usize> = writes.gathering.iter().map(|gathering| gathering.batch.payload_bytes()).collect();
        assert!(sizes.iter().all(|size| *size <= MAX_BATCH_BYTES + (1 << 20) + 8), "{sizes:?}");
        let tickets = writes.gathering.iter().flat_map(|gathering| &gathering.items).map(|(_, ticket, _)| ticket.0);
        assert!(tickets.eq(0..RECORDS));
    }
}
