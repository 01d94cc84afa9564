//! The second phase: telling the decision until everybody has acknowledged it, and recording the end.

use super::{Branch, BranchVote, Context, Event, State, Transaction};
use crate::effect::{Answer, Effect, Note, Timer};
use crate::record::Stage;
use undoubt_vocabulary::{AbortReason, BranchOutcome, Outcome, ToParticipant, Vote};

impl Branch {
    fn has_to_acknowledge(&self) -> bool {
        self.vote == BranchVote::Prepared && self.outcome.is_none()
    }
}

impl Transaction {
    pub(super) fn send_commits(&self, cx: &mut Context<'_>) {
        (0..self.branches.len()).for_each(|branch| self.send_commit(branch, cx));
    }

    fn send_commit(&self, branch: usize, cx: &mut Context<'_>) {
        if self.branches[branch].has_to_acknowledge() {
            self.send(branch, ToParticipant::Commit { tx: self.tx.clone(), attempt_number: self.attempt_number }, cx);
        }
    }

    pub(super) fn handle_while_committing(&mut self, attempt: u32, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Finished { branch, outcome } => self.handle_acknowledgement(branch, outcome, cx),
            Event::Connected { branch } => self.send_commit(branch, cx),
            Event::Inquired { branch } | Event::Voted { branch, vote: Vote::Prepared { .. } } => {
                self.answer_inquiry_with_commit(branch, cx);
            }
            Event::RetryDue { attempt: due } if due == attempt => self.retry(attempt, cx),
            Event::Resumed => self.send_commits(cx),
            Event::Forgotten => {
                for branch in self.branches.iter_mut().filter(|branch| branch.has_to_acknowledge()) {
                    branch.outcome = Some(BranchOutcome::Unknown);
                }
                self.end_if_acknowledged(cx);
            }
            Event::Voted { .. }
            | Event::Confirmed { .. }
            | Event::DeadlinePassed
            | Event::RetryDue { .. }
            | Event::Logged { .. }
            | Event::Cancelled => {}
        }
    }

    /// Answers a branch in doubt that asks although it had acknowledged: an operator's declaration was wrong, and it is
    /// still there.
    fn answer_inquiry_with_commit(&self, branch: usize, cx: &mut Context<'_>) {
        self.send(branch, ToParticipant::Commit { tx: self.tx.clone(), attempt_number: self.attempt_number }, cx);
    }

    fn handle_acknowledgement(&mut self, branch: usize, outcome: BranchOutcome, cx: &mut Context<'_>) {
        if !self.branches[branch].has_to_acknowledge() {
            return;
        }
        self.branches[branch].outcome = Some(outcome);
        // A participant acknowledges whatever its low-water mark has passed. So until it is on record that this branch ended another way,
        // or that nobody knows, its participant has to be able to say so once more.
        if outcome == BranchOutcome::Committed {
            cx.peers.low_water_marks.close(&self.branches[branch].participant, self.attempt_number);
        }
        self.end_if_acknowledged(cx);
    }

    fn end_if_acknowledged(&mut self, cx: &mut Context<'_>) {
        if !self.branches.iter().any(Branch::has_to_acknowledge) {
            self.end(Outcome::Committed, true, cx);
        }
    }

    /// Sends again what is not acknowledged, without end: after the decision there is no giving up (R6).
    fn retry(&mut self, attempt: u32, cx: &mut Context<'_>) {
        let next = attempt.saturating_add(1);
        cx.note(&self.tx, Note::Retried { attempt: next });
        self.state = State::Committing { attempt: next };
        self.send_commits(cx);
        self.arm(Timer::Retry { attempt: next }, cx);
    }

    pub(super) fn handle_while_logging_end(
        &mut self,
        outcome: Outcome,
        answered: bool,
        event: Event,
        cx: &mut Context<'_>,
    ) {
        match event {
            Event::Logged { stage: Stage::Ended } => {
                if !self.waiters.is_empty() {
                    let answer = match &outcome {
                        Outcome::Committed => Answer::committed(self.results()),
                        Outcome::Aborted(reason) => Answer::aborted(reason.clone()),
                    };
                    self.answer_all(&answer, cx);
                }
                self.retire(cx);
            }
            // It missed the abort, or its vote was under way: say it again. A prepared branch of a committed
            // transaction is still there only if an operator declared it lost.
            Event::Inquired { branch }
            | Event::Voted { branch, vote: Vote::Prepared { .. } | Vote::ReadOnly { .. } } => match outcome {
                Outcome::Committed if answered && self.branches[branch].vote != BranchVote::Committed => {
                    self.answer_inquiry_with_commit(branch, cx);
                }
                // Everybody only read, or the single branch has committed by itself, and a new start of its participant asks at whose
                // word: nobody may hear of the commit before this record is stable (R1).
                Outcome::Committed => self.send_undecided(branch, cx),
                // It may have committed by itself, so no abort is certain.
                Outcome::Aborted(AbortReason::GivenUp { .. }) => self.send_undecided(branch, cx),
                Outcome::Aborted(_) => self.send_abort(branch, cx),
            },
            // A heuristic outcome that is reported meanwhile is reported again, and finds the stored record then.
            Event::Voted { .. }
            | Event::Finished { .. }
            | Event::Confirmed { .. }
            | Event::Connected { .. }
            | Event::DeadlinePassed
            | Event::RetryDue { .. }
            | Event::Logged { .. }
            | Event::Cancelled
            | Event::Forgotten
            | Event::Resumed => {}
        }
    }

    fn retire(&mut self, cx: &mut Context<'_>) {
        for branch in &self.branches {
            cx.peers.low_water_marks.close(&branch.participant, self.attempt_number);
        }
        for (index, branch) in self.branches.iter().enumerate() {
            match branch.outcome {
                Some(BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted) => {
                    self.send(
                        index,
                        ToParticipant::Noted { tx: self.tx.clone(), attempt_number: self.attempt_number },
                        cx,
                    );
                }
                Some(BranchOutcome::Committed | BranchOutcome::Aborted | BranchOutcome::Unknown) | None => {}
            }
        }
        cx.peers.breakers.over(self.attempt_number, cx.now);
        self.state = State::Ended;
        cx.effects.push(Effect::Retired { tx: self.tx.clone() });
    }
}
