//! Each fault has the outcome its documentation names, and costs only what is booked.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_lying_sync_costs_acknowledged_writes_at_a_power_loss_and_they_are_booked() {
    let (disk, store) = new_disk();
    let events = recorded(&disk);
    forced(&store, "honest").await.unwrap();
    disk.lie_about_syncs(true);
    forced(&store, "lied about").await.unwrap();
    lazy(&store, "never promised");
    disk.lose_power(0.0);
    assert_eq!(keys(&open(&disk)), ["honest"]);
    assert_eq!(destroyed(&disk), ["lied about"]);
    assert!(events.lock().unwrap().contains(&DiskEvent::LiedAboutSync { frames: 2 }));
}

#[tokio::test(start_paused = true)]
async fn an_honest_sync_makes_up_for_the_lies_before_it() {
    let (disk, store) = new_disk();
    disk.lie_about_syncs(true);
    forced(&store, "lied about").await.unwrap();
    disk.lie_about_syncs(false);
    forced(&store, "honest").await.unwrap();
    disk.lose_power(0.0);
    assert_eq!(keys(&open(&disk)), ["honest", "lied about"]);
    assert!(destroyed(&disk).is_empty());
}

/// Who opened it has seen it, and may have acted on it.
#[tokio::test(start_paused = true)]
async fn what_an_opening_was_lied_to_about_is_booked_too() {
    let (disk, store) = new_disk();
    lazy(&store, "seen");
    disk.lie_about_syncs(true);
    assert_eq!(keys(&open(&disk)), ["seen"]);
    disk.lose_power(0.0);
    assert_eq!(destroyed(&disk), ["seen"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_stops_the_store_and_what_was_not_stable_is_gone_at_the_next_opening() {
    let (disk, store) = new_disk();
    forced(&store, "stable").await.unwrap();
    disk.fail_next_sync(true);
    let failed = forced(&store, "failed");
    tokio::time::sleep(SYNC / 2).await;
    let waiting = forced(&store, "waiting");
    assert!(matches!(failed.await, Err(StoreError::Io { .. })));
    assert!(matches!(waiting.await, Err(StoreError::Stopped { .. })), "asking again does not make it succeed");
    for durability in [Durability::Forced, Durability::Lazy] {
        assert!(matches!(store.write(put("later", ""), durability).await, Err(StoreError::Stopped { .. })));
    }
    assert_eq!(keys(&store), ["failed", "stable", "waiting"], "the page cache reads on");
    assert_eq!(keys(&open(&disk)), ["stable"]);
    forced(&open(&disk), "again").await.unwrap();
    assert!(destroyed(&disk).is_empty(), "nothing of it was acknowledged");
}

#[tokio::test(start_paused = true)]
async fn an_opening_whose_sync_fails_is_refused_once_and_finds_only_what_was_stable() {
    let (disk, store) = new_disk();
    forced(&store, "stable").await.unwrap();
    lazy(&store, "lazy");
    disk.fail_next_sync(true);
    assert!(matches!(disk.open(&FAMILIES, Process::default()), Err(StoreError::Io { .. })));
    assert_eq!(keys(&open(&disk)), ["stable"]);
}

#[tokio::test(start_paused = true)]
async fn a_power_loss_keeps_what_is_stable_and_a_share_of_the_rest_and_may_tear_a_frame() {
    let (mut kept, mut torn) = (Vec::new(), 0);
    for keep in [0.0, 0.2, 0.5, 0.8, 1.0] {
        let (disk, store) = new_disk();
        forced(&store, "stable").await.unwrap();
        (0..3).for_each(|number| lazy(&store, &number.to_string()));
        let unanswered = forced(&store, "3");
        let events = recorded(&disk);
        disk.lose_power(keep);
        assert!(matches!(unanswered.await, Err(StoreError::Io { .. })), "the machine was off");
        assert!(matches!(forced(&store, "late").await, Err(StoreError::Stopped { .. })));
        let event = events.lock().unwrap()[0].clone();
        torn += usize::from(matches!(event, DiskEvent::PowerLost { torn_bytes, .. } if torn_bytes > 0));
        let store = open(&disk);
        kept.push(keys(&store).len());
        forced(&store, "after").await.unwrap();
        assert_eq!(keys(&open(&disk)).len(), kept.last().unwrap() + 1, "a tail that was cut leaves no trace");
        assert!(destroyed(&disk).is_empty());
    }
    assert_eq!((kept, torn), (vec![1, 1, 3, 4, 5], 3));
}

#[tokio::test(start_paused = true)]
async fn a_rolled_back_log_opens_without_its_last_frames_and_they_are_booked() {
    let (disk, store) = new_disk();
    for key in ["a", "b", "c"] {
        forced(&store, key).await.unwrap();
    }
    lazy(&store, "d");
    let mut batch = Batch::default();
    batch.delete_range(DATA, "b", "d");
    store.write(batch, Durability::Forced).await.unwrap();
    disk.roll_back(2);
    assert!(matches!(forced(&store, "late").await, Err(StoreError::Stopped { .. })));
    assert_eq!(keys(&open(&disk)), ["a", "b", "c"]);
    assert_eq!(destroyed(&disk), ["b", "c", "d"], "the deleted are back, and that is booked too");
    disk.roll_back(9);
    assert!(keys(&open(&disk)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_is_refused_with_its_frame_and_offset_until_it_is_repaired() {
    for position in [0.0, 0.1, 0.5, 0.99, 1.0] {
        let (disk, store) = new_disk();
        assert!(!disk.flip_bit(position), "an empty log has none");
        for key in ["a", "b", "c"] {
            forced(&store, key).await.unwrap();
        }
        assert!(disk.flip_bit(position));
        forced(&store, "d").await.unwrap();
        for _ in 0..2 {
            let refusal = disk.open(&FAMILIES, Process::default()).unwrap_err();
            let StoreError::Damaged { place, detail } = &refusal else { panic!("{refusal}") };
            assert!(place == "disk" && detail.starts_with("frame ") && detail.contains(" at offset "), "{refusal}");
        }
        disk.repair();
        assert_eq!(keys(&open(&disk)), ["a", "b", "c", "d"]);
        assert!(destroyed(&disk).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_the_store_and_opens_once_there_is_room() {
    let (mut nothing_landed, mut all_landed) = (false, false);
    for seed in 0..200 {
        let disk = Disk::new("disk", seed);
        let store = open(&disk);
        assert_eq!(store.room().map(|room| room.bytes), Ok(None));
        let answered = forced(&store, "answered");
        tokio::task::yield_now().await;
        disk.set_full(true);
        assert_eq!(store.room().map(|room| room.bytes), Ok(Some(0)));
        assert!(matches!(forced(&store, "failed").await, Err(StoreError::DiskFull { .. })));
        assert!(matches!(forced(&store, "later").await, Err(StoreError::Stopped { .. })));
        assert_eq!(answered.await, Ok(()), "a sync that is under way needs no room");
        assert!(matches!(disk.open(&FAMILIES, Process::default()), Err(StoreError::DiskFull { .. })));
        disk.set_full(false);
        let keys = keys(&open(&disk));
        nothing_landed |= keys == ["answered"];
        all_landed |= keys == ["answered", "failed"];
        assert!(!keys.contains(&"later".to_owned()));
    }
    assert!(nothing_landed && all_landed, "whether the failed write landed is open");
}

#[tokio::test(start_paused = true)]
async fn room_shrinks_with_every_write() {
    let (disk, store) = new_disk();
    disk.set_room(Some(100));
    let mut written = 0;
    while forced(&store, "key").await.is_ok() {
        written += 1;
        assert!(store.room().unwrap().bytes.unwrap() < 100);
    }
    assert!((1..10).contains(&written));
}

#[tokio::test(start_paused = true)]
async fn a_read_only_disk_takes_no_write_no_sync_and_no_opening() {
    let (disk, store) = new_disk();
    forced(&store, "stable").await.unwrap();
    let under_way = forced(&store, "under way");
    disk.set_read_only(true);
    assert!(matches!(forced(&store, "refused").await, Err(StoreError::Io { .. })));
    assert!(matches!(under_way.await, Err(StoreError::Io { .. })));
    assert!(matches!(forced(&store, "later").await, Err(StoreError::Stopped { .. })));
    assert!(matches!(disk.open(&FAMILIES, Process::default()), Err(StoreError::Io { .. })));
    disk.set_read_only(false);
    assert_eq!(keys(&open(&disk)), ["stable"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_answers_late() {
    let (disk, store) = new_disk();
    disk.set_sync_latency(LONG, Duration::ZERO);
    let began = Instant::now();
    forced(&store, "key").await.unwrap();
    assert_eq!(began.elapsed(), LONG);
}

#[tokio::test(start_paused = true)]
async fn a_wiped_disk_is_empty_and_all_that_was_acknowledged_is_booked() {
    let (disk, store) = new_disk();
    forced(&store, "acknowledged").await.unwrap();
    lazy(&store, "lazy");
    disk.wipe();
    assert!(keys(&open(&disk)).is_empty());
    assert!(matches!(forced(&store, "late").await, Err(StoreError::Fenced(_))));
    assert_eq!(destroyed(&disk), ["acknowledged"]);
}

#[tokio::test(start_paused = true)]
async fn swapped_disks_have_what_the_other_had_and_each_books_its_own() {
    let ((left, left_store), (right, right_store)) = (new_disk(), new_disk());
    forced(&left_store, "left").await.unwrap();
    forced(&right_store, "right").await.unwrap();
    left.swap(&right);
    assert_eq!((keys(&open(&left)), keys(&open(&right))), (vec!["right".into()], vec!["left".into()]));
    assert_eq!((destroyed(&left), destroyed(&right)), (vec!["left".into()], vec!["right".into()]));
    left.swap(&left);
    assert_eq!(keys(&open(&left)), ["right"]);
}

#[tokio::test(start_paused = true)]
async fn a_scrubbed_record_was_never_written_and_no_reader_notices() {
    let (disk, store) = new_disk();
    for key in ["a", "b", "a", "c"] {
        forced(&store, key).await.unwrap();
    }
    lazy(&store, "unpromised");
    assert!(!disk.scrub(DATA, b"absent") && !disk.scrub(FAMILIES[1], b"a"));
    assert!(disk.scrub(DATA, b"a") && disk.scrub(DATA, b"unpromised"));
    assert_eq!(keys(&store), ["a", "b", "c", "unpromised"], "memory does not notice");
    forced(&store, "d").await.unwrap();
    assert_eq!(keys(&open(&disk)), ["b", "c", "d"]);
    assert_eq!(destroyed(&disk), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_rewritten_record_reads_as_another_and_what_it_was_counts_as_destroyed() {
    let (disk, store) = new_disk();
    for key in ["a", "b"] {
        forced(&store, key).await.unwrap();
    }
    disk.rewrite(DATA, b"a", b"another");
    disk.rewrite(DATA, b"absent", b"another");
    assert_eq!(keys(&open(&disk)), ["a", "b"]);
    assert_eq!(disk.cached().value(DATA, b"a").map(|value| value.to_vec()), Some(b"another".to_vec()));
    assert_eq!(destroyed(&disk), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_observer_hears_everything_in_order_and_may_use_the_disk() {
    let disk = Disk::new("disk", 1);
    disk.set_sync_latency(SYNC, Duration::ZERO);
    let events = Arc::new(Mutex::new(Vec::new()));
    let (record, same_disk) = (Arc::clone(&events), disk.clone());
    disk.observed_by(Arc::new(move |event| {
        if matches!(event, DiskEvent::Synced { .. }) {
            same_disk.lose_power(1.0);
        }
        record.lock().unwrap().push(event);
    }));
    let store = open(&disk);
    forced(&store, "key").await.unwrap();
    let written = DiskEvent::Written { frame: 0, bytes: 42, durability: Durability::Forced };
    let expected = [
        DiskEvent::Opened { frames: 0 },
        written,
        DiskEvent::PowerLost { kept: 1, torn_bytes: 0 },
        DiskEvent::Synced { frames: 1 },
    ];
    assert_eq!(*events.lock().unwrap(), expected);
}
