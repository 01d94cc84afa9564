//! What is over between a coordinator and a participant (R11).

use crate::id::AttemptNumber;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The attempts of a coordinator that are over at a participant: all below a number, save some that are still open.
///
/// What is over stays over. So of two that were told, whatever their order, what is over by [either](LowWaterMark::and) is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LowWaterMark {
    below: AttemptNumber,
    /// In rising order, each below it. Shared, as it goes with every batch and seldom changes.
    still_open: Arc<[AttemptNumber]>,
}

impl LowWaterMark {
    /// Returns the low-water mark below which all is over save these. Those that are not below it change nothing.
    pub fn new(below: AttemptNumber, still_open: impl IntoIterator<Item = AttemptNumber>) -> LowWaterMark {
        let mut still_open: Vec<AttemptNumber> = still_open.into_iter().filter(|attempt| *attempt < below).collect();
        still_open.sort_unstable();
        still_open.dedup();
        LowWaterMark { below, still_open: still_open.into() }
    }

    /// Returns the low-water mark below which all is over save these, which are in rising order.
    pub fn sharing(below: AttemptNumber, still_open: &Arc<[AttemptNumber]>) -> LowWaterMark {
        match still_open.last() {
            Some(last) if *last >= below => LowWaterMark::new(below, still_open.iter().copied()),
            Some(_) | None => LowWaterMark { below, still_open: Arc::clone(still_open) },
        }
    }

    /// Returns the attempt number from which on nothing is known to be over.
    pub fn below(&self) -> AttemptNumber {
        self.below
    }

    /// Returns the attempts below it that are still open, in rising order.
    pub fn still_open(&self) -> &[AttemptNumber] {
        &self.still_open
    }

    pub fn is_over(&self, attempt_number: AttemptNumber) -> bool {
        attempt_number < self.below && self.still_open.binary_search(&attempt_number).is_err()
    }

    /// Returns the low-water mark by which that is over which is over by either.
    #[must_use]
    pub fn and(&self, other: &LowWaterMark) -> LowWaterMark {
        let below = self.below.max(other.below);
        if self.still_open == other.still_open {
            return LowWaterMark::sharing(below, &self.still_open);
        }
        let named = self.still_open.iter().chain(&*other.still_open).copied();
        LowWaterMark::new(below, named.filter(|attempt| !self.is_over(*attempt) && !other.is_over(*attempt)))
    }

    /// Returns the low-water mark by which nothing is over from this attempt on.
    #[must_use]
    pub fn up_to(&self, attempt_number: AttemptNumber) -> LowWaterMark {
        LowWaterMark::sharing(attempt_number.min(self.below), &self.still_open)
    }

    /// Returns the attempts that are over by this and not by an earlier one, in rising order.
    pub fn since(&self, before: &LowWaterMark) -> Vec<Range<AttemptNumber>> {
        let ended = before.still_open.iter().filter(|attempt| self.is_over(**attempt));
        let mut over: Vec<Range<AttemptNumber>> = ended.map(|attempt| *attempt..attempt.next()).collect();
        let mut from = before.below;
        for open in self.still_open.iter().filter(|open| **open >= before.below) {
            if from < *open {
                over.push(from..*open);
            }
            from = open.next();
        }
        if from < self.below {
            over.push(from..self.below);
        }
        over
    }
}

/// All below the attempt number is over.
impl From<AttemptNumber> for LowWaterMark {
    fn from(below: AttemptNumber) -> Self {
        LowWaterMark { below, ..LowWaterMark::default() }
    }
}

/// `1-7`, or `1-7 save 1-2, 1-5`.
impl fmt::Display for LowWaterMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.below)?;
        for (place, open) in self.still_open.iter().enumerate() {
            write!(f, "{} {open}", if place == 0 { " save" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(below: u64, still_open: &[u64]) -> LowWaterMark {
        LowWaterMark::new(AttemptNumber(below), still_open.iter().copied().map(AttemptNumber))
    }

    fn over(mark: &LowWaterMark) -> Vec<u64> {
        (0..9).filter(|attempt| mark.is_over(AttemptNumber(*attempt))).collect()
    }

    /// Returns all low-water marks below five.
    fn all() -> impl Iterator<Item = LowWaterMark> {
        let open = |bits: u64| (0..5).filter(move |attempt| bits & (1 << attempt) > 0).map(AttemptNumber);
        (0..=5).flat_map(move |below| (0..32).map(move |bits| LowWaterMark::new(AttemptNumber(below), open(bits))))
    }

    #[test]
    fn all_below_it_is_over_save_what_is_still_open() {
        assert_eq!(over(&mark(5, &[3, 1, 3, 7])), [0, 2, 4]);
        assert_eq!(mark(5, &[3, 1, 7]).still_open(), [AttemptNumber(1), AttemptNumber(3)]);
        assert_eq!(over(&LowWaterMark::from(AttemptNumber(2))), [0, 1]);
        assert_eq!(over(&LowWaterMark::default()), []);
    }

    #[test]
    fn what_is_over_by_either_of_two_is_over_in_any_order() {
        for one in all() {
            for other in all() {
                let both = one.and(&other);
                let wanted: Vec<u64> =
                    (0..9).map(AttemptNumber).filter(|a| one.is_over(*a) || other.is_over(*a)).map(|a| a.0).collect();
                assert_eq!(over(&both), wanted, "{one} and {other}");
                assert_eq!(both, other.and(&one), "{one} and {other}");
            }
        }
    }

    #[test]
    fn the_ranges_since_an_earlier_one_are_what_is_over_by_now_and_was_not() {
        for before in all() {
            for told in all() {
                let now = before.and(&told);
                let ranges = now.since(&before);
                let newly: Vec<u64> = ranges.iter().flat_map(|range| range.start.0..range.end.0).collect();
                let wanted: Vec<u64> = over(&now).into_iter().filter(|a| !over(&before).contains(a)).collect();
                assert_eq!(newly, wanted, "{now} since {before}");
            }
        }
    }

    #[test]
    fn nothing_is_over_from_an_attempt_on_that_is_spared() {
        assert_eq!(mark(5, &[1, 3]).up_to(AttemptNumber(3)), mark(3, &[1]));
        assert_eq!(mark(5, &[1, 3]).up_to(AttemptNumber(9)), mark(5, &[1, 3]));
    }

    #[test]
    fn people_read_what_is_still_open() {
        assert_eq!(mark(5, &[]).to_string(), AttemptNumber(5).to_string());
        let [one, three, five] = [1, 3, 5].map(AttemptNumber);
        assert_eq!(mark(5, &[1, 3]).to_string(), format!("{five} save {one}, {three}"));
    }
}
