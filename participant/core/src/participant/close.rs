//! The end of a saga: its semantic locks go, and below the low-water mark it is forgotten.

use super::Participant;
use crate::effect::Effect;
use crate::saga::{Closing, Saga, SagaKey};
use crate::step::{State, StepId};
use undoubt_vocabulary::{AttemptNumber, ToCoordinator};

impl Participant {
    /// Waits for what is under way, so that nothing of the saga can leave a semantic lock after its end.
    pub(super) fn handle_close(&mut self, key: SagaKey, low_water_mark: AttemptNumber, effects: &mut Vec<Effect>) {
        let saga = self.sagas.get(&key);
        // The low-water mark may have passed a saga that was given up while one of its steps is still under way.
        if key.1 < low_water_mark && !saga.is_some_and(Saga::is_under_way) {
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
        let low_water_mark =
            self.coordinators.get(&coordinator).map_or(AttemptNumber::default(), |known| known.low_water_mark);
        // The low-water mark passed while it was under way.
        if attempt_number < low_water_mark && self.sagas.forget_below(coordinator, low_water_mark) {
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
