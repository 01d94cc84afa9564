//! Tests that these checks can fail, where no planted bug shows it.

use super::*;
use crate::action::Action;
use crate::machines::Machines;
use crate::network::Body;
use crate::part::Part;
use crate::restoration::Restoring;
use crate::storage::Storage;
use bytes::Bytes;
use undoubt_coordinator_core::standing::Standing;
use undoubt_vocabulary::ToParticipant;

/// A scenario's first world, when something has been done to it.
fn world(scenario: &Scenario, change: impl FnOnce(&mut World, &mut Machines<'_>)) -> World {
    let mut machines = Machines::new(scenario);
    let mut world = World::new(scenario.budget, &mut machines);
    change(&mut world, &mut machines);
    world
}

fn write(storage: &mut Storage, tx: &str, attempt_number: u64) {
    let versions = storage.history.entry(Bytes::from_static(b"x")).or_default();
    versions.push((tx.parse().unwrap(), AttemptNumber(attempt_number)));
}

#[test]
fn an_id_that_has_committed_under_two_attempts_is_found() {
    let scenario = Scenario::log_put_back_alone();
    let twice = world(&scenario, |world, _| {
        world.seats[0].host.change(|host| {
            write(&mut host.storage, "T1", 1);
            write(&mut host.storage, "T1", 2);
        });
    });
    assert!(check(&twice, &scenario).unwrap_err().contains("committed twice"));
    let once = world_of_one_commit(&scenario);
    assert_eq!(check(&once, &scenario), Ok(()));
}

fn world_of_one_commit(scenario: &Scenario) -> World {
    world(scenario, |world, _| world.seats[0].host.change(|host| write(&mut host.storage, "T1", 1)))
}

#[test]
fn what_a_client_was_told_of_a_commit_that_no_branch_has_is_found_unless_it_is_excused() {
    let scenario = Scenario::log_put_back_alone();
    let told = |world: &mut World| {
        let tx: TxId = "T1".parse().unwrap();
        world.clients.change(|clients| clients.told.insert(tx, (Outcome::Committed, Vec::new())));
    };
    let lost = world(&scenario, |world, _| told(world));
    assert!(check(&lost, &scenario).unwrap_err().contains("cannot any more"));
    let excused = world(&scenario, |world, _| {
        told(world);
        world.restored.change(|restored| restored.unnoticed = true);
    });
    assert_eq!(check(&excused, &scenario), Ok(()));
}

#[test]
fn a_message_that_is_sent_while_the_coordinator_asks_is_found() {
    let scenario = Scenario::nothing_put_back();
    let asking = world(&scenario, |world, _| {
        world.coordinator.change(|host| {
            let starts = host.log.numbers.as_ref().map(|numbers| numbers.starts.clone()).unwrap();
            host.process.as_mut().unwrap().standing = Some(Standing::new(starts, [participant_name(0)]));
        });
    });
    let message = ToParticipant::Commit { tx: "T1".parse().unwrap(), attempt_number: AttemptNumber(1) };
    let body = Part::new(Body::ToParticipant { low_water_mark: AttemptNumber(1).into(), writes: 1, message });
    let sent = [Sent::Message { to: 0, body }];
    assert!(asking.speaks_only_if_it_may(&sent).is_err());
    let recovering = Answer::Rejected(Rejection::Recovering);
    let not_yet = [Sent::Answer { request: 0, tx: "T1".parse().unwrap(), answer: recovering }];
    assert_eq!(asking.speaks_only_if_it_may(&not_yet), Ok(()));
    assert_eq!(world(&scenario, |_, _| ()).speaks_only_if_it_may(&sent), Ok(()));
}

#[test]
fn whose_folder_shows_that_it_was_put_back_is_held_and_that_is_no_false_alarm() {
    let scenario = Scenario::log_put_back_alone();
    let held = world(&scenario, |world, machines| {
        for restoring in [Restoring::Copy, Restoring::PutBack { sign: true }] {
            world.step(&Action::Restoring(restoring), machines).unwrap();
        }
    });
    assert!(held.coordinator.process.as_ref().is_some_and(Process::is_held));
    assert_eq!(nobody_is_held_for_nothing(&held, &scenario), Ok(()));
    let mut unaccounted = held;
    unaccounted.restored.change(|restored| restored.lost = None);
    assert!(nobody_is_held_for_nothing(&unaccounted, &scenario).unwrap_err().contains("false alarm"));
}
