//! The changes of one write, all of them or nothing.

use super::Family;
use std::fmt;

/// Changes that are applied together, in the order in which they were added.
///
/// All keys and values are in one piece of memory: a write has many small ones, and another thread lets them go.
#[derive(Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    added: Vec<Added>,
}

/// A place in a batch.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    added: usize,
}

/// An operation whose one or two fields are the next of the batch's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Added {
    family: Family,
    kind: Kind,
    first_bytes: usize,
    second_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    Delete,
    DeleteRange,
}

/// One change of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    Put {
        family: Family,
        key: &'a [u8],
        value: &'a [u8],
    },
    Delete {
        family: Family,
        key: &'a [u8],
    },
    /// Deletes the keys in `[from, to)`; `from` is below `to`.
    DeleteRange {
        family: Family,
        from: &'a [u8],
        to: &'a [u8],
    },
}

/// The room that a copy has for what the store it is given to adds, such as the number of the write: without it, all of a
/// large batch would be moved once more.
const ROOM_BESIDE_BYTES: usize = 512;
const ROOM_BESIDE_OPERATIONS: usize = 4;

impl Clone for Batch {
    fn clone(&self) -> Batch {
        let mut copy =
            Batch::with_room(self.bytes.len() + ROOM_BESIDE_BYTES, self.added.len() + ROOM_BESIDE_OPERATIONS);
        copy.bytes.extend_from_slice(&self.bytes);
        copy.added.extend_from_slice(&self.added);
        copy
    }
}

impl Batch {
    fn with_room(bytes: usize, operations: usize) -> Batch {
        Batch { bytes: Vec::with_capacity(bytes), added: Vec::with_capacity(operations) }
    }

    /// Returns an empty one with room for about as much as this one has.
    pub fn another(&self) -> Batch {
        Batch::with_room(self.bytes.len() + self.bytes.len() / 8, self.added.len() + self.added.len() / 8)
    }

    pub fn put(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.put_with(family, key, |bytes| bytes.extend_from_slice(value.as_ref()));
    }

    /// Puts what `value` appends: so a record need not be encoded elsewhere first.
    pub fn put_with(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl FnOnce(&mut Vec<u8>)) {
        let key = key.as_ref();
        self.bytes.extend_from_slice(key);
        let begins = self.bytes.len();
        value(&mut self.bytes);
        let second_bytes = self.bytes.len().checked_sub(begins).expect("a value is appended, and nothing taken away");
        self.added.push(Added { family, kind: Kind::Put, first_bytes: key.len(), second_bytes });
    }

    pub fn delete(&mut self, family: Family, key: impl AsRef<[u8]>) {
        let key = key.as_ref();
        self.bytes.extend_from_slice(key);
        self.added.push(Added { family, kind: Kind::Delete, first_bytes: key.len(), second_bytes: 0 });
    }

    /// Deletes the keys in `[from, to)`. A range that holds no key by its bounds adds nothing: RocksDB would take it for
    /// an error.
    pub fn delete_range(&mut self, family: Family, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) {
        let (from, to) = (from.as_ref(), to.as_ref());
        if from < to {
            self.bytes.extend_from_slice(from);
            self.bytes.extend_from_slice(to);
            let (first_bytes, second_bytes) = (from.len(), to.len());
            self.added.push(Added { family, kind: Kind::DeleteRange, first_bytes, second_bytes });
        }
    }

    pub fn append(&mut self, other: Batch) {
        if self.is_empty() {
            *self = other;
        } else {
            self.bytes.extend_from_slice(&other.bytes);
            self.added.extend_from_slice(&other.added);
        }
    }

    /// Adds one operation of another batch.
    pub fn add(&mut self, operation: Operation<'_>) {
        match operation {
            Operation::Put { family, key, value } => self.put(family, key, value),
            Operation::Delete { family, key } => self.delete(family, key),
            Operation::DeleteRange { family, from, to } => self.delete_range(family, from, to),
        }
    }

    /// Returns the place where the batch ends now.
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), added: self.added.len() }
    }

    /// Takes back what was added since.
    pub fn rewind(&mut self, to: Mark) {
        self.bytes.truncate(to.bytes);
        self.added.truncate(to.added);
    }

    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
    }

    /// Returns the number of operations.
    pub fn len(&self) -> usize {
        self.added.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Operation<'_>> {
        let mut rest = &self.bytes[..];
        self.added.iter().map(move |Added { family, kind, first_bytes, second_bytes }| {
            let (first, behind) = rest.split_at(*first_bytes);
            let (second, behind) = behind.split_at(*second_bytes);
            rest = behind;
            let family = *family;
            match kind {
                Kind::Put => Operation::Put { family, key: first, value: second },
                Kind::Delete => Operation::Delete { family, key: first },
                Kind::DeleteRange => Operation::DeleteRange { family, from: first, to: second },
            }
        })
    }

    /// Returns the bytes of all keys and values: what a bound on memory counts.
    pub fn payload_bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl Operation<'_> {
    pub fn family(&self) -> Family {
        match self {
            Operation::Put { family, .. }
            | Operation::Delete { family, .. }
            | Operation::DeleteRange { family, .. } => *family,
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: Family = Family("family");

    #[test]
    fn operations_come_back_as_they_were_added_also_from_batches_that_were_joined() {
        let mut batch = Batch::default();
        batch.put(FAMILY, "key", "value");
        batch.put_with(FAMILY, "", |value| value.extend_from_slice(b"appended"));
        let mut other = Batch::default();
        other.delete(FAMILY, "gone");
        other.delete_range(FAMILY, "a", "b");
        other.delete_range(FAMILY, "b", "b");
        batch.append(other);
        let found: Vec<Operation<'_>> = batch.iter().collect();
        assert_eq!(
            found,
            [
                Operation::Put { family: FAMILY, key: b"key", value: b"value" },
                Operation::Put { family: FAMILY, key: b"", value: b"appended" },
                Operation::Delete { family: FAMILY, key: b"gone" },
                Operation::DeleteRange { family: FAMILY, from: b"a", to: b"b" },
            ]
        );
        assert_eq!((batch.len(), batch.payload_bytes()), (4, 22));
        let mark = batch.mark();
        let before = batch.clone();
        batch.put(FAMILY, "too", "much");
        batch.rewind(mark);
        assert_eq!(batch, before);
        let mut again = Batch::default();
        batch.iter().for_each(|operation| again.add(operation));
        assert_eq!(again, batch);
    }
}
