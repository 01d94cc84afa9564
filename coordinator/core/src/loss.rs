//! The parts of transactions that a participant has lost which was put back.

use crate::coordinator::Coordinator;
use crate::record::{Barrier, EndedBranch, EndedRecord};
use crate::saga::step_index;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_vocabulary::{AttemptNumber, BranchOutcome, LowWaterMark, ParticipantName, StepIndex, StepName, TxId};

/// The attempts of a coordinator that a participant still knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StillKnown {
    /// The attempts that were over when the log was as it is now, so nothing of them is lost.
    pub low_water_mark: LowWaterMark,
    /// Others, with the steps whose actions are in effect.
    pub attempts: BTreeMap<(AttemptNumber, TxId), BTreeSet<StepIndex>>,
}

/// The branch or step of a transaction that is at a participant, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    pub participant: ParticipantName,
    /// `None`: a branch.
    pub step: Option<PartStep>,
    pub outcome: BranchOutcome,
}

/// A step of a saga, by its place and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartStep {
    pub index: StepIndex,
    pub name: StepName,
}

impl Part {
    /// Returns the name of the step, or of the branch's participant.
    pub fn name(&self) -> &str {
        self.step.as_ref().map_or(self.participant.as_str(), |step| step.name.as_str())
    }
}

impl StillKnown {
    fn is_gone(&self, attempt_number: AttemptNumber, tx: &TxId) -> bool {
        !self.low_water_mark.is_over(attempt_number) && !self.attempts.contains_key(&(attempt_number, tx.clone()))
    }

    /// Returns those of an attempt's parts that are not any more as the participant had answered.
    fn lost(&self, attempt_number: AttemptNumber, tx: &TxId, parts: impl Iterator<Item = Part>) -> Vec<Part> {
        if self.low_water_mark.is_over(attempt_number) {
            return Vec::new();
        }
        let attempt = self.attempts.get(&(attempt_number, tx.clone()));
        let is_lost = |part: &Part| match (part.step.as_ref().map(|step| step.index), part.outcome) {
            (None, BranchOutcome::Committed) => attempt.is_none(),
            (Some(step), BranchOutcome::Committed) => !attempt.is_some_and(|in_effect| in_effect.contains(&step)),
            // It was undone, and is in effect again.
            (Some(step), BranchOutcome::Aborted) => attempt.is_some_and(|in_effect| in_effect.contains(&step)),
            // An abort leaves nothing. What an operator decided is a record of its own there.
            (None, BranchOutcome::Aborted)
            | (
                _,
                BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted | BranchOutcome::Unknown,
            ) => false,
        };
        parts.filter(is_lost).collect()
    }
}

impl Coordinator {
    /// Returns what a participant has lost of transactions that are open, save those whose ends are being written.
    ///
    /// A vote counts as the commit that it can come to. A branch that may have committed by itself, and of which nothing is known there any more, counts as lost, should it be
    /// called aborted: clients may have heard of its commit before a restart of this coordinator.
    pub fn lost_at(&self, participant: &ParticipantName, known: &StillKnown) -> Vec<(TxId, Vec<Part>)> {
        let lost = self.open().filter(|open| !open.is_ending() && !open.is_ended()).map(|open| {
            let parts = open.answered_by(participant).into_iter();
            let mut lost = known.lost(open.attempt_number_at(participant), open.tx(), parts);
            lost.extend(open.left_to(participant).filter(|_| known.is_gone(open.attempt_number(), open.tx())));
            (open.tx().clone(), lost)
        });
        lost.filter(|(_, lost)| !lost.is_empty()).collect()
    }
}

impl EndedRecord {
    /// Returns what a participant has lost of this transaction.
    pub fn lost_at(&self, participant: &ParticipantName, known: &StillKnown) -> Vec<Part> {
        let parts = self.parts_at(participant);
        let attempt_number = parts.iter().find_map(|(_, at)| *at).unwrap_or(self.attempt_number);
        known.lost(attempt_number, &self.tx, parts.into_iter().map(|(part, _)| part))
    }

    /// Says of parts that were lost that nobody knows what they are now, unless they have come to something else since.
    pub fn lose(&mut self, lost: &[Part]) {
        for Part { participant, step, outcome } in lost {
            let step = step.as_ref().map(|step| &step.name);
            let is_it = |branch: &&mut EndedBranch| {
                branch.step.as_ref() == step && branch.participant == *participant && branch.outcome == *outcome
            };
            if let Some(branch) = self.branches.iter_mut().find(is_it) {
                branch.outcome = BranchOutcome::Unknown;
            }
        }
    }

    /// Returns the parts of which a participant keeps something, and their attempt number if that is not the transaction's.
    fn parts_at(&self, participant: &ParticipantName) -> Vec<(Part, Option<AttemptNumber>)> {
        let part = |(index, branch): (usize, &EndedBranch)| {
            let is_there = match (&branch.step, self.saga) {
                (Some(_), _) => branch.participant == *participant,
                (None, false) => branch.participant == *participant && !self.read_only.contains(participant),
                // A branch of an earlier attempt is known by an operator's decision, which is a record of its own there.
                (None, true) => false,
            };
            let step = branch.step.clone().map(|name| PartStep { index: step_index(index), name });
            let attempt_number = match branch.barrier {
                Barrier::OfTransaction => None,
                Barrier::Of(attempt_number) => Some(attempt_number),
                Barrier::Nowhere => return None,
            };
            let part = || Part { participant: participant.clone(), step, outcome: branch.outcome };
            is_there.then(|| (part(), attempt_number))
        };
        self.branches.iter().enumerate().filter_map(part).collect()
    }
}
