//! Bytes with a digest, for keys that are looked up often.

use crate::digest_map::Digest;
use smallvec::SmallVec;
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The bytes that are kept in place: as many as a UUID's text has.
const MAX_INLINE_BYTES: usize = 36;

/// Few bytes with a digest of them in front, so that maps can tell two apart without fetching either. They are kept in place,
/// so that threads that have the same bytes share nothing.
///
/// The order is total, and of no other meaning: it goes by the digest first, and so by the process' seed ([`seed_digests`]).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digested {
    digest: u64,
    bytes: SmallVec<[u8; MAX_INLINE_BYTES]>,
}

impl Digested {
    /// Returns the value that nothing comes before.
    pub fn lowest() -> Digested {
        Digested { digest: 0, bytes: SmallVec::new() }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The seed that digests of this process begin with.
static SEED: OnceLock<u64> = OnceLock::new();

/// The process has digests already, which another seed would contradict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("digests have been made already; give the seed before anything else")]
pub struct SeededTooLate;

/// Makes all digests of this process depend on `seed`, so that who chooses ids cannot make them meet on purpose and slow
/// down whoever keeps them. A server that faces others does so first of all; without it, digests are the same everywhere.
pub fn seed_digests(seed: u64) -> Result<(), SeededTooLate> {
    SEED.set(seed).map_err(|_| SeededTooLate)
}

impl Digest for Digested {
    fn digest(&self) -> u64 {
        self.digest
    }
}

impl Hash for Digested {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

impl From<&[u8]> for Digested {
    fn from(bytes: &[u8]) -> Self {
        let seed = *SEED.get_or_init(|| 0);
        Digested { digest: xxh3_64_with_seed(bytes, seed), bytes: SmallVec::from_slice(bytes) }
    }
}

impl std::fmt::Debug for Digested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.bytes.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digested_bytes_are_equal_exactly_where_the_bytes_are(a in ".{0,3}", b in ".{0,3}") {
            let (x, y) = (Digested::from(a.as_bytes()), Digested::from(b.as_bytes()));
            prop_assert_eq!(x == y, a == b);
            prop_assert_eq!(x.cmp(&y).is_eq(), a == b);
            prop_assert!(Digested::lowest() <= x);
        }

        #[test]
        fn bytes_of_any_length_are_kept(bytes in proptest::collection::vec(0_u8.., 0..100)) {
            let digested = Digested::from(&*bytes);
            prop_assert_eq!(digested.as_bytes(), &*bytes);
        }
    }

    #[test]
    fn bytes_of_equal_digest_are_told_apart() {
        let (a, b) = (SmallVec::from_slice(b"a"), SmallVec::from_slice(b"b"));
        let (a, b) = (Digested { digest: 1, bytes: a }, Digested { digest: 1, bytes: b });
        assert!(a < b && a != b);
    }
}
