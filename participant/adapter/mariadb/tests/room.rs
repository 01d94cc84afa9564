//! Databases that have no room any more.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use bytes::Bytes;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::branch::{branch, prepare, refused, vote};
use support::{PATIENCE, PROCEDURES, database, open, participant, settings, work};
use undoubt_participant::resource::{Branches as _, Ended, Resource as _};
use undoubt_test_servers as servers;
use undoubt_vocabulary::{RefusalCode, Vote};
use undoubt_work::call::{Call, CallWork};

const DATABASE: &str = "bank";

/// Returns work that needs pages of its own. Each row stays within a page: this server ends itself when there is no room for what
/// does not.
fn large(name: &str) -> Bytes {
    let put = |at: u32| Call::new("put").arg("key", format!("{name}{at}")).arg("value", "x".repeat(5_000));
    CallWork::from(put(1)).call(put(2)).call(put(3)).call(put(4)).encode().unwrap()
}

const FILLER: &str =
    "CREATE TABLE filler (id INT AUTO_INCREMENT PRIMARY KEY, junk VARCHAR(5000) NOT NULL) ENGINE = InnoDB";

/// Writes rows until there is no room, the last of them small.
async fn fill(server: &servers::MariaDb) {
    for bytes in [5_000, 1_000, 10] {
        let rows = format!("INSERT INTO filler (junk) SELECT REPEAT('x', {bytes}) FROM seq_1_to_50");
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

/// Works through a time without room, on a small disk or in a small tablespace.
async fn work_without_room(server: &servers::MariaDb, disk: Option<&SmallDisk>) {
    let resource = open(&settings(server.url(DATABASE)), PROCEDURES);
    resource.recover(&participant()).await.unwrap();
    prepare(&resource, 1, work::put("committed", "1")).await;
    prepare(&resource, 2, work::put("aborted", "2")).await;
    fill(server).await;
    // A table asks for more at once than is left when it finds nothing.
    disk.inspect(|disk| disk.fill());
    let crowded = refused(vote(&resource, 3, large("crowded")).await);
    assert_eq!(crowded.code, RefusalCode::Unavailable, "{}", crowded.detail);
    assert!(crowded.detail.contains("make room"), "{}", crowded.detail);
    assert_eq!(resource.commit(branch(1)).await, Ok(Ended::AsTold));
    assert_eq!(resource.abort(branch(2)).await, Ok(Ended::AsTold));
    assert_eq!(resource.abort(branch(3)).await, Ok(Ended::AsTold));
    server.sql(DATABASE, "DROP TABLE filler").await.unwrap();
    disk.inspect(|disk| disk.empty());
    // The server frees what was dropped by and by.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Ok(Vote::Refused(refusal)) = vote(&resource, 4, large("roomy")).await {
        assert!(tokio::time::Instant::now() < deadline, "{}", refusal.detail);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(resource.commit(branch(4)).await, Ok(Ended::AsTold));
    let names = server.sql(DATABASE, "SELECT name FROM kv ORDER BY 1").await.unwrap();
    assert_eq!(names, "committed\nroomy1\nroomy2\nroomy3\nroomy4");
    assert_eq!(server.sql("", "XA RECOVER").await.unwrap(), "");
}

#[tokio::test]
async fn where_the_tablespace_is_full_work_is_refused_and_what_is_prepared_ends() {
    // All that the server keeps is in one file, which does not grow for ever.
    let given = [("innodb-file-per-table", "0"), ("innodb-data-file-path", "ibdata1:12M:autoextend:max:48M")];
    let server = servers::MariaDb::start(&given).await.unwrap();
    database(&server, DATABASE).await;
    server.sql(DATABASE, FILLER).await.unwrap();
    work_without_room(&server, None).await;
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

    fn fill(&self) {
        let mut file = std::fs::File::create(self.path().join("rest")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.path().join("rest")).unwrap();
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
         DEFAULT CHARACTER SET utf8mb4 DATA DIRECTORY = '{small}'; {FILLER} DATA DIRECTORY = '{small}'"
    );
    server.sql(DATABASE, &tables).await.unwrap();
    work_without_room(&server, Some(&disk)).await;
    drop(server);
}
