//! The events of a disk, for whoever records a run.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use undoubt_platform::Durability;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskEvent {
    /// A process has it open now, and whoever had it before is shut out.
    Opened {
        frames: usize,
    },
    /// The disk could not be opened.
    Refused {
        cause: String,
    },
    Written {
        frame: usize,
        bytes: usize,
        durability: Durability,
    },
    /// A write failed, after `landed` of its bytes, and the store stopped.
    WriteFailed {
        landed: usize,
        cause: String,
    },
    /// The first `frames` frames are stable.
    Synced {
        frames: usize,
    },
    /// The first `frames` frames pass for stable, and are no more so than before (S1).
    LiedAboutSync {
        frames: usize,
    },
    SyncFailed,
    /// The first `kept` frames are left, and `torn_bytes` of the next.
    PowerLost {
        kept: usize,
        torn_bytes: usize,
    },
    RolledBack {
        kept: usize,
    },
    BitFlipped {
        bit: usize,
    },
    Repaired {
        bits: usize,
    },
    Wiped,
    /// An earlier state is in its place, which begins with the same `kept` frames and has so many in all.
    PutBack {
        kept: usize,
        frames: usize,
    },
    Swapped {
        with: String,
    },
    /// The record of a key is another one, as if it had never been otherwise.
    Rewritten {
        family: &'static str,
        key: Bytes,
    },
    /// The record of a key is gone as if it had never been written.
    Scrubbed {
        family: &'static str,
        key: Bytes,
    },
}

/// The listener to events: at first nobody.
#[derive(Clone, Default)]
pub(super) struct Observer(pub(super) Option<Arc<dyn Fn(DiskEvent) + Send + Sync>>);

impl Observer {
    pub(super) fn tell(&self, event: DiskEvent) {
        if let Some(observer) = &self.0 {
            observer(event);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer(set)" } else { "Observer(none)" })
    }
}
