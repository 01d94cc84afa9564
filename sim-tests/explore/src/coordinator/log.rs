//! The coordinator's log: what survives its crash.

mod open_saga;

use crate::numbers::Numbers;
use crate::scenario::step_name;
pub(crate) use open_saga::{OpenSaga, is_finished};
use std::collections::{BTreeMap, BTreeSet};
use undoubt_coordinator_core::{
    Barrier, EndedRecord, OpenKind, OpenRecord, Part, Progress, Record, SagaRecord, Unfinished, UnusableRecord,
};
use undoubt_vocabulary::{AttemptNumber, Direction, Outcome, ParticipantName, StepIndex, TxId, WriteNumber};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    pub(crate) epoch: u32,
    pub(crate) open: BTreeMap<TxId, OpenRecord>,
    pub(crate) sagas: BTreeMap<TxId, SagaRecord>,
    pub(crate) open_sagas: BTreeMap<TxId, OpenSaga>,
    pub(crate) ended: BTreeMap<TxId, EndedRecord>,
    /// The ended transactions whose record is dropped. It is kept for the checks only.
    pub(crate) dropped: BTreeSet<TxId>,
    /// The latest attempt whose record is dropped.
    pub(crate) forgotten: Option<AttemptNumber>,
    /// The transactions whose open record cannot be carried out.
    pub(crate) unusable: BTreeSet<TxId>,
    /// The records taken back from participants.
    pub(crate) held: BTreeMap<TxId, UnusableRecord>,
    /// The parts of open transactions that participants have lost.
    pub(crate) lost: BTreeMap<TxId, Vec<Part>>,
    /// The numbers that were seen of participants' logs.
    pub(crate) seen: BTreeMap<ParticipantName, WriteNumber>,
    /// The numbers of participants' logs, for the checks only: whatever comes of it, a coordinator that goes by the
    /// rules has stored it.
    pub(crate) witnessed: BTreeMap<ParticipantName, WriteNumber>,
    /// The number that an earlier start was shown, and that this log lacks.
    pub(crate) own: Option<WriteNumber>,
    /// `None`: writes are not numbered.
    pub(crate) numbers: Option<Numbers>,
}

impl Log {
    /// A later record takes the place of an earlier one; of an open saga, that of the header or of the same step.
    pub(crate) fn write(&mut self, record: Record) {
        self.open.remove(record.tx());
        self.sagas.remove(record.tx());
        if !matches!(record, Record::Opened(_) | Record::Joined(_)) {
            self.open_sagas.remove(record.tx());
        }
        self.unusable.remove(record.tx());
        self.held.remove(record.tx());
        match record {
            Record::Open(open) => {
                self.open.insert(open.tx.clone(), open);
            }
            Record::Saga(saga) => {
                self.sagas.insert(saga.tx.clone(), saga);
            }
            Record::Opened(header) => match self.open_sagas.get_mut(&header.tx) {
                Some(open) if open.header.attempt_number == header.attempt_number => open.header = header,
                Some(_) | None => {
                    self.open_sagas.insert(header.tx.clone(), OpenSaga::new(header));
                }
            },
            // Without its header, whose record was refused, it says nothing.
            Record::Joined(joined) => {
                let open = self.open_sagas.get_mut(&joined.tx);
                if let Some(open) = open.filter(|open| open.header.attempt_number == joined.attempt_number) {
                    open.steps.insert(joined.index, joined);
                }
            }
            Record::Ended(ended) => {
                self.lost.remove(&ended.tx);
                self.dropped.remove(&ended.tx);
                self.ended.insert(ended.tx.clone(), ended);
            }
        }
    }

    /// Adds to the record of an end what participants have lost of it.
    pub(super) fn lose(&self, record: &mut Record) {
        let Record::Ended(ended) = record else { return };
        ended.lose(self.lost.get(&ended.tx).map_or(&[], Vec::as_slice));
    }

    /// Returns what recovery has to carry on.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = Unfinished> + '_ {
        let sagas = self.sagas.values().cloned().map(Unfinished::Saga);
        let held = self.held.values().cloned().map(Unfinished::Unusable);
        let open_sagas = self.open_sagas.values().map(OpenSaga::unfinished);
        let all = self.open.values().cloned().map(Unfinished::TwoPhase).chain(sagas).chain(open_sagas).chain(held);
        all.map(|open| if self.unusable.contains(open.tx()) { Unfinished::Unusable(self.held(open)) } else { open })
    }

    /// Transactions whose open record can be carried out.
    pub(crate) fn sound(&self) -> impl Iterator<Item = &TxId> {
        self.open
            .keys()
            .chain(self.sagas.keys())
            .chain(self.open_sagas.keys())
            .filter(|tx| !self.unusable.contains(*tx))
    }

    /// Returns true if it has the transaction, open or ended.
    pub(crate) fn has(&self, tx: &TxId) -> bool {
        self.ended.contains_key(tx) || self.unfinished().any(|open| open.tx() == tx)
    }

    pub(super) fn spoil(&mut self, tx: &TxId) {
        self.unusable.insert(tx.clone());
    }

    pub(super) fn forget(&mut self, tx: &TxId) {
        if let Some(ended) = self.ended.get(tx) {
            self.forgotten = self.forgotten.max(Some(ended.attempt_number));
            self.dropped.insert(tx.clone());
        }
    }

    /// Returns what can still be read of it.
    fn held(&self, unfinished: Unfinished) -> UnusableRecord {
        let cause = "a word of it is not known".to_owned();
        match unfinished {
            Unfinished::TwoPhase(OpenRecord {
                kind,
                tx,
                attempt_number,
                begun_at,
                digest,
                participants,
                read_only,
                ..
            }) => {
                let participants = participants.into_iter().chain(read_only).collect();
                let decided = (kind == OpenKind::Committed).then_some(Outcome::Committed);
                UnusableRecord { saga: false, tx, attempt_number, begun_at, digest, participants, decided, cause }
            }
            Unfinished::Saga(SagaRecord { tx, attempt_number, begun_at, digest, steps, .. }) => {
                let participants: BTreeSet<ParticipantName> =
                    steps.iter().map(|step| step.participant.clone()).collect();
                let (participants, decided) = (participants.into_iter().collect(), self.outcome(&tx, attempt_number));
                UnusableRecord { saga: true, tx, attempt_number, begun_at, digest, participants, decided, cause }
            }
            // That it was closed, or compensates, is its header's to say.
            Unfinished::Opened(..) => unfinished.unusable(cause),
            Unfinished::Unusable(held) => held,
        }
    }

    /// Its latest record is a saga's.
    pub(crate) fn is_saga(&self, tx: &TxId) -> bool {
        self.sagas.contains_key(tx)
            || self.open_sagas.get(tx).is_some_and(|open| !open.header.terms.are_two_phase())
            || self.ended.get(tx).is_some_and(|ended| ended.saga)
    }

    /// The record of this saga, while it is open.
    pub(crate) fn saga(&self, tx: &TxId, attempt_number: AttemptNumber) -> Option<&SagaRecord> {
        self.sagas.get(tx).filter(|saga| saga.attempt_number == attempt_number)
    }

    /// Returns this open saga, by its own attempt number or one of its steps'.
    pub(crate) fn open_saga(&self, tx: &TxId, attempt_number: AttemptNumber) -> Option<&OpenSaga> {
        let is_it = |open: &&OpenSaga| {
            let mut at_participants = open.steps.values().map(|joined| joined.at_participant);
            open.header.attempt_number == attempt_number || at_participants.any(|at| at == attempt_number)
        };
        self.open_sagas.get(tx).filter(is_it)
    }

    /// Returns how this saga comes out: once it is on stable storage that each of its steps is settled.
    pub(crate) fn outcome(&self, tx: &TxId, attempt_number: AttemptNumber) -> Option<Outcome> {
        let settled = |saga: &&SagaRecord| {
            let all = |direction| saga.progress.iter().all(|progress| is_settled(progress, direction));
            if saga.compensating.is_some() { all(Direction::Compensating) } else { all(Direction::Forward) }
        };
        let open = self.saga(tx, attempt_number).filter(settled);
        let ended = self.ended.get(tx).filter(|ended| ended.saga && is_known_as(ended, attempt_number));
        let outcome = |saga: &SagaRecord| saga.compensating.clone().map_or(Outcome::Committed, Outcome::Aborted);
        let open_saga = self.open_saga(tx, attempt_number).and_then(OpenSaga::outcome);
        open.map(outcome).or(open_saga).or(ended.map(|ended| ended.outcome.clone()))
    }

    /// Returns the direction of this saga, forward if there is none.
    pub(crate) fn direction(&self, tx: &TxId) -> Direction {
        let is_compensating = |saga: &SagaRecord| saga.compensating.is_some();
        if let Some(open) = self.open_sagas.get(tx) {
            return open.direction();
        }
        if self.sagas.get(tx).is_some_and(is_compensating) { Direction::Compensating } else { Direction::Forward }
    }

    /// Returns true if there is something about this step that a crash does not take back.
    pub(crate) fn has_settled(&self, tx: &TxId, step: StepIndex) -> bool {
        let open = |saga: &SagaRecord| saga.progress[usize::from(step.0)] != Progress::Pending;
        let joined =
            |open: &OpenSaga| open.named(&step_name(step)).is_some_and(|joined| joined.progress != Progress::Pending);
        self.sagas.get(tx).is_some_and(open)
            || self.open_sagas.get(tx).is_some_and(joined)
            || self.ended.get(tx).is_some_and(|ended| ended.saga)
    }

    /// Returns true if it is on stable storage that this transaction is open, or decided and not over.
    pub(crate) fn holds_open(&self, tx: &TxId) -> bool {
        self.open.contains_key(tx) || self.sagas.contains_key(tx) || self.open_sagas.contains_key(tx)
    }

    /// Returns true if a commit decision of this attempt is on stable storage.
    pub(crate) fn has_commit(&self, tx: &TxId, attempt_number: AttemptNumber) -> bool {
        let open = self
            .open
            .get(tx)
            .is_some_and(|open| open.attempt_number == attempt_number && open.kind == OpenKind::Committed);
        let ended = |ended: &EndedRecord| ended.attempt_number == attempt_number && ended.outcome == Outcome::Committed;
        open || self.ended.get(tx).is_some_and(ended)
    }

    /// The branches of this attempt, if the log says that it committed, or that its one branch may have.
    pub(crate) fn commits(&self, tx: &TxId, attempt_number: AttemptNumber) -> Option<Vec<ParticipantName>> {
        let open = self.open.get(tx).filter(|open| open.attempt_number == attempt_number);
        let ended = self
            .ended
            .get(tx)
            .filter(|ended| ended.attempt_number == attempt_number && ended.outcome == Outcome::Committed);
        let open = open.map(|open| open.participants.iter().chain(&open.read_only).cloned().collect());
        open.or(ended.map(|ended| ended.branches.iter().map(|branch| branch.participant.clone()).collect()))
    }
}

/// Returns true if it is the transaction's attempt number, or one under which a participant knows an open saga.
pub(crate) fn is_known_as(ended: &EndedRecord, attempt_number: AttemptNumber) -> bool {
    let mut barriers = ended.branches.iter().map(|branch| branch.barrier);
    ended.attempt_number == attempt_number || barriers.any(|barrier| barrier == Barrier::Of(attempt_number))
}

/// There is nothing left to do for it on this way.
pub(super) fn is_settled(progress: &Progress, direction: Direction) -> bool {
    match (direction, progress) {
        (_, Progress::Skipped) => true,
        (Direction::Forward, Progress::Done { .. }) => true,
        (Direction::Compensating, Progress::Undone) => true,
        (Direction::Forward, Progress::Undone | Progress::Pending) => false,
        (Direction::Compensating, Progress::Done { .. } | Progress::Pending) => false,
        // Only steps of open sagas are refused or completed.
        (_, Progress::Refused(_) | Progress::Completed { .. }) | (Direction::Completing, _) => false,
    }
}

/// Returns the outcomes of branches as the record has them: what no participant has said is not known.
pub(super) fn forget_words(saga: &mut SagaRecord) {
    saga.progress.iter_mut().filter(|progress| **progress == Progress::Skipped).for_each(|progress| {
        *progress = Progress::Pending;
    });
}
