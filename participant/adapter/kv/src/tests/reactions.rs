//! Local transactions of subscriptions.

use crate::{FAMILIES, KeyValue, KeyValueOptions};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use undoubt_participant::resource::Resource as _;
use undoubt_participant::subscription::{Carried, InboxId, LocalTransaction, ReactionStore};
use undoubt_platform::SystemClock;
use undoubt_platform::store::memory::Memory;
use undoubt_stream::barrier::{Barrier, BarrierId, Written};
use undoubt_stream::declarations::Declarations;
use undoubt_stream::inbox::{Advance, Watermark};
use undoubt_stream::subscription::Source;
use undoubt_vocabulary::{
    EventId, Incarnation, NewEvent, Partition, Position, RefusalCode, SubscriptionName, Timestamp,
};
use undoubt_work::kv::{Add, KvWork};

fn inbox() -> InboxId {
    let (from, topic) = ("shop".parse().unwrap(), "orders".parse().unwrap());
    let subscription: SubscriptionName = "reserve".parse().unwrap();
    InboxId { subscription, source: Source { from, topic, partition: Partition(0) } }
}

fn event(position: u64) -> EventId {
    EventId { incarnation: Incarnation([1; 16]), position: Position(position) }
}

fn reserved() -> NewEvent {
    NewEvent {
        topic: "stock".parse().unwrap(),
        key: "o1".into(),
        kind: "stock.reserved".parse().unwrap(),
        schema: "".into(),
        content_type: "application/json".into(),
        data: "{}".into(),
        expect: None,
        correlation: None,
        causation: Some(event(1)),
    }
}

fn barrier_id() -> BarrierId {
    BarrierId { correlation: "t1".parse().unwrap(), reaction: "reserve".parse().unwrap() }
}

fn transaction(from: Watermark, to: u64, work: KvWork) -> LocalTransaction {
    LocalTransaction {
        id: "lock-owner".parse().unwrap(),
        correlation: "t1".parse().unwrap(),
        begun_at: Timestamp(1),
        timeout: Duration::from_secs(1),
        work: Some(work.encode().unwrap()),
        advances: vec![(inbox(), Advance { from, to: event(to).into() })],
        place: None,
        timer: None,
        barrier: Some(barrier_id()),
        asking: None,
        parked: Vec::new(),
        then: Box::new(|results: Bytes| {
            assert!(!results.is_empty(), "the work has results");
            Ok(Written { barrier: Some(Barrier::Empty), events: vec![reserved()] })
        }),
    }
}

async fn done(store: &dyn ReactionStore, transaction: LocalTransaction) {
    match store.carry_out(transaction).await.unwrap() {
        Carried::Done { written, .. } => written.await.unwrap(),
        other @ (Carried::Refused(_) | Carried::Moved { .. }) => panic!("{other:?}"),
    }
}

/// The store answers at once, before anybody waits for that.
#[tokio::test]
async fn a_reaction_is_one_write_with_its_events_and_how_far_it_has_come() {
    let memory = Memory::default();
    let open = |incarnation| {
        let store = Arc::new(memory.open(&FAMILIES).unwrap());
        let declared = Declarations::read("[[topic]]\nname = \"stock\"\n").unwrap();
        let kv = KeyValue::new(store, KeyValueOptions { min_free_bytes: 0 });
        Arc::new(kv.publishing(&declared, Incarnation([incarnation; 16]), Arc::new(SystemClock)).unwrap())
    };
    let kv = open(7);
    let store = kv.reactions().unwrap();
    store.stored().await.unwrap();
    let take = |count: i64| KvWork::new().add("stock", Add::of(-count).floor(0));
    done(store.as_ref(), transaction(Watermark(None), 1, KvWork::new().add("stock", 5))).await;
    done(store.as_ref(), transaction(event(1).into(), 2, take(2))).await;

    let again = store.carry_out(transaction(event(1).into(), 2, take(2))).await.unwrap();
    assert!(matches!(again, Carried::Moved { stored, .. } if stored == event(2).into()), "{again:?}");
    let refused = store.carry_out(transaction(event(2).into(), 3, take(9))).await.unwrap();
    assert!(matches!(&refused, Carried::Refused(refusal) if refusal.code == RefusalCode::Condition), "{refused:?}");
    assert!(kv.locks.is_idle());

    memory.crash(0);
    let kv = open(8);
    let stored = kv.reactions().unwrap().stored().await.unwrap();
    assert_eq!(stored.watermarks, [(inbox(), event(2).into())]);
    assert_eq!(kv.reactions().unwrap().barrier(&barrier_id()).await.unwrap(), Some(Barrier::Empty));
    assert_eq!(kv.store.get(crate::schema::DATA, b"stock").unwrap().unwrap(), "3");
    let log = kv.events().unwrap();
    let read = log.read(Default::default()).await.unwrap();
    let published: Vec<_> = read.events.iter().map(|event| (event.position.0, event.causation.unwrap())).collect();
    assert_eq!(published, [(1, event(1)), (2, event(1))]);
    assert_eq!(read.events[0].correlation.to_string(), "t1");
}
