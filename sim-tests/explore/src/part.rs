//! Parts of a world that are shared until they change.
//!
//! A step touches one or two parts of a world; the others are shared with the world before. Each part carries its
//! fingerprint, so that a step hashes only what it changed.
//!
//! Fingerprints have 128 bits of a hash with a fixed seed, so a run can be repeated. Two different worlds that share one
//! would be taken for the same: with n worlds the probability is about n² / 2¹²⁹, for a hundred million worlds 10⁻²³.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// Longer than most of what is hashed.
const GATHERED_BYTES: usize = 1_024;

pub(crate) fn fingerprint(value: &impl Hash) -> u128 {
    let mut gathered = Gathered(Vec::with_capacity(GATHERED_BYTES));
    value.hash(&mut gathered);
    xxh3_128(&gathered.0)
}

/// Hashing all bytes at once is faster than hashing them as they come.
struct Gathered(Vec<u8>);

impl Hasher for Gathered {
    fn finish(&self) -> u64 {
        xxh3_128(&self.0) as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

#[derive(Debug)]
pub(crate) struct Part<T> {
    value: Arc<T>,
    fingerprint: u128,
}

impl<T: Hash> Part<T> {
    pub(crate) fn new(value: T) -> Part<T> {
        Part { fingerprint: fingerprint(&value), value: Arc::new(value) }
    }

    pub(crate) fn fingerprint(&self) -> u128 {
        self.fingerprint
    }

    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R
    where
        T: Clone,
    {
        let result = change(Arc::make_mut(&mut self.value));
        self.fingerprint = fingerprint(&*self.value);
        result
    }
}

/// One copy of each value: worlds are many, the states of one machine are few.
#[derive(Debug)]
pub(crate) struct Pool<T>(ByFingerprint<Arc<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Pool(ByFingerprint::default())
    }
}

impl<T: Hash> Pool<T> {
    pub(crate) fn part(&mut self, value: T) -> Part<T> {
        let fingerprint = fingerprint(&value);
        let kept = self.0.entry(fingerprint).or_insert_with(|| Arc::new(value));
        Part { value: Arc::clone(kept), fingerprint }
    }
}

#[allow(clippy::disallowed_types, reason = "only asked, never iterated; and its hasher has no seed")]
pub(crate) type ByFingerprint<V> = std::collections::HashMap<u128, V, BuildHasherDefault<Fingerprinted>>;

/// The keys are hashes already.
#[derive(Debug, Default)]
pub(crate) struct Fingerprinted(u64);

impl Hasher for Fingerprinted {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| (hash << 8) | u64::from(*byte));
    }

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = fingerprint as u64;
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Part { value: Arc::clone(&self.value), fingerprint: self.fingerprint }
    }
}

impl<T> PartialEq for Part<T> {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl<T> Eq for Part<T> {}

/// The order by fingerprint: an order like any other.
impl<T> Ord for Part<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.fingerprint.cmp(&other.fingerprint)
    }
}

impl<T> PartialOrd for Part<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Hash for Part<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.fingerprint);
    }
}

impl<T: std::fmt::Display> std::fmt::Display for Part<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value.fmt(f)
    }
}
