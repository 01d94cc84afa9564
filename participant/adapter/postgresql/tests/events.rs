//! The log of events: what is published when, in which order, and what crashes leave of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use support::fixture::{DATABASE, Fixture, act, assert_code, branch, prepare, step};
use support::{PATIENCE, PROCEDURES, participant, settings, work};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use undoubt_participant::event_log::{After, EventSource, EventsRead, ReadError};
use undoubt_participant::resource::{Branches as _, Ended, Resource as _, ResourceError, Steps as _};
use undoubt_platform::SystemClock;
use undoubt_postgresql::{PostgreSql, Settings};
use undoubt_stream::declarations::Declarations;
use undoubt_vocabulary::{
    Direction, Event, Execution, Incarnation, Partition, Position, Refusal, RefusalCode, StepOutcome, TopicName, Vote,
};
use undoubt_work::call::{Call, CallWork};
use undoubt_work::event::{Emit, Source};

const TOPICS: &str =
    "[[topic]]\nname = \"sums\"\npartitions = 4\n[[topic]]\nname = \"accounts\"\npartitions = 1\nsourced = true\n";

/// A participant that publishes, and its server.
struct Shop {
    fixture: Fixture,
    incarnation: u8,
    numbering: Option<(JoinHandle<Result<(), ResourceError>>, CancellationToken)>,
}

impl Shop {
    /// Opens one whose events get positions.
    async fn new() -> Shop {
        let mut shop = Shop::without_numbering().await;
        shop.number();
        shop
    }

    /// Opens one whose events wait for their positions.
    async fn without_numbering() -> Shop {
        let fixture = Fixture::new().await;
        let mut shop = Shop { fixture, incarnation: 0, numbering: None };
        shop.crash().await;
        shop
    }

    /// Starts the participant anew as after a crash: nothing of the former one is closed in order.
    async fn crash(&mut self) {
        if let Some((numbering, _)) = self.numbering.take() {
            numbering.abort();
        }
        self.incarnation += 1;
        let settings = Settings { take_over: true, ..self.fixture.settings() };
        let resource = Arc::new(publishing(&settings, TOPICS, self.incarnation));
        self.fixture.resource = resource.clone();
        self.fixture.until_done(async || resource.recover(&participant()).await).await;
    }

    fn number(&mut self) {
        self.numbering = Some(self.fixture.spawn_background());
    }

    async fn server_is_killed(&mut self) {
        self.fixture.server.kill_9();
        self.fixture.server.restart().await.unwrap();
    }

    fn log(&self) -> Arc<dyn EventSource> {
        self.fixture.resource.events().unwrap()
    }

    async fn one_phase(&self, number: u64, work: Bytes) -> Vote {
        prepare(&self.fixture.resource, number, Execution::OnePhase, work).await.unwrap()
    }

    async fn committed(&self, number: u64, work: Bytes) {
        let vote = self.one_phase(number, work).await;
        assert!(matches!(vote, Vote::Committed { .. }), "{vote:?}");
    }

    async fn refused(&self, number: u64, work: Bytes) -> Refusal {
        match self.one_phase(number, work).await {
            Vote::Refused(refusal) => refusal,
            other @ (Vote::Prepared { .. } | Vote::ReadOnly { .. } | Vote::Committed { .. }) => {
                panic!("it has to be refused, not {other:?}")
            }
        }
    }

    /// Waits until there are so many events, and reads them all.
    async fn events(&self, count: u64) -> Vec<Event> {
        all_of(&*self.log(), count).await
    }

    async fn unnumbered(&self) -> String {
        self.fixture.sql("SELECT count(*) FROM undoubt.unnumbered").await
    }
}

fn publishing(settings: &Settings, topics: &str, incarnation: u8) -> PostgreSql {
    let declared = Declarations::read(topics).unwrap();
    let resource = support::open(settings, PROCEDURES);
    resource.publishing(&declared, Incarnation([incarnation; 16]), Arc::new(SystemClock)).unwrap()
}

async fn all_of(log: &dyn EventSource, count: u64) -> Vec<Event> {
    let mut stable = log.stable();
    let reached = stable.wait_for(|stable| stable.0 >= count);
    tokio::time::timeout(PATIENCE, reached).await.expect("the events get their positions in time").unwrap();
    let (mut events, mut after) = (Vec::new(), After::default());
    loop {
        let EventsRead { events: read, through, .. } = log.read(after).await.unwrap();
        if read.is_empty() {
            break;
        }
        events.extend(read);
        after = through;
    }
    assert_eq!(events.len() as u64, count);
    has_no_gap(&events);
    events
}

/// Positions are dense, and each event names the one before it in its partition.
fn has_no_gap(events: &[Event]) {
    let mut tails: BTreeMap<(TopicName, Partition), Position> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event.position.0, place as u64 + 1);
        let before = tails.insert((event.topic.clone(), event.partition), event.position);
        assert_eq!(event.previous, before.unwrap_or(Position::START), "{event:?}");
    }
}

fn told(events: &[Event]) -> Vec<(&str, &str)> {
    let text = |bytes: &'_ Bytes| std::str::from_utf8(bytes).unwrap().to_owned().leak() as &str;
    events.iter().map(|event| (text(&event.key), text(&event.data))).collect()
}

#[tokio::test]
async fn every_kind_of_work_publishes_when_it_commits_and_leaves_nothing_when_it_does_not() {
    let shop = Shop::new().await;
    let resource = &shop.fixture.resource;
    shop.committed(1, work::put_and_tell("a", "one-phase")).await;
    shop.fixture.prepare(2, work::put_and_tell("b", "aborted")).await;
    shop.fixture.prepare(3, work::add_and_tell("c", 5)).await;
    assert_eq!(shop.fixture.commit(3).await.unwrap(), Ended::AsTold);
    shop.fixture.abort(2).await.unwrap();
    let refused = work::add("none", -1, Some(0));
    assert_code(&shop.refused(4, refused).await, RefusalCode::Condition, &["below 0"]);
    for (number, direction) in [(5, Direction::Compensating), (6, Direction::Completing)] {
        let acted = act(resource, number, work::put_and_tell("d", "acted")).await.unwrap();
        assert!(matches!(acted, StepOutcome::Done { .. }), "{acted:?}");
        let (id, run) = step(number, work::add_and_tell(&format!("ends{number}"), 1), direction);
        let ended = match direction {
            Direction::Compensating => resource.compensate(id, run).await,
            Direction::Forward | Direction::Completing => resource.complete(id, run).await,
        };
        assert!(matches!(ended, Ok(StepOutcome::Done { .. })), "{ended:?}");
    }
    let events = shop.events(6).await;
    let expected = [("a", "one-phase"), ("c", "5"), ("d", "acted"), ("ends5", "1"), ("d", "acted"), ("ends6", "1")];
    assert_eq!(told(&events), expected);
    assert_eq!(events[1].correlation.to_string(), "tx-3");
    assert_eq!(shop.fixture.value("b").await, "");
    assert_eq!(shop.unnumbered().await, "0");
}

#[tokio::test]
async fn what_is_prepared_is_not_read_before_it_commits_and_does_not_hold_up_others() {
    let shop = Shop::new().await;
    shop.fixture.prepare(1, work::put_and_tell("a", "first")).await;
    shop.committed(2, work::put_and_tell("b", "second")).await;
    assert_eq!(told(&shop.events(1).await), [("b", "second")]);
    shop.fixture.commit(1).await.unwrap();
    assert_eq!(told(&shop.events(2).await), [("b", "second"), ("a", "first")]);
}

#[tokio::test]
async fn work_that_is_wrong_about_events_is_refused_and_leaves_nothing() {
    let shop = Shop::new().await;
    let unknown = work::events([Emit::new("parcels", "sent", "k")]);
    assert_code(&shop.refused(1, unknown).await, RefusalCode::InvalidWork, &["no topic parcels", "sums, accounts"]);
    let unsourced = work::events([Emit::new("sums", "s", "k").expect(1)]);
    assert_code(&shop.refused(2, unsourced).await, RefusalCode::InvalidWork, &["sourced = true"]);
    let call = Call::new("put").arg("key", "k").arg("value", "v");
    let from = Source::own_column(0, "value");
    let missing = CallWork::from(call).emit(Emit::new("sums", "s", "k").data_from(from)).encode().unwrap();
    for (number, execution) in [(3, Execution::OnePhase), (4, Execution::TwoPhase)] {
        let vote = prepare(&shop.fixture.resource, number, execution, missing.clone()).await.unwrap();
        assert!(matches!(&vote, Vote::Refused(refusal) if refusal.code == RefusalCode::InvalidWork), "{vote:?}");
    }
    assert_eq!((shop.fixture.value("k").await.as_str(), shop.fixture.prepared().await.as_str()), ("", "0"));
    shop.committed(5, work::put_and_tell("k", "right")).await;
    assert_eq!(told(&shop.events(1).await), [("k", "right")]);
    let silent = Fixture::new().await;
    let refused = silent.refusal(1, work::put_and_tell("k", "v")).await;
    assert_code(&refused, RefusalCode::InvalidWork, &["there are: none"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_commits_have_dense_positions_and_keep_the_order_of_each_key() {
    let shop = Shop::new().await;
    let mut writers = JoinSet::new();
    for writer in 0..8_u64 {
        let resource = shop.fixture.resource.clone();
        writers.spawn(async move {
            for round in 0..25 {
                let number = 1_000 * (writer + 1) + round;
                let work = work::add_and_tell(&format!("k{}", (writer + round) % 3), 1);
                match writer % 2 {
                    0 => drop(prepare(&resource, number, Execution::OnePhase, work).await.unwrap()),
                    _ => {
                        let vote = prepare(&resource, number, Execution::TwoPhase, work).await.unwrap();
                        assert!(matches!(vote, Vote::Prepared { .. }), "{vote:?}");
                        if round % 5 == 0 {
                            resource.abort(branch(number)).await.unwrap();
                        } else {
                            resource.commit(branch(number)).await.unwrap();
                        }
                    }
                }
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let events = shop.events(4 * 25 + 4 * 20).await;
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, sum) in told(&events) {
        let before = sums.entry(key).or_default();
        *before += 1;
        assert_eq!(sum.parse::<u64>().unwrap(), *before, "the sums under {key} are in their order");
    }
}

#[tokio::test]
async fn an_entity_has_versions_which_the_database_counts_and_whoever_expects_another_is_refused() {
    let shop = Shop::new().await;
    shop.committed(1, work::events([work::append("x", Some(0)), work::append("x", Some(1))])).await;
    shop.committed(2, work::events([work::append("x", None), work::append("y", None)])).await;
    let late = shop.refused(3, work::events([work::append("x", Some(1))])).await;
    assert_code(&late, RefusalCode::Condition, &["of topic accounts has version 3, not the expected 1"]);
    let late = shop.fixture.refusal(4, work::events([work::append("x", Some(2))])).await;
    assert_code(&late, RefusalCode::Condition, &["has version 3"]);
    shop.fixture.prepare(5, work::events([work::append("x", Some(3))])).await;
    // The entity is locked until the branch has ended.
    let (waits, _) = support::fixture::call(6, Execution::OnePhase, Bytes::new());
    let younger = work::events([work::append("x", Some(4))]);
    let refused = shop.refused(waits.attempt_number.0, younger.clone()).await;
    assert_code(&refused, RefusalCode::LockConflict, &[]);
    shop.fixture.commit(5).await.unwrap();
    shop.committed(7, younger).await;
    let events = shop.events(6).await;
    let versions: Vec<_> = events.iter().map(|event| (event.key.clone(), event.version.unwrap())).collect();
    let expected = [("x", 1), ("x", 2), ("x", 3), ("y", 1), ("x", 4), ("x", 5)];
    assert_eq!(versions, expected.map(|(key, version)| (Bytes::from(key), version)));
}

#[tokio::test]
async fn a_crash_between_commit_and_numbering_loses_nothing_whoever_is_killed() {
    let mut shop = Shop::without_numbering().await;
    shop.committed(1, work::put_and_tell("a", "before")).await;
    shop.fixture.prepare(2, work::put_and_tell("b", "in doubt")).await;
    shop.server_is_killed().await;
    shop.crash().await;
    assert_eq!(shop.unnumbered().await, "1");
    shop.number();
    assert_eq!(told(&shop.events(1).await), [("a", "before")]);
    let (resource, id) = (shop.fixture.resource.clone(), branch(2));
    shop.fixture.until_done(async || resource.commit(id.clone()).await).await;
    shop.committed(3, work::put_and_tell("a", "after")).await;
    shop.events(3).await;
    shop.crash().await;
    shop.committed(4, work::put_and_tell("a", "last")).await;
    shop.number();
    let events = shop.events(4).await;
    let incarnations: Vec<u8> = events.iter().map(|event| event.incarnation.0[0]).collect();
    assert_eq!(incarnations, [2, 2, 2, 3]);
    assert_eq!(shop.log().state().await.unwrap().first, Position(1));
}

#[tokio::test]
async fn commits_by_other_hands_and_lost_answers_are_numbered_without_being_told() {
    let shop = Shop::new().await;
    shop.fixture.prepare(1, work::put_and_tell("a", "by hand")).await;
    let gid = shop.fixture.sql("SELECT gid FROM pg_prepared_xacts").await;
    shop.fixture.sql(&format!("COMMIT PREPARED '{gid}'")).await;
    assert_eq!(told(&shop.events(1).await), [("a", "by hand")]);
    let cut = shop.fixture.proxy.after("COMMIT").cut();
    let unclear = prepare(&shop.fixture.resource, 2, Execution::OnePhase, work::put_and_tell("b", "unheard")).await;
    assert!(matches!(unclear, Err(ResourceError::Unclear { .. })), "{unclear:?}");
    cut.happened().await.unwrap();
    assert_eq!(told(&shop.events(2).await)[1], ("b", "unheard"));
}

#[tokio::test]
async fn a_numbering_of_which_no_answer_comes_is_done_once() {
    let mut shop = Shop::without_numbering().await;
    for number in 1..=3 {
        shop.committed(number, work::put_and_tell("a", &number.to_string())).await;
    }
    let cut = shop.fixture.proxy.after("WITH fence").cut();
    shop.number();
    cut.happened().await.unwrap();
    shop.committed(4, work::put_and_tell("a", "4")).await;
    assert_eq!(told(&shop.events(4).await), [("a", "1"), ("a", "2"), ("a", "3"), ("a", "4")]);
}

#[tokio::test]
async fn whoever_was_taken_over_from_numbers_nothing_any_more() {
    let mut shop = Shop::without_numbering().await;
    shop.committed(1, work::put_and_tell("a", "1")).await;
    let zombie = shop.fixture.resource.clone();
    shop.crash().await;
    let ended = zombie.background(CancellationToken::new()).await;
    assert!(matches!(ended, Err(ResourceError::Fenced { .. })), "{ended:?}");
    assert_eq!(shop.unnumbered().await, "1");
    shop.number();
    assert_eq!(shop.events(1).await[0].incarnation, Incarnation([2; 16]));
}

#[tokio::test]
async fn a_database_that_was_put_back_is_noticed_by_its_readers() {
    let mut shop = Shop::new().await;
    shop.committed(1, work::put_and_tell("a", "kept")).await;
    shop.events(1).await;
    let backup = shop.fixture.server.base_backup().await.unwrap();
    shop.committed(2, work::put_and_tell("a", "lost")).await;
    shop.events(2).await;
    let read = shop.log().read(After::default()).await.unwrap().through;
    shop.fixture.server.kill_9();
    shop.fixture.server.put_back(&backup).await.unwrap();
    shop.fixture.server.restart().await.unwrap();
    shop.crash().await;
    shop.number();
    let refused = shop.log().read(read).await.unwrap_err();
    assert!(matches!(&refused, ReadError::PutBack { shared: Position(1), .. }), "{refused}");
    shop.committed(3, work::put_and_tell("a", "other")).await;
    shop.events(2).await;
    let refused = shop.log().read(read).await.unwrap_err();
    assert!(matches!(&refused, ReadError::PutBack { shared: Position(1), .. }), "{refused}");
}

#[tokio::test]
async fn a_log_that_is_put_back_under_a_running_participant_ends_it() {
    let mut shop = Shop::new().await;
    for number in 1..=2 {
        shop.committed(number, work::put_and_tell("a", &number.to_string())).await;
        shop.events(number).await;
    }
    shop.fixture.sql("UPDATE undoubt.log_end SET last = 1; DELETE FROM undoubt.event WHERE position = 2").await;
    shop.committed(3, work::put_and_tell("a", "3")).await;
    let ended = shop.numbering.take().unwrap().0.await.unwrap();
    assert!(matches!(&ended, Err(ResourceError::Foreign { cause }) if cause.contains("put back")), "{ended:?}");
}

#[tokio::test]
async fn a_topic_keeps_the_number_of_its_partitions() {
    let shop = Shop::new().await;
    shop.committed(1, work::put_and_tell("a", "1")).await;
    shop.events(1).await;
    let direct = Settings { take_over: true, ..settings(shop.fixture.server.url(DATABASE)) };
    let other = publishing(&direct, "[[topic]]\nname = \"sums\"\npartitions = 8\n", 9);
    let refused = other.recover(&participant()).await;
    let says = "declared with 8 partitions, and its events are in 4";
    assert!(matches!(&refused, Err(ResourceError::Stopped { cause }) if cause.contains(says)), "{refused:?}");
}

#[tokio::test]
async fn many_events_of_one_work_are_read_piece_by_piece_in_their_order() {
    let shop = Shop::new().await;
    let large = "x".repeat(60_000);
    let many = (0..256).map(|at| Emit::new("sums", "s", format!("k{at}")).data(large.clone()));
    shop.committed(1, work::events(many)).await;
    let events = shop.events(256).await;
    assert_eq!((events[255].key.as_ref(), events[255].data.len()), (&b"k255"[..], 60_000));
    let read = shop.log().read(After::default()).await.unwrap();
    assert!(read.events.len() < 20, "{} events of 60,000 bytes came at once", read.events.len());
}
