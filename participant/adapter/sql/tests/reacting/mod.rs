//! Local transactions of subscriptions, as the tests of each database carry them out.

use bytes::Bytes;
use std::time::Duration;
use undoubt_participant::resource::ResourceError;
use undoubt_participant::subscription::{
    Carried, InboxId, LocalTransaction, Place, ReactionStore, StoredParked, StoredSubscriptions,
};
use undoubt_stream::barrier::{Barrier, BarrierId, Written};
use undoubt_stream::inbox::{Advance, Watermark};
use undoubt_stream::parked::{Change, GivenUp, Operator, ParkedEvent, Reference, Turn};
use undoubt_stream::subscription::Source;
use undoubt_vocabulary::{
    EventId, Incarnation, NewEvent, Partition, Position, Refusal, RefusalCode, SubscriptionName, Timestamp,
};

/// The topics of the participants, and an event that expires.
pub const DECLARED: &str = "[[topic]]\nname = \"stock\"\n[[topic]]\nname = \"orders\"\n[[begin]]\ntopic = \"orders\"\ntype = \"order.placed\"\n\
    expire = { after = \"1s\", emit = { topic = \"orders\", type = \"order.expired\" }, unless = [{ from = \"bank\", topic = \"payments\", \
    type = \"paid\" }] }\n";

fn subscription() -> SubscriptionName {
    "reserve".parse().unwrap()
}

pub fn inbox() -> InboxId {
    let (from, topic) = ("shop".parse().unwrap(), "orders".parse().unwrap());
    InboxId { subscription: subscription(), source: Source { from, topic, partition: Partition(0) } }
}

pub fn event(position: u64) -> EventId {
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

pub fn barrier_id() -> BarrierId {
    BarrierId { correlation: "t1".parse().unwrap(), reaction: "reserve".parse().unwrap() }
}

/// Returns a transaction that takes an event: work, an event, a barrier, and a step of the watermark.
pub fn taking(from: Watermark, to: u64, work: Bytes) -> LocalTransaction {
    LocalTransaction {
        id: "lock-owner".parse().unwrap(),
        correlation: "t1".parse().unwrap(),
        begun_at: Timestamp(1),
        timeout: Duration::from_secs(1),
        work: Some(work),
        advances: vec![(inbox(), Advance { from, to: event(to).into() })],
        place: None,
        timer: None,
        barrier: Some(barrier_id()),
        parked: Vec::new(),
        then: Box::new(|results: Bytes| {
            assert!(!results.is_empty(), "the work has results");
            Ok(Written { barrier: Some(Barrier::Empty), events: vec![reserved()] })
        }),
    }
}

/// Returns one that says how something stands.
pub fn saying() -> LocalTransaction {
    LocalTransaction {
        work: None,
        advances: Vec::new(),
        barrier: None,
        then: Box::new(|_| Ok(Written::default())),
        ..taking(Watermark(None), 1, Bytes::new())
    }
}

pub async fn done(store: &dyn ReactionStore, transaction: LocalTransaction) {
    match store.carry_out(transaction).await.unwrap() {
        Carried::Done { written, .. } => written.await.unwrap(),
        other @ (Carried::Refused(_) | Carried::Moved { .. }) => panic!("{other:?}"),
    }
}

pub async fn refused(store: &dyn ReactionStore, transaction: LocalTransaction) -> Refusal {
    match store.carry_out(transaction).await.unwrap() {
        Carried::Refused(refusal) => refusal,
        other @ (Carried::Done { .. } | Carried::Moved { .. }) => panic!("{other:?}"),
    }
}

/// Carries it out as a subscription does: again, as long as nothing was done.
pub async fn done_in_the_end(store: &dyn ReactionStore, transaction: impl Fn() -> LocalTransaction) {
    loop {
        match store.carry_out(transaction()).await {
            Ok(Carried::Done { written, .. }) => return written.await.unwrap(),
            Ok(Carried::Refused(refusal)) if refusal.code == RefusalCode::Unavailable => {}
            Err(ResourceError::Unavailable { .. }) => {}
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Takes two events with work that leaves 3 of 5, and shows that neither comes twice. `put` puts so many there.
pub async fn takes_each_event_once(store: &dyn ReactionStore, put: impl Fn(i64) -> Bytes) {
    assert_eq!(store.stored().await.unwrap(), StoredSubscriptions::default());
    done(store, taking(Watermark(None), 1, put(5))).await;
    done(store, taking(event(1).into(), 2, put(-2))).await;
    for from in [Watermark(None), event(1).into()] {
        let again = store.carry_out(taking(from, 2, put(-2))).await.unwrap();
        assert!(matches!(again, Carried::Moved { stored, .. } if stored == event(2).into()), "{again:?}");
    }
    let refusal = refused(store, taking(event(2).into(), 3, put(-9))).await;
    assert_eq!(refusal.code, RefusalCode::Condition, "{refusal}");
}

/// Finds what that has left.
pub async fn finds_what_was_taken(store: &dyn ReactionStore) {
    let stored = store.stored().await.unwrap();
    assert_eq!(stored.watermarks, [(inbox(), event(2).into())]);
    assert_eq!(store.barrier(&barrier_id()).await.unwrap(), Some(Barrier::Empty));
}

/// Parks an event and gives it up, and stores how far the source was read.
pub async fn parks_and_gives_up(store: &dyn ReactionStore) {
    let Source { from, topic, partition } = inbox().source;
    let refusal = Some(Refusal::new(RefusalCode::Condition, "no"));
    let parked = ParkedEvent {
        event: Reference { from: from.clone(), topic, partition, id: event(7) },
        parked_at: Timestamp(9),
        attempts: 5,
        refusal,
    };
    let place = Place { subscription: subscription(), from, watermark: event(8).into(), floor: Position(2) };
    let park = Change::Park { key: "k".into(), turn: Turn(3), event: parked.clone() };
    let parking = LocalTransaction {
        advances: vec![(inbox(), Advance { from: Watermark(None), to: event(7).into() })],
        place: Some(place.clone()),
        parked: vec![(subscription(), park)],
        ..saying()
    };
    done(store, parking).await;
    let stored = store.stored().await.unwrap();
    let (subscription, key) = (subscription(), Bytes::from("k"));
    let found =
        StoredParked { subscription: subscription.clone(), key: key.clone(), turn: Turn(3), event: parked.clone() };
    assert_eq!((stored.parked, stored.places), (vec![found], vec![place]));
    let by = Operator { who: "Ada".into(), reason: "by mistake".into() };
    let given_up = GivenUp { parked, by, at: Timestamp(11) };
    let give_up = || Change::GiveUp { key: key.clone(), turn: Turn(3), given_up: given_up.clone() };
    done(store, LocalTransaction { parked: vec![(subscription.clone(), give_up())], ..saying() }).await;
    assert_eq!(store.stored().await.unwrap().parked, []);
    let again = store.carry_out(LocalTransaction { parked: vec![(subscription.clone(), give_up())], ..saying() }).await;
    assert!(matches!(&again, Err(ResourceError::Stopped { .. })), "{again:?}");
}

/// Finds the timer of an event that was published, and ends it once.
pub async fn ends_a_timer_once(store: &dyn ReactionStore) {
    let name = "order.expired".parse().unwrap();
    let (timer, key) = store.next_timer(&name).await.unwrap().expect("the event has begun a saga that expires");
    assert_eq!((timer.event.kind.as_str(), timer.id.reaction.as_str()), ("order.expired", "order.expired"));
    done(store, LocalTransaction { timer: Some(key.clone()), ..saying() }).await;
    assert_eq!(store.next_timer(&name).await.unwrap(), None);
    let again = store.carry_out(LocalTransaction { timer: Some(key), ..saying() }).await;
    assert!(matches!(&again, Err(ResourceError::Stopped { .. })), "{again:?}");
}
