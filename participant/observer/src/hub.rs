//! What happens in sagas, for those who watch.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use undoubt_stream::observer::Line;
use undoubt_vocabulary::CorrelationId;

/// Events that are kept for those who watch.
pub(crate) const MAX_TOLD_KEPT: usize = 16_384;

/// Something that happened to a saga; `None`: it has ended, which is told by itself.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) correlation: CorrelationId,
    pub(crate) line: Line,
    /// Nothing more is told of it.
    pub(crate) is_end: bool,
}

#[derive(Debug)]
struct Kept {
    told: VecDeque<Told>,
    /// The number of the first that is kept.
    first: u64,
}

/// The latest of what happened, numbered from 1.
#[derive(Debug)]
pub(crate) struct Hub {
    kept: Mutex<Kept>,
    last: watch::Sender<u64>,
}

impl Default for Hub {
    fn default() -> Self {
        Hub { kept: Mutex::new(Kept { told: VecDeque::new(), first: 1 }), last: watch::Sender::new(0) }
    }
}

impl Hub {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // What is behind it is whole between two calls.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, told: impl IntoIterator<Item = Told>) {
        let last = {
            let mut kept = self.kept();
            kept.told.extend(told);
            while kept.told.len() > MAX_TOLD_KEPT {
                kept.told.pop_front();
                kept.first += 1;
            }
            kept.first + kept.told.len() as u64 - 1
        };
        self.last.send_if_modified(|known| std::mem::replace(known, last) != last);
    }

    /// Returns the number of the last that has happened, and what says when there is more.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Returns the first behind a number, with its own, and how many were lost before it.
    pub(crate) fn next(&self, after: u64) -> Option<(u64, u64, Told)> {
        let kept = self.kept();
        let wanted = (after + 1).max(kept.first);
        let told = kept.told.get(usize::try_from(wanted - kept.first).ok()?)?;
        Some((wanted, wanted - after - 1, told.clone()))
    }
}
