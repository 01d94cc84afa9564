//! The work of the key-value resource: what it locks, and what it comes to.
//!
//! Pure: reading is a function that is handed in. Operations are carried out in order and see what those before them
//! did; the first that does not hold refuses all. `kv.proto` states the contract of each operation and the limits.

mod number;
mod text;

use bytes::Bytes;
use std::collections::BTreeMap;
use text::shown_value;
use undoubt_lock::Mode;
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;
use undoubt_vocabulary::{Refusal, RefusalCode};

pub use text::shown;

/// Operations of one branch.
pub const MAX_OPERATIONS: usize = 1_024;

/// A key: at least one byte, at most this many.
pub const MAX_KEY_BYTES: usize = 1_024;

/// A value.
pub const MAX_VALUE_BYTES: usize = 65_536;

/// What the encoded results add to each value at most: two tags and two lengths.
const RESULT_FRAME_BYTES: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Get {
        key: Bytes,
    },
    Put {
        key: Bytes,
        value: Bytes,
    },
    /// Removing what is absent is fine.
    Delete {
        key: Bytes,
    },
    /// Adds to a number in decimal text, absent counting as 0; refused where the sum would cross a bound.
    Add {
        key: Bytes,
        delta: i64,
        floor: Option<i64>,
        ceiling: Option<i64>,
    },
    /// Sets the value (`None`: removes it) if the present one is the one expected (`None`: there is none).
    CompareAndSet {
        key: Bytes,
        expected: Option<Bytes>,
        value: Option<Bytes>,
    },
}

/// What work comes to, on the data as they are under its locks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Evaluation {
    /// What to store for each key; `None`: delete.
    pub writes: BTreeMap<Bytes, Option<Bytes>>,
    /// For each operation in order, what it [tells](Tell).
    pub results: Vec<Option<Bytes>>,
}

/// What operations tell of the values after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// What was read and what was added up: what whoever asked could not know.
    Learnt,
    /// Also what an operation brought along.
    All,
}

impl Tell {
    fn brought(self, value: Option<Bytes>) -> Option<Bytes> {
        match self {
            Tell::Learnt => None,
            Tell::All => value,
        }
    }
}

impl Evaluation {
    pub fn is_read_only(&self) -> bool {
        self.writes.is_empty()
    }
}

impl Operation {
    pub fn key(&self) -> &Bytes {
        match self {
            Operation::Get { key }
            | Operation::Put { key, .. }
            | Operation::Delete { key }
            | Operation::Add { key, .. }
            | Operation::CompareAndSet { key, .. } => key,
        }
    }

    fn mode(&self) -> Mode {
        match self {
            Operation::Get { .. } => Mode::Shared,
            Operation::Put { .. }
            | Operation::Delete { .. }
            | Operation::Add { .. }
            | Operation::CompareAndSet { .. } => Mode::Exclusive,
        }
    }

    /// The longest value it brings along, in bytes.
    fn longest_value(&self) -> usize {
        let length = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        match self {
            Operation::Get { .. } | Operation::Delete { .. } | Operation::Add { .. } => 0,
            Operation::Put { value, .. } => value.len(),
            Operation::CompareAndSet { expected, value, .. } => length(expected).max(length(value)),
        }
    }
}

/// Refuses work that is over a limit, before anything is locked for it (R9).
pub fn check(operations: &[Operation]) -> Result<(), Refusal> {
    let too_large = |detail| Err(Refusal::new(RefusalCode::TooLarge, detail));
    let count = operations.len();
    if count > MAX_OPERATIONS {
        return too_large(format!("{count} operations, more than the {MAX_OPERATIONS} allowed; split the work"));
    }
    for operation in operations {
        let key = operation.key();
        if key.is_empty() {
            let detail = format!("an operation has an empty key; give 1 to {MAX_KEY_BYTES} bytes");
            return Err(Refusal::new(RefusalCode::InvalidWork, detail));
        }
        if key.len() > MAX_KEY_BYTES {
            let (key, length) = (shown(key), key.len());
            return too_large(format!(
                "key {key} has {length} bytes, more than the {MAX_KEY_BYTES} allowed; shorten it"
            ));
        }
        let length = operation.longest_value();
        if length > MAX_VALUE_BYTES {
            let key = shown(key);
            return too_large(format!(
                "a value for key {key} has {length} bytes, more than the {MAX_VALUE_BYTES} allowed; split it"
            ));
        }
    }
    Ok(())
}

/// All locks the work needs, each in the greater of the modes it is wanted in.
pub fn locks(operations: &[Operation]) -> BTreeMap<Bytes, Mode> {
    let mut locks = BTreeMap::new();
    for operation in operations {
        let mode = locks.entry(operation.key().clone()).or_insert(Mode::Shared);
        *mode = operation.mode().max(*mode);
    }
    locks
}

/// Carries out the work on what `read` tells, which has to stay true while the locks are held.
pub fn evaluate(
    operations: &[Operation],
    tell: Tell,
    mut read: impl FnMut(&[u8]) -> Option<Bytes>,
) -> Result<Evaluation, Refusal> {
    let mut evaluation = Evaluation::default();
    let mut result_bytes = 0;
    for operation in operations {
        let key = operation.key();
        // A value may be large, and is not read where it does not matter.
        let mut present = || evaluation.writes.get(key).cloned().unwrap_or_else(|| read(key));
        let told = match operation {
            Operation::Get { .. } => present(),
            Operation::Put { value, .. } => tell.brought(evaluation.write(key, Some(value.clone()))),
            Operation::Delete { .. } => evaluation.write(key, None),
            Operation::Add { delta, floor, ceiling, .. } => {
                let sum = number::add(key, present().as_ref(), *delta, *floor, *ceiling)?;
                evaluation.write(key, Some(sum))
            }
            Operation::CompareAndSet { expected, value, .. } => {
                let present = present();
                if present != *expected {
                    return Err(differs(key, expected.as_ref(), present.as_ref()));
                }
                tell.brought(evaluation.write(key, value.clone()))
            }
        };
        result_bytes += RESULT_FRAME_BYTES + told.as_ref().map_or(0, Bytes::len);
        if result_bytes > MAX_RESULT_BYTES {
            let detail =
                format!("the values told are together more than the {MAX_RESULT_BYTES} bytes allowed; split the work");
            return Err(Refusal::new(RefusalCode::TooLarge, detail));
        }
        evaluation.results.push(told);
    }
    Ok(evaluation)
}

impl Evaluation {
    fn write(&mut self, key: &Bytes, value: Option<Bytes>) -> Option<Bytes> {
        self.writes.insert(key.clone(), value.clone());
        value
    }
}

fn differs(key: &Bytes, expected: Option<&Bytes>, present: Option<&Bytes>) -> Refusal {
    let (key, expected, present) = (shown(key), shown_value(expected), shown_value(present));
    let detail = format!("key {key} holds {present}, not the expected {expected}; read it again and decide anew");
    Refusal::new(RefusalCode::Condition, detail)
}

#[cfg(test)]
mod tests;
