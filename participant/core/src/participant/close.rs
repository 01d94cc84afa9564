//! The end of a saga: its semantic locks go, and once the low-water mark says that it is over it is forgotten.

use super::Participant;
use crate::effect::Effect;
use crate::saga::{Closing, Saga, SagaKey};
use crate::step::{State, StepId};
use undoubt_vocabulary::ToCoordinator;

impl Participant {
    /// Waits for what is under way, so that nothing of the saga can leave a semantic lock after its end.
    pub(super) fn handle_close(&mut self, key: SagaKey, is_over: bool, effects: &mut Vec<Effect>) {
        let saga = self.sagas.get(&key);
        // A saga that was given up may be over while one of its steps is still under way.
        if is_over && !saga.is_some_and(Saga::is_under_way) {
            return self.send_closed(key, effects);
        }
        match saga.map_or(Closing::Open, |saga| saga.closing) {
            Closing::Open => {
                let (coordinator, attempt_number, tx) = &key;
                for (step, state) in saga.into_iter().flat_map(|saga| &saga.steps) {
                    if let State::Acting { then: None, .. } = state {
                        let (coordinator, attempt_number, step, tx) =
                            (*coordinator, *attempt_number, *step, tx.clone());
                        let step = StepId { coordinator, attempt_number, step, tx };
                        effects.push(Effect::CancelAction { step });
                    }
                }
                self.sagas.set_closing(key.clone(), Closing::Waiting);
                self.at_rest(key, effects);
            }
            Closing::Waiting | Closing::UnderWay => {}
            Closing::Closed => self.send_closed(key, effects),
        }
    }

    /// Goes on with a saga of which a step has come to rest: perhaps it can be closed now, or be forgotten.
    pub(super) fn at_rest(&mut self, key: SagaKey, effects: &mut Vec<Effect>) {
        let Some(saga) = self.sagas.get(&key).filter(|saga| !saga.is_under_way()) else { return };
        let (coordinator, attempt_number, tx) = key.clone();
        if saga.closing == Closing::Waiting {
            if saga.steps.values().any(State::is_pending) {
                self.sagas.set_closing(key, Closing::UnderWay);
                return effects.push(Effect::CloseSaga { coordinator, attempt_number, tx });
            }
            self.sagas.set_closing(key.clone(), Closing::Closed);
            self.send_closed(key, effects);
        }
        // It was over while it was under way.
        if self.low_water_mark(coordinator).is_over(attempt_number)
            && self.sagas.forget(coordinator, attempt_number..attempt_number.next())
        {
            if let Some(known) = self.coordinators.get_mut(&coordinator) {
                known.is_uncollected = true;
            }
            self.collect(coordinator, effects);
        }
    }

    pub(super) fn handle_saga_closed(&mut self, key: SagaKey, effects: &mut Vec<Effect>) {
        self.sagas.closed(key.clone());
        self.send_closed(key.clone(), effects);
        self.at_rest(key, effects);
    }

    fn send_closed(&self, (coordinator, attempt_number, tx): SagaKey, effects: &mut Vec<Effect>) {
        self.send(coordinator, ToCoordinator::Closed { tx, attempt_number }, effects);
    }
}
