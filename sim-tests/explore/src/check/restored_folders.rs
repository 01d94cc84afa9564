//! The checks of worlds in which a folder was put back: until an operator has accepted the loss, nothing that anybody was told
//! changes, and no id takes effect twice. Afterwards what was lost is on record.

use super::World;
use crate::coordinator::{Process, Sent};
use crate::restoration::Machine;
use crate::scenario::{Scenario, participant_name};
use crate::storage::Came;
use std::collections::BTreeSet;
use undoubt_coordinator_core::{Answer, EndedBranch, EndedRecord, Rejection};
use undoubt_vocabulary::{AttemptNumber, BranchOutcome, Direction, Outcome, StepIndex, TxId};

/// The coordinator starts over an older log, which lacks something: what it says of transactions is what it was once.
pub(super) fn log_was_put_back(world: &World, scenario: &Scenario) -> bool {
    let of_log = matches!(scenario.restored, Some(Machine::Coordinator | Machine::Copy));
    of_log && world.restored.lost.as_ref().is_some_and(|lost| !lost.is_nothing())
}

/// A crash, what it takes back, and somebody who is away are never taken for a folder that was put back.
pub(super) fn nobody_is_held_for_nothing(world: &World, scenario: &Scenario) -> Result<(), String> {
    let (restored, was_put_back) = (scenario.restored, world.restored.lost.is_some());
    let held = world.coordinator.process.as_ref().is_some_and(|process| process.is_held());
    let of_log = matches!(restored, Some(Machine::Coordinator | Machine::Copy));
    if held && !(of_log && was_put_back) {
        return Err("false alarm: the coordinator is held, and nobody has put its folder back".to_owned());
    }
    let number = |number: &usize| {
        let was_put_back = restored == Some(Machine::Participant(*number)) && was_put_back;
        world.seats[*number].host.is_put_back() && !was_put_back
    };
    match (0..world.seats.len()).find(number) {
        Some(number) => Err(format!("false alarm: p{number} refuses everybody, and nobody has put its folder back")),
        None => Ok(()),
    }
}

/// Checks that whoever has a sign, or was shown one, serves nobody until an operator has accepted the loss; a coordinator may
/// also once every participant has said that it has seen no more.
pub(super) fn nobody_serves_with_a_sign(world: &World, scenario: &Scenario) -> Result<(), String> {
    let asks = |process: &&Process| process.standing.is_some();
    if world.coordinator.process.as_ref().filter(asks).is_some_and(Process::is_serving) {
        return Err("sign: the coordinator takes transactions before it may".to_owned());
    }
    let (Some(machine), Some(lost)) = (scenario.restored, &world.restored.lost) else { return Ok(()) };
    if world.restored.accepted {
        return Ok(());
    }
    match machine {
        Machine::Coordinator | Machine::Copy => {
            let serves = world.coordinator.process.as_ref().is_some_and(|process| process.is_serving());
            match lost.forbids_to_serve(world.seats.len()).filter(|_| serves) {
                Some(why) => Err(format!("sign: the coordinator serves, and {why}")),
                None => Ok(()),
            }
        }
        Machine::Participant(number) => {
            let serves = world.seats[number].host.process.as_ref().is_some_and(|process| process.session.is_some());
            let witnessed = world.is_witnessed(number, lost).then_some("the coordinator has seen what its log lacks");
            match lost.forbids_sessions().or(witnessed).filter(|_| serves) {
                Some(why) => Err(format!("sign: p{number} has a session, and {why}")),
                None => Ok(()),
            }
        }
    }
}

impl World {
    /// A coordinator that has not found out yet whether its log is the newest tells clients so, and nobody else anything.
    pub(crate) fn speaks_only_if_it_may(&self, sent: &[Sent]) -> Result<(), String> {
        if self.coordinator.process.as_ref().is_none_or(|process| process.standing.is_none()) {
            return Ok(());
        }
        let is_not_yet = |sent: &Sent| match sent {
            Sent::Answer { answer: Answer::Rejected(Rejection::Recovering), .. } => true,
            Sent::Answer { .. } | Sent::Message { .. } | Sent::Resolved { .. } | Sent::Ended { .. } => false,
        };
        if sent.iter().all(is_not_yet) { Ok(()) } else { Err("sign: the coordinator speaks before it may".to_owned()) }
    }
}

/// Nobody can be blamed for what has become of this transaction: it could not be noticed, or an operator has ended it himself,
/// or he has accepted the loss, and nobody who was asked then knew of it, or it is listed as damaged.
pub(crate) fn is_excused(world: &World, tx: &TxId) -> bool {
    let restored = &world.restored;
    let is_accepted = restored.accepted && restored.forgotten.contains(tx) || is_listed(world, tx);
    restored.unnoticed || world.clients.given_up.contains(tx) || is_accepted
}

/// An operator has accepted a loss, and the record of this transaction says that it is damaged.
pub(super) fn is_listed(world: &World, tx: &TxId) -> bool {
    world.restored.accepted && world.coordinator.log.ended.get(tx).is_some_and(EndedRecord::is_damaged)
}

pub(super) fn check(world: &World, scenario: &Scenario) -> Result<(), String> {
    let log = &world.coordinator.log;
    if let Some(tx) = world.restored.doubtful.iter().find(|tx| !log.has(tx)) {
        return Err(format!("put back: a participant knew of {tx} when the loss was accepted, and it is not held"));
    }
    let all: BTreeSet<TxId> = scenario.requests.iter().map(|request| request.tx()).collect();
    all.iter().filter(|tx| !is_excused(world, tx)).try_for_each(|tx| match scenario.is_saga(tx) {
        true => one_saga(world, scenario, tx),
        false => one_transaction(world, scenario, tx),
    })
}

/// Checks that what was done stays done, and what was undone stays undone. Barriers are checked to let nothing be done twice.
fn one_saga(world: &World, scenario: &Scenario, tx: &TxId) -> Result<(), String> {
    let came = || world.seats.iter().flat_map(|seat| seat.host.storage.came_of(tx));
    let in_effect: BTreeSet<StepIndex> =
        came().filter(|(_, came)| *came == Came::InEffect).map(|(step, _)| step.step).collect();
    let told = world.clients.told.get(tx).map(|(outcome, _)| outcome);
    match told {
        Some(Outcome::Committed) if in_effect.len() < scenario.steps(tx) => {
            Err(format!("put back: a client was told that {tx} is done, and a step is not in effect"))
        }
        Some(Outcome::Aborted(_)) if !in_effect.is_empty() => {
            Err(format!("put back: a client was told that {tx} is undone, and a step is in effect"))
        }
        Some(Outcome::Committed | Outcome::Aborted(_)) | None => Ok(()),
    }
}

fn one_transaction(world: &World, scenario: &Scenario, tx: &TxId) -> Result<(), String> {
    let committed: BTreeSet<AttemptNumber> =
        world.seats.iter().flat_map(|seat| seat.host.storage.has_committed(tx)).collect();
    if let (Some(first), Some(last)) = (committed.first(), committed.last())
        && first != last
    {
        return Err(format!("put back: {tx} committed twice, as {first} and as {last}"));
    }
    let told = world.clients.told.get(tx).map(|(outcome, _)| outcome);
    if let (Some(Outcome::Aborted(_)), Some(attempt_number)) = (told, committed.first()) {
        return Err(format!(
            "put back: a client was told that {tx} aborted, and a branch has committed it as {attempt_number}"
        ));
    }
    let has_to_be = committed.first().is_some() || told == Some(&Outcome::Committed);
    let lost = (0..world.seats.len()).filter(|number| scenario.writes(tx, *number)).find(|number| {
        let storage = &world.seats[*number].host.storage;
        !storage.prepared.contains_key(tx) && storage.has_committed(tx).is_empty()
    });
    match lost {
        Some(number) if has_to_be => {
            Err(format!("put back: {tx} has committed, but not at p{number}, which cannot any more"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks that what a participant has lost with its folder is on record, if it has ended; or the coordinator has not met it since an
/// operator has accepted that.
pub(super) fn is_on_record(world: &World, scenario: &Scenario, tx: &TxId, number: usize) -> bool {
    if scenario.restored != Some(Machine::Participant(number)) || world.restored.lost.is_none() {
        return false;
    }
    let lost = EndedBranch::new(participant_name(number), BranchOutcome::Unknown);
    let is_listed = |ended: &EndedRecord| ended.branches.contains(&lost);
    !world.restored.is_met || world.coordinator.log.ended.get(tx).is_none_or(is_listed)
}

/// Checks the same of a step. `recorded`: what its ended record says of it.
pub(super) fn is_step_lost(
    world: &World,
    scenario: &Scenario,
    tx: &TxId,
    step: StepIndex,
    recorded: Option<BranchOutcome>,
) -> bool {
    let at = scenario.step(tx, step, Direction::Forward).map(|(participant, _)| participant);
    let was_put_back = at.is_some_and(|at| scenario.restored == Some(Machine::Participant(at)));
    let is_listed = recorded.is_none_or(|recorded| recorded == BranchOutcome::Unknown);
    was_put_back && world.restored.lost.is_some() && (!world.restored.is_met || is_listed)
}

#[cfg(test)]
mod tests;
