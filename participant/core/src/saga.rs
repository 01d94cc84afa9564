//! The sagas of a participant: their steps, and whether they are closed.

use crate::input::Operator;
use crate::step::{Acted, State, StepId, StepView};
use std::collections::BTreeMap;
use std::ops::Range;
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, KnownAttempt, KnownState, StepIndex, Timestamp, TxId, saga};

/// A saga, in the order of its coordinator's attempt numbers, which is the order of low-water marks.
pub(crate) type SagaKey = (CoordinatorId, AttemptNumber, TxId);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sagas {
    all: BTreeMap<SagaKey, Saga>,
    under_way: usize,
    kept_bytes: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Saga {
    pub(crate) steps: BTreeMap<StepIndex, State>,
    pub(crate) closing: Closing,
    /// The operator for whom its semantic locks are being dropped before it is over.
    pub(crate) releasing: Option<Operator>,
    /// The time at which it began, by its coordinator's clock; 0 if nothing of it came since the start.
    begun_at: Timestamp,
}

/// The state of a saga's closing. Once it is asked to close, nothing of it begins any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Closing {
    #[default]
    Open,
    /// The saga is closed once no step is under way.
    Waiting,
    /// The resource manager drops its semantic locks.
    UnderWay,
    Closed,
}

impl Saga {
    pub(crate) fn is_under_way(&self) -> bool {
        self.closing == Closing::UnderWay || self.releasing.is_some() || self.steps.values().any(State::is_under_way)
    }

    pub(crate) fn holds_marks(&self) -> bool {
        self.steps.values().any(State::is_pending)
    }

    /// Returns true if what the step was completed to has been undone since, as a step of its own.
    fn is_undone_anew(&self, step: StepIndex) -> bool {
        saga::undone_anew(step).and_then(|anew| self.steps.get(&anew)).is_some_and(State::is_undone)
    }
}

impl StepId {
    pub(crate) fn saga(&self) -> SagaKey {
        (self.coordinator, self.attempt_number, self.tx.clone())
    }
}

impl Sagas {
    pub(crate) fn get(&self, key: &SagaKey) -> Option<&Saga> {
        self.all.get(key)
    }

    pub(crate) fn state_of(&self, id: &StepId) -> Option<State> {
        self.all.get(&id.saga())?.steps.get(&id.step).cloned()
    }

    pub(crate) fn set(&mut self, id: &StepId, state: State) {
        self.under_way += usize::from(state.is_under_way());
        self.kept_bytes += state.kept_bytes();
        let replaced = self.all.entry(id.saga()).or_default().steps.insert(id.step, state);
        self.under_way -= usize::from(replaced.as_ref().is_some_and(State::is_under_way));
        self.kept_bytes -= replaced.map_or(0, |state| state.kept_bytes());
    }

    pub(crate) fn set_closing(&mut self, key: SagaKey, closing: Closing) {
        self.all.entry(key).or_default().closing = closing;
    }

    pub(crate) fn set_releasing(&mut self, key: &SagaKey, releasing: Option<Operator>) {
        if let Some(saga) = self.all.get_mut(key) {
            saga.releasing = releasing;
        }
    }

    pub(crate) fn note_beginning(&mut self, key: &SagaKey, begun_at: Timestamp) {
        if let Some(saga) = self.all.get_mut(key) {
            saga.begun_at = begun_at;
        }
    }

    /// Its semantic locks have ended, and nothing of it begins any more.
    pub(crate) fn closed(&mut self, key: SagaKey) {
        self.set_closing(key.clone(), Closing::Closed);
        self.drop_marks(&key);
    }

    pub(crate) fn drop_marks(&mut self, key: &SagaKey) {
        for state in self.all.get_mut(key).into_iter().flat_map(|saga| saga.steps.values_mut()) {
            if let State::InEffect { acted: Acted::Here { pending, .. }, .. } = state {
                *pending = false;
            }
        }
    }

    /// Returns what is known of this coordinator's saga, whichever attempt it is.
    pub(crate) fn of<'a>(
        &'a self,
        coordinator: CoordinatorId,
        tx: &'a TxId,
    ) -> impl Iterator<Item = (&'a SagaKey, &'a Saga)> + 'a {
        let first = StepId::first_of(coordinator, AttemptNumber::default()).saga();
        let own = self.all.range(first..).take_while(move |((owner, ..), _)| *owner == coordinator);
        own.filter(move |((_, _, other), _)| other == tx)
    }

    /// Returns this coordinator's sagas from an attempt number on that have, had, or may come to have steps in effect.
    pub(crate) fn attempts(
        &self,
        coordinator: CoordinatorId,
        from: AttemptNumber,
    ) -> impl Iterator<Item = KnownAttempt> + '_ {
        let first = StepId::first_of(coordinator, from).saga();
        let own = self.all.range(first..).take_while(move |((owner, ..), _)| *owner == coordinator);
        let known = own.filter(|(_, saga)| saga.steps.values().any(|step| step.is_stored() || step.is_under_way()));
        known.map(|((_, attempt_number, tx), saga)| {
            let may_be = |state: &State| match state {
                State::InEffect { acted: Acted::Here { .. } | Acted::Unclear, .. }
                | State::Attempted(_)
                | State::Completed => true,
                State::InEffect { acted: Acted::Elsewhere, .. }
                | State::Acting { .. }
                | State::Refused(_)
                | State::Compensating { .. }
                | State::Completing { .. }
                | State::Emptying { .. }
                | State::Compensated
                | State::Empty => false,
            };
            let in_effect = saga.steps.iter().filter(|(step, state)| may_be(state) && !saga.is_undone_anew(**step));
            let in_effect = in_effect.map(|(step, _)| *step).collect();
            KnownAttempt { attempt_number: *attempt_number, tx: tx.clone(), state: KnownState::Steps, in_effect }
        })
    }

    /// Returns steps that the resource manager works on.
    pub(crate) fn views(&self) -> impl Iterator<Item = StepView> + '_ {
        let steps = |(key, saga): (&SagaKey, &Saga)| {
            let ((coordinator, attempt_number, tx), begun_at) = (key.clone(), saga.begun_at);
            let at_work = saga.steps.iter().filter(|(_, state)| state.is_under_way());
            let view = |(step, state): (&StepIndex, &State)| StepView {
                id: StepId { coordinator, attempt_number, step: *step, tx: tx.clone() },
                begun_at,
                state: state.as_str(),
            };
            at_work.map(view).collect::<Vec<_>>()
        };
        self.all.iter().flat_map(steps)
    }

    /// Forgets the counts of attempts, for a new session, which no message of the one before outlives. A coordinator
    /// that has restarted counts its attempts from 1 again: compared with those of its former life, none of them would
    /// be tried.
    pub(crate) fn count_attempts_anew(&mut self, coordinator: CoordinatorId) {
        let first = StepId::first_of(coordinator, AttemptNumber::default()).saga();
        let own = self.all.range_mut(first..).take_while(|((owner, ..), _)| *owner == coordinator);
        own.flat_map(|(_, saga)| saga.steps.values_mut()).for_each(State::count_attempts_anew);
    }

    /// Forgets what is not under way of attempts that are over. Says whether the resource has anything to forget of it.
    pub(crate) fn forget(&mut self, coordinator: CoordinatorId, over: Range<AttemptNumber>) -> bool {
        let first = |attempt_number| StepId::first_of(coordinator, attempt_number).saga();
        let passed = first(over.start)..first(over.end);
        let mut stored = false;
        for (_, saga) in self.all.extract_if(passed, |_, saga| !saga.is_under_way()) {
            stored |= saga.steps.values().any(State::is_stored);
            self.kept_bytes -= saga.steps.values().map(State::kept_bytes).sum::<usize>();
        }
        stored
    }

    /// Returns the bytes that are kept, saga by saga, and whose they are.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (CoordinatorId, usize)> + '_ {
        let bytes = |saga: &Saga| saga.steps.values().map(State::kept_bytes).sum();
        self.all.iter().map(move |((coordinator, ..), saga)| (*coordinator, bytes(saga)))
    }

    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Returns the number of steps that the resource manager works on.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }
}
