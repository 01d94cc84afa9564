//! The log of events: what is published when, in which order, and what crashes leave of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::branch::{act, branch, call, end, step};
use support::{PATIENCE, PROCEDURES, database, participant, server, settings, work};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use undoubt_mariadb::{MariaDb, Settings, list};
use undoubt_participant::event_log::{After, EventSource, EventsRead, ReadError};
use undoubt_participant::resource::{Branches as _, Ended, Resource as _, ResourceError};
use undoubt_platform::SystemClock;
use undoubt_stream::declarations::Declarations;
use undoubt_test_servers::{self as servers, Proxy};
use undoubt_vocabulary::{
    Direction, Event, Execution, Incarnation, Partition, Position, Refusal, RefusalCode, StepOutcome, TopicName, Vote,
};
use undoubt_work::call::{Call, CallWork};
use undoubt_work::event::{Emit, Source};

const DATABASE: &str = "bank";

const TOPICS: &str =
    "[[topic]]\nname = \"sums\"\npartitions = 4\n[[topic]]\nname = \"accounts\"\npartitions = 1\nsourced = true\n";

/// A participant that publishes, and its server.
struct Shop {
    server: servers::MariaDb,
    proxy: Proxy,
    resource: Arc<MariaDb>,
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
        let server = server().await;
        database(&server, DATABASE).await;
        let proxy = Proxy::mariadb(server.address()).await.unwrap();
        let resource = Arc::new(publishing(&through(&server, &proxy), TOPICS, 1));
        resource.recover(&participant()).await.unwrap();
        Shop { server, proxy, resource, incarnation: 1, numbering: None }
    }

    /// Starts the participant anew as after a crash: nothing of the former one is closed in order.
    async fn crash(&mut self) {
        if let Some((numbering, _)) = self.numbering.take() {
            numbering.abort();
        }
        self.incarnation += 1;
        let resource = Arc::new(publishing(&through(&self.server, &self.proxy), TOPICS, self.incarnation));
        self.resource = resource.clone();
        repeated(async || resource.recover(&participant()).await).await;
    }

    fn number(&mut self) {
        let (resource, stop) = (self.resource.clone(), CancellationToken::new());
        let until = stop.clone();
        self.numbering = Some((tokio::spawn(async move { resource.background(until).await }), stop));
    }

    async fn server_is_killed(&mut self) {
        self.server.kill_9();
        self.server.restart().await.unwrap();
    }

    fn log(&self) -> Arc<dyn EventSource> {
        self.resource.events().unwrap()
    }

    async fn sql(&self, statement: &str) -> String {
        self.server.sql(DATABASE, statement).await.unwrap().trim().to_owned()
    }

    async fn value(&self, key: &str) -> String {
        self.sql(&format!("SELECT value FROM kv WHERE name = '{key}'")).await
    }

    async fn prepare(&self, number: u64, work: Bytes) {
        support::branch::prepare(&self.resource, number, work).await;
    }

    async fn commit(&self, number: u64) -> Ended {
        repeated(async || self.resource.commit(branch(number)).await).await
    }

    async fn one_phase(&self, number: u64, work: Bytes) -> Vote {
        prepare(&self.resource, number, Execution::OnePhase, work).await.unwrap()
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
        self.sql("SELECT COUNT(*) FROM undoubt_unnumbered").await
    }
}

fn through(server: &servers::MariaDb, proxy: &Proxy) -> Settings {
    Settings { take_over: true, ..settings(server.url_through(proxy.address(), DATABASE)) }
}

async fn prepare(resource: &MariaDb, number: u64, execution: Execution, work: Bytes) -> Result<Vote, ResourceError> {
    let (id, prepare) = call(number, execution, Duration::from_secs(20), work);
    resource.prepare(id, prepare, CancellationToken::new()).await
}

/// Repeats a call, as the server does, until it is done.
async fn repeated<T>(call: impl AsyncFn() -> Result<T, ResourceError>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(done) => return done,
            Err(ResourceError::Unavailable { .. } | ResourceError::Unclear { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(tokio::time::Instant::now() < deadline, "it is done in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn assert_code(refusal: &Refusal, code: RefusalCode, says: &[&str]) {
    assert_eq!(refusal.code, code, "{refusal}");
    for says in says {
        assert!(refusal.detail.contains(says), "{refusal} says {says:?}");
    }
}

fn publishing(settings: &Settings, topics: &str, incarnation: u8) -> MariaDb {
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
        let EventsRead { events: read, through, .. } = match log.read(after).await {
            Ok(read) => read,
            // Its session was cut; whoever reads asks again.
            Err(ReadError::Resource(ResourceError::Unclear { .. } | ResourceError::Unavailable { .. })) => continue,
            Err(refused) => panic!("{refused}"),
        };
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
    let resource = &shop.resource;
    shop.committed(1, work::put_and_tell("a", "one-phase")).await;
    shop.prepare(2, work::put_and_tell("b", "aborted")).await;
    shop.prepare(3, work::add_and_tell("c", 5)).await;
    assert_eq!(shop.commit(3).await, Ended::AsTold);
    repeated(async || shop.resource.abort(branch(2)).await).await;
    let refused = work::add("none", -1, Some(0));
    assert_code(&shop.refused(4, refused).await, RefusalCode::Condition, &["below 0"]);
    for (number, direction) in [(5, Direction::Compensating), (6, Direction::Completing)] {
        act(resource, number, work::put_and_tell("d", "acted")).await;
        let ended = end(resource, step(number, work::add_and_tell(&format!("ends{number}"), 1), direction)).await;
        assert!(matches!(ended, Ok(StepOutcome::Done { .. })), "{ended:?}");
    }
    let events = shop.events(6).await;
    let expected = [("a", "one-phase"), ("c", "5"), ("d", "acted"), ("ends5", "1"), ("d", "acted"), ("ends6", "1")];
    assert_eq!(told(&events), expected);
    assert_eq!(events[1].correlation.to_string(), "tx-3");
    assert_eq!(shop.value("b").await, "");
    assert_eq!(shop.unnumbered().await, "0");
}

#[tokio::test]
async fn what_is_prepared_is_not_read_before_it_commits_and_does_not_hold_up_others() {
    let shop = Shop::new().await;
    shop.prepare(1, work::put_and_tell("a", "first")).await;
    shop.committed(2, work::put_and_tell("b", "second")).await;
    assert_eq!(told(&shop.events(1).await), [("b", "second")]);
    shop.commit(1).await;
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
        let vote = prepare(&shop.resource, number, execution, missing.clone()).await.unwrap();
        assert!(matches!(&vote, Vote::Refused(refusal) if refusal.code == RefusalCode::InvalidWork), "{vote:?}");
    }
    assert_eq!((shop.value("k").await.as_str(), shop.sql("XA RECOVER").await.as_str()), ("", ""));
    shop.committed(5, work::put_and_tell("k", "right")).await;
    assert_eq!(told(&shop.events(1).await), [("k", "right")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_commits_have_dense_positions_and_keep_the_order_of_each_key() {
    let shop = Shop::new().await;
    let mut writers = JoinSet::new();
    for writer in 0..8_u64 {
        let resource = shop.resource.clone();
        writers.spawn(async move {
            for round in 0..25 {
                let execution = if writer % 2 == 0 { Execution::OnePhase } else { Execution::TwoPhase };
                let mut number = 1_000 * (writer + 1) + round;
                loop {
                    let work = work::add_and_tell(&format!("k{}", (writer + round) % 3), 1);
                    match prepare(&resource, number, execution, work).await.unwrap() {
                        Vote::Committed { .. } => break,
                        Vote::Prepared { .. } if round % 5 == 0 => {
                            resource.abort(branch(number)).await.unwrap();
                            break;
                        }
                        Vote::Prepared { .. } => {
                            resource.commit(branch(number)).await.unwrap();
                            break;
                        }
                        // A deadlock, which the database has ended.
                        Vote::Refused(refusal) if refusal.code == RefusalCode::LockConflict => number += 100_000,
                        other @ (Vote::ReadOnly { .. } | Vote::Refused(_)) => panic!("{other:?}"),
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
    let vote = support::branch::vote(&shop.resource, 4, work::events([work::append("x", Some(2))])).await;
    let late = support::branch::refused(vote);
    assert_code(&late, RefusalCode::Condition, &["has version 3"]);
    shop.prepare(5, work::events([work::append("x", Some(3))])).await;
    // The entity is locked until the branch has ended.
    let younger = work::events([work::append("x", Some(4))]);
    let refused = shop.refused(6, younger.clone()).await;
    assert_code(&refused, RefusalCode::LockConflict, &[]);
    shop.commit(5).await;
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
    shop.prepare(2, work::put_and_tell("b", "in doubt")).await;
    shop.server_is_killed().await;
    shop.crash().await;
    assert_eq!(shop.unnumbered().await, "1");
    shop.number();
    assert_eq!(told(&shop.events(1).await), [("a", "before")]);
    shop.commit(2).await;
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
    let cut = shop.proxy.after("; COMMIT").cut();
    let unclear = prepare(&shop.resource, 1, Execution::OnePhase, work::put_and_tell("b", "unheard")).await;
    assert!(matches!(unclear, Err(ResourceError::Unclear { .. })), "{unclear:?}");
    cut.happened().await.unwrap();
    assert_eq!(told(&shop.events(1).await), [("b", "unheard")]);
    shop.prepare(2, work::put_and_tell("a", "by hand")).await;
    let direct = settings(shop.server.url(DATABASE));
    let xid = list(&direct).await.unwrap().remove(0).xid;
    support::kill_sessions(&shop.server, DATABASE).await;
    shop.sql(&format!("XA COMMIT {xid}")).await;
    assert_eq!(told(&shop.events(2).await)[1], ("a", "by hand"));
}

#[tokio::test]
async fn a_numbering_of_which_no_answer_comes_is_done_once() {
    let mut shop = Shop::without_numbering().await;
    for number in 1..=3 {
        shop.committed(number, work::put_and_tell("a", &number.to_string())).await;
    }
    let cut = shop.proxy.after("UPDATE undoubt_log_end").cut();
    shop.number();
    cut.happened().await.unwrap();
    shop.committed(4, work::put_and_tell("a", "4")).await;
    assert_eq!(told(&shop.events(4).await), [("a", "1"), ("a", "2"), ("a", "3"), ("a", "4")]);
}

#[tokio::test]
async fn whoever_was_taken_over_from_numbers_nothing_any_more() {
    let mut shop = Shop::without_numbering().await;
    shop.committed(1, work::put_and_tell("a", "1")).await;
    let zombie = shop.resource.clone();
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
    shop.server.stop().await.unwrap();
    let backup = shop.server.copy().await.unwrap();
    shop.server.restart().await.unwrap();
    shop.crash().await;
    shop.number();
    shop.committed(2, work::put_and_tell("a", "lost")).await;
    shop.events(2).await;
    let read = shop.log().read(After::default()).await.unwrap().through;
    shop.server.kill_9();
    shop.server.put_back(&backup).await.unwrap();
    shop.server.restart().await.unwrap();
    shop.crash().await;
    shop.number();
    let refused = shop.log().read(read).await.unwrap_err();
    assert!(matches!(&refused, ReadError::PutBack { shared: Position(1), .. }), "{refused}");
    shop.committed(3, work::put_and_tell("a", "other")).await;
    shop.events(2).await;
    let refused = shop.log().read(read).await.unwrap_err();
    assert!(matches!(&refused, ReadError::PutBack { .. }), "{refused}");
}

#[tokio::test]
async fn a_log_that_is_put_back_under_a_running_participant_ends_it() {
    let mut shop = Shop::new().await;
    for number in 1..=2 {
        shop.committed(number, work::put_and_tell("a", &number.to_string())).await;
        shop.events(number).await;
    }
    shop.sql("UPDATE undoubt_log_end SET ends_at = 1; DELETE FROM undoubt_event WHERE position = 2").await;
    shop.committed(3, work::put_and_tell("a", "3")).await;
    let ended = shop.numbering.take().unwrap().0.await.unwrap();
    assert!(matches!(&ended, Err(ResourceError::Foreign { cause }) if cause.contains("put back")), "{ended:?}");
}

#[tokio::test]
async fn a_topic_keeps_the_number_of_its_partitions() {
    let shop = Shop::new().await;
    shop.committed(1, work::put_and_tell("a", "1")).await;
    shop.events(1).await;
    let direct = Settings { take_over: true, ..settings(shop.server.url(DATABASE)) };
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
