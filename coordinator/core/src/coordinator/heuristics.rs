//! Heuristic outcomes that become known after the end (R3).

use super::Coordinator;
use crate::effect::{Answer, Effect, Note, Rejection};
use crate::input::{Request, Submission};
use crate::record::{EndedBranch, EndedRecord, Record};
use std::collections::VecDeque;
use undoubt_vocabulary::limits::MAX_WAITERS_PER_TRANSACTION;
use undoubt_vocabulary::{AttemptNumber, BranchOutcome, ParticipantName, Timestamp, ToParticipant, TxId};

/// Heuristic outcomes that are being added to the record of an ended transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Noting {
    /// The record as it was appended last. The next outcome is added to this one, not to what is stable, or it would
    /// undo the last.
    record: EndedRecord,
    /// The acknowledgements that are owed once a record is stable: one for each that was appended and is not stable
    /// yet, in order.
    acknowledgements: VecDeque<Option<(ParticipantName, AttemptNumber)>>,
    /// The submissions that came meanwhile under this id, of which nothing was stored before. A new attempt would end
    /// in a record of its own, in place of this one; so they wait for it, and are answered by it.
    pub(super) submissions: Vec<Submission>,
}

impl Coordinator {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn keep_heuristic(
        &mut self,
        now: Timestamp,
        from: ParticipantName,
        tx: TxId,
        attempt_number: AttemptNumber,
        outcome: BranchOutcome,
        ended: Option<EndedRecord>,
        effects: &mut Vec<Effect>,
    ) {
        let presumed = || EndedRecord::presumed(tx.clone(), attempt_number, now);
        let noting = self.noting.get(&tx).map(|noting| noting.record.clone());
        let is_it = |known: &EndedBranch| known.step.is_none() && known.participant == from && known.outcome == outcome;
        if noting.is_none() && ended.as_ref().is_some_and(|ended| ended.branches.iter().any(is_it)) {
            // It is on record, and stable: a participant that was restarted reports once more.
            return effects.push(Effect::Send { to: from, message: ToParticipant::Noted { tx, attempt_number } });
        }
        let ended = noting.or(ended);
        if ended.as_ref().is_some_and(|ended| ended.attempt_number != attempt_number)
            && outcome == BranchOutcome::HeuristicallyAborted
        {
            // An earlier attempt, which was aborted: the operator decided as the coordinator did.
            return effects.push(Effect::Send { to: from, message: ToParticipant::Noted { tx, attempt_number } });
        }
        let record = ended.unwrap_or_else(presumed).with_branch(from.clone(), outcome);
        effects.push(Effect::Note { tx: tx.clone(), note: Note::Finished { from: from.clone(), outcome } });
        effects.push(Effect::Append { record: Record::Ended(record.clone()), forced: true });
        let noting = self.noting.get_or_insert_with(tx, || Noting {
            record: record.clone(),
            acknowledgements: VecDeque::new(),
            submissions: Vec::new(),
        });
        noting.record = record;
        noting.acknowledgements.push_back(Some((from, attempt_number)));
    }

    /// Goes on when the oldest of the changed records is stable; or when one of them is not written, and then nothing
    /// is acknowledged: it may be any of them, and whatever is not acknowledged is reported again.
    pub(super) fn handle_noted(&mut self, tx: &TxId, is_stable: bool, effects: &mut Vec<Effect>) {
        let Some(noting) = self.noting.get_mut(tx) else { return };
        if !is_stable {
            noting.acknowledgements.iter_mut().for_each(|acknowledgement| *acknowledgement = None);
        }
        let acknowledged = noting.acknowledgements.pop_front().flatten();
        let waited = std::mem::take(&mut noting.submissions);
        if noting.acknowledgements.is_empty() {
            self.noting.remove(tx);
        }
        effects.extend(waited.into_iter().map(|submission| Effect::LookUp(Request::Submit(submission))));
        if let Some((to, attempt_number)) = acknowledged.filter(|(to, _)| self.peers.connected.contains(to)) {
            effects.push(Effect::Send { to, message: ToParticipant::Noted { tx: tx.clone(), attempt_number } });
        }
    }
}

impl Noting {
    pub(super) fn let_wait(&mut self, submission: Submission, effects: &mut Vec<Effect>) {
        if self.submissions.len() < MAX_WAITERS_PER_TRANSACTION {
            return self.submissions.push(submission);
        }
        let rejection = Rejection::TooManyWaiters { max_waiters: MAX_WAITERS_PER_TRANSACTION };
        let Submission { client, tx, .. } = submission;
        effects.push(Effect::Answer { client, tx, answer: Answer::Rejected(rejection) });
    }
}
