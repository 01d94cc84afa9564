//! A tiny run for the tests of checkers: two trips over two participants, one that is done and one that is refused at the second.

use crate::check::fixture::Fixture;
use crate::plan::{Backward, Trips};
use crate::run::{Account, Barrier, EventName, Inbox, Listed, Participant, Published, Run};
use std::collections::{BTreeMap, BTreeSet};

/// Returns the id of an event at a participant.
pub(in crate::check) fn id(at: Participant, position: u64) -> EventName {
    ([at; 16], position)
}

fn event(at: Participant, position: u64, kind: &str, trip: &str, caused_by: Option<EventName>) -> Published {
    let (incarnation, position) = id(at, position);
    Published {
        position,
        incarnation,
        topic: Trips::TOPIC.into(),
        partition: 0,
        previous: position - 1,
        key: "k0".into(),
        version: None,
        correlation: trip.into(),
        published_at_us: 0,
        kind: kind.into(),
        caused_by,
        data: "{}".into(),
    }
}

fn inbox(subscription: &str, source: Participant) -> Inbox {
    Inbox { subscription: subscription.into(), source, topic: Trips::TOPIC.into(), partition: 0 }
}

fn account(participant: Participant, log: &[Published]) -> Account {
    Account {
        participant,
        published: log.to_vec(),
        trips: BTreeMap::from([("t1".to_owned(), "k0".to_owned())]),
        seats: BTreeMap::from([("k0".to_owned(), 1)]),
        ..Account::default()
    }
}

pub(in crate::check) fn travelled() -> Run {
    let mut run = Fixture::default().run();
    let trips = Trips { steps: 2, backward: Backward::Chain, expire_ms: None, seats: 1, percent: 100, alone: None };
    run.plan.shape.trips = Some(trips);
    let first = vec![
        event(1, 1, Trips::BEGUN, "t1", None),
        event(1, 2, "trip.s1.done", "t1", Some(id(1, 1))),
        event(1, 3, Trips::BEGUN, "t2", None),
        event(1, 4, "trip.s1.done", "t2", Some(id(1, 3))),
        event(1, 5, "trip.s1.undone", "t2", Some(id(2, 2))),
    ];
    let second =
        vec![event(2, 1, "trip.s2.done", "t1", Some(id(1, 2))), event(2, 2, "trip.s2.refused", "t2", Some(id(1, 4)))];
    let barrier = |trip: &str, barrier| (("trip.s1".to_owned(), trip.to_owned()), barrier);
    let of_first = Account {
        watermarks: BTreeMap::from([(inbox("trip.s1", 1), id(1, 3)), (inbox("trip.s1", 2), id(2, 2))]),
        barriers: BTreeMap::from([barrier("t1", Barrier::Acted), barrier("t2", Barrier::Undone)]),
        ..account(1, &first)
    };
    let of_second = Account { watermarks: BTreeMap::from([(inbox("trip.s2", 1), id(1, 4))]), ..account(2, &second) };
    let listed = |participant, subscription: &str, source| Listed {
        participant,
        subscription: subscription.into(),
        source,
        stopped: None,
        parked: BTreeSet::new(),
    };
    let finals = &mut run.finals;
    finals.accounts = vec![of_first, of_second];
    finals.listed = vec![listed(1, "trip.s1", 1), listed(1, "trip.s1", 2), listed(2, "trip.s2", 1)];
    for (at, log) in [(1, first), (2, second)] {
        finals.known_events.extend(log.iter().map(|event| ((at, event.id()), event.clone())));
        finals.logs.insert(at, log);
    }
    run
}
