use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::time::Instant;
use undoubt_platform::conformance::{FAMILIES, MAX_BATCH_BYTES, Stores, store_conformance};
use undoubt_platform::{Batch, Durability, Family, Store as _, StoreError, Written};

use super::{Disk, DiskEvent, DiskStore};
use crate::process::Process;

mod bytes_on_it;
mod faults;
mod prefix;

const DATA: Family = FAMILIES[0];
const SYNC: Duration = Duration::from_millis(10);
/// Longer than any sync here.
const LONG: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract_that_rocksdb_keeps() {
    store_conformance(Disks::default()).await;
}

#[derive(Default)]
struct Disks(BTreeMap<String, Disk>);

impl Stores for Disks {
    type Store = DiskStore;

    fn open(&mut self, name: &str) -> Option<DiskStore> {
        let disk = self.0.entry(name.to_owned()).or_insert_with(|| Disk::new(name, 1));
        disk.set_max_write_bytes(Some(MAX_BATCH_BYTES));
        Some(disk.open(&FAMILIES, Process::default()).unwrap())
    }

    fn crash(&mut self, name: &str, _: DiskStore) {
        self.0[name].lose_power(0.3);
    }

    fn set_away(&mut self, name: &str, away: bool) -> bool {
        self.0[name].set_away(away);
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_lazy_write_is_answered_at_once_and_a_forced_one_when_it_is_stable() {
    let (disk, store) = new_disk();
    assert_eq!(store.write(put("lazy", "1"), Durability::Lazy).now_or_never(), Some(Ok(())));
    assert_eq!(disk.stable().value(DATA, b"lazy"), None);
    assert!(disk.cached().value(DATA, b"lazy").is_some());
    let began = Instant::now();
    forced(&store, "forced").await.unwrap();
    assert!((SYNC..SYNC * 2).contains(&began.elapsed()));
    assert_eq!(disk.stable(), disk.cached());
    assert_eq!(disk.stable().keys(DATA).collect::<Vec<_>>(), ["forced", "lazy"]);
}

#[tokio::test(start_paused = true)]
async fn writes_during_a_sync_share_the_next_one() {
    let (disk, store) = new_disk();
    let events = recorded(&disk);
    let first = forced(&store, "first");
    tokio::time::sleep(SYNC / 2).await;
    let others: Vec<Written> = (0..5).map(|number| forced(&store, &number.to_string())).collect();
    first.await.unwrap();
    assert_eq!(disk.stable().keys(DATA).count(), 1, "a sync covers what was written before it began");
    for other in others {
        other.await.unwrap();
    }
    assert_eq!(syncs(&events), [1, 6]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_forced_batch_makes_stable_what_came_before() {
    let (disk, store) = new_disk();
    lazy(&store, "lazy");
    store.write(Batch::default(), Durability::Forced).await.unwrap();
    assert!(disk.stable().value(DATA, b"lazy").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_loses_nothing_it_wrote_and_hears_nothing_more() {
    let disk = Disk::new("disk", 1);
    let process = Process::default();
    let store = disk.open(&FAMILIES, process.clone()).unwrap();
    lazy(&store, "lazy");
    let mut unfinished = forced(&store, "unfinished");
    process.kill();
    let mut after = store.write(put("after", "death"), Durability::Lazy);
    tokio::time::sleep(LONG).await;
    assert_eq!((&mut unfinished).now_or_never(), None);
    assert_eq!((&mut after).now_or_never(), None);
    assert!(disk.stable().keys(DATA).next().is_none(), "a sync does not end for the dead");

    assert!(matches!(disk.open(&FAMILIES, process), Err(StoreError::Stopped { .. })));
    let store = open(&disk);
    assert_eq!(keys(&store), ["lazy", "unfinished"]);
    assert_eq!(disk.stable(), disk.cached(), "opening makes stable what it replays");
}

#[tokio::test(start_paused = true)]
async fn a_paused_process_hears_and_makes_stable_only_when_it_goes_on() {
    let disk = Disk::new("disk", 1);
    let process = Process::default();
    let store = disk.open(&FAMILIES, process.clone()).unwrap();
    let mut before = forced(&store, "before");
    process.pause();
    let mut lazy = store.write(put("lazy", "1"), Durability::Lazy);
    tokio::time::sleep(LONG).await;
    assert_eq!((&mut before).now_or_never(), None);
    assert_eq!((&mut lazy).now_or_never(), None);
    assert!(disk.stable().keys(DATA).next().is_none());
    process.resume();
    assert_eq!((before.await, lazy.await), (Ok(()), Ok(())));
    assert!(disk.stable().value(DATA, b"before").is_some());
}

#[tokio::test(start_paused = true)]
async fn who_opens_a_disk_shuts_out_who_had_it() {
    let disk = Disk::new("disk", 1);
    let zombie = Process::default();
    let old = disk.open(&FAMILIES, zombie.clone()).unwrap();
    let unfinished = forced(&old, "unfinished");
    zombie.pause();
    let new = open(&disk);
    zombie.resume();
    assert!(matches!(unfinished.await, Err(StoreError::Fenced(_))), "it may be found: this was not 'nothing written'");
    assert!(matches!(forced(&old, "late").await, Err(StoreError::Fenced(_))));
    assert_eq!(keys(&new), ["unfinished"]);
    assert_eq!(keys(&open(&disk)), ["unfinished"]);
    assert_eq!(keys(&old), ["unfinished"], "a zombie goes on reading what it knew");
}

#[tokio::test(start_paused = true)]
async fn a_disk_with_unknown_families_is_refused_and_a_family_never_named_is_not_there() {
    let (disk, store) = new_disk();
    let absent = Family("absent");
    assert_eq!(store.get(absent, b"").unwrap_err(), StoreError::NoSuchFamily { family: "absent" });
    let mut batch = put("here", "1");
    batch.put(absent, "there", "1");
    assert_eq!(
        store.write(batch, Durability::Forced).await.unwrap_err(),
        StoreError::NoSuchFamily { family: "absent" }
    );
    assert!(keys(&store).is_empty(), "all of a batch or nothing");
    let refusal = disk.open(&[DATA], Process::default()).unwrap_err();
    assert!(matches!(&refusal, StoreError::UnknownFamilies { families } if families == &["right"]), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_sequence_of_latencies_and_another_seed_another() {
    let elapsed = async |seed| {
        let disk = Disk::new("disk", seed);
        disk.set_sync_latency(SYNC, LONG);
        let (store, began) = (open(&disk), Instant::now());
        let mut times = Vec::new();
        for number in 0..5 {
            forced(&store, &number.to_string()).await.unwrap();
            times.push(began.elapsed());
        }
        times
    };
    assert_eq!(elapsed(7).await, elapsed(7).await);
    assert_ne!(elapsed(7).await, elapsed(8).await);
}

/// An empty disk whose syncs take [`SYNC`], opened.
fn new_disk() -> (Disk, DiskStore) {
    let disk = Disk::new("disk", 1);
    disk.set_sync_latency(SYNC, Duration::ZERO);
    let store = open(&disk);
    (disk, store)
}

fn open(disk: &Disk) -> DiskStore {
    disk.open(&FAMILIES, Process::default()).unwrap()
}

fn put(key: &str, value: &str) -> Batch {
    let mut batch = Batch::default();
    batch.put(DATA, key, value);
    batch
}

fn forced(store: &DiskStore, key: &str) -> Written {
    store.write(put(key, "forced"), Durability::Forced)
}

fn lazy(store: &DiskStore, key: &str) {
    store.write(put(key, "lazy"), Durability::Lazy).now_or_never().unwrap().unwrap();
}

fn keys(store: &DiskStore) -> Vec<String> {
    let pairs = store.scan(DATA, b"", None, undoubt_platform::store::Direction::Forward, usize::MAX).unwrap();
    pairs.into_iter().map(|(key, _)| String::from_utf8(key.into()).unwrap()).collect()
}

fn destroyed(disk: &Disk) -> Vec<Bytes> {
    disk.destroyed().into_iter().map(|(_, key)| key).collect()
}

fn recorded(disk: &Disk) -> Arc<Mutex<Vec<DiskEvent>>> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&events);
    disk.observed_by(Arc::new(move |event| record.lock().unwrap().push(event)));
    events
}

fn syncs(events: &Mutex<Vec<DiskEvent>>) -> Vec<usize> {
    let frames = |event: &DiskEvent| if let DiskEvent::Synced { frames } = event { Some(*frames) } else { None };
    events.lock().unwrap().iter().filter_map(frames).collect()
}
