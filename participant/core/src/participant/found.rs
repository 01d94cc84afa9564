//! Branches that the resource finds prepared, and that nobody here had prepared since the start.

use super::Participant;
use crate::branch::{Finished, State};
use crate::branch_id::BranchId;
use crate::effect::Effect;
use bytes::Bytes;
use undoubt_vocabulary::{Timestamp, ToCoordinator};

impl Participant {
    /// Takes up a branch as one that has survived a crash, and asks about it at once: the beginning of the session, which asks
    /// about those, is over. Of what is over already nothing has to be asked.
    pub(super) fn handle_found(
        &mut self,
        found: BranchId,
        begun_at: Timestamp,
        result: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let Some(known) = self.branches.get(&found.tx) else { return self.take_up(found, begun_at, result, effects) };
        // The resource tells of it again. What is open comes first, or there would be two calls for one transaction id; and
        // what another coordinator may still ask about must not be forgotten.
        if known.is_open() || known.id.coordinator != found.coordinator {
            return;
        }
        match found.attempt_number.cmp(&known.id.attempt_number) {
            std::cmp::Ordering::Greater => self.take_up(found, begun_at, result, effects),
            // Its coordinator began the later one only once it had aborted this.
            std::cmp::Ordering::Less => effects.push(Effect::Release { branch: found }),
            // Then the evidence of it was none.
            std::cmp::Ordering::Equal if known.is_unexplained() => self.take_up(found, begun_at, result, effects),
            std::cmp::Ordering::Equal => self.end_again(found, effects),
        }
    }

    fn take_up(&mut self, found: BranchId, begun_at: Timestamp, result: Bytes, effects: &mut Vec<Effect>) {
        let (tx, attempt_number, coordinator) = (found.tx.clone(), found.attempt_number, found.coordinator);
        self.insert(found, begun_at, State::Prepared { result });
        self.send(coordinator, ToCoordinator::Inquiry { tx, attempt_number }, effects);
    }

    /// Ends what is over here, and is prepared all the same: it landed after the answer, or the resource has lost its end.
    fn end_again(&mut self, found: BranchId, effects: &mut Vec<Effect>) {
        let Some(State::Finished(finished)) = self.state_of(&found) else { return };
        match finished {
            Finished::Committed => {
                self.set(&found.tx, State::Committing);
                effects.push(Effect::Commit { branch: found });
            }
            Finished::Refused(_) | Finished::Aborted => {
                self.set(&found.tx, State::Aborting { next: None });
                effects.push(Effect::Abort { branch: found });
            }
            // It never voted prepared, and what it said may be asked for again.
            Finished::CommittedAlone { .. } | Finished::Unexplained { .. } | Finished::Left | Finished::Read => {
                effects.push(Effect::Release { branch: found });
            }
        }
    }
}
