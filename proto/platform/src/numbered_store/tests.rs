use super::*;
use crate::store::memory::Memory;

const META: Family = Family("meta");
const LOG: [u8; 16] = [7; 16];

async fn begin(memory: &Memory, above: u32, mark: u64) -> (NumberedStore, Known) {
    let store = memory.open(&[META]).unwrap();
    NumberedStore::begin(Arc::new(store), META, LOG, above, mark).await.unwrap()
}

async fn write(store: &NumberedStore, durability: Durability) {
    let mut batch = Batch::default();
    batch.put(META, "key", "value");
    store.write(batch, durability).await.unwrap();
}

#[tokio::test]
async fn a_start_knows_how_far_those_before_it_came_and_counts_on() {
    let memory = Memory::default();
    let (store, known) = begin(&memory, 0, 11).await;
    assert_eq!(known.starts.now, Start { losses: 0, count: 1, mark: 11 });
    for _ in 0..3 {
        write(&store, Durability::Forced).await;
    }
    let seen = store.stable();
    assert_eq!(seen, WriteNumber { log: LOG, start: known.starts.now, writes: 3 });
    drop(store);
    let (store, known) = begin(&memory, 5, 12).await;
    assert_eq!(known.starts.now, Start { losses: 0, count: 6, mark: 12 });
    assert_eq!(known.starts.lack(&seen), None);
    assert_eq!(known.starts.lack(&WriteNumber { writes: 4, ..seen }), Some(undoubt_vocabulary::Lack::Writes));
    assert_eq!(store.stable().writes, 0);
}

#[tokio::test]
async fn only_what_is_forced_counts_as_stable_with_all_before_it() {
    let memory = Memory::default();
    let (store, _) = begin(&memory, 0, 1).await;
    write(&store, Durability::Lazy).await;
    write(&store, Durability::Lazy).await;
    assert_eq!(store.stable().writes, 0);
    write(&store, Durability::Forced).await;
    assert_eq!(store.stable().writes, 3);
}

#[tokio::test]
async fn what_was_seen_of_others_is_stored_with_the_next_forced_write() {
    let memory = Memory::default();
    let (store, _) = begin(&memory, 0, 1).await;
    store.remember(b"a", Bytes::from_static(b"1"));
    write(&store, Durability::Forced).await;
    store.remember(b"a", Bytes::from_static(b"2"));
    store.remember(b"b", Bytes::from_static(b"3"));
    assert_eq!(store.remembered(b"a"), Some(Bytes::from_static(b"2")));
    store.store_remembered().await.unwrap();
    drop(store);
    let (store, known) = begin(&memory, 0, 2).await;
    let pairs: Vec<(&[u8], &[u8])> = known.seen.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    assert_eq!(pairs, [(&b"a"[..], &b"2"[..]), (&b"b"[..], &b"3"[..])]);
    assert_eq!(store.remembered(b"b"), Some(Bytes::from_static(b"3")));
}

#[tokio::test]
async fn a_sign_is_kept_until_it_is_cleared_or_the_loss_accepted() {
    let memory = Memory::default();
    let (store, known) = begin(&memory, 0, 1).await;
    assert_eq!(known.put_back, None);
    store.note_put_back("it was copied").await.unwrap();
    drop(store);
    let (store, known) = begin(&memory, 0, 2).await;
    assert_eq!(known.put_back.as_deref(), Some("it was copied"));
    store.clear_put_back().await.unwrap();
    drop(store);
    let (store, known) = begin(&memory, 0, 3).await;
    assert_eq!(known.put_back, None);
    store.note_put_back("it was copied").await.unwrap();
    let lost = WriteNumber { log: LOG, start: Start { losses: 0, count: 9, mark: 99 }, writes: 7 };
    assert!(known.starts.lack(&lost).is_some());
    let starts = store.accept_loss(lost.start, 4, Batch::default()).await.unwrap();
    assert_eq!(starts.now, Start { losses: 1, count: 10, mark: 4 });
    write(&store, Durability::Forced).await;
    assert_eq!(store.stable(), WriteNumber { log: LOG, start: starts.now, writes: 1 });
    drop(store);
    let (_, known) = begin(&memory, 0, 5).await;
    assert_eq!((known.put_back, known.starts.now), (None, Start { losses: 1, count: 11, mark: 5 }));
    assert_eq!(known.starts.lack(&lost), None);
}

#[tokio::test]
async fn starts_are_counted_as_far_as_a_attempt_number_can_tell_them_apart_and_no_further() {
    let memory = Memory::default();
    let (_, known) = begin(&memory, Epoch::LAST.0 - 2, 1).await;
    assert_eq!(known.starts.now.count, Epoch::LAST.0 - 1);
    let (store, known) = begin(&memory, 0, 2).await;
    assert_eq!(known.starts.now.count, Epoch::LAST.0);
    let refused = store.accept_loss(known.starts.now, 3, Batch::default()).await;
    assert!(matches!(&refused, Err(StoreError::Damaged { .. })), "{refused:?}");
    let store = Arc::new(memory.open(&[META]).unwrap());
    let refused = NumberedStore::begin(store, META, LOG, 0, 3).await;
    assert!(matches!(refused, Err(StoreError::Damaged { .. })));
    assert!(next_epoch(7, u32::MAX).is_err(), "whatever others claim to have met");
}

#[tokio::test]
async fn whoever_begins_a_start_ends_the_one_before_and_takes_a_higher_number() {
    let memory = Memory::default();
    let (former, before) = begin(&memory, 0, 1).await;
    let (_owner, known) = begin(&memory, 0, 2).await;
    assert_eq!((before.starts.now.count, known.starts.now.count), (1, 2));
    let late = former.write(Batch::default(), Durability::Forced).await;
    assert!(matches!(late, Err(StoreError::Fenced(_))), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn what_has_to_be_written_waits_until_the_store_can() {
    let memory = Memory::default();
    memory.set_away(Some("it is away"));
    let begun = {
        let memory = memory.clone();
        tokio::spawn(async move { begin(&memory, 0, 1).await })
    };
    let back = |memory: &Memory| {
        let memory = memory.clone();
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            memory.set_away(None);
        })
    };
    back(&memory);
    let (store, known) = begun.await.unwrap();
    memory.set_away(Some("it is away again"));
    back(&memory);
    let starts = store.accept_loss(known.starts.now, 2, Batch::default()).await.unwrap();
    assert_eq!(starts.now, Start { losses: 1, count: 2, mark: 2 });
    write(&store, Durability::Forced).await;
    assert_eq!(store.stable(), WriteNumber { log: LOG, start: starts.now, writes: 1 });
}
