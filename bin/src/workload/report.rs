//! The report of a run. As JSON the names of the fields are stable: some may be added, none is renamed or removed.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longer latencies count as this.
const MAX_LATENCY_US: u64 = 3_600_000_000;

/// The counts of how operations ended. The sum of all is the number of operations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub committed: u64,
    /// A condition did not hold: too little money, or a balance had changed since it was read.
    pub refused: u64,
    /// The other aborts, by the label of their reason: `lock-conflict`, `deadline`, and so on. `values-lost` are
    /// operations that read, but were not told what: the coordinator no longer had it.
    pub aborted: BTreeMap<&'static str, u64>,
    /// The operations without a definite answer.
    pub unknown: u64,
}

/// The end of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Committed { took: Duration },
    Refused,
    Aborted(&'static str),
    Unknown,
}

impl Tally {
    fn count(&mut self, end: End) {
        match end {
            End::Committed { .. } => self.committed += 1,
            End::Refused => self.refused += 1,
            End::Aborted(label) => *self.aborted.entry(label).or_default() += 1,
            End::Unknown => self.unknown += 1,
        }
    }

    /// Returns the aborts of all reasons together.
    pub fn all_aborted(&self) -> u64 {
        self.aborted.values().sum()
    }

    pub fn all(&self) -> u64 {
        self.committed + self.refused + self.all_aborted() + self.unknown
    }
}

/// The latencies of committed operations, from submission to answer; those that need two transactions took the time of
/// both. Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub max: u64,
    pub mean: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `smallbank` or `transfers`.
    pub workload: &'static str,
    /// Ids of transactions and keys of accounts begin with it.
    pub run: String,
    pub seed: u64,
    pub participants: Vec<String>,
    pub customers: u32,
    pub hot_customers: u32,
    /// Percent.
    pub hot_share: u8,
    /// The branches of each transfer.
    pub branches: Option<u32>,
    /// Operations at the same time, at most.
    pub in_flight: usize,
    /// Seconds, from the first submission to the last answer; without the opening of accounts.
    pub elapsed_s: f64,
    /// Operations that ended.
    pub operations: u64,
    #[serde(flatten)]
    pub tally: Tally,
    pub committed_per_s: f64,
    /// Transactions submitted: one for each operation, two for those that read first.
    pub transactions: u64,
    pub transactions_committed: u64,
    pub transactions_committed_per_s: f64,
    pub latency_us: Latency,
    pub by_operation: BTreeMap<&'static str, Tally>,
}

/// The counts while a run goes on.
#[derive(Debug)]
pub struct Counts {
    pub tally: Tally,
    pub by_operation: BTreeMap<&'static str, Tally>,
    pub transactions_committed: u64,
    latencies: Histogram<u64>,
}

impl Counts {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Counts {
            tally: Tally::default(),
            by_operation: BTreeMap::new(),
            transactions_committed: 0,
            latencies: Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)?,
        })
    }

    pub fn count(&mut self, operation: &'static str, end: End) {
        self.tally.count(end);
        self.by_operation.entry(operation).or_default().count(end);
        if let End::Committed { took } = end {
            self.latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }

    pub fn latency(&self) -> Latency {
        let at = |quantile| self.latencies.value_at_quantile(quantile);
        Latency {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: self.latencies.max(),
            mean: self.latencies.mean(),
        }
    }
}

/// 0 where no time has passed.
pub fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_counted_once_in_all_and_once_for_its_operation() {
        let mut counts = Counts::new().unwrap();
        for end in
            [End::Committed { took: Duration::from_micros(10) }, End::Refused, End::Aborted("late"), End::Unknown]
        {
            counts.count("transfer", end);
        }
        assert_eq!((counts.tally.all(), counts.tally.all_aborted()), (4, 1));
        assert_eq!(counts.by_operation["transfer"], counts.tally);
        assert_eq!((counts.latency().p50, counts.latency().max), (10, 10));
    }

    #[test]
    fn a_latency_without_end_counts_as_the_longest() {
        let mut counts = Counts::new().unwrap();
        counts.count("transfer", End::Committed { took: Duration::MAX });
        assert!(counts.latency().max >= MAX_LATENCY_US);
    }
}
