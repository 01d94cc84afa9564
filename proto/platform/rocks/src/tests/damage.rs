//! Storage that lies (R8): whatever is done to the files, a store either refuses or has everything it promised.

use super::*;
use undoubt_rocks_format::log::{Verdict, inspect};

const RECORDS: u8 = 5;

fn value(record: u8) -> Vec<u8> {
    vec![b'a' + record; 20 + usize::from(record)]
}

/// Writes the records one by one, and tells where each ends in the log.
async fn written(folder: &Path) -> (PathBuf, Vec<usize>) {
    let store = open(folder);
    let mut ends = Vec::new();
    for record in 0..RECORDS {
        force(&store, &[record], &value(record)).await;
        let log = files(folder, ".log").pop().unwrap();
        ends.push(usize::try_from(fs::metadata(log).unwrap().len()).unwrap());
    }
    drop(store);
    (files(folder, ".log").pop().unwrap(), ends)
}

fn copy(from: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for file in files(from, "") {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    copy
}

fn flip(file: &Path, byte: usize, bit: usize) {
    let mut content = fs::read(file).unwrap();
    content[byte] ^= 1 << bit;
    fs::write(file, content).unwrap();
}

fn in_copy(copy: &TempDir, file: &Path) -> PathBuf {
    copy.path().join(file.file_name().unwrap())
}

fn assert_damaged(outcome: Result<RocksStore, OpenError>, expected: &str) {
    let refusal = outcome.expect_err("a damaged folder is refused");
    assert!(matches!(refusal, OpenError::Store(StoreError::Damaged { .. })), "{refusal}");
    assert!(refusal.to_string().contains(expected), "'{expected}' is not in: {refusal}");
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_the_rest_served() {
    let folder = TempDir::new().unwrap();
    let (log, ends) = written(folder.path()).await;
    let [.., last_begins, last_ends] = ends[..] else { panic!("several records") };
    for length in last_begins..last_ends {
        let copy = copy(folder.path());
        let torn = fs::OpenOptions::new().write(true).open(in_copy(&copy, &log)).unwrap();
        torn.set_len(length as u64).unwrap();

        let store = open(copy.path());
        for record in 0..RECORDS - 1 {
            assert_eq!(store.get(FAMILY, &[record]).unwrap(), Some(value(record).into()), "cut to {length}");
        }
        assert_eq!(store.get(FAMILY, &[RECORDS - 1]).unwrap(), None, "cut to {length}");
        force(&store, b"next", b"written").await;
        drop(store);
        assert_eq!(open(copy.path()).get(FAMILY, b"next").unwrap(), Some("written".into()));
    }
}

#[tokio::test]
async fn zeros_behind_the_last_record_are_cut_and_all_records_served() {
    let folder = TempDir::new().unwrap();
    let (log, ends) = written(folder.path()).await;
    let zeroed = fs::OpenOptions::new().write(true).open(log).unwrap();
    zeroed.set_len(ends[4] as u64 + 5_000).unwrap();
    let store = open(folder.path());
    assert_eq!(store.scan(FAMILY, &[], None, Direction::Forward, 9).unwrap().len(), usize::from(RECORDS));
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_the_log_is_refused_and_names_its_record() {
    let folder = TempDir::new().unwrap();
    let (log, ends) = written(folder.path()).await;
    let name = log.file_name().unwrap().to_str().unwrap().to_owned();
    let copy = copy(folder.path());
    let log = in_copy(&copy, &log);
    // A log may begin with records about itself.
    let leading = count_records(&fs::read(&log).unwrap()[..ends[0]]) - 1;
    for byte in 0..ends[4] {
        for bit in 0..8 {
            flip(&log, byte, bit);
            let hit = 1 + leading + ends.iter().filter(|end| **end <= byte).count();
            let refusal = try_open(copy.path()).unwrap_err().to_string();
            assert!(refusal.contains(&format!("{name} is damaged: record ")), "bit {bit} of byte {byte}: {refusal}");
            if leading == 0 {
                assert!(refusal.contains(&format!("record {hit} at byte ")), "bit {bit} of byte {byte}: {refusal}");
            }
            flip(&log, byte, bit);
        }
    }
    let store = open(copy.path());
    assert_eq!(store.scan(FAMILY, &[], None, Direction::Forward, 9).unwrap().len(), usize::from(RECORDS));
}

/// By cutting: a log with its last byte gone names the number of its last record.
fn count_records(log: &[u8]) -> usize {
    let verdict = inspect(&log[..log.len() - 1]);
    let Verdict::Torn { record, .. } = verdict else { panic!("{verdict:?}") };
    usize::try_from(record).unwrap()
}

#[tokio::test]
async fn a_lost_log_is_refused() {
    let folder = TempDir::new().unwrap();
    let (log, _) = written(folder.path()).await;
    fs::remove_file(log).unwrap();
    assert_damaged(try_open(folder.path()), "no WAL files");
}

#[tokio::test]
async fn a_lost_manifest_or_pointer_to_it_is_refused_and_not_created_anew() {
    let folder = TempDir::new().unwrap();
    written(folder.path()).await;
    let without_pointer = copy(folder.path());
    fs::remove_file(without_pointer.path().join("CURRENT")).unwrap();
    assert_damaged(try_open(without_pointer.path()), "CURRENT");

    let without_manifest = copy(folder.path());
    let current = fs::read_to_string(folder.path().join("CURRENT")).unwrap();
    fs::remove_file(without_manifest.path().join(current.trim_end())).unwrap();
    assert_damaged(try_open(without_manifest.path()), current.trim_end());
}

#[tokio::test]
async fn a_flipped_bit_in_the_manifest_is_refused() {
    let folder = TempDir::new().unwrap();
    written(folder.path()).await;
    let current = fs::read_to_string(folder.path().join("CURRENT")).unwrap();
    let manifest = folder.path().join(current.trim_end());
    for byte in 0..fs::metadata(&manifest).unwrap().len() {
        let byte = usize::try_from(byte).unwrap();
        flip(&manifest, byte, byte % 8);
        assert_damaged(try_open(folder.path()), "is damaged: record ");
        flip(&manifest, byte, byte % 8);
    }
}

/// Two logs in use: the older one holds what the first family has not flushed yet.
async fn two_logs(folder: &Path) -> Vec<PathBuf> {
    let options = RocksOptions { write_buffer_bytes: 64 * 1024, ..RocksOptions::default() };
    let store = RocksStore::open(folder, &[FAMILY, OTHER], options).unwrap();
    force(&store, b"old", b"in the older log").await;
    let mut key = 0_u32;
    while files(folder, ".log").len() < 2 {
        key += 1;
        store.write(put(OTHER, &key.to_be_bytes(), &[1; 8 * 1024]), Durability::Forced).await.unwrap();
    }
    force(&store, b"new", b"in the newer log").await;
    drop(store);
    files(folder, ".log")
}

#[tokio::test]
async fn an_older_log_that_is_lost_or_cut_is_refused() {
    let folder = TempDir::new().unwrap();
    let logs = two_logs(folder.path()).await;
    let [older, _newer] = &logs[..] else { panic!("{logs:?}") };

    let whole = copy(folder.path());
    let store = open(whole.path());
    assert_eq!(store.get(FAMILY, b"old").unwrap(), Some("in the older log".into()));
    assert_eq!(store.get(FAMILY, b"new").unwrap(), Some("in the newer log".into()));
    drop(store);

    let lost = copy(folder.path());
    fs::remove_file(in_copy(&lost, older)).unwrap();
    assert!(matches!(try_open(lost.path()), Err(OpenError::Store(StoreError::Damaged { .. }))));

    let cut = copy(folder.path());
    let length = fs::metadata(older).unwrap().len();
    fs::OpenOptions::new().write(true).open(in_copy(&cut, older)).unwrap().set_len(length - 3).unwrap();
    assert_damaged(try_open(cut.path()), "is cut short, though");

    let emptied = copy(folder.path());
    fs::write(in_copy(&emptied, older), "").unwrap();
    assert!(matches!(try_open(emptied.path()), Err(OpenError::Store(StoreError::Damaged { .. }))));
}

#[tokio::test]
async fn a_flipped_bit_in_a_table_is_refused_or_told_on_reading_and_never_an_absent_key() {
    const KEYS: u64 = 400;
    let content = |key: u64| crc32c::crc32c(&key.to_be_bytes()).to_be_bytes();
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let mut batch = Batch::default();
    for key in 0..KEYS {
        batch.put(FAMILY, key.to_be_bytes(), content(key));
    }
    store.write(batch, Durability::Forced).await.unwrap();
    drop(store);
    // Recovery writes what it replays into a table.
    drop(open(folder.path()));
    let table = files(folder.path(), ".sst").pop().unwrap();
    let bytes = usize::try_from(fs::metadata(&table).unwrap().len()).unwrap();

    let (mut refused, mut told) = (0, 0);
    for byte in (0..bytes).step_by(41) {
        let copy = copy(folder.path());
        flip(&in_copy(&copy, &table), byte, byte % 8);
        let store = match try_open(copy.path()) {
            Ok(store) => store,
            Err(refusal) => {
                assert!(matches!(refusal, OpenError::Store(StoreError::Damaged { .. })), "byte {byte}: {refusal}");
                refused += 1;
                continue;
            }
        };
        let mut damaged = store.scan(FAMILY, &[], None, Direction::Forward, usize::MAX).map(|all| {
            assert_eq!(all.len() as u64, KEYS, "byte {byte}");
            false
        });
        for key in 0..KEYS {
            match store.get(FAMILY, &key.to_be_bytes()) {
                Ok(found) => assert_eq!(found.as_deref(), Some(&content(key)[..]), "byte {byte}, key {key}"),
                Err(error) => damaged = Err(error),
            }
        }
        if let Err(error) = damaged {
            assert!(matches!(error, StoreError::Damaged { .. }), "byte {byte}: {error}");
            told += 1;
        }
    }
    assert!(told > 0, "refused {refused}, told {told}");
}
