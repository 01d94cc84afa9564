//! Parts of a world that are shared until they change.
//!
//! A step touches one or two parts of a world; the others are shared with the world before. Each part carries its
//! fingerprint, so that a step hashes only what it changed.
//!
//! Fingerprints have 128 bits of a hash with a fixed seed, so a run can be repeated. Two different worlds that share one
//! would be taken for the same: with n worlds the probability is about n² / 2¹²⁹, for a hundred million worlds 10⁻²³.

use std::hash::{Hash, Hasher};
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
    fingerprint: u128,
}

impl<T: Clone + Hash> Part<T> {
    pub(crate) fn new(value: T) -> Part<T> {
        Part { fingerprint: fingerprint(&value), value: Arc::new(value) }
    }

    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(Arc::make_mut(&mut self.value));
        self.fingerprint = fingerprint(&*self.value);
        result
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
        self.fingerprint == other.fingerprint && (Arc::ptr_eq(&self.value, &other.value) || self.value == other.value)
    }
}

impl<T: Eq> Eq for Part<T> {}

impl<T> Hash for Part<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.fingerprint);
    }
}
