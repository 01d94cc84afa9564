//! A store in memory, for tests of what stands on a store. Opening it takes it from whoever had it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Batch, Contents, Direction, Durability, Family, Fenced, Room, Store, StoreError, Written};

/// The contents that outlive the stores which are opened on them, as a disk does. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<State>>);

/// A [`Memory`] as a process has it open. Writes are answered at once.
#[derive(Debug)]
pub struct MemoryStore {
    memory: Memory,
    opening: u64,
}

#[derive(Debug)]
struct State {
    now: Contents,
    forced: Contents,
    /// Applied since, the oldest first.
    unforced: Vec<Batch>,
    /// The last one: stores of earlier ones are fenced.
    opening: u64,
    max_batch_bytes: usize,
    /// The reason why no write can be made now.
    away: Option<String>,
    written_bytes: usize,
}

impl Default for State {
    fn default() -> Self {
        State {
            now: Contents::default(),
            forced: Contents::default(),
            unforced: Vec::new(),
            opening: 0,
            max_batch_bytes: usize::MAX,
            away: None,
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
            return Err(StoreError::UnknownFamilies { families: unknown });
        }
        state.now.create(families);
        state.forced.create(families);
        state.opening += 1;
        Ok(MemoryStore { memory: self.clone(), opening: state.opening })
    }

    /// Forgets what was not forced, as in a crash, but for the first `kept` batches of it.
    pub fn crash(&self, kept: usize) {
        let mut state = self.state();
        let unforced = std::mem::take(&mut state.unforced);
        unforced.iter().take(kept).for_each(|batch| state.forced.apply(batch.iter()));
        state.now = state.forced.clone();
    }

    /// Makes changes as if they had been there all along.
    pub fn plant(&self, batch: &Batch) {
        let mut state = self.state();
        state.now.apply(batch.iter());
        state.forced.apply(batch.iter());
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

    /// Refuses all writes for now, or no longer.
    pub fn set_away(&self, why: Option<&str>) {
        self.state().away = why.map(str::to_owned);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Between any two statements that could panic, the state is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStore {
    /// Returns what it is open on.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }
}

impl State {
    fn write(&mut self, opening: u64, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        if opening != self.opening {
            return Err(Fenced { detail: "it was opened again".to_owned() }.into());
        }
        if let Some(cause) = &self.away {
            return Err(StoreError::Unavailable { cause: cause.clone() });
        }
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
        self.memory.state().now.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.memory.state().now.scan(family, from, to, direction, limit)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Written {
        Written::ready(self.memory.state().write(self.opening, batch, durability))
    }

    fn max_batch_bytes(&self) -> usize {
        self.memory.state().max_batch_bytes
    }

    fn room(&self) -> Result<Room, StoreError> {
        Ok(Room::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::FAMILIES;

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
