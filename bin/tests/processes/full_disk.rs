//! A device that fills up, for real: a small file system for the data of one process.
//!
//! Needs to mount, so it needs to be root. Where it may not, it says so and tests nothing.

use crate::support::api::{branch, commit, describe, get, no_wait, request, submit, value, within_ms};
use crate::support::cli::undoubt;
use crate::support::{banks, start, until};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use tonic::Code;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;
use undoubt_vocabulary::TransactionPhase;
use undoubt_vocabulary::{AbortReason, RefusalCode};

const MIB: u64 = 1 << 20;
const BANK_A: Who = Who::Participant(0);
const BANK_B: Who = Who::Participant(1);
const MIN_FREE: &str = "min_free_bytes=33554432";

/// Transactions whose records together are more than what RocksDB has set aside on the device.
const LARGE: usize = 24;

struct Device(TempDir);

impl Device {
    /// A file system of 256 MiB, or `None` (and why on standard error) where it cannot be mounted.
    fn mount() -> Option<Device> {
        Device::mount_with("size=256m")
    }

    fn mount_with(options: &str) -> Option<Device> {
        let folder = TempDir::new().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Device(folder)),
            other => {
                eprintln!(
                    "SKIPPED: no small file system can be mounted here, so a full device is not tested: {other:?}"
                );
                None
            }
        }
    }

    fn data_of(&self, name: &str) -> BTreeMap<String, PathBuf> {
        [(name.to_owned(), self.0.path().join("data"))].into()
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    fn free_bytes(&self) -> u64 {
        let found = statvfs(self.0.path()).unwrap();
        found.f_bavail * found.f_frsize
    }

    fn fill_up_to(&self, left: u64) {
        let file = File::options().create(true).append(true).open(self.filler()).unwrap();
        let more = self.free_bytes() - left;
        fallocate(&file, FallocateFlags::empty(), file.metadata().unwrap().len(), more).unwrap();
    }

    /// Until not one byte more can be written.
    fn fill(&self) {
        self.fill_up_to(MIB);
        let mut file = File::options().append(true).open(self.filler()).unwrap();
        while file.write_all(&[7; 512]).is_ok() {}
        while file.write_all(&[7]).is_ok() {}
    }

    /// Until no more than so many files can be made.
    fn fill_files_up_to(&self, left: u64) {
        let folder = self.0.path().join("files");
        std::fs::create_dir_all(&folder).unwrap();
        let mut number = 0;
        while statvfs(self.0.path()).unwrap().f_favail > left {
            number += 1;
            File::create(folder.join(number.to_string())).unwrap();
        }
    }

    fn make_room(&self) {
        // One of them was filled up.
        let _ = std::fs::remove_file(self.filler());
        let _ = std::fs::remove_dir_all(self.0.path().join("files"));
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Lazily, because a process may hold it for a moment longer.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

async fn start_on(device: &Device, name: &str) -> Cluster {
    let settings = vec![MIN_FREE.to_owned()];
    let data_dirs = device.data_of(name);
    start(Plan { coordinator_settings: settings.clone(), participant_settings: settings, data_dirs, ..banks() }).await
}

fn put_both(tx: &str) -> v1::SubmitRequest {
    let put = |participant: &str| branch(participant, KvWork::new().put(format!("key of {tx}"), "v"));
    within_ms(300_000, request(tx, [put("bank-a"), put("bank-b")]))
}

async fn connected(cluster: &Cluster) {
    let all = async || describe(cluster).await.participants.iter().all(|p| p.connected).then_some(());
    until("all are connected", all).await;
}

async fn has_ended(cluster: &Cluster, tx: &str) {
    until("it has ended", async || {
        (get(cluster, tx).await.ok()?.phase == TransactionPhase::Ended.number()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_participant_short_of_room_refuses_what_writes_and_finishes_what_is_open() {
    let Some(device) = Device::mount() else { return };
    let mut cluster = start_on(&device, "bank-b").await;
    commit(&cluster, put_both("before")).await;
    cluster.kill(BANK_A).await.unwrap();
    submit(&cluster, no_wait(put_both("open"))).await.unwrap();
    let bank_b = cluster.url(BANK_B).unwrap();
    let doubt = async || undoubt(&cluster, &["branches", &bank_b]).await.out.contains("prepared").then_some(());
    until("bank-b has voted", doubt).await;
    device.fill_up_to(16 * MIB);

    let alone = request("alone", [branch("bank-b", KvWork::new().put("k", "v"))]);
    let AbortReason::Refused { by, refusal } =
        crate::support::api::abort_reason(submit(&cluster, alone).await.unwrap())
    else {
        panic!("not refused")
    };
    assert_eq!((by.as_str(), refusal.code), ("bank-b", RefusalCode::Unavailable));
    assert!(refusal.detail.contains("min_free_bytes") && refusal.detail.contains("free some space"), "{refusal}");
    assert_eq!(value(&cluster, "bank-b", "key of before").await.as_deref(), Some("v"));
    undoubt(&cluster, &["participant", &bank_b]).await.expect(0, &["no: ", "min_free_bytes"]);

    cluster.restart(BANK_A, None).await.unwrap();
    has_ended(&cluster, "open").await;
    assert_eq!(value(&cluster, "bank-b", "key of open").await.as_deref(), Some("v"));
    device.make_room();
    commit(&cluster, put_both("after")).await;
}

#[tokio::test]
async fn a_participant_whose_device_is_full_waits_for_room_and_recovers_with_all_it_voted_for() {
    let Some(device) = Device::mount() else { return };
    votes_fills_and_recovers(&device, Device::fill).await;
}

#[tokio::test]
async fn a_participant_that_can_make_no_more_files_waits_for_room_just_so() {
    let Some(device) = Device::mount_with("size=256m,nr_inodes=120") else { return };
    votes_fills_and_recovers(&device, |device| device.fill_files_up_to(0)).await;
}

async fn votes_fills_and_recovers(device: &Device, fill: impl Fn(&Device)) {
    let mut cluster = start_on(device, "bank-b").await;
    cluster.kill(BANK_A).await.unwrap();
    let large = |n: usize| {
        let puts = (0..15).fold(KvWork::new(), |work, at| work.put(format!("{n} {at}"), vec![b'v'; 65_536]));
        let small = branch("bank-a", KvWork::new().put(format!("{n}"), "v"));
        within_ms(300_000, request(&format!("t-{n}"), [small, branch("bank-b", puts)]))
    };
    for n in 0..LARGE {
        submit(&cluster, no_wait(large(n))).await.unwrap();
    }
    let bank_b = cluster.url(BANK_B).unwrap();
    let participant =
        undoubt_client::ParticipantClient::connect_lazy(&bank_b, undoubt_client::ClientOptions::default()).unwrap();
    let voted = async || (participant.describe().await.unwrap().branches_in_doubt == LARGE as u64).then_some(());
    until("bank-b has voted for all", voted).await;
    fill(device);
    cluster.restart(BANK_A, None).await.unwrap();
    let waits = async || cluster.log_tail(BANK_B, 50).contains("waiting for it").then_some(());
    until("bank-b has hit the end of its device", waits).await;
    assert!(!cluster.has_ended(BANK_B).unwrap());
    for n in 0..LARGE {
        // Decided, and told: whatever bank-b does now.
        assert_eq!(submit(&cluster, large(n)).await.unwrap().state(), v1::State::Committed);
    }
    assert!(!cluster.log_tail(BANK_B, 50).contains("there is room again"), "{}", cluster.log_tail(BANK_B, 50));
    device.make_room();
    for n in 0..LARGE {
        has_ended(&cluster, &format!("t-{n}")).await;
        assert_eq!(value(&cluster, "bank-b", &format!("{n} 14")).await.map(|value| value.len()), Some(65_536));
    }
    assert!(!cluster.has_ended(BANK_B).unwrap());
    commit(&cluster, put_both("after")).await;
}

#[tokio::test]
async fn a_coordinator_short_of_room_takes_nothing_new_and_finishes_what_is_open() {
    let Some(device) = Device::mount() else { return };
    let mut cluster = start_on(&device, "coordinator").await;
    commit(&cluster, put_both("before")).await;
    cluster.kill(BANK_B).await.unwrap();
    submit(&cluster, no_wait(put_both("open"))).await.unwrap();
    device.fill_up_to(16 * MIB);
    until("it refuses work", async || (!describe(&cluster).await.refusing_work_because.is_empty()).then_some(())).await;
    let status = submit(&cluster, put_both("new")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("min_free_bytes") && status.message().contains("free some"), "{status:?}");
    assert!(status.metadata().contains_key("retry-after-ms"));
    undoubt(&cluster, &["describe"]).await.expect(0, &["no: ", "min_free_bytes"]);
    // What is known is answered, and what is open goes on.
    assert_eq!(submit(&cluster, put_both("before")).await.unwrap().state(), v1::State::Committed);
    cluster.restart(BANK_B, None).await.unwrap();
    assert_eq!(submit(&cluster, put_both("open")).await.unwrap().state(), v1::State::Committed);
    has_ended(&cluster, "open").await;
    device.make_room();
    until("it takes work", async || submit(&cluster, put_both("new")).await.ok()).await;
}

#[tokio::test]
async fn a_coordinator_whose_device_is_full_waits_for_room_and_forgets_nothing_it_answered() {
    let Some(device) = Device::mount() else { return };
    let mut cluster = start_on(&device, "coordinator").await;
    commit(&cluster, put_both("before")).await;
    let big = (0..15).fold(KvWork::new(), |work, at| work.put(format!("big {at}"), vec![b'v'; 65_536]));
    commit(&cluster, request("big", [branch("bank-a", big)])).await;
    cluster.kill(BANK_B).await.unwrap();
    // What is read is part of the record of a decision.
    let large = |n: usize| {
        let reads = (0..15).fold(KvWork::new(), |work, at| work.get(format!("big {at}")));
        let small = branch("bank-b", KvWork::new().add(format!("{n}"), 1));
        within_ms(300_000, request(&format!("t-{n}"), [small, branch("bank-a", reads)]))
    };
    for n in 0..LARGE {
        submit(&cluster, no_wait(large(n))).await.unwrap();
    }
    device.fill();
    cluster.restart(BANK_B, None).await.unwrap();
    let waits = async || cluster.log_tail(Who::Coordinator, 50).contains("waiting for it").then_some(());
    until("the coordinator has hit the end of its device", waits).await;
    assert!(!cluster.has_ended(Who::Coordinator).unwrap());
    device.make_room();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    connected(&cluster).await;
    assert_eq!(submit(&cluster, put_both("before")).await.unwrap().state(), v1::State::Committed);
    for n in 0..LARGE {
        // Undecided ones are presumed aborted and are done now; in either case once.
        let first = until("it is decided", async || submit(&cluster, large(n)).await.ok()).await;
        assert_eq!(first, submit(&cluster, large(n)).await.unwrap());
        let counted = value(&cluster, "bank-b", &format!("{n}")).await;
        let expected = (first.state() == v1::State::Committed).then_some("1");
        assert_eq!(counted.as_deref(), expected, "t-{n}: {:?}", first.state());
    }
    assert!(!cluster.has_ended(Who::Coordinator).unwrap());
}

#[tokio::test]
async fn servers_that_are_short_of_files_say_so_and_take_no_new_work() {
    for name in ["coordinator", "bank-b"] {
        let Some(device) = Device::mount_with("size=256m,nr_inodes=100") else { return };
        let cluster = start_on(&device, name).await;
        commit(&cluster, put_both("before")).await;
        device.fill_files_up_to(20);
        let mut n = 0;
        let refused = async || {
            n += 1;
            let told = match submit(&cluster, put_both(&format!("new-{n}"))).await {
                Err(status) => status.message().to_owned(),
                Ok(outcome) if outcome.state() == v1::State::Aborted => {
                    crate::support::api::abort_reason(outcome).to_string()
                }
                Ok(_) => return None,
            };
            assert!(told.contains("20 files") && told.contains("inodes"), "{told}");
            Some(())
        };
        until("it refuses work", refused).await;
        device.make_room();
        until("it takes work", async || {
            n += 1;
            let outcome = submit(&cluster, put_both(&format!("after-{n}"))).await.ok()?;
            (outcome.state() == v1::State::Committed).then_some(())
        })
        .await;
    }
}

/// Values that do not compress.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    use undoubt_platform::Random as _;
    let mut noise = vec![0; bytes];
    undoubt_platform::SeededRandom::new(seed).fill(&mut noise);
    noise
}

/// Fills a device of 100 MiB with what this process keeps of the results of transactions, until it takes no more. Then
/// nothing is done, and it comes back by itself.
async fn fills_up_and_comes_back(name: &str, of_one_branch: bool) {
    let Some(device) = Device::mount_with("size=100m") else { return };
    let data_dirs = device.data_of(name);
    let settings = vec!["retention_s=3".to_owned()];
    let mut cluster = start(Plan { coordinator_settings: settings, data_dirs, ..banks() }).await;
    let big = (0..8).fold(KvWork::new(), |work, at| work.put(format!("big {at}"), noise(at, 65_536)));
    commit(&cluster, request("big", [branch("bank-b", big)])).await;
    if of_one_branch {
        // The records of bank-b for the coordinator are needed as long as something older is open between the two.
        cluster.kill(BANK_A).await.unwrap();
        submit(&cluster, no_wait(put_both("older"))).await.unwrap();
    }
    let reads = |n: u64| {
        let reads = (0..8).fold(KvWork::new(), |work, at| work.get(format!("big {at}"))).put("n", format!("{n}"));
        let other = (!of_one_branch).then(|| branch("bank-a", KvWork::new().put("n", "v")));
        within_ms(60_000, request(&format!("t-{n}"), std::iter::once(branch("bank-b", reads)).chain(other)))
    };
    let takes = async |cluster: &Cluster, n: u64| {
        let answer = submit(cluster, reads(n)).await;
        matches!(answer, Ok(outcome) if outcome.state() == v1::State::Committed)
    };
    let mut n = 0;
    until("it takes no more", async || {
        n += 1;
        (!takes(&cluster, n).await).then_some(())
    })
    .await;
    let refused = device.free_bytes();
    if of_one_branch {
        cluster.restart(BANK_A, None).await.unwrap();
    }
    // Nothing is asked of it meanwhile.
    until("room is given back", async || (device.free_bytes() > refused + 16 * MIB).then_some(())).await;
    until("it takes work again", async || {
        n += 1;
        takes(&cluster, n).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_coordinator_whose_device_is_full_of_what_has_expired_comes_back_by_itself() {
    fills_up_and_comes_back("coordinator", false).await;
}

#[tokio::test]
async fn a_participant_whose_device_is_full_of_what_it_remembers_for_others_comes_back_by_itself() {
    fills_up_and_comes_back("bank-b", true).await;
}
