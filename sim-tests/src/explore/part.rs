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
use xxhash_rust::xxh3::Xxh3Default;

pub(crate) fn fingerprint(value: &impl Hash) -> u128 {
    let mut hasher = Xxh3Default::new();
    value.hash(&mut hasher);
    hasher.digest128()
}

#[derive(Clone, Debug)]
pub(crate) struct Part<T> {
    value: Arc<T>,
    /// `None` since it was changed, until it is sealed.
    fingerprint: Option<u128>,
}

impl<T: Clone + Hash> Part<T> {
    pub(crate) fn new(value: T) -> Part<T> {
        Part { fingerprint: Some(fingerprint(&value)), value: Arc::new(value) }
    }

    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        self.fingerprint = None;
        change(Arc::make_mut(&mut self.value))
    }

    /// Brings the fingerprint up to date, once all changes of a step are made.
    pub(crate) fn seal(&mut self) {
        if self.fingerprint.is_none() {
            self.fingerprint = Some(fingerprint(&*self.value));
        }
    }
}

/// One copy of each value of a part: worlds are many, the states of one machine are few.
#[derive(Debug)]
pub(crate) struct Pool<T>(ByFingerprint<Arc<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Pool(ByFingerprint::default())
    }
}

impl<T> Pool<T> {
    /// Replaces a sealed part's value by the copy that is kept.
    pub(crate) fn share(&mut self, part: &mut Part<T>) {
        if let Some(fingerprint) = part.fingerprint {
            let kept = self.0.entry(fingerprint).or_insert_with(|| Arc::clone(&part.value));
            part.value = Arc::clone(kept);
        }
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

impl<T: PartialEq> PartialEq for Part<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value) || self.value == other.value
    }
}

impl<T: Eq> Eq for Part<T> {}

impl<T: Hash> Hash for Part<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Not sealed: then the value says it, only more slowly.
        state.write_u128(self.fingerprint.unwrap_or_else(|| fingerprint(&*self.value)));
    }
}
