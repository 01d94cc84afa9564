//! The changes that clients and operators ask for of an open transaction.

use super::{Coordinator, Phase};
use crate::context::Context;
use crate::effect::{Answer, Effect, Rejection};
use crate::input::{Client, StepResolution};
use crate::open_transaction::{Open, OpenInput};
use crate::record::EndedRecord;
use std::collections::BTreeMap;
use undoubt_vocabulary::{AttemptNumber, StepName, Timestamp, TxId};

impl Coordinator {
    pub(super) fn handle_cancel(&mut self, now: Timestamp, tx: &TxId, client: Client, effects: &mut Vec<Effect>) {
        let Some(open) = self.transactions.get(tx) else { return };
        let attempt_number = open.attempt_number();
        if let Open::Unusable(unusable) = open {
            let answer = Answer::Rejected(unusable.rejection());
            return effects.push(Effect::Answer { client, tx: tx.clone(), answer });
        }
        if open.is_cancellable() {
            self.let_wait(now, tx, client, true, effects);
            self.dispatch(now, tx, attempt_number, OpenInput::Cancelled, effects);
        } else {
            effects.push(Effect::Answer { client, tx: tx.clone(), answer: Answer::Rejected(Rejection::TooLate) });
        }
    }

    pub(super) fn handle_forget(&mut self, now: Timestamp, tx: &TxId, client: Client, effects: &mut Vec<Effect>) {
        let Some(open) = self.transactions.get_mut(tx) else { return };
        match open {
            Open::Unusable(unusable) => {
                let (peers, room, kin) = (&mut self.peers, &mut self.room, &mut self.kin);
                unusable.give_up(client, &mut Context { now, effects, peers, room, kin });
            }
            Open::TwoPhase(transaction) if transaction.is_unacknowledged() => {
                transaction.wait_for_end(client);
                let attempt_number = transaction.attempt_number;
                self.dispatch(now, tx, attempt_number, OpenInput::Forgotten, effects);
            }
            Open::TwoPhase(_) => {
                let answer = Answer::Rejected(Rejection::NotDecided);
                effects.push(Effect::Answer { client, tx: tx.clone(), answer });
            }
            Open::Saga(saga) if saga.is_two_phase() => {
                let answer = Answer::Rejected(Rejection::NotDecided);
                effects.push(Effect::Answer { client, tx: tx.clone(), answer });
            }
            Open::Saga(saga) => {
                let before = saga.held_bytes();
                let (peers, room, kin) = (&mut self.peers, &mut self.room, &mut self.kin);
                saga.forget(client, &mut Context { now, effects, peers, room, kin });
                self.room.change(before, saga.held_bytes());
            }
        }
    }

    pub(super) fn handle_resolve_step(
        &mut self,
        now: Timestamp,
        tx: &TxId,
        step: &StepName,
        resolution: StepResolution,
        client: Client,
        effects: &mut Vec<Effect>,
    ) {
        let Some(open) = self.transactions.get_mut(tx) else { return };
        let resolved = match open {
            Open::TwoPhase(_) => Err(Rejection::NotASaga),
            Open::Unusable(unusable) => Err(unusable.rejection()),
            Open::Saga(saga) if saga.is_two_phase() => Err(Rejection::NotASaga),
            Open::Saga(saga) => {
                let before = saga.held_bytes();
                let (peers, room, kin) = (&mut self.peers, &mut self.room, &mut self.kin);
                let resolved = saga.resolve(step, resolution, client, &mut Context { now, effects, peers, room, kin });
                self.room.change(before, saga.held_bytes());
                resolved
            }
        };
        if let Err(rejection) = resolved {
            effects.push(Effect::Answer { client, tx: tx.clone(), answer: Answer::Rejected(rejection) });
        }
    }

    pub(super) fn pause_recovery(&mut self) {
        self.recovery_paused = true;
        self.transactions.values_mut().for_each(Open::hold_if_recovered);
    }

    pub(super) fn resume_recovery(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.recovery_paused = false;
        if self.phase == Phase::Recovering {
            // Sagas of the log go on once all of it is read.
            return;
        }
        let held = self.transactions.values_mut().filter_map(|open| open.release().then_some(open));
        let released: BTreeMap<AttemptNumber, TxId> =
            held.map(|open| (open.attempt_number(), open.tx().clone())).collect();
        for (attempt_number, tx) in released {
            self.dispatch(now, &tx, attempt_number, OpenInput::Resumed, effects);
        }
    }
}

/// Returns the reason why a step of a transaction that has ended cannot be resolved.
pub(super) fn too_late_for(step: StepName, ended: &EndedRecord) -> Rejection {
    if !ended.saga {
        Rejection::NotASaga
    } else if ended.branches.iter().any(|branch| branch.step.as_ref() == Some(&step)) {
        Rejection::StepSettled { step, state: "over: its saga has ended" }
    } else {
        Rejection::NoSuchStep { step }
    }
}
