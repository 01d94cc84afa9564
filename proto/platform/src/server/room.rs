//! The bytes that clients make a server hold: for messages that are not whole yet, and for answers that are not sent
//! yet.
//!
//! Each connection has an allowance of its own, so that small messages wait for nobody. What does not fit there takes
//! from a room that all connections have together, and of which one may have no more than a share. Those who wait get
//! theirs in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The bounds of a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The bytes that each connection may have for itself.
    pub(super) allowance_bytes: u32,
    /// The bytes that one connection may have of the common room.
    pub(super) share_bytes: u32,
    /// The bytes of the common room.
    pub(super) common_bytes: u32,
}

/// A room that connections have together.
#[derive(Debug)]
pub(super) struct Room {
    bounds: Bounds,
    common: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(bounds: Bounds) -> Room {
        Room { bounds, common: Arc::new(Semaphore::new(bounds.common_bytes as usize)) }
    }

    /// Returns what is free of the common room, and the bytes that it has.
    pub(super) fn common(&self) -> (Arc<Semaphore>, u32) {
        (self.common.clone(), self.bounds.common_bytes)
    }

    /// Returns the part of a new connection.
    pub(super) fn part(&self) -> Part {
        let Bounds { allowance_bytes, share_bytes, common_bytes } = self.bounds;
        Part(Arc::new(Inner {
            allowance: Semaphore::new(allowance_bytes as usize),
            share: Semaphore::new(share_bytes.min(common_bytes) as usize),
            share_bytes: share_bytes.min(common_bytes),
            common: self.common.clone(),
            waiting: AtomicU64::new(0),
            moved: AtomicU64::new(0),
        }))
    }
}

/// One connection's part of a room.
#[derive(Clone, Debug)]
pub(super) struct Part(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    allowance: Semaphore,
    share: Semaphore,
    share_bytes: u32,
    common: Arc<Semaphore>,
    /// The bytes that have been handed to the connection and are not on their way.
    waiting: AtomicU64,
    /// The bytes that have gone since the beginning.
    moved: AtomicU64,
}

impl Part {
    /// Takes so many bytes if there is room for them now. What is larger than the connection's share takes all of that.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Held> {
        let inner = &*self.0;
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Ok(taken) = inner.allowance.try_acquire_many(wanted) {
            return Some(self.held(keep(taken), 0));
        }
        let wanted = wanted.min(inner.share_bytes);
        let (Ok(share), Ok(taken)) = (inner.share.try_acquire_many(wanted), inner.common.try_acquire_many(wanted))
        else {
            return None;
        };
        keep(share);
        Some(self.held(0, keep(taken)))
    }

    /// Takes so many bytes when it is this one's turn.
    pub(super) async fn take(&self, bytes: usize) -> Held {
        if let Some(held) = self.try_take(bytes) {
            return held;
        }
        let inner = &*self.0;
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(inner.share_bytes);
        let share = inner.share.acquire_many(wanted).await.expect("it is never closed");
        let taken = inner.common.acquire_many(wanted).await.expect("it is never closed");
        keep(share);
        self.held(0, keep(taken))
    }

    fn held(&self, allowance: usize, common: usize) -> Held {
        Held { part: self.clone(), allowance, common, waiting: 0 }
    }

    /// Returns the bytes of the common room that this connection has.
    fn common_bytes(&self) -> usize {
        self.0.share_bytes as usize - self.0.share.available_permits()
    }

    pub(super) fn flow(&self) -> Flow {
        Flow {
            common: self.common_bytes(),
            waiting: self.0.waiting.load(Ordering::Relaxed),
            moved: self.0.moved.load(Ordering::Relaxed),
        }
    }
}

/// The bytes that a connection holds, waits to send, and has sent, at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) common: usize,
    pub(super) waiting: u64,
    pub(super) moved: u64,
}

/// Takes what a permit stands for along, and returns how much that is.
fn keep(permit: SemaphorePermit<'_>) -> usize {
    let bytes = permit.num_permits();
    permit.forget();
    bytes
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    part: Part,
    allowance: usize,
    common: usize,
    waiting: u64,
}

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.allowance + self.common
    }

    /// Becomes what both are.
    pub(super) fn absorb(&mut self, mut other: Held) {
        debug_assert!(Arc::ptr_eq(&self.part.0, &other.part.0), "of one connection");
        self.allowance += std::mem::take(&mut other.allowance);
        self.common += std::mem::take(&mut other.common);
        self.waiting += std::mem::take(&mut other.waiting);
    }

    /// Gives back what is more than `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let more = self.bytes().saturating_sub(bytes);
        let common = more.min(self.common);
        self.give_back(more - common, common);
    }

    /// Notes that bytes that this stands for are with the connection, which has to send them.
    pub(super) fn waits(&mut self, bytes: usize) {
        self.waiting += bytes as u64;
        self.part.0.waiting.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes that the connection gets on.
    pub(super) fn moved(&self, bytes: u64) {
        self.part.0.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&mut self, allowance: usize, common: usize) {
        self.allowance -= allowance;
        self.common -= common;
        let inner = &*self.part.0;
        // Freeing takes a lock, even for nothing.
        if allowance > 0 {
            inner.allowance.add_permits(allowance);
        }
        if common > 0 {
            inner.share.add_permits(common);
            inner.common.add_permits(common);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back(self.allowance, self.common);
        self.part.0.waiting.fetch_sub(self.waiting, Ordering::Relaxed);
        self.moved(self.waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    const ROOM: Bounds = Bounds { allowance_bytes: 10, share_bytes: 100, common_bytes: 150 };

    #[test]
    fn what_is_small_takes_from_the_connections_own_and_the_rest_from_the_common_room() {
        let room = Room::new(ROOM);
        let (one, other) = (room.part(), room.part());
        let large = [one.try_take(100).unwrap(), other.try_take(50).unwrap()];
        assert!(one.try_take(11).is_none() && other.try_take(11).is_none(), "all is taken");
        let small = [one.try_take(10).unwrap(), other.try_take(10).unwrap()];
        assert!(one.try_take(1).is_none());
        drop((large, small));
        assert_eq!((one.common_bytes(), room.common.available_permits()), (0, 150));
    }

    #[test]
    fn one_connection_takes_no_more_than_its_share_and_what_is_larger_takes_all_of_it() {
        let room = Room::new(ROOM);
        let part = room.part();
        let held = part.try_take(1_000).unwrap();
        assert_eq!(held.bytes(), 100);
        assert!(part.try_take(11).is_none());
        assert!(room.part().try_take(50).is_some());
    }

    #[test]
    fn those_who_wait_get_theirs_in_turn_and_who_leaves_takes_nothing_along() {
        let room = Room::new(ROOM);
        let parts = [(); 3].map(|()| room.part());
        let mut held = [parts[0].try_take(100).unwrap(), parts[1].try_take(50).unwrap()];
        let mut leaves = Box::pin(parts[2].take(60));
        assert!(leaves.as_mut().now_or_never().is_none());
        let mut waits = Box::pin(parts[1].take(20));
        assert!(waits.as_mut().now_or_never().is_none());
        held[0].shrink_to(70);
        assert!(waits.as_mut().now_or_never().is_none(), "it went past one that waited longer");
        drop(leaves);
        assert_eq!(waits.now_or_never().unwrap().bytes(), 20);
        drop(held);
        assert_eq!(room.common.available_permits(), 150);
    }
}
