//! Steps of a saga, as an application builds them.

use bytes::Bytes;
use std::collections::BTreeSet;
use undoubt_vocabulary::{RetryPolicy, TxId};
use undoubt_work::Work;

/// One step: a local transaction at one participant, and what undoes it.
///
/// Steps run one after the other in the order they are given, unless [`after`](Step::after) says otherwise. What is wrong
/// with a step is said when its saga is submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub(crate) name: String,
    pub(crate) participant: String,
    pub(crate) action: Work,
    pub(crate) compensation: Option<Work>,
    pub(crate) after: Option<Vec<String>>,
    pub(crate) uses: Vec<String>,
    pub(crate) pivot: bool,
    pub(crate) retry: RetryPolicy,
}

impl Step {
    /// Returns a step that does this at a participant. Its name is unique within its saga: 1 to 64 characters of
    /// a-z A-Z 0-9 . _ -
    pub fn new(name: &str, participant: &str, action: impl Into<Work>) -> Self {
        Step {
            name: name.to_owned(),
            participant: participant.to_owned(),
            action: action.into(),
            compensation: None,
            after: None,
            uses: Vec::new(),
            pivot: false,
            retry: RetryPolicy::default(),
        }
    }

    /// Sets what undoes the action. Needed before the pivot.
    #[must_use]
    pub fn undo(self, compensation: impl Into<Work>) -> Self {
        Step { compensation: Some(compensation.into()), ..self }
    }

    /// Sets the steps that have to be done before this one begins; with none at all it begins at once.
    #[must_use]
    pub fn after(self, steps: &[&str]) -> Self {
        Step { after: Some(steps.iter().map(|&step| step.to_owned()).collect()), ..self }
    }

    /// Hands the results of these steps to the participant. Work that [refers](crate::Reference) to steps needs
    /// not say so.
    #[must_use]
    pub fn uses(mut self, steps: &[&str]) -> Self {
        self.uses.extend(steps.iter().map(|&step| step.to_owned()));
        self
    }

    /// Makes it the point of no return: once this is done the saga goes forward only.
    #[must_use]
    pub fn pivot(self) -> Self {
        Step { pivot: true, ..self }
    }

    /// Sets how often and how fast it is tried.
    #[must_use]
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Step { retry, ..self }
    }

    /// Returns its name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the participant's name, as it was given.
    pub fn participant(&self) -> &str {
        &self.participant
    }

    /// Returns what it does.
    pub fn action(&self) -> &Work {
        &self.action
    }

    /// Returns what undoes it.
    pub fn compensation(&self) -> Option<&Work> {
        self.compensation.as_ref()
    }

    /// Returns the steps that have to be done before it; `None`: the one before it.
    pub fn comes_after(&self) -> Option<&[String]> {
        self.after.as_deref()
    }

    /// Returns true if nothing undoes it, nor what comes after it.
    pub fn is_pivot(&self) -> bool {
        self.pivot
    }

    /// Returns how often and how fast it is tried.
    pub fn retry_policy(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Keeps what becomes of it in the participant's store. Returns whether its work can.
    pub(crate) fn keep_outcome(&mut self, key: &Bytes, tx: &TxId) -> bool {
        let Step { action, compensation, .. } = self;
        if !action.can_keep() || !compensation.iter().all(Work::can_keep) {
            return false;
        }
        match compensation {
            None => action.keep(key, word("committed", tx), None),
            Some(compensation) => {
                // Two-phase commit carries it out only if it commits.
                action.keep(key, word("acted", tx), Some(word("committed", tx)));
                compensation.keep(key, word("compensated", tx), None);
            }
        }
        true
    }

    /// What is used, each step once, in the order in which it is first named.
    pub(crate) fn all_used(&self) -> Vec<&str> {
        let works = [Some(&self.action), self.compensation.as_ref()].into_iter().flatten();
        let referred = works.flat_map(Work::referred_steps);
        let mut seen = BTreeSet::from([self.name.as_str()]);
        self.uses.iter().map(String::as_str).chain(referred).filter(|name| seen.insert(name)).collect()
    }
}

/// Returns what is kept of an outcome: a word, and whose it is.
pub(crate) fn word(outcome: &str, tx: &TxId) -> String {
    format!("{outcome} {tx}")
}
