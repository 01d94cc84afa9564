//! The settings of how much one identity may take of a coordinator: how often it submits, and its share of what may be open.

use crate::none_or_number;
use crate::range::{OutOfRange, Ranged, check_ranges, ranged};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The highest rate and burst that can be set: more than a coordinator can take.
const MAX_PER_S: u64 = 1_000_000;

/// The table `[limits]`: what holds for each identity that has no limits of its own. Callers without identity count as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// New transactions that one may submit in a second; with `"none"`, any number.
    #[serde(with = "none_or_number")]
    pub submissions_per_s: Option<u64>,
    /// Those that it may submit at once after a pause; with `"none"`, as many as in a second.
    #[serde(with = "none_or_number")]
    pub submission_burst: Option<u64>,
    /// Percent of `max_open_transactions` that one may hold open.
    pub open_percent: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig { submissions_per_s: None, submission_burst: None, open_percent: 100 }
    }
}

/// The limits that one identity has of its own, as they stand in its entry. Those that it does not name are the server's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnLimits {
    submissions_per_s: Option<OrNone>,
    submission_burst: Option<OrNone>,
    open_percent: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct OrNone(#[serde(with = "none_or_number")] Option<u64>);

/// The limits of the identities that have some of their own, by name.
pub type LimitsByName = Arc<BTreeMap<Arc<str>, OwnLimits>>;

/// The limits that hold for one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub rate: Option<Rate>,
    /// Percent of the open transactions that there may be.
    pub open_percent: u64,
}

/// A rate, and how much of it may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// From 1.
    pub per_s: u64,
    /// From 1.
    pub burst: u64,
}

impl Limits {
    pub const NONE: Limits = Limits { rate: None, open_percent: 100 };
}

impl LimitsConfig {
    /// Returns what holds for one that has no limits of its own.
    pub fn limits(&self) -> Limits {
        let rate = self.submissions_per_s.map(|per_s| Rate { per_s, burst: self.submission_burst.unwrap_or(per_s) });
        Limits { rate, open_percent: self.open_percent }
    }

    /// Returns the range of each number. One that is absent is in it.
    pub fn ranges(&self) -> [Ranged; 3] {
        [
            ranged("limits.submissions_per_s", self.submissions_per_s.unwrap_or(1), 1, MAX_PER_S),
            ranged("limits.submission_burst", self.submission_burst.unwrap_or(1), 1, MAX_PER_S),
            ranged("limits.open_percent", self.open_percent, 1, 100),
        ]
    }
}

impl OwnLimits {
    /// Returns what holds for one that has these. A burst belongs to its rate: to a rate of its own goes none of the server's.
    pub fn over(&self, server: &LimitsConfig) -> Limits {
        let (per_s, burst) = match self.submissions_per_s {
            Some(OrNone(per_s)) => (per_s, None),
            None => (server.submissions_per_s, server.submission_burst),
        };
        let submission_burst = self.submission_burst.map_or(burst, |OrNone(burst)| burst);
        let open_percent = self.open_percent.unwrap_or(server.open_percent);
        LimitsConfig { submissions_per_s: per_s, submission_burst, open_percent }.limits()
    }

    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let given = |number: Option<OrNone>| number.and_then(|OrNone(number)| number);
        let all = LimitsConfig {
            submissions_per_s: given(self.submissions_per_s),
            submission_burst: given(self.submission_burst),
            open_percent: self.open_percent.unwrap_or(100),
        };
        check_ranges(&all.ranges())
    }
}
