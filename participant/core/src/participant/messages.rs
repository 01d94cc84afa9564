//! The messages of coordinators, and how branches take them.

use super::Participant;
use crate::branch::{Finished, State, Then};
use crate::branch_id::BranchId;
use crate::effect::Effect;
use crate::heuristic::Heuristic;
use crate::input::Session;
use crate::kept_result::Kept;
use crate::step::StepId;
use undoubt_vocabulary::{
    BranchOutcome, CoordinatorId, Execution, Prepare, Refusal, RefusalCode, ToCoordinator, ToParticipant, TxId, Vote,
};

impl Participant {
    /// Messages of a session that is not, or no longer, its coordinator's one session are ignored.
    pub(super) fn handle_message(&mut self, session: Session, message: ToParticipant, effects: &mut Vec<Effect>) {
        let Some((coordinator, known)) = self.of_session(session) else { return };
        let is_over = known.low_water_mark.is_over(message.attempt_number());
        let id = BranchId { tx: message.tx().clone(), attempt_number: message.attempt_number(), coordinator };
        match message {
            ToParticipant::Prepare(prepare) => self.handle_prepare(id, prepare, is_over, effects),
            ToParticipant::Confirm { .. } => self.handle_confirm(&id, effects),
            ToParticipant::Commit { .. } => self.handle_commit(&id, is_over, effects),
            ToParticipant::Abort { certain: true, .. } => self.handle_abort(id, is_over, effects),
            ToParticipant::Abort { certain: false, .. } => self.handle_presumed_abort(id, is_over, effects),
            ToParticipant::Settle { .. } => self.handle_settle(id, is_over, effects),
            ToParticipant::Undecided { .. } => {}
            ToParticipant::Noted { .. } => self.handle_noted(&id),
            ToParticipant::Run(run) => {
                let step = StepId { coordinator, attempt_number: run.attempt_number, step: run.step, tx: id.tx };
                self.handle_run(step, run, is_over, effects);
            }
            ToParticipant::Close { .. } => self.handle_close((coordinator, id.attempt_number, id.tx), is_over, effects),
        }
    }

    fn handle_prepare(&mut self, id: BranchId, prepare: Prepare, is_over: bool, effects: &mut Vec<Effect>) {
        if is_over {
            let detail = "the transaction was over when this prepare arrived";
            return self.refuse(&id, RefusalCode::Late, detail, effects);
        }
        let Some(branch) = self.branches.get(&id.tx) else { return self.execute(id, prepare, effects) };
        if branch.id.coordinator != id.coordinator {
            let detail = "another coordinator uses this transaction id here; choose another id";
            return self.refuse(&id, RefusalCode::InvalidWork, detail, effects);
        }
        match id.attempt_number.cmp(&branch.id.attempt_number) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => self.prepare_again(&id, prepare.execution, effects),
            std::cmp::Ordering::Greater => self.prepare_anew(id, prepare, effects),
        }
    }

    fn execute(&mut self, id: BranchId, prepare: Prepare, effects: &mut Vec<Effect>) {
        if self.is_full() {
            return self.refuse(&id, RefusalCode::Unavailable, &self.full(), effects);
        }
        let state = State::Executing { execution: prepare.execution, then: Then::Vote };
        self.insert(id.clone(), prepare.begun_at, state);
        effects.push(Effect::Execute { branch: id, prepare });
    }

    /// Handles the same prepare once more: say again what was said.
    fn prepare_again(&mut self, id: &BranchId, execution: Execution, effects: &mut Vec<Effect>) {
        let Some(state) = self.state_of(id) else { return };
        let vote = match state {
            State::Prepared { result } => Vote::Prepared { result },
            State::ReadOnly { result } => Vote::ReadOnly { result },
            State::Finished(Finished::CommittedAlone { result } | Finished::Unexplained { result }) => {
                match execution {
                    Execution::OnePhase => return self.vote_again(id, result, effects),
                    // The vote is lost, and somebody else has committed the branch since, as the resource will tell. No refusal is sent:
                    // a coordinator that hears one tells nobody here to abort.
                    Execution::TwoPhase => {
                        self.set(&id.tx, State::Aborting { next: None });
                        return effects.push(Effect::Abort { branch: id.clone() });
                    }
                }
            }
            State::Finished(Finished::Refused(vote)) => vote,
            State::Executing { .. }
            | State::Confirming
            | State::Committing
            | State::Aborting { .. }
            | State::Resolving { .. }
            | State::Heuristic { .. }
            | State::Finished(Finished::Committed | Finished::Left | Finished::Read | Finished::Aborted) => return,
        };
        self.send_vote(id, vote, effects);
    }

    fn vote_again(&self, id: &BranchId, result: Kept, effects: &mut Vec<Effect>) {
        match result {
            Kept::Here(result) => self.send_vote(id, Vote::Committed { result }, effects),
            Kept::Stored => effects.push(Effect::RecallVote { branch: id.clone() }),
        }
    }

    /// Handles a later attempt under the same id: the coordinator has aborted the earlier one.
    fn prepare_anew(&mut self, id: BranchId, prepare: Prepare, effects: &mut Vec<Effect>) {
        let Some(branch) = self.branches.get(&id.tx) else { return };
        let earlier = branch.id.clone();
        match branch.state.clone() {
            State::Executing { execution, .. } => {
                self.set(&id.tx, State::Executing { execution, then: Then::Undo { next: Some(prepare) } });
                effects.push(Effect::Cancel { branch: earlier });
            }
            State::Prepared { .. } => {
                self.set(&id.tx, State::Aborting { next: Some(prepare) });
                effects.push(Effect::Abort { branch: earlier });
            }
            State::Finished(Finished::Unexplained { .. }) => {
                let detail = "an earlier attempt under this transaction id has committed here, and it is not known yet at whose word";
                self.refuse(&id, RefusalCode::Unavailable, detail, effects);
                self.inquire(&earlier, effects);
            }
            // It was prepared, and somebody else has committed it. The resource tells.
            State::Finished(Finished::CommittedAlone { .. }) if prepare.execution == Execution::TwoPhase => {
                self.set(&id.tx, State::Aborting { next: Some(prepare) });
                effects.push(Effect::Abort { branch: earlier });
            }
            State::ReadOnly { .. } => {
                effects.push(Effect::Release { branch: earlier });
                self.execute(id, prepare, effects);
            }
            // Once it has confirmed it has left, whatever it says.
            State::Confirming | State::Aborting { .. } => {
                self.set(&id.tx, State::Aborting { next: Some(prepare) });
            }
            State::Finished(_) => self.execute(id, prepare, effects),
            State::Committing | State::Resolving { .. } | State::Heuristic { .. } => {
                let detail = "an earlier attempt under this transaction id is not finished here";
                self.refuse(&id, RefusalCode::Unavailable, detail, effects);
            }
        }
    }

    fn handle_confirm(&mut self, id: &BranchId, effects: &mut Vec<Effect>) {
        let held = match self.state_of(id) {
            Some(State::ReadOnly { .. }) => {
                self.set(&id.tx, State::Confirming);
                return effects.push(Effect::Confirm { branch: id.clone() });
            }
            // It is answered when the resource manager has answered.
            Some(State::Confirming) => return,
            Some(State::Finished(Finished::Left)) => true,
            None
            | Some(
                State::Executing { .. }
                | State::Prepared { .. }
                | State::Committing
                | State::Aborting { .. }
                | State::Resolving { .. }
                | State::Heuristic { .. }
                | State::Finished(
                    Finished::Committed
                    | Finished::CommittedAlone { .. }
                    | Finished::Unexplained { .. }
                    | Finished::Read
                    | Finished::Refused(_)
                    | Finished::Aborted,
                ),
            ) => false,
        };
        self.send_confirmed(id, held, effects);
    }

    pub(super) fn send_confirmed(&self, id: &BranchId, held: bool, effects: &mut Vec<Effect>) {
        let message = ToCoordinator::Confirmed { tx: id.tx.clone(), attempt_number: id.attempt_number, held };
        self.send(id.coordinator, message, effects);
    }

    fn handle_commit(&mut self, id: &BranchId, is_over: bool, effects: &mut Vec<Effect>) {
        let outcome = match self.state_of(id) {
            Some(State::Prepared { .. }) => {
                self.set(&id.tx, State::Committing);
                return effects.push(Effect::Commit { branch: id.clone() });
            }
            Some(State::Finished(Finished::Committed | Finished::CommittedAlone { .. })) => BranchOutcome::Committed,
            Some(State::Finished(Finished::Unexplained { result })) => {
                self.explain(id, result, effects);
                BranchOutcome::Committed
            }
            Some(State::Heuristic { heuristic, .. }) => return self.decided(id, heuristic, true, effects),
            // Being over, it was acknowledged once, and is remembered no longer.
            None if is_over => BranchOutcome::Committed,
            // A vote was given and is gone (S9): whoever decided must know.
            None => BranchOutcome::Unknown,
            Some(State::Aborting { .. } | State::Finished(Finished::Aborted | Finished::Refused(_))) => {
                BranchOutcome::Aborted
            }
            Some(
                State::Executing { .. }
                | State::ReadOnly { .. }
                | State::Confirming
                | State::Committing
                | State::Resolving { .. }
                | State::Finished(Finished::Left | Finished::Read),
            ) => return,
        };
        self.send_finished(id, outcome, effects);
    }

    pub(super) fn handle_abort(&mut self, id: BranchId, is_over: bool, effects: &mut Vec<Effect>) {
        match self.state_of(&id) {
            Some(State::Executing { execution, then: Then::Vote }) => {
                self.set(&id.tx, State::Executing { execution, then: Then::Undo { next: None } });
                effects.push(Effect::Cancel { branch: id });
            }
            Some(State::Prepared { .. }) => {
                self.set(&id.tx, State::Aborting { next: None });
                effects.push(Effect::Abort { branch: id });
            }
            Some(State::ReadOnly { .. }) => {
                self.set(&id.tx, State::Finished(Finished::Aborted));
                effects.push(Effect::Release { branch: id });
            }
            // Its coordinator did not commit it, so somebody else has, in the resource itself, which tells.
            Some(State::Finished(
                Finished::Committed | Finished::CommittedAlone { .. } | Finished::Unexplained { .. },
            )) => {
                self.set(&id.tx, State::Aborting { next: None });
                effects.push(Effect::Abort { branch: id });
            }
            Some(State::Heuristic { heuristic, .. }) => self.decided(&id, heuristic, false, effects),
            // The prepare may still be on its way: remember that it is late (R11).
            None if !is_over && !self.branches.contains_key(&id.tx) => {
                self.insert(id, Default::default(), State::Finished(Finished::Aborted));
            }
            None
            | Some(
                State::Executing { then: Then::Undo { .. }, .. }
                | State::Confirming
                | State::Committing
                | State::Aborting { .. }
                | State::Resolving { .. }
                | State::Finished(Finished::Left | Finished::Read | Finished::Refused(_) | Finished::Aborted),
            ) => {}
        }
    }

    /// Handles that one phase was asked for, and the coordinator heard nothing: from here on it will not commit, unless
    /// it has.
    fn handle_settle(&mut self, id: BranchId, is_over: bool, effects: &mut Vec<Effect>) {
        match self.state_of(&id) {
            Some(State::Executing { execution: Execution::OnePhase, .. }) => {
                effects.push(Effect::Cancel { branch: id });
            }
            Some(State::Finished(Finished::CommittedAlone { result } | Finished::Unexplained { result })) => {
                self.vote_again(&id, result, effects);
            }
            Some(State::Finished(Finished::Refused(vote))) => self.send_vote(&id, vote, effects),
            // It was over and is forgotten, so it may have committed. Only a coordinator that was put back asks.
            None if is_over => self.send_finished(&id, BranchOutcome::Unknown, effects),
            None => self.settle_unknown(id, effects),
            Some(State::Finished(Finished::Aborted | Finished::Left | Finished::Read)) => {
                self.send_finished(&id, BranchOutcome::Aborted, effects);
            }
            Some(
                State::Executing { execution: Execution::TwoPhase, .. }
                | State::Prepared { .. }
                | State::ReadOnly { .. }
                | State::Confirming
                | State::Committing
                | State::Aborting { .. }
                | State::Resolving { .. }
                | State::Heuristic { .. }
                | State::Finished(Finished::Committed),
            ) => {}
        }
    }

    /// Its prepare never came, or still comes, or waits for an earlier attempt to end.
    fn settle_unknown(&mut self, id: BranchId, effects: &mut Vec<Effect>) {
        let other = self.branches.get(&id.tx);
        let earlier =
            other.filter(|other| other.id.coordinator == id.coordinator && other.id.attempt_number < id.attempt_number);
        if earlier.is_some_and(|earlier| earlier.is_open()) {
            // This attempt may be what comes after it, so nothing can be promised yet. There will be another settle.
            return;
        }
        self.send_finished(&id, BranchOutcome::Aborted, effects);
        if other.is_none() || earlier.is_some() {
            self.insert(id, Default::default(), State::Finished(Finished::Aborted));
        }
    }

    fn decided(&mut self, id: &BranchId, mut heuristic: Heuristic, commit: bool, effects: &mut Vec<Effect>) {
        if heuristic.decision.is_none() {
            heuristic.decision = Some(commit);
            self.store_heuristic(id, heuristic.clone(), effects);
        }
        self.send_finished(id, heuristic.outcome(), effects);
    }

    /// Stores a heuristic outcome, which is reported from here on until its coordinator has noted it.
    pub(super) fn store_heuristic(&mut self, id: &BranchId, heuristic: Heuristic, effects: &mut Vec<Effect>) {
        let Some(branch) = self.branches.get(&id.tx) else { return };
        let begun_at = branch.begun_at;
        effects.push(Effect::StoreHeuristic { branch: id.clone(), begun_at, heuristic: heuristic.clone() });
        self.set(&id.tx, State::Heuristic { heuristic, noted: false });
    }

    fn handle_noted(&mut self, id: &BranchId) {
        if let Some(State::Heuristic { heuristic, .. }) = self.state_of(id) {
            self.set(&id.tx, State::Heuristic { heuristic, noted: true });
        }
    }

    pub(super) fn send_vote(&self, id: &BranchId, vote: Vote, effects: &mut Vec<Effect>) {
        let message = ToCoordinator::Vote { tx: id.tx.clone(), attempt_number: id.attempt_number, vote };
        self.send(id.coordinator, message, effects);
    }

    pub(super) fn send_finished(&self, id: &BranchId, outcome: BranchOutcome, effects: &mut Vec<Effect>) {
        let message = ToCoordinator::Finished { tx: id.tx.clone(), attempt_number: id.attempt_number, outcome };
        self.send(id.coordinator, message, effects);
    }

    pub(super) fn refuse(&self, id: &BranchId, code: RefusalCode, detail: &str, effects: &mut Vec<Effect>) {
        self.send_vote(id, Vote::Refused(Refusal::new(code, detail)), effects);
    }

    /// Goes on when the earlier attempt is gone; if a later one came meanwhile, it starts now.
    pub(super) fn after_abort(&mut self, id: &BranchId, next: Option<Prepare>, effects: &mut Vec<Effect>) {
        self.set(&id.tx, State::Finished(Finished::Aborted));
        if let Some(prepare) = next {
            let coordinator: CoordinatorId = id.coordinator;
            let tx: TxId = id.tx.clone();
            self.execute(BranchId { tx, attempt_number: prepare.attempt_number, coordinator }, prepare, effects);
        }
    }
}
