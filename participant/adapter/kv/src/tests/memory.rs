//! A store in memory that forgets in a crash whatever was not forced, and that fails when it is told to.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use undoubt_platform::{Batch, Direction, Durability, Family, Operation, Room, Store, StoreError, Written};

type Data = BTreeMap<(&'static str, Bytes), Bytes>;

#[derive(Debug, Default)]
pub(crate) struct MemoryStore(Mutex<State>);

#[derive(Clone, Debug, Default)]
struct State {
    now: Data,
    forced: Data,
    forced_writes: usize,
    largest_write_bytes: usize,
    free_bytes: Option<u64>,
    max_batch_bytes: Option<usize>,
    failing_with: Option<StoreError>,
}

impl MemoryStore {
    /// What a crash leaves.
    pub(crate) fn crashed(&self) -> MemoryStore {
        let State { forced, max_batch_bytes, .. } = self.state().clone();
        MemoryStore(Mutex::new(State { now: forced.clone(), forced, max_batch_bytes, ..State::default() }))
    }

    /// Bounds the batches that it takes.
    pub(crate) fn takes_batches_of(&self, max_bytes: usize) {
        self.state().max_batch_bytes = Some(max_bytes);
    }

    pub(crate) fn has_free(&self, bytes: u64) {
        self.state().free_bytes = Some(bytes);
    }

    /// Fails every write from now on, or no longer.
    pub(crate) fn fails_writes(&self, error: Option<StoreError>) {
        self.state().failing_with = error;
    }

    pub(crate) fn forced_writes(&self) -> usize {
        self.state().forced_writes
    }

    pub(crate) fn largest_write_bytes(&self) -> usize {
        self.state().largest_write_bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Store for MemoryStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state().now.get(&(family.0, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        assert_eq!(direction, Direction::Forward, "the adapter scans forward only");
        let state = self.state();
        let within = state
            .now
            .range((family.0, Bytes::copy_from_slice(from))..)
            .take_while(|((name, key), _)| *name == family.0 && to.is_none_or(|to| &key[..] < to));
        Ok(within.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn write(&self, batch: Batch, durability: Durability) -> Written {
        let mut state = self.state();
        if let Some(error) = &state.failing_with {
            return Written::ready(Err(error.clone()));
        }
        let (bytes, limit) = (batch.payload_bytes(), state.max_batch_bytes.unwrap_or(usize::MAX));
        if bytes > limit {
            return Written::ready(Err(StoreError::BatchTooLarge { bytes, bound: "max_batch_bytes", limit }));
        }
        state.largest_write_bytes = state.largest_write_bytes.max(batch.payload_bytes());
        for change in batch.iter() {
            match change {
                Operation::Put { family, key, value } => {
                    state.now.insert((family.0, Bytes::copy_from_slice(key)), Bytes::copy_from_slice(value));
                }
                Operation::Delete { family, key } => {
                    state.now.remove(&(family.0, Bytes::copy_from_slice(key)));
                }
                Operation::DeleteRange { family, from, to } => {
                    state.now.retain(|(name, key), _| *name != family.0 || *key < from || *key >= to);
                }
            }
        }
        if durability == Durability::Forced {
            state.forced = state.now.clone();
            state.forced_writes += 1;
        }
        Written::ready(Ok(()))
    }

    fn max_batch_bytes(&self) -> usize {
        self.state().max_batch_bytes.unwrap_or(usize::MAX)
    }

    fn room(&self) -> Result<Room, StoreError> {
        Ok(Room { bytes: self.state().free_bytes, files: None })
    }
}
