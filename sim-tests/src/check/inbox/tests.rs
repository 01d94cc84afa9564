use super::*;
use crate::check::fixture::rules;
use crate::check::subscriptions::sample::{id, travelled};
use crate::run::Parked;

fn broken(change: impl FnOnce(&mut [Account])) -> Vec<&'static str> {
    let mut run = travelled();
    change(&mut run.finals.accounts);
    rules(check, &run)
}

#[test]
fn a_store_that_shows_what_comes_of_its_positions_breaks_no_rule() {
    assert_eq!(broken(|_| {}), [""; 0]);
}

#[test]
fn a_position_without_its_work_and_work_without_its_position_are_found() {
    let without_work = |accounts: &mut [Account]| {
        accounts[1].published.remove(1);
    };
    assert_eq!(broken(without_work), ["inbox.prefix"]);
    let without_position = |accounts: &mut [Account]| {
        accounts[1].watermarks.values_mut().for_each(|reached| *reached = id(1, 2));
    };
    assert_eq!(broken(without_position), ["inbox.prefix"]);
    let parked = |accounts: &mut [Account]| {
        without_work(accounts);
        let parked = Parked { subscription: "trip.s2".into(), source: 1, key: "k0".into(), event: id(1, 4) };
        accounts[1].given_up.push(parked);
    };
    assert_eq!(broken(parked), [""; 0]);
}

#[test]
fn what_undoes_a_reaction_and_has_not_is_found() {
    let in_effect = |accounts: &mut [Account]| {
        accounts[0].barriers.insert(("trip.s1".into(), "t2".into()), Barrier::Acted);
        accounts[0].trips.insert("t2".into(), "k0".into());
        accounts[0].seats.insert("k0".into(), 2);
    };
    assert_eq!(broken(in_effect), ["inbox.prefix"]);
    let no_barrier = |accounts: &mut [Account]| accounts[0].barriers.retain(|(_, trip), _| trip != "t2");
    assert_eq!(broken(no_barrier), ["inbox.prefix"]);
}

#[test]
fn rows_that_do_not_go_with_each_other_are_found() {
    assert_eq!(broken(|accounts| *accounts[0].seats.get_mut("k0").unwrap() = 2), ["inbox.prefix"]);
    let row = |accounts: &mut [Account]| {
        accounts[1].trips.clear();
        accounts[1].seats.clear();
    };
    assert_eq!(broken(row), ["inbox.prefix"]);
}

#[test]
fn a_view_that_counts_otherwise_than_it_publishes_is_found() {
    let mut run = travelled();
    run.plan.shape.views = true;
    assert_eq!(rules(check, &run), [""; 0]);
    run.finals.accounts[0].viewed.insert("account/0".into(), 1);
    assert_eq!(rules(check, &run), ["inbox.prefix"]);
}
