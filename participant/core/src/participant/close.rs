//! The end of a saga: its semantic locks go, and below the fence it is forgotten.

use super::Participant;
use crate::effect::Effect;
use crate::saga::{Closing, Saga, SagaKey};
use crate::step::{State, StepId};
use undoubt_vocabulary::{Ticket, ToCoordinator};

impl Participant {
    /// Waits for what is under way, so that nothing of the saga can leave a semantic lock after its end.
    pub(super) fn close(&mut self, key: SagaKey, fence: Ticket, effects: &mut Vec<Effect>) {
        let saga = self.sagas.get(&key);
        // The fence may have passed a saga that was given up while one of its steps is still under way.
        if key.1 < fence && !saga.is_some_and(Saga::is_under_way) {
            return self.closed(key, effects);
        }
        match saga.map_or(Closing::Open, |saga| saga.closing) {
            Closing::Open => {
                let (coordinator, ticket, tx) = &key;
                for (step, state) in saga.into_iter().flat_map(|saga| &saga.steps) {
                    if let State::Acting { then: None, .. } = state {
                        let (coordinator, ticket, step, tx) = (*coordinator, *ticket, *step, tx.clone());
                        let step = StepId { coordinator, ticket, step, tx };
                        effects.push(Effect::CancelAction { step });
                    }
                }
                self.sagas.set_closing(key.clone(), Closing::Waiting);
                self.at_rest(key, effects);
            }
            Closing::Waiting | Closing::UnderWay => {}
            Closing::Closed => self.closed(key, effects),
        }
    }

    /// A step of it has come to rest: perhaps it can be closed now, or be forgotten.
    pub(super) fn at_rest(&mut self, key: SagaKey, effects: &mut Vec<Effect>) {
        let Some(saga) = self.sagas.get(&key).filter(|saga| !saga.is_under_way()) else { return };
        let (coordinator, ticket, tx) = key.clone();
        if saga.closing == Closing::Waiting {
            if saga.steps.values().any(State::is_pending) {
                self.sagas.set_closing(key, Closing::UnderWay);
                return effects.push(Effect::CloseSaga { coordinator, ticket, tx });
            }
            self.sagas.set_closing(key.clone(), Closing::Closed);
            self.closed(key, effects);
        }
        let fence = self.coordinators.get(&coordinator).map_or(Ticket::default(), |known| known.fence);
        // The fence passed while it was under way.
        if ticket < fence && self.sagas.forget_below(coordinator, fence) {
            effects.push(Effect::Collect { coordinator, fence });
        }
    }

    pub(super) fn saga_closed(&mut self, key: SagaKey, effects: &mut Vec<Effect>) {
        self.sagas.closed(key.clone());
        self.closed(key.clone(), effects);
        self.at_rest(key, effects);
    }

    fn closed(&self, (coordinator, ticket, tx): SagaKey, effects: &mut Vec<Effect>) {
        self.send(coordinator, ToCoordinator::Closed { tx, ticket }, effects);
    }
}
