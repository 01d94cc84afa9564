//! The messages of a session.

use super::{Malformed, branch_outcome, field, saga};
use crate::v1;
use std::time::Duration;
use undoubt_vocabulary::limits::MAX_WORK_BYTES;
use undoubt_vocabulary::{Execution, Prepare, Ticket, Timestamp, ToCoordinator, ToParticipant, TxId};
use v1::to_coordinator::Body as FromBranch;
use v1::to_participant::Body as ToBranch;

impl From<ToParticipant> for v1::ToParticipant {
    fn from(message: ToParticipant) -> Self {
        let wire = |tx: TxId, ticket: Ticket, body| v1::ToParticipant {
            tx: tx.to_bytes(),
            ticket: ticket.0,
            body: Some(body),
        };
        match message {
            ToParticipant::Prepare(prepare) => {
                wire(prepare.tx.clone(), prepare.ticket, ToBranch::Prepare(wire_prepare(prepare)))
            }
            ToParticipant::Confirm { tx, ticket } => wire(tx, ticket, ToBranch::Confirm(v1::Confirm {})),
            ToParticipant::Commit { tx, ticket } => wire(tx, ticket, ToBranch::Commit(v1::Commit {})),
            ToParticipant::Abort { tx, ticket } => wire(tx, ticket, ToBranch::Abort(v1::Abort {})),
            ToParticipant::Settle { tx, ticket } => wire(tx, ticket, ToBranch::Settle(v1::Settle {})),
            ToParticipant::Undecided { tx, ticket } => wire(tx, ticket, ToBranch::Undecided(v1::Undecided {})),
            ToParticipant::Noted { tx, ticket } => wire(tx, ticket, ToBranch::Noted(v1::Noted {})),
            ToParticipant::Run(run) => wire(run.tx.clone(), run.ticket, ToBranch::Run(run.into())),
            ToParticipant::Close { tx, ticket } => wire(tx, ticket, ToBranch::Close(v1::CloseSaga {})),
        }
    }
}

impl TryFrom<v1::ToParticipant> for ToParticipant {
    type Error = Malformed;

    fn try_from(wire: v1::ToParticipant) -> Result<Self, Malformed> {
        let (tx, ticket) = (field::tx(wire.tx)?, Ticket(wire.ticket));
        Ok(match field::required("body", wire.body)? {
            ToBranch::Prepare(body) => ToParticipant::Prepare(prepare(tx, ticket, body)?),
            ToBranch::Confirm(v1::Confirm {}) => ToParticipant::Confirm { tx, ticket },
            ToBranch::Commit(v1::Commit {}) => ToParticipant::Commit { tx, ticket },
            ToBranch::Abort(v1::Abort {}) => ToParticipant::Abort { tx, ticket },
            ToBranch::Settle(v1::Settle {}) => ToParticipant::Settle { tx, ticket },
            ToBranch::Undecided(v1::Undecided {}) => ToParticipant::Undecided { tx, ticket },
            ToBranch::Noted(v1::Noted {}) => ToParticipant::Noted { tx, ticket },
            ToBranch::Run(body) => ToParticipant::Run(saga::run_step(tx, ticket, body)?),
            ToBranch::Close(v1::CloseSaga {}) => ToParticipant::Close { tx, ticket },
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

fn prepare(tx: TxId, ticket: Ticket, body: v1::Prepare) -> Result<Prepare, Malformed> {
    field::within("prepare.work", body.work.len(), MAX_WORK_BYTES)?;
    Ok(Prepare {
        tx,
        ticket,
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
        let wire = |tx: TxId, ticket: Ticket, body| v1::ToCoordinator {
            tx: tx.to_bytes(),
            ticket: ticket.0,
            body: Some(body),
        };
        match message {
            ToCoordinator::Vote { tx, ticket, vote } => wire(tx, ticket, FromBranch::Vote(vote.into())),
            ToCoordinator::Confirmed { tx, ticket, held } => {
                wire(tx, ticket, FromBranch::Confirmed(v1::Confirmed { held }))
            }
            ToCoordinator::Finished { tx, ticket, outcome } => {
                let outcome = v1::BranchOutcome::from(outcome).into();
                wire(tx, ticket, FromBranch::Finished(v1::Finished { outcome }))
            }
            ToCoordinator::Inquiry { tx, ticket } => wire(tx, ticket, FromBranch::Inquiry(v1::Inquiry {})),
            ToCoordinator::Ran { tx, ticket, step, half, attempt, outcome } => {
                wire(tx, ticket, FromBranch::Ran(saga::step_ran(step, half, attempt, outcome)))
            }
            ToCoordinator::Closed { tx, ticket } => wire(tx, ticket, FromBranch::Closed(v1::SagaClosed {})),
        }
    }
}

impl TryFrom<v1::ToCoordinator> for ToCoordinator {
    type Error = Malformed;

    fn try_from(wire: v1::ToCoordinator) -> Result<Self, Malformed> {
        let (tx, ticket) = (field::tx(wire.tx)?, Ticket(wire.ticket));
        Ok(match field::required("body", wire.body)? {
            FromBranch::Vote(vote) => ToCoordinator::Vote { tx, ticket, vote: vote.try_into()? },
            FromBranch::Confirmed(v1::Confirmed { held }) => ToCoordinator::Confirmed { tx, ticket, held },
            FromBranch::Finished(v1::Finished { outcome }) => {
                ToCoordinator::Finished { tx, ticket, outcome: branch_outcome("finished.outcome", outcome)? }
            }
            FromBranch::Inquiry(v1::Inquiry {}) => ToCoordinator::Inquiry { tx, ticket },
            FromBranch::Ran(body) => saga::ran(tx, ticket, body)?,
            FromBranch::Closed(v1::SagaClosed {}) => ToCoordinator::Closed { tx, ticket },
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
