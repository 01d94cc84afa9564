//! The messages of a session.

use super::{Malformed, branch_outcome, field, saga};
use crate::v1;
use std::time::Duration;
use undoubt_vocabulary::limits::MAX_WORK_BYTES;
use undoubt_vocabulary::{AttemptNumber, Execution, Prepare, Timestamp, ToCoordinator, ToParticipant, TxId};
use v1::to_coordinator::Body as FromBranch;
use v1::to_participant::Body as ToBranch;

impl From<ToParticipant> for v1::ToParticipant {
    fn from(message: ToParticipant) -> Self {
        let wire = |tx: TxId, attempt_number: AttemptNumber, body| v1::ToParticipant {
            tx: tx.to_bytes(),
            attempt_number: attempt_number.0,
            body: Some(body),
            trace_context: None,
        };
        match message {
            ToParticipant::Prepare(prepare) => {
                wire(prepare.tx.clone(), prepare.attempt_number, ToBranch::Prepare(wire_prepare(prepare)))
            }
            ToParticipant::Confirm { tx, attempt_number } => {
                wire(tx, attempt_number, ToBranch::Confirm(v1::Confirm {}))
            }
            ToParticipant::Commit { tx, attempt_number } => wire(tx, attempt_number, ToBranch::Commit(v1::Commit {})),
            ToParticipant::Abort { tx, attempt_number, certain } => {
                wire(tx, attempt_number, ToBranch::Abort(v1::Abort { certain }))
            }
            ToParticipant::Settle { tx, attempt_number } => wire(tx, attempt_number, ToBranch::Settle(v1::Settle {})),
            ToParticipant::Undecided { tx, attempt_number } => {
                wire(tx, attempt_number, ToBranch::Undecided(v1::Undecided {}))
            }
            ToParticipant::Noted { tx, attempt_number } => wire(tx, attempt_number, ToBranch::Noted(v1::Noted {})),
            ToParticipant::Run(run) => wire(run.tx.clone(), run.attempt_number, ToBranch::Run(run.into())),
            ToParticipant::Close { tx, attempt_number } => wire(tx, attempt_number, ToBranch::Close(v1::CloseSaga {})),
        }
    }
}

impl TryFrom<v1::ToParticipant> for ToParticipant {
    type Error = Malformed;

    fn try_from(wire: v1::ToParticipant) -> Result<Self, Malformed> {
        let (tx, attempt_number) = (field::tx(wire.tx)?, AttemptNumber(wire.attempt_number));
        Ok(match field::required("body", wire.body)? {
            ToBranch::Prepare(body) => ToParticipant::Prepare(prepare(tx, attempt_number, body)?),
            ToBranch::Confirm(v1::Confirm {}) => ToParticipant::Confirm { tx, attempt_number },
            ToBranch::Commit(v1::Commit {}) => ToParticipant::Commit { tx, attempt_number },
            ToBranch::Abort(v1::Abort { certain }) => ToParticipant::Abort { tx, attempt_number, certain },
            ToBranch::Settle(v1::Settle {}) => ToParticipant::Settle { tx, attempt_number },
            ToBranch::Undecided(v1::Undecided {}) => ToParticipant::Undecided { tx, attempt_number },
            ToBranch::Noted(v1::Noted {}) => ToParticipant::Noted { tx, attempt_number },
            ToBranch::Run(body) => ToParticipant::Run(saga::run_step(tx, attempt_number, body)?),
            ToBranch::Close(v1::CloseSaga {}) => ToParticipant::Close { tx, attempt_number },
        })
    }
}

fn wire_prepare(prepare: Prepare) -> v1::Prepare {
    v1::Prepare {
        begun_at_us: prepare.begun_at.0,
        timeout_ms: milliseconds(prepare.timeout),
        one_phase: prepare.execution == Execution::OnePhase,
        work: prepare.work,
    }
}

fn prepare(tx: TxId, attempt_number: AttemptNumber, body: v1::Prepare) -> Result<Prepare, Malformed> {
    field::within("prepare.work", body.work.len(), MAX_WORK_BYTES)?;
    Ok(Prepare {
        tx,
        attempt_number,
        begun_at: Timestamp(body.begun_at_us),
        timeout: Duration::from_millis(body.timeout_ms.into()),
        execution: if body.one_phase { Execution::OnePhase } else { Execution::TwoPhase },
        work: body.work,
    })
}

pub(super) fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

impl From<ToCoordinator> for v1::ToCoordinator {
    fn from(message: ToCoordinator) -> Self {
        let wire = |tx: TxId, attempt_number: AttemptNumber, body| v1::ToCoordinator {
            tx: tx.to_bytes(),
            attempt_number: attempt_number.0,
            body: Some(body),
            emitted: None,
        };
        match message {
            ToCoordinator::Vote { tx, attempt_number, vote } => wire(tx, attempt_number, FromBranch::Vote(vote.into())),
            ToCoordinator::Confirmed { tx, attempt_number, held } => {
                wire(tx, attempt_number, FromBranch::Confirmed(v1::Confirmed { held }))
            }
            ToCoordinator::Finished { tx, attempt_number, outcome } => {
                let outcome = v1::BranchOutcome::from(outcome).into();
                wire(tx, attempt_number, FromBranch::Finished(v1::Finished { outcome }))
            }
            ToCoordinator::Inquiry { tx, attempt_number } => {
                wire(tx, attempt_number, FromBranch::Inquiry(v1::Inquiry {}))
            }
            ToCoordinator::Ran { tx, attempt_number, step, direction, attempt, outcome } => {
                wire(tx, attempt_number, FromBranch::Ran(saga::step_ran(step, direction, attempt, outcome)))
            }
            ToCoordinator::Closed { tx, attempt_number } => {
                wire(tx, attempt_number, FromBranch::Closed(v1::SagaClosed {}))
            }
        }
    }
}

impl TryFrom<v1::ToCoordinator> for ToCoordinator {
    type Error = Malformed;

    fn try_from(wire: v1::ToCoordinator) -> Result<Self, Malformed> {
        let (tx, attempt_number) = (field::tx(wire.tx)?, AttemptNumber(wire.attempt_number));
        Ok(match field::required("body", wire.body)? {
            FromBranch::Vote(vote) => ToCoordinator::Vote { tx, attempt_number, vote: vote.try_into()? },
            FromBranch::Confirmed(v1::Confirmed { held }) => ToCoordinator::Confirmed { tx, attempt_number, held },
            FromBranch::Finished(v1::Finished { outcome }) => {
                ToCoordinator::Finished { tx, attempt_number, outcome: branch_outcome("finished.outcome", outcome)? }
            }
            FromBranch::Inquiry(v1::Inquiry {}) => ToCoordinator::Inquiry { tx, attempt_number },
            FromBranch::Ran(body) => saga::ran(tx, attempt_number, body)?,
            FromBranch::Closed(v1::SagaClosed {}) => ToCoordinator::Closed { tx, attempt_number },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_rounded_up_to_milliseconds_and_saturates() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_micros(1_000)), 1);
        assert_eq!(milliseconds(Duration::from_micros(1_001)), 2);
        assert_eq!(milliseconds(Duration::MAX), u32::MAX);
    }
}
