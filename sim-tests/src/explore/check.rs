//! What must hold in every world.
//!
//! Rules about messages are checked when they are sent ([`super::coordinator`], [`super::participant`]); here is what can
//! be read off a world as it stands.

use super::scenario::{Scenario, participant_name};
use super::serial;
use super::world::World;
use std::collections::BTreeSet;
use undoubt_coordinator_core::EndedRecord;
use undoubt_vocabulary::{Outcome, ParticipantName, Ticket, TxId};

pub(crate) fn check(world: &World, scenario: &Scenario) -> Result<(), String> {
    let transactions: BTreeSet<TxId> = scenario.requests.iter().map(|request| request.tx()).collect();
    transactions.iter().try_for_each(|tx| one_transaction(world, scenario, tx))?;
    world.participants.iter().enumerate().try_for_each(|(name, host)| prepared_hold_locks(name, host))?;
    serial::check(world, scenario)
}

fn one_transaction(world: &World, scenario: &Scenario, tx: &TxId) -> Result<(), String> {
    if world.participants.iter().any(|host| host.storage.heuristics.contains_key(tx)) {
        return Ok(());
    }
    let mut committed: Vec<Ticket> =
        world.participants.iter().flat_map(|host| host.storage.has_committed(tx)).collect();
    committed.sort();
    committed.dedup();
    answers_are_true(world, scenario, tx, committed.first().copied())?;
    match committed.as_slice() {
        [] => {}
        [ticket] => committed_everywhere(world, scenario, tx, *ticket)?,
        [first, second, ..] => return Err(format!("atomicity: {tx} committed twice, as {first} and as {second}")),
    }
    match world.coordinator.log.ended.get(tx) {
        Some(ended) if ended.is_damaged() => Err(format!("S9: a branch is said to be lost: {}", Branches(ended))),
        Some(_) | None => Ok(()),
    }
}

/// Atomicity: a branch that is committed means that each branch is, or still can be and nothing else; and none is twice.
fn committed_everywhere(world: &World, scenario: &Scenario, tx: &TxId, ticket: Ticket) -> Result<(), String> {
    let Some(branches) = world.coordinator.log.commits(tx, ticket) else {
        return Err(format!("R1: {tx}/{ticket} is committed at a branch, and not decided in the log"));
    };
    if let Some(name) = lost(world, scenario, tx, ticket, &branches) {
        return Err(format!("atomicity: {tx}/{ticket} is committed, but not at p{name}, which cannot any more"));
    }
    let twice = |versions: &Vec<(TxId, Ticket)>| versions.iter().filter(|(writer, _)| writer == tx).count() > 1;
    match world.participants.iter().position(|host| host.storage.history.values().any(twice)) {
        Some(name) => Err(format!("atomicity: {tx}/{ticket} took effect twice at p{name}")),
        None => Ok(()),
    }
}

/// A writing branch that neither has committed nor can commit.
fn lost(world: &World, scenario: &Scenario, tx: &TxId, ticket: Ticket, branches: &[ParticipantName]) -> Option<usize> {
    (0..world.participants.len()).filter(|name| branches.contains(&participant_name(*name))).find(|name| {
        let storage = &world.participants[*name].storage;
        let prepared = storage.prepared.get(tx).is_some_and(|record| record.branch.ticket == ticket);
        let committed = storage.has_committed(tx).any(|committed| committed == ticket);
        scenario.writes(tx, *name) && !prepared && !committed
    })
}

fn answers_are_true(world: &World, scenario: &Scenario, tx: &TxId, committed: Option<Ticket>) -> Result<(), String> {
    let log = &world.coordinator.log;
    match world.clients.told.get(tx) {
        Some((Outcome::Aborted(_), _)) if committed.is_some() => {
            Err(format!("R10: a client was told that {tx} aborted, and a branch has committed it"))
        }
        Some((Outcome::Aborted(_), _)) if log.open.contains_key(tx) => {
            Err(format!("R10: a client was told that {tx} aborted, and the log holds it open"))
        }
        Some((Outcome::Committed, _)) => {
            let ticket = log.open.get(tx).map(|open| open.ticket).or(log.ended.get(tx).map(|ended| ended.ticket));
            let Some((ticket, branches)) = ticket.and_then(|ticket| Some((ticket, log.commits(tx, ticket)?))) else {
                return Err(format!("R10: a client was told that {tx} committed, and the log does not say so"));
            };
            match lost(world, scenario, tx, ticket, &branches) {
                Some(name) => Err(format!("R10: a client was told that {tx} committed, and p{name} has lost it")),
                None => Ok(()),
            }
        }
        Some((Outcome::Aborted(_), _)) | None => Ok(()),
    }
}

/// R2: a prepared branch can commit whenever it is told to, so nobody else has its locks.
fn prepared_hold_locks(name: usize, host: &super::participant::ParticipantHost) -> Result<(), String> {
    let Some(process) = &host.process else { return Ok(()) };
    let without = host.storage.prepared.keys().find(|tx| !process.memory.locks.holders().any(|holder| holder == *tx));
    match without {
        Some(tx) => Err(format!("R2: {tx} is prepared at {} and does not hold its locks", participant_name(name))),
        None => Ok(()),
    }
}

struct Branches<'a>(&'a EndedRecord);

impl std::fmt::Display for Branches<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.outcome)?;
        self.0.branches.iter().try_for_each(|(name, outcome)| write!(f, ", {name} {outcome}"))
    }
}
