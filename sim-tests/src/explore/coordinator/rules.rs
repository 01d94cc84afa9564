//! What a coordinator may say, and when.

use super::{Log, Process};
use undoubt_coordinator_core::{Answer, Phase, Progress, SagaRecord};
use undoubt_vocabulary::{Half, Outcome, RunStep, ToParticipant, TxId};

/// R1, R4, and an operator's pause.
pub(super) fn check_message(process: &Process, message: &ToParticipant, log: &Log) -> Result<(), String> {
    let (tx, ticket) = (message.tx(), message.ticket());
    let open = process.core.view(tx).filter(|view| view.ticket == ticket);
    if process.core.recovery_is_paused() && open.is_some_and(|view| view.paused) {
        return Err(format!("pause: {} of {tx}/{ticket} is sent though its recovery is paused", message.name()));
    }
    match message {
        ToParticipant::Commit { .. } if !log.has_commit(tx, ticket) => {
            Err(format!("R1: commit of {tx}/{ticket} is sent before its record is stable"))
        }
        ToParticipant::Abort { .. } if log.has_commit(tx, ticket) => {
            Err(format!("R4: abort of {tx}/{ticket} is sent though its commit is in the log"))
        }
        ToParticipant::Abort { .. } if process.core.phase() == Phase::Recovering => {
            Err(format!("R4: abort of {tx}/{ticket} is presumed before the log is read"))
        }
        ToParticipant::Run(run) => may_run(run, log.saga(tx, ticket))
            .map_err(|why| format!("saga: {} of step {} of {tx}/{ticket} is sent {why}", run.half, run.step.0)),
        ToParticipant::Close { .. } if !log.has_done(tx, ticket) => {
            Err(format!("saga: close of {tx}/{ticket} is sent before it is on record that it is done"))
        }
        ToParticipant::Prepare(_)
        | ToParticipant::Confirm { .. }
        | ToParticipant::Commit { .. }
        | ToParticipant::Abort { .. }
        | ToParticipant::Settle { .. }
        | ToParticipant::Undecided { .. }
        | ToParticipant::Noted { .. }
        | ToParticipant::Close { .. } => Ok(()),
    }
}

/// Nothing before the saga's beginning is stable; the pivot only once the steps before it are on record as done, and a
/// compensation only once it is on record that the saga goes back.
fn may_run(run: &RunStep, stable: Option<&SagaRecord>) -> Result<(), &'static str> {
    let Some(saga) = stable else { return Err("before it is on record that the saga begins") };
    let step = &saga.steps[usize::from(run.step.0)];
    let before_is_done =
        || step.after.iter().all(|before| matches!(saga.progress[usize::from(before.0)], Progress::Done { .. }));
    match (run.half, &saga.turned) {
        (Half::Action, Some(_)) => Err("though it is on record that the saga goes back"),
        (Half::Action, None) if step.pivot && !before_is_done() => {
            Err("before it is on record that what comes before the pivot is done")
        }
        (Half::Compensation, None) => Err("before it is on record that the saga goes back"),
        (Half::Action, None) | (Half::Compensation, Some(_)) => Ok(()),
    }
}

/// R10: an abort is answered once its record is stable. For a commit see [`super::super::check`], as a one-phase commit
/// is stable at the branch and not here.
pub(super) fn check_answer(tx: &TxId, answer: &Answer, log: &Log) -> Result<(), String> {
    match answer {
        Answer::Outcome { outcome: outcome @ Outcome::Aborted(_), .. } => {
            let stable = log.ended.get(tx).is_some_and(|ended| ended.outcome == *outcome);
            if stable { Ok(()) } else { Err(format!("R10: the abort of {tx} is answered before it is stable")) }
        }
        Answer::Outcome { outcome: Outcome::Committed, .. } | Answer::Pending | Answer::Rejected(_) => Ok(()),
    }
}
