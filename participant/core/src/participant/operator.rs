//! What operators do (R3).

use super::Participant;
use crate::branch::State;
use crate::effect::{Answer, Effect, Rejection};
use crate::heuristic::Heuristic;
use crate::input::Operator;
use undoubt_vocabulary::TxId;

impl Participant {
    pub(super) fn resolve(&mut self, tx: &TxId, heuristic: Heuristic, operator: Operator, effects: &mut Vec<Effect>) {
        let rejection = match self.branches.get(tx) {
            None => Rejection::NoSuchBranch,
            Some(branch) if branch.is_in_doubt() => {
                let branch = branch.id.clone();
                self.set(tx, State::Resolving { heuristic: heuristic.clone(), operator });
                return effects.push(Effect::Resolve { branch, heuristic });
            }
            Some(branch) => Rejection::NotInDoubt { state: branch.state.as_str() },
        };
        effects.push(Effect::Answer { operator, answer: Answer::Rejected(rejection) });
    }

    pub(super) fn forget(&mut self, tx: &TxId, operator: Operator, effects: &mut Vec<Effect>) {
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
                | State::Committing
                | State::Aborting { .. }
                | State::Resolving { .. }
                | State::Finished(_) => Rejection::NotHeuristic { state: branch.state.as_str() },
            },
        };
        effects.push(Effect::Answer { operator, answer: Answer::Rejected(rejection) });
    }
}
