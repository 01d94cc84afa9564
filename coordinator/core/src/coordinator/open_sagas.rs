//! Open sagas: their beginning, the steps that join them, and their closing.

use super::{Coordinator, Phase};
use crate::context::Context;
use crate::effect::{Answer, Effect, Rejection};
use crate::input::{Beginning, Client, Joining};
use crate::open_transaction::Open;
use crate::record::DIGEST_UNKNOWN;
use crate::room::Held;
use crate::saga::Saga;
use undoubt_vocabulary::limits::MAX_WAITERS_PER_TRANSACTION;
use undoubt_vocabulary::saga::InvalidSaga;
use undoubt_vocabulary::{Ability, SagaStep, Timestamp, TxId, saga};

impl Coordinator {
    pub(super) fn handle_beginning(&mut self, now: Timestamp, beginning: Beginning, effects: &mut Vec<Effect>) {
        let (tx, client) = (beginning.tx.clone(), beginning.client);
        if let Err(rejection) = self.admit_open_saga(&beginning) {
            return effects.push(Effect::Answer { client, tx, answer: Answer::Rejected(rejection) });
        }
        let attempt_number = self.new_attempt_number();
        let after = match beginning.parent.as_ref().and_then(|parent| self.transactions.get_mut(parent)) {
            Some(Open::Saga(parent)) => parent.nest(tx.clone()),
            Some(Open::TwoPhase(_) | Open::Unusable(_)) | None => 0,
        };
        let mut cx = Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin };
        let open = Open::Saga(Box::new(Saga::open(beginning, after, attempt_number, &mut cx)));
        self.room.change(Held::default(), open.held());
        self.transactions.insert(tx, open);
    }

    fn admit_open_saga(&self, beginning: &Beginning) -> Result<(), Rejection> {
        if self.phase == Phase::Draining {
            return Err(Rejection::Draining);
        }
        if beginning.terms.are_two_phase() && beginning.check_back.is_some() {
            let what = "with two-phase completions nothing is done before the close, so there is nothing to ask about; leave it out";
            return Err(InvalidSaga { path: "check_back".into(), what: what.into() }.into());
        }
        if beginning.terms.are_two_phase() && beginning.parent.is_some() {
            let what = "only sagas nest, and with two-phase completions it is none; begin it without a parent";
            return Err(InvalidSaga { path: "parent".into(), what: what.into() }.into());
        }
        if let Some(parent) = &beginning.parent {
            self.check_parent(parent)?;
        }
        if beginning.timeout.is_zero() {
            return Err(Rejection::DeadlinePassed);
        }
        let max_begun_transactions = self.limits.max_begun_transactions;
        if self.room.held().begun >= max_begun_transactions {
            return Err(Rejection::TooManyBegun { max_begun_transactions });
        }
        self.room.admit(0)
    }

    pub(super) fn handle_repeated_beginning(
        &mut self,
        now: Timestamp,
        beginning: Beginning,
        effects: &mut Vec<Effect>,
    ) {
        let Beginning { tx, digest, client, .. } = beginning;
        let same = |open: &Open| *open.digest() == digest || *open.digest() == DIGEST_UNKNOWN;
        match self.transactions.get_mut(&tx) {
            Some(Open::Saga(saga)) if saga.digest == digest => {
                saga.begin_again(
                    client,
                    &mut Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin },
                );
            }
            Some(open) if same(open) => {
                open.wait_for(
                    client,
                    false,
                    &mut Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin },
                );
            }
            Some(_) | None => {
                effects.push(Effect::Answer { client, tx, answer: Answer::Rejected(Rejection::OtherContent) })
            }
        }
    }

    pub(super) fn handle_join(&mut self, now: Timestamp, joining: Joining, effects: &mut Vec<Effect>) {
        let (tx, client) = (joining.tx.clone(), joining.client);
        if let Err(rejection) = self.join(now, joining, effects) {
            effects.push(Effect::Answer { client, tx, answer: Answer::Rejected(rejection) });
        }
    }

    fn join(&mut self, now: Timestamp, joining: Joining, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        let next_attempt_number = self.next_attempt_number;
        let is_branch = matches!(self.transactions.get(&joining.tx), Some(Open::Saga(saga)) if saga.is_two_phase());
        // Of a branch its close asks, which knows how many there are.
        let lacks = self.lacks_for(&joining.step).filter(|_| !is_branch);
        let (phase, room) = (self.phase, self.room);
        let Some(open) = self.transactions.get_mut(&joining.tx) else { return Err(Rejection::NotFound) };
        let before = open.held();
        let Open::Saga(saga) = open else {
            return Err(match open {
                Open::Unusable(unusable) => unusable.rejection(),
                Open::TwoPhase(transaction) => Rejection::NotOpen { phase: transaction.view().phase },
                Open::Saga(_) => Rejection::NotBegun,
            });
        };
        if saga.waiters() >= MAX_WAITERS_PER_TRANSACTION {
            return Err(Rejection::TooManyWaiters { max_waiters: MAX_WAITERS_PER_TRANSACTION });
        }
        let mut cx = Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin };
        if saga.is_new(&joining.step) {
            saga::check_joining(&joining.step)?;
            saga.check_new(&joining.step)?;
            if phase == Phase::Draining {
                return Err(Rejection::Draining);
            }
            if let Some(ability) = lacks {
                return Err(Rejection::Lacks { participant: joining.step.participant, ability });
            }
            room.admit(joining.step.work_bytes())?;
            // One that is joined late may have seen its low-water mark pass the saga's attempt number.
            let known = saga.known_at(&joining.step.participant);
            if known.is_none() {
                self.next_attempt_number = next_attempt_number.next();
            }
            saga.join(joining, known.unwrap_or(next_attempt_number), &mut cx);
        } else {
            saga.join_again(joining, &mut cx)?;
        }
        let after = saga.held_bytes();
        self.room.change(before, after);
        Ok(())
    }

    /// Returns what this step needs and its participant is known to lack.
    fn lacks_for(&self, step: &SagaStep) -> Option<Ability> {
        let needed = if step.action.is_none() || step.completion.is_some() {
            &[Ability::SagaSteps, Ability::OpenSagas][..]
        } else {
            &[Ability::SagaSteps]
        };
        needed.iter().copied().find(|ability| self.peers.lacks(&step.participant, *ability))
    }

    pub(super) fn handle_close(
        &mut self,
        now: Timestamp,
        tx: &TxId,
        client: Client,
        wait: bool,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(saga) = self.saga(tx).filter(|saga| saga.can_be_closed())
            && let Err(rejection) = self.check_nested(saga)
        {
            return effects.push(Effect::Answer { client, tx: tx.clone(), answer: Answer::Rejected(rejection) });
        }
        let Some(open) = self.transactions.get_mut(tx) else { return };
        if wait && open.waiters() >= MAX_WAITERS_PER_TRANSACTION {
            let rejection = Rejection::TooManyWaiters { max_waiters: MAX_WAITERS_PER_TRANSACTION };
            return effects.push(Effect::Answer { client, tx: tx.clone(), answer: Answer::Rejected(rejection) });
        }
        let before = open.held();
        let mut cx = Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin };
        let closed = match open {
            Open::Saga(saga) if saga.is_to_be_committed() => {
                let attempt_number = self.next_attempt_number;
                saga.go_on_as_two_phase(attempt_number, (client, wait), &mut cx).map(|transaction| {
                    self.next_attempt_number = attempt_number.next();
                    *open = Open::TwoPhase(Box::new(transaction));
                })
            }
            Open::Saga(saga) => saga.ask_to_close(client, wait, &mut cx),
            Open::TwoPhase(transaction) => {
                transaction.wait_for(client, wait, &mut cx);
                Ok(())
            }
            Open::Unusable(unusable) => Err(unusable.rejection()),
        };
        let after = open.held();
        self.room.change(before, after);
        if let Err(rejection) = closed {
            effects.push(Effect::Answer { client, tx: tx.clone(), answer: Answer::Rejected(rejection) });
        }
    }
}
