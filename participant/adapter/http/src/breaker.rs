//! The circuit breaker of one host: a service that gives no answer again and again is left alone for a while, so that calls fail at
//! once and hold no place. It never changes what a call means: one that did not go is told as not sent.
//!
//! ```text
//! closed ── threshold reached ──▶ open ── pause over, one call goes ──▶ probing
//!   ▲                              ▲                                      │ │
//!   │                              └─────────────── no answer ────────────┘ │
//!   └──────────────────────────── any answer ───────────────────────────────┘
//! ```

use std::time::Duration;
use tokio::time::Instant;

/// The terms on which breakers open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The calls in a row without an answer. 0: breakers never open.
    pub(crate) threshold: u32,
    pub(crate) pause: Duration,
    /// The time that a call must have had for its lack of an answer to count.
    pub(crate) least_time: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    /// The calls in a row that were not answered.
    silences: u32,
    /// Set once they are too many: the breaker is open, and no call goes before that time. The one that goes then moves it on.
    open_until: Option<Instant>,
}

impl Breaker {
    /// Lets a call pass, or returns the time left until one may.
    pub(crate) fn pass(&mut self, now: Instant, terms: Terms) -> Result<(), Duration> {
        match self.open_until {
            Some(until) if until > now => Err(until - now),
            Some(_) => {
                // This one finds out; the others wait for what it learns.
                self.open_until = Some(now + terms.pause);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Notes that there was an answer, whatever it said.
    pub(crate) fn answered(&mut self) {
        *self = Breaker::default();
    }

    pub(crate) fn silent(&mut self, now: Instant, terms: Terms) {
        self.silences = self.silences.saturating_add(1);
        if terms.threshold > 0 && self.silences >= terms.threshold {
            self.open_until = Some(now + terms.pause);
        }
    }

    /// Returns the calls in a row that were not answered.
    pub(crate) fn silences(&self) -> u32 {
        self.silences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { threshold: 3, pause: Duration::from_secs(2), least_time: Duration::ZERO };
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_host_that_gives_no_answer_again_and_again_is_left_alone_for_the_pause() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..TERMS.threshold {
            assert_eq!(breaker.pass(now, TERMS), Ok(()));
            breaker.silent(now, TERMS);
        }
        assert_eq!(breaker.pass(now + SECOND, TERMS), Err(SECOND));
        let later = now + 2 * SECOND;
        assert_eq!(breaker.pass(later, TERMS), Ok(()), "one finds out");
        assert_eq!(breaker.pass(later, TERMS), Err(2 * SECOND), "and the others wait for it");
        breaker.silent(later, TERMS);
        assert_eq!(breaker.pass(later + SECOND, TERMS), Err(SECOND));
        assert_eq!(breaker.pass(later + 2 * SECOND, TERMS), Ok(()));
        breaker.answered();
        assert_eq!(breaker.pass(later + 2 * SECOND, TERMS), Ok(()));
    }

    #[test]
    fn an_answer_in_between_begins_to_count_anew_and_a_threshold_of_none_never_opens() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..10 {
            breaker.silent(now, TERMS);
            breaker.silent(now, TERMS);
            breaker.answered();
        }
        assert_eq!(breaker.pass(now, TERMS), Ok(()));
        for _ in 0..10 {
            breaker.silent(now, Terms { threshold: 0, ..TERMS });
        }
        assert_eq!(breaker.pass(now, TERMS), Ok(()));
    }
}
