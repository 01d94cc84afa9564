//! A store among its owners, crashes and refusals.

use super::{LEFT, MAX_BATCH_BYTES, RIGHT, Stores, open, put, read, scan_keys, write};
use crate::store::{Direction, Durability, Store, StoreError};

/// Batches of which the last forced one is awaited before a crash.
const WRITES: u32 = 60;
const FORCED_EVERY: u32 = 10;
/// Writes after the last that is forced.
const UNFORCED: u32 = 5;

pub(super) async fn what_was_forced_is_there_after_reopening<S: Stores>(stores: &mut S) {
    const STARTS: u8 = 3;
    for start in 0..STARTS {
        let store = open(stores, "reopen");
        for earlier in 0..start {
            assert_eq!(read(&store, LEFT, &[earlier]), Some("forced".into()), "forced in start {earlier}");
            assert_eq!(read(&store, RIGHT, &[earlier]), Some("lazy".into()), "lazy, before a forced one");
        }
        drop(store.write(put(RIGHT, vec![start], "lazy"), Durability::Lazy));
        write(&store, put(LEFT, vec![start], "forced"), Durability::Forced).await;
    }
}

pub(super) async fn a_crash_leaves_a_prefix_with_all_that_was_forced<S: Stores>(stores: &mut S) {
    for awaited in [FORCED_EVERY, WRITES / 2, WRITES] {
        let name = format!("crash-{awaited}");
        let store = open(stores, &name);
        let mut unanswered = Vec::new();
        for number in 1..=WRITES + UNFORCED {
            let durability =
                if number <= WRITES && number % FORCED_EVERY == 0 { Durability::Forced } else { Durability::Lazy };
            let mut batch = put(LEFT, number.to_be_bytes(), [7; 100]);
            batch.append(put(RIGHT, number.to_be_bytes(), "the other part"));
            let written = store.write(batch, durability);
            if number == awaited {
                written.await.expect("a write in good health succeeds");
            } else {
                unanswered.push(written);
            }
        }
        stores.crash(&name, store);
        let store = open(stores, &name);
        let keys = |family| {
            let pairs = store.scan(family, &[], None, Direction::Forward, usize::MAX).expect("scan");
            pairs.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        let found = keys(LEFT);
        assert_eq!(found, keys(RIGHT), "after a crash no batch is there in part");
        let count = u32::try_from(found.len()).expect("few");
        let prefix: Vec<_> = (1..=count).map(|number| number.to_be_bytes().to_vec()).collect();
        assert_eq!(found, prefix, "after a crash there is a prefix of what was written, without a hole");
        assert!(count >= awaited, "what was answered as forced survives a crash: {awaited} batches, not {count}");
        write(&store, put(LEFT, "after", "the crash"), Durability::Forced).await;
        assert_eq!(read(&store, LEFT, b"after"), Some("the crash".into()), "after a crash it is written on");
    }
}

pub(super) async fn whoever_had_it_before_writes_nothing_any_more<S: Stores>(stores: &mut S) {
    let former = open(stores, "owner");
    write(&former, put(LEFT, "before", "takeover"), Durability::Forced).await;
    let Some(owner) = stores.open("owner") else {
        write(&former, put(LEFT, "still", "mine"), Durability::Forced).await;
        drop(former);
        let owner = open(stores, "owner");
        assert_eq!(read(&owner, LEFT, b"still"), Some("mine".into()), "an owner that keeps its store can write");
        return;
    };
    for durability in [Durability::Forced, Durability::Lazy, Durability::Forced] {
        let late = former.write(put(LEFT, "late", "too late"), durability).await;
        assert!(matches!(late, Err(StoreError::Fenced(_))), "whoever had it before is fenced, not {late:?}");
    }
    let barrier = former.write(crate::store::Batch::default(), Durability::Forced).await;
    assert!(matches!(barrier, Err(StoreError::Fenced(_))), "an empty batch tells that it is fenced, not {barrier:?}");
    // Out of date or not, it does not make anybody wait.
    match former.get(LEFT, b"before") {
        Ok(found) => assert_eq!(found, Some("takeover".into()), "a fenced owner reads on"),
        Err(error) => assert!(matches!(error, StoreError::Fenced(_)), "a fenced owner that reads hears so: {error}"),
    }
    assert_eq!(read(&owner, LEFT, b"before"), Some("takeover".into()), "the new owner finds what was forced");
    write(&owner, put(LEFT, "new", "owner"), Durability::Forced).await;
    drop(former);
    drop(owner);
    let owner = open(stores, "owner");
    assert_eq!(
        scan_keys(&owner, Direction::Forward, b"", None, 9),
        ["before", "new"],
        "nothing of a fenced owner lands"
    );
}

pub(super) async fn what_cannot_be_written_now_leaves_nothing_and_can_be_repeated<S: Stores>(stores: &mut S) {
    let store = open(stores, "away");
    write(&store, put(LEFT, "before", "it went away"), Durability::Forced).await;
    if !stores.set_away("away", true) {
        return;
    }
    let batch = put(LEFT, "key", "value");
    for durability in [Durability::Forced, Durability::Lazy] {
        let refused = store.write(batch.clone(), durability).await;
        assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "it says not now, and not {refused:?}");
    }
    assert_eq!(read(&store, LEFT, b"before"), Some("it went away".into()), "reads are local, and wait for nothing");
    assert_eq!(
        scan_keys(&store, Direction::Forward, b"", None, 9),
        ["before"],
        "what was refused for now was not applied"
    );
    assert!(stores.set_away("away", false), "it comes back");
    assert_eq!(read(&store, LEFT, b"key"), None, "what was refused for now is not applied later either");
    write(&store, batch, Durability::Forced).await;
    stores.crash("away", store);
    let store = open(stores, "away");
    assert_eq!(read(&store, LEFT, b"key"), Some("value".into()), "what was refused for now can be written again");
}

pub(super) async fn a_batch_is_taken_up_to_the_size_that_is_told_and_no_larger<S: Stores>(stores: &mut S) {
    let store = open(stores, "size");
    let max = store.max_batch_bytes();
    assert!(max <= MAX_BATCH_BYTES, "a bound that a test can reach");
    let of_size = |key: &str, bytes: usize| put(LEFT, key, vec![1; bytes - key.len()]);
    write(&store, of_size("largest", max), Durability::Forced).await;
    let refused = store.write(of_size("beyond", max + 1), Durability::Forced).await;
    assert!(matches!(refused, Err(StoreError::BatchTooLarge { .. })), "a larger batch is refused, not {refused:?}");
    assert_eq!(
        scan_keys(&store, Direction::Forward, b"", None, 9),
        ["largest"],
        "nothing of a larger batch is applied"
    );
    write(&store, put(LEFT, "after", "it"), Durability::Forced).await;
    assert_eq!(store.max_batch_bytes(), max, "the bound stays as it is while the store is open");
}

#[cfg(test)]
mod tests;
