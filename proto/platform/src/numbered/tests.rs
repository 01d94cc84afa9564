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
