//! The decisions of operators (R3).

use super::Participant;
use crate::branch::{Finished, State};
use crate::effect::{Answer, Effect, Rejection};
use crate::heuristic::Heuristic;
use crate::input::Operator;
use undoubt_vocabulary::{BranchOutcome, TxId};

impl Participant {
    pub(super) fn handle_resolve(
        &mut self,
        tx: &TxId,
        heuristic: Heuristic,
        operator: Operator,
        effects: &mut Vec<Effect>,
    ) {
        let rejection = match self.branches.get(tx) {
            None => Rejection::NoSuchBranch,
            Some(branch) if branch.is_in_doubt() => {
                let branch = branch.id.clone();
                self.set(tx, State::Resolving { heuristic: heuristic.clone(), operator });
                return effects.push(Effect::Resolve { branch, heuristic });
            }
            // Its vote bound it to nothing but its locks; asked to confirm, it says that it has lost them.
            Some(branch) if matches!(branch.state, State::ReadOnly { .. }) && !heuristic.commit => {
                let branch = branch.id.clone();
                self.set(tx, State::Finished(Finished::Aborted));
                effects.push(Effect::Release { branch });
                let answer = Answer::Resolved(BranchOutcome::Aborted);
                return effects.push(Effect::Answer { operator, answer });
            }
            Some(branch) if matches!(branch.state, State::ReadOnly { .. }) => Rejection::OnlyReads,
            Some(branch) => Rejection::NotInDoubt { state: branch.state.as_str() },
        };
        effects.push(Effect::Answer { operator, answer: Answer::Rejected(rejection) });
    }

    pub(super) fn handle_forget(&mut self, tx: &TxId, operator: Operator, effects: &mut Vec<Effect>) {
        let rejection = match self.branches.get(tx) {
            None => Rejection::NoSuchBranch,
            Some(branch) => match branch.state {
                State::Heuristic { .. } => {
                    effects.push(Effect::ForgetHeuristic { branch: branch.id.clone(), operator });
                    self.remove(tx);
                    return;
                }
                State::Executing { .. }
                | State::Prepared { .. }
                | State::ReadOnly { .. }
                | State::Confirming
                | State::Committing
                | State::Aborting { .. }
                | State::Resolving { .. }
                | State::Finished(_) => Rejection::NotHeuristic { state: branch.state.as_str() },
            },
        };
        effects.push(Effect::Answer { operator, answer: Answer::Rejected(rejection) });
    }
}
