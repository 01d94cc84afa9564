//! Folders that were put back, and folders that only look like it.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::{Command, Stdio};

use super::*;

const SENTINEL: &str = "UNDOUBT-SENTINEL";
const MARK: &str = "UNDOUBT-BACKUP";

fn sign(folder: &Path) -> Option<LocalSign> {
    open(folder).local_sign().cloned()
}

fn assert_copied(folder: &Path) {
    let found = sign(folder);
    assert!(matches!(&found, Some(LocalSign::Copied { .. })), "{found:?}");
}

/// As people copy: `cp -a FROM TO`.
fn copy_all(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// A folder in a temporary place, opened once.
fn used() -> (TempDir, PathBuf) {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("data");
    assert_eq!(sign(&folder), None, "a new folder");
    (home, folder)
}

#[test]
fn a_copy_shows_until_it_is_settled_and_the_original_does_not() {
    let (home, folder) = used();
    let copy = home.path().join("copy");
    copy_all(&folder, &copy);
    assert_copied(&copy);
    assert_copied(&copy);
    let told = sign(&copy).unwrap().to_string();
    for word in [copy.to_str().unwrap(), SENTINEL, "inode", "born at 20", "folder_sign = false"] {
        assert!(told.contains(word), "{word:?} is not in {told}");
    }
    assert_eq!(sign(&folder), None);
    let store = open(&copy);
    store.settle_folder().unwrap();
    assert!(store.local_sign().is_some(), "what it showed when it was opened");
    drop(store);
    assert_eq!(sign(&copy), None);
    assert_eq!(sign(&copy), None);
}

#[test]
fn a_copy_that_takes_the_place_of_the_original_shows_also_if_it_has_the_originals_inode() {
    let (home, folder) = used();
    let copy = home.path().join("copy");
    copy_all(&folder, &copy);
    fs::remove_dir_all(&folder).unwrap();
    copy_all(&copy, &folder);
    assert_copied(&folder);
}

#[test]
fn a_copy_of_a_settled_copy_shows_again() {
    let (home, folder) = used();
    let (copy, again) = (home.path().join("copy"), home.path().join("again"));
    copy_all(&folder, &copy);
    open(&copy).settle_folder().unwrap();
    copy_all(&copy, &again);
    assert_copied(&again);
}

#[tokio::test]
async fn starts_moves_and_kills_show_nothing() {
    const FOLDER: &str = "UNDOUBT_TEST_SIGN_FOLDER";
    let name = "tests::restored_folders::starts_moves_and_kills_show_nothing";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let store = open(Path::new(&folder));
        assert_eq!(store.local_sign(), None);
        for key in 0_u64.. {
            force(&store, &key.to_be_bytes(), b"value").await;
            eprintln!("written");
        }
    }
    let (home, folder) = used();
    let moved = home.path().join("moved");
    for _ in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(FOLDER, &folder)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let answers = std::io::BufReader::new(child.stderr.take().unwrap());
        assert!(std::io::BufRead::lines(answers).any(|line| line.unwrap() == "written"), "it found a sign");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(sign(&folder), None);
        fs::rename(&folder, &moved).unwrap();
        assert_eq!(sign(&moved), None);
        fs::rename(&moved, &folder).unwrap();
    }
}

#[test]
fn a_folder_of_the_version_before_shows_nothing_wherever_it_comes_from_and_does_from_then_on() {
    let (home, folder) = used();
    fs::remove_file(folder.join(SENTINEL)).unwrap();
    let (copy, again) = (home.path().join("copy"), home.path().join("again"));
    copy_all(&folder, &copy);
    assert_eq!((sign(&folder), sign(&copy)), (None, None));
    copy_all(&copy, &again);
    assert_copied(&again);
}

#[test]
fn a_sentinel_that_is_torn_empty_or_garbage_is_no_sign_and_is_written_anew() {
    let (home, folder) = used();
    let whole = fs::read(folder.join(SENTINEL)).unwrap();
    assert!(whole.len() < 512);
    let flipped = |at: usize| {
        let mut content = whole.clone();
        content[at] ^= 1;
        content
    };
    let longer = [&whole[..], b"x"].concat();
    let mut damaged =
        vec![Vec::new(), vec![0; whole.len()], vec![0xff; 10_000], longer, b"inode 1 born 2 crc32c 3\n".to_vec()];
    damaged.extend((0..whole.len()).map(flipped));
    damaged.extend((1..whole.len()).map(|length| whole[..length].to_vec()));
    for (number, content) in damaged.into_iter().enumerate() {
        fs::write(folder.join(SENTINEL), &content).unwrap();
        assert_eq!(folder_sign::look(&folder, true).unwrap(), None, "{content:?}");
        if number % 40 == 0 {
            assert_eq!(sign(&folder), None, "{content:?}");
            assert_eq!(fs::read(folder.join(SENTINEL)).unwrap(), whole);
        }
    }
    let copy = home.path().join("copy");
    assert_eq!(sign(&folder), None);
    copy_all(&folder, &copy);
    assert_copied(&copy);
}

#[test]
fn the_sentinel_stays_the_same_file_with_the_same_content_at_each_start() {
    let (_home, folder) = used();
    let facts = || {
        let found = fs::metadata(folder.join(SENTINEL)).unwrap();
        (found.ino(), found.created().ok(), fs::read(folder.join(SENTINEL)).unwrap(), found.modified().unwrap())
    };
    let before = facts();
    assert_eq!(sign(&folder), None);
    let after = facts();
    assert_eq!((before.0, before.1, &before.2), (after.0, after.1, &after.2));
    assert!(before.3 < after.3, "a tool that compares times passes over it");
}

#[test]
fn a_file_system_without_times_of_birth_is_judged_by_the_inode_number() {
    let (_home, folder) = used();
    let line = |inode: u64| {
        let facts = format!("inode {inode:020} born {:020}", 0);
        format!("{facts} crc32c {:08x}\n", crc32c::crc32c(facts.as_bytes()))
    };
    let sentinel = fs::OpenOptions::new().write(true).open(folder.join(SENTINEL)).unwrap();
    let inode = sentinel.metadata().unwrap().ino();
    sentinel.write_all_at(line(inode).as_bytes(), 0).unwrap();
    assert_eq!(sign(&folder), None);
    sentinel.write_all_at(line(inode + 1).as_bytes(), 0).unwrap();
    let told = sign(&folder).unwrap().to_string();
    assert!(told.contains(&format!("inode {}, and is inode {inode} born", inode + 1)), "{told}");
}

#[test]
fn with_the_check_off_a_copy_shows_nothing_and_is_at_home_where_it_is() {
    let (home, folder) = used();
    let copy = home.path().join("copy");
    copy_all(&folder, &copy);
    let options = RocksOptions { checks_folder: false, ..RocksOptions::default() };
    let store = RocksStore::open(&copy, &[FAMILY, OTHER], options).unwrap();
    assert_eq!(store.local_sign(), None);
    drop(store);
    assert_eq!(sign(&copy), None);
}

#[test]
fn a_backups_mark_shows_with_what_it_tells_until_it_is_settled_whatever_is_in_it() {
    let (_home, folder) = used();
    let taken_at = undoubt_platform::clock::Timestamp(1_764_363_380_000_000);
    folder_sign::mark(&folder, "coordinator 'north'", taken_at).unwrap();
    let told = sign(&folder).unwrap().to_string();
    for word in ["backup of coordinator 'north'", "taken at 2025-11-28T"] {
        assert!(told.contains(word), "{word:?} is not in {told}");
    }
    for content in ["", "\u{1b}[2J", "of somebody\n"] {
        fs::write(folder.join(MARK), content).unwrap();
        let options = RocksOptions { checks_folder: false, ..RocksOptions::default() };
        let store = RocksStore::open(&folder, &[FAMILY, OTHER], options).unwrap();
        assert!(matches!(store.local_sign(), Some(LocalSign::Backup { .. })), "{:?}", store.local_sign());
    }
    open(&folder).settle_folder().unwrap();
    assert!(!folder.join(MARK).exists());
    assert_eq!(sign(&folder), None);
}
