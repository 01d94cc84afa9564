//! One random stream for each concern, so that a change to one leaves the others as they were.

use undoubt_platform::SeededRandom;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The seed of what is drawn for `concern`.
pub(crate) fn seed_of(seed: u64, concern: &str) -> u64 {
    xxh3_64_with_seed(concern.as_bytes(), seed)
}

pub(crate) fn random(seed: u64, concern: &str) -> SeededRandom {
    SeededRandom::new(seed_of(seed, concern))
}
