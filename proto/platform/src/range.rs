//! The ranges of settings that are numbers.
//!
//! Every number that is set has an entry in one table of its server, so that none overflows a clock or fills the memory.

use thiserror::Error;

/// A day, a year and a hundred years: longer times are refused. A hundred years are for ever.
pub const DAY_MS: u64 = 86_400_000;
pub const YEAR_MS: u64 = 365 * DAY_MS;
pub const CENTURY_S: u64 = 100 * YEAR_MS / 1_000;

/// A setting as it is, and what it may be, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranged {
    pub setting: &'static str,
    pub value: u64,
    pub min: u64,
    pub max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{} is {}; give it at least {} and at most {}", .0.setting, .0.value, .0.min, .0.max)]
pub struct OutOfRange(pub Ranged);

/// Returns the entry of one setting.
pub fn ranged(setting: &'static str, value: u64, min: u64, max: u64) -> Ranged {
    Ranged { setting, value, min, max }
}

/// Refuses the first that is out of its range.
pub fn check_ranges(table: &[Ranged]) -> Result<(), OutOfRange> {
    match table.iter().find(|entry| !(entry.min..=entry.max).contains(&entry.value)) {
        Some(entry) => Err(OutOfRange(*entry)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_allowed_and_what_lies_beyond_is_named() {
        let entry = |value| [ranged("pause_ms", value, 1, DAY_MS)];
        assert_eq!(check_ranges(&entry(1)), Ok(()));
        assert_eq!(check_ranges(&entry(DAY_MS)), Ok(()));
        for bad in [0, DAY_MS + 1, u64::MAX] {
            let refusal = check_ranges(&entry(bad)).unwrap_err().to_string();
            assert!(refusal.contains("pause_ms") && refusal.contains(&bad.to_string()), "{refusal}");
            assert!(refusal.contains("at least 1 and at most 86400000"), "{refusal}");
        }
    }
}
