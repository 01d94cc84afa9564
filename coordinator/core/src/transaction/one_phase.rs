//! One branch: it commits by itself (R7).
//!
//! That saves a forced write and a round trip, but the branch, not the log, then holds the outcome. So the log says
//! beforehand that the branch may have committed; whoever finds that record asks the branch. Aborting is not presumed
//! here: silence is settled by asking, until there is an answer.

use super::decision::refuse_for_want_of;
use super::{BranchVote, Context, Event, State, Transaction};
use crate::effect::{Answer, Note, Timer};
use crate::record::Stage;
use crate::room::NoRoom;
use bytes::Bytes;
use undoubt_vocabulary::{Ability, AbortReason, BranchOutcome, Outcome, ToParticipant, Vote};

impl Transaction {
    pub(super) fn handle_while_logging_delegation(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Logged { stage: Stage::Delegated } => self.delegate(false, cx),
            // Nothing was sent yet, so the abort is certain.
            Event::Cancelled => self.abort(AbortReason::Cancelled, cx),
            Event::DeadlinePassed => {
                let unanswered = vec![self.branches[0].participant.clone()];
                self.abort(AbortReason::DeadlinePassed { unanswered }, cx);
            }
            Event::Logged { .. }
            | Event::Voted { .. }
            | Event::Confirmed { .. }
            | Event::Finished { .. }
            | Event::Inquired { .. }
            | Event::Connected { .. }
            | Event::RetryDue { .. }
            | Event::Forgotten
            | Event::Resumed => {}
        }
    }

    pub(super) fn handle_while_delegated(&mut self, sent: bool, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Voted { vote, .. } => self.take_one_phase_vote(vote, cx),
            Event::Connected { .. } => self.delegate(sent, cx),
            // Nobody was told anything, so the abort is certain.
            Event::DeadlinePassed if !sent => {
                let unanswered = vec![self.branches[0].participant.clone()];
                self.abort(AbortReason::DeadlinePassed { unanswered }, cx);
            }
            Event::Cancelled if !sent => self.abort(AbortReason::Cancelled, cx),
            Event::DeadlinePassed | Event::Cancelled => {
                self.state = State::Settling { attempt: 0 };
                self.send_settle(cx);
                self.arm(Timer::Retry { attempt: 0 }, cx);
            }
            Event::Confirmed { .. }
            | Event::Finished { .. }
            | Event::Inquired { .. }
            | Event::RetryDue { .. }
            | Event::Logged { .. }
            | Event::Forgotten
            | Event::Resumed => {}
        }
    }

    /// Sends it on, unless it is known by now that the participant takes none. What may have arrived before is not refused:
    /// it may have committed.
    fn delegate(&mut self, sent: bool, cx: &mut Context<'_>) {
        let by = &self.branches[0].participant;
        if !sent && cx.peers.lacks(by, Ability::OnePhase) {
            let reason = AbortReason::Refused { by: by.clone(), refusal: refuse_for_want_of(Ability::OnePhase) };
            return self.abort(reason, cx);
        }
        let sent = self.send_prepare(0, cx) || sent;
        self.state = State::Delegated { sent };
    }

    pub(super) fn handle_while_settling(&mut self, attempt: u32, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Voted { vote, .. } => self.take_one_phase_vote(vote, cx),
            Event::Finished { outcome, .. } => self.handle_settled(outcome, cx),
            Event::Connected { .. } | Event::Resumed => self.send_settle(cx),
            Event::RetryDue { attempt: due } if due == attempt => {
                let next = attempt.saturating_add(1);
                cx.note(&self.tx, Note::Retried { attempt: next });
                self.state = State::Settling { attempt: next };
                self.send_settle(cx);
                self.arm(Timer::Retry { attempt: next }, cx);
            }
            Event::Forgotten => self.handle_settled(BranchOutcome::Unknown, cx),
            Event::Confirmed { .. }
            | Event::Inquired { .. }
            | Event::DeadlinePassed
            | Event::RetryDue { .. }
            | Event::Logged { .. }
            | Event::Cancelled => {}
        }
    }

    fn take_one_phase_vote(&mut self, vote: Vote, cx: &mut Context<'_>) {
        match vote {
            Vote::Committed { result } => {
                // It has committed, whatever it hands back. Together with others' it stays for one write only.
                let result = match cx.room.keep(0, result.len()) {
                    Ok(()) | Err(NoRoom::Now(_)) => result,
                    Err(NoRoom::TooLarge(refusal)) => {
                        let from = self.branches[0].participant.clone();
                        cx.note(&self.tx, Note::LeftOut { from, step: None, refusal });
                        Bytes::new()
                    }
                };
                self.record_vote(0, BranchVote::Committed, result);
                self.branches[0].outcome = Some(BranchOutcome::Committed);
                self.decide(Outcome::Committed, cx);
                // The branch keeps the outcome on stable storage until the low-water mark passes, so the answer need
                // not wait.
                self.answer_all(&Answer::committed(self.results()), cx);
                self.end(Outcome::Committed, true, cx);
            }
            Vote::ReadOnly { result } => {
                if let Err(NoRoom::TooLarge(refusal)) = cx.room.keep(0, result.len()) {
                    return self.abort_for_too_much(0, refusal, cx);
                }
                self.record_vote(0, BranchVote::Confirmed, result);
                self.decide(Outcome::Committed, cx);
                self.end(Outcome::Committed, false, cx);
            }
            Vote::Refused(refusal) => {
                self.branches[0].vote = BranchVote::Refused;
                let by = self.branches[0].participant.clone();
                self.abort(AbortReason::Refused { by, refusal }, cx);
            }
            // Not what was asked for; settling will tell.
            Vote::Prepared { .. } => {}
        }
    }

    fn handle_settled(&mut self, outcome: BranchOutcome, cx: &mut Context<'_>) {
        let by = self.branches[0].participant.clone();
        let decision = match outcome {
            BranchOutcome::Committed | BranchOutcome::HeuristicallyCommitted => {
                self.record_vote(0, BranchVote::Committed, Bytes::new());
                Outcome::Committed
            }
            BranchOutcome::Aborted | BranchOutcome::HeuristicallyAborted => {
                Outcome::Aborted(AbortReason::NotExecuted { by })
            }
            BranchOutcome::Unknown => Outcome::Aborted(AbortReason::GivenUp { on: by }),
        };
        self.branches[0].outcome = Some(outcome);
        self.decide(decision.clone(), cx);
        self.end(decision, false, cx);
    }

    fn decide(&self, outcome: Outcome, cx: &mut Context<'_>) {
        cx.note(&self.tx, Note::Decided { outcome });
    }

    fn send_settle(&self, cx: &mut Context<'_>) {
        self.send(0, ToParticipant::Settle { tx: self.tx.clone(), attempt_number: self.attempt_number }, cx);
    }
}
