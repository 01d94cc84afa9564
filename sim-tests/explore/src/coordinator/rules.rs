//! The rules of what a coordinator may say, and when.

mod open_sagas;

use super::log::{OpenSaga, is_settled};
use super::{Log, Process};
use crate::scenario::Scenario;
use undoubt_coordinator_core::{Answer, EndedRecord, Phase, Record, SagaRecord};
use undoubt_vocabulary::{
    AbortReason, AttemptNumber, BranchOutcome, Direction, Execution, Outcome, ParticipantName, Prepare, RunStep,
    ToParticipant, TxId,
};

/// R1, R4, and an operator's pause.
pub(super) fn check_message(process: &Process, message: &ToParticipant, log: &Log) -> Result<(), String> {
    let (tx, attempt_number) = (message.tx(), message.attempt_number());
    let is_it = |number| number == attempt_number || log.open_saga(tx, attempt_number).is_some();
    let open = process.core.view(tx).filter(|view| is_it(view.attempt_number));
    if process.core.recovery_is_paused() && open.is_some_and(|view| view.paused) {
        return Err(format!(
            "pause: {} of {tx}/{attempt_number} is sent though its recovery is paused",
            message.name()
        ));
    }
    match message {
        ToParticipant::Commit { .. } if !log.has_commit(tx, attempt_number) => {
            Err(format!("R1: commit of {tx}/{attempt_number} is sent before its record is stable"))
        }
        ToParticipant::Abort { certain, .. }
            if log.has_commit(tx, attempt_number) && (*certain || !log.dropped.contains(tx)) =>
        {
            Err(format!("R4: abort of {tx}/{attempt_number} is sent though its commit is in the log"))
        }
        ToParticipant::Abort { .. } if process.core.phase() == Phase::Recovering => {
            Err(format!("R4: abort of {tx}/{attempt_number} is presumed before the log is read"))
        }
        ToParticipant::Abort { .. } if attempt_number == AttemptNumber::NONE && log.holds_open(tx) => {
            Err(format!("enlisted: nobody is said to have {tx} open, and it is on record as open"))
        }
        ToParticipant::Run(run) => {
            let may_run = match log.open_sagas.get(tx) {
                Some(open) => open_sagas::may_run(run, open),
                None => may_run(run, log.saga(tx, attempt_number)),
            };
            may_run.map_err(|why| {
                format!("saga: {} of step {} of {tx}/{attempt_number} is sent {why}", run.direction, run.step.0)
            })
        }
        ToParticipant::Close { .. } if log.outcome(tx, attempt_number).is_none() => Err(format!(
            "saga: close of {tx}/{attempt_number} is sent before it is on record that all is done, or undone"
        )),
        ToParticipant::Prepare(prepare) => match log.open_sagas.get(tx) {
            Some(open) => open_sagas::may_prepare(prepare, open),
            None => Ok(()),
        },
        ToParticipant::Confirm { .. }
        | ToParticipant::Commit { .. }
        | ToParticipant::Abort { .. }
        | ToParticipant::Settle { .. }
        | ToParticipant::Undecided { .. }
        | ToParticipant::Noted { .. }
        | ToParticipant::Close { .. } => Ok(()),
    }
}

/// R10: an end stays what it was once it is on record.
pub(super) fn check_record(record: &Record, log: &Log) -> Result<(), String> {
    open_sagas::check_record(record, log)?;
    let (tx, attempt_number) = (record.tx(), record.attempt_number());
    let Some(ended) = log.ended.get(tx).filter(|ended| ended.attempt_number == attempt_number) else { return Ok(()) };
    match record {
        Record::Ended(again) if again.outcome == ended.outcome => Ok(()),
        // Of an abort whose record was dropped it is only known that it was none but an abort.
        Record::Ended(EndedRecord { outcome: Outcome::Aborted(AbortReason::Presumed), .. })
            if log.dropped.contains(tx) && matches!(ended.outcome, Outcome::Aborted(_)) =>
        {
            Ok(())
        }
        Record::Ended(EndedRecord { outcome, .. }) => Err(format!(
            "R10: {tx}/{attempt_number} has ended, {}; and is recorded once more, {outcome}",
            ended.outcome
        )),
        Record::Open(_) | Record::Saga(_) | Record::Opened(_) | Record::Joined(_) => {
            Err(format!("R10: {tx}/{attempt_number} has ended, and is recorded as open"))
        }
    }
}

/// R3: an operator's decision that is called noted is on record, unless it was of an earlier attempt, which was aborted.
pub(super) fn check_noted(to: &ParticipantName, message: &ToParticipant, log: &Log) -> Result<(), String> {
    let ToParticipant::Noted { tx, attempt_number } = message else { return Ok(()) };
    let is_noted = |ended: &EndedRecord| {
        let by_operator = |outcome: &BranchOutcome| match outcome {
            BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted => true,
            BranchOutcome::Committed | BranchOutcome::Aborted | BranchOutcome::Unknown => false,
        };
        ended.attempt_number != *attempt_number
            || ended
                .branches
                .iter()
                .any(|branch| branch.step.is_none() && branch.participant == *to && by_operator(&branch.outcome))
    };
    if log.ended.get(tx).is_some_and(is_noted) {
        return Ok(());
    }
    Err(format!("R3: {to} is told that its operator's decision on {tx}/{attempt_number} is on record, and it is not"))
}

/// Checks that nobody is asked to prepare who has said that it cannot.
pub(super) fn check_ability(message: &ToParticipant, to: usize, scenario: &Scenario) -> Result<(), String> {
    match message {
        ToParticipant::Prepare(Prepare { tx, execution: Execution::TwoPhase, .. }) if scenario.unable.contains(&to) => {
            Err(format!("auto: prepare of {tx} is sent to p{to}, which has said that it cannot"))
        }
        ToParticipant::Prepare(_)
        | ToParticipant::Confirm { .. }
        | ToParticipant::Commit { .. }
        | ToParticipant::Abort { .. }
        | ToParticipant::Settle { .. }
        | ToParticipant::Undecided { .. }
        | ToParticipant::Noted { .. }
        | ToParticipant::Run(_)
        | ToParticipant::Close { .. } => Ok(()),
    }
}

/// Two-phase commit is spared only somebody who was silent a moment ago, or is being probed.
pub(super) fn check_spared(process: &Process, tx: &TxId) -> Result<(), String> {
    let is_probed = process.core.views().any(|view| !view.saga);
    if is_probed || process.silent_at == Some(process.clock) {
        return Ok(());
    }
    Err(format!("auto: {tx} is a saga because of a silence that is long over"))
}

/// Checks that a step may run: nothing before the saga's beginning is stable; the pivot only once the steps before it
/// are on record as done, and a compensation only once it is on record that the saga compensates.
fn may_run(run: &RunStep, stable: Option<&SagaRecord>) -> Result<(), &'static str> {
    let Some(saga) = stable else { return Err("before it is on record that the saga begins") };
    let step = &saga.steps[usize::from(run.step.0)];
    let before_is_done =
        || step.after.iter().all(|before| is_settled(&saga.progress[usize::from(before.0)], Direction::Forward));
    if is_settled(&saga.progress[usize::from(run.step.0)], run.direction) {
        return Err("though it is on record that nothing is left to do for it");
    }
    match (run.direction, &saga.compensating) {
        (Direction::Forward, Some(_)) => Err("though it is on record that the saga compensates"),
        (Direction::Forward, None) if step.pivot && !before_is_done() => {
            Err("before it is on record that what comes before the pivot is done")
        }
        (Direction::Compensating, None) => Err("before it is on record that the saga compensates"),
        (Direction::Completing, _) => Err("though only steps of open sagas are completed"),
        (Direction::Forward, None) | (Direction::Compensating, Some(_)) => Ok(()),
    }
}

/// R10: an abort is answered once its record is stable. For a commit see [`crate::check`], as a one-phase commit
/// is stable at the branch and not here.
///
/// `joining`: the number of the step that the client has asked to join.
pub(super) fn check_answer(tx: &TxId, joining: Option<u16>, answer: &Answer, log: &Log) -> Result<(), String> {
    match answer {
        Answer::Step(step) => joining.map_or_else(
            || Err(format!("contract: who did not ask a step to join {tx} is answered {step:?}")),
            |number| open_sagas::check_answer(tx, number, step, log),
        ),
        Answer::Outcome { outcome: outcome @ Outcome::Aborted(_), .. } => {
            let saga = || log.sagas.get(tx).map(|saga| saga.attempt_number);
            let attempt_number = saga().or(log.open_sagas.get(tx).map(|open| open.header.attempt_number));
            let settled = || attempt_number.and_then(|attempt_number| log.outcome(tx, attempt_number));
            let stable =
                log.ended.get(tx).is_some_and(|ended| ended.outcome == *outcome) || settled().as_ref() == Some(outcome);
            if stable { Ok(()) } else { Err(format!("R10: the abort of {tx} is answered before it is stable")) }
        }
        Answer::Closed if !log.open_sagas.get(tx).is_some_and(OpenSaga::was_closed) => {
            Err(format!("nested: the close of {tx} is answered before it is on record"))
        }
        Answer::Outcome { outcome: Outcome::Committed, .. }
        | Answer::Closed
        | Answer::Pending
        | Answer::Stuck(_)
        | Answer::Rejected(_) => Ok(()),
    }
}
