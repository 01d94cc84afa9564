//! A reaction's way through events, word for word.
//!
//! Each is compared with its file in `tests/golden`; `UPDATE_GOLDEN=1` writes the files anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;
#[path = "golden/script.rs"]
mod script;

use common::{STOCK, event, id, source};
use script::Script;
use undoubt_vocabulary::Position;
use undoubt_vocabulary::RefusalCode::{Condition, InvalidWork, LockConflict};

fn check(name: &str, text: &str) {
    // Relative to the package: several checkouts share what is compiled.
    let path = format!("tests/golden/{name}.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("the folder of golden files can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{path} differs; look at the difference, then run with UPDATE_GOLDEN=1");
}

#[test]
fn an_inbox_takes_what_is_next_and_nothing_else() {
    let (mut script, orders) = (Script::new(STOCK), source("shop", "orders", 0));
    let [first, second, third] = [(1, 0), (3, 1), (4, 3)]
        .map(|(at, previous)| event(&orders, at, previous, "order.placed", "shoe", &format!("s{at}")));
    script.receive(&orders, &first);
    script.receive(&orders, &first);
    script.receive(&orders, &third);
    script.receive(&orders, &second);
    script.receive(&orders, &third);
    script.receive(&orders, &event(&orders, 6, 4, "order.changed", "shoe", "s6"));
    script.restart();
    script.receive(&orders, &event(&orders, 6, 4, "order.changed", "shoe", "s6"));
    check("inbox", &script.text);
}

#[test]
fn a_log_that_was_put_back_stops_it_until_an_operator_says_where_to_go_on() {
    let (mut script, orders) = (Script::new(STOCK), source("shop", "orders", 0));
    script.receive(&orders, &event(&orders, 1, 0, "order.placed", "shoe", "s1"));
    script.receive(&orders, &event(&orders, 2, 1, "order.placed", "shoe", "s2"));
    let mut again = event(&orders, 2, 1, "order.placed", "boot", "s3");
    again.incarnation = id(2, 2).incarnation;
    script.receive(&orders, &again);
    script.go_on_after(&orders, Position(1));
    script.receive(&orders, &again);
    check("put-back", &script.text);
}

#[test]
fn a_reaction_acts_and_is_undone() {
    let (mut script, orders, payments) =
        (Script::new(STOCK), source("shop", "orders", 0), source("bank", "payments", 0));
    script.receive(&orders, &event(&orders, 1, 0, "order.placed", "shoe", "s1"));
    let refused = event(&payments, 1, 0, "payment.refused", "17", "s1");
    script.receive(&payments, &refused);
    script.receive(&payments, &event(&payments, 2, 1, "payment.refused", "17", "s1"));
    script.receive(&orders, &event(&orders, 2, 1, "order.placed", "shoe", "s1"));
    check("undone", &script.text);
}

#[test]
fn a_second_event_of_a_saga_waits_for_an_operator_where_it_could_be_undone() {
    let (mut script, orders) = (Script::new(STOCK), source("shop", "orders", 0));
    script.receive(&orders, &event(&orders, 1, 0, "order.placed", "shoe", "s1"));
    script.receive(&orders, &event(&orders, 2, 1, "order.placed", "boot", "s1"));
    let plain = STOCK.lines().filter(|line| !line.starts_with("undo")).collect::<Vec<_>>().join("\n");
    let mut without = Script::new(&plain);
    without.receive(&orders, &event(&orders, 1, 0, "order.placed", "shoe", "s1"));
    without.receive(&orders, &event(&orders, 2, 1, "order.placed", "boot", "s1"));
    check("twice", &format!("{}\nwithout anything that undoes it:\n{}", script.text, without.text));
}

#[test]
fn what_undoes_it_may_overtake_it() {
    let (mut script, orders, payments) =
        (Script::new(STOCK), source("shop", "orders", 0), source("bank", "payments", 0));
    script.receive(&payments, &event(&payments, 1, 0, "payment.refused", "17", "s1"));
    script.receive(&orders, &event(&orders, 1, 0, "order.placed", "shoe", "s1"));
    check("overtaken", &script.text);
}

#[test]
fn what_is_refused_for_now_is_tried_until_it_is_done_and_overtaken_meanwhile() {
    let (mut script, orders, payments) =
        (Script::new(STOCK), source("shop", "orders", 0), source("bank", "payments", 0));
    script.refuse(LockConflict, 7);
    script.receive(&orders, &event(&orders, 1, 0, "order.placed", "shoe", "s1"));
    script.refuse(LockConflict, 1);
    script.overtake(&payments, &event(&payments, 1, 0, "payment.refused", "17", "s2"));
    script.receive(&orders, &event(&orders, 2, 1, "order.placed", "shoe", "s2"));
    check("transient", &script.text);
}

#[test]
fn a_refusal_that_is_an_outcome_is_published() {
    let refused = "attempts = 2\nrefused = { topic = \"stock\", type = \"stock.refused\" }";
    let mut script = Script::new(&STOCK.replace("attempts = 2", refused));
    let orders = source("shop", "orders", 0);
    script.refuse(Condition, 1);
    script.receive(&orders, &event(&orders, 1, 0, "order.placed", "shoe", "s1"));
    let payments = source("bank", "payments", 0);
    script.receive(&payments, &event(&payments, 1, 0, "payment.refused", "17", "s1"));
    check("refused", &script.text);
}

#[test]
fn a_key_is_parked_with_what_follows_and_retried_in_order() {
    let (mut script, orders) = (Script::new(STOCK), source("shop", "orders", 0));
    let placed = |at, key| event(&orders, at, at - 1, "order.placed", key, &format!("s{at}"));
    script.refuse(Condition, 2);
    script.receive(&orders, &placed(1, "shoe"));
    script.receive(&orders, &placed(2, "boot"));
    script.receive(&orders, &placed(3, "shoe"));
    script.restart();
    script.receive(&orders, &placed(4, "shoe"));
    script.refuse(Condition, 1);
    script.retry("shoe");
    script.refuse(LockConflict, 1);
    script.retry("shoe");
    script.retry("shoe");
    script.refuse(InvalidWork, 1);
    script.receive(&orders, &placed(5, "shoe"));
    check("parked", &script.text);
}

#[test]
fn what_is_parked_may_be_given_up() {
    let (mut script, orders) = (Script::new(STOCK), source("shop", "orders", 0));
    let placed = |at, key| event(&orders, at, at - 1, "order.placed", key, &format!("s{at}"));
    script.refuse(Condition, 2);
    script.receive(&orders, &placed(1, "shoe"));
    for at in 2..5 {
        script.receive(&orders, &placed(at, "shoe"));
    }
    script.skip("shoe", 0);
    script.skip("shoe", 0);
    script.retry_once("shoe");
    script.drop_key("shoe");
    script.drop_key("shoe");
    script.receive(&orders, &placed(5, "shoe"));
    check("given-up", &script.text);
}

#[test]
fn it_stops_when_there_is_no_room_for_what_is_parked() {
    let (mut script, orders) = (Script::new(STOCK), source("shop", "orders", 0));
    let placed = |at, key| event(&orders, at, at - 1, "order.placed", key, &format!("s{at}"));
    script.refuse(Condition, 2);
    script.receive(&orders, &placed(1, "shoe"));
    for at in 2..5 {
        script.receive(&orders, &placed(at, "shoe"));
    }
    script.receive(&orders, &placed(5, "shoe"));
    script.skip("shoe", 2);
    script.receive(&orders, &placed(5, "shoe"));
    check("full", &script.text);
}

#[test]
fn what_cannot_be_filled_in_parks_at_once() {
    let (mut script, orders) = (Script::new(STOCK), source("shop", "orders", 0));
    let mut strange = event(&orders, 1, 0, "order.placed", "shoe", "s1");
    strange.data = "{\"thing\":\"shoe\"}".into();
    script.receive(&orders, &strange);
    check("unfit", &script.text);
}
