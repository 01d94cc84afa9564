//! Randomness as an argument, so that a run can be repeated from its seed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use undoubt_vocabulary::Backoff;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub trait Random: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);

    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Returns a number below `bound`, each equally likely; 0 where `bound` is 0.
    fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Of the 2^64 numbers, those above the last whole multiple of `bound` would favour the small remainders.
        let unfair = (u64::MAX % bound + 1) % bound;
        loop {
            let number = self.u64();
            if number <= u64::MAX - unfair {
                return number % bound;
            }
        }
    }

    /// Draws a pause before the next attempt, after `paused` pauses already.
    fn pause(&self, backoff: Backoff, paused: u32) -> Duration {
        backoff.pause(paused, |bound| self.below(bound))
    }
}

/// Different in every process, and fit for secrets and for ids that must never meet: seeded by the operating system, which
/// is not asked again.
#[derive(Debug)]
pub struct OsRandom(Mutex<ChaCha12Rng>);

impl OsRandom {
    /// # Panics
    /// Where the operating system has no randomness to give: an id made without it could meet another.
    #[allow(clippy::new_without_default)]
    pub fn new() -> OsRandom {
        let mut seed = <ChaCha12Rng as SeedableRng>::Seed::default();
        if let Err(error) = getrandom::fill(&mut seed) {
            panic!("the operating system gave no randomness ({error}), without which ids may collide: stopping");
        }
        OsRandom(Mutex::new(ChaCha12Rng::from_seed(seed)))
    }
}

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

/// The same numbers for the same seed, on every machine.
#[derive(Debug)]
pub struct SeededRandom(Mutex<ChaCha12Rng>);

impl SeededRandom {
    pub fn new(seed: u64) -> SeededRandom {
        SeededRandom(Mutex::new(ChaCha12Rng::seed_from_u64(seed)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_another_seed_another() {
        let draw = |seed| {
            let random = SeededRandom::new(seed);
            (0..8).map(|_| random.u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn below_reaches_every_number_under_its_bound_and_none_above() {
        let random = SeededRandom::new(1);
        let mut counts = [0; 6];
        for _ in 0..6_000 {
            counts[usize::try_from(random.below(6)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        assert_eq!(random.below(1), 0);
        assert_eq!(random.below(0), 0);
        assert!(random.below(u64::MAX) < u64::MAX);
    }

    #[test]
    fn the_operating_system_does_not_repeat_itself() {
        let random = OsRandom::new();
        assert_ne!(random.u64(), random.u64());
        assert_ne!(OsRandom::new().u64(), OsRandom::new().u64());
    }
}
