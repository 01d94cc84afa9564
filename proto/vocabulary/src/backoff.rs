//! Pauses between attempts, as values: whoever waits draws and sleeps.

use std::time::Duration;

/// Pauses that double with each attempt up to a cap, and are spread over their upper half, so that many who wait do not come
/// back together (R6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first_ms: u64,
    pub max_ms: u64,
}

impl Backoff {
    /// Returns a backoff of whole milliseconds, to which both pauses are rounded up.
    pub fn between(first: Duration, max: Duration) -> Backoff {
        let ms = |pause: Duration| u64::try_from(pause.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Backoff { first_ms: ms(first), max_ms: ms(max) }
    }

    /// Returns a pause before the next attempt, after `paused` pauses already. `draw` returns a number below the bound that it is
    /// given, each as likely as the others.
    pub fn pause(self, paused: u32, draw: impl FnOnce(u64) -> u64) -> Duration {
        let whole = self.first_ms.saturating_mul(1 << paused.min(32)).min(self.max_ms);
        Duration::from_millis(whole / 2 + draw(whole / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_are_spread_over_their_upper_half() {
        let backoff = Backoff::between(Duration::from_millis(10), Duration::from_millis(50));
        for (paused, whole) in [(0, 10), (1, 20), (2, 40), (3, 50), (u32::MAX, 50)] {
            assert_eq!(backoff.pause(paused, |_| 0), Duration::from_millis(whole / 2));
            assert_eq!(backoff.pause(paused, |bound| bound - 1), Duration::from_millis(whole));
        }
    }

    #[test]
    fn a_pause_is_never_rounded_down_to_none_and_never_overflows() {
        let short = Backoff::between(Duration::from_nanos(1), Duration::from_micros(1_001));
        assert_eq!(short, Backoff { first_ms: 1, max_ms: 2 });
        let endless = Backoff::between(Duration::MAX, Duration::MAX);
        assert_eq!(endless.pause(u32::MAX, |bound| bound - 1), Duration::from_millis(u64::MAX - 1));
    }
}
