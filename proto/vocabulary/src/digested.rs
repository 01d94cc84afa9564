//! Bytes that are looked up often.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes with a digest of them in front, so that maps can tell two apart without fetching either.
///
/// The order is total and the same everywhere, and of no other meaning: it goes by the digest first.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digested {
    digest: u64,
    bytes: Bytes,
}

impl Digested {
    /// Nothing comes before it.
    pub const LOWEST: Digested = Digested { digest: 0, bytes: Bytes::new() };

    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl From<Bytes> for Digested {
    fn from(bytes: Bytes) -> Self {
        Digested { digest: xxh3_64(&bytes), bytes }
    }
}

impl std::fmt::Debug for Digested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.bytes.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digested_bytes_are_equal_exactly_where_the_bytes_are(a in ".{0,3}", b in ".{0,3}") {
            let (x, y) = (Digested::from(Bytes::from(a.clone())), Digested::from(Bytes::from(b.clone())));
            prop_assert_eq!(x == y, a == b);
            prop_assert_eq!(x.cmp(&y).is_eq(), a == b);
            prop_assert!(Digested::LOWEST <= x);
        }
    }

    #[test]
    fn bytes_of_equal_digest_are_told_apart() {
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let (a, b) = (Digested { digest: 1, bytes: a }, Digested { digest: 1, bytes: b });
        assert!(a < b && a != b);
    }
}
