//! The locks of the server: they know no ages. A wait that closes a circle is refused at once, every other ends in time.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use undoubt_lock::Mode;
use undoubt_platform::Family;

/// A row, whether it is there or not.
pub(super) type Key = (Family, Bytes);

/// The number of a transaction in this server's life.
pub(super) type Number = u64;

/// The answer to who asks for a lock.
#[derive(Debug)]
pub(super) enum Asked {
    Granted,
    Waits(oneshot::Receiver<()>),
    /// Who it would wait for waits for it.
    Deadlock,
}

#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<BTreeMap<Key, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    holders: BTreeMap<Number, Mode>,
    queue: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: Number,
    mode: Mode,
    granted: oneshot::Sender<()>,
}

fn go_together(one: Mode, other: Mode) -> bool {
    one == Mode::Shared && other == Mode::Shared
}

impl Locks {
    /// Asks for a lock, behind those who wait for it, unless the transaction has the key already.
    pub(super) fn ask(&self, number: Number, key: &Key, mode: Mode) -> Asked {
        let mut keys = self.keys();
        let entry = keys.entry(key.clone()).or_default();
        let held = entry.holders.get(&number).copied();
        if held.is_some_and(|held| held >= mode) {
            return Asked::Granted;
        }
        if entry.admits(number, mode) && (held.is_some() || entry.queue.is_empty()) {
            entry.holders.insert(number, mode);
            return Asked::Granted;
        }
        let (granted, waits) = oneshot::channel();
        let waiter = Waiter { number, mode, granted };
        match held {
            Some(_) => entry.queue.push_front(waiter),
            None => entry.queue.push_back(waiter),
        }
        if is_in_circle(&keys, number) {
            forget(&mut keys, number, key);
            return Asked::Deadlock;
        }
        Asked::Waits(waits)
    }

    /// Ends a wait. It may have been granted meanwhile, and is held then.
    pub(super) fn forget(&self, number: Number, key: &Key) {
        forget(&mut self.keys(), number, key);
    }

    /// Frees all that a transaction holds, or waits for.
    pub(super) fn release(&self, number: Number) {
        let mut keys = self.keys();
        for entry in keys.values_mut() {
            entry.holders.remove(&number);
            entry.queue.retain(|waiter| waiter.number != number);
            entry.grant();
        }
        keys.retain(|_, entry| !entry.holders.is_empty() || !entry.queue.is_empty());
    }

    pub(super) fn held_by(&self, number: Number) -> Vec<(Key, Mode)> {
        let keys = self.keys();
        let held = keys.iter().filter_map(|(key, entry)| Some((key.clone(), *entry.holders.get(&number)?)));
        held.collect()
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        // Nothing between taking and freeing it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(keys: &mut BTreeMap<Key, Entry>, number: Number, key: &Key) {
    if let Some(entry) = keys.get_mut(key) {
        entry.queue.retain(|waiter| waiter.number != number);
        entry.grant();
    }
}

impl Entry {
    fn admits(&self, number: Number, mode: Mode) -> bool {
        self.holders.iter().all(|(holder, held)| *holder == number || go_together(*held, mode))
    }

    fn grant(&mut self) {
        while let Some(next) = self.queue.front().filter(|next| self.admits(next.number, next.mode)) {
            let (number, mode) = (next.number, next.mode);
            let Some(waiter) = self.queue.pop_front() else { return };
            if waiter.granted.send(()).is_ok() {
                self.holders.insert(number, mode);
            }
        }
    }

    /// Returns those for whom a transaction waits here.
    fn in_the_way_of(&self, number: Number) -> impl Iterator<Item = Number> + '_ {
        let place = self.queue.iter().position(|waiter| waiter.number == number);
        let waits = place.map(|place| (place, self.queue[place].mode));
        let holders = waits.into_iter().flat_map(move |(_, mode)| {
            let strangers = self.holders.iter().filter(move |(holder, _)| **holder != number);
            strangers.filter(move |(_, held)| !go_together(**held, mode)).map(|(holder, _)| *holder)
        });
        let before = waits.into_iter().flat_map(move |(place, mode)| {
            let before = self.queue.iter().take(place);
            before.filter(move |waiter| !go_together(waiter.mode, mode)).map(|waiter| waiter.number)
        });
        holders.chain(before)
    }
}

/// Returns true if a transaction waits, over others, for itself.
fn is_in_circle(keys: &BTreeMap<Key, Entry>, number: Number) -> bool {
    let (mut seen, mut left) = (BTreeSet::new(), vec![number]);
    while let Some(waiter) = left.pop() {
        for in_the_way in keys.values().flat_map(|entry| entry.in_the_way_of(waiter)) {
            if in_the_way == number {
                return true;
            }
            if seen.insert(in_the_way) {
                left.push(in_the_way);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &'static str) -> Key {
        (Family("data"), Bytes::from_static(name.as_bytes()))
    }

    #[test]
    fn readers_share_and_a_writer_waits_for_all_of_them() {
        let locks = Locks::default();
        assert!(matches!(locks.ask(1, &key("a"), Mode::Shared), Asked::Granted));
        assert!(matches!(locks.ask(2, &key("a"), Mode::Shared), Asked::Granted));
        let Asked::Waits(mut granted) = locks.ask(3, &key("a"), Mode::Exclusive) else { panic!("it need not wait") };
        // Nobody overtakes it.
        assert!(matches!(locks.ask(4, &key("a"), Mode::Shared), Asked::Waits(_)));
        locks.release(1);
        assert!(granted.try_recv().is_err());
        locks.release(2);
        assert!(granted.try_recv().is_ok());
        assert_eq!(locks.held_by(3), [(key("a"), Mode::Exclusive)]);
    }

    #[test]
    fn a_circle_is_refused_and_leaves_the_others_waiting() {
        let locks = Locks::default();
        assert!(matches!(locks.ask(1, &key("a"), Mode::Exclusive), Asked::Granted));
        assert!(matches!(locks.ask(2, &key("b"), Mode::Exclusive), Asked::Granted));
        let Asked::Waits(mut granted) = locks.ask(1, &key("b"), Mode::Shared) else { panic!("it need not wait") };
        assert!(matches!(locks.ask(2, &key("a"), Mode::Shared), Asked::Deadlock));
        locks.release(2);
        assert!(granted.try_recv().is_ok());
    }

    #[test]
    fn a_wait_that_was_given_up_is_not_granted() {
        let locks = Locks::default();
        assert!(matches!(locks.ask(1, &key("a"), Mode::Exclusive), Asked::Granted));
        assert!(matches!(locks.ask(2, &key("a"), Mode::Exclusive), Asked::Waits(_)));
        locks.forget(2, &key("a"));
        locks.release(1);
        assert!(locks.held_by(2).is_empty());
    }
}
