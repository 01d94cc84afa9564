//! Branches of which the resource has found evidence that they have committed, and which somebody else may have committed.
//!
//! A database keeps a row that became visible with the branch, whoever committed it. So after a restart nobody here knows whether
//! the coordinator had asked for that commit. It is asked, and its answer tells: commit; or abort, and then the branch is a
//! heuristic outcome by an unknown hand (R3). A coordinator that has dropped records of committed attempts as late as this one
//! does not know either: it presumes an abort that is not certain, and the evidence is taken for a commit that was asked for.
//! Until there is an answer the evidence stays, also below the low-water mark.

use super::Participant;
use crate::branch::{Finished, State};
use crate::branch_id::BranchId;
use crate::effect::Effect;
use crate::kept_result::Kept;
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, ToCoordinator};

/// The branches with evidence that are asked about at a time: where one transaction holds the low-water mark for long, there is
/// evidence of all that came after it.
const MAX_ASKED_AT_A_TIME: usize = 1_000;

impl Participant {
    /// Returns the number of branches that have committed, nobody knows yet at whose word.
    pub fn unexplained_branches(&self) -> usize {
        self.branches.in_any_order().filter(|(_, branch)| branch.is_unexplained()).count()
    }

    /// Asks about evidence from the lowest attempt number on: a session begins.
    pub(super) fn ask_about_all_evidence(&mut self, coordinator: CoordinatorId, effects: &mut Vec<Effect>) {
        if let Some(known) = self.coordinators.get_mut(&coordinator) {
            known.asks_from = AttemptNumber::default();
        }
        self.ask_about_evidence(coordinator, effects);
    }

    /// Asks about the next of the branches with evidence, and after the last about the first again.
    pub(super) fn ask_about_evidence(&mut self, coordinator: CoordinatorId, effects: &mut Vec<Effect>) {
        let Some(known) = self.coordinators.get_mut(&coordinator) else { return };
        let Some(session) = known.session else { return };
        let from = (coordinator, known.asks_from);
        let mut unexplained = self
            .by_attempt_number
            .range(from..)
            .take_while(|((of, _), _)| *of == coordinator)
            .filter_map(|(_, tx)| self.branches.get(tx).filter(|branch| branch.is_unexplained()));
        let asked = unexplained.by_ref().take(MAX_ASKED_AT_A_TIME);
        effects.extend(asked.map(|branch| Effect::Send { session, message: inquiry(&branch.id) }));
        known.asks_from = unexplained.next().map(|branch| branch.id.attempt_number).unwrap_or_default();
    }

    pub(super) fn inquire(&self, id: &BranchId, effects: &mut Vec<Effect>) {
        self.send(id.coordinator, inquiry(id), effects);
    }

    /// Takes evidence for that of a commit that the coordinator has asked for, or may have.
    pub(super) fn explain(&mut self, id: &BranchId, result: Kept, effects: &mut Vec<Effect>) {
        if self.low_water_mark(id.coordinator).is_over(id.attempt_number) {
            self.remove(&id.tx);
            self.collect_if_all_is_over(id.coordinator, effects);
        } else {
            self.set(&id.tx, State::Finished(Finished::CommittedAlone { result }));
        }
    }

    /// Handles an abort that the coordinator has presumed, and may have forgotten a commit instead. What is in doubt has not
    /// acknowledged a commit, which is never forgotten.
    pub(super) fn handle_presumed_abort(&mut self, id: BranchId, is_over: bool, effects: &mut Vec<Effect>) {
        match self.state_of(&id) {
            Some(State::Finished(Finished::Unexplained { result })) => self.explain(&id, result, effects),
            Some(State::Finished(Finished::Committed | Finished::CommittedAlone { .. })) => {}
            None
            | Some(
                State::Executing { .. }
                | State::Prepared { .. }
                | State::ReadOnly { .. }
                | State::Confirming
                | State::Committing
                | State::Aborting { .. }
                | State::Resolving { .. }
                | State::Heuristic { .. }
                | State::Finished(Finished::Left | Finished::Read | Finished::Refused(_) | Finished::Aborted),
            ) => self.handle_abort(id, is_over, effects),
        }
    }

    /// Lets the resource drop what waited below the low-water mark for the last answer: nothing else might move the mark again.
    fn collect_if_all_is_over(&mut self, coordinator: CoordinatorId, effects: &mut Vec<Effect>) {
        let is_all_over = self.over(coordinator).next().is_none();
        if is_all_over {
            self.collect(coordinator, effects);
        }
    }
}

fn inquiry(id: &BranchId) -> ToCoordinator {
    ToCoordinator::Inquiry { tx: id.tx.clone(), attempt_number: id.attempt_number }
}
