//! One global transaction, from its beginning to the record of its end.
//!
//! ```text
//!             ┌──────────── refusal, deadline, cancel ─────────────┐
//! Preparing ──┴─▶ Confirming ──▶ LoggingCommit ──▶ Committing ──▶ LoggingEnd ──▶ (retired)
//!     └── all prepared ─────────────▲                                 ▲  ▲
//!                    └── all read-only ───────────────────────────────┘  │
//! LoggingDelegation ──▶ Delegated ──▶ Settling ──────────────────────────┘      (one branch, R7)
//! ```
//!
//! Preparing → Confirming: read-only branches release their locks only once every vote is in. Leaving at the vote, as
//! the textbook has it, would break two-phase locking, because here the work itself runs within prepare: another
//! transaction could slip in between the read at one branch and a lock still waited for at another.

mod decision;
mod fallback;
mod one_phase;
mod phase_two;
mod view;

use crate::context::Context;
use crate::effect::{Answer, Effect, Note, Timer};
use crate::input::Client;
use crate::loss::Part;
use crate::low_water_mark::Hold;
use crate::open_transaction::{Admitted, OpenInput};
use crate::record::{EndedBranch, EndedRecord, OpenKind, OpenRecord, Record, Stage};
use crate::room::Held;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use undoubt_vocabulary::{
    AbortReason, AttemptNumber, BranchOutcome, Execution, Outcome, PartName, ParticipantName, Prepare, SagaStep,
    Timestamp, ToCoordinator, ToParticipant, TxId, Vote, time_left,
};

pub(crate) use fallback::Fallback;
pub use view::{BranchView, TransactionView};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transaction {
    pub(crate) tx: TxId,
    pub(crate) attempt_number: AttemptNumber,
    pub(crate) digest: [u8; 32],
    pub(crate) begun_at: Timestamp,
    deadline: Timestamp,
    branches: Vec<Branch>,
    /// That of the open transaction whose close this is.
    pub(crate) owner: Option<Arc<str>>,
    waiters: BTreeSet<Client>,
    state: State,
    /// The saga to go on as, should participants keep silent.
    fallback: Option<Fallback>,
    /// True if it came from the log at this coordinator's start.
    pub(crate) recovered: bool,
    /// An operator has paused it: nothing is sent for it.
    pub(crate) held: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Branch {
    participant: ParticipantName,
    work: Bytes,
    vote: BranchVote,
    result: Bytes,
    outcome: Option<BranchOutcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum BranchVote {
    Awaited,
    Prepared,
    ReadOnly,
    /// Read-only, and it held its locks until every vote was in.
    Confirmed,
    Committed,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Waiting for votes.
    Preparing,
    /// The votes are all in; read-only branches are asked whether they held their locks until now.
    Confirming,
    /// The commit decision is being forced (R1).
    LoggingCommit,
    /// Decided, stable, answered; waiting for acknowledgements.
    Committing { attempt: u32 },
    /// One branch: the record that it may commit by itself is being forced.
    LoggingDelegation,
    /// One branch: to be told to commit at once. `sent`: it may have been.
    Delegated { sent: bool },
    /// One branch that kept silent: told to commit no more and to say what became of it.
    Settling { attempt: u32 },
    /// The end is being recorded. `answered`: clients know already, else they hear when it is stable (R10).
    LoggingEnd { outcome: Outcome, answered: bool },
    /// Aborted for want of an answer, and to go on as a saga; what is in the log decides about neither.
    FallenBack(AbortReason),
    /// The end is recorded.
    Ended,
}

/// The events of a transaction. Branches are named by their index.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Voted {
        branch: usize,
        vote: Vote,
    },
    Confirmed {
        branch: usize,
        held: bool,
    },
    Finished {
        branch: usize,
        outcome: BranchOutcome,
    },
    Inquired {
        branch: usize,
    },
    Connected {
        branch: usize,
    },
    DeadlinePassed,
    RetryDue {
        attempt: u32,
    },
    Logged {
        stage: Stage,
    },
    Cancelled,
    /// An operator gives up on missing acknowledgements.
    Forgotten,
    /// An operator lets a held transaction go on.
    Resumed,
}

impl Transaction {
    pub(crate) fn begin(
        admitted: Admitted,
        branches: Vec<(ParticipantName, Bytes)>,
        fallback: Option<Fallback>,
        (client, wait): (Client, bool),
        cx: &mut Context<'_>,
    ) -> Transaction {
        let Admitted { tx, attempt_number, digest, begun_at, timeout } = admitted;
        let mut transaction = Transaction {
            tx,
            attempt_number,
            digest,
            begun_at,
            deadline: cx.now.plus(timeout),
            branches: branches.into_iter().map(|(participant, work)| Branch::new(participant, work)).collect(),
            owner: None,
            waiters: BTreeSet::new(),
            state: State::Preparing,
            fallback,
            recovered: false,
            held: false,
        };
        for branch in &transaction.branches {
            cx.peers.low_water_marks.open(&branch.participant, attempt_number, Hold::ToItsEnd);
        }
        cx.note(&transaction.tx, Note::Begun { branches: transaction.branches.len() });
        transaction.wait_for(client, wait, cx);
        if transaction.branches.len() == 1 {
            transaction.state = State::LoggingDelegation;
            transaction.append_open(OpenKind::Delegated, cx);
        } else {
            for branch in 0..transaction.branches.len() {
                transaction.send_prepare(branch, cx);
            }
        }
        transaction.arm(Timer::Deadline { after: timeout }, cx);
        transaction
    }

    /// Folds a record of the log back into the state that wrote it.
    pub(crate) fn recover(record: OpenRecord, cx: &mut Context<'_>) -> Transaction {
        let OpenRecord { kind, tx, attempt_number, begun_at, digest, participants, read_only, results } = record;
        let is_of = |part: &PartName, participant: &ParticipantName| match part {
            PartName::Branch(name) => name == participant,
            PartName::Step(_) => false,
        };
        let branch = |participant: ParticipantName, vote| {
            let result = results.iter().find(|(part, _)| is_of(part, &participant)).map(|(_, result)| result.clone());
            Branch { vote, result: result.unwrap_or_default(), ..Branch::new(participant, Bytes::new()) }
        };
        let (state, vote, stage) = match kind {
            OpenKind::Committed => (State::Committing { attempt: 0 }, BranchVote::Prepared, "committed"),
            OpenKind::Delegated => (State::Settling { attempt: 0 }, BranchVote::Awaited, "delegated"),
        };
        let mut branches: Vec<Branch> = participants.into_iter().map(|name| branch(name, vote)).collect();
        branches.extend(read_only.into_iter().map(|name| branch(name, BranchVote::Confirmed)));
        // In the order of their results, which is the order in which clients were told them (R10).
        let place = |branch: &Branch| results.iter().position(|(part, _)| is_of(part, &branch.participant));
        branches.sort_by_key(|branch| place(branch).unwrap_or(usize::MAX));
        for branch in branches.iter().filter(|branch| branch.vote != BranchVote::Confirmed) {
            cx.peers.low_water_marks.open(&branch.participant, attempt_number, Hold::ToItsEnd);
        }
        let transaction = Transaction {
            tx,
            attempt_number,
            digest,
            begun_at,
            deadline: cx.now,
            branches,
            // It is decided, so nobody ends it any more.
            owner: None,
            waiters: BTreeSet::new(),
            state,
            fallback: None,
            recovered: true,
            held: false,
        };
        cx.note(&transaction.tx, Note::Recovered { stage });
        transaction.arm(Timer::Retry { attempt: 0 }, cx);
        transaction
    }

    pub(crate) fn handle_input(&mut self, input: OpenInput, cx: &mut Context<'_>) {
        let Some(event) = self.event_of(input) else { return };
        self.note(&event, cx);
        self.update_breakers(&event, cx);
        match self.state.clone() {
            State::Preparing => self.handle_while_preparing(event, cx),
            State::Confirming => self.handle_while_confirming(event, cx),
            State::LoggingCommit => self.handle_while_logging_commit(event, cx),
            State::Committing { attempt } => self.handle_while_committing(attempt, event, cx),
            State::LoggingDelegation => self.handle_while_logging_delegation(event, cx),
            State::Delegated { sent } => self.handle_while_delegated(sent, event, cx),
            State::Settling { attempt } => self.handle_while_settling(attempt, event, cx),
            State::LoggingEnd { outcome, answered } => self.handle_while_logging_end(outcome, answered, event, cx),
            State::FallenBack(_) | State::Ended => {}
        }
    }

    /// Returns the event that an input is to this transaction. `None`: it is nothing to it.
    fn event_of(&self, input: OpenInput) -> Option<Event> {
        Some(match input {
            OpenInput::Message { from, message } => {
                let branch = self.branch_of(&from)?;
                match message {
                    ToCoordinator::Vote { vote, .. } => Event::Voted { branch, vote },
                    ToCoordinator::Confirmed { held, .. } => Event::Confirmed { branch, held },
                    ToCoordinator::Finished { outcome, .. } => Event::Finished { branch, outcome },
                    ToCoordinator::Inquiry { .. } => Event::Inquired { branch },
                    ToCoordinator::Ran { .. } | ToCoordinator::Closed { .. } => return None,
                }
            }
            OpenInput::Connected { participant } => Event::Connected { branch: self.branch_of(&participant)? },
            OpenInput::Fired(Timer::Deadline { .. }) => Event::DeadlinePassed,
            OpenInput::Fired(Timer::Retry { attempt }) => Event::RetryDue { attempt },
            OpenInput::Fired(Timer::Attempt { .. } | Timer::StepRetry { .. }) => return None,
            OpenInput::Logged(stage) => Event::Logged { stage },
            OpenInput::Cancelled => Event::Cancelled,
            OpenInput::Forgotten => Event::Forgotten,
            OpenInput::Resumed => Event::Resumed,
            OpenInput::Kin(_) => return None,
        })
    }

    /// Lets a client hear the outcome: at once if it is stable, else when it is.
    pub(crate) fn wait_for(&mut self, client: Client, wait: bool, cx: &mut Context<'_>) {
        if let Some(answer) = self.announced() {
            cx.effects.push(Effect::Answer { client, tx: self.tx.clone(), answer });
        } else if wait {
            self.waiters.insert(client);
        } else {
            cx.effects.push(Effect::Answer { client, tx: self.tx.clone(), answer: Answer::Pending });
        }
    }

    /// Lets a client hear once the end is stable, though the outcome may be already.
    pub(crate) fn wait_for_end(&mut self, client: Client) {
        self.waiters.insert(client);
    }

    pub(crate) fn take_waiters(&mut self) -> BTreeSet<Client> {
        std::mem::take(&mut self.waiters)
    }

    pub(crate) fn stop_waiting(&mut self, client: Client) {
        self.waiters.remove(&client);
    }

    pub(crate) fn waiters(&self) -> usize {
        self.waiters.len()
    }

    pub(crate) fn branch_of(&self, participant: &ParticipantName) -> Option<usize> {
        self.branches.iter().position(|branch| branch.participant == *participant)
    }

    /// Returns the lone branch at this participant, if that may have committed it by itself.
    pub(crate) fn left_to(&self, participant: &ParticipantName) -> Option<Part> {
        let is_left = match self.state {
            State::Delegated { sent } => sent,
            State::Settling { .. } => true,
            State::Preparing
            | State::Confirming
            | State::LoggingCommit
            | State::Committing { .. }
            | State::LoggingDelegation
            | State::LoggingEnd { .. }
            | State::FallenBack(_)
            | State::Ended => false,
        };
        let part = |_| Part { participant: participant.clone(), step: None, outcome: BranchOutcome::Aborted };
        self.branch_of(participant).filter(|_| is_left).map(part)
    }

    /// Returns the branch at this participant, if that has answered that it has committed, or can.
    pub(crate) fn answered_by(&self, participant: &ParticipantName) -> Vec<Part> {
        let branch = self.branch_of(participant).map(|index| &self.branches[index]);
        let has_committed = |branch: &&Branch| match branch.vote {
            BranchVote::Committed => true,
            // Should it have lost its vote, it cannot commit, and may yet say that it has: once its low-water mark has
            // passed the attempt.
            BranchVote::Prepared => matches!(branch.outcome, None | Some(BranchOutcome::Committed)),
            BranchVote::Awaited | BranchVote::ReadOnly | BranchVote::Confirmed | BranchVote::Refused => false,
        };
        let part =
            |_: &Branch| Part { participant: participant.clone(), step: None, outcome: BranchOutcome::Committed };
        branch.filter(has_committed).map(part).into_iter().collect()
    }

    /// Returns the work that it holds, or may fall back on, and what its branches have handed back.
    pub(crate) fn held_bytes(&self) -> Held {
        let work_bytes = match &self.fallback {
            // Branches share it.
            Some(fallback) => fallback.steps.iter().map(SagaStep::work_bytes).sum(),
            None => self.branches.iter().map(|branch| branch.work.len()).sum(),
        };
        let result_bytes = self.gathered();
        let leaving_bytes = if self.is_being_recorded() { result_bytes } else { 0 };
        Held { work_bytes, result_bytes, leaving_bytes, begun: 0 }
    }

    /// Returns true while its decision or its end is on its way to the log.
    fn is_being_recorded(&self) -> bool {
        match self.state {
            State::LoggingCommit | State::LoggingEnd { .. } => true,
            State::Preparing
            | State::Confirming
            | State::Committing { .. }
            | State::LoggingDelegation
            | State::Delegated { .. }
            | State::Settling { .. }
            | State::FallenBack(_)
            | State::Ended => false,
        }
    }

    fn gathered(&self) -> usize {
        self.branches.iter().map(|branch| branch.result.len()).sum()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Returns the outcome, if it is stable.
    fn announced(&self) -> Option<Answer> {
        self.stable_outcome().map(|outcome| match outcome {
            Outcome::Committed => Answer::committed(self.results()),
            Outcome::Aborted(reason) => Answer::aborted(reason),
        })
    }

    fn answer_all(&mut self, answer: &Answer, cx: &mut Context<'_>) {
        for client in std::mem::take(&mut self.waiters) {
            cx.effects.push(Effect::Answer { client, tx: self.tx.clone(), answer: answer.clone() });
        }
    }

    fn results(&self) -> Vec<(PartName, Bytes)> {
        let answered = |branch: &&Branch| branch.vote != BranchVote::Awaited && branch.vote != BranchVote::Refused;
        self.branches
            .iter()
            .filter(answered)
            .map(|b| (PartName::Branch(b.participant.clone()), b.result.clone()))
            .collect()
    }

    fn with_vote(&self, vote: BranchVote) -> Vec<ParticipantName> {
        let branches = self.branches.iter().filter(|branch| branch.vote == vote);
        branches.map(|branch| branch.participant.clone()).collect()
    }

    fn append_open(&self, kind: OpenKind, cx: &mut Context<'_>) {
        let left = |branch: &&Branch| branch.vote == BranchVote::Confirmed;
        let names = |read_only: bool| {
            let chosen = self.branches.iter().filter(move |branch| left(branch) == read_only);
            chosen.map(|branch| branch.participant.clone()).collect()
        };
        let record = OpenRecord {
            kind,
            tx: self.tx.clone(),
            attempt_number: self.attempt_number,
            begun_at: self.begun_at,
            digest: self.digest,
            participants: names(false),
            read_only: names(true),
            results: self.results(),
        };
        cx.effects.push(Effect::Append { record: Record::Open(record), forced: true });
    }

    /// Records the end. A result that nobody was told yet is told when the record is stable (R10).
    fn end(&mut self, outcome: Outcome, answered: bool, cx: &mut Context<'_>) {
        let default = match outcome {
            Outcome::Committed => BranchOutcome::Committed,
            Outcome::Aborted(_) => BranchOutcome::Aborted,
        };
        let results = match outcome {
            Outcome::Committed => self.results(),
            Outcome::Aborted(_) => Vec::new(),
        };
        let record = EndedRecord {
            saga: false,
            tx: self.tx.clone(),
            attempt_number: self.attempt_number,
            begun_at: self.begun_at,
            digest: self.digest,
            outcome: outcome.clone(),
            branches: self
                .branches
                .iter()
                .map(|branch| EndedBranch::new(branch.participant.clone(), branch.outcome.unwrap_or(default)))
                .collect(),
            read_only: self.with_vote(BranchVote::Confirmed),
            results,
        };
        let forced = !answered || !self.waiters.is_empty();
        cx.effects.push(Effect::Append { record: Record::Ended(record), forced });
        self.branches.iter_mut().for_each(|branch| branch.work = Bytes::new());
        self.state = State::LoggingEnd { outcome, answered };
    }

    /// Aborts. Nothing is forced before the participants hear of it: an abort is presumed anyway (R1).
    fn abort(&mut self, reason: AbortReason, cx: &mut Context<'_>) {
        let falls_back = self.falls_back(&reason);
        if !falls_back {
            cx.note(&self.tx, Note::Decided { outcome: Outcome::Aborted(reason.clone()) });
        }
        for branch in 0..self.branches.len() {
            match self.branches[branch].vote {
                BranchVote::Awaited | BranchVote::Prepared | BranchVote::ReadOnly => self.send_abort(branch, cx),
                BranchVote::Confirmed | BranchVote::Committed | BranchVote::Refused => {}
            }
        }
        if falls_back {
            self.state = State::FallenBack(reason);
        } else {
            self.end(Outcome::Aborted(reason), false, cx);
        }
    }

    fn arm(&self, timer: Timer, cx: &mut Context<'_>) {
        cx.arm(&self.tx, self.attempt_number, timer);
    }

    /// Sends the prepare, and returns whether it may arrive.
    fn send_prepare(&self, branch: usize, cx: &mut Context<'_>) -> bool {
        let prepare = Prepare {
            tx: self.tx.clone(),
            attempt_number: self.attempt_number,
            begun_at: self.begun_at,
            timeout: time_left(self.begun_at, self.deadline, cx.now).max(Duration::from_millis(1)),
            execution: Execution::of(self.branches.len()),
            work: self.branches[branch].work.clone(),
        };
        self.send(branch, ToParticipant::Prepare(prepare), cx);
        self.can_reach(branch, cx)
    }

    fn send_abort(&self, branch: usize, cx: &mut Context<'_>) {
        let (tx, attempt_number) = (self.tx.clone(), self.attempt_number);
        self.send(branch, ToParticipant::Abort { tx, attempt_number, certain: true }, cx);
    }

    fn send_undecided(&self, branch: usize, cx: &mut Context<'_>) {
        self.send(branch, ToParticipant::Undecided { tx: self.tx.clone(), attempt_number: self.attempt_number }, cx);
    }

    fn can_reach(&self, branch: usize, cx: &Context<'_>) -> bool {
        !self.held && cx.peers.connected.contains(&self.branches[branch].participant)
    }

    fn send(&self, branch: usize, message: ToParticipant, cx: &mut Context<'_>) {
        if !self.can_reach(branch, cx) {
            return;
        }
        let to = &self.branches[branch].participant;
        cx.note(&self.tx, Note::Sent { to: to.clone(), message: message.name() });
        cx.effects.push(Effect::Send { to: to.clone(), message });
    }

    fn note(&self, event: &Event, cx: &mut Context<'_>) {
        let name = |branch: &usize| self.branches[*branch].participant.clone();
        let note = match event {
            Event::Voted { branch, vote } => Note::vote(&name(branch), vote),
            Event::Confirmed { branch, held } => Note::Confirmed { from: name(branch), held: *held },
            Event::Finished { branch, outcome } => Note::Finished { from: name(branch), outcome: *outcome },
            Event::Inquired { branch } => Note::Inquired { from: name(branch) },
            Event::DeadlinePassed => match self.state {
                State::Preparing | State::Confirming | State::Delegated { .. } => Note::DeadlinePassed,
                State::LoggingCommit
                | State::Committing { .. }
                | State::LoggingDelegation
                | State::Settling { .. }
                | State::LoggingEnd { .. }
                | State::FallenBack(_)
                | State::Ended => return,
            },
            Event::Logged { stage: Stage::Delegated } => Note::Logged { stage: "delegated" },
            Event::Logged { stage: Stage::Committed } => Note::Logged { stage: "committed" },
            Event::Logged { stage: Stage::Ended } => Note::Logged { stage: "ended" },
            Event::Logged {
                stage:
                    Stage::Begun | Stage::Stepped | Stage::Compensating | Stage::Opened | Stage::Joined | Stage::Closed,
            } => return,
            Event::Forgotten => Note::Forgotten,
            Event::RetryDue { .. } | Event::Connected { .. } | Event::Cancelled | Event::Resumed => return,
        };
        cx.note(&self.tx, note);
    }
}

impl Branch {
    fn new(participant: ParticipantName, work: Bytes) -> Branch {
        Branch { participant, work, vote: BranchVote::Awaited, result: Bytes::new(), outcome: None }
    }
}
