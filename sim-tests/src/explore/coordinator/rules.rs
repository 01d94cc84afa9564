//! What a coordinator may say, and when.

use super::{Log, Process};
use undoubt_coordinator_core::{Answer, Phase};
use undoubt_vocabulary::{Outcome, ToParticipant, TxId};

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
        ToParticipant::Prepare(_)
        | ToParticipant::Confirm { .. }
        | ToParticipant::Commit { .. }
        | ToParticipant::Abort { .. }
        | ToParticipant::Settle { .. }
        | ToParticipant::Undecided { .. }
        | ToParticipant::Noted { .. } => Ok(()),
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
