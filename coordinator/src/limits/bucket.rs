//! The bucket of tokens that bounds a rate. It is pure: whoever asks says what time it is.

use std::time::Duration;
use undoubt_platform::access::Rate;

/// A bucket of tokens, as the time at which it is full again; each token that is taken moves that time on by what the rate gives
/// one in. Time is counted from any moment that stays the same.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    full_at: Duration,
}

/// Returns the time in which a rate gives one token, and a whole bucket.
fn times(rate: Rate) -> (Duration, Duration) {
    let each_ns = 1_000_000_000 / rate.per_s;
    let each = Duration::from_nanos(each_ns);
    (each, Duration::from_nanos(each_ns.saturating_mul(rate.burst)))
}

impl Bucket {
    /// Takes a token; or returns the time after which there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let (each, whole) = times(rate);
        // The rate may have been another before.
        let full_at = self.full_at.clamp(now, now + whole) + each;
        let over = full_at.saturating_sub(now + whole);
        if over > Duration::ZERO {
            return Err(over);
        }
        self.full_at = full_at;
        Ok(())
    }

    /// Returns true if it is full, as a new one is.
    pub(crate) fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(7);

    #[test]
    fn a_burst_is_given_at_once_and_then_one_at_a_time() {
        let rate = Rate { per_s: 10, burst: 3 };
        let mut bucket = Bucket::default();
        assert_eq!([(); 3].map(|()| bucket.take(rate, NOW)), [Ok(()); 3]);
        let wait = bucket.take(rate, NOW).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(bucket.take(rate, NOW + wait - Duration::from_nanos(1)).is_err());
        assert_eq!(bucket.take(rate, NOW + wait), Ok(()));
        assert!(bucket.take(rate, NOW + wait).is_err());
    }

    #[test]
    fn a_new_rate_holds_at_once() {
        let mut bucket = Bucket::default();
        let slow = Rate { per_s: 1, burst: 1_000 };
        while bucket.take(slow, NOW).is_ok() {}
        let wait = bucket.take(Rate { per_s: 100, burst: 1 }, NOW).unwrap_err();
        assert_eq!(wait, Duration::from_millis(10));
    }

    proptest! {
        /// In no time more is given than a burst and what the rate brings; and whoever comes back when he is told is let in.
        #[test]
        fn no_more_is_given_than_the_rate_allows_and_the_wait_is_long_enough(
            per_s in 1..2_000_u64,
            burst in 1..50_u64,
            pauses in prop::collection::vec(0..200_000_000_u64, 1..200),
        ) {
            let rate = Rate { per_s, burst };
            let (mut bucket, mut now) = (Bucket::default(), NOW);
            let mut given = Vec::new();
            for pause in pauses {
                now += Duration::from_nanos(pause);
                match bucket.take(rate, now) {
                    Ok(()) => given.push(now),
                    Err(wait) => prop_assert_eq!(bucket.clone().take(rate, now + wait), Ok(())),
                }
            }
            let each = 1_000_000_000 / per_s;
            for (first, since) in given.iter().enumerate() {
                for (last, at) in given.iter().enumerate().skip(first) {
                    let allowed = u128::from(burst) + (*at - *since).as_nanos() / u128::from(each);
                    prop_assert!((last - first + 1) as u128 <= allowed);
                }
            }
        }
    }
}
