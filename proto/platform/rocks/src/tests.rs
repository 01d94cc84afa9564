mod copies;
mod damage;
mod full_disk;
mod kills;
mod reclaimer;
mod restored_folders;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use rocksdb::{DB, Options};
use tempfile::TempDir;

use super::*;
use undoubt_platform::conformance;

const FAMILY: Family = Family("family");
const OTHER: Family = Family("other");

fn try_open(folder: &Path) -> Result<RocksStore, OpenError> {
    RocksStore::open(folder, &[FAMILY, OTHER], RocksOptions::default())
}

fn open(folder: &Path) -> RocksStore {
    try_open(folder).unwrap()
}

fn put(family: Family, key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(family, key, value);
    batch
}

async fn force(store: &RocksStore, key: &[u8], value: &[u8]) {
    store.write(put(FAMILY, key, value), Durability::Forced).await.unwrap();
}

/// Files of the folder that end so, the newest (RocksDB numbers them) last.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.to_str().unwrap().ends_with(ending));
    found.sort();
    found
}

/// Stores in folders beside each other.
struct Folders {
    home: TempDir,
    /// The crashes of each store: what one leaves is in a folder of its own.
    crashes: BTreeMap<String, u32>,
}

impl Folders {
    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(format!("{name}-{}", self.crashes.get(name).unwrap_or(&0)))
    }
}

impl conformance::Stores for Folders {
    type Store = RocksStore;

    fn open(&mut self, name: &str) -> Option<RocksStore> {
        let options =
            RocksOptions { queue_bytes: conformance::MAX_BATCH_BYTES, checks_folder: false, ..RocksOptions::default() };
        match RocksStore::open(&self.path(name), &conformance::FAMILIES, options) {
            Ok(store) => Some(store),
            Err(OpenError::AlreadyOpen { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Copies what the files hold while the writer is at work: the log last, which so has at least what the tables have.
    fn crash(&mut self, name: &str, store: RocksStore) {
        let from = self.path(name);
        *self.crashes.entry(name.to_owned()).or_default() += 1;
        let to = self.path(name);
        fs::create_dir(&to).unwrap();
        let (logs, others): (Vec<_>, Vec<_>) =
            files(&from, "").into_iter().partition(|path| path.extension().is_some_and(|extension| extension == "log"));
        for path in others.iter().chain(&logs) {
            fs::copy(path, to.join(path.file_name().unwrap())).unwrap();
        }
        drop(store);
    }

    fn set_away(&mut self, _: &str, _: bool) -> bool {
        false
    }
}

#[tokio::test]
async fn rocksdb_keeps_the_contract_of_a_store() {
    conformance::store_conformance(Folders { home: TempDir::new().unwrap(), crashes: BTreeMap::new() }).await;
}

#[tokio::test]
async fn many_forced_writes_at_once_share_few_forced_groups() {
    const WRITES: u32 = 2_000;
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let all: Vec<Written> = (0..WRITES)
        .map(|number| store.write(put(FAMILY, &number.to_be_bytes(), b"value"), Durability::Forced))
        .collect();
    for written in all {
        written.await.unwrap();
    }
    let figures = store.figures().unwrap().writer;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    assert_eq!(count(&figures.batches), u64::from(WRITES));
    let forced = count(&figures.forced_writes);
    assert!(forced >= 1 && forced < u64::from(WRITES) / 2, "{figures:?}");
}

#[tokio::test]
async fn what_is_queued_when_the_store_is_dropped_is_there_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    for number in 0..100_u8 {
        drop(store.write(put(FAMILY, &[number], b"value"), Durability::Lazy));
    }
    drop(store);
    let found = open(folder.path()).scan(FAMILY, &[], None, Direction::Forward, usize::MAX).unwrap();
    assert_eq!(found.len(), 100);
}

#[tokio::test]
async fn a_folder_can_be_open_only_once() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    force(&store, b"key", b"value").await;
    let refusal = try_open(folder.path()).unwrap_err();
    assert_eq!(refusal, OpenError::AlreadyOpen { path: folder.path().to_owned() });
    assert!(refusal.to_string().contains("already open"));
    drop(store);
    assert_eq!(open(folder.path()).get(FAMILY, b"key").unwrap(), Some("value".into()));
}

#[test]
fn a_folder_that_another_tool_has_open_is_refused_too() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()));
    let tool = DB::open_cf(&Options::default(), folder.path(), [FAMILY.0, OTHER.0]).unwrap();
    assert_eq!(try_open(folder.path()).unwrap_err(), OpenError::AlreadyOpen { path: folder.path().to_owned() });
    drop(tool);
    drop(open(folder.path()));
}

#[test]
fn a_folder_with_something_else_in_it_is_refused_and_left_as_it_was() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("letter.txt"), "dear all").unwrap();
    let refusal = try_open(folder.path()).unwrap_err();
    assert!(matches!(&refusal, OpenError::Foreign { found, .. } if found == "'letter.txt'"), "{refusal}");
    assert_eq!(files(folder.path(), "").len(), 1);
}

#[test]
fn a_rocksdb_of_another_program_is_refused() {
    let folder = TempDir::new().unwrap();
    let mut options = Options::default();
    options.create_if_missing(true);
    let other = DB::open(&options, folder.path()).unwrap();
    other.put("key", "value").unwrap();
    drop(other);
    assert!(matches!(try_open(folder.path()), Err(OpenError::Foreign { .. })));
}

#[test]
fn a_family_that_is_not_known_here_is_refused_as_a_newer_versions() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()));
    let refusal = RocksStore::open(folder.path(), &[FAMILY], RocksOptions::default()).unwrap_err();
    assert!(
        matches!(&refusal, OpenError::Store(StoreError::UnknownFamilies { families }) if *families == ["other"]),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_family_that_is_new_here_is_created_beside_the_old() {
    let folder = TempDir::new().unwrap();
    let store = RocksStore::open(folder.path(), &[FAMILY], RocksOptions::default()).unwrap();
    force(&store, b"key", b"value").await;
    let refused = store.write(put(OTHER, b"key", b"value"), Durability::Forced).await;
    assert_eq!(refused, Err(StoreError::NoSuchFamily { family: OTHER.0 }));
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.get(FAMILY, b"key").unwrap(), Some("value".into()));
    store.write(put(OTHER, b"key", b"value"), Durability::Forced).await.unwrap();
}

#[tokio::test]
async fn a_creation_that_was_interrupted_is_finished_at_the_next_start() {
    for interrupted_before_the_log in [false, true] {
        let folder = TempDir::new().unwrap();
        drop(open(folder.path()));
        fs::write(folder.path().join(folder::CLAIM), "").unwrap();
        fs::remove_file(folder.path().join("UNDOUBT-SENTINEL")).unwrap();
        if interrupted_before_the_log {
            for log in files(folder.path(), ".log") {
                fs::remove_file(log).unwrap();
            }
        }
        force(&open(folder.path()), b"key", b"value").await;
        assert_eq!(open(folder.path()).get(FAMILY, b"key").unwrap(), Some("value".into()));
    }
}
