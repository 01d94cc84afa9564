//! Local transactions of subscriptions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "../../sql/tests/reacting/mod.rs"]
mod reacting;
mod support;

use reacting::{DECLARED, done_in_the_end, event, taking};
use std::sync::Arc;
use support::fixture::{Fixture, prepare};
use support::{PROCEDURES, participant, work};
use undoubt_participant::resource::{Resource as _, ResourceError};
use undoubt_participant::subscription::ReactionStore;
use undoubt_platform::SystemClock;
use undoubt_postgresql::{PostgreSql, Settings};
use undoubt_stream::declarations::Declarations;
use undoubt_stream::inbox::Watermark;
use undoubt_vocabulary::{Execution, Incarnation, Vote};
use undoubt_work::event::Emit;

/// A participant that reacts, and its server.
async fn open(incarnation: u8) -> Fixture {
    let mut fixture = Fixture::new().await;
    again(&mut fixture, incarnation).await;
    fixture
}

async fn again(fixture: &mut Fixture, incarnation: u8) -> Arc<PostgreSql> {
    let declared = Declarations::read(DECLARED).unwrap();
    let resource = support::open(&Settings { take_over: true, ..fixture.settings() }, PROCEDURES);
    let resource = resource.publishing(&declared, Incarnation([incarnation; 16]), Arc::new(SystemClock)).unwrap();
    let former = std::mem::replace(&mut fixture.resource, Arc::new(resource));
    fixture.until_done(async || fixture.resource.recover(&participant()).await).await;
    former
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
    let (_background, _stop) = fixture.spawn_background();
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
    let cut = fixture.proxy.after("COMMIT").cut();
    done_in_the_end(&*store, || taking(Watermark(None), 1, put())).await;
    cut.happened().await.unwrap();
    assert_eq!(fixture.value("stock").await, "5");
    let cut = fixture.proxy.before("COMMIT").cut();
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
