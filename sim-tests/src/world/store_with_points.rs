//! A store that says when it is about to be written, so that a crash can happen there.

use super::shared_state::Shared;
use crate::plan::Host;
use crate::plan::points::BEFORE_STORE;
use bytes::Bytes;
use std::sync::Arc;
use undoubt_platform::{Batch, Direction, Durability, Family, Room, Store, StoreError, Written};

pub(super) struct StoreWithPoints {
    store: Arc<dyn Store>,
    host: Host,
    shared: Arc<Shared>,
}

impl StoreWithPoints {
    pub(super) fn over(shared: &Arc<Shared>, host: Host, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(StoreWithPoints { store, host, shared: shared.clone() })
    }
}

impl Store for StoreWithPoints {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
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
        if durability == Durability::Forced {
            self.shared.reach(self.host, BEFORE_STORE);
        }
        self.store.write(batch, durability)
    }

    fn max_batch_bytes(&self) -> usize {
        self.store.max_batch_bytes()
    }

    fn room(&self) -> Result<Room, StoreError> {
        self.store.room()
    }
}
