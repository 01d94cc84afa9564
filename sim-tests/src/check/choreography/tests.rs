use super::*;
use crate::check::fixture::rules;
use crate::check::subscriptions::sample::{id, travelled};
use crate::run::{Account, Parked};

fn broken(change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
    let mut run = travelled();
    change(&mut run);
    rules(check, &run)
}

fn accounts(run: &mut Run) -> &mut [Account] {
    &mut run.finals.accounts
}

#[test]
fn trips_that_are_done_or_undone_break_no_rule() {
    assert_eq!(broken(|_| {}), [""; 0]);
}

#[test]
fn trips_that_are_half_done_or_end_otherwise_than_they_had_to_are_found() {
    assert_eq!(broken(|run| accounts(run)[1].trips.clear()), ["choreography.ended"], "half done");
    let all = |run: &mut Run, trips: &[&str]| {
        let rows: BTreeMap<String, String> = trips.iter().map(|trip| ((*trip).to_owned(), "k0".to_owned())).collect();
        accounts(run).iter_mut().for_each(|account| account.trips.clone_from(&rows));
    };
    assert_eq!(broken(|run| all(run, &[])), ["choreography.ended"], "t1 was not refused");
    assert_eq!(broken(|run| all(run, &["t1", "t2"])), ["choreography.ended"], "t2 was");
    assert_eq!(broken(|run| all(run, &["t1", "t3"])), ["choreography.ended"], "t3 did not begin");
}

#[test]
fn a_trip_that_waits_for_an_operator_or_lost_an_event_is_excused_and_no_other_is() {
    let half_done = |run: &mut Run| accounts(run)[1].trips.clear();
    let parked = |event| Parked { subscription: "trip.s2".into(), source: 1, key: "k0".into(), event };
    let waits = |run: &mut Run, event| {
        half_done(run);
        accounts(run)[1].parked.push(parked(event));
    };
    assert_eq!(broken(|run| waits(run, id(1, 2))), [""; 0]);
    assert_eq!(broken(|run| waits(run, id(1, 4))), ["choreography.ended"], "that is another trip's");
    let lost = |run: &mut Run| {
        half_done(run);
        run.finals.lost_events.insert((1, 2));
    };
    assert_eq!(broken(lost), [""; 0]);
    let stopped = |run: &mut Run| {
        half_done(run);
        run.finals.listed[0].stopped = Some("it was put back".into());
    };
    assert_eq!(broken(stopped), [""; 0]);
}
