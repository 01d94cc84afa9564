//! The time for which ended transactions are remembered, whatever the wall clock does.
//!
//! Records carry the wall clock's time of their end, and are dropped below a *horizon* in that time. Were it simply the clock
//! less the retention, a clock that jumps ahead would drop at once what has just ended, and its id could run twice. So the
//! horizon is the lowest time that the wall clock has shown within the last retention, counted by a clock that does not jump:
//! what ended within it was given a time that is not below.
//!
//! A process takes what it has not seen itself from the oldest record: nothing is dropped sooner after the start than
//! the records lie apart. So the time in which no coordinator ran does not count, and a jump while it was down drops
//! nothing.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_vocabulary::Timestamp;

/// The retention is looked back on in so many parts; records are kept longer by up to one of them.
const PARTS: u32 = 64;

#[derive(Debug)]
pub(crate) struct Retention {
    retained: Duration,
    started: Instant,
    looked: Instant,
    /// The horizon at the start. It moves on with the clock that does not jump, and counts until a retention has passed.
    at_start: Timestamp,
    /// The beginnings of the parts of the last retention, each with the lowest time that the wall clock has shown in
    /// it.
    lowest: VecDeque<(Instant, Timestamp)>,
}

impl Retention {
    /// Returns the clock of a retention. `oldest` is the end of the first record that is kept.
    pub(crate) fn new(retained: Duration, oldest: Option<Timestamp>, now: Instant, wall: Timestamp) -> Retention {
        let by_wall = minus(wall, retained);
        let at_start = oldest.map_or(by_wall, |oldest| oldest.min(by_wall));
        Retention { retained, started: now, looked: now, at_start, lowest: VecDeque::new() }
    }

    /// Returns the horizon: transactions that ended before this time may be dropped.
    pub(crate) fn horizon(&mut self, now: Instant, wall: Timestamp) -> Timestamp {
        let part = self.retained / PARTS;
        // The least that the clock can have shown since the last look, if it has jumped since then.
        let wall = minus(wall, now.duration_since(self.looked));
        self.looked = now;
        match self.lowest.back_mut() {
            Some((began, lowest)) if now.duration_since(*began) <= part => *lowest = wall.min(*lowest),
            Some(_) | None => self.lowest.push_back((now, wall)),
        }
        // A part that began before counts until the next one has.
        while self.lowest.get(1).is_some_and(|(began, _)| now.duration_since(*began) >= self.retained) {
            self.lowest.pop_front();
        }
        let seen = self.lowest.iter().map(|(_, lowest)| *lowest).min().unwrap_or(wall);
        let running = now.duration_since(self.started);
        if running < self.retained { seen.min(self.at_start.plus(running)) } else { seen }
    }
}

fn minus(at: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(at.0.saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETAINED: u64 = 6_400;

    /// Runs a coordinator whose wall clock shows `wall(second)` in each second, and says when what ended in `ended` is
    /// dropped, in seconds after its end.
    fn kept(oldest: Option<u64>, ended: u64, wall: impl Fn(u64) -> u64) -> Option<u64> {
        let at = |second: u64| Timestamp(wall(second) * 1_000_000);
        let began = Instant::now();
        let oldest = oldest.map(|second| Timestamp(second * 1_000_000));
        let mut retention = Retention::new(Duration::from_secs(RETAINED), oldest, began, at(0));
        (0..12 * RETAINED)
            .find(|second| {
                retention.horizon(began + Duration::from_secs(*second), at(*second)) > at(ended) && *second >= ended
            })
            .map(|second| second - ended)
    }

    const NOON: u64 = 10_000_000;

    #[test]
    fn with_a_steady_clock_records_are_kept_for_the_retention_and_little_longer() {
        for ended in [0, 50, 7_000, 30_000] {
            let kept = kept(None, ended, |second| NOON + second).unwrap();
            assert!((RETAINED..=RETAINED + RETAINED / 32).contains(&kept), "{kept}");
        }
    }

    #[test]
    fn a_clock_that_jumps_ahead_or_back_drops_nothing_early_and_keeps_nothing_for_good() {
        for (before, after) in [(0, 1_000_000), (1_000_000, 0), (0, RETAINED), (RETAINED - 1, 0)] {
            let wall = |second: u64| NOON + second + if second < 20_000 { before } else { after };
            for ended in [100, 14_000, 19_999, 20_000, 20_001, 26_000, 50_000] {
                let kept = kept(None, ended, wall).unwrap_or(u64::MAX);
                assert!(kept >= RETAINED, "{before}, {after}, {ended}: {kept}");
                if before < after {
                    assert!(kept <= 3 * RETAINED, "{before}, {after}, {ended}: {kept}");
                }
            }
        }
    }

    #[test]
    fn a_jump_while_nothing_ran_drops_nothing_at_the_start_and_what_is_due_goes_within_a_retention() {
        let horizon_after = |wall: u64, oldest: Option<u64>, after: u64| {
            let began = Instant::now();
            let at = |second: u64| Timestamp(second * 1_000_000);
            let mut retention = Retention::new(Duration::from_secs(RETAINED), oldest.map(at), began, at(wall));
            (0..=after)
                .map(|second| retention.horizon(began + Duration::from_secs(second), at(wall + second)))
                .max()
                .unwrap()
                .0
                / 1_000_000
        };
        let oldest = NOON - RETAINED;
        assert_eq!(horizon_after(NOON + 1_000_000, Some(oldest), 0), oldest);
        assert_eq!(horizon_after(NOON + 1_000_000, Some(oldest), 100), oldest + 100);
        assert!(horizon_after(NOON + 1_000_000, Some(oldest), RETAINED + 1) >= NOON);
        assert_eq!(horizon_after(NOON - 1_000_000, Some(oldest), 100), NOON - 1_000_000 - RETAINED + 100);
    }
}
