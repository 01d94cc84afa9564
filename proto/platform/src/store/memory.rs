//! A store in memory, for tests of what stands on a store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Batch, Contents, Direction, Durability, Family, Room, Store, StoreError, Written};

/// What outlives the stores that are opened on it, as a disk does. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<State>>);

/// A [`Memory`] as a process has it open. Writes are answered at once.
#[derive(Clone, Debug)]
pub struct MemoryStore(Memory);

#[derive(Debug)]
struct State {
    now: Contents,
    forced: Contents,
    /// Applied since, the oldest first.
    unforced: Vec<Batch>,
    max_batch_bytes: usize,
    written_bytes: usize,
}

impl Default for State {
    fn default() -> Self {
        State {
            now: Contents::default(),
            forced: Contents::default(),
            unforced: Vec::new(),
            max_batch_bytes: usize::MAX,
            written_bytes: 0,
        }
    }
}

impl Memory {
    /// Opens it with exactly these families, and creates those that are absent.
    ///
    /// # Errors
    /// [`StoreError::UnknownFamilies`] if it has others.
    pub fn open(&self, families: &[Family]) -> Result<MemoryStore, StoreError> {
        let mut state = self.state();
        let unknown: Vec<String> = state
            .now
            .families()
            .filter(|family| !families.contains(family))
            .map(|family| family.0.to_owned())
            .collect();
        if !unknown.is_empty() {
            return Err(StoreError::UnknownFamilies { path: "memory".into(), families: unknown });
        }
        state.now.create(families);
        state.forced.create(families);
        drop(state);
        Ok(MemoryStore(self.clone()))
    }

    /// Forgets what was not forced, as in a crash, but for the first `kept` batches of it.
    pub fn crash(&self, kept: usize) {
        let mut state = self.state();
        let unforced = std::mem::take(&mut state.unforced);
        unforced.iter().take(kept).for_each(|batch| state.forced.apply(batch.iter()));
        state.now = state.forced.clone();
    }

    /// Returns what it holds.
    pub fn contents(&self) -> Contents {
        self.state().now.clone()
    }

    /// Returns the bytes of keys and values that were written to it.
    pub fn written_bytes(&self) -> usize {
        self.state().written_bytes
    }

    /// Bounds the batches that its stores take.
    pub fn set_max_batch_bytes(&self, bytes: usize) {
        self.state().max_batch_bytes = bytes;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Between any two statements that could panic, the state is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        batch.iter().try_for_each(|operation| self.now.check_family(operation.family()))?;
        let (bytes, limit) = (batch.payload_bytes(), self.max_batch_bytes);
        if bytes > limit {
            return Err(StoreError::BatchTooLarge { bytes, bound: "max_batch_bytes", limit });
        }
        self.written_bytes += bytes;
        self.now.apply(batch.iter());
        self.unforced.push(batch);
        if durability == Durability::Forced {
            let unforced = std::mem::take(&mut self.unforced);
            unforced.iter().for_each(|batch| self.forced.apply(batch.iter()));
        }
        Ok(())
    }
}

impl Store for MemoryStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.state().now.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.0.state().now.scan(family, from, to, direction, limit)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Written {
        Written::ready(self.0.state().write(batch, durability))
    }

    fn max_batch_bytes(&self) -> usize {
        self.0.state().max_batch_bytes
    }

    fn room(&self) -> Result<Room, StoreError> {
        Ok(Room::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{FAMILIES, store_conformance};
    use std::collections::BTreeMap;

    #[tokio::test]
    async fn it_keeps_the_contract_of_a_store() {
        let mut memories: BTreeMap<String, Memory> = BTreeMap::new();
        store_conformance(|name| memories.entry(name.to_owned()).or_default().open(&FAMILIES).unwrap()).await;
    }

    #[tokio::test]
    async fn a_crash_keeps_what_was_forced_and_as_much_more_as_it_is_told() {
        let memory = Memory::default();
        let store = memory.open(&FAMILIES).unwrap();
        for (key, durability) in [("a", Durability::Lazy), ("b", Durability::Forced), ("c", Durability::Lazy)] {
            for part in ["1", "2"] {
                let mut batch = Batch::default();
                batch.put(FAMILIES[0], [key, part].concat(), "");
                store.write(batch, durability).await.unwrap();
            }
        }
        memory.crash(1);
        let contents = memory.contents();
        assert_eq!(contents.keys(FAMILIES[0]).collect::<Vec<_>>(), ["a1", "a2", "b1", "b2", "c1"]);
    }
}
