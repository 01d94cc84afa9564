//! Lines of the log about transactions that somebody has to look after: what is the matter, and what to do.

use undoubt_coordinator_core::{Note, Record};
use undoubt_vocabulary::TxId;

/// Logs a transaction that ends damaged.
pub(super) fn ended(record: &Record) {
    let Record::Ended(ended) = record else { return };
    if ended.is_damaged() {
        let branches = ended.branches.iter().map(|branch| format!("{} {}", branch.name(), branch.outcome));
        tracing::warn!(
            tx = %ended.tx, outcome = %ended.outcome, branches = %branches.collect::<Vec<_>>().join(", "),
            "damaged: some branch ended otherwise than was decided, or nobody knows how; see `undoubt history`, put the \
             data right, then `undoubt forget`"
        );
    }
}

/// Logs a step that goes on only with an operator, or not for the time being.
pub(super) fn noted(tx: &TxId, note: &Note) {
    match note {
        Note::Stuck(stuck) => tracing::warn!(
            %tx, step = %stuck.step, participant = %stuck.participant,
            "stuck: {stuck}; see to its cause, then `undoubt resolve-step` with retry, or with skip or done"
        ),
        Note::HeldUp { .. } => tracing::warn!(
            %tx, participant = note.participant().map(tracing::field::display),
            "held up: {note}; it is tried on for ever, and `undoubt resolve-step` with skip or done ends it"
        ),
        Note::Unusable { cause } => tracing::error!(
            %tx, %cause,
            "unusable: the record of this transaction cannot be carried out, so it is held, and all others go on; see to its \
             branches, then `undoubt forget`"
        ),
        Note::Begun { .. }
        | Note::SagaBegun { .. }
        | Note::Opened
        | Note::Nested { .. }
        | Note::Kept
        | Note::Joined { .. }
        | Note::CloseAsked
        | Note::Chosen { .. }
        | Note::Recovered { .. }
        | Note::Sent { .. }
        | Note::Voted { .. }
        | Note::Confirmed { .. }
        | Note::Decided { .. }
        | Note::Logged { .. }
        | Note::Finished { .. }
        | Note::Inquired { .. }
        | Note::Earlier { .. }
        | Note::DeadlinePassed
        | Note::Retried { .. }
        | Note::Forgotten
        | Note::Run { .. }
        | Note::Ran { .. }
        | Note::Unanswered { .. }
        | Note::Compensating { .. }
        | Note::Resolved { .. }
        | Note::LeftOut { .. }
        | Note::Closed { .. } => {}
    }
}
