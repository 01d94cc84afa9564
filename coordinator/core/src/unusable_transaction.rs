//! A transaction whose record can be read and not carried out, or which could not be recorded (R13).
//!
//! It is held, so that nobody presumes anything about it (R4) and it is not over at its participants (R11), and so
//! that an operator sees it and ends it. Nothing else is done for it.

use crate::context::Context;
use crate::effect::{Answer, Effect, Note, Rejection};
use crate::input::{Client, Request};
use crate::low_water_mark::Hold;
use crate::record::{EndedBranch, EndedRecord, Record, Stage, UnusableRecord};
use crate::transaction::{BranchView, TransactionView};
use std::collections::BTreeSet;
use undoubt_vocabulary::{
    AbortReason, AttemptNumber, BranchOutcome, Outcome, PartState, ParticipantName, ToCoordinator, ToParticipant,
    TransactionPhase, TxId, Vote,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unusable {
    pub(crate) record: UnusableRecord,
    /// Its attempt numbers in the low-water marks: its own, or one below all that this epoch gives out, and that of an
    /// attempt in whose place it came.
    kept_open: BTreeSet<AttemptNumber>,
    /// The clients that hear how it ended once that is on record.
    waiters: BTreeSet<Client>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Held,
    /// The record of its end is on its way: that it was given up, or how it ended before it came to be held.
    Ending,
    Ended,
}

impl Unusable {
    /// Holds a transaction. `kept_open`: attempt numbers that no other transaction has, below all that are yet to be
    /// given out.
    pub(crate) fn hold(record: UnusableRecord, kept_open: BTreeSet<AttemptNumber>, cx: &mut Context<'_>) -> Unusable {
        for participant in &record.participants {
            for attempt_number in &kept_open {
                cx.peers.low_water_marks.open(participant, *attempt_number, Hold::ToItsEnd);
            }
        }
        cx.note(&record.tx, Note::Unusable { cause: record.cause.clone() });
        Unusable { record, kept_open, waiters: BTreeSet::new(), state: State::Held }
    }

    /// Returns the same, though an earlier record that says how it ended will still be stable.
    pub(crate) fn until_it_ends(self) -> Unusable {
        Unusable { state: State::Ending, ..self }
    }

    /// Tells a participant in doubt, whichever attempt it asks about, that nothing is decided: it keeps its locks.
    pub(crate) fn handle_message(&self, from: ParticipantName, message: &ToCoordinator, cx: &mut Context<'_>) {
        let (tx, attempt_number) = (message.tx().clone(), message.attempt_number());
        match message {
            ToCoordinator::Inquiry { .. }
            | ToCoordinator::Vote { vote: Vote::Prepared { .. } | Vote::ReadOnly { .. }, .. } => {
                cx.note(&tx, Note::Inquired { from: from.clone() });
                cx.effects.push(Effect::Send { to: from, message: ToParticipant::Undecided { tx, attempt_number } });
            }
            ToCoordinator::Vote { vote: Vote::Committed { .. } | Vote::Refused(_), .. }
            | ToCoordinator::Confirmed { .. }
            | ToCoordinator::Finished { .. }
            | ToCoordinator::Ran { .. }
            | ToCoordinator::Closed { .. } => {}
        }
    }

    pub(crate) fn wait_for(&mut self, client: Client, cx: &mut Context<'_>) {
        match self.state {
            State::Held => cx.effects.push(Effect::Answer {
                client,
                tx: self.record.tx.clone(),
                answer: Answer::Rejected(self.rejection()),
            }),
            State::Ending | State::Ended => {
                self.waiters.insert(client);
            }
        }
    }

    pub(crate) fn rejection(&self) -> Rejection {
        Rejection::Unusable { cause: self.record.cause.clone() }
    }

    /// Ends it on an operator's word: nobody vouches for any of its branches. The client hears when an end is on
    /// record.
    pub(crate) fn give_up(&mut self, client: Client, cx: &mut Context<'_>) {
        self.waiters.insert(client);
        if self.state != State::Held {
            return;
        }
        let UnusableRecord { saga, tx, attempt_number, begun_at, digest, participants, .. } = self.record.clone();
        let branches = participants.into_iter().map(|name| EndedBranch::new(name, BranchOutcome::Unknown)).collect();
        let given_up = || Outcome::Aborted(AbortReason::Unusable { cause: self.record.cause.clone() });
        let outcome = self.record.decided.clone().unwrap_or_else(given_up);
        let (read_only, results) = (Vec::new(), Vec::new());
        let record = EndedRecord { saga, tx, attempt_number, begun_at, digest, outcome, branches, read_only, results };
        cx.note(&self.record.tx, Note::Forgotten);
        cx.effects.push(Effect::Append { record: Record::Ended(record), forced: true });
        self.state = State::Ending;
    }

    /// Handles that another of its records is not written. If that is its end, it is held on.
    pub(crate) fn handle_not_appended(&mut self, stage: Stage, cx: &mut Context<'_>) {
        if matches!(stage, Stage::Closed | Stage::Compensating) {
            self.record.decided = None;
        }
        if stage != Stage::Ended {
            return;
        }
        self.state = State::Held;
        for client in std::mem::take(&mut self.waiters) {
            self.wait_for(client, cx);
        }
    }

    pub(crate) fn handle_logged(&mut self, stage: Stage, cx: &mut Context<'_>) {
        if self.state != State::Ending || stage != Stage::Ended {
            return;
        }
        for participant in &self.record.participants {
            self.kept_open
                .iter()
                .for_each(|attempt_number| cx.peers.low_water_marks.close(participant, *attempt_number));
        }
        let waiters = std::mem::take(&mut self.waiters).into_iter();
        let awaited = waiters.map(|client| Request::Await { tx: self.record.tx.clone(), client });
        cx.effects.extend(awaited.map(Effect::LookUp));
        self.state = State::Ended;
        cx.effects.push(Effect::Retired { tx: self.record.tx.clone() });
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.state == State::Ending
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    pub(crate) fn tx(&self) -> &TxId {
        &self.record.tx
    }

    pub(crate) fn stop_waiting(&mut self, client: Client) {
        self.waiters.remove(&client);
    }

    pub(crate) fn waiters(&self) -> usize {
        self.waiters.len()
    }

    pub(crate) fn view(&self) -> TransactionView {
        let branch = |participant: &ParticipantName| BranchView {
            participant: participant.clone(),
            step: None,
            state: PartState::Unknown,
            outcome: None,
            detail: None,
        };
        TransactionView {
            tx: self.record.tx.clone(),
            attempt_number: self.record.attempt_number,
            begun_at: self.record.begun_at,
            saga: self.record.saga,
            phase: TransactionPhase::Unusable,
            outcome: None,
            results: Vec::new(),
            branches: self.record.participants.iter().map(branch).collect(),
            unacknowledged: false,
            stuck: None,
            paused: false,
            unusable_because: Some(self.record.cause.clone()),
            parent: None,
            children: Vec::new(),
        }
    }
}
