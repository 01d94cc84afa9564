//! Maps whose keys bring their hash along.

use indexmap::IndexMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A key with a number that tells it from nearly all others, made once and kept.
///
/// Equal keys have equal digests. [`Hash`] has to write the digest and nothing else.
pub trait Digest: Hash + Eq + Ord {
    fn digest(&self) -> u64;
}

/// A map that finds its keys by their digests, in constant time.
///
/// Two maps are equal, and hash alike, if they hold the same, however they came to it. [`DigestMap::iter`] goes in the order
/// of the keys for the same reason: whoever acts on it acts alike in equal states. Nothing in it is random.
#[derive(Clone)]
pub struct DigestMap<K, V>(IndexMap<K, V, BuildHasherDefault<Given>>);

impl<K: Digest, V> DigestMap<K, V> {
    pub fn new() -> Self {
        DigestMap(IndexMap::default())
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    /// Returns the place where the key is now. Any change of the map may move it.
    pub fn place(&self, key: &K) -> Option<usize> {
        self.0.get_index_of(key)
    }

    /// Returns the entry at a place.
    pub fn at_mut(&mut self, place: usize) -> Option<(&K, &mut V)> {
        self.0.get_index_mut(place)
    }

    pub fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Inserts a value, and returns the one that was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.swap_remove(key)
    }

    pub fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        self.0.entry(key).or_insert_with(value)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the entries in the order of their keys, which takes time to find.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut all: Vec<(&K, &V)> = self.0.iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter()
    }

    /// Returns the values in the order of their keys, which takes time to find.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let mut all: Vec<(&K, &mut V)> = self.0.iter_mut().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter().map(|(_, value)| value)
    }

    /// Returns the entries in no order, for those who count or do not care.
    pub fn in_any_order(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter()
    }
}

impl<K: Digest, V> Default for DigestMap<K, V> {
    fn default() -> Self {
        DigestMap::new()
    }
}

impl<K: Digest, V: PartialEq> PartialEq for DigestMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K: Digest, V: Eq> Eq for DigestMap<K, V> {}

impl<K: Digest, V: Hash> Hash for DigestMap<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|entry| entry.hash(state));
    }
}

impl<K: Digest + fmt::Debug, V: fmt::Debug> fmt::Debug for DigestMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The hash is what it is given.
#[derive(Clone, Copy, Default)]
struct Given(u64);

impl Hasher for Given {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a key with a digest writes that alone")
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TxId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::hash::DefaultHasher;

    fn id(number: u8) -> TxId {
        TxId::new([number]).unwrap()
    }

    fn hash(map: &DigestMap<TxId, u32>) -> u64 {
        let mut hasher = DefaultHasher::new();
        map.hash(&mut hasher);
        hasher.finish()
    }

    proptest! {
        #[test]
        fn it_holds_what_an_ordered_map_would_and_goes_in_its_order(steps in proptest::collection::vec((0_u8..20, 0_u32..3), 0..100)) {
            let (mut map, mut model) = (DigestMap::new(), BTreeMap::new());
            for (key, value) in steps {
                let key = id(key);
                if value == 0 {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                } else {
                    prop_assert_eq!(map.insert(key.clone(), value), model.insert(key, value));
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert!(map.values_mut().map(|value| *value).eq(model.values().copied()));
            }
            // What was built in another order is the same.
            let mut other = DigestMap::new();
            model.iter().rev().for_each(|(key, value)| { other.insert(key.clone(), *value); });
            prop_assert_eq!(&map, &other);
            prop_assert_eq!(hash(&map), hash(&other));
        }
    }
}
