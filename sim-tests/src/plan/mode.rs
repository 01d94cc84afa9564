//! The modes of transactions.

use serde::{Deserialize, Serialize};

/// The mode in which a transaction is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    TwoPhase,
    Saga,
    /// A saga with counter-measures against missing isolation: semantic locks that all respect.
    GuardedSaga,
    /// The coordinator chooses.
    Auto,
    /// A saga that is begun without steps: the client has each join, looks at the answer, and closes or cancels. What cannot be undone
    /// is a completion.
    OpenSaga,
    /// Two-phase commit of branches that join one by one, once the client closes it.
    OpenTwoPhase,
}

impl Mode {
    /// The first letter of a transaction's id says it.
    pub fn of(tx: &str) -> Mode {
        match tx.as_bytes().first() {
            Some(b's') => Mode::Saga,
            Some(b'g') => Mode::GuardedSaga,
            Some(b'a') => Mode::Auto,
            Some(b'o') => Mode::OpenSaga,
            Some(b'j') => Mode::OpenTwoPhase,
            Some(_) | None => Mode::TwoPhase,
        }
    }

    pub fn letter(self) -> char {
        match self {
            Mode::TwoPhase => 't',
            Mode::Saga => 's',
            Mode::GuardedSaga => 'g',
            Mode::Auto => 'a',
            Mode::OpenSaga => 'o',
            Mode::OpenTwoPhase => 'j',
        }
    }

    /// Returns the saga that one with this id is nested in: ids of nested sagas go on where their parents' end.
    pub fn parent_of(tx: &str) -> Option<&str> {
        tx.rsplit_once('.').map(|(parent, _)| parent)
    }

    /// Returns true if the steps of a nested saga with this id have completions: its last letter says it.
    pub fn has_completions(tx: &str) -> bool {
        Mode::parent_of(tx).is_some() && !tx.ends_with(Mode::WITHOUT_COMPLETIONS)
    }

    pub(crate) const WITHOUT_COMPLETIONS: char = 'w';

    /// Returns true if it is two-phase commit and nothing else.
    pub(crate) fn is_two_phase(self) -> bool {
        match self {
            Mode::TwoPhase | Mode::OpenTwoPhase => true,
            Mode::Saga | Mode::GuardedSaga | Mode::Auto | Mode::OpenSaga => false,
        }
    }
}
