pub(crate) mod memory;
mod other_hands;
mod reactions;
mod sizes;
mod steps;
mod suite;
mod undo;
pub(crate) mod world;

use super::*;
use bytes::Bytes;
use futures::future::join_all;
use memory::MemoryStore;
use prost::Message as _;
use std::time::Duration;
use undoubt_participant::conformance::{conformance, numbered};
use undoubt_participant::resource::CoordinatorMarks;
use undoubt_proto::work::operation::Kind;
use undoubt_proto::work::{Add, Put};
use undoubt_rocks::{RocksOptions, RocksStore};
use undoubt_vocabulary::{Execution, LowWaterMark, Refusal, RefusalCode};
use world::{MemoryWorld, RocksWorld, add, get, put, put_of, value, work};

const OWNER: CoordinatorId = CoordinatorId([1; 16]);
const ANOTHER: CoordinatorId = CoordinatorId([2; 16]);

#[tokio::test]
async fn the_key_value_store_conforms_on_rocksdb() {
    let mut world = RocksWorld::new();
    conformance(&mut world).await;
    numbered(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn the_key_value_store_conforms_where_a_crash_forgets_what_was_not_forced() {
    conformance(&mut MemoryWorld::new(|kv| kv)).await;
}

fn participant() -> ParticipantName {
    "kv".parse().unwrap()
}

fn call(execution: Execution, id: &BranchId, work: Bytes) -> Prepare {
    Prepare {
        tx: id.tx.clone(),
        attempt_number: id.attempt_number,
        begun_at: Timestamp(id.attempt_number.0),
        timeout: Duration::from_secs(60),
        execution,
        work,
    }
}

struct Fixture {
    store: Arc<MemoryStore>,
    kv: Arc<KeyValue>,
}

impl Fixture {
    async fn new() -> Self {
        Self::over(Arc::default()).await
    }

    async fn over(store: Arc<MemoryStore>) -> Self {
        let kv = KeyValue::new(store.clone(), KeyValueOptions::default());
        kv.recover(&participant()).await.unwrap();
        Fixture { store, kv: Arc::new(kv) }
    }

    async fn vote(&self, branch: &BranchId, work: Bytes) -> Result<Vote, ResourceError> {
        self.execute(Execution::TwoPhase, branch, work).await
    }

    async fn execute(&self, execution: Execution, id: &BranchId, work: Bytes) -> Result<Vote, ResourceError> {
        let prepare = call(execution, id, work);
        self.kv.prepare(id.clone(), prepare, CancellationToken::new()).await
    }

    async fn refusal(&self, branch: &BranchId, work: Bytes) -> Refusal {
        match self.vote(branch, work).await.unwrap() {
            Vote::Refused(refusal) => refusal,
            other @ (Vote::Prepared { .. } | Vote::ReadOnly { .. } | Vote::Committed { .. }) => panic!("{other:?}"),
        }
    }

    async fn read(&self, key: &str) -> Option<String> {
        match self.execute(Execution::OnePhase, &branch(OWNER, 1_000_000), get(key)).await.unwrap() {
            Vote::ReadOnly { result } => value(&result),
            other @ (Vote::Prepared { .. } | Vote::Committed { .. } | Vote::Refused(_)) => panic!("{other:?}"),
        }
    }
}

fn branch(coordinator: CoordinatorId, attempt_number: u64) -> BranchId {
    BranchId {
        tx: TxId::new(format!("tx-{attempt_number}")).unwrap(),
        attempt_number: AttemptNumber(attempt_number),
        coordinator,
    }
}

fn prepared(vote: Result<Vote, ResourceError>) {
    assert!(matches!(vote, Ok(Vote::Prepared { .. })), "{vote:?}");
}

#[tokio::test]
async fn its_health_counts_what_is_locked_and_warns_before_its_room_is_used_up() {
    let fixture = Fixture::new().await;
    let number = |name: &str| {
        let numbers = fixture.kv.health().numbers;
        numbers.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    };
    assert_eq!((number("locked_keys"), number("free_bytes")), (Some(0), None), "nothing bounds its room");
    prepared(fixture.vote(&branch(OWNER, 1), put("k", "v")).await);
    assert_eq!((number("locked_keys"), number("transactions_waiting_for_locks")), (Some(1), Some(0)));
    fixture.kv.abort(branch(OWNER, 1)).await.unwrap();
    assert_eq!(number("locked_keys"), Some(0));

    let least = KeyValueOptions::default().min_free_bytes;
    for (free, warns, refuses) in [(2 * least, false, false), (2 * least - 1, true, false), (least - 1, false, true)] {
        fixture.store.has_free(free);
        let health = fixture.kv.health();
        assert_eq!((!health.warnings.is_empty(), health.refuses_work.is_some()), (warns, refuses), "{health:?}");
        assert_eq!(number("free_bytes"), Some(free));
    }
}

#[tokio::test]
async fn work_that_cannot_be_read_is_refused_before_anything_is_locked() {
    let fixture = Fixture::new().await;
    for unreadable in [&b"\xff\xff\xff"[..], b"\x0a\x03\x0a\x01k"] {
        let refusal = fixture.refusal(&branch(OWNER, 1), Bytes::copy_from_slice(unreadable)).await;
        assert_eq!(refusal.code, RefusalCode::InvalidWork, "{refusal}");
    }
    for (later, named) in [(&b"\x12\x00"[..], "has calls"), (b"\x0a\x07\x0a\x01k\x12\x00\x50\x01", "has a field 10")] {
        let refusal = fixture.refusal(&branch(OWNER, 1), Bytes::copy_from_slice(later)).await;
        assert_eq!(refusal.code, RefusalCode::InvalidWork, "{refusal}");
        assert!(refusal.detail.contains(named), "what is not known is not ignored: {refusal}");
    }
    let refusal = fixture.refusal(&branch(OWNER, 1), put(&"k".repeat(1_025), "v")).await;
    assert_eq!(refusal.code, RefusalCode::TooLarge, "{refusal}");
    assert!(fixture.kv.locks.is_idle());
}

#[tokio::test]
async fn without_room_writing_is_refused_while_reading_and_committing_go_on() {
    let fixture = Fixture::new().await;
    prepared(fixture.vote(&branch(OWNER, 1), put("k", "v")).await);
    fixture.store.has_free((64 << 20) - 1);
    let refusal = fixture.refusal(&branch(OWNER, 2), put("another", "v")).await;
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    assert!(refusal.detail.contains("min_free_bytes"), "{refusal}");
    fixture.kv.commit(branch(OWNER, 1)).await.unwrap();
    assert_eq!(fixture.read("k").await.as_deref(), Some("v"));
    fixture.store.has_free(64 << 20);
    prepared(fixture.vote(&branch(OWNER, 2), put("another", "v")).await);
}

fn queue_full() -> Option<StoreError> {
    Some(StoreError::Unavailable { cause: "one write waits already".into() })
}

#[tokio::test]
async fn a_vote_that_could_not_be_queued_is_a_refusal_that_leaves_nothing_behind() {
    let fixture = Fixture::new().await;
    fixture.store.fails_writes(queue_full());
    assert_eq!(fixture.refusal(&branch(OWNER, 1), put("k", "v")).await.code, RefusalCode::Unavailable);
    assert!(fixture.kv.locks.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_could_not_be_queued_keeps_its_locks_and_can_be_tried_again() {
    let fixture = Fixture::new().await;
    prepared(fixture.vote(&branch(OWNER, 1), put("k", "v")).await);
    fixture.store.fails_writes(queue_full());
    let commit = fixture.kv.commit(branch(OWNER, 1)).await;
    assert!(matches!(commit, Err(ResourceError::Unavailable { .. })), "{commit:?}");
    // It is leaving, so others may wait for it, but not for ever.
    assert_eq!(fixture.refusal(&branch(OWNER, 2), get("k")).await.code, RefusalCode::LockTimeout);
    fixture.store.fails_writes(None);
    fixture.kv.commit(branch(OWNER, 1)).await.unwrap();
    assert_eq!(fixture.read("k").await.as_deref(), Some("v"));
    assert!(fixture.kv.locks.is_idle());
}

#[tokio::test]
async fn storage_that_fails_gives_no_vote_and_frees_no_lock() {
    let fixture = Fixture::new().await;
    fixture.store.fails_writes(Some(StoreError::Io { detail: "the device is gone".into() }));
    let vote = fixture.vote(&branch(OWNER, 1), put("k", "v")).await;
    assert!(matches!(vote, Err(ResourceError::Stopped { .. })), "{vote:?}");
    assert_eq!(fixture.refusal(&branch(OWNER, 2), get("k")).await.code, RefusalCode::LockConflict);
}

#[tokio::test]
async fn an_id_that_another_coordinator_uses_is_refused_and_the_first_branch_stays() {
    let fixture = Fixture::new().await;
    prepared(fixture.vote(&branch(OWNER, 1), put("k", "first")).await);
    let refusal = fixture.refusal(&branch(ANOTHER, 1), put("another", "second")).await;
    assert_eq!(refusal.code, RefusalCode::LockConflict);
    fixture.kv.abort(branch(ANOTHER, 1)).await.unwrap();
    fixture.kv.commit(branch(ANOTHER, 1)).await.unwrap();
    assert_eq!(fixture.refusal(&branch(OWNER, 2), get("k")).await.code, RefusalCode::LockConflict);
    fixture.kv.commit(branch(OWNER, 1)).await.unwrap();
    assert_eq!(fixture.read("k").await.as_deref(), Some("first"));
}

#[tokio::test]
async fn a_late_abort_of_an_earlier_attempt_leaves_the_next_one_alone() {
    let fixture = Fixture::new().await;
    let (first, second) = (branch(OWNER, 1), BranchId { attempt_number: AttemptNumber(2), ..branch(OWNER, 1) });
    prepared(fixture.vote(&second, put("k", "v")).await);
    fixture.kv.abort(first).await.unwrap();
    fixture.kv.commit(second).await.unwrap();
    assert_eq!(fixture.read("k").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn a_prepared_branch_is_not_released_without_a_decision() {
    let fixture = Fixture::new().await;
    prepared(fixture.vote(&branch(OWNER, 1), put("k", "v")).await);
    assert!(!fixture.kv.confirm(branch(OWNER, 1)).await.unwrap());
    assert_eq!(fixture.refusal(&branch(OWNER, 2), get("k")).await.code, RefusalCode::LockConflict);
}

#[tokio::test]
async fn what_was_read_stays_locked_across_a_crash_together_with_what_was_written() {
    let fixture = Fixture::new().await;
    let read_and_write = work([("rate", Kind::Get(undoubt_proto::work::Get {})), ("price", put_of("7"))]);
    prepared(fixture.vote(&branch(OWNER, 1), read_and_write).await);
    let fixture = Fixture::over(Arc::new(fixture.store.crashed())).await;
    assert_eq!(fixture.refusal(&branch(OWNER, 2), put("rate", "2")).await.code, RefusalCode::LockConflict);
    let read = fixture.vote(&branch(OWNER, 3), get("rate")).await;
    assert!(matches!(read, Ok(Vote::ReadOnly { .. })), "what was only read may still be read: {read:?}");
}

#[tokio::test]
async fn a_branch_takes_one_forced_write_to_prepare_and_one_to_commit_and_an_abort_takes_none() {
    let fixture = Fixture::new().await;
    let before = fixture.store.forced_writes();
    prepared(fixture.vote(&branch(OWNER, 1), put("k", "v")).await);
    fixture.kv.commit(branch(OWNER, 1)).await.unwrap();
    assert_eq!(fixture.store.forced_writes() - before, 2);
    fixture.execute(Execution::OnePhase, &branch(OWNER, 2), put("k", "v")).await.unwrap();
    assert_eq!(fixture.store.forced_writes() - before, 3);
    prepared(fixture.vote(&branch(OWNER, 3), put("k", "v")).await);
    fixture.kv.abort(branch(OWNER, 3)).await.unwrap();
    fixture.vote(&branch(OWNER, 4), get("k")).await.unwrap();
    assert!(fixture.kv.confirm(branch(OWNER, 4)).await.unwrap());
    assert_eq!(fixture.store.forced_writes() - before, 4);
}

#[tokio::test]
async fn branches_that_come_together_and_cannot_be_written_are_refused_and_hold_nothing() {
    let fixture = Fixture::new().await;
    fixture.store.fails_writes(queue_full());
    let calls = [1, 2].map(|attempt_number| {
        let id = branch(OWNER, attempt_number);
        let prepare = call(Execution::TwoPhase, &id, put(&format!("k{attempt_number}"), "v"));
        (id, prepare)
    });
    let preparing = fixture.kv.prepare_all(calls.into(), &mut Cancellations::default());
    let votes: Vec<_> = join_all(preparing).await.into_iter().flat_map(|voted| voted.unwrap().votes).collect();
    assert_eq!(votes.len(), 2);
    for (id, vote) in votes {
        assert!(matches!(&vote, Vote::Refused(refusal) if refusal.code == RefusalCode::Unavailable), "{id:?} {vote:?}");
    }
    fixture.store.fails_writes(None);
    assert!(fixture.kv.locks.is_idle());
}

#[tokio::test]
async fn commits_that_come_together_and_cannot_be_written_are_done_one_by_one_later() {
    let fixture = Fixture::new().await;
    let branches = [1, 2].map(|attempt_number| branch(OWNER, attempt_number));
    for id in &branches {
        prepared(fixture.vote(id, put(&format!("k{}", id.attempt_number.0), "v")).await);
    }
    fixture.store.fails_writes(queue_full());
    let mut committing = fixture.kv.commit_all(branches.to_vec());
    let (together, committed) = committing.pop().unwrap();
    assert_eq!((together, committing.len()), (branches.to_vec(), 0));
    assert!(matches!(committed.await, Err(ResourceError::Unavailable { .. })));
    fixture.store.fails_writes(None);
    for id in branches {
        fixture.kv.commit(id.clone()).await.unwrap();
        assert_eq!(fixture.read(&format!("k{}", id.attempt_number.0)).await.as_deref(), Some("v"));
    }
}

#[tokio::test]
async fn large_work_is_committed_from_its_record_also_after_a_crash() {
    let value = "y".repeat(65_000);
    let mut fixture = Fixture::new().await;
    for attempt_number in [2, 3] {
        prepared(fixture.vote(&branch(OWNER, attempt_number), put(&format!("k{attempt_number}"), &value)).await);
    }
    fixture.kv.commit(branch(OWNER, 2)).await.unwrap();
    fixture = Fixture::over(Arc::new(fixture.store.crashed())).await;
    fixture.kv.commit(branch(OWNER, 3)).await.unwrap();
    for key in ["k2", "k3"] {
        assert_eq!(fixture.read(key).await.as_ref(), Some(&value));
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_recovery_and_is_named() {
    for (family, key, value) in [
        (schema::BRANCH, &b"tx-1"[..], &b"\xff"[..]),
        (schema::BRANCH, b"tx-1", b""),
        (schema::FINISHED, b"short", b""),
        (schema::STEP, b"short", b""),
        (schema::STEP, b"coordinator-id-1number-1\0\0tx", b""),
        (schema::PENDING, b"key", b""),
        (schema::HEURISTIC, b"tx-1", b""),
        (schema::COORDINATOR, b"epoch/too short", b"\0\0\0\x01"),
    ] {
        let store = MemoryStore::default();
        let mut batch = Batch::default();
        batch.put(family, key, value);
        store.write(batch, Durability::Forced).await.unwrap();
        let error =
            KeyValue::new(Arc::new(store), KeyValueOptions::default()).recover(&participant()).await.unwrap_err();
        assert!(matches!(error, ResourceError::Stopped { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("in the family '{}' cannot be read", family.0)), "{error}");
    }
}

#[tokio::test]
async fn a_folder_from_before_there_were_sagas_is_opened_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let before = FAMILIES.into_iter().filter(|family| ![schema::STEP, schema::PENDING].contains(family));
    let before: Vec<_> = before.collect();
    let open = |families: &[_]| {
        let store = RocksStore::open(folder.path(), families, RocksOptions::default()).unwrap();
        KeyValue::new(Arc::new(store), KeyValueOptions { min_free_bytes: 0 })
    };
    open(&before).record_epoch(OWNER, Epoch(7), None).await.unwrap();
    let recovered = open(&FAMILIES).recover(&participant()).await.unwrap();
    assert_eq!(
        recovered.coordinators,
        [CoordinatorMarks { id: OWNER, epoch: Epoch(7), low_water_mark: LowWaterMark::default(), pin: None }]
    );
}

#[tokio::test]
async fn more_records_than_one_page_are_all_recovered() {
    const BRANCHES: u64 = 2_500;
    let fixture = Fixture::new().await;
    for attempt_number in 0..BRANCHES {
        fixture.execute(Execution::OnePhase, &branch(OWNER, attempt_number), put("k", "v")).await.unwrap();
    }
    let recovered = KeyValue::new(fixture.store, KeyValueOptions::default()).recover(&participant()).await.unwrap();
    assert_eq!(recovered.finished.len() as u64, BRANCHES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transfers_at_the_same_time_neither_make_nor_lose_money_and_leave_no_lock() {
    const ACCOUNTS: u64 = 5;
    const TRANSFERS: u64 = 400;
    let fixture = Arc::new(Fixture::new().await);
    let names = ["a", "b", "c", "d", "e"];
    for (attempt_number, name) in (TRANSFERS..).zip(names) {
        fixture.execute(Execution::OnePhase, &branch(OWNER, attempt_number), add(name, 100, None)).await.unwrap();
    }
    let transfer = |attempt_number: u64| {
        let fixture = fixture.clone();
        tokio::spawn(async move {
            let from = names[(attempt_number % ACCOUNTS) as usize];
            let to = names[((attempt_number + 1 + attempt_number / ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS) as usize];
            let delta = |delta| Kind::Add(Add { delta, floor: Some(0), ceiling: None });
            let amount = (attempt_number % 30) as i64;
            // Those that come later are often older, so they wait; and some are undone after their vote.
            let id = branch(OWNER, TRANSFERS - 1 - attempt_number);
            match fixture.vote(&id, work([(from, delta(-amount)), (to, delta(amount))])).await.unwrap() {
                Vote::Prepared { .. } if attempt_number.is_multiple_of(7) => drop(fixture.kv.abort(id).await.unwrap()),
                Vote::Prepared { .. } => drop(fixture.kv.commit(id).await.unwrap()),
                Vote::Refused(_) => {}
                other @ (Vote::ReadOnly { .. } | Vote::Committed { .. }) => panic!("{other:?}"),
            }
        })
    };
    for ended in join_all((0..TRANSFERS).map(transfer)).await {
        ended.unwrap();
    }
    assert!(fixture.kv.locks.is_idle());
    let mut sum = 0;
    for name in names {
        sum += fixture.read(name).await.unwrap().parse::<i64>().unwrap();
    }
    assert_eq!(sum, 500);
}

#[tokio::test]
async fn a_branch_on_its_way_takes_little_room() {
    let fixture = Fixture::new().await;
    let prepare = Prepare {
        tx: "t".parse().unwrap(),
        attempt_number: AttemptNumber(1),
        begun_at: Timestamp(1),
        timeout: Duration::from_secs(60),
        execution: Execution::TwoPhase,
        work: Bytes::new(),
    };
    let id = branch(OWNER, 1);
    let preparing = fixture.kv.prepare(id.clone(), prepare, CancellationToken::new());
    let committing = fixture.kv.commit(id);
    let sizes = (size_of_val(&preparing), size_of_val(&committing));
    assert!(sizes.0 <= 1_280 && sizes.1 <= 512, "{sizes:?}");
}

/// Earlier versions had one message for both parts, whose fields come in another order.
#[test]
fn a_prepared_branch_of_an_earlier_version_is_read_in_both_its_parts() {
    use undoubt_proto::record::{KeyValueBranch, PreparedBranch, Write};
    let header = PreparedBranch {
        attempt_number: 7,
        coordinator_id: Bytes::from_static(b"c"),
        begun_at_us: 9,
        ..Default::default()
    };
    let own = KeyValueBranch {
        read_keys: vec![Bytes::from_static(b"rate")],
        writes: vec![Write { key: Bytes::from_static(b"k"), value: Some(Bytes::from_static(b"v")) }],
        events: Vec::new(),
    };
    let result = PreparedBranch { result: Bytes::from_static(b"result"), ..Default::default() };
    let stored = [header.encode_to_vec(), own.encode_to_vec(), result.encode_to_vec()].concat();
    assert_eq!(PreparedBranch::decode(&stored[..]).unwrap(), PreparedBranch { result: result.result, ..header });
    assert_eq!(KeyValueBranch::decode(&stored[..]).unwrap(), own);
}
