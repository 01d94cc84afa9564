//! Strict two-phase locks with wait-die (R12).
//!
//! A transaction asks once, for all its keys together, and frees them all together when it is over. It is granted what
//! it wants, waits, or is refused and leaves nothing behind. It waits only if it is older than every transaction it would
//! wait for, so waiting always points from older to younger: no circle of waiting can form, neither here nor across
//! participants, which need not talk to each other about it.
//!
//! One exception: anybody may wait for a holder whose decision is known ([`LockTable::leave`]). It waits for nothing itself,
//! so no circle can close through it. Without this a client would be refused for the sake of its own transaction before,
//! which it was told had committed and which is just about to free its locks.
//!
//! Fair: a grant never passes an earlier conflicting request, so nobody starves. For the same reason a request counts the
//! conflicting ones queued before it among those it would wait for.
//!
//! Pure values: [`LockTable::acquire`] and [`LockTable::release`] say who goes on, and the caller wakes them.

use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;
use undoubt_vocabulary::{DigestMap, Digested, Timestamp, TxId};

/// Transactions that may wait for locks at the same time (R9).
pub const MAX_WAITERS: usize = 4_096;

/// The bounds that users can meet.
pub const LIMITS: &[Limit] = &[limit!(
    Count MAX_WAITERS, "Transactions that wait for locks of one participant.", "One more is refused with `lock-conflict`."
)];

/// The mode in which a key is locked. Exclusive is the greater of the two: it includes what shared allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Any number of transactions may read.
    Shared,
    /// One transaction reads and writes.
    Exclusive,
}

/// A transaction's age; the lower is the older. Every participant sees the same age, as the coordinator tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Age {
    pub begun_at: Timestamp,
    /// Settles ties, and is the owner of the locks.
    pub tx: TxId,
}

impl Ord for Age {
    /// Ids are compared by their bytes, for their own order is not the same at every participant.
    fn cmp(&self, other: &Self) -> Ordering {
        self.begun_at.cmp(&other.begun_at).then_with(|| self.tx.as_bytes().cmp(other.tx.as_bytes()))
    }
}

impl PartialOrd for Age {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Acquire {
    Granted,
    /// A later [`LockTable::release`] will name it.
    Waiting,
    /// Wait-die: this older transaction is in the way.
    Refused {
        holder: TxId,
    },
    /// [`MAX_WAITERS`] wait already.
    Crowded,
}

/// The lock of a key: who holds it, and who waits for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LockTable {
    keys: DigestMap<Digested, KeyLocks>,
    claims: DigestMap<TxId, Claim>,
    /// The transactions that wait, in the order in which they came.
    waiting: BTreeMap<Place, TxId>,
}

/// The place of a request in the queue.
type Place = u64;

/// A key's locks. Kept apart by mode, so that many readers of one key need not look at each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct KeyLocks {
    writer: Option<Arc<Age>>,
    readers: BTreeSet<Arc<Age>>,
    waiting_to_write: BTreeMap<Place, Arc<Age>>,
    waiting_to_read: BTreeMap<Place, Arc<Age>>,
}

impl KeyLocks {
    fn hold(&mut self, mode: Mode, age: Arc<Age>) {
        match mode {
            Mode::Shared => {
                self.readers.insert(age);
            }
            Mode::Exclusive => {
                let other = self.writer.replace(age);
                assert!(
                    other.is_none(),
                    "{:?} still writes what is granted to another",
                    other.map(|age| age.tx.clone())
                );
            }
        }
    }

    fn waiting(&mut self, mode: Mode) -> &mut BTreeMap<Place, Arc<Age>> {
        match mode {
            Mode::Shared => &mut self.waiting_to_read,
            Mode::Exclusive => &mut self.waiting_to_write,
        }
    }

    fn remove(&mut self, mode: Mode, claim: &Claim) {
        match (claim.place, mode) {
            (Some(place), mode) => {
                self.waiting(mode).remove(&place);
            }
            (None, Mode::Exclusive) => self.writer = None,
            (None, Mode::Shared) => {
                self.readers.remove(&claim.age);
            }
        }
    }

    /// Returns those that a request at this place of the queue would have to wait for.
    fn in_the_way(&self, mode: Mode, place: Place) -> impl Iterator<Item = &Arc<Age>> {
        let writers = self.writer.iter().chain(self.waiting_to_write.range(..place).map(|(_, age)| age));
        let readers = match mode {
            Mode::Shared => None,
            Mode::Exclusive => Some(self.readers.iter().chain(self.waiting_to_read.range(..place).map(|(_, age)| age))),
        };
        writers.chain(readers.into_iter().flatten())
    }

    fn waiters(&self) -> impl Iterator<Item = Place> {
        self.waiting_to_read.keys().chain(self.waiting_to_write.keys()).copied()
    }

    fn is_free(&self) -> bool {
        let Self { writer, readers, waiting_to_write, waiting_to_read } = self;
        writer.is_none() && readers.is_empty() && waiting_to_write.is_empty() && waiting_to_read.is_empty()
    }
}

/// Each key once.
type Wanted = Arc<[(Digested, Mode)]>;

fn wanted_of(keys: &BTreeMap<Bytes, Mode>) -> Wanted {
    keys.iter().map(|(key, mode)| (Digested::from(&**key), *mode)).collect()
}

/// The locks that one transaction holds or waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Claim {
    age: Arc<Age>,
    wanted: Wanted,
    /// `None` once granted.
    place: Option<Place>,
    /// True if it holds locks and its decision is known.
    leaving: bool,
}

impl LockTable {
    /// Asks for all of `wanted` at once, for the transaction of this age.
    ///
    /// # Panics
    /// If the transaction holds or waits already. Asking in two steps would void wait-die, and two branches under one id
    /// would free each other's locks.
    pub fn acquire(&mut self, age: &Age, wanted: &BTreeMap<Bytes, Mode>) -> Acquire {
        self.assert_new(age);
        let wanted = &wanted_of(wanted);
        let place = self.waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        let mut in_the_way = self.in_the_way(wanted, place).peekable();
        if in_the_way.peek().is_none() {
            drop(in_the_way);
            self.hold(&Arc::new(age.clone()), wanted);
            return Acquire::Granted;
        }
        match in_the_way.filter(|other| !self.is_leaving(&other.tx)).min() {
            Some(oldest) if oldest < age => Acquire::Refused { holder: oldest.tx.clone() },
            Some(_) | None if self.waiting.len() >= MAX_WAITERS => Acquire::Crowded,
            Some(_) | None => {
                self.queue(age, wanted, place);
                Acquire::Waiting
            }
        }
    }

    /// Notes that the decision about a holder is known: it waits for nothing any more, and is about to release. Nothing
    /// happens if it holds nothing.
    pub fn leave(&mut self, tx: &TxId) {
        if let Some(claim) = self.claims.get_mut(tx) {
            claim.leaving |= claim.place.is_none();
        }
    }

    /// Locks again what a prepared branch held before a crash.
    ///
    /// # Panics
    /// If that conflicts: two prepared branches cannot have held the same lock, so the records are not to be trusted.
    pub fn lock_recovered(&mut self, age: &Age, wanted: &BTreeMap<Bytes, Mode>) {
        self.assert_new(age);
        let wanted = &wanted_of(wanted);
        if let Some(other) = self.in_the_way(wanted, Place::MAX).min() {
            panic!("two prepared branches, {} and {}, claim the same lock: the records contradict", age.tx, other.tx);
        }
        self.hold(&Arc::new(age.clone()), wanted);
    }

    /// Frees all that `tx` holds, or ends its waiting. Returns those that are granted by it, in the order in which they
    /// came. Nothing happens if `tx` is not known.
    pub fn release(&mut self, tx: &TxId) -> Vec<TxId> {
        let Some(claim) = self.claims.remove(tx) else { return Vec::new() };
        if let Some(place) = claim.place {
            self.waiting.remove(&place);
        }
        // Only those who want one of the freed keys can be affected. A grant among them frees nobody else: it stays in
        // the way of the same transactions as before.
        let mut affected = BTreeSet::new();
        for (key, mode) in &*claim.wanted {
            let Some(locks) = self.keys.get_mut(key) else { continue };
            locks.remove(*mode, &claim);
            affected.extend(locks.waiters());
            if locks.is_free() {
                self.keys.remove(key);
            }
        }
        affected.into_iter().filter_map(|place| self.grant_if_free(place)).collect()
    }

    /// Returns transactions that hold locks.
    pub fn holders(&self) -> impl Iterator<Item = &TxId> {
        self.claims.iter().filter(|(_, claim)| claim.place.is_none()).map(|(tx, _)| tx)
    }

    /// Returns transactions that wait for locks.
    pub fn waiters(&self) -> impl Iterator<Item = &TxId> {
        self.waiting.values()
    }

    /// Returns true if it holds or waits.
    pub fn knows(&self, tx: &TxId) -> bool {
        self.claims.contains_key(tx)
    }

    /// Returns the number of keys that are locked or waited for.
    pub fn locked_keys(&self) -> usize {
        self.keys.len()
    }

    fn is_leaving(&self, tx: &TxId) -> bool {
        self.claims.get(tx).is_some_and(|claim| claim.leaving)
    }

    /// Returns true if nobody holds and nobody waits.
    pub fn is_idle(&self) -> bool {
        self.claims.is_empty()
    }

    /// Returns those that a request at this place of the queue would have to wait for.
    fn in_the_way(&self, wanted: &Wanted, place: Place) -> impl Iterator<Item = &Age> {
        wanted
            .iter()
            .filter_map(move |(key, mode)| Some(self.keys.get(key)?.in_the_way(*mode, place)))
            .flatten()
            .map(|age| &**age)
    }

    fn hold(&mut self, age: &Arc<Age>, wanted: &Wanted) {
        for (key, mode) in &**wanted {
            self.locks_of(key).hold(*mode, age.clone());
        }
        self.claim(age, wanted, None);
    }

    fn locks_of(&mut self, key: &Digested) -> &mut KeyLocks {
        self.keys.get_or_insert_with(key.clone(), KeyLocks::default)
    }

    fn queue(&mut self, age: &Age, wanted: &Wanted, place: Place) {
        let age = &Arc::new(age.clone());
        for (key, mode) in &**wanted {
            self.locks_of(key).waiting(*mode).insert(place, age.clone());
        }
        self.waiting.insert(place, age.tx.clone());
        self.claim(age, wanted, Some(place));
    }

    fn claim(&mut self, age: &Arc<Age>, wanted: &Wanted, place: Option<Place>) {
        let claim = Claim { age: age.clone(), wanted: wanted.clone(), place, leaving: false };
        self.claims.insert(age.tx.clone(), claim);
    }

    fn grant_if_free(&mut self, place: Place) -> Option<TxId> {
        let claim = self.claims.get(self.waiting.get(&place)?)?;
        if self.in_the_way(&claim.wanted, place).next().is_some() {
            return None;
        }
        let Claim { age, wanted, place: _, leaving: _ } = claim.clone();
        self.waiting.remove(&place);
        for (key, mode) in &*wanted {
            self.locks_of(key).waiting(*mode).remove(&place);
        }
        self.hold(&age, &wanted);
        Some(age.tx.clone())
    }

    fn assert_new(&self, age: &Age) {
        assert!(!self.knows(&age.tx), "{} asks for locks twice; it has to ask for all at once", age.tx);
    }
}

#[cfg(test)]
mod tests;
