//! The transactions of one coordinator: admission, routing, recovery, and answers about what it does not hold.

mod admission;
mod heuristics;
mod messages;
mod nested_sagas;
mod open_sagas;
mod operator;
mod refused_records;

use crate::breaker::Breakers;
use crate::context::{Context, Peers};
use crate::effect::{Answer, Effect, Rejection};
use crate::input::{Beginning, Input, Request, Submission};
use crate::low_water_mark::LowWaterMarks;
use crate::open_transaction::{Open, OpenInput};
use crate::record::{DIGEST_UNKNOWN, EndedRecord, Stage, Unfinished};
use crate::room::{Held, Room};
use crate::saga::{Kin, Saga};
use crate::transaction::{Transaction, TransactionView};
use heuristics::Noting;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use undoubt_vocabulary::{
    Abilities, Ability, AttemptNumber, DigestMap, Epoch, LowWaterMark, ParticipantName, Timestamp, TxId,
};

/// The reason why a record is not carried out that no earlier start can have written.
const AHEAD: &str = "its attempt number is ahead of this coordinator's, which has lost a start of its own";

/// Bounds of one coordinator (R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Transactions that are under way. Open sagas that take steps have a bound of their own.
    pub max_open_transactions: usize,
    /// Open sagas that take steps, or are kept until their parents end.
    pub max_begun_transactions: usize,
    /// The work of all that are open.
    pub max_open_bytes: usize,
    /// The bytes that their branches and steps have handed back. Above three quarters of it no new transaction is
    /// taken; beyond it a transaction that would gather more is aborted or compensates, as far as it still can.
    pub max_gathered_bytes: usize,
    /// Two-phase commits in a row that a participant lets run into their deadlines, before auto spares it. 0: never.
    pub breaker_threshold: u32,
    /// The time after which one of auto's transactions tries again.
    pub breaker_pause: Duration,
    /// The attempts that are given out after one of an open saga, before low-water marks pass that.
    pub old_after_attempts: u64,
}

/// The state of a coordinator as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Reading its log. Whoever asks hears "not yet" (R4).
    Recovering,
    Serving,
    /// Finishing what is open, taking nothing new.
    Draining,
}

/// The coordinator as a state machine. The crate's documentation states its contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coordinator {
    limits: Limits,
    phase: Phase,
    recovery_paused: bool,
    next_attempt_number: AttemptNumber,
    /// The latest attempt whose record has been dropped.
    forgotten: Option<AttemptNumber>,
    transactions: DigestMap<TxId, Open>,
    room: Room,
    peers: Peers,
    /// The words of sagas to their parents and children during one input; empty in between.
    kin: VecDeque<(TxId, Kin)>,
    /// Ended transactions whose changed record is being written.
    noting: DigestMap<TxId, Noting>,
}

impl Coordinator {
    /// Returns a coordinator at the start of `epoch`, which is durable already (R5), before its log is read.
    pub fn new(epoch: Epoch, limits: Limits) -> Coordinator {
        Coordinator {
            limits,
            phase: Phase::Recovering,
            recovery_paused: false,
            next_attempt_number: AttemptNumber::first_of(epoch),
            forgotten: None,
            transactions: DigestMap::new(),
            room: Room::new(limits.max_open_bytes, limits.max_gathered_bytes),
            peers: Peers {
                connected: BTreeSet::new(),
                limited: BTreeMap::new(),
                low_water_marks: LowWaterMarks::new(limits.old_after_attempts),
                breakers: Breakers::new(limits.breaker_threshold, limits.breaker_pause),
            },
            kin: VecDeque::new(),
            noting: DigestMap::new(),
        }
    }

    /// Takes one input and appends its effects. `now` is for histories and ages, never for safety.
    pub fn handle_input(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        self.take_input(now, input, effects);
        self.hand_on(now, effects);
    }

    fn take_input(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Recovered(unfinished) => self.handle_recovered(now, unfinished, effects),
            Input::EpochTaken(epoch) => {
                assert_eq!(self.phase, Phase::Recovering, "an epoch is taken before anything is sent");
                self.next_attempt_number = self.next_attempt_number.max(AttemptNumber::first_of(epoch));
            }
            Input::Forgotten { latest } => self.forgotten = self.forgotten.max(Some(latest)),
            Input::RecoveryDone { paused } => {
                self.phase = Phase::Serving;
                self.peers.low_water_marks.begin(self.next_attempt_number);
                self.bring_families_together(now, effects);
                if paused || self.recovery_paused {
                    self.pause_recovery();
                } else {
                    self.resume_recovery(now, effects);
                }
            }
            Input::Request(request) => self.handle_request(now, request, effects),
            Input::LookedUp { request, ended } => self.handle_looked_up(now, request, ended, effects),
            Input::Connected { participant, abilities } => self.handle_connected(now, participant, abilities, effects),
            Input::Disconnected { participant } => {
                self.peers.connected.remove(&participant);
            }
            Input::Appended { tx, attempt_number, stage } => {
                self.dispatch(now, &tx, attempt_number, OpenInput::Logged(stage), effects);
                if stage == Stage::Ended {
                    self.handle_noted(&tx, true, effects);
                }
            }
            Input::NotAppended { tx, attempt_number, stage, cause } => {
                self.handle_not_appended(now, &tx, attempt_number, stage, cause, effects)
            }
            Input::Fired { tx, attempt_number, timer } => {
                self.dispatch(now, &tx, attempt_number, OpenInput::Fired(timer), effects)
            }
            Input::ClientLeft { tx, client } => {
                if let Some(transaction) = self.transactions.get_mut(&tx) {
                    transaction.stop_waiting(client);
                }
                if let Some(noting) = self.noting.get_mut(&tx) {
                    noting.submissions.retain(|submission| submission.client != client);
                }
            }
            Input::PauseRecovery => self.pause_recovery(),
            Input::ResumeRecovery => self.resume_recovery(now, effects),
            Input::Drain => self.phase = Phase::Draining,
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    pub fn recovery_is_paused(&self) -> bool {
        self.recovery_paused
    }

    pub fn open_transactions(&self) -> usize {
        self.transactions.len()
    }

    /// Returns what is over between this coordinator and the participant (R11). Goes with every batch.
    pub fn low_water_mark(&self, participant: &ParticipantName) -> LowWaterMark {
        match self.phase {
            // Before the log is read nothing is known to be over.
            Phase::Recovering => LowWaterMark::default(),
            Phase::Serving | Phase::Draining => self.peers.low_water_marks.of(participant, self.next_attempt_number),
        }
    }

    /// Returns the number of transactions open with this participant.
    pub fn open_with(&self, participant: &ParticipantName) -> usize {
        self.peers.low_water_marks.count(participant)
    }

    /// Returns participants that transactions are open with, also such as are not configured any more.
    pub fn with_open(&self) -> impl Iterator<Item = &ParticipantName> {
        self.peers.low_water_marks.all()
    }

    /// Returns true if it is worth waiting before more results are put in: much of `max_gathered_bytes` is taken, and records
    /// that are not stable yet are about to give some of it back.
    pub fn is_about_to_have_room(&self) -> bool {
        self.room.is_about_to_grow()
    }

    /// Returns true while a heuristic outcome is being added to the record of this ended transaction: what is stored of it
    /// is not what will be.
    pub fn is_noting(&self, tx: &TxId) -> bool {
        self.noting.contains_key(tx)
    }

    /// Returns the number of open sagas that go on only once a client asks for it: a drain leaves them to the next start.
    pub fn idle(&self) -> usize {
        self.transactions.in_any_order().filter(|(_, open)| open.is_idle()).count()
    }

    /// Returns the number of clients that wait for the transaction.
    pub fn waiters(&self, tx: &TxId) -> usize {
        self.transactions.get(tx).map_or(0, Open::waiters)
    }

    /// Returns true if the transaction is open.
    pub fn holds(&self, tx: &TxId) -> bool {
        self.transactions.contains_key(tx)
    }

    /// Returns the only caller from whom steps and an end of this open transaction are taken, if there is one. A close or a cancellation by
    /// another is not to be put to the core.
    pub fn owner(&self, tx: &TxId) -> Option<&Arc<str>> {
        self.transactions.get(tx).and_then(Open::owner)
    }

    pub fn view(&self, tx: &TxId) -> Option<TransactionView> {
        self.transactions.get(tx).map(Open::view)
    }

    pub(crate) fn open(&self) -> impl Iterator<Item = &Open> {
        self.transactions.iter().map(|(_, open)| open)
    }

    pub(crate) fn open_in_any_order(&self) -> impl Iterator<Item = &Open> {
        self.transactions.in_any_order().map(|(_, open)| open)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn held(&self) -> Held {
        self.room.held()
    }

    pub(crate) fn breakers(&self) -> &Breakers {
        &self.peers.breakers
    }

    pub fn views(&self) -> impl Iterator<Item = TransactionView> + '_ {
        self.transactions.iter().map(|(_, open)| open.view())
    }

    /// Folds a record of the log back into what wrote it. Nothing but timers comes of it before the log is read.
    fn handle_recovered(&mut self, now: Timestamp, unfinished: Unfinished, effects: &mut Vec<Effect>) {
        assert_eq!(self.phase, Phase::Recovering, "records are folded before the log is known to be whole");
        let mut cx = Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin };
        if let Unfinished::Unusable(record) = &unfinished
            && let Some(open) = self.transactions.get_mut(&record.tx)
        {
            // The log was put back, and it may have ended since.
            let held = open.held_as(record.clone(), &mut cx);
            cx.room.change(open.held(), held.held());
            *open = held;
            return;
        }
        let is_ahead = unfinished.last_attempt_number() >= self.next_attempt_number;
        // Whoever is ahead would have the low-water mark of a transaction that is yet to begin, and each would close
        // the other's. So it gets one at the end of the epoch before, which gave out no such attempt number; and each
        // of several gets its own.
        let kept_open = if is_ahead {
            self.next_attempt_number.back(1 + self.transactions.len())
        } else {
            unfinished.attempt_number()
        };
        let fault = unfinished.fault().or_else(|| is_ahead.then(|| AHEAD.to_owned()));
        let open = match (unfinished, fault) {
            (Unfinished::TwoPhase(record), None) => Open::TwoPhase(Box::new(Transaction::recover(record, &mut cx))),
            (Unfinished::Saga(record), None) => Open::Saga(Box::new(Saga::recover(record, &mut cx))),
            (Unfinished::Opened(record, steps), None) => {
                Open::Saga(Box::new(Saga::recover_open(record, steps, &mut cx)))
            }
            (Unfinished::Unusable(record), None) => Open::hold(record, kept_open, &mut cx),
            (unusable, Some(cause)) => Open::hold(unusable.unusable(cause), kept_open, &mut cx),
        };
        self.room.change(Held::default(), open.held());
        let other = self.transactions.insert(open.tx().clone(), open);
        assert!(other.is_none(), "the log holds one record per transaction");
    }

    fn handle_connected(
        &mut self,
        now: Timestamp,
        participant: ParticipantName,
        abilities: Abilities,
        effects: &mut Vec<Effect>,
    ) {
        self.peers.connected.insert(participant.clone());
        self.peers.low_water_marks.meet(&participant, abilities.has(Ability::StillOpen));
        if abilities == Abilities::ALL {
            self.peers.limited.remove(&participant);
        } else {
            self.peers.limited.insert(participant.clone(), abilities);
        }
        let all = self.transactions.in_any_order().map(|(_, open)| open);
        let involved = all.filter(|open| open.involves(&participant));
        // The oldest first: of two that meet at a lock it is the one that may wait.
        let open: BTreeMap<AttemptNumber, TxId> =
            involved.map(|open| (open.attempt_number(), open.tx().clone())).collect();
        for (attempt_number, tx) in open {
            self.dispatch(now, &tx, attempt_number, OpenInput::Connected { participant: participant.clone() }, effects);
        }
    }

    fn new_attempt_number(&mut self) -> AttemptNumber {
        let attempt_number = self.next_attempt_number;
        self.next_attempt_number = attempt_number.next();
        attempt_number
    }

    /// Hands an input to the attempt that it belongs to; what belongs to another attempt is stale.
    fn dispatch(
        &mut self,
        now: Timestamp,
        tx: &TxId,
        attempt_number: AttemptNumber,
        input: OpenInput,
        effects: &mut Vec<Effect>,
    ) {
        let Some(open) = self.transactions.get_mut(tx).filter(|open| open.attempt_number() == attempt_number) else {
            return;
        };
        let mut cx = Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin };
        if advance(open, input, &mut self.next_attempt_number, &mut cx) {
            let over = self.transactions.remove(tx);
            if matches!(over, Some(Open::Unusable(_))) {
                self.leave_orphans(tx);
            }
        }
    }

    fn handle_request(&mut self, now: Timestamp, request: Request, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Recovering {
            return messages::refuse_while_recovering(request, effects);
        }
        // Messages are many, and find their transaction by themselves.
        let finds_it = matches!(request, Request::Message { .. });
        if !finds_it && !self.transactions.contains_key(request.tx()) {
            return effects.push(Effect::LookUp(request));
        }
        match request {
            Request::Submit(submission) => self.handle_repeated_submission(now, submission, effects),
            Request::Begin(beginning) => self.handle_repeated_beginning(now, beginning, effects),
            Request::Join(joining) => self.handle_join(now, *joining, effects),
            Request::Close { tx, client, wait } => self.handle_close(now, &tx, client, wait, effects),
            Request::Await { tx, client } => self.wait_for(now, &tx, client, true, effects),
            Request::Cancel { tx, client } => self.handle_cancel(now, &tx, client, effects),
            Request::Forget { tx, client } => self.handle_forget(now, &tx, client, effects),
            Request::ResolveStep { tx, step, resolution, client } => {
                self.handle_resolve_step(now, &tx, &step, resolution, client, effects);
            }
            Request::Message { from, message } => self.handle_message(now, from, message, effects),
        }
    }

    /// Goes on with a request about a transaction that is not open here; `ended` is what the log keeps of it.
    fn handle_looked_up(
        &mut self,
        now: Timestamp,
        request: Request,
        ended: Option<EndedRecord>,
        effects: &mut Vec<Effect>,
    ) {
        assert!(!self.transactions.contains_key(request.tx()), "a look-up is answered before any other input");
        let answer = |client, tx, answer| Effect::Answer { client, tx, answer };
        let known = |ended: EndedRecord| Answer::Outcome { outcome: ended.outcome, results: ended.results };
        match (request, ended) {
            (Request::Submit(submission), None) => match self.noting.get_mut(&submission.tx) {
                Some(noting) => noting.let_wait(submission, effects),
                None => self.handle_submission(now, submission, effects),
            },
            (Request::Submit(submission), Some(ended)) => {
                let same = submission.has(&ended.digest) || ended.digest == DIGEST_UNKNOWN;
                let Submission { tx, client, .. } = submission;
                let reply = if same { known(ended) } else { Answer::Rejected(Rejection::OtherContent) };
                effects.push(answer(client, tx, reply));
            }
            (Request::Begin(beginning), None) if self.noting.contains_key(&beginning.tx) => {
                let Beginning { tx, client, .. } = beginning;
                effects.push(answer(client, tx, Answer::Rejected(Rejection::BeingNoted)));
            }
            (Request::Begin(beginning), None) => self.handle_beginning(now, beginning, effects),
            (Request::Begin(Beginning { tx, digest, client, .. }), Some(ended)) => {
                let same = ended.digest == digest || ended.digest == DIGEST_UNKNOWN;
                let reply = if same { known(ended) } else { Answer::Rejected(Rejection::OtherContent) };
                effects.push(answer(client, tx, reply));
            }
            (Request::Join(joining), ended) => {
                let reply = ended.map_or(Answer::Rejected(Rejection::NotFound), known);
                effects.push(answer(joining.client, joining.tx, reply));
            }
            (
                Request::Await { tx, client } | Request::Cancel { tx, client } | Request::Close { tx, client, .. },
                ended,
            ) => {
                let reply = ended.map_or(Answer::Rejected(Rejection::NotFound), known);
                effects.push(answer(client, tx, reply));
            }
            (Request::Forget { tx, client }, ended) => {
                let reply = match ended {
                    None => Answer::Rejected(Rejection::NotFound),
                    Some(ended) if ended.is_damaged() => known(ended),
                    Some(_) => Answer::Rejected(Rejection::NothingToForget),
                };
                effects.push(answer(client, tx, reply));
            }
            (Request::ResolveStep { tx, step, client, .. }, ended) => {
                let rejection = ended.map_or(Rejection::NotFound, |ended| operator::too_late_for(step, &ended));
                effects.push(answer(client, tx, Answer::Rejected(rejection)));
            }
            (Request::Message { from, message }, ended) => {
                self.handle_message_about_ended(now, from, message, ended, effects);
            }
        }
    }
}

/// Lets an attempt go on. A saga takes its place if nobody answered it and it is to go on as one. Answers whether it is over.
fn advance(open: &mut Open, input: OpenInput, next_attempt_number: &mut AttemptNumber, cx: &mut Context<'_>) -> bool {
    let before = open.held();
    let is_over = go_on(open, input, next_attempt_number, cx);
    cx.room.change(before, if is_over { Held::default() } else { open.held() });
    is_over
}

fn go_on(open: &mut Open, input: OpenInput, next_attempt_number: &mut AttemptNumber, cx: &mut Context<'_>) -> bool {
    open.handle_input(input, cx);
    let saga = match open {
        Open::TwoPhase(transaction) if transaction.has_fallen_back() => {
            let attempt_number = *next_attempt_number;
            *next_attempt_number = attempt_number.next();
            transaction.go_on_as_saga(attempt_number, cx)
        }
        Open::Saga(saga) => {
            if let Some(participant) = saga.to_be_asked() {
                let attempt_number = saga.known_at(&participant).unwrap_or_else(|| {
                    let attempt_number = *next_attempt_number;
                    *next_attempt_number = attempt_number.next();
                    attempt_number
                });
                saga.ask_back(attempt_number, cx);
            }
            return open.is_ended();
        }
        Open::TwoPhase(_) | Open::Unusable(_) => return open.is_ended(),
    };
    *open = Open::Saga(Box::new(saga));
    false
}
