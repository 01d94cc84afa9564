//! Isolation: what committed transactions read and wrote fits some order of them, one after another.
//!
//! Each value of a register names its writer, and each write says which value it replaced, so the order of versions is
//! known and the dependencies between transactions (Adya's direct serialization graph) can be read off: a circle is a
//! history that no order explains. The registers as they were found in the end are read by "the end", which comes after
//! everybody. Accounts have no such names; `conservation` replays and audits them.
//!
//! Unknown outcomes count as committed if their mark is there. Left out, though their versions keep their place: what a
//! lying disk destroyed, and what an operator decided alone, since both may have let go of locks before the decision.
//! A destroyed balance or epoch excuses all: locks that are kept on a disk may be among what was destroyed.

mod cycle;
mod history;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
mod versions;

use super::Violation;
use crate::run::Run;
use history::History;
use std::collections::BTreeMap;

/// The kinds of anomalies of a history, from Adya's G0 to stale reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnomalyKind {
    /// G0: two transactions overwrote each other, in different orders at different places.
    DirtyWrite,
    /// G1a: a value was seen whose writer never took effect there.
    DirtyRead,
    /// G1c: a circle of writes and of reads of them.
    CircularFlow,
    /// Two wrote what they made of the same version, or a version is gone that nobody overwrote.
    LostUpdate,
    /// One transaction saw different versions of the same register.
    FuzzyRead,
    /// G-single: one transaction saw some of another's writes, or of what came after, and missed others.
    ReadSkew,
    /// G2: transactions missed each other's writes.
    WriteSkew,
    /// Serializable, but not in the order in which clients saw them happen.
    Stale,
}

impl AnomalyKind {
    /// Returns its name, without its checker.
    pub fn name(self) -> &'static str {
        self.rule().split_once('.').map_or("", |(_, name)| name)
    }

    fn rule(self) -> &'static str {
        match self {
            AnomalyKind::DirtyWrite => "isolation.dirty-write",
            AnomalyKind::DirtyRead => "isolation.dirty-read",
            AnomalyKind::CircularFlow => "isolation.circular-flow",
            AnomalyKind::LostUpdate => "isolation.lost-update",
            AnomalyKind::FuzzyRead => "isolation.fuzzy-read",
            AnomalyKind::ReadSkew => "isolation.read-skew",
            AnomalyKind::WriteSkew => "isolation.write-skew",
            AnomalyKind::Stale => "real-time.stale",
        }
    }
}

/// One thing that is wrong, with those who take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Anomaly {
    pub(super) kind: AnomalyKind,
    pub(super) tx: Option<String>,
    pub(super) what: String,
}

pub fn check(run: &Run) -> Vec<Violation> {
    if run.finals.excuses_data() {
        return Vec::new();
    }
    found(run).into_iter().map(Violation::from).collect()
}

/// Returns how often each kind is found, real time included: of circles, the shortest ones through each transaction.
pub fn anomalies(run: &Run) -> BTreeMap<AnomalyKind, usize> {
    let mut count = BTreeMap::new();
    for anomaly in found(run).into_iter().chain(found_in_real_time(run)) {
        *count.entry(anomaly.kind).or_default() += 1;
    }
    count
}

fn found(run: &Run) -> Vec<Anomaly> {
    let history = History::of(run);
    let mut found = history.strange_reads();
    found.extend(cycle::find(&history.dependencies()).iter().map(|cycle| history.describe(cycle)));
    found
}

/// Circles that close only because somebody was answered before somebody else asked.
pub(super) fn found_in_real_time(run: &Run) -> Vec<Anomaly> {
    let history = History::of(run);
    let mut edges = history.dependencies();
    edges.extend(history.real_time());
    let stale = cycle::find(&edges).into_iter().filter(|cycle| cycle.kind() == AnomalyKind::Stale);
    stale.map(|cycle| history.describe(&cycle)).collect()
}

impl From<Anomaly> for Violation {
    fn from(Anomaly { kind, tx, what }: Anomaly) -> Violation {
        Violation { tx, ..Violation::new(kind.rule(), what) }
    }
}
