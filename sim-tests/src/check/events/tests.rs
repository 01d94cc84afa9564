use super::*;
use crate::check::fixture::{Fixture, rules, transfer};
use crate::run::ToldPutBack;

fn event(position: u64, previous: u64, tx: &str, key: &str, deed: Deed) -> Published {
    Published {
        position,
        incarnation: [1; 16],
        topic: "moves".into(),
        partition: 0,
        previous,
        key: key.into(),
        version: None,
        correlation: tx.into(),
        published_at_us: 0,
        kind: "changed".into(),
        caused_by: None,
        data: serde_json::to_string(&deed).unwrap(),
    }
}

/// What a transfer publishes: its change, and the whole.
fn transferred(after: u64, version: u64, tx: &str, added: (i64, i64)) -> Vec<Published> {
    let deed = |index, added| Deed { tx: tx.into(), part: DeedPart::Do, index, added };
    let moved = event(after + 1, after.saturating_sub(1), tx, "account/0", deed(0, Some(added)));
    let whole = event(after + 2, after, tx, "entity", deed(1, None));
    vec![moved, Published { topic: "deeds".into(), version: Some(version), ..whole }]
}

/// Two transfers from p1 to p2, of which both have a log that a reader has read.
fn published() -> Run {
    let mut run = Fixture::default()
        .commit("t1", transfer(1, 2, 10))
        .commit("t2", transfer(1, 2, 5))
        .abort("t3", transfer(1, 2, 1))
        .run();
    for (participant, sign) in [(1, -1), (2, 1)] {
        let first = transferred(0, 1, "t1", (sign * 10, sign * 10));
        let log = [first, transferred(2, 2, "t2", (sign * 5, sign * 15))].concat();
        let told = log.iter().map(|event| (event.position, event.clone())).collect();
        run.finals.readings.push(Reading { reader: 1, participant, told, is_through: true, ..Reading::default() });
        run.finals.logs.insert(participant, log);
    }
    run
}

fn broken(change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
    let mut run = published();
    change(&mut run);
    rules(check, &run)
}

fn log(run: &mut Run) -> &mut Vec<Published> {
    run.finals.logs.get_mut(&1).unwrap()
}

fn reading(run: &mut Run) -> &mut Reading {
    &mut run.finals.readings[0]
}

#[test]
fn a_log_that_goes_with_its_data_breaks_no_rule() {
    assert_eq!(broken(|_| {}), [""; 0]);
}

#[test]
fn an_event_that_is_missing_is_found_in_the_log_and_at_who_should_have_read_it() {
    let cut = |run: &mut Run| {
        log(run).truncate(2);
        reading(run).told.retain(|position, _| *position <= 2);
    };
    assert_eq!(broken(cut), ["events.lost", "events.lost"]);
    assert_eq!(broken(|run| drop(reading(run).told.remove(&4))), ["events.lost"]);
    assert_eq!(broken(|run| reading(run).is_through = false), ["events.lost"]);
}

#[test]
fn a_transaction_that_was_run_anew_is_not_held_against_the_log_but_its_balance_is() {
    let cut = |run: &mut Run| {
        log(run).truncate(2);
        reading(run).told.retain(|position, _| *position <= 2);
        run.finals.excused.insert("t2".into());
    };
    assert_eq!(broken(cut), ["events.lost"]);
}

#[test]
fn what_an_aborted_branch_has_published_is_invented_and_so_is_what_only_a_reader_has() {
    let aborted = |run: &mut Run| {
        let more = transferred(4, 3, "t3", (0, -15));
        reading(run).told.extend(more.iter().map(|event| (event.position, event.clone())));
        log(run).extend(more);
    };
    assert_eq!(broken(aborted), ["events.invented"]);
    let alone = |run: &mut Run| {
        let event = transferred(4, 3, "t3", (0, -15)).remove(0);
        reading(run).told.insert(5, event);
    };
    assert_eq!(broken(alone), ["events.invented"]);
}

#[test]
fn what_is_published_twice_is_found() {
    let twice = |run: &mut Run| {
        let more = transferred(4, 3, "t2", (0, -15));
        reading(run).told.extend(more.iter().map(|event| (event.position, event.clone())));
        log(run).extend(more);
    };
    assert_eq!(broken(twice), ["events.once"]);
}

#[test]
fn events_out_of_their_order_are_found_by_what_they_name_before_them_and_by_balances_and_versions() {
    let swapped = |run: &mut Run| {
        let log = log(run);
        let (first, second) = (log[0].data.clone(), log[2].data.clone());
        (log[0].data, log[2].data) = (second, first);
        run.finals.readings.remove(0);
    };
    assert!(broken(swapped).contains(&"events.order"));
    let other = |run: &mut Run| {
        log(run)[2].previous = 2;
        run.finals.readings.remove(0);
    };
    assert_eq!(broken(other), ["events.order"]);
    let version = |run: &mut Run| {
        log(run)[3].version = Some(3);
        run.finals.readings.remove(0);
    };
    assert_eq!(broken(version), ["events.order"]);
}

#[test]
fn a_gap_is_found_and_so_is_a_position_with_two_contents() {
    let gap = |run: &mut Run| {
        log(run)[3].position = 5;
        run.finals.readings.remove(0);
    };
    assert_eq!(broken(gap), ["events.position"]);
    assert_eq!(broken(|run| reading(run).gaps.push(2)), ["events.position"]);
    assert_eq!(broken(|run| reading(run).told_trimmed = Some("dropped".into())), ["events.position"]);
    let other = |run: &mut Run| {
        let told = reading(run).told.get_mut(&2).unwrap();
        told.published_at_us = 7;
    };
    assert_eq!(broken(other), ["events.invented", "events.position"]);
}

#[test]
fn a_reader_is_told_that_the_log_was_put_back_if_it_was_and_only_then() {
    let told = |run: &mut Run, is_there| {
        reading(run).put_back = Some(ToldPutBack { at_us: 1, position: 4, is_there });
    };
    assert_eq!(broken(|run| told(run, false)), ["events.put-back"]);
    let lost = |run: &mut Run| {
        told(run, false);
        run.finals.lost_events.insert((1, 4));
    };
    assert_eq!(broken(lost), [""; 0]);
    let there = |run: &mut Run| {
        told(run, true);
        run.finals.lost_events.insert((1, 4));
    };
    assert_eq!(broken(there), ["events.put-back"]);
    let other = |run: &mut Run| {
        let event = Published { incarnation: [2; 16], ..log(run)[1].clone() };
        reading(run).told_otherwise.push(event);
    };
    assert_eq!(broken(other), ["events.put-back"]);
}
