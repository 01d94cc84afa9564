use super::*;
use undoubt_platform::store::memory::Memory;
use undoubt_vocabulary::event::JSON;
use undoubt_vocabulary::{RefusalCode, Timestamp, TxId};

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(7)
    }
}

fn topics() -> Vec<Topic> {
    let topic = |name: &str, partitions, sourced| Topic { name: name.parse().unwrap(), partitions, sourced };
    vec![topic("orders", 4, false), topic("accounts", 1, true)]
}

fn open_as(memory: &Memory, incarnation: u8) -> EventLog {
    let store = Arc::new(memory.open(&FAMILIES).unwrap());
    EventLog::open(store, Topics::of(topics()).unwrap(), Incarnation([incarnation; 16]), Arc::new(Still)).unwrap()
}

fn event(topic: &str, key: &str) -> NewEvent {
    NewEvent {
        topic: topic.parse().unwrap(),
        key: key.to_owned().into(),
        kind: "order.placed".parse().unwrap(),
        schema: "".into(),
        content_type: JSON.into(),
        data: "{}".into(),
        expect: None,
        correlation: None,
        causation: None,
    }
}

fn tx() -> TxId {
    "t1".parse().unwrap()
}

fn stored(log: &EventLog, event: NewEvent) -> StoredEvent {
    let before = log.is_sourced(event.topic.as_str()).then(|| log.version_of(&event.topic, &event.key).unwrap());
    let (topic, version) = log.admit(&event, before, &tx()).unwrap();
    unplaced(event, topic, version, &tx())
}

async fn publish(log: &EventLog, events: Vec<NewEvent>) -> Result<(), StoreError> {
    let events: Vec<_> = events.into_iter().map(|event| stored(log, event)).collect();
    log.write(Batch::default(), &events, Durability::Forced).1.await
}

fn after(position: u64, incarnation: u8) -> After {
    After { position: Position(position), incarnation: Some(Incarnation([incarnation; 16])) }
}

fn positions(read: &EventsRead) -> Vec<(u64, u64)> {
    read.events.iter().map(|event| (event.position.0, event.previous.0)).collect()
}

#[tokio::test]
async fn events_are_read_in_the_order_in_which_they_were_written_with_the_one_before_in_their_partition() {
    let log = open_as(&Memory::default(), 1);
    publish(&log, vec![event("orders", "a"), event("orders", "a")]).await.unwrap();
    publish(&log, vec![event("accounts", "x"), event("orders", "a")]).await.unwrap();
    let read = log.read_after(After::default()).unwrap();
    assert_eq!(positions(&read), [(1, 0), (2, 1), (3, 0), (4, 2)]);
    assert_eq!(read.through, after(4, 1));
    let second = &read.events[1];
    assert_eq!((second.correlation.to_string().as_str(), second.published_at), ("t1", Timestamp(7)));
    assert_eq!(second.partition, topics()[0].partition_of(b"a"));
    assert_eq!(positions(&log.read_after(after(2, 1)).unwrap()), [(3, 0), (4, 2)]);
}

#[tokio::test]
async fn a_restart_goes_on_with_the_next_position_and_another_incarnation() {
    let memory = Memory::default();
    for start in 1..=3 {
        let log = open_as(&memory, start);
        publish(&log, vec![event("orders", "a")]).await.unwrap();
    }
    let log = open_as(&memory, 4);
    let read = log.read_after(After::default()).unwrap();
    assert_eq!(positions(&read), [(1, 0), (2, 1), (3, 2)]);
    let incarnations: Vec<u8> = read.events.iter().map(|event| event.incarnation.0[0]).collect();
    assert_eq!(incarnations, [1, 2, 3]);
    assert_eq!(log.look().stable, Position(3));
}

#[tokio::test]
async fn the_tails_of_partitions_are_found_again_however_long_ago_they_were_written() {
    let memory = Memory::default();
    let log = open_as(&memory, 1);
    publish(&log, vec![event("orders", "seldom")]).await.unwrap();
    for _ in 0..TAILS_AFTER + 10 {
        publish(&log, vec![event("accounts", "often")]).await.unwrap();
    }
    let log = open_as(&memory, 2);
    publish(&log, vec![event("orders", "seldom")]).await.unwrap();
    let last = log.read_after(After { position: Position(TAILS_AFTER + 11), incarnation: None }).unwrap();
    assert_eq!(positions(&last), [(TAILS_AFTER + 12, 1)]);
}

#[tokio::test]
async fn a_write_that_is_refused_leaves_no_gap() {
    let memory = Memory::default();
    let log = open_as(&memory, 1);
    publish(&log, vec![event("orders", "a")]).await.unwrap();
    memory.set_away(Some("the disk is full"));
    assert!(matches!(publish(&log, vec![event("orders", "a")]).await, Err(StoreError::Unavailable { .. })));
    memory.set_away(None);
    publish(&log, vec![event("orders", "a")]).await.unwrap();
    assert_eq!(positions(&log.read_after(After::default()).unwrap()), [(1, 0), (2, 1)]);
}

#[tokio::test]
async fn a_reader_is_refused_by_a_log_that_was_put_back_whether_it_has_grown_since_or_not() {
    let memory = Memory::default();
    let log = open_as(&memory, 1);
    for _ in 0..3 {
        publish(&log, vec![event("orders", "a")]).await.unwrap();
    }
    assert!(matches!(log.read_after(after(4, 1)), Err(ReadError::PutBack { .. })), "it has not come so far");
    // As after a copy that was made before the third.
    let log = open_as(&memory, 2);
    publish(&log, vec![event("orders", "a"), event("orders", "a")]).await.unwrap();
    let refused = log.read_after(after(4, 9)).unwrap_err();
    assert!(matches!(&refused, ReadError::PutBack { shared: Position(0), .. }), "{refused}");
    let refused = log.read_after(after(5, 1)).unwrap_err();
    assert!(matches!(&refused, ReadError::PutBack { shared: Position(3), .. }), "{refused}");
    assert!(log.read_after(after(3, 1)).is_ok());
}

#[tokio::test]
async fn an_entity_has_versions_and_refuses_whoever_expects_another() {
    let memory = Memory::default();
    let log = open_as(&memory, 1);
    publish(&log, vec![NewEvent { expect: Some(0), ..event("accounts", "x") }]).await.unwrap();
    publish(&log, vec![event("accounts", "x"), event("accounts", "y")]).await.unwrap();
    let log = open_as(&memory, 2);
    let topic = "accounts".parse().unwrap();
    assert_eq!([log.version_of(&topic, b"x"), log.version_of(&topic, b"z")].map(Result::unwrap), [2, 0]);
    let late = NewEvent { expect: Some(1), ..event("accounts", "x") };
    let refused = log.admit(&late, Some(2), &tx()).unwrap_err();
    assert_eq!(refused.code, RefusalCode::Condition);
    assert!(refused.detail.contains("has version 2, not the expected 1"), "{}", refused.detail);
    let versions = log.read_after(After::default()).unwrap().events.into_iter().map(|event| event.version);
    assert_eq!(versions.collect::<Vec<_>>(), [Some(1), Some(2), Some(1)]);
}

#[tokio::test]
async fn a_topic_keeps_the_number_of_its_partitions_and_what_is_not_declared_is_refused() {
    let memory = Memory::default();
    let log = open_as(&memory, 1);
    publish(&log, vec![event("orders", "a")]).await.unwrap();
    let refused = log.admit(&event("parcels", "a"), None, &tx()).unwrap_err();
    assert!(refused.detail.contains("there are: orders, accounts"), "{}", refused.detail);
    let appended = NewEvent { expect: Some(1), ..event("orders", "a") };
    assert_eq!(log.admit(&appended, None, &tx()).unwrap_err().code, RefusalCode::InvalidWork);
    let store = Arc::new(memory.open(&FAMILIES).unwrap());
    let other = vec![Topic { partitions: 8, ..topics().remove(0) }];
    let opened = EventLog::open(store, Topics::of(other).unwrap(), Incarnation([2; 16]), Arc::new(Still));
    assert!(matches!(opened, Err(OpenError::OtherPartitions { declared: 8, stored: 4, .. })));
}

#[tokio::test]
async fn what_expires_may_be_filled_in_with_the_transactions_id() {
    let declared = "[[topic]]\nname = \"orders\"\npartitions = 4\n[[begin]]\ntopic = \"orders\"\ntype = \"order.placed\"\n\
        expire = { after = \"1s\", emit = { topic = \"orders\", type = \"order.expired\", key = \"{correlation}\" }, unless = [\
        { from = \"bank\", topic = \"payments\", type = \"paid\" }] }";
    let declared = undoubt_stream::declarations::Declarations::read(declared).unwrap();
    let topics = Topics::declared(&declared).unwrap();
    let store = Arc::new(Memory::default().open(&FAMILIES).unwrap());
    let log = EventLog::open(store, topics, Incarnation([1; 16]), Arc::new(Still)).unwrap();
    assert!(log.admit(&event("orders", "a"), None, &tx()).is_ok());
}

fn reader(name: &str) -> undoubt_vocabulary::ReaderName {
    name.parse().unwrap()
}

/// Nothing is kept for its age: what all readers have taken goes.
const KEEP: undoubt_stream::retention::Keep =
    undoubt_stream::retention::Keep { keep: std::time::Duration::ZERO, max_bytes: u64::MAX };

async fn publish_many(log: &EventLog, topic: &str, count: usize) {
    for _ in 0..count.div_ceil(64) {
        publish(log, vec![event(topic, "a"); 64]).await.unwrap();
    }
}

#[tokio::test]
async fn what_all_readers_have_taken_is_dropped_and_is_so_after_a_restart() {
    let memory = Memory::default();
    let log = open_as(&memory, 1);
    publish_many(&log, "orders", 3_072).await;
    assert_eq!(log.keep(reader("stock/reserve"), after(1_500, 1), false).await, Ok(Position::START));
    assert_eq!(log.trim(KEEP).await, Ok(Vec::new()));
    assert_eq!(log.look().first, Position(1_025), "up to the last mark that it has passed");
    let refused = log.read_after(after(1_000, 1)).unwrap_err();
    assert_eq!(refused, ReadError::Trimmed { after: Position(1_000), first: Position(1_025) });
    assert!(matches!(
        log.keep(reader("late"), after(1_000, 1), false).await,
        Err(KeepError::Read(ReadError::Trimmed { .. }))
    ));
    let next = log.read_after(after(1_024, 1)).unwrap();
    assert_eq!(next.events[0].id().position, Position(1_025));
    assert!(
        matches!(log.read_after(after(1_024, 9)), Err(ReadError::PutBack { .. })),
        "the life there is still compared"
    );
    drop(log);
    let log = open_as(&memory, 2);
    assert_eq!(log.look().first, Position(1_025));
    assert_eq!(log.readers().await.unwrap().readers[0].1.after, Position(1_500));
    assert_eq!(log.keep(reader("new"), After::default(), false).await, Ok(Position(1_024)));
    assert_eq!(log.read_after(After::default()).unwrap().events[0].position, Position(1_025));
    publish_many(&log, "orders", 64).await;
    assert_eq!(log.look().stable, Position(3_136));
}

#[tokio::test]
async fn a_full_log_drops_the_reader_that_is_furthest_behind_and_says_so_when_it_comes_back() {
    let log = open_as(&Memory::default(), 1);
    publish_many(&log, "orders", 4_096).await;
    log.keep(reader("slow"), after(10, 1), false).await.unwrap();
    log.keep(reader("fast"), after(4_000, 1), false).await.unwrap();
    let kept = log.look().kept_bytes;
    let most = kept / 10 * 6;
    let half = undoubt_stream::retention::Keep { max_bytes: most, ..KEEP };
    let dropped = log.trim(undoubt_stream::retention::Keep { keep: std::time::Duration::from_secs(60), ..half }).await;
    assert_eq!(dropped.unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>(), [reader("slow")]);
    assert!(log.look().kept_bytes <= most && log.look().first == Position(2_049));
    let back = log.keep(reader("slow"), after(10, 1), false).await;
    assert!(matches!(back, Err(KeepError::Read(ReadError::Trimmed { .. }))), "{back:?}");
    assert_eq!(log.keep(reader("slow"), After::default(), true).await, Ok(Position(2_048)));
    assert_eq!(log.forget(reader("slow")).await, Ok(true));
    assert_eq!(log.forget(reader("slow")).await, Ok(false));
}

#[tokio::test]
async fn the_events_of_entities_stay() {
    let log = open_as(&Memory::default(), 1);
    publish(&log, vec![event("accounts", "x")]).await.unwrap();
    publish_many(&log, "orders", 1_088).await;
    log.trim(KEEP).await.unwrap();
    assert_eq!(log.look().first.0, 1_026, "a mark is written with the write that passes it");
    let left = log.store.scan(EVENT, &[], None, undoubt_platform::Direction::Forward, 3).unwrap();
    assert_eq!(record::number(&left[0].0), Ok(1));
    assert_eq!(log.version_of(&"accounts".parse().unwrap(), b"x"), Ok(1));
}
