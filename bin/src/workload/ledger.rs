//! The ledger of what a run did and was told: the one side of an audit; the other is what the participants hold.

use crate::workload::bank::Bank;
use crate::workload::step::{Account, Step};
use std::collections::BTreeMap;
use undoubt_client::{Submission, SubmitError};
use undoubt_vocabulary::Outcome;

/// An outcome as it was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The transaction has no definite answer yet.
    Unknown,
    Committed,
    /// The transaction aborted, with the reason's label.
    Aborted(&'static str),
}

impl From<&Outcome> for Reply {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Committed => Reply::Committed,
            Outcome::Aborted(reason) => Reply::Aborted(reason.label()),
        }
    }
}

/// Returns what an error leaves open: `Ok` where the same may be submitted again, `Err` where something is wrong with
/// the load or the coordinator.
pub fn unanswered(error: SubmitError) -> anyhow::Result<()> {
    match error {
        SubmitError::NotAccepted { .. }
        | SubmitError::OutcomeUnknown { .. }
        | SubmitError::Stuck { .. }
        | SubmitError::NotPossible { .. }
        | SubmitError::Unexpected { .. } => Ok(()),
        error @ (SubmitError::Invalid(_)
        | SubmitError::Refused { .. }
        | SubmitError::UnknownParticipant { .. }
        | SubmitError::IdReused { .. }
        | SubmitError::NotOffered { .. }
        | SubmitError::Malformed { .. }
        | _) => Err(error.into()),
    }
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub step: Step,
    pub told: Reply,
}

/// The transactions of a run, by their numbers. The transaction itself can be built again from it.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub bank: Bank,
    pub opened: BTreeMap<Account, i64>,
    pub entries: Vec<Entry>,
}

impl Ledger {
    pub fn submission(&self, number: usize) -> Submission {
        self.bank.submission(number as u64, &self.entries[number].step)
    }

    /// The numbers of all transactions without a definite answer.
    pub fn unknown(&self) -> Vec<usize> {
        let numbered = self.entries.iter().enumerate();
        numbered.filter(|(_, entry)| entry.told == Reply::Unknown).map(|(number, _)| number).collect()
    }

    /// Returns what every account holds if exactly that happened which was acknowledged.
    pub fn expected(&self) -> BTreeMap<Account, i64> {
        let mut balances = self.opened.clone();
        for entry in self.entries.iter().filter(|entry| entry.told == Reply::Committed) {
            for (account, delta) in entry.step.deltas() {
                let balance = balances.entry(account).or_default();
                *balance = balance.saturating_add(delta);
            }
        }
        balances
    }
}
