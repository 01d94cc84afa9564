//! The answers of the resource manager.

use super::Participant;
use crate::branch::{Finished, State, Then};
use crate::branch_id::BranchId;
use crate::effect::{Answer, Effect, Rejection};
use crate::heuristic::Heuristic;
use bytes::Bytes;
use undoubt_vocabulary::{BranchOutcome, Execution, RefusalCode, Timestamp, Vote};

impl Finished {
    /// Returns true if the resource keeps a record of it.
    pub(super) fn is_stored(&self) -> bool {
        match self {
            Finished::Committed | Finished::CommittedAlone { .. } | Finished::Unexplained { .. } => true,
            Finished::Left | Finished::Read | Finished::Refused(_) | Finished::Aborted => false,
        }
    }
}

impl Participant {
    pub(super) fn handle_executed(&mut self, id: &BranchId, vote: Vote, effects: &mut Vec<Effect>) {
        let Some(State::Executing { execution, then }) = self.state_of(id) else {
            unreachable!("the resource manager answers an execution once, and the branch waits for it")
        };
        match then {
            Then::Vote => {
                self.set(&id.tx, self.after_vote(execution, vote.clone()));
                self.send_vote(id, vote, effects);
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

    pub(super) fn handle_confirmed(&mut self, id: &BranchId, held: bool, effects: &mut Vec<Effect>) {
        match self.state_of(id) {
            Some(State::Confirming) => {
                self.set(&id.tx, State::Finished(if held { Finished::Left } else { Finished::Aborted }));
                self.send_confirmed(id, held, effects);
            }
            // A later attempt came meanwhile.
            Some(State::Aborting { next }) => self.after_abort(id, next, effects),
            None
            | Some(
                State::Executing { .. }
                | State::Prepared { .. }
                | State::ReadOnly { .. }
                | State::Committing
                | State::Resolving { .. }
                | State::Heuristic { .. }
                | State::Finished(_),
            ) => unreachable!("a confirmation that nobody asked for"),
        }
    }

    pub(super) fn handle_committed(&mut self, id: &BranchId, effects: &mut Vec<Effect>) {
        assert_eq!(self.state_of(id), Some(State::Committing), "a commit that nobody asked for");
        self.set(&id.tx, State::Finished(Finished::Committed));
        self.send_finished(id, BranchOutcome::Committed, effects);
    }

    pub(super) fn handle_aborted(&mut self, id: &BranchId, effects: &mut Vec<Effect>) {
        let Some(State::Aborting { next }) = self.state_of(id) else { unreachable!("an abort that nobody asked for") };
        self.after_abort(id, next, effects);
    }

    pub(super) fn handle_resolved(&mut self, id: &BranchId, effects: &mut Vec<Effect>) {
        let Some(State::Resolving { heuristic, operator }) = self.state_of(id) else {
            unreachable!("a resolution that nobody asked for")
        };
        let answer = Answer::Resolved(heuristic.outcome());
        self.set(&id.tx, State::Heuristic { heuristic, noted: false });
        effects.push(Effect::Answer { operator, answer });
    }

    /// Takes the word that somebody else has ended it the other way (R3).
    pub(super) fn handle_gone(&mut self, id: &BranchId, at: Timestamp, effects: &mut Vec<Effect>) {
        match self.state_of(id) {
            Some(State::Committing) => {
                self.ended_by_others(id, Heuristic::by_unknown_hand(false, at, Some(true)), effects)
            }
            Some(State::Aborting { next }) => {
                if let Some(next) = next {
                    let next = BranchId { attempt_number: next.attempt_number, ..id.clone() };
                    let detail = "an earlier attempt under this transaction id was committed here by somebody else";
                    self.refuse(&next, RefusalCode::Unavailable, detail, effects);
                }
                self.ended_by_others(id, Heuristic::by_unknown_hand(true, at, Some(false)), effects);
            }
            // Its execution was unclear, so it was to be undone. No vote is given: a coordinator that hears nothing tells it to abort,
            // also after a crash that forgets what is stored below.
            Some(State::Executing { then, .. }) => {
                if let Then::Undo { next: Some(next) } = then {
                    let next = BranchId { attempt_number: next.attempt_number, ..id.clone() };
                    let detail =
                        "what the resource did for an earlier attempt was unclear, and somebody else has committed it";
                    self.refuse(&next, RefusalCode::Unavailable, detail, effects);
                }
                self.ended_by_others(id, Heuristic::by_unknown_hand(true, at, Some(false)), effects);
            }
            Some(State::Resolving { heuristic, operator }) => {
                let gone = Heuristic::by_unknown_hand(!heuristic.commit, at, None);
                let rejection = Rejection::EndedByOthers { outcome: gone.outcome() };
                self.store_heuristic(id, gone, effects);
                effects.push(Effect::Answer { operator, answer: Answer::Rejected(rejection) });
            }
            None
            | Some(
                State::Prepared { .. }
                | State::ReadOnly { .. }
                | State::Confirming
                | State::Heuristic { .. }
                | State::Finished(_),
            ) => unreachable!("nobody told it to end"),
        }
    }

    /// Keeps how others ended a branch whose decision is known: it is reported at once.
    fn ended_by_others(&mut self, id: &BranchId, heuristic: Heuristic, effects: &mut Vec<Effect>) {
        let outcome = heuristic.outcome();
        self.store_heuristic(id, heuristic, effects);
        self.send_finished(id, outcome, effects);
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
    pub(super) fn handle_vote_recalled(&mut self, id: &BranchId, result: Bytes, effects: &mut Vec<Effect>) {
        // The low-water mark may have passed it meanwhile.
        if let Some(State::Finished(Finished::CommittedAlone { .. } | Finished::Unexplained { .. })) = self.state_of(id)
        {
            self.send_vote(id, Vote::Committed { result }, effects);
        }
    }
}
