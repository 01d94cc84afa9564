//! What one write changes, all of it or nothing.

use bytes::Bytes;

use super::Family;

/// Changes that are applied together, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    operations: Vec<Operation>,
    payload_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Put {
        family: Family,
        key: Bytes,
        value: Bytes,
    },
    Delete {
        family: Family,
        key: Bytes,
    },
    /// Deletes the keys in `[from, to)`; `from` is below `to`.
    DeleteRange {
        family: Family,
        from: Bytes,
        to: Bytes,
    },
}

impl Batch {
    pub fn put(&mut self, family: Family, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.push(Operation::Put { family, key: key.into(), value: value.into() });
    }

    pub fn delete(&mut self, family: Family, key: impl Into<Bytes>) {
        self.push(Operation::Delete { family, key: key.into() });
    }

    /// Deletes the keys in `[from, to)`. A range that holds no key by its bounds adds nothing: RocksDB would take it for
    /// an error.
    pub fn delete_range(&mut self, family: Family, from: impl Into<Bytes>, to: impl Into<Bytes>) {
        let (from, to) = (from.into(), to.into());
        if from < to {
            self.push(Operation::DeleteRange { family, from, to });
        }
    }

    pub fn append(&mut self, mut other: Batch) {
        self.operations.append(&mut other.operations);
        self.payload_bytes += other.payload_bytes;
    }

    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Operation> {
        self.operations.iter()
    }

    /// Bytes of all keys and values: what a bound on memory counts.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    fn push(&mut self, operation: Operation) {
        self.payload_bytes += operation.payload_bytes();
        self.operations.push(operation);
    }
}

impl Operation {
    pub fn family(&self) -> Family {
        match self {
            Operation::Put { family, .. }
            | Operation::Delete { family, .. }
            | Operation::DeleteRange { family, .. } => *family,
        }
    }

    fn payload_bytes(&self) -> usize {
        match self {
            Operation::Put { key, value, .. } => key.len() + value.len(),
            Operation::Delete { key, .. } => key.len(),
            Operation::DeleteRange { from, to, .. } => from.len() + to.len(),
        }
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Operation;
    type IntoIter = std::slice::Iter<'a, Operation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Batch {
    type Item = Operation;
    type IntoIter = std::vec::IntoIter<Operation>;

    fn into_iter(self) -> Self::IntoIter {
        self.operations.into_iter()
    }
}
