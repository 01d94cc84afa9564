//! What must hold in every world.
//!
//! Rules about messages are checked when they are sent ([`super::coordinator`], [`super::participant`]); here is what can
//! be read off a world as it stands.

use super::scenario::{Scenario, participant_name};
use super::serial;
use super::work;
use super::world::World;
use undoubt_coordinator_core::EndedRecord;
use undoubt_vocabulary::{Outcome, Ticket, TxId};

pub(crate) fn check(world: &World, scenario: &Scenario) -> Result<(), String> {
    let transactions: std::collections::BTreeSet<TxId> = scenario.requests.iter().map(|request| request.tx()).collect();
    transactions.iter().try_for_each(|tx| one_transaction(world, scenario, tx))?;
    world.participants.iter().enumerate().try_for_each(|(name, host)| prepared_hold_locks(name, host))?;
    serial::check(world, scenario)
}

fn one_transaction(world: &World, scenario: &Scenario, tx: &TxId) -> Result<(), String> {
    let writing: Vec<usize> =
        scenario.branches_of(tx).iter().filter(|(_, work)| work::writes(work)).map(|(name, _)| *name).collect();
    let heuristic = world.participants.iter().any(|host| host.storage.heuristics.contains_key(tx));
    if heuristic {
        return Ok(());
    }
    let mut committed: Vec<Ticket> =
        writing.iter().flat_map(|name| world.participants[*name].storage.has_committed(tx)).collect();
    committed.sort();
    committed.dedup();
    let attempt = match committed.as_slice() {
        [] => None,
        [ticket] => Some(*ticket),
        [first, second, ..] => return Err(format!("atomicity: {tx} committed twice, as {first} and as {second}")),
    };
    committed_everywhere(world, scenario, tx, attempt, &writing)?;
    answers_are_true(world, tx, attempt, &writing)?;
    match world.coordinator.log.ended.get(tx) {
        Some(ended) if ended.is_damaged() => Err(format!("S9: the record of {tx} says that a branch was lost: {}", Branches(ended))),
        Some(_) | None => Ok(()),
    }
}

/// Atomicity: a branch that is committed means that each branch is, or still can be and nothing else. One that committed
/// twice has overwritten itself.
fn committed_everywhere(
    world: &World,
    scenario: &Scenario,
    tx: &TxId,
    attempt: Option<Ticket>,
    writing: &[usize],
) -> Result<(), String> {
    let Some(ticket) = attempt else { return Ok(()) };
    if scenario.branches_of(tx).len() > 1 && !world.coordinator.log.has_commit(tx, ticket) {
        return Err(format!("R1: {tx}/{ticket} is committed at a branch, and not decided in the log"));
    }
    for &name in writing {
        let storage = &world.participants[name].storage;
        let prepared = storage.prepared.get(tx).is_some_and(|record| record.branch.ticket == ticket);
        if !prepared && storage.has_committed(tx).next().is_none() {
            return Err(format!("atomicity: {tx}/{ticket} is committed, but not at p{name}, which cannot any more"));
        }
        for versions in storage.history.values() {
            if versions.iter().filter(|(writer, _)| writer == tx).count() > 1 {
                return Err(format!("atomicity: {tx}/{ticket} took effect twice at p{name}"));
            }
        }
    }
    Ok(())
}

fn answers_are_true(world: &World, tx: &TxId, attempt: Option<Ticket>, writing: &[usize]) -> Result<(), String> {
    match world.clients.told.get(tx) {
        Some((Outcome::Aborted(_), _)) if attempt.is_some() => {
            Err(format!("R10: a client was told that {tx} aborted, and a branch has committed it"))
        }
        Some((Outcome::Aborted(_), _)) if world.coordinator.log.open.contains_key(tx) => {
            Err(format!("R10: a client was told that {tx} aborted, and the log holds it open"))
        }
        Some((Outcome::Committed, _)) => {
            let lost = writing.iter().find(|name| {
                let storage = &world.participants[**name].storage;
                !storage.prepared.contains_key(tx) && storage.has_committed(tx).next().is_none()
            });
            match lost {
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
