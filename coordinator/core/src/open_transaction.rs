//! A transaction that is open, whichever way it is carried out.

use crate::context::Context;
use crate::effect::Timer;
use crate::input::Client;
use crate::loss::Part;
use crate::record::{Stage, UnusableRecord, once};
use crate::room::Held;
use crate::saga::{Kin, Saga};
use crate::transaction::{Transaction, TransactionView};
use crate::unusable_transaction::Unusable;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use undoubt_vocabulary::{AttemptNumber, ParticipantName, Timestamp, ToCoordinator, TxId};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Open {
    TwoPhase(Box<Transaction>),
    Saga(Box<Saga>),
    Unusable(Box<Unusable>),
}

/// The parts that every submission has once it is admitted.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) tx: TxId,
    pub(crate) attempt_number: AttemptNumber,
    pub(crate) digest: [u8; 32],
    pub(crate) begun_at: Timestamp,
    /// The time from now until its deadline.
    pub(crate) timeout: Duration,
}

/// An input to an open transaction.
#[derive(Clone, Debug)]
pub(crate) enum OpenInput {
    Message {
        from: ParticipantName,
        message: ToCoordinator,
    },
    Connected {
        participant: ParticipantName,
    },
    Fired(Timer),
    Logged(Stage),
    Cancelled,
    /// An operator gives up on missing acknowledgements.
    Forgotten,
    /// An operator lets a held transaction go on, or a recovered one goes on by itself.
    Resumed,
    /// An open saga's parent or child tells it something.
    Kin(Kin),
}

impl Open {
    pub(crate) fn handle_input(&mut self, input: OpenInput, cx: &mut Context<'_>) {
        match self {
            Open::TwoPhase(transaction) => transaction.handle_input(input, cx),
            Open::Saga(saga) => saga.handle_input(input, cx),
            Open::Unusable(unusable) => match input {
                OpenInput::Logged(stage) => unusable.handle_logged(stage, cx),
                OpenInput::Message { from, message } => unusable.handle_message(from, &message, cx),
                OpenInput::Connected { .. }
                | OpenInput::Fired(_)
                | OpenInput::Cancelled
                | OpenInput::Forgotten
                | OpenInput::Resumed
                | OpenInput::Kin(_) => {}
            },
        }
    }

    /// Returns a transaction that is held instead of being carried out.
    ///
    /// `kept_open`: an attempt number that no other transaction has, below all that are yet to be given out.
    pub(crate) fn hold(record: UnusableRecord, kept_open: AttemptNumber, cx: &mut Context<'_>) -> Open {
        Open::Unusable(Box::new(Unusable::hold(record, BTreeSet::from([kept_open]), cx)))
    }

    /// Returns this transaction, held as a record says that came after it was folded back from the log.
    pub(crate) fn held_as(&self, record: UnusableRecord, cx: &mut Context<'_>) -> Open {
        Open::Unusable(Box::new(Unusable::hold(record, self.attempt_numbers(), cx)))
    }

    /// Returns this transaction, held because a record of this stage cannot be written.
    pub(crate) fn held_for(&self, stage: Stage, cause: &str, cx: &mut Context<'_>) -> Unusable {
        let record = self.unusable(stage, format!("its record ({stage:?}) cannot be written: {cause}"));
        let unusable = Unusable::hold(record, self.attempt_numbers(), cx);
        if stage != Stage::Ended && self.is_ending() { unusable.until_it_ends() } else { unusable }
    }

    /// Returns the attempt numbers that it keeps in the low-water marks.
    fn attempt_numbers(&self) -> BTreeSet<AttemptNumber> {
        match self {
            Open::TwoPhase(transaction) => BTreeSet::from([transaction.attempt_number]),
            Open::Saga(saga) => saga.attempt_numbers(),
            Open::Unusable(unusable) => BTreeSet::from([unusable.record.attempt_number]),
        }
    }

    /// Returns true if the record of its end is on its way to stable storage, and nothing is recorded after it.
    pub(crate) fn is_ending(&self) -> bool {
        match self {
            Open::TwoPhase(transaction) => transaction.is_ending(),
            Open::Saga(saga) => saga.is_ending(),
            Open::Unusable(unusable) => unusable.is_ending(),
        }
    }

    /// Returns what is known of the transaction, should it be held from now on.
    fn unusable(&self, refused: Stage, cause: String) -> UnusableRecord {
        let view = self.view();
        let decided = match self {
            Open::Saga(saga) => saga.decided_without(refused),
            Open::TwoPhase(_) | Open::Unusable(_) => view.outcome,
        };
        UnusableRecord {
            saga: view.saga,
            tx: view.tx,
            attempt_number: view.attempt_number,
            begun_at: view.begun_at,
            digest: *self.digest(),
            participants: once(view.branches.into_iter().map(|branch| branch.participant)),
            decided,
            cause,
        }
    }

    /// Returns the clients that wait for its outcome, and forgets them. They wait no more.
    pub(crate) fn take_waiters(&mut self) -> BTreeSet<Client> {
        match self {
            Open::TwoPhase(transaction) => transaction.take_waiters(),
            Open::Saga(saga) => saga.take_waiters(),
            Open::Unusable(_) => BTreeSet::new(),
        }
    }

    pub(crate) fn tx(&self) -> &TxId {
        match self {
            Open::TwoPhase(transaction) => &transaction.tx,
            Open::Saga(saga) => &saga.tx,
            Open::Unusable(unusable) => unusable.tx(),
        }
    }

    pub(crate) fn attempt_number(&self) -> AttemptNumber {
        match self {
            Open::TwoPhase(transaction) => transaction.attempt_number,
            Open::Saga(saga) => saga.attempt_number,
            Open::Unusable(unusable) => unusable.record.attempt_number,
        }
    }

    /// Returns the attempt number under which a participant knows it.
    pub(crate) fn attempt_number_at(&self, participant: &ParticipantName) -> AttemptNumber {
        match self {
            Open::Saga(saga) => saga.attempt_number_at(participant),
            Open::TwoPhase(_) | Open::Unusable(_) => self.attempt_number(),
        }
    }

    /// Returns the only caller from whom steps and an end of it are taken, if there is one.
    pub(crate) fn owner(&self) -> Option<&Arc<str>> {
        match self {
            Open::TwoPhase(transaction) => transaction.owner.as_ref(),
            Open::Saga(saga) => saga.owner(),
            Open::Unusable(_) => None,
        }
    }

    /// Returns true if it is to be carried out by two-phase commit once it is closed, so that no attempt of it is under way.
    pub(crate) fn is_collecting(&self) -> bool {
        match self {
            Open::Saga(saga) => saga.is_two_phase(),
            Open::TwoPhase(_) | Open::Unusable(_) => false,
        }
    }

    /// Returns true if nothing of it goes on before a client asks for it.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Open::Saga(saga) => saga.is_idle(),
            Open::TwoPhase(_) | Open::Unusable(_) => false,
        }
    }

    pub(crate) fn begun_at(&self) -> Timestamp {
        match self {
            Open::TwoPhase(transaction) => transaction.begun_at,
            Open::Saga(saga) => saga.begun_at,
            Open::Unusable(unusable) => unusable.record.begun_at,
        }
    }

    /// Returns true if it is held until recovery is resumed.
    pub(crate) fn is_paused(&self) -> bool {
        match self {
            Open::TwoPhase(transaction) => transaction.held,
            Open::Saga(saga) => saga.held,
            Open::Unusable(_) => false,
        }
    }

    /// Returns the bytes that it holds in memory.
    pub(crate) fn held(&self) -> Held {
        match self {
            Open::TwoPhase(transaction) => transaction.held_bytes(),
            Open::Saga(saga) => saga.held_bytes(),
            Open::Unusable(_) => Held::default(),
        }
    }

    pub(crate) fn digest(&self) -> &[u8; 32] {
        match self {
            Open::TwoPhase(transaction) => &transaction.digest,
            Open::Saga(saga) => &saga.digest,
            Open::Unusable(unusable) => &unusable.record.digest,
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        match self {
            Open::TwoPhase(transaction) => transaction.is_ended(),
            Open::Saga(saga) => saga.is_ended(),
            Open::Unusable(unusable) => unusable.is_ended(),
        }
    }

    /// Returns the branch that this participant may have committed by itself, and has not answered, as what it is if nobody knows
    /// of that.
    pub(crate) fn left_to(&self, participant: &ParticipantName) -> Option<Part> {
        match self {
            Open::TwoPhase(transaction) => transaction.left_to(participant),
            Open::Saga(_) | Open::Unusable(_) => None,
        }
    }

    /// Returns this participant's parts as it has answered them: a vote as the commit that it can come to.
    pub(crate) fn answered_by(&self, participant: &ParticipantName) -> Vec<Part> {
        match self {
            Open::TwoPhase(transaction) => transaction.answered_by(participant),
            Open::Saga(saga) => saga.answered_by(participant),
            // It ends as what an operator has given up.
            Open::Unusable(_) => Vec::new(),
        }
    }

    pub(crate) fn involves(&self, participant: &ParticipantName) -> bool {
        match self {
            Open::TwoPhase(transaction) => transaction.branch_of(participant).is_some(),
            Open::Saga(saga) => saga.involves(participant),
            Open::Unusable(unusable) => unusable.record.participants.contains(participant),
        }
    }

    /// Returns true if a cancellation can still lead to an abort, or has been overtaken by one.
    pub(crate) fn is_cancellable(&self) -> bool {
        match self {
            Open::TwoPhase(transaction) => transaction.is_cancellable(),
            Open::Saga(saga) => saga.is_cancellable(),
            Open::Unusable(_) => false,
        }
    }

    /// Holds the transaction if it came from the log, as an operator has paused those.
    pub(crate) fn hold_if_recovered(&mut self) {
        match self {
            Open::TwoPhase(transaction) => transaction.held |= transaction.recovered,
            Open::Saga(saga) => saga.held |= saga.recovered,
            Open::Unusable(_) => {}
        }
    }

    /// Lets a held transaction go on, and returns whether it was held.
    pub(crate) fn release(&mut self) -> bool {
        match self {
            Open::TwoPhase(transaction) => std::mem::take(&mut transaction.held),
            Open::Saga(saga) => std::mem::take(&mut saga.held),
            Open::Unusable(_) => false,
        }
    }

    pub(crate) fn wait_for(&mut self, client: Client, wait: bool, cx: &mut Context<'_>) {
        match self {
            Open::TwoPhase(transaction) => transaction.wait_for(client, wait, cx),
            Open::Saga(saga) => saga.wait_for(client, wait, cx),
            Open::Unusable(unusable) => unusable.wait_for(client, cx),
        }
    }

    pub(crate) fn stop_waiting(&mut self, client: Client) {
        match self {
            Open::TwoPhase(transaction) => transaction.stop_waiting(client),
            Open::Saga(saga) => saga.stop_waiting(client),
            Open::Unusable(unusable) => unusable.stop_waiting(client),
        }
    }

    pub(crate) fn waiters(&self) -> usize {
        match self {
            Open::TwoPhase(transaction) => transaction.waiters(),
            Open::Saga(saga) => saga.waiters(),
            Open::Unusable(unusable) => unusable.waiters(),
        }
    }

    pub(crate) fn view(&self) -> TransactionView {
        match self {
            Open::TwoPhase(transaction) => transaction.view(),
            Open::Saga(saga) => saga.view(),
            Open::Unusable(unusable) => unusable.view(),
        }
    }
}
