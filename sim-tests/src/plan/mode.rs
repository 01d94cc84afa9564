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
}

impl Mode {
    /// The first letter of a transaction's id says it.
    pub fn of(tx: &str) -> Mode {
        match tx.as_bytes().first() {
            Some(b's') => Mode::Saga,
            Some(b'g') => Mode::GuardedSaga,
            Some(b'a') => Mode::Auto,
            Some(_) | None => Mode::TwoPhase,
        }
    }

    pub fn letter(self) -> char {
        match self {
            Mode::TwoPhase => 't',
            Mode::Saga => 's',
            Mode::GuardedSaga => 'g',
            Mode::Auto => 'a',
        }
    }
}
