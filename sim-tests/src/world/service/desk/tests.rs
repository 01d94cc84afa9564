use super::super::books::FAMILIES;
use super::super::wire::Body;
use super::*;
use crate::plan::{Plan, Shape};
use crate::process::Process;
use crate::world::observation::Recorder;
use std::collections::BTreeSet;

const SERVICE: Host = Host::Service(1);

fn shared() -> Arc<Shared> {
    let shape = Shape { services: BTreeSet::from([1]), ..Shape::default() };
    Shared::new(Plan { seed: 1, shape, faults: Vec::new(), mutant: None }, Recorder::default())
}

fn open(shared: &Arc<Shared>) -> Desk {
    let store = shared.disk(SERVICE).open(&FAMILIES, Process::default()).unwrap();
    Desk::open(shared.clone(), SERVICE, 1, Arc::new(store)).unwrap()
}

fn asked(effect: &str, operation: &str, delta: i64) -> Asked {
    let body = Body { tx: format!("tx-{effect}"), ops: vec![Op::Transfer { account: 0, delta }], hold: None };
    Asked { operation: operation.to_owned(), effect: effect.to_owned(), looks: false, body }
}

async fn status(desk: &Desk, effect: &str, operation: &str, delta: i64) -> u16 {
    desk.answer(&asked(effect, operation, delta), false).await.unwrap().status
}

async fn confirmed(desk: &Desk, effect: &str, hold: &str) -> u16 {
    let asked = asked(effect, "confirm", 0);
    let body = Body { hold: Some(hold.to_owned()), ..asked.body };
    desk.answer(&Asked { body, ..asked }, false).await.unwrap().status
}

fn balance(desk: &Desk) -> i64 {
    let read = desk.books.draft().does("looking", &[Op::ReadAccount { account: 0 }]);
    let Ok(values) = read else { panic!("the account is read") };
    values[0].as_ref().map_or(0, |value| value.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_key_takes_effect_once_also_after_a_crash_and_is_answered_alike() {
    let shared = shared();
    let desk = open(&shared);
    let first = desk.answer(&asked("a", "action", -5), false).await.unwrap();
    assert_eq!(desk.answer(&asked("a", "action", -5), false).await.unwrap(), first);
    let desk = open(&shared);
    assert_eq!(desk.answer(&asked("a", "action", -5), false).await.unwrap(), first);
    assert_eq!((first.status, balance(&desk)), (200, -5));
}

#[tokio::test(start_paused = true)]
async fn what_is_undone_is_undone_for_good_and_what_never_was_is_as_well() {
    let desk = open(&shared());
    assert_eq!(status(&desk, "a", "action", -5).await, 200);
    assert_eq!(status(&desk, "a", "compensation", 0).await, 200);
    assert_eq!(status(&desk, "b", "compensation", 0).await, 200);
    assert_eq!(status(&desk, "b", "action", -5).await, 409, "it is late");
    assert_eq!(status(&desk, "c", "cancel", 0).await, 200);
    assert_eq!(status(&desk, "c", "try", -5).await, 409, "it is late");
    assert_eq!(balance(&desk), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_is_held_against_others_until_it_is_confirmed_under_its_own_name() {
    let shared = shared();
    let desk = open(&shared);
    assert_eq!(status(&desk, "a", "try", -5).await, 200);
    let desk = if balance(&desk) == 0 { open(&shared) } else { panic!("nothing is in effect yet") };
    assert_eq!(status(&desk, "b", "action", -5).await, 423);
    assert_eq!(confirmed(&desk, "a", "another").await, 409);
    assert_eq!(confirmed(&desk, "a", "a").await, 200);
    assert_eq!((confirmed(&desk, "a", "a").await, balance(&desk)), (200, -5));
    assert_eq!(status(&desk, "a", "cancel", 0).await, 409, "it is confirmed");
    assert_eq!(status(&desk, "b", "action", -5).await, 200, "423 is not kept");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_is_kept_and_a_dropped_hold_is_not_confirmed() {
    let desk = open(&shared());
    assert_eq!(status(&desk, "a", "action", -Op::OPENING_BALANCE - 1).await, 409);
    assert_eq!(status(&desk, "b", "action", 50).await, 200);
    assert_eq!(status(&desk, "a", "action", -Op::OPENING_BALANCE - 1).await, 409, "though it could be done now");
    assert_eq!(status(&desk, "c", "try", -5).await, 200);
    assert_eq!(desk.drop_a_hold().await.unwrap().as_deref(), Some("tx-c"));
    assert_eq!((confirmed(&desk, "c", "c").await, balance(&desk)), (409, 50));
    assert_eq!(status(&desk, "c", "cancel", 0).await, 200);
}
