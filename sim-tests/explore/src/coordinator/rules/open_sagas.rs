//! The rules of what a coordinator may say of open sagas, and when.

use crate::coordinator::Log;
use crate::coordinator::log::{OpenSaga, is_finished};
use crate::scenario::step_name;
use undoubt_coordinator_core::{EndedRecord, JoinedRecord, OpenedRecord, OpenedState, Progress, Record, StepAnswer};
use undoubt_vocabulary::saga::place_of;
use undoubt_vocabulary::{AbortReason, Direction, Outcome, Prepare, RunStep, StepIndex, TxId};

/// Checks that a step may run: it is on record that it joined, and under which attempt number its participant knows it; and it is
/// completed only once it is on record that the saga was closed, compensated only once it is on record that it compensates.
pub(super) fn may_run(run: &RunStep, saga: &OpenSaga) -> Result<(), &'static str> {
    let Some(joined) = saga.steps.get(&place_of(run.step)) else { return Err("before it is on record that it joined") };
    if joined.at_participant != run.attempt_number {
        return Err("under another attempt number than it is on record with");
    }
    let is_reverting = matches!(saga.header.state, OpenedState::Reverting(_));
    let is_undone_anew = is_reverting && joined.step.completion.is_some();
    if is_undone_anew != (run.step != joined.index) {
        return Err("under a number that is for what was completed and is undone");
    }
    if (joined.step.action.is_none() || is_undone_anew) != run.acted_elsewhere {
        return Err("and its participant is told otherwise whose the action is");
    }
    if is_finished(joined, run.direction) {
        return Err("though it is on record that nothing is left to do for it");
    }
    match (run.direction, saga.direction()) {
        (Direction::Forward, Direction::Forward)
        | (Direction::Completing, Direction::Completing)
        | (Direction::Compensating, Direction::Compensating) => Ok(()),
        (Direction::Forward, _) => Err("though it is on record that the saga was closed, or compensates"),
        (Direction::Completing, _) => Err("before it is on record that the saga was closed"),
        (Direction::Compensating, _) => Err("before it is on record that the saga compensates"),
    }
}

/// Checks that a branch of an open transaction may be prepared: it is on record that it joined, with this work.
pub(super) fn may_prepare(prepare: &Prepare, open: &OpenSaga) -> Result<(), String> {
    let is_it = |joined: &JoinedRecord| joined.step.completion.as_ref() == Some(&prepare.work);
    if open.steps.values().any(is_it) {
        return Ok(());
    }
    Err(format!("open two-phase: prepare of {} is sent before it is on record that it joined", prepare.tx))
}

/// Checks that nothing joins after a close or a cancellation, that the first of these stays the one that counts, that no saga turns
/// back by itself, and that an end tells of every step.
pub(super) fn check_record(record: &Record, log: &Log) -> Result<(), String> {
    let Some(open) = log.open_saga(record.tx(), record.attempt_number()) else { return Ok(()) };
    let OpenedRecord { tx, state, .. } = &open.header;
    match record {
        Record::Joined(joined) => match (open.steps.get(&joined.index), state) {
            (None, OpenedState::Closed | OpenedState::Compensating(_) | OpenedState::Reverting(_)) => Err(format!(
                "open saga: {} joins {tx} after it is on record that it was closed, or compensates",
                joined.step.name
            )),
            (Some(known), _) if !is_same(known, joined) => {
                Err(format!("open saga: step {} of {tx} is recorded as another", joined.index.0))
            }
            (Some(_) | None, _) => Ok(()),
        },
        Record::Opened(OpenedRecord { state: OpenedState::Reverting(_), .. }) if *state == OpenedState::Closed => {
            turns_back_with_its_parent(open, log)
        }
        Record::Opened(again) if *state != OpenedState::Open && again.state != *state => {
            Err(format!("open saga: it is on record of {tx} that it is {state:?}, and now {:?}", again.state))
        }
        Record::Opened(OpenedRecord { state: OpenedState::Compensating(reason), .. })
            if !may_turn_back(reason, open.header.check_back.is_some()) =>
        {
            Err(format!("open saga: {tx} turns back though nobody said so and its time is not over: {reason}"))
        }
        Record::Ended(ended) => {
            ends_as_was_decided(open, ended)?;
            ends_with_its_parent(open, ended, log)
        }
        Record::Opened(_) | Record::Open(_) | Record::Saga(_) => Ok(()),
    }
}

/// Returns true if this turns an open saga back. What becomes of an action alone is told to who had it run.
fn may_turn_back(reason: &AbortReason, has_check_back: bool) -> bool {
    match reason {
        AbortReason::Cancelled | AbortReason::GivenUp { .. } => true,
        AbortReason::DeadlinePassed { .. } => !has_check_back,
        AbortReason::TooMuch { .. } => true,
        AbortReason::Refused { .. } => has_check_back,
        AbortReason::Unanswered { .. }
        | AbortReason::ReadLocksLost { .. }
        | AbortReason::NotExecuted { .. }
        | AbortReason::Presumed
        | AbortReason::Unusable { .. } => false,
    }
}

/// Checks that a nested saga that was closed turns back only as it is on record that its parent does.
fn turns_back_with_its_parent(child: &OpenSaga, log: &Log) -> Result<(), String> {
    let parent = child.parent().and_then(|parent| log.open_sagas.get(parent));
    // One that an operator gives up may have ended since it told its child.
    let ended = child.parent().and_then(|parent| log.ended.get(parent));
    let turns_back = match parent.map(|parent| &parent.header.state) {
        Some(OpenedState::Compensating(_) | OpenedState::Reverting(_)) => true,
        Some(OpenedState::Open | OpenedState::Closed) => false,
        None => ended.is_some_and(|ended| matches!(ended.outcome, Outcome::Aborted(_))),
    };
    if turns_back {
        return Ok(());
    }
    let tx = &child.header.tx;
    Err(format!("nested: {tx} was closed, and turns back before it is on record that its parent does"))
}

/// Checks that a nested saga ends as done only as it is on record that its parent was closed, for good, or as that is no more.
fn ends_with_its_parent(saga: &OpenSaga, ended: &EndedRecord, log: &Log) -> Result<(), String> {
    let tx = &ended.tx;
    let parent = saga.parent().and_then(|parent| log.open_sagas.get(parent));
    if let (Outcome::Committed, Some(parent)) = (&ended.outcome, parent)
        && parent.decided() != Some(Outcome::Committed)
        && !is_to_be_done(parent, log)
    {
        return Err(format!("nested: {tx} ends as done, and it is not on record that its parent was closed"));
    }
    Ok(())
}

/// Returns true if it is on record that it was closed, and its ancestors were.
fn is_to_be_done(saga: &OpenSaga, log: &Log) -> bool {
    let above = saga.parent().and_then(|parent| log.open_sagas.get(parent));
    saga.header.state == OpenedState::Closed && above.is_none_or(|above| is_to_be_done(above, log))
}

fn is_same(one: &JoinedRecord, other: &JoinedRecord) -> bool {
    JoinedRecord { progress: Progress::Pending, ..one.clone() }
        == JoinedRecord { progress: Progress::Pending, ..other.clone() }
}

fn ends_as_was_decided(open: &OpenSaga, ended: &EndedRecord) -> Result<(), String> {
    let EndedRecord { tx, outcome, branches, .. } = ended;
    if let Some(decided) = open.decided().filter(|decided| decided != outcome) {
        return Err(format!("open saga: it is on record of {tx} that it is {decided}, and it ends {outcome}"));
    }
    // One that was held names its participants only.
    let is_held = branches.iter().any(|branch| branch.step.is_none());
    let named = |joined: &JoinedRecord| branches.iter().any(|branch| branch.step.as_ref() == Some(&joined.step.name));
    match open.steps.values().find(|joined| !is_held && !named(joined)) {
        Some(joined) => Err(format!("open saga: {tx} ends, and its record says nothing of {}", joined.step.name)),
        None => Ok(()),
    }
}

/// Checks that what a caller is told of a step is on record.
pub(super) fn check_answer(tx: &TxId, number: u16, answer: &StepAnswer, log: &Log) -> Result<(), String> {
    let name = step_name(StepIndex(number));
    let Some(joined) = log.open_sagas.get(tx).and_then(|open| open.named(&name)) else {
        return Err(format!("open saga: {name} of {tx} is answered before it is on record that it joined"));
    };
    let is_on_record = match (answer, &joined.progress) {
        (StepAnswer::Refused(refusal), Progress::Refused(recorded)) => refusal == recorded,
        (StepAnswer::Refused(_), _) => false,
        (StepAnswer::Skipped, progress) => *progress == Progress::Skipped,
        // A repetition of the action finds what it came to.
        (StepAnswer::Joined | StepAnswer::Running | StepAnswer::Done { .. } | StepAnswer::Unanswered { .. }, _) => true,
    };
    if is_on_record {
        Ok(())
    } else {
        Err(format!("open saga: {name} of {tx} is answered before it is on record: {answer:?}"))
    }
}
