//! All transactions of one coordinator: admission, routing, recovery, and answers about what it does not hold.

use crate::effect::{Answer, Effect, Note, Rejection, Timer};
use crate::fence::Fences;
use crate::input::{Client, Input, Question, Submission};
use crate::record::{EndedRecord, Record, Stage};
use crate::transaction::{Context, Event, Transaction, TransactionView};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use undoubt_vocabulary::limits::{MAX_BRANCHES_PER_TRANSACTION, MAX_TRANSACTION_BYTES, MAX_WAITERS_PER_TRANSACTION};
use undoubt_vocabulary::{
    AbortReason, BranchOutcome, Epoch, Outcome, ParticipantName, Ticket, Timestamp, ToCoordinator, ToParticipant, TxId,
    Vote,
};

/// The content of a transaction that left nothing but a heuristic outcome is not known.
const DIGEST_UNKNOWN: [u8; 32] = [0; 32];

/// Bounds of one coordinator (R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    pub max_open_transactions: usize,
}

/// What a coordinator is doing as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Reading its log. Whoever asks hears "not yet" (R4).
    Recovering,
    Serving,
    /// Finishing what is open, taking nothing new.
    Draining,
}

/// See the crate's documentation for the contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coordinator {
    limits: Limits,
    phase: Phase,
    recovery_paused: bool,
    next_ticket: Ticket,
    transactions: BTreeMap<TxId, Transaction>,
    connected: BTreeSet<ParticipantName>,
    fences: Fences,
    /// Ended transactions whose changed record is being written.
    noting: BTreeMap<TxId, Noting>,
}

/// Heuristic outcomes that are being added to the record of an ended transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Noting {
    /// As it was appended last. The next outcome is added to this one, not to what is stable, or it would undo the last.
    record: EndedRecord,
    /// Whom to thank for each record that was appended and isn't stable yet, in order.
    thanks: VecDeque<(ParticipantName, Ticket)>,
    /// Came meanwhile under this id, of which nothing was stored before. A new attempt would end in a record of its own,
    /// in place of this one; so they wait for it, and are answered by it.
    submissions: Vec<Submission>,
}

impl Coordinator {
    /// A coordinator at the start of `epoch`, which is durable already (R5), before its log is read.
    pub fn new(epoch: Epoch, limits: Limits) -> Coordinator {
        Coordinator {
            limits,
            phase: Phase::Recovering,
            recovery_paused: false,
            next_ticket: Ticket::first_of(epoch),
            transactions: BTreeMap::new(),
            connected: BTreeSet::new(),
            fences: Fences::default(),
            noting: BTreeMap::new(),
        }
    }

    /// Takes one input and appends its effects. `now` is for histories and ages, never for safety.
    pub fn handle(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Recovered(record) => {
                assert_eq!(self.phase, Phase::Recovering, "records are folded before the log is known to be whole");
                assert!(record.ticket < self.next_ticket, "a ticket of the log is not below this epoch's first one");
                let tx = record.tx.clone();
                let transaction = Transaction::recover(record, false, &mut self.context(now, effects));
                assert!(
                    self.transactions.insert(tx, transaction).is_none(),
                    "the log holds one record per transaction"
                );
            }
            Input::RecoveryDone { paused } => {
                self.phase = Phase::Serving;
                if paused {
                    self.pause_recovery();
                }
            }
            Input::Asked(question) => self.asked(now, question, effects),
            Input::LookedUp { question, ended } => self.looked_up(now, question, ended, effects),
            Input::Connected { participant } => self.connected(now, participant, effects),
            Input::Disconnected { participant } => {
                self.connected.remove(&participant);
            }
            Input::Appended { tx, ticket, stage } => self.appended(now, &tx, ticket, stage, effects),
            Input::Fired { tx, ticket, timer } => {
                let event = match timer {
                    Timer::Deadline { .. } => Event::DeadlinePassed,
                    Timer::Retry { attempt } => Event::RetryDue { attempt },
                };
                self.tell(now, &tx, ticket, event, effects);
            }
            Input::Gone { tx, client } => {
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

    /// The lowest ticket still open between this coordinator and the participant (R11). Goes with every batch.
    pub fn fence(&self, participant: &ParticipantName) -> Ticket {
        match self.phase {
            // Before the log is read nothing is known to be over.
            Phase::Recovering => Ticket::default(),
            Phase::Serving | Phase::Draining => self.fences.of(participant, self.next_ticket),
        }
    }

    /// Transactions open with this participant.
    pub fn open_with(&self, participant: &ParticipantName) -> usize {
        self.fences.count(participant)
    }

    /// Clients that wait for the transaction.
    pub fn waiters(&self, tx: &TxId) -> usize {
        self.transactions.get(tx).map_or(0, Transaction::waiters)
    }

    pub fn view(&self, tx: &TxId) -> Option<TransactionView> {
        self.transactions.get(tx).map(Transaction::view)
    }

    pub fn views(&self) -> impl Iterator<Item = TransactionView> + '_ {
        self.transactions.values().map(Transaction::view)
    }

    fn context<'a>(&'a mut self, now: Timestamp, effects: &'a mut Vec<Effect>) -> Context<'a> {
        Context { now, effects, connected: &self.connected, fences: &mut self.fences }
    }

    /// Hands an event to the attempt it belongs to; what belongs to another attempt is stale.
    fn tell(&mut self, now: Timestamp, tx: &TxId, ticket: Ticket, event: Event, effects: &mut Vec<Effect>) {
        let Some(transaction) = self.transactions.get_mut(tx).filter(|open| open.ticket == ticket) else { return };
        let mut cx = Context { now, effects, connected: &self.connected, fences: &mut self.fences };
        transaction.on(event, &mut cx);
        if transaction.is_ended() {
            self.transactions.remove(tx);
        }
    }

    fn asked(&mut self, now: Timestamp, question: Question, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Recovering {
            return refuse_while_recovering(question, effects);
        }
        if !self.transactions.contains_key(question.tx()) {
            return effects.push(Effect::LookUp(question));
        }
        match question {
            Question::Submit(submission) => self.submitted_again(now, submission, effects),
            Question::Await { tx, client } => self.wait_for(now, &tx, client, true, effects),
            Question::Cancel { tx, client } => self.cancel(now, &tx, client, effects),
            Question::Forget { tx, client } => self.forget(now, &tx, client, effects),
            Question::Received { from, message } => self.received(now, from, message, effects),
        }
    }

    /// The transaction is not open here; `ended` is what the log keeps of it.
    fn looked_up(&mut self, now: Timestamp, question: Question, ended: Option<EndedRecord>, effects: &mut Vec<Effect>) {
        assert!(!self.transactions.contains_key(question.tx()), "a look-up is answered before any other input");
        let answer = |client, tx, answer| Effect::Answer { client, tx, answer };
        let known = |ended: EndedRecord| Answer::Outcome { outcome: ended.outcome, results: ended.results };
        match (question, ended) {
            (Question::Submit(submission), None) => match self.noting.get_mut(&submission.tx) {
                Some(noting) => noting.let_wait(submission, effects),
                None => self.submitted(now, submission, effects),
            },
            (Question::Submit(Submission { tx, client, digest, .. }), Some(ended)) => {
                let same = ended.digest == digest || ended.digest == DIGEST_UNKNOWN;
                let reply = if same { known(ended) } else { Answer::Rejected(Rejection::OtherContent) };
                effects.push(answer(client, tx, reply));
            }
            (Question::Await { tx, client } | Question::Cancel { tx, client }, Some(ended)) => {
                effects.push(answer(client, tx, known(ended)));
            }
            (Question::Forget { tx, client }, Some(ended)) => effects.push(answer(client, tx, known(ended))),
            (
                Question::Await { tx, client } | Question::Cancel { tx, client } | Question::Forget { tx, client },
                None,
            ) => effects.push(answer(client, tx, Answer::Rejected(Rejection::NotFound))),
            (Question::Received { from, message }, ended) => {
                self.received_about_ended(now, from, message, ended, effects);
            }
        }
    }

    fn submitted(&mut self, now: Timestamp, submission: Submission, effects: &mut Vec<Effect>) {
        if let Some(rejection) = self.reason_to_reject(&submission) {
            let Submission { client, tx, .. } = submission;
            return effects.push(Effect::Answer { client, tx, answer: Answer::Rejected(rejection) });
        }
        let ticket = self.next_ticket;
        self.next_ticket = ticket.next();
        let tx = submission.tx.clone();
        let transaction = Transaction::begin(submission, ticket, &mut self.context(now, effects));
        self.transactions.insert(tx, transaction);
    }

    fn reason_to_reject(&self, submission: &Submission) -> Option<Rejection> {
        if self.phase == Phase::Draining {
            return Some(Rejection::Draining);
        }
        let branches = &submission.branches;
        if branches.is_empty() {
            return Some(Rejection::NoBranches);
        }
        if branches.len() > MAX_BRANCHES_PER_TRANSACTION {
            return Some(Rejection::TooManyBranches { given: branches.len(), max: MAX_BRANCHES_PER_TRANSACTION });
        }
        let mut names = BTreeSet::new();
        if let Some((participant, _)) = branches.iter().find(|(name, _)| !names.insert(name)) {
            return Some(Rejection::TwoBranches { participant: participant.clone() });
        }
        let given = branches.iter().map(|(_, work)| work.len()).sum();
        if given > MAX_TRANSACTION_BYTES {
            return Some(Rejection::TooLarge { given, max: MAX_TRANSACTION_BYTES });
        }
        if submission.timeout.is_zero() {
            return Some(Rejection::DeadlinePassed);
        }
        let max_open_transactions = self.limits.max_open_transactions;
        (self.transactions.len() >= max_open_transactions).then_some(Rejection::TooManyOpen { max_open_transactions })
    }

    fn submitted_again(&mut self, now: Timestamp, submission: Submission, effects: &mut Vec<Effect>) {
        let Submission { tx, digest, client, wait, .. } = submission;
        let same = self.transactions.get(&tx).is_some_and(|open| open.digest == digest);
        if same {
            self.wait_for(now, &tx, client, wait, effects);
        } else {
            effects.push(Effect::Answer { client, tx, answer: Answer::Rejected(Rejection::OtherContent) });
        }
    }

    fn wait_for(&mut self, now: Timestamp, tx: &TxId, client: Client, wait: bool, effects: &mut Vec<Effect>) {
        if wait && self.waiters(tx) >= MAX_WAITERS_PER_TRANSACTION {
            let rejection = Rejection::TooManyWaiters { max_waiters: MAX_WAITERS_PER_TRANSACTION };
            return effects.push(Effect::Answer { client, tx: tx.clone(), answer: Answer::Rejected(rejection) });
        }
        self.let_wait(now, tx, client, wait, effects);
    }

    /// Whoever changes something waits beyond the bound: a refusal would say that nothing was done.
    fn let_wait(&mut self, now: Timestamp, tx: &TxId, client: Client, wait: bool, effects: &mut Vec<Effect>) {
        let Some(transaction) = self.transactions.get_mut(tx) else { return };
        let mut cx = Context { now, effects, connected: &self.connected, fences: &mut self.fences };
        transaction.wait_for(client, wait, &mut cx);
    }

    fn cancel(&mut self, now: Timestamp, tx: &TxId, client: Client, effects: &mut Vec<Effect>) {
        let Some(transaction) = self.transactions.get(tx) else { return };
        let (ticket, cancellable) = (transaction.ticket, transaction.is_cancellable());
        if cancellable {
            self.let_wait(now, tx, client, true, effects);
            self.tell(now, tx, ticket, Event::Cancelled, effects);
        } else {
            effects.push(Effect::Answer { client, tx: tx.clone(), answer: Answer::Rejected(Rejection::TooLate) });
        }
    }

    fn forget(&mut self, now: Timestamp, tx: &TxId, client: Client, effects: &mut Vec<Effect>) {
        let Some(transaction) = self.transactions.get(tx) else { return };
        if transaction.is_unacknowledged() {
            let ticket = transaction.ticket;
            self.let_wait(now, tx, client, true, effects);
            self.tell(now, tx, ticket, Event::Forgotten, effects);
        } else {
            let answer = Answer::Rejected(Rejection::NotDecided);
            effects.push(Effect::Answer { client, tx: tx.clone(), answer });
        }
    }

    /// A message about a transaction that is open here.
    fn received(&mut self, now: Timestamp, from: ParticipantName, message: ToCoordinator, effects: &mut Vec<Effect>) {
        let (tx, ticket) = (message.tx().clone(), message.ticket());
        let Some(transaction) = self.transactions.get(&tx) else { return };
        let Some(branch) = transaction.branch_of(&from) else {
            return self.presume_abort(&from, &message, effects);
        };
        if ticket < transaction.ticket {
            // An earlier attempt under this id, which cannot have committed, else this one would not have begun (R10).
            return self.presume_abort(&from, &message, effects);
        }
        let event = match message {
            ToCoordinator::Vote { vote, .. } => Event::Voted { branch, vote },
            ToCoordinator::Confirmed { held, .. } => Event::Confirmed { branch, held },
            ToCoordinator::Finished { outcome, .. } => Event::Finished { branch, outcome },
            ToCoordinator::Inquiry { .. } => Event::Inquired { branch },
        };
        self.tell(now, &tx, ticket, event, effects);
    }

    /// A message about a transaction that is not open here: it committed, or it aborted, or it never was (R4).
    fn received_about_ended(
        &mut self,
        now: Timestamp,
        from: ParticipantName,
        message: ToCoordinator,
        ended: Option<EndedRecord>,
        effects: &mut Vec<Effect>,
    ) {
        let (tx, ticket) = (message.tx().clone(), message.ticket());
        match message {
            ToCoordinator::Inquiry { .. } => {
                effects.push(Effect::Note { tx: tx.clone(), note: Note::Inquired { from: from.clone() } })
            }
            ToCoordinator::Finished {
                outcome: outcome @ (BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted),
                ..
            } => return self.keep_heuristic(now, from, tx, ticket, outcome, ended, effects),
            ToCoordinator::Vote { vote: Vote::Prepared { .. } | Vote::ReadOnly { .. }, .. } => {}
            ToCoordinator::Vote { vote: Vote::Committed { .. } | Vote::Refused(_), .. }
            | ToCoordinator::Confirmed { .. }
            | ToCoordinator::Finished { .. } => return,
        }
        let message = match ended.filter(|ended| ended.ticket == ticket).map(|ended| ended.outcome) {
            Some(Outcome::Committed) => ToParticipant::Commit { tx, ticket },
            Some(Outcome::Aborted(_)) | None => ToParticipant::Abort { tx, ticket },
        };
        effects.push(Effect::Send { to: from, message });
    }

    #[allow(clippy::too_many_arguments)]
    fn keep_heuristic(
        &mut self,
        now: Timestamp,
        from: ParticipantName,
        tx: TxId,
        ticket: Ticket,
        outcome: BranchOutcome,
        ended: Option<EndedRecord>,
        effects: &mut Vec<Effect>,
    ) {
        let presumed = || EndedRecord {
            tx: tx.clone(),
            ticket,
            begun_at: now,
            digest: DIGEST_UNKNOWN,
            outcome: Outcome::Aborted(AbortReason::Presumed),
            branches: Vec::new(),
            results: Vec::new(),
        };
        let noting = self.noting.get(&tx).map(|noting| noting.record.clone());
        let reported = (from.clone(), outcome);
        if noting.is_none() && ended.as_ref().is_some_and(|ended| ended.branches.contains(&reported)) {
            // It is on record, and stable: a participant that was restarted reports once more.
            return effects.push(Effect::Send { to: from, message: ToParticipant::Noted { tx, ticket } });
        }
        let ended = noting.or(ended);
        if ended.as_ref().is_some_and(|ended| ended.ticket != ticket) && outcome == BranchOutcome::HeuristicallyAborted
        {
            // An earlier attempt, which was aborted: the operator decided as the coordinator did.
            return effects.push(Effect::Send { to: from, message: ToParticipant::Noted { tx, ticket } });
        }
        let record = ended.unwrap_or_else(presumed).with_branch(from.clone(), outcome);
        effects.push(Effect::Note { tx: tx.clone(), note: Note::Finished { from: from.clone(), outcome } });
        effects.push(Effect::Append { record: Record::Ended(record.clone()), forced: true });
        let noting = self.noting.entry(tx).or_insert_with(|| Noting {
            record: record.clone(),
            thanks: VecDeque::new(),
            submissions: Vec::new(),
        });
        noting.record = record;
        noting.thanks.push_back((from, ticket));
    }

    fn presume_abort(&self, from: &ParticipantName, message: &ToCoordinator, effects: &mut Vec<Effect>) {
        let (tx, ticket) = (message.tx().clone(), message.ticket());
        match message {
            ToCoordinator::Inquiry { .. }
            | ToCoordinator::Vote { vote: Vote::Prepared { .. } | Vote::ReadOnly { .. }, .. } => {
                effects.push(Effect::Send { to: from.clone(), message: ToParticipant::Abort { tx, ticket } });
            }
            ToCoordinator::Vote { vote: Vote::Committed { .. } | Vote::Refused(_), .. }
            | ToCoordinator::Confirmed { .. }
            | ToCoordinator::Finished { .. } => {}
        }
    }

    fn connected(&mut self, now: Timestamp, participant: ParticipantName, effects: &mut Vec<Effect>) {
        self.connected.insert(participant.clone());
        let open: Vec<(TxId, Ticket, usize)> = self
            .transactions
            .values()
            .filter_map(|open| Some((open.tx.clone(), open.ticket, open.branch_of(&participant)?)))
            .collect();
        for (tx, ticket, branch) in open {
            self.tell(now, &tx, ticket, Event::Connected { branch }, effects);
        }
    }

    fn appended(&mut self, now: Timestamp, tx: &TxId, ticket: Ticket, stage: Stage, effects: &mut Vec<Effect>) {
        self.tell(now, tx, ticket, Event::Logged { stage }, effects);
        if stage == Stage::Ended {
            self.noted(tx, effects);
        }
    }

    /// The oldest of the changed records is stable.
    fn noted(&mut self, tx: &TxId, effects: &mut Vec<Effect>) {
        let Some(noting) = self.noting.get_mut(tx) else { return };
        let thanked = noting.thanks.pop_front();
        let waited = std::mem::take(&mut noting.submissions);
        if noting.thanks.is_empty() {
            self.noting.remove(tx);
        }
        effects.extend(waited.into_iter().map(|submission| Effect::LookUp(Question::Submit(submission))));
        if let Some((to, ticket)) = thanked.filter(|(to, _)| self.connected.contains(to)) {
            effects.push(Effect::Send { to, message: ToParticipant::Noted { tx: tx.clone(), ticket } });
        }
    }

    fn pause_recovery(&mut self) {
        self.recovery_paused = true;
        self.transactions.values_mut().filter(|open| open.recovered).for_each(|open| open.held = true);
    }

    fn resume_recovery(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.recovery_paused = false;
        let held: Vec<(TxId, Ticket)> = self
            .transactions
            .values_mut()
            .filter_map(|open| std::mem::take(&mut open.held).then(|| (open.tx.clone(), open.ticket)))
            .collect();
        for (tx, ticket) in held {
            self.tell(now, &tx, ticket, Event::Resumed, effects);
        }
    }
}

impl Noting {
    fn let_wait(&mut self, submission: Submission, effects: &mut Vec<Effect>) {
        if self.submissions.len() < MAX_WAITERS_PER_TRANSACTION {
            return self.submissions.push(submission);
        }
        let rejection = Rejection::TooManyWaiters { max_waiters: MAX_WAITERS_PER_TRANSACTION };
        let Submission { client, tx, .. } = submission;
        effects.push(Effect::Answer { client, tx, answer: Answer::Rejected(rejection) });
    }
}

/// "Not yet": only a coordinator that has read its whole log may say more (R4).
fn refuse_while_recovering(question: Question, effects: &mut Vec<Effect>) {
    let reject = |client, tx| Effect::Answer { client, tx, answer: Answer::Rejected(Rejection::Recovering) };
    match question {
        Question::Submit(Submission { client, tx, .. })
        | Question::Await { tx, client }
        | Question::Cancel { tx, client }
        | Question::Forget { tx, client } => effects.push(reject(client, tx)),
        Question::Received { from, message: ToCoordinator::Inquiry { tx, ticket } } => {
            effects.push(Effect::Send { to: from, message: ToParticipant::Undecided { tx, ticket } });
        }
        Question::Received {
            message: ToCoordinator::Vote { .. } | ToCoordinator::Confirmed { .. } | ToCoordinator::Finished { .. },
            ..
        } => {}
    }
}
