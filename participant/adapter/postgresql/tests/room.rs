//! Servers that have no room any more: for data, and for the log of the server itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use bytes::Bytes;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::fixture::{Fixture, assert_code, branch};
use support::{PROCEDURES, work};
use undoubt_participant::resource::{Branches as _, Ended};
use undoubt_vocabulary::{RefusalCode, Vote};

/// A disk that is soon full, owned as the server's data are.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`: only root may mount one.
    fn new(like: &Path, size: &str) -> Option<SmallDisk> {
        let (folder, owner) = (tempfile::tempdir().unwrap(), std::fs::metadata(like).unwrap());
        let options = format!("size={size},mode=700,uid={},gid={}", owner.uid(), owner.gid());
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "small"]).arg(folder.path()).output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            eprintln!("SKIPPED: a small disk can be mounted by root alone; run this test as root to see a full one");
            return None;
        }
        Some(SmallDisk(folder))
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.path().join("rest")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.path().join("rest")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn large(key: &str) -> Bytes {
    // Digests are not compressed away.
    let value: String = (0..4_000).map(|part: u32| format!("{:08x}", part.wrapping_mul(2_654_435_761))).collect();
    work::put(key, &value)
}

async fn data_folder(fixture: &Fixture) -> PathBuf {
    PathBuf::from(fixture.sql("SHOW data_directory").await)
}

#[tokio::test]
async fn where_the_disk_is_full_work_is_refused_and_what_is_prepared_ends() {
    let fixture = Fixture::with("20", PROCEDURES).await;
    let Some(disk) = SmallDisk::new(&data_folder(&fixture).await, "16m") else { return };
    fixture.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.path().display())).await;
    fixture.sql("ALTER TABLE kv SET TABLESPACE small").await;
    fixture.prepare(1, work::put("committed", "1")).await;
    fixture.prepare(2, work::put("aborted", "2")).await;
    disk.fill();
    let crowded = fixture.refusal(3, large("crowded")).await;
    assert_code(&crowded, RefusalCode::Unavailable, &["No space left", "try again later"]);
    assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    assert_eq!(fixture.abort(2).await, Ok(Ended::AsTold));
    disk.empty();
    fixture.prepare(4, large("roomy")).await;
    assert_eq!(fixture.commit(4).await, Ok(Ended::AsTold));
    assert_eq!(fixture.sql("SELECT string_agg(key, ' ' ORDER BY key) FROM kv").await, "committed roomy");
    assert_eq!(fixture.prepared().await, "0");
    fixture.sql("ALTER TABLE kv SET TABLESPACE pg_default").await;
}

#[tokio::test]
async fn where_the_servers_log_has_no_room_the_server_ends_and_what_it_answered_is_there_again() {
    const MOST: u64 = 500;
    let mut fixture = Fixture::with("200", PROCEDURES).await;
    let data = data_folder(&fixture).await;
    let Some(disk) = SmallDisk::new(&data, "64m") else { return };
    fixture.server.stop().await.unwrap();
    let (log, there) = (data.join("pg_wal"), disk.0.path().join("pg_wal"));
    assert!(Command::new("cp").args(["--archive"]).args([&log, &there]).status().unwrap().success());
    std::fs::remove_dir_all(&log).unwrap();
    std::os::unix::fs::symlink(&there, &log).unwrap();
    fixture.server.restart().await.unwrap();
    fixture.until_done(async || fixture.try_prepare(1, work::put("first", "1")).await).await;
    disk.fill();
    // The server goes on in the file of its log that it has, and ends itself when it wants another.
    let mut last = 1;
    while let Ok(Vote::Prepared { .. }) = fixture.try_prepare(last + 1, large(&format!("k{}", last + 1))).await {
        last += 1;
        assert!(last < MOST, "the log is bounded");
    }
    disk.empty();
    fixture.server.kill_9();
    fixture.server.restart().await.unwrap();
    let recovered = fixture.restart().await;
    let prepared: Vec<_> = recovered.prepared.iter().map(|prepared| prepared.branch.clone()).collect();
    for number in 1..=last {
        assert!(prepared.contains(&branch(number)), "{number} of {last} was answered for and is gone");
        assert_eq!(fixture.resource.commit(branch(number)).await, Ok(Ended::AsTold));
    }
    // The one that failed may be prepared or not; its abort ends it either way.
    assert_eq!(fixture.abort(last + 1).await, Ok(Ended::AsTold));
    assert_eq!(fixture.prepared().await, "0");
    assert_eq!(fixture.sql("SELECT count(*) FROM kv").await, last.to_string());
}
