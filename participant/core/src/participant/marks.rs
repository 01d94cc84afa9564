//! An operator releases the semantic locks of one saga, whose coordinator may be gone for good.

use super::Participant;
use crate::effect::{Answer, Effect, Rejection};
use crate::input::Operator;
use crate::release::Release;
use crate::saga::SagaKey;
use undoubt_vocabulary::{CoordinatorId, TxId};

impl Participant {
    /// Releases the semantic locks of a saga. It goes on, if anybody carries it on; it is isolated no more. Refused
    /// while a step of it is under way, since no two calls for a saga may meet.
    pub(super) fn handle_release_marks(
        &mut self,
        coordinator: CoordinatorId,
        tx: &TxId,
        release: &Release,
        operator: Operator,
        effects: &mut Vec<Effect>,
    ) {
        let own = || self.sagas.of(coordinator, tx);
        let rejection = if own().any(|(_, saga)| saga.is_under_way()) {
            Some(Rejection::StepUnderWay)
        } else if !own().any(|(_, saga)| saga.holds_marks()) {
            Some(Rejection::NoSuchMarks)
        } else {
            None
        };
        if let Some(rejection) = rejection {
            return effects.push(Effect::Answer { operator, answer: Answer::Rejected(rejection) });
        }
        let marking: Vec<SagaKey> = own().filter(|(_, saga)| saga.holds_marks()).map(|(key, _)| key.clone()).collect();
        for key in marking {
            self.sagas.set_releasing(&key, Some(operator));
            let (coordinator, attempt_number, tx) = key;
            effects.push(Effect::ReleaseMarks { coordinator, attempt_number, tx, release: release.clone() });
        }
    }

    /// Takes the word that the semantic locks are gone, durably. The operator hears when those of all attempts under
    /// this id are.
    pub(super) fn handle_marks_released(&mut self, key: SagaKey, effects: &mut Vec<Effect>) {
        let operator = self.sagas.get(&key).and_then(|saga| saga.releasing);
        self.sagas.set_releasing(&key, None);
        self.sagas.drop_marks(&key);
        let more = self.sagas.of(key.0, &key.2).any(|(_, saga)| saga.releasing == operator);
        if let Some(operator) = operator.filter(|_| !more) {
            effects.push(Effect::Answer { operator, answer: Answer::Released });
        }
        self.at_rest(key, effects);
    }
}
