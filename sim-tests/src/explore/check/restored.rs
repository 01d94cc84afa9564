//! What must hold where a folder was put back: until an operator has accepted the loss, nothing that anybody was told
//! changes, and no id takes effect twice. Afterwards what was lost is on record.

use super::World;
use crate::explore::restoring::Machine;
use crate::explore::scenario::{Scenario, participant_name};
use crate::explore::network::LinkState;
use std::collections::BTreeSet;
use undoubt_vocabulary::{BranchOutcome, Outcome, Ticket, TxId};

/// The coordinator starts over an older log: what it says of transactions is what it was once.
pub(super) fn log_was_put_back(world: &World, scenario: &Scenario) -> bool {
    scenario.restored == Some(Machine::Coordinator) && world.restored.lost.is_some()
}

/// A crash, what it takes back, and somebody who is away are never taken for a folder that was put back.
pub(super) fn nobody_is_held_for_nothing(world: &World, scenario: &Scenario) -> Result<(), String> {
    let is_put_back = |machine| scenario.restored == Some(machine) && world.restored.lost.is_some();
    let held = world.coordinator.process.as_ref().is_some_and(|process| process.is_held());
    if held && !is_put_back(Machine::Coordinator) {
        return Err("false alarm: the coordinator is held, and nobody has put its folder back".to_owned());
    }
    let number = |number: &usize| world.seats[*number].host.is_put_back() && !is_put_back(Machine::Participant(*number));
    match (0..world.seats.len()).find(number) {
        Some(number) => Err(format!("false alarm: p{number} refuses everybody, and nobody has put its folder back")),
        None => Ok(()),
    }
}

/// Nobody can be blamed for what has become of this transaction: nobody who was asked could tell, or an operator has said so.
pub(crate) fn is_excused(world: &World, tx: &TxId) -> bool {
    let restored = &world.restored;
    restored.unnoticed || restored.accepted && restored.forgotten.contains(tx) || world.clients.given_up.contains(tx)
}

pub(super) fn check(world: &World, scenario: &Scenario) -> Result<(), String> {
    let all: BTreeSet<TxId> = scenario.requests.iter().map(|request| request.tx()).collect();
    all.iter().filter(|tx| !is_excused(world, tx)).try_for_each(|tx| one_transaction(world, scenario, tx))
}

fn one_transaction(world: &World, scenario: &Scenario, tx: &TxId) -> Result<(), String> {
    let committed: BTreeSet<Ticket> = world.seats.iter().flat_map(|seat| seat.host.storage.has_committed(tx)).collect();
    if let (Some(first), Some(last)) = (committed.first(), committed.last())
        && first != last
    {
        return Err(format!("put back: {tx} committed twice, as {first} and as {last}"));
    }
    let told = world.clients.told.get(tx).map(|(outcome, _)| outcome);
    if let (Some(Outcome::Aborted(_)), Some(ticket)) = (told, committed.first()) {
        return Err(format!("put back: a client was told that {tx} aborted, and a branch has committed it as {ticket}"));
    }
    let has_to_be = committed.first().is_some() || told == Some(&Outcome::Committed);
    let lost = (0..world.seats.len()).filter(|number| scenario.writes(tx, *number)).find(|number| {
        let storage = &world.seats[*number].host.storage;
        let is_prepared = storage.prepared.contains_key(tx);
        !is_prepared && storage.has_committed(tx).is_empty()
    });
    match lost {
        Some(number) if has_to_be => Err(format!("put back: {tx} has committed, but not at p{number}, which cannot any more")),
        Some(_) | None => Ok(()),
    }
}

/// What a participant has lost with its folder is on record, or the coordinator has no session with it yet, or it will come
/// to know of it.
pub(super) fn is_on_record(world: &World, scenario: &Scenario, tx: &TxId, number: usize) -> bool {
    if scenario.restored != Some(Machine::Participant(number)) || world.restored.lost.is_none() {
        return false;
    }
    let log = &world.coordinator.log;
    let Some(ended) = log.ended.get(tx) else { return true };
    let lost = (participant_name(number), BranchOutcome::Unknown);
    world.seats[number].link.state != LinkState::Up || ended.branches.contains(&lost)
}
