//! The first phase: collecting votes, until the decision is on its way to stable storage.

use super::{BranchVote, Context, Event, OpenKind, State, Transaction};
use crate::effect::{Answer, Note, Timer};
use crate::record::Stage;
use undoubt_vocabulary::{Ability, AbortReason, Outcome, ParticipantName, Refusal, RefusalCode, ToParticipant, Vote};

impl Transaction {
    pub(super) fn handle_while_preparing(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Voted { branch, vote } => self.take_vote(branch, vote, cx),
            Event::Connected { branch } if self.branches[branch].vote == BranchVote::Awaited => {
                self.prepare_if_able(branch, cx);
            }
            Event::DeadlinePassed => self.abort(AbortReason::DeadlinePassed { unanswered: self.unanswered() }, cx),
            Event::Cancelled => self.abort(AbortReason::Cancelled, cx),
            Event::Inquired { branch } => self.send_undecided(branch, cx),
            Event::Connected { .. }
            | Event::Confirmed { .. }
            | Event::Finished { .. }
            | Event::RetryDue { .. }
            | Event::Logged { .. }
            | Event::Forgotten
            | Event::Resumed => {}
        }
    }

    /// Sends the prepare, if the participant can. It was not connected when the way was chosen, so nobody knew whether
    /// it can.
    fn prepare_if_able(&mut self, branch: usize, cx: &mut Context<'_>) {
        let by = self.branches[branch].participant.clone();
        if cx.peers.lacks(&by, Ability::TwoPhase) {
            let refusal = match self.fallback {
                Some(_) => Refusal::new(RefusalCode::Unavailable, "it cannot prepare"),
                None => refuse_for_want_of(Ability::TwoPhase),
            };
            return self.abort(AbortReason::Refused { by, refusal }, cx);
        }
        self.send_prepare(branch, cx);
    }

    fn take_vote(&mut self, branch: usize, vote: Vote, cx: &mut Context<'_>) {
        if self.branches[branch].vote != BranchVote::Awaited {
            return;
        }
        match vote {
            Vote::Prepared { result } => self.keep_vote(branch, BranchVote::Prepared, result, cx),
            Vote::ReadOnly { result } => self.keep_vote(branch, BranchVote::ReadOnly, result, cx),
            // Only one-phase work may commit by itself. Whoever does it unasked has broken the protocol, and whatever
            // is decided now must take the others with it or report the damage: the deadline will decide.
            Vote::Committed { .. } => return,
            Vote::Refused(refusal) => {
                self.branches[branch].vote = BranchVote::Refused;
                let by = self.branches[branch].participant.clone();
                return self.abort(AbortReason::Refused { by, refusal }, cx);
            }
        }
        // Aborted, it still awaits the vote that was too much.
        if self.branches.iter().all(|branch| branch.vote != BranchVote::Awaited) {
            self.every_vote_is_in(cx);
        }
    }

    /// Aborts for what is too much to keep.
    fn keep_vote(&mut self, branch: usize, vote: BranchVote, result: bytes::Bytes, cx: &mut Context<'_>) {
        match cx.room.keep(self.gathered(), result.len()) {
            Ok(()) => self.record_vote(branch, vote, result),
            Err(no_room) => self.abort_for_too_much(branch, no_room.refusal(), cx),
        }
    }

    pub(super) fn abort_for_too_much(&mut self, branch: usize, refusal: Refusal, cx: &mut Context<'_>) {
        let at = self.branches[branch].participant.clone();
        self.abort(AbortReason::TooMuch { at, refusal }, cx);
    }

    pub(super) fn record_vote(&mut self, branch: usize, vote: BranchVote, result: bytes::Bytes) {
        self.branches[branch].vote = vote;
        self.branches[branch].result = result;
        // Whoever has voted is not asked again.
        self.branches[branch].work = bytes::Bytes::new();
    }

    fn every_vote_is_in(&mut self, cx: &mut Context<'_>) {
        if self.branches.iter().any(|branch| branch.vote == BranchVote::ReadOnly) {
            self.state = State::Confirming;
            (0..self.branches.len()).for_each(|branch| self.ask_to_confirm(branch, cx));
        } else {
            self.decide_commit(cx);
        }
    }

    fn ask_to_confirm(&self, branch: usize, cx: &mut Context<'_>) {
        if self.branches[branch].vote == BranchVote::ReadOnly {
            self.send(branch, ToParticipant::Confirm { tx: self.tx.clone(), attempt_number: self.attempt_number }, cx);
        }
    }

    fn decide_commit(&mut self, cx: &mut Context<'_>) {
        cx.note(&self.tx, Note::Decided { outcome: Outcome::Committed });
        if self.branches.iter().all(|branch| branch.vote == BranchVote::Confirmed) {
            // Everybody only read and has left: there is nobody to tell.
            self.end(Outcome::Committed, false, cx);
        } else {
            self.state = State::LoggingCommit;
            self.append_open(OpenKind::Committed, cx);
        }
    }

    pub(super) fn unanswered(&self) -> Vec<ParticipantName> {
        let silent = |vote: BranchVote| match (vote, &self.state) {
            (BranchVote::Awaited, _) | (BranchVote::ReadOnly, State::Confirming) => true,
            (
                BranchVote::Prepared
                | BranchVote::ReadOnly
                | BranchVote::Confirmed
                | BranchVote::Committed
                | BranchVote::Refused,
                _,
            ) => false,
        };
        self.branches.iter().filter(|branch| silent(branch.vote)).map(|branch| branch.participant.clone()).collect()
    }

    pub(super) fn handle_while_confirming(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Confirmed { branch, held: true } if self.branches[branch].vote == BranchVote::ReadOnly => {
                self.branches[branch].vote = BranchVote::Confirmed;
                if self.branches.iter().all(|branch| branch.vote != BranchVote::ReadOnly) {
                    self.decide_commit(cx);
                }
            }
            // Only a branch that restarted since its vote says so: one that has left since says again that it held them.
            Event::Confirmed { branch, held: false } if self.branches[branch].vote == BranchVote::ReadOnly => {
                self.branches[branch].vote = BranchVote::Refused;
                let by = self.branches[branch].participant.clone();
                self.abort(AbortReason::ReadLocksLost { by }, cx);
            }
            Event::Connected { branch } => self.ask_to_confirm(branch, cx),
            Event::DeadlinePassed => self.abort(AbortReason::DeadlinePassed { unanswered: self.unanswered() }, cx),
            Event::Cancelled => self.abort(AbortReason::Cancelled, cx),
            Event::Inquired { branch } => self.send_undecided(branch, cx),
            Event::Confirmed { .. }
            | Event::Voted { .. }
            | Event::Finished { .. }
            | Event::RetryDue { .. }
            | Event::Logged { .. }
            | Event::Forgotten
            | Event::Resumed => {}
        }
    }

    pub(super) fn handle_while_logging_commit(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Logged { stage: Stage::Committed } => {
                self.state = State::Committing { attempt: 0 };
                self.answer_all(&Answer::committed(self.results()), cx);
                self.branches.iter_mut().for_each(|branch| branch.work = bytes::Bytes::new());
                for branch in 0..self.branches.len() {
                    if self.branches[branch].vote == BranchVote::Confirmed {
                        cx.peers.low_water_marks.close(&self.branches[branch].participant, self.attempt_number);
                    }
                }
                self.send_commits(cx);
                self.arm(Timer::Retry { attempt: 0 }, cx);
            }
            // Nobody may hear of the decision before it is stable (R1).
            Event::Inquired { branch } => self.send_undecided(branch, cx),
            Event::Logged { .. }
            | Event::Voted { .. }
            | Event::Confirmed { .. }
            | Event::Finished { .. }
            | Event::Connected { .. }
            | Event::DeadlinePassed
            | Event::RetryDue { .. }
            | Event::Cancelled
            | Event::Forgotten
            | Event::Resumed => {}
        }
    }
}

/// Returns the refusal of work whose participant turned out to lack this after the work was accepted.
pub(super) fn refuse_for_want_of(ability: Ability) -> Refusal {
    let detail =
        format!("this participant lacks the ability {ability}; update it, or leave it out of such transactions");
    Refusal::new(RefusalCode::InvalidWork, detail)
}
