//! The ways in which a careless driver goes wrong about open sagas.

use super::{Log, Write};
use crate::mutant::Mutant;
use crate::scenario::participant_name;
use bytes::Bytes;
use std::collections::VecDeque;
use undoubt_coordinator_core::{Completions, JoinedRecord, OpenedRecord, OpenedState, Progress, Record, Stage};
use undoubt_vocabulary::saga::place_of;
use undoubt_vocabulary::{AbortReason, RunStep};

/// Sends a step as a careless driver would.
pub(super) fn missend(run: &mut RunStep, mutant: Mutant, log: &Log) {
    let Some(open) = log.open_sagas.get(&run.tx) else { return };
    if mutant == Mutant::JoinedUnderSagasNumber {
        run.attempt_number = open.header.attempt_number;
    } else if mutant == Mutant::ElsewhereUntold {
        run.acted_elsewhere = false;
    } else if mutant == Mutant::UndoneAsItself {
        run.step = place_of(run.step);
    }
}

/// Writes a record as a careless driver would.
pub(super) fn miswrite(record: &mut Record, mutant: Mutant) {
    if let (
        Record::Opened(OpenedRecord { state: OpenedState::Compensating(reason), .. }),
        Mutant::TurnedBackBySilence,
    ) = (record, mutant)
    {
        *reason = AbortReason::Unanswered { by: participant_name(0), attempts: 1 };
    }
}

/// Returns the place of a record in the queue.
pub(super) fn place(record: &Record, queue: &VecDeque<Write>, mutant: Option<Mutant>) -> usize {
    let is_joining = |write: &Write| write.record.stage() == Stage::Joined && write.record.tx() == record.tx();
    let overtakes = matches!(record.stage(), Stage::Closed | Stage::Compensating)
        && mutant == Some(Mutant::JoinedLast)
        && queue.back().is_some_and(is_joining);
    queue.len() - usize::from(overtakes)
}

/// Reads an open saga from the log as a careless driver would.
pub(super) fn misread(header: &mut OpenedRecord, steps: &mut Vec<JoinedRecord>, mutant: Mutant) {
    match (mutant, &header.state) {
        (Mutant::JoinedForgotten, _) => steps.clear(),
        (Mutant::BranchForgotten, _) if header.terms.are_two_phase() => drop(steps.pop()),
        (Mutant::CheckBackForgotten, _) => header.check_back = None,
        (Mutant::ParentForgotten, _) => header.parent = None,
        (Mutant::CompletionsForgotten, OpenedState::Closed) => steps.iter_mut().for_each(|joined| {
            joined.progress = Progress::Completed { result: Bytes::new(), pending: false };
        }),
        (Mutant::ClosedReadAsCancelled, OpenedState::Closed) => {
            header.state = OpenedState::Compensating(AbortReason::Cancelled);
        }
        (Mutant::LaterStepsForgotten, OpenedState::Compensating(_)) => {
            steps.iter_mut().skip(1).for_each(|joined| joined.progress = Progress::Undone);
        }
        (Mutant::CompletionsTurnedRound, _) => {
            header.terms.completions = match header.terms.completions {
                same @ (Completions::Together | Completions::TwoPhase) => same,
                Completions::AsJoined => Completions::Reversed,
                Completions::Reversed => Completions::AsJoined,
            };
        }
        _ => {}
    }
}

pub(super) fn is_refusal(record: &Record) -> bool {
    matches!(record, Record::Joined(JoinedRecord { progress: Progress::Refused(_), .. }))
}
