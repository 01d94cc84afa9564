//! Drives the coordinator's core: the contract of [`undoubt_coordinator_core`] in small.

use super::mutant::Mutant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use undoubt_coordinator_core::{
    Answer, Client, Coordinator, Effect, EndedRecord, Input, Limits, OpenKind, OpenRecord, Phase, Record, Stage, Timer,
};
use undoubt_vocabulary::{Epoch, Outcome, ParticipantName, Ticket, Timestamp, ToParticipant, TxId};

/// The coordinator's machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CoordinatorHost {
    pub(crate) log: Log,
    /// `None`: crashed.
    pub(crate) process: Option<Process>,
}

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    pub(crate) epoch: u32,
    pub(crate) open: BTreeMap<TxId, OpenRecord>,
    pub(crate) ended: BTreeMap<TxId, EndedRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) core: Coordinator,
    /// Appended, not yet stable; in order.
    pub(crate) unstable: VecDeque<Record>,
    /// Armed timers of transactions that are still held.
    pub(crate) timers: BTreeSet<(TxId, Ticket, Timer)>,
}

/// What a coordinator tells others.
#[derive(Debug)]
pub(crate) enum Sent {
    Message { to: ParticipantName, fence: Ticket, message: ToParticipant },
    Answer { client: Client, tx: TxId, answer: Answer },
}

impl Log {
    pub(crate) fn write(&mut self, record: Record) {
        match record {
            Record::Open(open) => {
                self.open.insert(open.tx.clone(), open);
            }
            Record::Ended(ended) => {
                self.open.remove(&ended.tx);
                self.ended.insert(ended.tx.clone(), ended);
            }
        }
    }

    /// Whether a commit decision of this attempt is on stable storage.
    pub(crate) fn has_commit(&self, tx: &TxId, ticket: Ticket) -> bool {
        let open = self.open.get(tx).is_some_and(|open| open.ticket == ticket && open.kind == OpenKind::Committed);
        let ended = |ended: &EndedRecord| ended.ticket == ticket && ended.outcome == Outcome::Committed;
        open || self.ended.get(tx).is_some_and(ended)
    }
}

impl Log {
    /// The branches of this attempt, if the log says that it committed, or that its one branch may have.
    pub(crate) fn commits(&self, tx: &TxId, ticket: Ticket) -> Option<Vec<ParticipantName>> {
        let open = self.open.get(tx).filter(|open| open.ticket == ticket);
        let ended = self.ended.get(tx).filter(|ended| ended.ticket == ticket && ended.outcome == Outcome::Committed);
        let open = open.map(|open| open.participants.iter().chain(&open.read_only).cloned().collect());
        open.or(ended.map(|ended| ended.branches.iter().map(|(name, _)| name.clone()).collect()))
    }
}

impl Process {
    /// A start that takes the next epoch, before the log is read.
    pub(crate) fn start(log: &mut Log) -> Process {
        log.epoch += 1;
        let core = Coordinator::new(Epoch(log.epoch), Limits { max_open_transactions: 16 });
        Process { core, unstable: VecDeque::new(), timers: BTreeSet::new() }
    }

    /// The whole log is read.
    pub(crate) fn recover(&mut self, log: &Log, mutant: Option<Mutant>, sent: &mut Vec<Sent>) -> Result<(), String> {
        if mutant != Some(Mutant::OpenRecordsForgotten) {
            for record in log.open.values() {
                self.handle(Input::Recovered(record.clone()), log, mutant, sent)?;
            }
        }
        self.handle(Input::RecoveryDone { paused: false }, log, mutant, sent)
    }

    /// Handles the input and carries out its effects, in order. What it sent; and the rule that it broke, if any.
    pub(crate) fn handle(
        &mut self,
        input: Input,
        log: &Log,
        mutant: Option<Mutant>,
        sent: &mut Vec<Sent>,
    ) -> Result<(), String> {
        // Ages within an epoch are told apart by the ids alone, so that no clock grows the world.
        let now = Timestamp(u64::from(log.epoch));
        let mut effects = Vec::new();
        self.core.handle(now, input, &mut effects);
        effects.into_iter().try_for_each(|effect| self.carry_out(effect, log, mutant, sent))
    }

    fn carry_out(
        &mut self,
        effect: Effect,
        log: &Log,
        mutant: Option<Mutant>,
        sent: &mut Vec<Sent>,
    ) -> Result<(), String> {
        match effect {
            Effect::Append { record, .. } => {
                let called_stable = called_stable(&record, mutant).then(|| appended(&record));
                self.unstable.push_back(record);
                if let Some(input) = called_stable {
                    self.handle(input, log, mutant, sent)?;
                }
            }
            Effect::Send { to, message } => {
                if mutant != Some(Mutant::CommitLostUnnoticed) {
                    self.check_sent(&message, log)?;
                }
                let fence = match (mutant, &message) {
                    (Some(Mutant::FenceRunsAhead), ToParticipant::Settle { ticket, .. }) => ticket.next(),
                    (_, _) => self.core.fence(&to),
                };
                sent.push(Sent::Message { to, fence, message });
            }
            Effect::Answer { client, tx, answer } => {
                self.check_answer(&tx, &answer, log)?;
                sent.push(Sent::Answer { client, tx, answer });
            }
            Effect::Arm { tx, ticket, timer } => {
                self.timers.insert((tx, ticket, timer));
            }
            Effect::LookUp(question) => {
                let ended = log.ended.get(question.tx()).cloned();
                self.handle(Input::LookedUp { question, ended }, log, mutant, sent)?;
            }
            // A timer of a transaction that is no longer held does nothing when it fires.
            Effect::Retired { tx } => self.timers.retain(|(armed, _, _)| *armed != tx),
            Effect::Note { .. } => {}
        }
        Ok(())
    }

    /// R1, R4: what may be said about a decision, and when.
    fn check_sent(&self, message: &ToParticipant, log: &Log) -> Result<(), String> {
        let (tx, ticket) = (message.tx(), message.ticket());
        match message {
            ToParticipant::Commit { .. } if !log.has_commit(tx, ticket) => {
                Err(format!("R1: commit of {tx}/{ticket} was sent before its record was stable"))
            }
            ToParticipant::Abort { .. } if log.has_commit(tx, ticket) => {
                Err(format!("R4: abort of {tx}/{ticket} was sent though its commit is in the log"))
            }
            ToParticipant::Abort { .. } if self.core.phase() == Phase::Recovering => {
                Err(format!("R4: abort of {tx}/{ticket} was presumed before the log was read"))
            }
            ToParticipant::Prepare(_)
            | ToParticipant::Confirm { .. }
            | ToParticipant::Commit { .. }
            | ToParticipant::Abort { .. }
            | ToParticipant::Settle { .. }
            | ToParticipant::Undecided { .. }
            | ToParticipant::Noted { .. } => Ok(()),
        }
    }

    /// R10: an abort is answered once its record is stable. For a commit see [`super::check`], as a one-phase commit is
    /// stable at the branch and not here.
    fn check_answer(&self, tx: &TxId, answer: &Answer, log: &Log) -> Result<(), String> {
        match answer {
            Answer::Outcome { outcome: outcome @ Outcome::Aborted(_), .. } => {
                let stable = log.ended.get(tx).is_some_and(|ended| ended.outcome == *outcome);
                if stable { Ok(()) } else { Err(format!("R10: the abort of {tx} was answered before it was stable")) }
            }
            Answer::Outcome { outcome: Outcome::Committed, .. } | Answer::Pending | Answer::Rejected(_) => Ok(()),
        }
    }
}

pub(crate) fn appended(record: &Record) -> Input {
    Input::Appended { tx: record.tx().clone(), ticket: record.ticket(), stage: record.stage() }
}

fn called_stable(record: &Record, mutant: Option<Mutant>) -> bool {
    match record.stage() {
        Stage::Committed => matches!(mutant, Some(Mutant::CommitBeforeStable | Mutant::CommitLostUnnoticed)),
        Stage::Ended => mutant == Some(Mutant::AbortAnsweredBeforeStable),
        Stage::Delegated => false,
    }
}
