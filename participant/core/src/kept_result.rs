//! The result of what is over, which may have to be said again.

use bytes::Bytes;

/// A shorter result is no more than what is remembered of its branch or step anyway.
pub const SHORT_RESULT_BYTES: usize = 1_024;

/// A result that is kept until the low-water mark has passed it. One saga that is stuck holds the low-water mark, and
/// all that comes after it would have to be in memory: so what is long stays with the resource, which has stored it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    Here(Bytes),
    /// The resource tells it again.
    Stored,
}

impl Kept {
    /// Keeps a result that the resource has stored too. `most_bytes`: what is longer is not kept here.
    pub fn up_to(most_bytes: usize, result: Bytes) -> Kept {
        if result.len() <= most_bytes { Kept::Here(result) } else { Kept::Stored }
    }

    /// Returns the bytes that it counts.
    pub(crate) fn counted(&self) -> usize {
        match self {
            Kept::Here(result) => counted(result.len()),
            Kept::Stored => 0,
        }
    }
}

/// Returns the bytes that a result in memory counts.
pub(crate) fn counted(bytes: usize) -> usize {
    if bytes > SHORT_RESULT_BYTES { bytes } else { 0 }
}
