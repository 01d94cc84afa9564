//! What a participant has of sagas: their steps, and whether they are closed.

use crate::step::{State, StepId};
use std::collections::BTreeMap;
use undoubt_vocabulary::{CoordinatorId, StepIndex, Ticket, TxId};

/// A saga, in the order of its coordinator's tickets, which is the order of fences.
pub(crate) type SagaKey = (CoordinatorId, Ticket, TxId);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sagas {
    all: BTreeMap<SagaKey, Saga>,
    under_way: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Saga {
    pub(crate) steps: BTreeMap<StepIndex, State>,
    pub(crate) closing: Closing,
}

/// Once it is asked to close, nothing of a saga begins any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Closing {
    #[default]
    Open,
    /// Until no step is under way.
    Waiting,
    /// The resource manager drops its semantic locks.
    UnderWay,
    Closed,
}

impl Saga {
    pub(crate) fn is_under_way(&self) -> bool {
        self.closing == Closing::UnderWay || self.steps.values().any(State::is_under_way)
    }
}

impl StepId {
    pub(crate) fn saga(&self) -> SagaKey {
        (self.coordinator, self.ticket, self.tx.clone())
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
        let replaced = self.all.entry(id.saga()).or_default().steps.insert(id.step, state);
        self.under_way -= usize::from(replaced.is_some_and(|state| state.is_under_way()));
    }

    pub(crate) fn set_closing(&mut self, key: SagaKey, closing: Closing) {
        self.all.entry(key).or_default().closing = closing;
    }

    /// Its semantic locks have ended.
    pub(crate) fn closed(&mut self, key: SagaKey) {
        let saga = self.all.entry(key).or_default();
        saga.closing = Closing::Closed;
        for state in saga.steps.values_mut() {
            if let State::Acted { pending, .. } = state {
                *pending = false;
            }
        }
    }

    /// For a new session, which no message of the one before outlives. A coordinator that has restarted counts its attempts
    /// from 1 again: compared with those of its former life, none of them would be tried.
    pub(crate) fn count_attempts_anew(&mut self, coordinator: CoordinatorId) {
        let first = StepId::first_of(coordinator, Ticket::default()).saga();
        let own = self.all.range_mut(first..).take_while(|((owner, ..), _)| *owner == coordinator);
        own.flat_map(|(_, saga)| saga.steps.values_mut()).for_each(State::count_attempts_anew);
    }

    /// Forgets what is not under way below the fence. Says whether the resource has anything to forget of it.
    pub(crate) fn forget_below(&mut self, coordinator: CoordinatorId, fence: Ticket) -> bool {
        let first = |ticket| StepId::first_of(coordinator, ticket).saga();
        let passed = first(Ticket::default())..first(fence);
        let mut stored = false;
        for (_, saga) in self.all.extract_if(passed, |_, saga| !saga.is_under_way()) {
            stored |= saga.steps.values().any(State::is_stored);
        }
        stored
    }

    /// Steps that the resource manager works on.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }
}
