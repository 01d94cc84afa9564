//! The rules of open sagas that hold in every world. That a step takes effect once, and is ended once and one way, the barriers
//! are held to where they are written: see [`crate::storage`].

use super::World;
use crate::coordinator::OpenSaga;
use crate::scenario::{OpenStep, Scenario, participant_name, step_name, step_number};
use crate::storage::Came;
use crate::world::StepTold;
use undoubt_coordinator_core::{
    Barrier, Completions, EndedBranch, EndedRecord, JoinedRecord, Progress, StepResolution,
};
use undoubt_participant_core::StepId;
use undoubt_vocabulary::saga::{UNDONE_ANEW, place_of};
use undoubt_vocabulary::{
    AbortReason, AttemptNumber, BranchOutcome, Direction, Outcome, ParticipantName, StepIndex, TxId,
};

/// A step as the log has it, and what came of it.
struct Step<'a> {
    place: StepIndex,
    number: u16,
    participant: &'a ParticipantName,
    definition: &'a OpenStep,
    came: Option<Came>,
    /// What came of undoing it after its completion, which the participant takes for a step of its own.
    undone_anew: Option<Came>,
    recorded: Recorded<'a>,
}

enum Recorded<'a> {
    Open(&'a JoinedRecord),
    Ended(&'a EndedBranch),
}

impl Step<'_> {
    fn was_refused(&self) -> bool {
        match self.recorded {
            Recorded::Open(joined) => matches!(joined.progress, Progress::Refused(_)),
            Recorded::Ended(branch) => {
                branch.barrier == Barrier::Nowhere
                    && self.definition.action.is_some()
                    && !self.definition.is_check_back()
                    && branch.outcome == BranchOutcome::Aborted
            }
        }
    }

    fn is_known_as(&self, attempt_number: AttemptNumber) -> bool {
        match self.recorded {
            Recorded::Open(joined) => joined.at_participant == attempt_number,
            // What a check-back found counts no more once the saga has ended.
            Recorded::Ended(branch) => branch.barrier == Barrier::Of(attempt_number) || self.definition.is_check_back(),
        }
    }

    /// Returns what came of it in the end.
    fn came_to(&self) -> Option<Came> {
        self.undone_anew.or(self.came)
    }

    fn has_work(&self, direction: Direction) -> bool {
        match direction {
            Direction::Forward => self.definition.action.is_some(),
            Direction::Compensating => self.definition.compensation.is_some(),
            Direction::Completing => self.definition.completion.is_some(),
        }
    }
}

/// `forgotten`: an operator has given it up.
pub(super) fn check(world: &World, scenario: &Scenario, tx: &TxId, forgotten: bool) -> Result<(), String> {
    is_carried_on(world, tx)?;
    let log = &world.coordinator.log;
    // What cannot be carried out has no family, nor has, until a restart, what could not be recorded.
    let may_be_held = |child: &OpenSaga| scenario.budget.refusals > 0 || log.unusable.contains(&child.header.tx);
    let is_orphan = |child: &&OpenSaga| child.parent() == Some(tx) && !may_be_held(child);
    let orphan = log.open_sagas.values().find(is_orphan);
    if let (Some(orphan), true, false) = (orphan, log.ended.contains_key(tx), forgotten) {
        return Err(format!("nested: {tx} has ended before {}, which is nested in it", orphan.header.tx));
    }
    let (open, ended) = (log.open_sagas.get(tx), log.ended.get(tx));
    let held_to_the_end = ended.is_some_and(|ended| ended.branches.iter().any(|branch| branch.step.is_none()));
    if held_to_the_end {
        return is_true_of_what_was_held(world, scenario, tx);
    }
    let steps = steps(world, scenario, tx, open, ended)?;
    let ended_so = || ended.map(|ended| ended.outcome.clone());
    let decided = open.and_then(OpenSaga::decided).or_else(ended_so);
    let outcome = open.and_then(OpenSaga::outcome).or_else(ended_so);
    is_known(world, tx, &steps)?;
    let was_closed = open.is_some_and(OpenSaga::was_closed);
    for step in &steps {
        went_one_way(tx, step, was_closed, decided.as_ref())?;
    }
    children_are_undone_first(world, scenario, tx, &steps)?;
    if let Some(decided) = &decided {
        goes_in_order(world, scenario, tx, &steps, decided)?;
    }
    if let Some(ended) = ended {
        for step in &steps {
            has_ended_as_said(world, ended, step, forgotten)?;
        }
    }
    check_back_was_heard(world, scenario, tx, &steps, decided.as_ref())?;
    callers_were_told_the_truth(world, scenario, tx, &steps)?;
    outcome_was_told_rightly(world, tx, &steps, outcome.as_ref(), forgotten)
}

/// Checks an open transaction whose steps are completed by two-phase commit, beside what holds of every such commit: whoever was
/// told that a branch joined finds it in the log, and where it committed among those that did.
pub(super) fn check_two_phase(world: &World, scenario: &Scenario, tx: &TxId) -> Result<(), String> {
    is_carried_on(world, tx)?;
    let log = &world.coordinator.log;
    let decided = log.open.get(tx).map(|open| open.attempt_number);
    let ended = log.ended.get(tx).filter(|ended| ended.outcome == Outcome::Committed);
    let commits = decided.or(ended.map(|ended| ended.attempt_number)).and_then(|attempt| log.commits(tx, attempt));
    for (_, number) in world.clients.steps.keys().filter(|(of, _)| of == tx) {
        let name = step_name(StepIndex(*number));
        let has_joined = log.open_sagas.get(tx).is_some_and(|open| open.named(&name).is_some());
        if !has_joined && !log.open.contains_key(tx) && !log.ended.contains_key(tx) {
            return Err(format!("open two-phase: s{number} of {tx} has joined, and the log does not have it"));
        }
        let joined = scenario.joining(tx, StepIndex(*number)).map(|step| participant_name(step.participant));
        if let (Some(commits), Some(participant)) = (&commits, &joined)
            && !commits.contains(participant)
        {
            return Err(format!("open two-phase: {tx} has committed without s{number}, which had joined"));
        }
    }
    Ok(())
}

/// R4: what the log holds open, whoever has read it carries on.
fn is_carried_on(world: &World, tx: &TxId) -> Result<(), String> {
    let Some(process) = world.coordinator.process.as_ref().filter(|process| process.is_serving()) else {
        return Ok(());
    };
    if world.coordinator.log.open_sagas.contains_key(tx) && process.core.view(tx).is_none() {
        return Err(format!("R4: the log holds {tx} open, and whoever has read it does not carry it on"));
    }
    Ok(())
}

fn steps<'a>(
    world: &'a World,
    scenario: &'a Scenario,
    tx: &TxId,
    open: Option<&'a OpenSaga>,
    ended: Option<&'a EndedRecord>,
) -> Result<Vec<Step<'a>>, String> {
    let of_open = open.iter().flat_map(|open| open.steps.values());
    let of_open =
        of_open.map(|joined| (joined.index, &joined.step.name, &joined.step.participant, Recorded::Open(joined)));
    let of_ended = ended.iter().flat_map(|ended| (0..).map(StepIndex).zip(&ended.branches));
    let of_ended = of_ended.filter_map(|(place, branch)| {
        Some((place, branch.step.as_ref()?, &branch.participant, Recorded::Ended(branch)))
    });
    let step = |(place, name, participant, recorded): (StepIndex, _, _, _)| {
        let number = step_number(name).ok_or_else(|| format!("contract: nobody has named a step {name}"))?;
        let definition =
            scenario.joining(tx, number).ok_or_else(|| format!("open saga: nobody asked for {name} of {tx}"))?;
        let storage = &world.seats[definition.participant].host.storage;
        let at = |place| storage.came_of(tx).filter(|(step, _)| step.step == place).map(|(_, came)| came).last();
        let (came, undone_anew) = (at(place), at(StepIndex(place.0 + UNDONE_ANEW)));
        Ok(Step { place, number: number.0, participant, definition, came, undone_anew, recorded })
    };
    of_open.chain(of_ended).map(step).collect()
}

/// Checks that a saga that an operator gave up while it was held has come one way alone, as was decided on record. Of a nested one
/// nothing was, be it closed or not.
fn is_true_of_what_was_held(world: &World, scenario: &Scenario, tx: &TxId) -> Result<(), String> {
    if scenario.is_nested(tx) {
        return Ok(());
    }
    let outcome = world.coordinator.log.ended.get(tx).map(|ended| &ended.outcome);
    for (step, came) in world.seats.iter().flat_map(|seat| seat.host.storage.came_of(tx)) {
        let is_undone_anew = |(other, _): (&StepId, Came)| place_of(other.step) == step.step && other.step != step.step;
        if !world.seats.iter().any(|seat| seat.host.storage.came_of(tx).any(is_undone_anew)) {
            one_way(tx, step.step, came, outcome)?;
        }
    }
    Ok(())
}

/// Checks that the log knows of whatever came of a step, and by which name its participant knows it.
fn is_known(world: &World, tx: &TxId, steps: &[Step<'_>]) -> Result<(), String> {
    for (seat, (id, came)) in world
        .seats
        .iter()
        .enumerate()
        .flat_map(|(number, seat)| seat.host.storage.came_of(tx).map(move |came| (number, came)))
    {
        let known = steps.iter().find(|step| step.place == place_of(id.step) && step.definition.participant == seat);
        match known {
            None => {
                return Err(format!(
                    "saga: step {} of {tx} is {came:?} at p{seat}, and the log knows nothing of it",
                    id.step.0
                ));
            }
            Some(step) if step.was_refused() => {
                return Err(format!("open saga: s{} of {tx} is on record as refused, and is {came:?}", step.number));
            }
            Some(step) if !step.is_known_as(id.attempt_number) => {
                return Err(format!(
                    "open saga: s{} of {tx} is known to {} as {}",
                    step.number, step.participant, id.attempt_number
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Checks that a step is completed, or undone, or, if its saga was closed and turned back with its parent, one after the other.
fn went_one_way(tx: &TxId, step: &Step<'_>, was_closed: bool, outcome: Option<&Outcome>) -> Result<(), String> {
    let number = step.number;
    match (step.came, step.undone_anew) {
        (Some(Came::Completed), None) if was_closed => Ok(()),
        (Some(Came::Completed), Some(Came::Undone)) if matches!(outcome, Some(Outcome::Aborted(_))) => Ok(()),
        (came, Some(anew)) => {
            Err(format!("nested: s{number} of {tx} is undone after its completion, {anew:?}, and was {came:?} before"))
        }
        (Some(came), None) => one_way(tx, step.place, came, outcome),
        (None, None) => Ok(()),
    }
}

/// Checks that of what is nested in a saga all that came later than a step is undone before that is.
fn children_are_undone_first(world: &World, scenario: &Scenario, tx: &TxId, steps: &[Step<'_>]) -> Result<(), String> {
    let log = &world.coordinator.log;
    for child in log.open_sagas.values().filter(|child| child.parent() == Some(tx)) {
        let after = child.header.parent.as_ref().map_or(0, |parent| parent.after.0);
        let of = &child.header.tx;
        let is_left = |step: &Step<'_>| matches!(step.came_to(), Some(Came::InEffect | Came::Completed));
        let is_undone = |step: &&Step<'_>| step.place.0 < after && step.came_to() == Some(Came::Undone);
        if let Some(undone) = steps.iter().find(is_undone)
            && self::steps(world, scenario, of, Some(child), None)?.iter().any(is_left)
        {
            return Err(format!("nested: s{} of {tx} is undone before {of}, which began after it", undone.number));
        }
    }
    Ok(())
}

/// Checks a nested saga whose client hears that it is closed: its steps are completed.
pub(crate) fn is_completed(world: &World, scenario: &Scenario, tx: &TxId) -> Result<(), String> {
    let open = world.coordinator.log.open_sagas.get(tx);
    let is_left = |step: &Step<'_>| {
        step.has_work(Direction::Completing) && !step.was_refused() && step.came != Some(Came::Completed)
    };
    match steps(world, scenario, tx, open, None)?.iter().find(|step| is_left(step)) {
        Some(step) => Err(format!("nested: {tx} is said to be closed, and s{} is {:?}", step.number, step.came)),
        None => Ok(()),
    }
}

/// Checks that a step is completed only if its saga is closed on record, and undone only if it compensates on record.
fn one_way(tx: &TxId, place: StepIndex, came: Came, outcome: Option<&Outcome>) -> Result<(), String> {
    match (came, outcome) {
        (Came::InEffect, _)
        | (Came::Completed, Some(Outcome::Committed))
        | (Came::Undone | Came::Nothing, Some(Outcome::Aborted(_))) => Ok(()),
        (Came::Completed | Came::Undone | Came::Nothing, Some(Outcome::Committed | Outcome::Aborted(_)) | None) => {
            Err(format!("open saga: step {} of {tx} is {came:?}, and on record it is {outcome:?}", place.0))
        }
    }
}

/// Steps are undone in the reverse of the order in which they joined, and completed in the order that the terms say.
fn goes_in_order(
    world: &World,
    scenario: &Scenario,
    tx: &TxId,
    steps: &[Step<'_>],
    outcome: &Outcome,
) -> Result<(), String> {
    let (ending, last_first) = match (outcome, scenario.begun(tx).unwrap_or_default()) {
        (Outcome::Aborted(_), _) => (Came::Undone, true),
        (Outcome::Committed, Completions::Together | Completions::TwoPhase) => return Ok(()),
        (Outcome::Committed, Completions::AsJoined) => (Came::Completed, false),
        (Outcome::Committed, Completions::Reversed) => (Came::Completed, true),
    };
    let is_left = |step: &&Step<'_>| {
        let to_do = match (outcome, step.came_to()) {
            (Outcome::Aborted(_), Some(Came::InEffect)) => true,
            (Outcome::Committed, Some(Came::InEffect)) => step.has_work(Direction::Completing),
            (Outcome::Committed, None) => {
                step.definition.action.is_none() && step.has_work(Direction::Completing) && !step.was_refused()
            }
            (Outcome::Aborted(_), None) => {
                let told = world.clients.steps.contains_key(&(tx.clone(), step.number));
                step.definition.action.is_none() && step.has_work(Direction::Compensating) && told
            }
            (_, Some(Came::Undone | Came::Completed | Came::Nothing)) => false,
        };
        to_do && !step.definition.is_check_back() && !world.clients.words.settle(tx, StepIndex(step.number))
    };
    let finished = |step: &&Step<'_>| step.came_to() == Some(ending);
    for done in steps.iter().filter(finished) {
        let comes_before =
            |step: &&Step<'_>| if last_first { step.place > done.place } else { step.place < done.place };
        if let Some(left) = steps.iter().filter(comes_before).find(is_left) {
            return Err(format!("order: s{} of {tx} is {ending:?} before s{} is", done.number, left.number));
        }
    }
    Ok(())
}

/// Done means that each step is in effect, and completed where there is a completion; undone that none is; but of a step that an
/// operator settled, or that was refused.
fn has_ended_as_said(world: &World, ended: &EndedRecord, step: &Step<'_>, forgotten: bool) -> Result<(), String> {
    let Recorded::Ended(branch) = step.recorded else { return Ok(()) };
    let (tx, words, number) = (&ended.tx, &world.clients.words, StepIndex(step.number));
    let is_done_for_good = matches!(ended.outcome, Outcome::Aborted(_))
        && words.says(tx, number, StepResolution::Done)
        && !step.has_work(Direction::Compensating);
    if branch.outcome == BranchOutcome::Unknown {
        if forgotten || words.says(tx, number, StepResolution::Skip) || is_done_for_good {
            return Ok(());
        }
        return Err(format!("operator: s{} of {tx} is skipped, and no operator said so", step.number));
    }
    // What a check-back asks for stays as it is, whatever becomes of the saga.
    if words.settle(tx, number) || step.definition.is_check_back() {
        return Ok(());
    }
    let told = world.clients.steps.contains_key(&(tx.clone(), step.number));
    let acts = step.has_work(Direction::Forward);
    let is_true = match (branch.outcome, step.came_to()) {
        (BranchOutcome::Committed, Some(Came::Completed)) => true,
        (BranchOutcome::Committed, Some(Came::InEffect)) => forgotten || !step.has_work(Direction::Completing),
        (BranchOutcome::Committed, None) => !acts && (forgotten || !step.has_work(Direction::Completing)),
        (BranchOutcome::Aborted, Some(Came::Undone | Came::Nothing)) => true,
        // It may not have been sent, or nobody was told that it joined.
        (BranchOutcome::Aborted, None) => acts || !step.has_work(Direction::Compensating) || !told,
        (BranchOutcome::Committed, Some(Came::Undone | Came::Nothing))
        | (BranchOutcome::Aborted, Some(Came::InEffect | Came::Completed))
        | (BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted | BranchOutcome::Unknown, _) => {
            false
        }
    };
    if is_true {
        return Ok(());
    }
    Err(format!(
        "atomicity: {tx} has ended, {}, s{} is called {}, and is {:?}",
        ended.outcome,
        step.number,
        branch.outcome,
        step.came_to()
    ))
}

/// Checks that a saga that nobody asked to close is closed because its check-back found that all is done, and that none is
/// turned back because its check-back was refused unless it may have been.
fn check_back_was_heard(
    world: &World,
    scenario: &Scenario,
    tx: &TxId,
    steps: &[Step<'_>],
    decided: Option<&Outcome>,
) -> Result<(), String> {
    let Some(check_back) = scenario.check_back(tx) else { return Ok(()) };
    let came = steps.iter().find(|step| step.definition.is_check_back()).and_then(|step| step.came);
    match decided {
        Some(Outcome::Committed) if came != Some(Came::InEffect) && !world.clients.may_have_closed(scenario, tx) => {
            Err(format!("check-back: {tx} is closed, which nobody asked for, and what it asks for is not done"))
        }
        Some(Outcome::Aborted(AbortReason::Refused { .. })) if !check_back.may_be_refused() => {
            Err(format!("check-back: {tx} turns back, and what it asks for was not refused"))
        }
        Some(Outcome::Committed | Outcome::Aborted(_)) | None => Ok(()),
    }
}

/// Checks that callers were told the truth about steps, and that the log does not forget them.
fn callers_were_told_the_truth(
    world: &World,
    scenario: &Scenario,
    tx: &TxId,
    steps: &[Step<'_>],
) -> Result<(), String> {
    let told = world.clients.steps.iter().filter(|((of, _), _)| of == tx);
    for ((_, number), told) in told {
        let Some(step) = steps.iter().find(|step| step.number == *number) else {
            return Err(format!("open saga: s{number} of {tx} was answered as {told:?}, and the log does not have it"));
        };
        if world.clients.words.settle(tx, StepIndex(*number)) {
            continue;
        }
        let acts = scenario.joining(tx, StepIndex(*number)).is_some_and(|step| step.action.is_some());
        let is_true = match told {
            StepTold::Joined => true,
            StepTold::Done(_) => acts && matches!(step.came, Some(Came::InEffect | Came::Completed | Came::Undone)),
            StepTold::Refused(_) => step.was_refused() && step.came.is_none(),
            StepTold::Skipped => false,
        };
        if !is_true {
            return Err(format!("open saga: s{number} of {tx} was answered as {told:?}, and is {:?}", step.came));
        }
    }
    Ok(())
}

/// R10: an outcome that was told is on record, and every step has come to what it says.
fn outcome_was_told_rightly(
    world: &World,
    tx: &TxId,
    steps: &[Step<'_>],
    outcome: Option<&Outcome>,
    forgotten: bool,
) -> Result<(), String> {
    let Some((told, _)) = world.clients.told.get(tx) else { return Ok(()) };
    if outcome != Some(told) {
        return Err(format!("R10: a client was told of {tx}: {told}; and on record it is {outcome:?}"));
    }
    let is_left = |step: &&Step<'_>| {
        let told_of = world.clients.steps.contains_key(&(tx.clone(), step.number));
        match (told, step.came_to()) {
            (_, _) if step.definition.is_check_back() => false,
            (_, _) if forgotten || step.was_refused() || world.clients.words.settle(tx, StepIndex(step.number)) => {
                false
            }
            (Outcome::Committed, Some(Came::Completed)) => false,
            (Outcome::Committed, Some(Came::InEffect)) => step.has_work(Direction::Completing),
            (Outcome::Committed, None) => step.has_work(Direction::Forward) || step.has_work(Direction::Completing),
            (Outcome::Aborted(_), None) => {
                told_of && !step.has_work(Direction::Forward) && step.has_work(Direction::Compensating)
            }
            (Outcome::Aborted(_), Some(Came::InEffect | Came::Completed)) => true,
            (Outcome::Aborted(_), Some(Came::Undone | Came::Nothing)) => false,
            (Outcome::Committed, Some(Came::Undone | Came::Nothing)) => true,
        }
    };
    match steps.iter().find(is_left) {
        Some(step) => {
            Err(format!("R10: a client was told that {tx} is {told}, and s{} is {:?}", step.number, step.came))
        }
        None => Ok(()),
    }
}
