//! Crash points: where code was, and where it was made to die.

use serde::Serialize;
use std::collections::BTreeMap;

/// Over all seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Points {
    /// The number of times that each was reached.
    pub reached: BTreeMap<String, u64>,
    /// The number of times that a fault which waited for it struck.
    pub struck: BTreeMap<String, u64>,
}

impl Points {
    pub fn never_reached(&self) -> Vec<&'static str> {
        crash_points().filter(|point| !self.reached.contains_key(*point)).collect()
    }

    pub fn never_struck(&self) -> Vec<&'static str> {
        crash_points().filter(|point| !self.struck.contains_key(*point)).collect()
    }

    pub(super) fn add(&mut self, other: &Points) {
        add(&mut self.reached, &other.reached);
        add(&mut self.struck, &other.struck);
    }
}

/// Returns the crash points of both servers.
pub fn crash_points() -> impl Iterator<Item = &'static str> {
    undoubt_coordinator::CRASH_POINTS.iter().chain(undoubt_participant::CRASH_POINTS).copied()
}

fn add(to: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (point, count) in from {
        *to.entry(point.clone()).or_default() += count;
    }
}
