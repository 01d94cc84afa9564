use super::*;
use crate::machines::Machines;
use crate::scenario::Budget;
use std::collections::{BTreeMap, BTreeSet};

/// Every world of a scenario, by its fingerprint under its own names.
fn all_worlds(machines: &mut Machines<'_>, budget: Budget) -> BTreeMap<u128, World> {
    let first = World::new(budget, machines);
    let mut worlds = BTreeMap::from([(fingerprint(&first), first.clone())]);
    let mut open = vec![first];
    while let Some(world) = open.pop() {
        for action in world.actions(machines.scenario) {
            let mut after = world.clone();
            after.step(&action, machines).unwrap();
            if worlds.insert(fingerprint(&after), after.clone()).is_none() {
                open.push(after);
            }
        }
    }
    worlds
}

/// The same world with its participants named otherwise.
fn renamed(world: &World, at: usize, symmetry: &Symmetry) -> World {
    let renaming = &symmetry.renamings[at];
    let mut renamed = world.clone();
    for (number, seat) in world.seats.iter().enumerate() {
        renamed.seats[renaming.number(number)] = seat.clone();
    }
    renamed.coordinator = symmetry.counterparts(&world.coordinator)[at].clone();
    renamed.clients = Part::new(renaming.clients(&world.clients));
    renamed
}

/// The worlds that are this one renamed, by their fingerprints.
fn orbit(world: &World, symmetry: &Symmetry) -> BTreeSet<u128> {
    (0..symmetry.renamings.len()).map(|at| fingerprint(&renamed(world, at, symmetry))).collect()
}

fn merged_exactly_with_its_renamings(
    scenario: &Scenario,
    budget: Budget,
    merge: fn(&mut Symmetry, &World) -> u128,
) -> bool {
    let mut machines = Machines::new(scenario);
    let worlds = all_worlds(&mut machines, budget);
    let mut classes: BTreeMap<u128, BTreeSet<u128>> = BTreeMap::new();
    for (id, world) in &worlds {
        classes.entry(merge(&mut machines.symmetry, world)).or_default().insert(*id);
    }
    println!("{}: {} worlds, {} up to renaming", scenario.name, worlds.len(), classes.len());
    assert!(classes.len() < worlds.len(), "nothing is merged");
    classes.values().all(|class| class.iter().all(|id| orbit(&worlds[id], &machines.symmetry) == *class))
}

#[test]
fn two_worlds_are_one_exactly_if_one_is_the_other_renamed() {
    for (scenario, budget) in [
        (Scenario::four_participants(), Budget::NONE),
        (Scenario::three_participants(), Budget { losses: 1, ..Budget::NONE }),
        (Scenario::wait_die(), Budget::NONE),
        (Scenario::heuristic(), Budget { heuristics: 2, ..Budget::NONE }),
        (Scenario::forgotten(), Budget { crashes: 1, ..Budget::NONE }),
    ] {
        assert!(merged_exactly_with_its_renamings(&scenario, budget, Symmetry::fingerprint), "{}", scenario.name);
    }
}

/// Returns the states of participants, without who is in which.
fn blind(_: &mut Symmetry, world: &World) -> u128 {
    let mut seats: Vec<u128> = world.seats.iter().map(fingerprint).collect();
    seats.sort_unstable();
    fingerprint(&(&world.coordinator, seats, &world.clients, world.budget))
}

#[test]
fn a_symmetry_that_does_not_rename_for_the_coordinator_is_found_out() {
    assert!(!merged_exactly_with_its_renamings(&Scenario::three_participants(), Budget::NONE, blind));
}

/// Returns where all that can happen leads to, up to renaming.
fn next(world: &World, machines: &mut Machines<'_>) -> Vec<u128> {
    let mut next = Vec::new();
    for action in world.actions(machines.scenario) {
        let mut after = world.clone();
        after.step(&action, machines).unwrap();
        next.push(machines.symmetry.fingerprint(&after));
    }
    next.sort_unstable();
    next
}

#[test]
fn what_happens_next_does_not_depend_on_names() {
    let scenario = Scenario::three_participants();
    let mut machines = Machines::new(&scenario);
    for world in all_worlds(&mut machines, Budget::NONE).values() {
        let expected = next(world, &mut machines);
        for at in 1..machines.symmetry.renamings.len() {
            let renamed = renamed(world, at, &machines.symmetry);
            assert_eq!(next(&renamed, &mut machines), expected);
        }
    }
}
