//! The rules of sagas that hold in every world. That a step takes effect once, and is undone once, the barriers are held to
//! where they are written: see [`crate::storage`].

use super::World;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_coordinator_core::{EndedBranch, EndedRecord, SagaRecord, StepResolution};
use undoubt_vocabulary::{AttemptNumber, BranchOutcome, Direction, Outcome, StepIndex, TxId};

use super::restored_folders::is_step_lost;
use crate::scenario::Scenario;
use crate::storage::Came;

/// `committed`: the attempts by two-phase commit that are in effect.
/// `forgotten`: an operator has given it up.
pub(super) fn check(
    world: &World,
    scenario: &Scenario,
    tx: &TxId,
    committed: &BTreeSet<AttemptNumber>,
    forgotten: bool,
) -> Result<(), String> {
    let mut in_effect: BTreeMap<AttemptNumber, BTreeSet<StepIndex>> = BTreeMap::new();
    let mut gone: BTreeSet<AttemptNumber> = BTreeSet::new();
    for (step, came) in world.seats.iter().flat_map(|seat| seat.host.storage.came_of(tx)) {
        match came {
            Came::InEffect => {
                in_effect.entry(step.attempt_number).or_default().insert(step.step);
            }
            Came::Undone | Came::Completed | Came::Nothing => {
                gone.insert(step.attempt_number);
            }
        }
    }
    let attempts: BTreeSet<AttemptNumber> = in_effect.keys().chain(committed).copied().collect();
    if attempts.len() > 1 {
        let names: Vec<String> = attempts.iter().map(AttemptNumber::to_string).collect();
        return Err(format!("atomicity: {tx} is in effect as {}", names.join(" and as ")));
    }
    if let Some(ended) = world.coordinator.log.ended.get(tx).filter(|ended| ended.saga) {
        if forgotten {
            tells_what_is_known(world, ended, in_effect.get(&ended.attempt_number))?;
        } else {
            has_ended_as_said(world, scenario, ended, in_effect.get(&ended.attempt_number))?;
        }
    }
    for (attempt_number, steps) in &in_effect {
        known(world, tx, *attempt_number)?;
        if gone.contains(attempt_number) {
            pivot_is_not_in_effect(world.coordinator.log.saga(tx, *attempt_number), steps)?;
        }
    }
    is_carried_on(world, tx)?;
    answers_are_true(world, scenario, tx, in_effect.values().next())
}

/// Checks that the log knows of what is in effect.
fn known(world: &World, tx: &TxId, attempt_number: AttemptNumber) -> Result<(), String> {
    let log = &world.coordinator.log;
    let ended = log.ended.get(tx).is_some_and(|ended| ended.saga && ended.attempt_number == attempt_number);
    let held = log.held.get(tx).is_some_and(|held| held.attempt_number == attempt_number);
    if ended || held || log.saga(tx, attempt_number).is_some() {
        return Ok(());
    }
    Err(format!("saga: a step of {tx}/{attempt_number} is in effect, and the log knows nothing of it"))
}

/// Returns what each step of a saga came to.
fn steps(branches: &[EndedBranch]) -> impl Iterator<Item = BranchOutcome> {
    branches.iter().filter(|branch| branch.step.is_some()).map(|branch| branch.outcome)
}

/// Done means that each step is in effect, undone that none is; but of a step that an operator settled.
fn has_ended_as_said(
    world: &World,
    scenario: &Scenario,
    EndedRecord { tx, attempt_number, outcome, branches, .. }: &EndedRecord,
    in_effect: Option<&BTreeSet<StepIndex>>,
) -> Result<(), String> {
    let words = &world.clients.words;
    for (step, recorded) in (0..).map(StepIndex).zip(steps(branches)) {
        let is_in_effect = in_effect.is_some_and(|steps| steps.contains(&step));
        if is_step_lost(world, scenario, tx, step, Some(recorded)) {
            continue;
        }
        let skipped = recorded == BranchOutcome::Unknown;
        // One that an operator called done before its time, which no compensation undoes.
        let is_done_for_good = matches!(outcome, Outcome::Aborted(_))
            && words.says(tx, step, StepResolution::Done)
            && scenario.step(tx, step, Direction::Compensating).is_none();
        if skipped && !words.says(tx, step, StepResolution::Skip) && !is_done_for_good {
            return Err(format!(
                "operator: step {} of {tx}/{attempt_number} is skipped, and no operator said so",
                step.0
            ));
        }
        if words.settle(tx, step) {
            continue;
        }
        match outcome {
            Outcome::Aborted(_) if is_in_effect => {
                return Err(format!(
                    "atomicity: {tx}/{attempt_number} has ended, all undone, and a step of it is in effect"
                ));
            }
            Outcome::Committed if !is_in_effect => {
                return Err(format!(
                    "atomicity: {tx}/{attempt_number} has ended, all done, and a step of it is not in effect"
                ));
            }
            Outcome::Aborted(_) | Outcome::Committed => {}
        }
    }
    Ok(())
}

/// The record of a saga that was given up is true of each step that it does not call unknown.
fn tells_what_is_known(
    world: &World,
    EndedRecord { tx, attempt_number, branches, .. }: &EndedRecord,
    in_effect: Option<&BTreeSet<StepIndex>>,
) -> Result<(), String> {
    for (step, recorded) in (0..).map(StepIndex).zip(steps(branches)) {
        let is_in_effect = in_effect.is_some_and(|steps| steps.contains(&step));
        let is_true = match recorded {
            BranchOutcome::Committed => is_in_effect,
            BranchOutcome::Aborted => !is_in_effect,
            BranchOutcome::Unknown => true,
            BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted => false,
        };
        if !is_true && !world.clients.words.settle(tx, step) {
            return Err(format!(
                "operator: {tx}/{attempt_number} was given up, and step {} is called {recorded}",
                step.0
            ));
        }
    }
    Ok(())
}

/// The point of no return.
fn pivot_is_not_in_effect(saga: Option<&SagaRecord>, in_effect: &BTreeSet<StepIndex>) -> Result<(), String> {
    let Some(saga) = saga else { return Ok(()) };
    let is_pivot = |step: &&StepIndex| saga.steps[usize::from(step.0)].pivot;
    match in_effect.iter().find(is_pivot) {
        Some(_) => Err(format!(
            "pivot: the pivot of {}/{} is in effect, and a step is compensated",
            saga.tx, saga.attempt_number
        )),
        None => Ok(()),
    }
}

/// R4: what the log holds open, whoever has read it carries on.
fn is_carried_on(world: &World, tx: &TxId) -> Result<(), String> {
    let Some(process) = world.coordinator.process.as_ref().filter(|process| process.is_serving()) else {
        return Ok(());
    };
    if world.coordinator.log.sagas.contains_key(tx) && process.core.view(tx).is_none() {
        return Err(format!("R4: the log holds {tx} open, and whoever has read it does not carry it on"));
    }
    Ok(())
}

/// R10. What was told before the saga took its place belongs to nobody: two-phase commit tells its outcome once.
fn answers_are_true(
    world: &World,
    scenario: &Scenario,
    tx: &TxId,
    in_effect: Option<&BTreeSet<StepIndex>>,
) -> Result<(), String> {
    let log = &world.coordinator.log;
    let Some((told, _)) = world.clients.told.get(tx) else { return Ok(()) };
    let open = log.sagas.get(tx);
    let ended = log.ended.get(tx).filter(|ended| ended.saga);
    if open.is_none() && ended.is_none() {
        return match (told, in_effect) {
            (Outcome::Aborted(_), Some(_)) => {
                Err(format!("R10: a client was told that {tx} aborted, and it is in effect"))
            }
            (Outcome::Aborted(_) | Outcome::Committed, _) => Ok(()),
        };
    }
    let attempt_number =
        open.map(|open| open.attempt_number).or(ended.map(|ended| ended.attempt_number)).unwrap_or_default();
    if log.outcome(tx, attempt_number).as_ref() != Some(told) {
        return Err(format!("R10: a client was told of {tx}: {told}; and the log does not say so"));
    }
    let Some(open) = open else { return Ok(()) };
    let settled =
        |step: &StepIndex| world.clients.words.settle(tx, *step) || is_step_lost(world, scenario, tx, *step, None);
    let is_in_effect = |step: &StepIndex| in_effect.is_some_and(|steps| steps.contains(step));
    let mut steps = (0..).map(StepIndex).take(open.steps.len()).filter(|step| !settled(step));
    match told {
        Outcome::Committed if !steps.all(|step| is_in_effect(&step)) => {
            Err(format!("R10: a client was told that {tx} is done, and a step is not in effect"))
        }
        Outcome::Aborted(_) if steps.any(|step| is_in_effect(&step)) => {
            Err(format!("R10: a client was told that {tx} is undone, and a step is in effect"))
        }
        Outcome::Committed | Outcome::Aborted(_) => Ok(()),
    }
}
