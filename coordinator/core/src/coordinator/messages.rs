//! Messages from participants.

use super::{Coordinator, advance};
use crate::context::Context;
use crate::effect::{Answer, Effect, Note, Rejection};
use crate::input::{Beginning, Request, Submission};
use crate::open_transaction::{Open, OpenInput};
use crate::record::EndedRecord;
use undoubt_vocabulary::{
    AbortReason, AttemptNumber, BranchOutcome, Outcome, ParticipantName, Timestamp, ToCoordinator, ToParticipant, Vote,
};

impl Coordinator {
    /// Handles a message, maybe about a transaction that is not open here.
    pub(super) fn handle_message(
        &mut self,
        now: Timestamp,
        from: ParticipantName,
        message: ToCoordinator,
        effects: &mut Vec<Effect>,
    ) {
        let (tx, attempt_number) = (message.tx().clone(), message.attempt_number());
        let Some(open) = self.transactions.get_mut(&tx) else {
            return effects.push(Effect::LookUp(Request::Message { from, message }));
        };
        if let Open::Unusable(unusable) = open {
            // Nothing is presumed, and no name of a participant is missed.
            let mut cx = Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin };
            return unusable.handle_message(from, &message, &mut cx);
        }
        if attempt_number == AttemptNumber::NONE {
            // The close may yet ask for what an application has prepared.
            if let ToCoordinator::Inquiry { .. } = message {
                effects.push(Effect::Send { to: from, message: ToParticipant::Undecided { tx, attempt_number } });
            }
            return;
        }
        // An earlier attempt under this id cannot have committed, else this one would not have begun (R10).
        if !open.involves(&from) || open.is_collecting() || attempt_number < open.attempt_number_at(&from) {
            return presume_abort(from, message, self.has_forgotten_none_like(attempt_number), effects);
        }
        if attempt_number == open.attempt_number_at(&from) {
            let mut cx = Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin };
            if advance(open, OpenInput::Message { from, message }, &mut self.next_attempt_number, &mut cx) {
                self.transactions.remove(&tx);
            }
        }
    }

    /// Handles a message about a transaction that is not open here: it committed, or it aborted, or it never was (R4).
    pub(super) fn handle_message_about_ended(
        &mut self,
        now: Timestamp,
        from: ParticipantName,
        message: ToCoordinator,
        ended: Option<EndedRecord>,
        effects: &mut Vec<Effect>,
    ) {
        let (tx, attempt_number) = (message.tx().clone(), message.attempt_number());
        if let ToCoordinator::Finished {
            outcome: outcome @ (BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted),
            ..
        } = message
        {
            return self.keep_heuristic(now, from, tx, attempt_number, outcome, ended, effects);
        }
        let Some(ended) = ended.filter(|ended| ended.attempt_number == attempt_number) else {
            return presume_abort(from, message, self.has_forgotten_none_like(attempt_number), effects);
        };
        match message {
            ToCoordinator::Inquiry { .. } => {
                effects.push(Effect::Note { tx: tx.clone(), note: Note::Inquired { from: from.clone() } })
            }
            ToCoordinator::Vote { vote: Vote::Prepared { .. } | Vote::ReadOnly { .. }, .. } => {}
            ToCoordinator::Vote { vote: Vote::Committed { .. } | Vote::Refused(_), .. }
            | ToCoordinator::Confirmed { .. }
            | ToCoordinator::Finished { .. }
            | ToCoordinator::Ran { .. }
            | ToCoordinator::Closed { .. } => return,
        }
        let message = match ended.outcome {
            Outcome::Committed => ToParticipant::Commit { tx, attempt_number },
            Outcome::Aborted(reason) => {
                let certain = match reason {
                    AbortReason::Presumed => self.has_forgotten_none_like(attempt_number),
                    // The branch may have committed by itself.
                    AbortReason::GivenUp { .. } => false,
                    AbortReason::Refused { .. }
                    | AbortReason::DeadlinePassed { .. }
                    | AbortReason::Unanswered { .. }
                    | AbortReason::ReadLocksLost { .. }
                    | AbortReason::NotExecuted { .. }
                    | AbortReason::Cancelled
                    | AbortReason::TooMuch { .. }
                    | AbortReason::Unusable { .. } => true,
                };
                ToParticipant::Abort { tx, attempt_number, certain }
            }
        };
        effects.push(Effect::Send { to: from, message });
    }

    /// Returns true if the log would still have a commit of this attempt: it has kept the records of all that are as late.
    fn has_forgotten_none_like(&self, attempt_number: AttemptNumber) -> bool {
        // What no attempt has asked for was never voted for.
        attempt_number == AttemptNumber::NONE || self.forgotten.is_none_or(|latest| attempt_number > latest)
    }
}

/// Answers a message about an attempt of which nothing is left here: it was aborted; or, unless that is `certain`, it committed,
/// and everybody has acknowledged that. Whoever waits for an abort is told, and so is the history.
fn presume_abort(from: ParticipantName, message: ToCoordinator, certain: bool, effects: &mut Vec<Effect>) {
    let (tx, attempt_number) = (message.tx().clone(), message.attempt_number());
    match message {
        ToCoordinator::Inquiry { .. }
        | ToCoordinator::Vote { vote: Vote::Prepared { .. } | Vote::ReadOnly { .. }, .. } => {
            let note = Note::Earlier { from: from.clone(), attempt_number, message: message.name() };
            effects.push(Effect::Note { tx: tx.clone(), note });
            effects.push(Effect::Send { to: from, message: ToParticipant::Abort { tx, attempt_number, certain } });
        }
        ToCoordinator::Vote { vote: Vote::Committed { .. } | Vote::Refused(_), .. }
        | ToCoordinator::Confirmed { .. }
        | ToCoordinator::Finished { .. }
        | ToCoordinator::Ran { .. }
        | ToCoordinator::Closed { .. } => {}
    }
}

/// Answers "not yet": only a coordinator that has read its whole log may say more (R4).
pub(super) fn refuse_while_recovering(request: Request, effects: &mut Vec<Effect>) {
    let reject = |client, tx| Effect::Answer { client, tx, answer: Answer::Rejected(Rejection::Recovering) };
    match request {
        Request::Submit(Submission { client, tx, .. })
        | Request::Begin(Beginning { client, tx, .. })
        | Request::Close { tx, client, .. }
        | Request::Await { tx, client }
        | Request::Cancel { tx, client }
        | Request::Forget { tx, client }
        | Request::ResolveStep { tx, client, .. } => effects.push(reject(client, tx)),
        Request::Join(joining) => effects.push(reject(joining.client, joining.tx)),
        Request::Message { from, message: ToCoordinator::Inquiry { tx, attempt_number } } => {
            effects.push(Effect::Send { to: from, message: ToParticipant::Undecided { tx, attempt_number } });
        }
        Request::Message {
            message:
                ToCoordinator::Vote { .. }
                | ToCoordinator::Confirmed { .. }
                | ToCoordinator::Finished { .. }
                | ToCoordinator::Ran { .. }
                | ToCoordinator::Closed { .. },
            ..
        } => {}
    }
}
