//! Local transactions of subscriptions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "../../sql/tests/reacting/mod.rs"]
mod reacting;
mod support;

use bytes::Bytes;
use reacting::{DECLARED, done_in_the_end, event, taking};
use std::sync::Arc;
use std::time::Duration;
use support::branch::call;
use support::{PATIENCE, PROCEDURES, database, participant, server, settings, work};
use tokio_util::sync::CancellationToken;
use undoubt_mariadb::{MariaDb, Settings};
use undoubt_participant::resource::{Branches as _, Resource as _, ResourceError};
use undoubt_participant::subscription::ReactionStore;
use undoubt_platform::SystemClock;
use undoubt_stream::declarations::Declarations;
use undoubt_stream::inbox::Watermark;
use undoubt_test_servers::{self as servers, Proxy};
use undoubt_vocabulary::{Execution, Incarnation, Vote};
use undoubt_work::event::Emit;

const DATABASE: &str = "bank";

/// A participant that reacts, and its server.
struct Fixture {
    server: servers::MariaDb,
    proxy: Proxy,
    resource: Arc<MariaDb>,
}

fn publishing(server: &servers::MariaDb, proxy: &Proxy, incarnation: u8) -> Arc<MariaDb> {
    let declared = Declarations::read(DECLARED).unwrap();
    let settings = Settings { take_over: true, ..settings(server.url_through(proxy.address(), DATABASE)) };
    let resource = support::open(&settings, PROCEDURES);
    Arc::new(resource.publishing(&declared, Incarnation([incarnation; 16]), Arc::new(SystemClock)).unwrap())
}

async fn open(incarnation: u8) -> Fixture {
    let server = server().await;
    database(&server, DATABASE).await;
    let proxy = Proxy::mariadb(server.address()).await.unwrap();
    let resource = publishing(&server, &proxy, incarnation);
    resource.recover(&participant()).await.unwrap();
    Fixture { server, proxy, resource }
}

async fn again(fixture: &mut Fixture, incarnation: u8) -> Arc<MariaDb> {
    let resource = publishing(&fixture.server, &fixture.proxy, incarnation);
    let former = std::mem::replace(&mut fixture.resource, resource);
    repeated(async || fixture.resource.recover(&participant()).await).await;
    former
}

impl Fixture {
    async fn value(&self, key: &str) -> String {
        let statement = format!("SELECT value FROM kv WHERE name = '{key}'");
        self.server.sql(DATABASE, &statement).await.unwrap().trim().to_owned()
    }
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

async fn prepare(resource: &MariaDb, number: u64, execution: Execution, work: Bytes) -> Result<Vote, ResourceError> {
    let (id, prepare) = call(number, execution, Duration::from_secs(20), work);
    resource.prepare(id, prepare, CancellationToken::new()).await
}

fn store(fixture: &Fixture) -> Arc<dyn ReactionStore> {
    fixture.resource.reactions().unwrap()
}

#[tokio::test]
async fn a_reaction_is_one_transaction_with_its_events_and_how_far_it_has_come() {
    let mut fixture = open(1).await;
    reacting::takes_each_event_once(&*store(&fixture), |count| work::add("stock", count, Some(0))).await;
    assert_eq!(fixture.value("stock").await, "3");
    fixture.server.kill_9();
    fixture.server.restart().await.unwrap();
    again(&mut fixture, 2).await;
    reacting::finds_what_was_taken(&*store(&fixture)).await;
    let (resource, stop) = (fixture.resource.clone(), CancellationToken::new());
    tokio::spawn(async move { resource.background(stop).await });
    let log = fixture.resource.events().unwrap();
    log.stable().wait_for(|stable| stable.0 == 2).await.unwrap();
    let read = log.read(Default::default()).await.unwrap();
    let published: Vec<_> = read.events.iter().map(|event| event.causation.unwrap()).collect();
    assert_eq!(published, [event(1), event(1)]);
    assert_eq!(read.events[0].correlation.to_string(), "t1");
}

#[tokio::test]
async fn a_reaction_whose_answer_is_lost_is_done_once_or_not_at_all() {
    let fixture = open(1).await;
    let (store, put) = (store(&fixture), || work::add("stock", 5, Some(0)));
    let cut = fixture.proxy.after("; COMMIT").cut();
    done_in_the_end(&*store, || taking(Watermark(None), 1, put())).await;
    cut.happened().await.unwrap();
    assert_eq!(fixture.value("stock").await, "5");
    let cut = fixture.proxy.before("; COMMIT").cut();
    done_in_the_end(&*store, || taking(event(1).into(), 2, put())).await;
    cut.happened().await.unwrap();
    assert_eq!(fixture.value("stock").await, "10");
}

#[tokio::test]
async fn whoever_was_taken_over_from_reacts_no_more() {
    let mut fixture = open(1).await;
    let zombie = again(&mut fixture, 2).await.reactions().unwrap();
    let carried = zombie.carry_out(taking(Watermark(None), 1, work::put("k", "late"))).await;
    assert!(matches!(&carried, Err(ResourceError::Fenced { .. })), "{carried:?}");
    assert_eq!(fixture.value("k").await, "");
}

#[tokio::test]
async fn parked_events_places_and_timers_are_stored_and_end_once() {
    let fixture = open(1).await;
    reacting::parks_and_gives_up(&*store(&fixture)).await;
    let order = work::events([Emit::new("orders", "order.placed", "o1")]);
    let vote = prepare(&fixture.resource, 1, Execution::OnePhase, order).await.unwrap();
    assert!(matches!(vote, Vote::Committed { .. }), "{vote:?}");
    reacting::ends_a_timer_once(&*store(&fixture)).await;
}
