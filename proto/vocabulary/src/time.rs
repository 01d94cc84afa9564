//! Points in time, as values that are handed in.

use std::fmt;
use std::time::Duration;

/// Microseconds since the Unix epoch (UTC). Taken from a clock at the edge and passed inwards: for people, for
/// histories, and as a transaction's age. No rule's safety depends on two machines' clocks agreeing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns the time passed from `earlier` to `self`; zero where the clock went backwards.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Returns the time that is so much earlier, at least 0.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }

    /// Returns the time so much later.
    pub fn plus(self, duration: Duration) -> Timestamp {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Timestamp(self.0.saturating_add(micros))
    }
}

/// Returns the time that is left until a deadline: never more than there was at the beginning, though the clock may
/// have been set back.
pub fn time_left(begun_at: Timestamp, deadline: Timestamp, now: Timestamp) -> Duration {
    deadline.since(now).min(deadline.since(begun_at))
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC with microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok()) {
            Some(time) => write!(f, "{time:.6}"),
            None => write!(f, "{}µs", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_adds_nothing_to_the_time_left() {
        let left = |now| time_left(Timestamp(100), Timestamp(104), Timestamp(now)).as_micros();
        assert_eq!([left(102), left(100), left(7), left(104), left(9_000)], [2, 4, 4, 0, 0]);
    }
}
