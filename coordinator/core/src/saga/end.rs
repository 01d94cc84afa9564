//! The end: decided, stable, answered, and no semantic lock left behind.

use super::{At, Joined, Saga, State, Step};
use crate::context::Context;
use crate::effect::{Answer, Effect, Note, Timer};
use crate::record::{Barrier, EndedBranch, EndedRecord, Record};
use crate::saga::log::Written;
use bytes::Bytes;
use std::collections::BTreeSet;
use undoubt_vocabulary::{BranchOutcome, PartName, ParticipantName, SagaStep, ToParticipant};

impl Saga {
    /// Ends the saga, every step of which is settled. `on_record`: a stable record says so, which is the decision.
    pub(super) fn finish(&mut self, on_record: bool, cx: &mut Context<'_>) {
        assert!(self.is_settled(), "a saga ends when every step is settled");
        if self.is_closed() && self.is_provisional() {
            return self.keep(cx);
        }
        self.note(Note::Decided { outcome: self.outcome() }, cx);
        if !self.steps.iter().any(Step::may_hold_locks) {
            self.end(false, cx);
        } else if on_record {
            self.close(cx);
        } else {
            self.state = State::Deciding;
            self.record_steps(cx);
            self.append(Written::Decided, true, cx);
        }
    }

    /// Records what the steps of an open saga have come to, of which its header says nothing: once its outcome is told, nobody is
    /// to settle one of them another way.
    fn record_steps(&mut self, cx: &mut Context<'_>) {
        if self.opening.is_none() {
            return;
        }
        if !self.is_decided() {
            // A step is never further on record than its saga.
            let way = if self.is_closed() { Written::Closed } else { Written::Compensating };
            self.append(way, false, cx);
        }
        for step in 0..self.steps.len() {
            if !self.steps[step].on_record {
                self.append(Written::Step(step), false, cx);
            }
        }
    }

    pub(super) fn close(&mut self, cx: &mut Context<'_>) {
        for step in &mut self.steps {
            step.to_be_closed = step.may_hold_locks();
        }
        self.state = State::Closing { attempt: 0 };
        self.answer_all(cx);
        self.send_closes(cx);
        cx.arm(&self.tx, self.attempt_number, Timer::Retry { attempt: 0 });
    }

    /// Returns participants where semantic locks may be left, while they are being closed.
    pub(super) fn unclosed(&self) -> BTreeSet<ParticipantName> {
        let open = self.steps.iter().filter(|step| step.to_be_closed);
        open.map(|step| step.definition.participant.clone()).collect()
    }

    fn send_closes(&self, cx: &mut Context<'_>) {
        for participant in self.unclosed() {
            self.send_close(&participant, cx);
        }
    }

    pub(super) fn send_close(&self, to: &ParticipantName, cx: &mut Context<'_>) {
        if !self.held && cx.peers.connected.contains(to) {
            let attempt_number = self.attempt_number_at(to);
            let message = ToParticipant::Close { tx: self.tx.clone(), attempt_number };
            self.note(Note::Sent { to: to.clone(), message: message.name() }, cx);
            cx.effects.push(Effect::Send { to: to.clone(), message });
        }
    }

    /// Sends the closes that are not answered again, without end: after the decision there is no giving up (R6).
    pub(super) fn close_again(&mut self, due: u32, cx: &mut Context<'_>) {
        if self.state != (State::Closing { attempt: due }) {
            return;
        }
        let attempt = due.saturating_add(1);
        self.note(Note::Retried { attempt }, cx);
        self.state = State::Closing { attempt };
        self.send_closes(cx);
        cx.arm(&self.tx, self.attempt_number, Timer::Retry { attempt });
    }

    pub(super) fn handle_closed(&mut self, from: &ParticipantName, cx: &mut Context<'_>) {
        // An operator who did not wait for it may have given it up: then the end is being recorded already.
        if !self.is_closing() || !self.unclosed().contains(from) {
            return;
        }
        self.note(Note::Closed { from: from.clone() }, cx);
        for step in self.steps.iter_mut().filter(|step| step.definition.participant == *from) {
            step.to_be_closed = false;
        }
        if self.unclosed().is_empty() {
            self.end(true, cx);
        }
    }

    pub(super) fn end(&mut self, answered: bool, cx: &mut Context<'_>) {
        let record = EndedRecord {
            saga: !self.is_two_phase(),
            tx: self.tx.clone(),
            attempt_number: self.attempt_number,
            begun_at: self.begun_at,
            digest: self.digest,
            outcome: self.outcome(),
            branches: self.steps.iter().map(|step| self.ended(step)).collect(),
            read_only: Vec::new(),
            results: self.results(),
        };
        self.state = State::Ending { answered };
        self.append_record(Record::Ended(record), Written::Ended, !answered || self.forgotten, cx);
    }

    fn ended(&self, step: &Step) -> EndedBranch {
        if self.is_two_phase() {
            // It ends here only where it was not closed, so no branch was sent.
            return EndedBranch {
                barrier: Barrier::Nowhere,
                ..EndedBranch::new(step.definition.participant.clone(), BranchOutcome::Aborted)
            };
        }
        step.ended()
    }

    pub(super) fn retire(&mut self, cx: &mut Context<'_>) {
        self.answer_all(cx);
        self.leave_family(cx);
        self.close_what_was_forgotten(cx);
        for participant in self.participants() {
            cx.peers.low_water_marks.close(&participant, self.attempt_number_at(&participant));
        }
        self.state = State::Ended;
        cx.effects.push(Effect::Retired { tx: self.tx.clone() });
    }

    fn is_closing(&self) -> bool {
        match self.state {
            State::Closing { .. } => true,
            State::Beginning
            | State::Forward
            | State::Open
            | State::LoggingClose
            | State::Completing
            | State::Kept
            | State::LoggingCompensation
            | State::Compensating
            | State::Deciding
            | State::Ending { .. }
            | State::Ended => false,
        }
    }

    /// Returns true if the outcome is stable.
    pub(super) fn is_announced(&self) -> bool {
        match self.state {
            State::Closing { .. } | State::Ending { answered: true } => true,
            State::Beginning
            | State::Forward
            | State::Open
            | State::LoggingClose
            | State::Completing
            | State::Kept
            | State::LoggingCompensation
            | State::Compensating
            | State::Deciding
            | State::Ending { answered: false }
            | State::Ended => false,
        }
    }

    pub(super) fn outcome_answer(&self) -> Answer {
        Answer::Outcome { outcome: self.outcome(), results: self.results() }
    }

    pub(super) fn answer_all(&mut self, cx: &mut Context<'_>) {
        for client in std::mem::take(&mut self.waiters) {
            self.answer(client, self.outcome_answer(), cx);
        }
    }

    /// Returns what the steps of a saga that was carried out handed back.
    pub(super) fn results(&self) -> Vec<(PartName, Bytes)> {
        let result = |step: &Step| match (&step.at, &self.compensating) {
            (At::Done { result, .. }, None) => Some((PartName::Step(step.definition.name.clone()), result.clone())),
            (At::Completed, None) if step.definition.action.is_some() && !step.is_check_back() => {
                Some((PartName::Step(step.definition.name.clone()), step.acted.result.clone()))
            }
            (
                At::Waiting
                | At::Doubtful
                | At::Running(_)
                | At::Elsewhere
                | At::Unanswered { .. }
                | At::Refused(_)
                | At::Done { .. }
                | At::Completed
                | At::Undone
                | At::Skipped,
                _,
            ) => None,
        };
        self.steps.iter().filter_map(result).collect()
    }
}

impl Step {
    /// Returns true if the step may hold semantic locks. Nobody vouches for a skipped step, so neither for its locks;
    /// and who has undone a step by other means has not freed those that its participant holds.
    pub(super) fn may_hold_locks(&self) -> bool {
        match self.at {
            At::Done { pending, .. } => pending,
            At::Skipped => true,
            At::Undone => self.locks_unknown,
            At::Completed => self.acted.pending,
            At::Waiting | At::Doubtful | At::Running(_) | At::Elsewhere | At::Unanswered { .. } | At::Refused(_) => {
                false
            }
        }
    }

    fn ended(&self) -> EndedBranch {
        let outcome = match self.at {
            At::Done { .. } | At::Completed => BranchOutcome::Committed,
            At::Undone | At::Refused(_) => BranchOutcome::Aborted,
            At::Skipped => BranchOutcome::Unknown,
            At::Waiting | At::Doubtful | At::Running(_) | At::Elsewhere | At::Unanswered { .. } => {
                unreachable!("a saga ends when every step is settled")
            }
        };
        let SagaStep { name, participant, action, completion, .. } = &*self.definition;
        let is_nowhere =
            matches!(self.at, At::Refused(_)) || self.is_check_back() || (action.is_none() && completion.is_none());
        let barrier = match &self.joined {
            None => Barrier::OfTransaction,
            Some(_) if is_nowhere => Barrier::Nowhere,
            Some(Joined { attempt_number, .. }) => Barrier::Of(*attempt_number),
        };
        EndedBranch { participant: participant.clone(), step: Some(name.clone()), outcome, barrier }
    }
}
