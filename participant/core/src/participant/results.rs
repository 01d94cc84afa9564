//! What the resource manager has done.

use super::Participant;
use crate::branch::{Finished, State, Then};
use crate::branch_id::BranchId;
use crate::effect::{Answer, Effect};
use bytes::Bytes;
use undoubt_vocabulary::{BranchOutcome, Execution, Vote};

impl Finished {
    /// Whether the resource keeps a record of it.
    pub(super) fn is_stored(&self) -> bool {
        match self {
            Finished::Committed | Finished::CommittedAlone { .. } => true,
            Finished::Left | Finished::Read | Finished::Refused(_) | Finished::Aborted => false,
        }
    }
}

impl Participant {
    pub(super) fn executed(&mut self, id: &BranchId, vote: Vote, effects: &mut Vec<Effect>) {
        let Some(State::Executing { execution, then }) = self.state_of(id) else {
            unreachable!("the resource manager answers an execution once, and the branch waits for it")
        };
        match then {
            Then::Vote => {
                self.set(&id.tx, self.after_vote(execution, vote.clone()));
                self.vote(id, vote, effects);
            }
            Then::Undo { next } => match vote {
                Vote::Prepared { .. } => {
                    self.set(&id.tx, State::Aborting { next });
                    effects.push(Effect::Abort { branch: id.clone() });
                }
                Vote::ReadOnly { .. } => {
                    effects.push(Effect::Release { branch: id.clone() });
                    self.after_abort(id, next, effects);
                }
                Vote::Refused(_) => self.after_abort(id, next, effects),
                // Only a one-phase branch commits by itself, and what settles it is never an abort.
                Vote::Committed { result } => {
                    let result = self.keep(result);
                    self.set(&id.tx, State::Finished(Finished::CommittedAlone { result }));
                }
            },
        }
    }

    pub(super) fn committed(&mut self, id: &BranchId, effects: &mut Vec<Effect>) {
        assert_eq!(self.state_of(id), Some(State::Committing), "a commit that nobody asked for");
        self.set(&id.tx, State::Finished(Finished::Committed));
        self.finished(id, BranchOutcome::Committed, effects);
    }

    pub(super) fn aborted(&mut self, id: &BranchId, effects: &mut Vec<Effect>) {
        let Some(State::Aborting { next }) = self.state_of(id) else { unreachable!("an abort that nobody asked for") };
        self.after_abort(id, next, effects);
    }

    pub(super) fn resolved(&mut self, id: &BranchId, effects: &mut Vec<Effect>) {
        let Some(State::Resolving { heuristic, operator }) = self.state_of(id) else {
            unreachable!("a resolution that nobody asked for")
        };
        let answer = Answer::Resolved(heuristic.outcome());
        self.set(&id.tx, State::Heuristic { heuristic, noted: false });
        effects.push(Effect::Answer { operator, answer });
    }

    fn after_vote(&self, execution: Execution, vote: Vote) -> State {
        match (vote, execution) {
            (Vote::Prepared { result }, _) => State::Prepared { result },
            (Vote::ReadOnly { result }, Execution::TwoPhase) => State::ReadOnly { result },
            (Vote::ReadOnly { .. }, Execution::OnePhase) => State::Finished(Finished::Read),
            (Vote::Committed { result }, _) => State::Finished(Finished::CommittedAlone { result: self.keep(result) }),
            (vote @ Vote::Refused(_), _) => State::Finished(Finished::Refused(vote)),
        }
    }

    /// Says again what a one-phase branch has voted.
    pub(super) fn vote_recalled(&mut self, id: &BranchId, result: Bytes, effects: &mut Vec<Effect>) {
        // The fence may have passed it meanwhile.
        if let Some(State::Finished(Finished::CommittedAlone { .. })) = self.state_of(id) {
            self.vote(id, Vote::Committed { result }, effects);
        }
    }
}
