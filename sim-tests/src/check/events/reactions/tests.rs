use super::*;
use crate::check::fixture::rules;
use crate::check::subscriptions::sample::{id, travelled};
use crate::run::Parked;

fn broken(change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
    let mut run = travelled();
    change(&mut run);
    rules(crate::check::events::check, &run)
}

#[test]
fn reactions_to_what_was_published_break_no_rule() {
    assert_eq!(broken(|_| {}), [""; 0]);
}

#[test]
fn an_event_that_was_not_dealt_with_is_lost_unless_its_subscription_says_that_it_has_stopped() {
    let behind = |run: &mut Run| run.finals.accounts[1].watermarks.values_mut().for_each(|reached| *reached = id(1, 2));
    assert_eq!(broken(behind), ["events.lost"]);
    let stopped = |run: &mut Run| {
        behind(run);
        run.finals.listed[2].stopped = Some("it was put back".into());
    };
    assert_eq!(broken(stopped), ["events.put-back"], "nothing was");
    let lost = |run: &mut Run| {
        stopped(run);
        run.finals.lost_events.insert((1, 9));
    };
    assert_eq!(broken(lost), [""; 0]);
}

#[test]
fn what_is_parked_and_not_listed_is_lost() {
    let parked = |run: &mut Run| {
        let parked = Parked { subscription: "trip.s2".into(), source: 1, key: "k0".into(), event: id(1, 9) };
        run.finals.accounts[1].parked.push(parked);
    };
    assert_eq!(broken(parked), ["events.lost"]);
    let listed = |run: &mut Run| {
        parked(run);
        run.finals.listed[2].parked.insert(id(1, 9));
    };
    assert_eq!(broken(listed), [""; 0]);
}

#[test]
fn what_is_done_twice_out_of_order_or_of_no_event_is_found() {
    let again = |run: &mut Run, caused_by, positions: (u64, u64)| {
        let mut event = run.finals.logs[&2][1].clone();
        (event.position, event.previous, event.caused_by) = (positions.0, positions.1, Some(caused_by));
        run.finals.accounts[1].published.push(event);
    };
    assert_eq!(broken(|run| again(run, id(1, 4), (3, 2))), ["events.once"]);
    assert_eq!(broken(|run| again(run, id(1, 2), (3, 2))), ["events.once", "events.order"]);
    assert_eq!(broken(|run| again(run, id(1, 8), (3, 2))), ["events.invented"]);
}

#[test]
fn what_goes_on_behind_a_parked_event_of_its_key_is_found() {
    let parked = |run: &mut Run| {
        let parked = Parked { subscription: "trip.s2".into(), source: 1, key: "k0".into(), event: id(1, 3) };
        run.finals.accounts[1].parked.push(parked);
        run.finals.listed[2].parked.insert(id(1, 3));
    };
    assert_eq!(broken(parked), ["events.order"]);
}

#[test]
fn who_has_read_what_was_lost_and_goes_on_is_found() {
    let lost = |run: &mut Run| {
        run.finals.accounts[1].watermarks.values_mut().for_each(|reached| *reached = id(1, 9));
        run.finals.lost_events.insert((1, 9));
    };
    assert_eq!(broken(lost), ["events.put-back"]);
}
