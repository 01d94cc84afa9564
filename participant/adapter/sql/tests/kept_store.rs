//! The store in a table, over a table in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use undoubt_platform::conformance::{FAMILIES, Stores, store_conformance};
use undoubt_platform::{Batch, Durability, Fenced, Store as _, StoreError};
use undoubt_sql::{Changes, Keeper, KeptStore, Pair};

/// A table that outlives the stores over it. Each opening takes it over.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    pairs: BTreeMap<(String, Bytes), Bytes>,
    opening: u64,
    /// Attempts that were refused for now.
    refused: usize,
}

struct Opened {
    table: Table,
    opening: u64,
    away: watch::Receiver<bool>,
}

impl Keeper for Opened {
    async fn load(&self) -> Result<Vec<Pair>, StoreError> {
        let kept = self.table.0.lock().unwrap();
        let pair = |((family, key), value): (&(String, Bytes), &Bytes)| Pair {
            family: family.clone(),
            key: key.clone(),
            value: value.clone(),
        };
        Ok(kept.pairs.iter().map(pair).collect())
    }

    async fn keep(&self, changes: &Changes) -> Result<(), StoreError> {
        let mut kept = self.table.0.lock().unwrap();
        if kept.opening != self.opening {
            return Err(Fenced { detail: "another opening has it".to_owned() }.into());
        }
        if *self.away.borrow() {
            kept.refused += 1;
            return Err(StoreError::Unavailable { cause: "the table is away".to_owned() });
        }
        for (family, key) in &changes.deleted {
            kept.pairs.remove(&(family.clone(), key.clone()));
        }
        for Pair { family, key, value } in &changes.put {
            kept.pairs.insert((family.clone(), key.clone()), value.clone());
        }
        Ok(())
    }
}

impl Table {
    fn open(&self, away: watch::Receiver<bool>) -> KeptStore {
        let opening = {
            let mut kept = self.0.lock().unwrap();
            kept.opening += 1;
            kept.opening
        };
        let opened = Opened { table: self.clone(), opening, away };
        let opening = KeptStore::open(opened, &FAMILIES);
        futures::executor::block_on(opening).expect("a table in memory is read")
    }
}

struct Tables {
    tables: BTreeMap<String, Table>,
    never_away: watch::Receiver<bool>,
}

impl Stores for Tables {
    type Store = KeptStore;

    fn open(&mut self, name: &str) -> Option<KeptStore> {
        Some(self.tables.entry(name.to_owned()).or_default().open(self.never_away.clone()))
    }

    fn crash(&mut self, _name: &str, store: KeptStore) {
        drop(store);
    }

    fn set_away(&mut self, _name: &str, _away: bool) -> bool {
        // It waits for its table, and refuses nothing.
        false
    }
}

#[tokio::test]
async fn a_store_in_a_table_keeps_the_contract_of_stores() {
    let (_on, never_away) = watch::channel(false);
    store_conformance(Tables { tables: BTreeMap::new(), never_away }).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_written_while_the_table_is_away_lands_once_it_is_back() {
    let table = Table::default();
    let (away, is_away) = watch::channel(true);
    let store = table.open(is_away);
    let put = |key: &'static str, value: &'static str| {
        let mut batch = Batch::default();
        batch.put(FAMILIES[0], key, value);
        batch
    };
    let first = store.write(put("key", "first"), Durability::Forced);
    while table.0.lock().unwrap().refused == 0 {
        tokio::task::yield_now().await;
    }
    let second = store.write(put("key", "second"), Durability::Forced);
    assert!(table.0.lock().unwrap().pairs.is_empty());
    away.send(false).unwrap();
    first.await.unwrap();
    second.await.unwrap();
    let kept = table.0.lock().unwrap().pairs.clone();
    assert_eq!(kept.into_values().collect::<Vec<_>>(), [Bytes::from("second")]);
}

#[tokio::test(start_paused = true)]
async fn a_write_beyond_what_may_wait_for_the_table_is_refused_for_now() {
    let table = Table::default();
    let (_away, is_away) = watch::channel(true);
    let store = table.open(is_away);
    let mut queued = Vec::new();
    let large = || {
        let mut batch = Batch::default();
        batch.put(FAMILIES[0], "key", vec![0; 3 << 20]);
        store.write(batch, Durability::Forced)
    };
    for _ in 0..5 {
        queued.push(large());
    }
    let refused = large().await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(queued.iter_mut().all(|written| futures::FutureExt::now_or_never(written).is_none()));
}
