//! Bytes that are looked up often.

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

/// As many as a UUID's text has.
const MAX_INLINE_BYTES: usize = 36;

/// Few bytes with a digest of them in front, so that maps can tell two apart without fetching either. They are kept in place,
/// so that threads that have the same bytes share nothing.
///
/// The order is total and the same everywhere, and of no other meaning: it goes by the digest first.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digested {
    digest: u64,
    bytes: SmallVec<[u8; MAX_INLINE_BYTES]>,
}

impl Digested {
    /// Nothing comes before it.
    pub fn lowest() -> Digested {
        Digested { digest: 0, bytes: SmallVec::new() }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<&[u8]> for Digested {
    fn from(bytes: &[u8]) -> Self {
        Digested { digest: xxh3_64(bytes), bytes: SmallVec::from_slice(bytes) }
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
