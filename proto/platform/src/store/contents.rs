//! The contents that batches come to, in memory: an ordered map for each family.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use bytes::Bytes;

use super::{Direction, Family, Operation, StoreError};

/// The contents of a store at one moment, for stores that keep them in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<Family, BTreeMap<Bytes, Bytes>>);

impl Contents {
    /// Returns contents with these families, which are empty.
    pub fn of<'a>(families: impl IntoIterator<Item = &'a Family>) -> Contents {
        Contents(families.into_iter().map(|family| (*family, BTreeMap::new())).collect())
    }

    /// Adds those of these families that do not exist yet.
    pub fn create(&mut self, families: &[Family]) {
        for family in families {
            self.0.entry(*family).or_default();
        }
    }

    /// Returns the families that there are.
    pub fn families(&self) -> impl Iterator<Item = Family> {
        self.0.keys().copied()
    }

    /// Returns the keys of a family in their order; none of a family that does not exist.
    pub fn keys(&self, family: Family) -> impl Iterator<Item = &Bytes> {
        self.pairs(family).map(|(key, _)| key)
    }

    /// Returns the pairs of a family in the order of their keys; none of a family that does not exist.
    pub fn pairs(&self, family: Family) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.0.get(&family).into_iter().flatten()
    }

    /// Returns the value of a key; `None` also in a family that does not exist.
    pub fn value(&self, family: Family, key: &[u8]) -> Option<&Bytes> {
        self.0.get(&family)?.get(key)
    }

    /// Applies changes in their order; a family that does not exist is created.
    pub fn apply<'a>(&mut self, operations: impl IntoIterator<Item = Operation<'a>>) {
        for operation in operations {
            let pairs = self.0.entry(operation.family()).or_default();
            match operation {
                Operation::Put { key, value, .. } => {
                    pairs.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                }
                Operation::Delete { key, .. } => drop(pairs.remove(key)),
                Operation::DeleteRange { from, to, .. } => {
                    pairs.extract_if(range(from, to), |_, _| true).for_each(drop);
                }
            }
        }
    }

    /// Returns the keys that `operation` concerns, if these are the contents before it.
    pub fn touched_by(&self, operation: &Operation<'_>) -> Vec<Bytes> {
        match operation {
            Operation::Put { key, .. } | Operation::Delete { key, .. } => vec![Bytes::copy_from_slice(key)],
            Operation::DeleteRange { family, from, to } => {
                let pairs = self.0.get(family).into_iter();
                pairs.flat_map(|pairs| pairs.range(range(from, to))).map(|(key, _)| key.clone()).collect()
            }
        }
    }

    /// Refuses a family that does not exist.
    pub fn check_family(&self, family: Family) -> Result<(), StoreError> {
        self.family(family).map(drop)
    }

    /// Does what [`Store::get`](super::Store::get) promises.
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.family(family)?.get(key).cloned())
    }

    /// Does what [`Store::scan`](super::Store::scan) promises.
    pub fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let pairs = self.family(family)?;
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let within = pairs.range::<[u8], _>(bounds).map(|(key, value)| (key.clone(), value.clone()));
        Ok(match direction {
            Direction::Forward => within.take(limit).collect(),
            Direction::Backward => within.rev().take(limit).collect(),
        })
    }

    fn family(&self, family: Family) -> Result<&BTreeMap<Bytes, Bytes>, StoreError> {
        self.0.get(&family).ok_or(StoreError::NoSuchFamily { family: family.0 })
    }
}

fn range(from: &[u8], to: &[u8]) -> Range<Bytes> {
    Bytes::copy_from_slice(from)..Bytes::copy_from_slice(to)
}
