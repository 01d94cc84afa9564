//! A store as an ordered map that batches change.

use super::{LEFT, RIGHT, put, read, scan_keys, write};
use crate::store::{Batch, Direction, Durability, Store};

const BIG_VALUE_BYTES: usize = 1024 * 1024;

pub(super) async fn a_written_value_is_read_and_a_deleted_one_is_not(store: &impl Store) {
    for durability in [Durability::Forced, Durability::Lazy] {
        assert_eq!(read(store, LEFT, b"key"), None, "a key never written, or deleted, has no value");
        write(store, put(LEFT, "key", "old"), durability).await;
        write(store, put(LEFT, "key", "new"), durability).await;
        assert_eq!(read(store, LEFT, b"key"), Some("new".into()), "the last value written is read ({durability:?})");
        let mut batch = Batch::default();
        batch.delete(LEFT, "key");
        batch.delete(LEFT, "never written");
        write(store, batch, durability).await;
    }
    assert_eq!(read(store, LEFT, b"key"), None, "a deleted key has no value");
}

pub(super) async fn families_do_not_share_keys(store: &impl Store) {
    let mut batch = put(LEFT, "key", "left");
    batch.append(put(RIGHT, "key", "right"));
    write(store, batch, Durability::Forced).await;
    assert_eq!(read(store, LEFT, b"key"), Some("left".into()), "one batch reaches the first of two families");
    assert_eq!(read(store, RIGHT, b"key"), Some("right".into()), "one batch reaches the second of two families");
    let mut batch = Batch::default();
    batch.delete(LEFT, "key");
    write(store, batch, Durability::Forced).await;
    assert_eq!(read(store, RIGHT, b"key"), Some("right".into()), "a delete stays in its family");
}

pub(super) async fn batches_apply_in_call_order_whether_or_not_they_are_awaited(store: &impl Store) {
    const WRITES: u32 = 200;
    for number in 0..WRITES {
        let durability = if number % 3 == 0 { Durability::Forced } else { Durability::Lazy };
        let mut batch = put(LEFT, "last", number.to_be_bytes());
        batch.put(RIGHT, number.to_be_bytes(), "written");
        drop(store.write(batch, durability));
    }
    write(store, put(LEFT, "end", "reached"), Durability::Lazy).await;
    let last = (WRITES - 1).to_be_bytes().to_vec();
    assert_eq!(read(store, LEFT, b"last"), Some(last.into()), "of several writes, the one called last holds");
    let written = store.scan(RIGHT, &[], None, Direction::Forward, usize::MAX).expect("scan");
    assert_eq!(written.len(), WRITES as usize, "a write holds though its answer was dropped");
}

pub(super) async fn operations_of_a_batch_apply_in_their_order(store: &impl Store) {
    let mut batch = put(LEFT, "a", "put, then deleted");
    batch.delete(LEFT, "a");
    batch.delete(LEFT, "b");
    batch.put(LEFT, "b", "deleted, then put");
    batch.put(LEFT, "c", "put, then its range deleted");
    batch.delete_range(LEFT, "c", "e");
    batch.put(LEFT, "d", "its range deleted, then put");
    write(store, batch, Durability::Forced).await;
    assert_eq!(scan_keys(store, Direction::Forward, b"", None, 9), ["b", "d"], "a batch applies in its own order");
}

pub(super) async fn an_empty_batch_is_answered(store: &impl Store) {
    write(store, Batch::default(), Durability::Lazy).await;
    write(store, Batch::default(), Durability::Forced).await;
    assert_eq!(read(store, LEFT, b""), None, "an empty batch writes nothing");
}

pub(super) async fn any_bytes_make_a_key_and_a_value(store: &impl Store) {
    let big = vec![0xab; BIG_VALUE_BYTES];
    let pairs: [(&[u8], &[u8]); 6] = [
        (b"", b"empty key"),
        (b"\0", b""),
        (b"\0\0", b"\0"),
        (b"\x7f", b"\xff\xfe"),
        (b"\xff", &big),
        (b"\xff\xff", b"last"),
    ];
    let mut batch = Batch::default();
    for (key, value) in pairs {
        batch.put(LEFT, key, value);
    }
    write(store, batch, Durability::Forced).await;
    for (key, value) in pairs {
        let found = read(store, LEFT, key);
        assert!(found.as_deref() == Some(value), "the value of {key:?} comes back byte for byte");
    }
    let scanned = store.scan(LEFT, &[], None, Direction::Forward, usize::MAX).expect("scan");
    let keys: Vec<&[u8]> = scanned.iter().map(|(key, _)| key.as_ref()).collect();
    assert_eq!(keys, pairs.map(|(key, _)| key), "keys are ordered as unsigned bytes");
}

pub(super) async fn scans_keep_bounds_direction_and_limit(store: &impl Store) {
    use Direction::{Backward, Forward};
    let mut batch = Batch::default();
    for key in ["a", "b", "ba", "c", "d"] {
        batch.put(LEFT, key, key);
    }
    batch.put(RIGHT, "bb", "of another family");
    write(store, batch, Durability::Forced).await;

    let keys = |direction, from: &str, to: Option<&str>, limit| {
        scan_keys(store, direction, from.as_bytes(), to.map(str::as_bytes), limit)
    };
    assert_eq!(keys(Forward, "", None, 9), ["a", "b", "ba", "c", "d"], "without bounds, all");
    assert_eq!(keys(Backward, "", None, 9), ["d", "c", "ba", "b", "a"], "backward is the reverse");
    assert_eq!(keys(Forward, "b", Some("c"), 9), ["b", "ba"], "from is within, to is not");
    assert_eq!(keys(Backward, "b", Some("c"), 9), ["ba", "b"], "from is within, to is not, backward too");
    assert_eq!(keys(Forward, "aa", Some("bz"), 9), ["b", "ba"], "bounds need not be keys");
    assert_eq!(keys(Forward, "", None, 2), ["a", "b"], "a limit keeps the first");
    assert_eq!(keys(Backward, "", None, 2), ["d", "c"], "a limit keeps the first in the scan's direction");
    assert!(keys(Forward, "", None, 0).is_empty(), "a limit of none gives none");
    assert!(keys(Forward, "c", Some("c"), 9).is_empty(), "equal bounds hold nothing");
    assert!(keys(Backward, "d", Some("a"), 9).is_empty(), "crossed bounds hold nothing");
    assert!(keys(Forward, "e", None, 9).is_empty(), "beyond the last key is nothing");
}

pub(super) async fn a_deleted_range_ends_before_its_upper_bound(store: &impl Store) {
    let mut batch = Batch::default();
    for key in ["a", "b", "c", "d"] {
        batch.put(LEFT, key, key);
        batch.put(RIGHT, key, key);
    }
    write(store, batch, Durability::Forced).await;
    let mut batch = Batch::default();
    batch.delete_range(LEFT, "b", "d");
    batch.delete_range(LEFT, "a", "a");
    batch.delete_range(LEFT, "z", "a");
    write(store, batch, Durability::Forced).await;
    assert_eq!(scan_keys(store, Direction::Forward, b"", None, 9), ["a", "d"], "a range is gone, its bound is not");
    assert_eq!(read(store, LEFT, b"c"), None, "a key of a deleted range has no value");
    assert_eq!(read(store, RIGHT, b"c"), Some("c".into()), "a deleted range stays in its family");
    write(store, put(LEFT, "c", "again"), Durability::Forced).await;
    assert_eq!(read(store, LEFT, b"c"), Some("again".into()), "a deleted range can be written again");
}

pub(super) fn free_space_is_told_or_unbounded(store: &impl Store) {
    let room = store.room().expect("room");
    assert!(room.bytes.is_none_or(|bytes| bytes > 0), "a store that takes writes has room");
}
