//! Copies of an open store.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::full_disk::noise;
use super::*;
use undoubt_platform::store::BackupError;

fn keys(store: &RocksStore) -> Vec<u64> {
    let pairs = store.scan(FAMILY, &[], None, Direction::Forward, usize::MAX).unwrap();
    pairs.into_iter().map(|(key, _)| u64::from_be_bytes(key[..].try_into().unwrap())).collect()
}

/// Everything in a folder by its name, hidden files included.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_under_load_passes_the_check_and_has_a_prefix_with_all_that_was_answered_before() {
    const ROUNDS: usize = 12;
    let home = TempDir::new().unwrap();
    let small = RocksOptions { write_buffer_bytes: 64 * 1024, ..RocksOptions::default() };
    let store = Arc::new(RocksStore::open(&home.path().join("data"), &[FAMILY, OTHER], small).unwrap());
    let (answered, ends) = (Arc::new(std::sync::atomic::AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = {
        let (store, answered, ends) = (store.clone(), answered.clone(), ends.clone());
        tokio::spawn(async move {
            for key in 0_u64.. {
                // Both families, so that a copy which has one of them later than the other is found out.
                let value = noise(u32::try_from(key).unwrap(), 2_000);
                let mut batch = put(FAMILY, &key.to_be_bytes(), &value);
                batch.put(OTHER, key.to_be_bytes(), &value);
                let durability = if key % 3 == 0 { Durability::Forced } else { Durability::Lazy };
                store.write(batch, durability).await.unwrap();
                answered.store(key + 1, Ordering::SeqCst);
                if ends.load(Ordering::SeqCst) {
                    return key + 1;
                }
            }
            unreachable!("keys have no end");
        })
    };
    let mut copies = Vec::new();
    for round in 0..ROUNDS {
        while answered.load(Ordering::SeqCst) < 50 * round as u64 {
            tokio::task::yield_now().await;
        }
        let before = answered.load(Ordering::SeqCst);
        let to = home.path().join(format!("copy-{round}"));
        store.backup(&to).await.unwrap();
        copies.push((to, before));
    }
    ends.store(true, Ordering::SeqCst);
    let written = writer.await.unwrap();
    drop(store);
    let mut grew_meanwhile = false;
    for (to, before) in copies {
        assert!(RocksStore::is_in(&to));
        let copy = open(&to);
        assert!(matches!(copy.local_sign(), Some(LocalSign::Backup { .. })), "{:?}", copy.local_sign());
        let found = keys(&copy);
        let count = found.len() as u64;
        assert!(found.iter().copied().eq(0..count), "a gap in {found:?}");
        assert!(before <= count && count <= written, "{before} answered before, {count} found, {written} in the end");
        let others = copy.scan(OTHER, &[], None, Direction::Forward, usize::MAX).unwrap();
        assert_eq!(others, copy.scan(FAMILY, &[], None, Direction::Forward, usize::MAX).unwrap());
        grew_meanwhile |= before < count;
        force(&copy, &count.to_be_bytes(), b"it can be worked with").await;
        copy.settle_folder().unwrap();
        drop(copy);
        let copy = open(&to);
        assert_eq!((copy.local_sign(), keys(&copy).len() as u64), (None, count + 1));
    }
    assert!(grew_meanwhile, "nothing was written during any of the copies");
    let left = names(&home.path().join("data"));
    assert!(!left.iter().any(|name| name.contains("part")), "{left:?}");
    assert_eq!(names(home.path()).len(), 1 + ROUNDS);
}

#[tokio::test]
async fn a_copy_tells_whose_it_is_and_goes_into_an_empty_folder_too() {
    use undoubt_platform::identity::{Kind, establish};
    const META: Family = Family("meta");
    let home = TempDir::new().unwrap();
    let open = |folder: &Path| RocksStore::open(folder, &[META], RocksOptions::default()).unwrap();
    let store = open(&home.path().join("data"));
    establish(&store, META, Kind::Coordinator, "north", [7; 16]).await.unwrap();
    let to = home.path().join("copy");
    fs::create_dir(&to).unwrap();
    fs::set_permissions(home.path().join("data"), fs::Permissions::from_mode(0o700)).unwrap();
    store.backup(&to).await.unwrap();
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o700, "as private as the data folder");
    let copy = open(&to);
    let sign = copy.local_sign().unwrap();
    assert!(matches!(sign, LocalSign::Backup { of, .. } if of == "coordinator 'north'"), "{sign}");
    assert_eq!(establish(&copy, META, Kind::Coordinator, "north", [8; 16]).await.unwrap().id, [7; 16]);
}

#[tokio::test]
async fn a_copy_of_an_idle_store_and_of_an_empty_one_can_be_opened() {
    let home = TempDir::new().unwrap();
    let store = open(&home.path().join("data"));
    for (name, written) in [("empty", 0), ("again", 0), ("idle", 1), ("idle-again", 0)] {
        for _ in 0..written {
            force(&store, &0_u64.to_be_bytes(), b"value").await;
        }
        store.backup(&home.path().join(name)).await.unwrap();
    }
    let count = |name: &str| keys(&open(&home.path().join(name))).len();
    assert_eq!(["empty", "again", "idle", "idle-again"].map(count), [0, 0, 1, 1]);
    assert_eq!(["empty", "idle"].map(count), [0, 1], "opened once more");
}

#[tokio::test]
async fn a_target_that_is_no_new_place_outside_of_the_data_folder_is_refused_and_left_as_it_was() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let store = open(&data);
    fs::create_dir(home.path().join("full")).unwrap();
    fs::write(home.path().join("full/letter"), "dear all").unwrap();
    fs::write(home.path().join("file"), "").unwrap();
    std::os::unix::fs::symlink(&data, home.path().join("link")).unwrap();
    let before = (names(home.path()), names(&data));
    let at = |name: &str| home.path().join(name);
    for (to, why) in [
        (PathBuf::from("relative"), "begin with /"),
        (PathBuf::new(), "begin with /"),
        (PathBuf::from("/"), "begin with /"),
        (at("none/copy"), "make that folder first"),
        (at("data/copy"), "within the data folder"),
        (at("link/copy"), "within the data folder"),
        (at("full"), "no empty folder"),
        (at("file"), "no empty folder"),
        (at("link"), "no empty folder"),
        (data.clone(), "no empty folder"),
    ] {
        let refusal = store.backup(&to).await.unwrap_err();
        assert!(matches!(refusal, BackupError::Refused { .. }) && refusal.to_string().contains(why), "{refusal}");
    }
    assert_eq!((names(home.path()), names(&data)), before);
    assert_eq!(fs::read_to_string(at("full/letter")).unwrap(), "dear all");
    force(&store, b"key", b"value").await;
}

#[tokio::test]
async fn what_an_interrupted_backup_has_left_is_removed_at_the_next_start_and_by_the_next_backup() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let store = open(&data);
    let leave = || {
        for name in ["backup.part", "backup.part.tmp"] {
            fs::create_dir(data.join(name)).unwrap();
            fs::write(data.join(name).join("000001.sst"), "half").unwrap();
        }
    };
    leave();
    store.backup(&home.path().join("copy")).await.unwrap();
    assert_eq!(fs::read_dir(&data).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 0);
    drop(store);
    leave();
    drop(open(&data));
    assert_eq!(fs::read_dir(&data).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 0);
    drop(open(&home.path().join("copy")));
}

#[tokio::test]
async fn a_backup_that_fails_leaves_nothing_behind_and_the_store_goes_on() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let store = open(&data);
    force(&store, b"key", b"value").await;
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere but where nobody may.
        let refusal = store.backup(Path::new("/proc/copy")).await.unwrap_err();
        assert!(matches!(refusal, BackupError::Failed { .. }), "{refusal}");
        assert!(refusal.to_string().contains("Nothing is left there"), "{refusal}");
    } else {
        let closed = home.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        let refusal = store.backup(&closed.join("copy")).await.unwrap_err();
        assert!(matches!(refusal, BackupError::Failed { .. }), "{refusal}");
    }
    assert!(!names(&data).iter().any(|name| name.contains("part")));
    force(&store, b"key", b"value").await;
    store.backup(&home.path().join("copy")).await.unwrap();
}

/// In a mount namespace of its own, with a small file system for the copies; skipped where that cannot be mounted.
fn with_a_small_device(name: &str, variable: &str) {
    let folder = TempDir::new().unwrap();
    let mount = |then: &[&str]| {
        let script = r#"mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@""#;
        Command::new("unshare")
            .args(["-m", "sh", "-c", script])
            .arg(folder.path())
            .args(then)
            .env(variable, folder.path())
            .output()
    };
    match mount(&["true"]) {
        Ok(output) if output.status.success() => {}
        outcome => {
            eprintln!("SKIPPED, NOT PASSED: {name}: no tmpfs can be mounted in a namespace here: {outcome:?}");
            return;
        }
    }
    let this = std::env::current_exe().unwrap();
    let output = mount(&[this.to_str().unwrap(), "--exact", name, "--nocapture"]).unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn a_copy_onto_another_device_is_whole_or_not_there_when_that_is_full() {
    const DEVICE: &str = "UNDOUBT_TEST_BACKUP_DEVICE";
    let Some(device) = std::env::var_os(DEVICE).map(PathBuf::from) else {
        let name = "tests::copies::a_copy_onto_another_device_is_whole_or_not_there_when_that_is_full";
        return with_a_small_device(name, DEVICE);
    };
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let store = open(&data);
    for key in 0..30_u64 {
        force(&store, &key.to_be_bytes(), &noise(u32::try_from(key).unwrap(), 32 * 1024)).await;
    }
    let whole = device.join("whole");
    store.backup(&whole).await.unwrap();
    assert_eq!(names(&device), ["whole"]);
    for key in 30..300_u64 {
        force(&store, &key.to_be_bytes(), &noise(u32::try_from(key).unwrap(), 32 * 1024)).await;
    }
    let refusal = store.backup(&device.join("too-much")).await.unwrap_err();
    assert!(matches!(refusal, BackupError::Failed { .. }), "{refusal}");
    assert!(refusal.to_string().contains("No space left"), "{refusal}");
    assert_eq!(names(&device), ["whole"]);
    assert!(!names(&data).iter().any(|name| name.contains("part")));
    assert!(!store.ran_out_of_room());
    force(&store, &300_u64.to_be_bytes(), b"value").await;
    // Opening it takes more room than is left there.
    let copy = home.path().join("copy");
    assert!(Command::new("cp").arg("-a").args([&whole, &copy]).status().unwrap().success());
    assert_eq!(keys(&open(&copy)).len(), 30);
}

#[tokio::test]
async fn a_store_that_closes_ends_its_backup_and_is_free_at_once_for_the_next_start() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    for round in 0..5 {
        let store = open(&data);
        force(&store, &(round as u64).to_be_bytes(), b"value").await;
        let to = home.path().join(format!("copy-{round}"));
        let backing_up = store.backup(&to);
        drop(store);
        let made = backing_up.await;
        assert_eq!(made.is_ok(), to.exists(), "{made:?}");
        drop(open(&data));
        if made.is_ok() {
            assert_eq!(keys(&open(&to)).len(), round + 1);
        }
    }
}
