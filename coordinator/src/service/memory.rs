//! A store for tests.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;
use undoubt_platform::{Batch, Direction, Durability, Family, Operation, Room, Store, StoreError, Written};

/// A store without a disk.
#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<(Family, Vec<u8>), Bytes>>);

impl Store for Memory {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.lock().unwrap().get(&(family, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let held = self.0.lock().unwrap();
        let end = to.map_or(Bound::Unbounded, |to| Bound::Excluded((family, to.to_vec())));
        let pairs = held.range((Bound::Included((family, from.to_vec())), end));
        let pairs =
            pairs.filter(|((of, _), _)| *of == family).map(|((_, key), value)| (key.clone().into(), value.clone()));
        Ok(match direction {
            Direction::Forward => pairs.take(limit).collect(),
            Direction::Backward => pairs.rev().take(limit).collect(),
        })
    }

    fn write(&self, batch: Batch, _: Durability) -> Written {
        let mut held = self.0.lock().unwrap();
        for operation in batch.iter() {
            match operation {
                Operation::Put { family, key, value } => {
                    held.insert((family, key.to_vec()), Bytes::copy_from_slice(value));
                }
                Operation::Delete { family, key } => drop(held.remove(&(family, key.to_vec()))),
                Operation::DeleteRange { family, from, to } => {
                    held.retain(|(of, key), _| *of != family || &key[..] < from || &key[..] >= to);
                }
            }
        }
        Written::ready(Ok(()))
    }

    fn room(&self) -> Result<Room, StoreError> {
        Ok(Room { bytes: None, files: None })
    }
}
