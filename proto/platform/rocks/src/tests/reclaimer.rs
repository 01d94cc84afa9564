//! Tests that deleted data gives its room back while the store is open.

use std::time::Duration;

use super::*;

const KEYS: u32 = 64;
const VALUE_BYTES: usize = 256 * 1024;
const TOTAL_BYTES: u64 = KEYS as u64 * VALUE_BYTES as u64;
const PATIENCE: Duration = Duration::from_secs(60);

fn open_quick(folder: &Path) -> RocksStore {
    let options = RocksOptions {
        reclaim_period: Duration::from_millis(50),
        write_buffer_bytes: 1 << 20,
        total_wal_bytes: 4 << 20,
        ..RocksOptions::default()
    };
    RocksStore::open(folder, &[FAMILY, OTHER], options).unwrap()
}

async fn fill(store: &RocksStore, family: Family) {
    for number in 0..KEYS {
        let value = full_disk::noise(number, VALUE_BYTES);
        store.write(put(family, &number.to_be_bytes(), &value), Durability::Lazy).await.unwrap();
    }
}

fn taken(folder: &Path) -> u64 {
    // A file may go while it is looked at.
    let size = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len());
    [".sst", ".log"].into_iter().flat_map(|ending| files(folder, ending)).map(size).sum()
}

/// Waits until what is taken is less than the share that remains, with nothing written meanwhile.
async fn gives_room_back(folder: &Path) {
    let waiting = async {
        while taken(folder) > TOTAL_BYTES / 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{} bytes are still taken", taken(folder)));
}

#[tokio::test]
async fn keys_that_were_deleted_one_by_one_give_their_room_back_though_nothing_more_is_written() {
    let folder = TempDir::new().unwrap();
    let store = open_quick(folder.path());
    fill(&store, FAMILY).await;
    assert!(taken(folder.path()) > TOTAL_BYTES * 3 / 4);
    for number in 1..KEYS {
        let mut batch = Batch::default();
        batch.delete(FAMILY, number.to_be_bytes());
        store.write(batch, Durability::Lazy).await.unwrap();
    }
    gives_room_back(folder.path()).await;
    assert!(store.get(FAMILY, &0_u32.to_be_bytes()).unwrap().is_some());
    assert!(store.get(FAMILY, &1_u32.to_be_bytes()).unwrap().is_none());
}

#[tokio::test]
async fn ranges_give_their_room_back_and_what_lies_beside_them_stays() {
    let folder = TempDir::new().unwrap();
    let store = open_quick(folder.path());
    fill(&store, FAMILY).await;
    for number in 0..KEYS - 2 {
        let mut batch = Batch::default();
        batch.delete_range(FAMILY, number.to_be_bytes(), (number + 1).to_be_bytes());
        store.write(batch, Durability::Lazy).await.unwrap();
    }
    gives_room_back(folder.path()).await;
    let left = store.scan(FAMILY, &[], None, Direction::Forward, usize::MAX).unwrap();
    assert_eq!(left.len(), 2);
    drop(store);
    assert_eq!(open_quick(folder.path()).scan(FAMILY, &[], None, Direction::Forward, usize::MAX).unwrap().len(), 2);
}
