//! The work of the key-value resource: what it locks, and what it comes to.
//!
//! Pure: reading is a function that is handed in. Operations are carried out in order and see what those before them
//! did; the first that does not hold refuses all. `work.proto` states the contract of each operation and the limits.

mod number;

use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_lock::Mode;
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;
use undoubt_vocabulary::{Refusal, RefusalCode};
use undoubt_work::text::shown;
use undoubt_work::{FORM_BYTES, Value};

pub use undoubt_work::kv::Operation;

/// The result of evaluating work on the data as they are under its locks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Evaluation {
    /// The value to store for each key; `None`: delete.
    pub writes: BTreeMap<Bytes, Option<Bytes>>,
    /// The values that the operations [tell](Tell), in their order.
    pub results: Vec<Value>,
}

/// The values that operations tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// The values that were read or added up: what whoever asked could not know.
    Learnt,
    /// The values that operations brought along, too.
    All,
}

impl Tell {
    fn brought(self, value: Option<Bytes>) -> Value {
        match self {
            Tell::Learnt => Value::Absent,
            Tell::All => value.into(),
        }
    }
}

impl Evaluation {
    /// Leaves out the values that the operations, which it is of, brought along.
    pub fn forget_what_was_brought(&mut self, operations: &[Operation]) {
        for (operation, result) in operations.iter().zip(&mut self.results) {
            match operation {
                Operation::Put { .. } | Operation::CompareAndSet { .. } => *result = Value::Absent,
                Operation::Get { .. } | Operation::Delete { .. } | Operation::Add { .. } => {}
            }
        }
    }

    pub fn is_read_only(&self) -> bool {
        self.writes.is_empty()
    }
}

fn mode_of(operation: &Operation) -> Mode {
    match operation {
        Operation::Get { .. } => Mode::Shared,
        Operation::Put { .. } | Operation::Delete { .. } | Operation::Add { .. } | Operation::CompareAndSet { .. } => {
            Mode::Exclusive
        }
    }
}

/// Returns all locks the work needs, each in the greater of the modes it is wanted in.
pub fn locks(operations: &[Operation]) -> BTreeMap<Bytes, Mode> {
    let mut locks = BTreeMap::new();
    for operation in operations {
        let mode = locks.entry(operation.key().clone()).or_insert(Mode::Shared);
        *mode = mode_of(operation).max(*mode);
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
    let mut result_bytes = FORM_BYTES;
    for operation in operations {
        let key = operation.key();
        // A value may be large, and is not read where it does not matter.
        let mut present = || evaluation.writes.get(key).cloned().unwrap_or_else(|| read(key));
        let told = match operation {
            Operation::Get { .. } => present().into(),
            Operation::Put { value, .. } => tell.brought(evaluation.write(key, Some(value.clone()))),
            Operation::Delete { .. } => evaluation.write(key, None).into(),
            Operation::Add { add, .. } => {
                let sum = number::add(key, present().as_ref(), *add)?;
                evaluation.write(key, Some(sum.to_string().into()));
                Value::Integer(sum)
            }
            Operation::CompareAndSet { expected, value, .. } => {
                let present = present();
                if present != *expected {
                    return Err(differs(key, expected.as_ref(), present.as_ref()));
                }
                tell.brought(evaluation.write(key, value.clone()))
            }
        };
        result_bytes += told.encoded_bytes();
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

fn shown_value(value: Option<&Bytes>) -> String {
    value.map_or("nothing".to_owned(), |value| shown(value))
}

#[cfg(test)]
mod tests;
