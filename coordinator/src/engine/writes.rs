//! Group commit: one write under way, everything else gathers for the next.
//!
//! Records that nobody waits for ride along with forced ones. They count as stable once a later forced write has
//! succeeded; if none comes within the flush interval, an empty one is forced for them.

use crate::log::Log;
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
    gathering: Gathering,
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
            gathering: Gathering::default(),
            under_way: None,
            unstable: Vec::new(),
            unstable_since: None,
        }
    }

    pub(super) fn batch(&mut self, item: Item, forced: bool) -> &mut Batch {
        self.gathering.items.push(item);
        self.gathering.forced |= forced;
        &mut self.gathering.batch
    }

    /// Changes that no transaction waits for.
    pub(super) fn add_lazy(&mut self, batch: Batch) {
        self.gathering.batch.append(batch);
    }

    /// Changes that must be stable soon.
    pub(super) fn add_forced(&mut self, batch: Batch) {
        self.gathering.batch.append(batch);
        self.gathering.forced = true;
    }

    /// What the next write holds, if it can start now.
    pub(super) fn ready(&self) -> &[Item] {
        if self.under_way.is_some() { &[] } else { &self.gathering.items }
    }

    /// Starts the next write if none is under way.
    pub(super) fn start(&mut self, log: &Log) {
        if self.under_way.is_some() || self.gathering.batch.is_empty() {
            return;
        }
        let Gathering { batch, items, forced } = std::mem::take(&mut self.gathering);
        let durability = if forced { Durability::Forced } else { Durability::Lazy };
        let written = log.write(batch, durability);
        self.under_way = Some(UnderWay { written, items, forced });
    }

    pub(super) fn is_full(&self) -> bool {
        self.gathering.batch.payload_bytes() >= MAX_BATCH_BYTES
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.gathering.batch.is_empty() && self.unstable.is_empty()
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
                self.gathering.batch.append(Log::barrier());
                self.gathering.forced = true;
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
