//! Where the suite finds the key-value store: in memory, and in a folder.

use super::memory::MemoryStore;
use crate::{FAMILIES, KeyValue, KeyValueOptions, META};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_participant::conformance::{BranchWorld, Locking, World};
use undoubt_participant::resource::{BranchId, Branches};
use undoubt_platform::NumberedStore;
use undoubt_proto::work::operation::Kind;
use undoubt_proto::work::{Add, Get, Operation, Put, Work};
use undoubt_rocks::{RocksOptions, RocksStore};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Execution, Prepare, Timestamp, TxId, Vote};
use undoubt_work::Results;

pub(crate) fn work<'a>(operations: impl IntoIterator<Item = (&'a str, Kind)>) -> Bytes {
    encoded(operations.into_iter().map(|(key, kind)| operation(key, kind)))
}

pub(crate) fn operation(key: &str, kind: Kind) -> Operation {
    Operation { key: Bytes::copy_from_slice(key.as_bytes()), kind: Some(kind), ..Operation::default() }
}

pub(crate) fn encoded(operations: impl IntoIterator<Item = Operation>) -> Bytes {
    Work { operations: operations.into_iter().collect(), ..Work::default() }.encode_to_vec().into()
}

pub(crate) fn put(key: &str, value: &str) -> Bytes {
    work([(key, put_of(value))])
}

pub(crate) fn put_of(value: &str) -> Kind {
    Kind::Put(Put { value: Bytes::copy_from_slice(value.as_bytes()), ..Put::default() })
}

/// With a semantic lock.
pub(crate) fn put_pending(key: &str, value: &str) -> Bytes {
    encoded([Operation { pend: true, ..operation(key, put_of(value)) }])
}

pub(crate) fn get(key: &str) -> Bytes {
    work([(key, Kind::Get(Get {}))])
}

pub(crate) fn add(key: &str, delta: i64, floor: Option<i64>) -> Bytes {
    work([(key, Kind::Add(Add { delta, floor, ceiling: None }))])
}

/// The only value in a result.
pub(crate) fn value(result: &Bytes) -> Option<String> {
    let mut values = Results::read(result).into_bytes().unwrap();
    assert_eq!(values.len(), 1);
    let value = values.pop()??;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

/// The committed value, read by the youngest of all.
async fn read(resource: &impl Branches, key: &str) -> Option<String> {
    let (attempt_number, tx) = (AttemptNumber(2_000_000), TxId::new("reader").unwrap());
    let branch = BranchId { tx: tx.clone(), attempt_number, coordinator: CoordinatorId([9; 16]) };
    let (begun_at, timeout, execution) = (Timestamp(2_000_000), Duration::from_secs(1), Execution::OnePhase);
    let prepare = Prepare { tx, attempt_number, begun_at, timeout, execution, work: get(key) };
    match resource.prepare(branch, prepare, CancellationToken::new()).await {
        Ok(Vote::ReadOnly { result }) => value(&result),
        other => panic!("key {key} is free, so reading it in one phase is voted read-only, not {other:?}"),
    }
}

macro_rules! speaks_key_value {
    () => {
        fn put(&self, key: &str, value: &str) -> Bytes {
            put(key, value)
        }

        fn get(&self, key: &str) -> Bytes {
            get(key)
        }

        fn add(&self, key: &str, delta: i64, floor: Option<i64>) -> Bytes {
            add(key, delta, floor)
        }

        fn put_pending(&self, key: &str, value: &str) -> Option<Bytes> {
            Some(put_pending(key, value))
        }

        fn value(&self, result: &Bytes) -> Option<String> {
            value(result)
        }

        async fn read(&self, resource: &Arc<Self::Resource>, key: &str) -> Option<String> {
            read(resource.as_ref(), key).await
        }
    };
}

/// In memory, wrapped into what the test wants it to be.
pub(crate) struct MemoryWorld<R> {
    store: Arc<MemoryStore>,
    wrap: fn(KeyValue) -> R,
    forces: bool,
}

impl<R> MemoryWorld<R> {
    pub(crate) fn new(wrap: fn(KeyValue) -> R) -> Self {
        MemoryWorld { store: Arc::default(), wrap, forces: true }
    }

    pub(crate) fn forcing_nothing(wrap: fn(KeyValue) -> R) -> Self {
        MemoryWorld { forces: false, ..Self::new(wrap) }
    }

    fn open(&self) -> R {
        (self.wrap)(KeyValue::new(self.store.clone(), KeyValueOptions::default()))
    }
}

impl<R: Branches> World for MemoryWorld<R> {
    type Resource = R;

    async fn fresh(&mut self) -> R {
        self.store = Arc::default();
        self.open()
    }

    async fn reopen(&mut self) -> R {
        self.store = if self.forces { Arc::new(self.store.crashed()) } else { Arc::default() };
        self.open()
    }

    speaks_key_value!();
}

impl<R: Branches> BranchWorld for MemoryWorld<R> {
    fn locking(&self) -> Locking {
        Locking::WaitDie
    }
}

pub(super) struct RocksWorld {
    folder: tempfile::TempDir,
}

impl RocksWorld {
    pub(super) fn new() -> Self {
        RocksWorld { folder: tempfile::tempdir().unwrap() }
    }

    async fn open(&self) -> KeyValue {
        let store = Arc::new(RocksStore::open(self.folder.path(), &FAMILIES, RocksOptions::default()).unwrap());
        let (numbered, known) = NumberedStore::begin(store, META, [7; 16], 0, 0).await.unwrap();
        KeyValue::numbered(numbered, known, KeyValueOptions { min_free_bytes: 0 })
    }
}

impl World for RocksWorld {
    type Resource = KeyValue;

    async fn fresh(&mut self) -> KeyValue {
        self.folder = tempfile::tempdir().unwrap();
        self.open().await
    }

    async fn reopen(&mut self) -> KeyValue {
        self.open().await
    }

    speaks_key_value!();
}

impl BranchWorld for RocksWorld {
    fn locking(&self) -> Locking {
        Locking::WaitDie
    }
}
