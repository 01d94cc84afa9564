//! A process that is killed while it writes, again and again on the same folder.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const KILLS: u64 = 15;
const VALUE_BYTES: usize = 4 * 1024;
const FOLDER: &str = "UNDOUBT_TEST_KILLED_FOLDER";

/// Small buffers, so that kills also meet flushes and changes of the log.
fn open_small(folder: &Path) -> RocksStore {
    let options = RocksOptions { write_buffer_bytes: 64 * 1024, ..RocksOptions::default() };
    RocksStore::open(folder, &[FAMILY, OTHER], options).unwrap()
}

fn count(store: &RocksStore) -> u64 {
    store.scan(FAMILY, &[], None, Direction::Forward, usize::MAX).unwrap().len() as u64
}

#[tokio::test]
async fn what_was_answered_before_the_process_was_killed_is_there_at_the_next_start() {
    let name = "tests::kills::what_was_answered_before_the_process_was_killed_is_there_at_the_next_start";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_until_killed(Path::new(&folder)).await;
    }
    let folder = TempDir::new().unwrap();
    let mut last_answered = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(FOLDER, folder.path())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        last_answered = answers.by_ref().nth(usize::try_from(kill * 7 % 40).unwrap()).unwrap().parse().unwrap();
        child.kill().unwrap();
        last_answered = answers.filter_map(|line| line.parse().ok()).last().unwrap_or(last_answered);
        child.wait().unwrap();

        let found = count(&open_small(folder.path()));
        assert!(found >= last_answered, "kill {kill}: {last_answered} answered, {found} found");
    }
    assert!(last_answered >= KILLS);
}

/// Keys count upwards without a gap, so that their number is the number of writes.
async fn write_until_killed(folder: &Path) {
    let store = open_small(folder);
    for key in count(&store).. {
        drop(store.write(put(OTHER, &key.to_be_bytes(), &[1; VALUE_BYTES]), Durability::Lazy));
        force(&store, &key.to_be_bytes(), &[2; VALUE_BYTES]).await;
        eprintln!("{}", key + 1);
    }
}
