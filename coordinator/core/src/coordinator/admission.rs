//! The admission of submissions, and the choice of their way.

use super::{Coordinator, Phase};
use crate::choice::{Choice, choose};
use crate::context::Context;
use crate::effect::{Answer, Effect, Note, Rejection};
use crate::input::{Client, Content, Submission};
use crate::open_transaction::{Admitted, Open};
use crate::room::Held;
use crate::saga::Saga;
use crate::transaction::{Fallback, Transaction};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;
use undoubt_vocabulary::limits::{MAX_BRANCHES_PER_TRANSACTION, MAX_TRANSACTION_BYTES, MAX_WAITERS_PER_TRANSACTION};
use undoubt_vocabulary::{Ability, Execution, ParticipantName, SagaStep, Timestamp, TxId, saga};

/// The way in which a submission is begun.
enum Way {
    TwoPhase { branches: Vec<(ParticipantName, Bytes)>, fallback: Option<Fallback> },
    Saga(Vec<SagaStep>),
}

impl Coordinator {
    pub(super) fn handle_submission(&mut self, now: Timestamp, submission: Submission, effects: &mut Vec<Effect>) {
        let Submission { tx, digest, content, timeout, client, wait } = submission;
        let reject = |tx, rejection| Effect::Answer { client, tx, answer: Answer::Rejected(rejection) };
        if let Err(rejection) = self.admit(&content, timeout.is_zero()) {
            return effects.push(reject(tx, rejection));
        }
        let (way, chosen) = match self.way(now, content, timeout) {
            Ok(way) => way,
            Err(why) => return effects.push(reject(tx, Rejection::NeitherWay { why })),
        };
        let attempt_number = self.new_attempt_number();
        effects.extend(chosen.map(|note| Effect::Note { tx: tx.clone(), note }));
        let admitted = Admitted { tx: tx.clone(), attempt_number, digest, begun_at: now, timeout };
        let mut cx = Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin };
        let open = match way {
            Way::TwoPhase { branches, fallback } => {
                Open::TwoPhase(Box::new(Transaction::begin(admitted, branches, fallback, (client, wait), &mut cx)))
            }
            Way::Saga(steps) => {
                let mut saga = Saga::begin(admitted, steps, None, &mut cx);
                saga.wait_for(client, wait, &mut cx);
                Open::Saga(Box::new(saga))
            }
        };
        self.room.change(Held::default(), open.held());
        self.transactions.insert(tx, open);
    }

    fn admit(&self, content: &Content, no_time: bool) -> Result<(), Rejection> {
        if self.phase == Phase::Draining {
            return Err(Rejection::Draining);
        }
        match content {
            Content::TwoPhase(branches) => {
                check_size(branches.len(), branches.iter().map(|(_, work)| work.len()).sum())?;
                let mut names = BTreeSet::new();
                if let Some((participant, _)) = branches.iter().find(|(name, _)| !names.insert(name)) {
                    return Err(Rejection::TwoBranches { participant: participant.clone() });
                }
            }
            Content::Saga(steps) => saga::check(steps)?,
            Content::Auto { steps, .. } => {
                check_size(steps.len(), steps.iter().map(SagaStep::work_bytes).sum())?;
            }
        }
        if let Some((participant, ability)) = self.lacks(content) {
            return Err(Rejection::Lacks { participant: participant.clone(), ability });
        }
        if no_time {
            return Err(Rejection::DeadlinePassed);
        }
        let max_open_transactions = self.limits.max_open_transactions;
        if self.transactions.len() - self.room.held().begun >= max_open_transactions {
            return Err(Rejection::TooManyOpen { max_open_transactions });
        }
        self.room.admit(content.work_bytes())
    }

    /// Returns a participant that is known to lack what this content needs. Auto chooses by itself.
    fn lacks<'a>(&self, content: &'a Content) -> Option<(&'a ParticipantName, Ability)> {
        if self.peers.limited.is_empty() {
            return None;
        }
        let (ability, mut needed): (_, Box<dyn Iterator<Item = &ParticipantName>>) = match content {
            Content::TwoPhase(branches) => {
                (Execution::of(branches.len()).ability(), Box::new(branches.iter().map(|(name, _)| name)))
            }
            Content::Saga(steps) => (Ability::SagaSteps, Box::new(steps.iter().map(|step| &step.participant))),
            Content::Auto { .. } => return None,
        };
        needed.find(|name| self.peers.lacks(name, ability)).map(|name| (name, ability))
    }

    /// Returns the way that a submission goes, and the note of the choice for its history. `Err`: there is none.
    fn way(&mut self, now: Timestamp, content: Content, timeout: Duration) -> Result<(Way, Option<Note>), String> {
        let (steps, two_phase_only) = match content {
            Content::TwoPhase(branches) => return Ok((Way::TwoPhase { branches, fallback: None }, None)),
            Content::Saga(steps) => return Ok((Way::Saga(steps), None)),
            Content::Auto { steps, two_phase_only } => (steps, two_phase_only),
        };
        Ok(match choose(&steps, two_phase_only, &self.peers, now)? {
            Choice::Saga { why } => (Way::Saga(steps), Some(Note::Chosen { saga: true, why })),
            Choice::TwoPhase { why, may_fall_back } => {
                for step in &steps {
                    self.peers.breakers.pass(&step.participant, self.next_attempt_number, now);
                }
                let branches = steps
                    .iter()
                    .map(|step| (step.participant.clone(), step.action.clone().unwrap_or_default()))
                    .collect();
                let fallback = may_fall_back.then_some(Fallback { steps, timeout });
                (Way::TwoPhase { branches, fallback }, Some(Note::Chosen { saga: false, why }))
            }
        })
    }

    pub(super) fn handle_repeated_submission(
        &mut self,
        now: Timestamp,
        submission: Submission,
        effects: &mut Vec<Effect>,
    ) {
        let same = self.transactions.get(&submission.tx).is_some_and(|open| submission.has(open.digest()));
        let Submission { tx, client, wait, .. } = submission;
        if same {
            self.wait_for(now, &tx, client, wait, effects);
        } else {
            effects.push(Effect::Answer { client, tx, answer: Answer::Rejected(Rejection::OtherContent) });
        }
    }

    pub(super) fn wait_for(
        &mut self,
        now: Timestamp,
        tx: &TxId,
        client: Client,
        wait: bool,
        effects: &mut Vec<Effect>,
    ) {
        if wait && self.waiters(tx) >= MAX_WAITERS_PER_TRANSACTION {
            let rejection = Rejection::TooManyWaiters { max_waiters: MAX_WAITERS_PER_TRANSACTION };
            return effects.push(Effect::Answer { client, tx: tx.clone(), answer: Answer::Rejected(rejection) });
        }
        self.let_wait(now, tx, client, wait, effects);
    }

    /// Lets a client wait beyond the bound, for it has changed something: a refusal would say that nothing was done.
    pub(super) fn let_wait(
        &mut self,
        now: Timestamp,
        tx: &TxId,
        client: Client,
        wait: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(open) = self.transactions.get_mut(tx) else { return };
        open.wait_for(
            client,
            wait,
            &mut Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin },
        );
    }
}

fn check_size(given: usize, bytes: usize) -> Result<(), Rejection> {
    let max = MAX_BRANCHES_PER_TRANSACTION;
    if given == 0 {
        Err(Rejection::NoBranches)
    } else if given > max {
        Err(Rejection::TooManyBranches { given, max })
    } else if bytes > MAX_TRANSACTION_BYTES {
        Err(Rejection::TooLarge { given: bytes, max: MAX_TRANSACTION_BYTES })
    } else {
        Ok(())
    }
}
