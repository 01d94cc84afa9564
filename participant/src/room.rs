//! Room for results: how many bytes of them may be in memory at a time (R9).
//!
//! Three things take room: what is computed and not written yet, what waits to be sent to coordinators, and what the core
//! keeps so that it can be said again. Past half of a bound only small results are still computed, and large ones wait
//! their turn; past the whole bound everything waits that could come to a result. What frees locks never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;

/// Results that are computed and not written, and messages that wait to be sent, to all coordinators together.
pub(crate) const MAX_UNSENT_BYTES: usize = 32 << 20;

/// Work, and what it comes to, is small up to this size.
pub const SMALL_BYTES: usize = 16 << 10;

/// The bounds on the bytes of results, with their counts. Whoever holds a copy counts the same ones.
#[derive(Clone, Debug)]
pub struct Room(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    unsent: AtomicUsize,
    kept: AtomicUsize,
    max_kept: usize,
    freed: Notify,
}

impl Default for Room {
    /// Returns a room in which nothing that is kept is too much.
    fn default() -> Self {
        Room::new(usize::MAX)
    }
}

impl Room {
    /// Returns a room. `max_kept_bytes`: of results that the core keeps.
    pub(crate) fn new(max_kept_bytes: usize) -> Room {
        let counts = Counts {
            unsent: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            max_kept: max_kept_bytes,
            freed: Notify::new(),
        };
        Room(Arc::new(counts))
    }

    /// Returns the most bytes that a result computed now may have: [`MAX_RESULT_BYTES`], or [`SMALL_BYTES`] while large
    /// ones wait.
    pub fn largest(&self) -> usize {
        if self.takes_large() { MAX_RESULT_BYTES } else { SMALL_BYTES }
    }

    /// Returns a count of what is computed, until it is handed on.
    pub fn hold(&self) -> Held {
        Held { room: self.clone(), bytes: 0 }
    }

    pub(crate) fn takes_large(&self) -> bool {
        self.sends_large() && !self.keeps_too_much()
    }

    /// Returns true if large results may be sent. What is stored already, and only has to be sent again, takes no room
    /// among what is kept.
    pub(crate) fn sends_large(&self) -> bool {
        self.unsent() < MAX_UNSENT_BYTES / 2
    }

    /// Returns the reason why nothing may be computed now, not even what is small; for people.
    pub(crate) fn why_full(&self) -> Option<String> {
        let max_kept = self.0.max_kept;
        if self.kept() >= max_kept {
            return Some(format!(
                "results of {max_kept} bytes are kept here until their transactions are over (max_kept_result_bytes)"
            ));
        }
        let full = self.unsent() >= MAX_UNSENT_BYTES;
        full.then(|| format!("answers of {MAX_UNSENT_BYTES} bytes wait to be sent (MAX_UNSENT_BYTES)"))
    }

    /// Returns the bytes that are not sent, and those that are kept, each with its bound.
    pub(crate) fn taken(&self) -> ((usize, usize), (usize, usize)) {
        ((self.unsent(), MAX_UNSENT_BYTES), (self.kept(), self.0.max_kept))
    }

    /// Coordinators have long stopped to read what they ask for.
    pub(crate) fn is_overrun(&self) -> bool {
        self.unsent() >= 2 * MAX_UNSENT_BYTES
    }

    /// Returns true if more is kept than only an end of transactions frees.
    pub(crate) fn keeps_too_much(&self) -> bool {
        self.kept() >= self.0.max_kept.div_ceil(2)
    }

    /// Sets the bytes that the core keeps now.
    pub(crate) fn set_kept(&self, bytes: usize) {
        self.0.kept.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.0.unsent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn free(&self, bytes: usize) {
        let before = self.0.unsent.fetch_sub(bytes, Ordering::Relaxed);
        if before >= MAX_UNSENT_BYTES / 2 {
            self.0.freed.notify_one();
        }
    }

    /// Returns when bytes have been freed while there was little room. For one who waits.
    pub(crate) async fn freed(&self) {
        self.0.freed.notified().await;
    }

    fn unsent(&self) -> usize {
        self.0.unsent.load(Ordering::Relaxed)
    }

    fn kept(&self) -> usize {
        self.0.kept.load(Ordering::Relaxed)
    }
}

/// Counted bytes, which are given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    room: Room,
    bytes: usize,
}

impl Held {
    pub fn add(&mut self, bytes: usize) {
        self.room.take(bytes);
        self.bytes += bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.free(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_results_wait_at_half_of_the_room_and_all_others_at_the_whole_of_it() {
        let room = Room::new(100);
        let mut held = room.hold();
        assert_eq!(room.largest(), MAX_RESULT_BYTES);
        held.add(MAX_UNSENT_BYTES / 2);
        assert_eq!(room.largest(), SMALL_BYTES);
        assert_eq!(room.why_full(), None);
        held.add(MAX_UNSENT_BYTES / 2);
        assert!(room.why_full().unwrap().contains("MAX_UNSENT_BYTES"));
        drop(held);
        assert_eq!(room.largest(), MAX_RESULT_BYTES);
        room.set_kept(50);
        assert_eq!(room.largest(), SMALL_BYTES);
        assert_eq!(room.why_full(), None);
        room.set_kept(100);
        assert!(room.why_full().unwrap().contains("max_kept_result_bytes"));
    }
}
