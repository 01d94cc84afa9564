//! The suite finds each promise that a store breaks.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures::FutureExt as _;

use crate::conformance::{FAMILIES, MAX_BATCH_BYTES, Stores, store_conformance};
use crate::store::memory::{Memory, MemoryStore};
use crate::store::{Batch, Direction, Durability, Family, Room, Store, StoreError, Written};

/// A promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    WritesOnAfterTakeover,
    IsFencedOnce,
    ForgetsWhatWasForced,
    TearsBatches,
    AppliesWhatItRefusesForNow,
    ReadsWaitForOthers,
    TakesBatchesOfAnySize,
    BoundIsLowerThanTold,
}

struct Flawed {
    flaw: Option<Flaw>,
    memories: BTreeMap<String, Memory>,
}

struct FlawedStore {
    flaw: Option<Flaw>,
    memory: Memory,
    store: MemoryStore,
}

impl Stores for Flawed {
    type Store = FlawedStore;

    fn open(&mut self, name: &str) -> Option<FlawedStore> {
        let memory = self.memories.entry(name.to_owned()).or_default().clone();
        memory.set_max_batch_bytes(MAX_BATCH_BYTES);
        Some(FlawedStore { flaw: self.flaw, store: memory.open(&FAMILIES).unwrap(), memory })
    }

    fn crash(&mut self, name: &str, _: FlawedStore) {
        self.memories[name].crash(3);
    }

    fn set_away(&mut self, name: &str, away: bool) -> bool {
        self.memories[name].set_away(away.then_some("it is away"));
        true
    }
}

impl Store for FlawedStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let refused = tokio::task::unconstrained(self.store.write(Batch::default(), Durability::Lazy));
        let refused = refused.now_or_never().unwrap();
        if self.flaw == Some(Flaw::ReadsWaitForOthers) {
            refused?;
        }
        self.store.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.store.scan(family, from, to, direction, limit)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Written {
        let answer = match (self.flaw, durability) {
            (Some(Flaw::ForgetsWhatWasForced), _) => self.store.write(batch.clone(), Durability::Lazy),
            (Some(Flaw::TearsBatches), Durability::Lazy) if !batch.is_empty() => {
                let part = |operation| {
                    let mut torn = Batch::default();
                    torn.add(operation);
                    self.store.write(torn, durability)
                };
                batch.iter().map(part).last().expect("it is not empty")
            }
            (Some(_) | None, _) => self.store.write(batch.clone(), durability),
        };
        // It is known at once, however much the task has done without a pause.
        let answer = tokio::task::unconstrained(answer).now_or_never().unwrap();
        let lands = match (&answer, self.flaw) {
            (Err(StoreError::Fenced(_)), Some(Flaw::WritesOnAfterTakeover)) => true,
            (Err(StoreError::Fenced(_)), Some(Flaw::IsFencedOnce)) => durability == Durability::Lazy,
            (Err(StoreError::BatchTooLarge { .. }), Some(Flaw::TakesBatchesOfAnySize)) => true,
            (Err(StoreError::Unavailable { .. }), Some(Flaw::AppliesWhatItRefusesForNow)) => {
                self.memory.plant(&batch);
                false
            }
            (Ok(()) | Err(_), _) => false,
        };
        if lands {
            self.memory.plant(&batch);
            return Written::ready(Ok(()));
        }
        Written::ready(answer)
    }

    fn max_batch_bytes(&self) -> usize {
        let told = self.store.max_batch_bytes();
        if self.flaw == Some(Flaw::BoundIsLowerThanTold) { told - 1 } else { told }
    }

    fn room(&self) -> Result<Room, StoreError> {
        self.store.room()
    }
}

/// Returns the promise that the suite finds broken.
async fn found(flaw: Option<Flaw>) -> Option<String> {
    let suite = store_conformance(Flawed { flaw, memories: BTreeMap::new() });
    let panic = AssertUnwindSafe(suite).catch_unwind().await.err()?;
    Some(panic.downcast_ref::<String>().expect("a promise is named").clone())
}

#[tokio::test]
async fn each_broken_promise_is_found_and_named_and_a_sound_store_passes() {
    assert_eq!(found(None).await, None);
    let broken = [
        (Flaw::WritesOnAfterTakeover, "whoever had it before is fenced"),
        (Flaw::IsFencedOnce, "whoever had it before is fenced"),
        (Flaw::ForgetsWhatWasForced, "what was answered as forced survives a crash"),
        (Flaw::TearsBatches, "after a crash no batch is there in part"),
        (Flaw::AppliesWhatItRefusesForNow, "what was refused for now was not applied"),
        (Flaw::ReadsWaitForOthers, "a read in good health succeeds"),
        (Flaw::TakesBatchesOfAnySize, "a larger batch is refused"),
        (Flaw::BoundIsLowerThanTold, "a larger batch is refused"),
    ];
    for (flaw, promise) in broken {
        let found = found(Some(flaw)).await.unwrap_or_else(|| panic!("{flaw:?} passes"));
        assert!(found.contains(promise), "{flaw:?}: {found}");
    }
}
