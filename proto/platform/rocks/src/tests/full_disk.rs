//! A disk that is really full: a small tmpfs in a mount namespace of its own.

use std::process::Command;

use super::*;

const SMALL: &str = "size=24m";
const LARGE: &str = "size=256m";
const VALUE_BYTES: usize = 64 * 1024;
const MOUNTED: &str = "UNDOUBT_TEST_MOUNTED";

#[tokio::test]
async fn a_full_disk_stops_the_store_and_what_was_answered_is_there_once_there_is_room() {
    let name = "tests::full_disk::a_full_disk_stops_the_store_and_what_was_answered_is_there_once_there_is_room";
    if let Some(mounted) = std::env::var_os(MOUNTED) {
        return fill_and_recover(Path::new(&mounted)).await;
    }
    let folder = TempDir::new().unwrap();
    let mount = |then: &[&str]| {
        let script = r#"mount -t tmpfs -o "$0" tmpfs "$1" && shift && exec "$@""#;
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, SMALL]).arg(folder.path()).args(then).env(MOUNTED, folder.path());
        command.output()
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

async fn fill_and_recover(mounted: &Path) {
    let data = mounted.join("data");
    let store = open(&data);
    let free_at_first = store.room().unwrap().bytes.unwrap();
    let mut answered = 0_u32;
    let failure = loop {
        match store.write(put(FAMILY, &answered.to_be_bytes(), &noise(answered, VALUE_BYTES)), Durability::Forced).await
        {
            Ok(()) => answered += 1,
            Err(error) => break error,
        }
        assert!(answered < 10_000, "the disk never fills");
    };
    assert!(matches!(failure, StoreError::DiskFull { .. }), "{failure}");
    assert!(answered > 10 && store.room().unwrap().bytes.unwrap() < free_at_first);
    assert!(store.ran_out_of_room(), "also whoever writes later can find out why");
    let later = store.write(put(FAMILY, b"later", b"value"), Durability::Forced).await;
    assert!(matches!(later, Err(StoreError::Stopped { .. })), "{later:?}");
    drop(store);

    let grown = Command::new("mount").args(["-o", &format!("remount,{LARGE}")]).arg(mounted).status().unwrap();
    assert!(grown.success());
    let store = open(&data);
    for key in 0..answered {
        assert_eq!(
            store.get(FAMILY, &key.to_be_bytes()).unwrap(),
            Some(noise(key, VALUE_BYTES).into()),
            "write {key} of {answered}"
        );
    }
    assert_eq!(store.get(FAMILY, b"later").unwrap(), None);
    force(&store, b"later", b"value").await;
}

/// Does not compress.
pub(super) fn noise(seed: u32, bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; bytes];
    undoubt_platform::random::Random::fill(&undoubt_platform::random::SeededRandom::new(u64::from(seed)), &mut bytes);
    bytes
}
