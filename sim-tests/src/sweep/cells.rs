//! The table of faults and protocol states: which fault met what.
//!
//! A fault meets the states of all transactions at a coordinator, and of all branches at a participant, that it concerns.
//! Some cells cannot be: [`IMPOSSIBLE`] says why. All others should be hit sooner or later, and those that never were are
//! where nothing is known.

use crate::plan::{BRANCHES, Code, IDLE, PHASES};
use serde::Serialize;
use std::collections::BTreeMap;

/// The table's columns.
pub fn states() -> impl Iterator<Item = &'static str> {
    [IDLE].into_iter().chain(PHASES).chain(BRANCHES.into_iter().filter(|state| !PHASES.contains(state)))
}

/// The table's lines: what the simulation tells apart.
pub const CODES: [Code; 54] = [
    Code::S1,
    Code::S2,
    Code::S3,
    Code::S4,
    Code::S5,
    Code::S6,
    Code::S7,
    Code::S8,
    Code::S9,
    Code::S10,
    Code::S11,
    Code::S12,
    Code::S13,
    Code::S14,
    Code::S15,
    Code::S16,
    Code::D1,
    Code::D2,
    Code::D3,
    Code::H1,
    Code::H2,
    Code::H3,
    Code::E1,
    Code::E4,
    Code::E5,
    Code::E8,
    Code::E10,
    Code::P1,
    Code::P2,
    Code::P3,
    Code::P4,
    Code::P5,
    Code::P6,
    Code::P7,
    Code::P8,
    Code::P9,
    Code::P10,
    Code::N1,
    Code::N2,
    Code::N3,
    Code::N4,
    Code::N5,
    Code::N6,
    Code::N7,
    Code::N8,
    Code::C1,
    Code::O1,
    Code::O3,
    Code::O4,
    Code::O5,
    Code::O6,
    Code::G1,
    Code::G3,
    Code::G4,
];

/// Lines of the catalogue that have no line here, and why.
pub const LEFT_OUT: [(Code, &str); 4] = [
    (Code::G2, "others read and write mid-saga in every run with sagas; what they see is counted by the comparison"),
    (Code::E12, "a clock that jumps counts as C1, whatever time limit it ends"),
    (Code::E13, "a disk that is put back counts as S11, whether or not anybody has read more of its events"),
    (Code::O2, "whether an operator decided wrongly shows only once the coordinator has decided: counted as O1"),
];

/// The states of transactions that branches do not have.
const OF_TRANSACTIONS_ALONE: [&str; 11] = [
    "preparing",
    "confirming",
    "logging-commit",
    "logging-delegation",
    "delegated",
    "settling",
    "logging-end",
    "logging-beginning",
    "logging-compensation",
    "stuck",
    "closing",
];

/// Cells that cannot be.
#[derive(Clone, Copy, Debug)]
pub struct Impossible {
    pub codes: &'static [Code],
    pub states: &'static [&'static str],
    pub why: &'static str,
}

pub const IMPOSSIBLE: [Impossible; 5] = [
    Impossible {
        codes: &[
            Code::S10,
            Code::P1,
            Code::P2,
            Code::P3,
            Code::P4,
            Code::P5,
            Code::P6,
            Code::P8,
            Code::N6,
            Code::O3,
            Code::O4,
            Code::O5,
        ],
        states: &["executing", "prepared", "read-only", "aborting", "resolving"],
        why: "it happens at a coordinator, which has transactions and no branches",
    },
    Impossible {
        codes: &[
            Code::P7,
            Code::S9,
            Code::S13,
            Code::S14,
            Code::S15,
            Code::S16,
            Code::D1,
            Code::D2,
            Code::D3,
            Code::H1,
            Code::H2,
            Code::H3,
            Code::E1,
            Code::E4,
            Code::E5,
            Code::E8,
            Code::E10,
            Code::O1,
            Code::O6,
            Code::G1,
            Code::G3,
            Code::G4,
        ],
        states: &OF_TRANSACTIONS_ALONE,
        why: "it happens at a participant, which has branches and no transactions",
    },
    Impossible {
        codes: &[Code::P10],
        states: &["executing", "read-only", "aborting", "resolving", "committing", "acting", "compensating"],
        why: "only what is prepared outlives the crash before it, and recovery has only begun",
    },
    Impossible {
        codes: &[Code::P10],
        states: &OF_TRANSACTIONS_ALONE,
        why: "recovery has only begun: no transaction is in memory yet",
    },
    Impossible {
        codes: &[Code::P2, Code::P3],
        states: &["idle"],
        why: "a transaction is deciding (what has ended may still be told, and noted, to have committed)",
    },
];

/// Returns the reason why this cell cannot be, if it cannot.
pub fn why_impossible(code: Code, state: &str) -> Option<&'static str> {
    let one = IMPOSSIBLE.iter().find(|one| one.codes.contains(&code) && one.states.contains(&state));
    one.map(|one| one.why)
}

/// A fault meets a state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cell {
    pub fault: Code,
    pub state: String,
}

/// The counts of how often each cell was hit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Table(BTreeMap<Code, BTreeMap<String, u64>>);

impl Table {
    pub(super) fn hit(&mut self, code: Code, state: &str) {
        *self.0.entry(code).or_default().entry(state.to_owned()).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Table) {
        for (code, states) in &other.0 {
            for (state, hits) in states {
                *self.0.entry(*code).or_default().entry(state.clone()).or_default() += hits;
            }
        }
    }

    pub fn hits(&self, code: Code, state: &str) -> u64 {
        self.0.get(&code).and_then(|states| states.get(state)).copied().unwrap_or_default()
    }

    /// Cells that can be.
    pub fn possible() -> usize {
        all().filter(|(code, state)| why_impossible(*code, state).is_none()).count()
    }

    pub(super) fn never_hit(&self) -> Vec<Cell> {
        let missing =
            all().filter(|(code, state)| why_impossible(*code, state).is_none() && self.hits(*code, state) == 0);
        missing.map(|(fault, state)| Cell { fault, state: state.to_owned() }).collect()
    }

    /// Returns the cells that were hit against reason, also those that have no line or column.
    pub(super) fn hit_against_reason(&self) -> Vec<Cell> {
        let hit = self.0.iter().flat_map(|(code, states)| states.keys().map(|state| (*code, state)));
        let wrong = hit.filter(|(code, state)| {
            let known = CODES.contains(code) && states().any(|known| known == state.as_str());
            !known || why_impossible(*code, state).is_some()
        });
        wrong.map(|(fault, state)| Cell { fault, state: state.clone() }).collect()
    }
}

fn all() -> impl Iterator<Item = (Code, &'static str)> {
    CODES.into_iter().flat_map(|code| states().map(move |state| (code, state)))
}

#[cfg(test)]
mod tests;
