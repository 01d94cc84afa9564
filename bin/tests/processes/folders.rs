//! Data folders that are not, or no longer, what the program expects (R8): refused by name, or mended where that is safe.

use crate::support::api::{commit, submit, transfer, value};
use crate::support::program::run_on;
use crate::support::{PATIENCE, banks, start};
use std::path::{Path, PathBuf};
use undoubt::cluster::{Cluster, Who};
use undoubt_platform::identity::FORMAT;
use undoubt_platform::{Batch, Durability, Store};
use undoubt_proto::v1;
use undoubt_rocks::{RocksOptions, RocksStore};

const BANK_A: Who = Who::Participant(0);

async fn stop_all(cluster: &mut Cluster) {
    for who in [Who::Coordinator, BANK_A, Who::Participant(1)] {
        assert!(cluster.stop(who, PATIENCE).await.unwrap());
    }
}

/// The newest write-ahead log that holds something.
fn newest_log(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let logs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let filled = logs.filter(|path| path.metadata().unwrap().len() > 0);
    filled.max().expect("no write-ahead log with anything in it")
}

#[tokio::test]
async fn a_folder_of_somebody_else_is_refused_with_whose_it_is() {
    let mut cluster = start(banks()).await;
    for (who, name) in [(Who::Coordinator, "coordinator"), (BANK_A, "bank-a")] {
        run_on(&cluster, who, name, &[]).await.refused_with(&["already open"]);
    }
    stop_all(&mut cluster).await;
    let other = run_on(&cluster, Who::Coordinator, "another", &[]).await;
    other.refused_with(&["'coordinator'", "'another'", "give it other data"]);
    run_on(&cluster, BANK_A, "another", &[]).await.refused_with(&["'bank-a'", "'another'"]);

    let wrong_kind = cluster.data_dir(BANK_A).display().to_string();
    let arguments = ["--data-dir", &wrong_kind, "--name", "coordinator", "--listen", "127.0.0.1:0"];
    let wrong_kind = crate::support::program::run(crate::support::program::coordinator(&arguments)).await;
    wrong_kind.refused_with(&[&cluster.data_dir(BANK_A).display().to_string(), "participant 'bank-a'"]);
    assert_eq!(wrong_kind.code, Some(3));
    let wrong_kind = cluster.data_dir(Who::Coordinator).display().to_string();
    let arguments = ["--data-dir", &wrong_kind, "--name", "bank-a", "--listen", "127.0.0.1:0"];
    let wrong_kind = crate::support::program::run(crate::support::program::participant(&arguments)).await;
    wrong_kind.refused_with(&["coordinator 'coordinator'", "Nothing was changed"]);

    let letter = cluster.folder().join("letters");
    std::fs::create_dir(&letter).unwrap();
    std::fs::write(letter.join("letter.txt"), "dear all").unwrap();
    let arguments = ["--data-dir", letter.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let foreign = crate::support::program::run(crate::support::program::participant(&arguments)).await;
    foreign.refused_with(&["letter.txt", "Nothing was changed"]);
    let file = letter.join("letter.txt").display().to_string();
    let arguments = ["--data-dir", &file, "--listen", "127.0.0.1:0"];
    let no_folder = crate::support::program::run(crate::support::program::participant(&arguments)).await;
    no_folder.refused_with(&["letter.txt is not a folder"]);
    assert_eq!(no_folder.code, Some(3));
    assert_eq!(std::fs::read_dir(&letter).unwrap().count(), 1);

    // None of this has harmed them.
    for who in [BANK_A, Who::Participant(1), Who::Coordinator] {
        cluster.restart(who, None).await.unwrap();
    }
    commit(&cluster, transfer("t", 10)).await;
}

#[tokio::test]
async fn a_folder_in_a_newer_format_is_refused() {
    let mut cluster = start(banks()).await;
    stop_all(&mut cluster).await;
    let participant = undoubt_kv::META;
    let coordinator = undoubt_coordinator::log::META;
    let families = [undoubt_coordinator::log::FAMILIES, &undoubt_kv::FAMILIES[..]];
    for ((who, meta), families) in [(Who::Coordinator, coordinator), (BANK_A, participant)].into_iter().zip(families) {
        let store = RocksStore::open(&cluster.data_dir(who), families, RocksOptions::default()).unwrap();
        let mut batch = Batch::default();
        batch.put(meta, "format", (FORMAT + 1).to_be_bytes());
        store.write(batch, Durability::Forced).await.unwrap();
    }
    let (found, known) = (format!("format {}", FORMAT + 1), format!("up to {FORMAT}"));
    for (who, name) in [(Who::Coordinator, "coordinator"), (BANK_A, "bank-a")] {
        run_on(&cluster, who, name, &[]).await.refused_with(&[&found, &known, "newer version"]);
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_log_is_refused_with_the_record_named() {
    let mut cluster = start(banks()).await;
    for n in 0..5 {
        commit(&cluster, transfer(&format!("t-{n}"), 10)).await;
    }
    for who in [Who::Coordinator, BANK_A] {
        cluster.kill(who).await.unwrap();
    }
    for (who, name) in [(Who::Coordinator, "coordinator"), (BANK_A, "bank-a")] {
        let log = newest_log(&cluster.data_dir(who));
        let whole = std::fs::read(&log).unwrap();
        let mut flipped = whole.clone();
        let at = whole.len() / 2;
        flipped[at] ^= 1;
        std::fs::write(&log, &flipped).unwrap();
        let said = run_on(&cluster, who, name, &[]).await;
        said.refused_with(&["damaged", log.to_str().unwrap(), "record ", "at byte", "Nothing was repaired", "backup"]);
        assert_eq!(std::fs::read(&log).unwrap(), flipped, "the damaged log was changed");
        std::fs::write(&log, &whole).unwrap();
    }
    for who in [BANK_A, Who::Coordinator] {
        cluster.restart(who, None).await.unwrap();
    }
    assert_eq!(value(&cluster, "bank-a", "alice").await.as_deref(), Some("-50"));
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_everything_before_it_is_served() {
    let mut cluster = start(banks()).await;
    for n in 0..5 {
        commit(&cluster, transfer(&format!("t-{n}"), 10)).await;
    }
    for who in [Who::Coordinator, BANK_A] {
        cluster.kill(who).await.unwrap();
        // What a crash leaves of a write that was never acknowledged: the beginning of a record, promising more.
        let log = newest_log(&cluster.data_dir(who));
        let mut torn = std::fs::read(&log).unwrap();
        torn.extend([1, 2, 3, 4, 200, 0, 1, b'x', b'y']);
        std::fs::write(&log, torn).unwrap();
    }
    for who in [BANK_A, Who::Coordinator] {
        cluster.restart(who, None).await.unwrap();
    }
    for n in 0..5 {
        let again = submit(&cluster, transfer(&format!("t-{n}"), 10)).await.unwrap();
        assert_eq!(again.state(), v1::State::Committed);
    }
    assert_eq!(value(&cluster, "bank-a", "alice").await.as_deref(), Some("-50"));
    commit(&cluster, transfer("another", 10)).await;
}

#[tokio::test]
async fn a_lost_log_or_manifest_is_refused_and_not_taken_for_a_new_folder() {
    let mut cluster = start(banks()).await;
    commit(&cluster, transfer("t", 10)).await;
    for who in [Who::Coordinator, BANK_A] {
        cluster.kill(who).await.unwrap();
    }
    for (who, name) in [(Who::Coordinator, "coordinator"), (BANK_A, "bank-a")] {
        let data_dir = cluster.data_dir(who);
        for lost in [newest_log(&data_dir), data_dir.join("CURRENT")] {
            let kept = cluster.folder().join("kept");
            std::fs::rename(&lost, &kept).unwrap();
            run_on(&cluster, who, name, &[]).await.refused_with(&["damaged", "backup"]);
            std::fs::rename(&kept, &lost).unwrap();
        }
    }
}
