//! A count of what is open, by what it waits for. It is taken when somebody asks, so that nothing is counted in the meantime.

use crate::coordinator::Coordinator;
use crate::open_transaction::Open;
use undoubt_vocabulary::{ParticipantName, Timestamp, TxId};

/// Some of the open transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub number: usize,
    /// The time at which the oldest of them began, and its id.
    pub oldest: Option<(Timestamp, TxId)>,
}

/// All open transactions of a coordinator, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub two_phase: Counted,
    pub sagas: Counted,
    /// In the second phase, where only an answer of a participant ends the wait.
    pub unacknowledged: Counted,
    /// Sagas that go on only with an operator.
    pub stuck: Counted,
    /// Those whose record cannot be carried out.
    pub unusable: Counted,
    /// Those that recovery has found, and that wait until it is resumed.
    pub paused: Counted,
    pub work_bytes: usize,
    pub max_work_bytes: usize,
    pub gathered_bytes: usize,
    pub max_gathered_bytes: usize,
    pub max_open: usize,
}

#[derive(Default)]
struct Counting<'c> {
    number: usize,
    oldest: Option<(Timestamp, &'c TxId)>,
}

impl<'c> Counting<'c> {
    fn add(&mut self, begun_at: Timestamp, tx: &'c TxId) {
        self.number += 1;
        if self.oldest.is_none_or(|oldest| (begun_at, tx) < oldest) {
            self.oldest = Some((begun_at, tx));
        }
    }

    fn counted(self) -> Counted {
        Counted { number: self.number, oldest: self.oldest.map(|(begun_at, tx)| (begun_at, tx.clone())) }
    }
}

impl Coordinator {
    /// Counts what is open. It looks at each transaction once, and copies none.
    pub fn census(&self) -> Census {
        let [mut two_phase, mut sagas, mut unacknowledged, mut stuck, mut unusable, mut paused] =
            std::array::from_fn(|_| Counting::default());
        for open in self.open_in_any_order() {
            let (begun_at, tx) = (open.begun_at(), open.tx());
            match open {
                Open::TwoPhase(transaction) => {
                    two_phase.add(begun_at, tx);
                    if transaction.is_unacknowledged() {
                        unacknowledged.add(begun_at, tx);
                    }
                }
                Open::Saga(saga) => {
                    sagas.add(begun_at, tx);
                    if saga.waits_for_an_operator() {
                        stuck.add(begun_at, tx);
                    }
                }
                Open::Unusable(_) => unusable.add(begun_at, tx),
            }
            if open.is_paused() {
                paused.add(begun_at, tx);
            }
        }
        let (limits, held) = (self.limits(), self.held());
        Census {
            two_phase: two_phase.counted(),
            sagas: sagas.counted(),
            unacknowledged: unacknowledged.counted(),
            stuck: stuck.counted(),
            unusable: unusable.counted(),
            paused: paused.counted(),
            work_bytes: held.work_bytes,
            max_work_bytes: limits.max_open_bytes,
            gathered_bytes: held.result_bytes,
            max_gathered_bytes: limits.max_gathered_bytes,
            max_open: limits.max_open_transactions,
        }
    }

    /// Returns true while auto spares the participant, since it let two-phase commits run into their deadlines.
    pub fn spares(&self, participant: &ParticipantName, now: Timestamp) -> bool {
        self.breakers().is_open(participant, now)
    }
}
