//! Databases that have no room any more.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::path::Path;
use std::process::Command;
use support::branch::{branch, prepare, refused, vote};
use support::{PROCEDURES, database, open, participant, settings, work};
use undoubt_participant::resource::{Branches as _, Ended, Resource as _};
use undoubt_test_servers as servers;
use undoubt_vocabulary::RefusalCode;

const DATABASE: &str = "bank";
const BIG: usize = 60_000;

/// Writes rows until there is no room, the last of them small.
async fn fill(server: &servers::MariaDb) {
    for bytes in [100_000, 10_000, 1_000, 10] {
        let rows = format!("INSERT INTO filler (junk) SELECT REPEAT('x', {bytes}) FROM seq_1_to_20");
        let mut tries = 0;
        let full = loop {
            match server.sql(DATABASE, &rows).await {
                Ok(_) => tries += 1,
                Err(full) => break full.to_string(),
            }
            assert!(tries < 10_000, "the room is bounded");
        };
        assert!(full.contains("is full") || full.contains("No space left"), "{full}");
    }
}

/// Works through a time without room. `free`: what gives room again.
async fn work_without_room(server: &servers::MariaDb, free: &str) {
    let resource = open(&settings(server.url(DATABASE)), PROCEDURES);
    resource.recover(&participant()).await.unwrap();
    prepare(&resource, 1, work::put("committed", "1")).await;
    prepare(&resource, 2, work::put("aborted", "2")).await;
    fill(server).await;
    let crowded = refused(vote(&resource, 3, work::put("crowded", &"x".repeat(BIG))).await);
    assert_eq!(crowded.code, RefusalCode::Unavailable, "{}", crowded.detail);
    assert!(crowded.detail.contains("make room"), "{}", crowded.detail);
    assert_eq!(resource.commit(branch(1)).await, Ok(Ended::AsTold));
    assert_eq!(resource.abort(branch(2)).await, Ok(Ended::AsTold));
    assert_eq!(resource.abort(branch(3)).await, Ok(Ended::AsTold));
    server.sql(DATABASE, free).await.unwrap();
    prepare(&resource, 4, work::put("roomy", &"x".repeat(BIG))).await;
    assert_eq!(resource.commit(branch(4)).await, Ok(Ended::AsTold));
    let names = server.sql(DATABASE, "SELECT name FROM kv ORDER BY 1").await.unwrap();
    assert_eq!(names, "committed\nroomy");
    assert_eq!(server.sql("", "XA RECOVER").await.unwrap(), "");
}

#[tokio::test]
async fn where_the_tablespace_is_full_work_is_refused_and_what_is_prepared_ends() {
    // All that the server keeps is in one file, which does not grow for ever.
    let given = [("innodb-file-per-table", "0"), ("innodb-data-file-path", "ibdata1:12M:autoextend:max:48M")];
    let server = servers::MariaDb::start(&given).await.unwrap();
    database(&server, DATABASE).await;
    let filler = "CREATE TABLE filler (id INT AUTO_INCREMENT PRIMARY KEY, junk LONGBLOB NOT NULL) ENGINE = InnoDB";
    server.sql(DATABASE, filler).await.unwrap();
    work_without_room(&server, "DROP TABLE filler").await;
}

/// A disk that is soon full.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`: only root may mount one.
    fn new() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m,mode=777", "small"]).arg(folder.path()).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(SmallDisk(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[tokio::test]
async fn where_the_disk_is_full_work_is_refused_and_what_is_prepared_ends() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("SKIPPED: a small disk can be mounted by root alone; run this test as root to see a full one");
        return;
    };
    let server = servers::MariaDb::start(&[]).await.unwrap();
    database(&server, DATABASE).await;
    let small = disk.path().display();
    let tables = format!(
        "DROP TABLE kv; CREATE TABLE kv (name VARCHAR(200) COLLATE utf8mb4_bin PRIMARY KEY, value MEDIUMTEXT NOT NULL) ENGINE = InnoDB \
         DEFAULT CHARACTER SET utf8mb4 DATA DIRECTORY = '{small}'; CREATE TABLE filler (id INT AUTO_INCREMENT PRIMARY KEY, junk \
         LONGBLOB NOT NULL) ENGINE = InnoDB DATA DIRECTORY = '{small}'"
    );
    server.sql(DATABASE, &tables).await.unwrap();
    work_without_room(&server, "DROP TABLE filler").await;
    drop(server);
}
