//! Work for the key-value resource manager, and what it hands back. `kv.proto` is the contract.

use bytes::Bytes;
use prost::Message;
use undoubt_proto::kv as wire;
use undoubt_vocabulary::TxId;

pub const MAX_KEY_BYTES: usize = 1_024;
pub const MAX_VALUE_BYTES: usize = 65_536;
pub const MAX_OPERATIONS_PER_BRANCH: usize = 1_024;

/// One operation on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Get {
        key: Bytes,
    },
    Put {
        key: Bytes,
        value: Bytes,
    },
    Delete {
        key: Bytes,
    },
    Add {
        key: Bytes,
        add: Add,
    },
    /// `expected: None` expects no value; `value: None` removes it.
    CompareAndSet {
        key: Bytes,
        expected: Option<Bytes>,
        value: Option<Bytes>,
    },
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

    fn check(&self) -> Result<(), InvalidKv> {
        match self.key().len() {
            0 => return Err(InvalidKv::EmptyKey),
            1..=MAX_KEY_BYTES => {}
            length => return Err(InvalidKv::KeyTooLong { length }),
        }
        let longest = match self {
            Operation::Put { value, .. } => value.len(),
            Operation::CompareAndSet { expected, value, .. } => {
                expected.iter().chain(value).map(Bytes::len).max().unwrap_or(0)
            }
            Operation::Get { .. } | Operation::Delete { .. } | Operation::Add { .. } => 0,
        };
        if longest > MAX_VALUE_BYTES { Err(InvalidKv::ValueTooLong { length: longest }) } else { Ok(()) }
    }
}

/// What an earlier step of the saga read or made: the value in its results at this place. A compensation may also refer
/// to the results of its own step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    step: String,
    operation: u32,
}

impl Reference {
    /// `operation` counts from 0.
    pub fn to(step: &str, operation: u32) -> Self {
        Reference { step: step.to_owned(), operation }
    }

    pub fn step(&self) -> &str {
        &self.step
    }

    pub fn operation(&self) -> u32 {
        self.operation
    }

    fn resolve(&self, inputs: &[&str]) -> Result<wire::Reference, InvalidKv> {
        let input = inputs.iter().position(|input| *input == self.step).and_then(|at| u32::try_from(at).ok());
        let input = input.ok_or_else(|| InvalidKv::NoSuchInput { step: self.step.clone() })?;
        Ok(wire::Reference { input, operation: self.operation })
    }
}

/// What an operation may have besides itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    pub key_suffix_from: Option<Reference>,
    pub value_from: Option<Reference>,
    pub expected_from: Option<Reference>,
    pub pend: bool,
    pub respect_pending: bool,
}

impl Extras {
    fn references(&self) -> impl Iterator<Item = &Reference> {
        [&self.key_suffix_from, &self.value_from, &self.expected_from].into_iter().flatten()
    }

    fn to_wire(&self, operation: &Operation, inputs: &[&str]) -> Result<wire::Operation, InvalidKv> {
        use wire::operation::Kind;
        let resolve = |from: &Option<Reference>| from.as_ref().map(|from| from.resolve(inputs)).transpose();
        let (value_from, expected_from) = (resolve(&self.value_from)?, resolve(&self.expected_from)?);
        let kind = match operation.clone() {
            Operation::Get { .. } => Kind::Get(wire::Get {}),
            Operation::Put { value, .. } => Kind::Put(wire::Put { value, value_from }),
            Operation::Delete { .. } => Kind::Delete(wire::Delete {}),
            Operation::Add { add: Add { delta, floor, ceiling }, .. } => Kind::Add(wire::Add { delta, floor, ceiling }),
            Operation::CompareAndSet { expected, value, .. } => {
                Kind::CompareAndSet(wire::CompareAndSet { expected, value, expected_from, value_from })
            }
        };
        Ok(wire::Operation {
            key: operation.key().clone(),
            kind: Some(kind),
            key_suffix_from: resolve(&self.key_suffix_from)?,
            pend: self.pend,
            respect_pending: self.respect_pending,
        })
    }
}

/// What to add to a number, and the bounds the sum has to keep. A plain `i64` is one without bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Add {
    pub delta: i64,
    pub floor: Option<i64>,
    pub ceiling: Option<i64>,
}

impl Add {
    pub fn of(delta: i64) -> Self {
        Add { delta, floor: None, ceiling: None }
    }

    /// Refused if the sum is below.
    #[must_use]
    pub fn floor(self, floor: i64) -> Self {
        Add { floor: Some(floor), ..self }
    }

    /// Refused if the sum is above.
    #[must_use]
    pub fn ceiling(self, ceiling: i64) -> Self {
        Add { ceiling: Some(ceiling), ..self }
    }
}

impl From<i64> for Add {
    fn from(delta: i64) -> Self {
        Add::of(delta)
    }
}

/// A branch's operations, in order. Each sees what those before it did; all take effect or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvWork {
    operations: Vec<Operation>,
    /// As many as operations.
    extras: Vec<Extras>,
}

impl KvWork {
    pub fn new() -> Self {
        KvWork::default()
    }

    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self.extras.push(Extras::default());
        self
    }

    /// Appends to the key of the last operation what an earlier step left. Only in a saga.
    #[must_use]
    pub fn key_suffix_from(self, from: Reference) -> Self {
        self.with(|extras| extras.key_suffix_from = Some(from))
    }

    /// The last operation, a put or a compare-and-set, takes its value from an earlier step. Only in a saga.
    #[must_use]
    pub fn value_from(self, from: Reference) -> Self {
        self.with(|extras| extras.value_from = Some(from))
    }

    /// The last operation, a compare-and-set, expects what an earlier step saw (reread value). Only in a saga.
    #[must_use]
    pub fn expected_from(self, from: Reference) -> Self {
        self.with(|extras| extras.expected_from = Some(from))
    }

    /// A semantic lock: the last operation marks its key as pending until the saga ends, or undoes this step. Only in a
    /// saga's action.
    #[must_use]
    pub fn pend(self) -> Self {
        self.with(|extras| extras.pend = true)
    }

    /// The last operation is refused while an unfinished saga has marked its key as pending. Not for steps after a pivot:
    /// two sagas could wait for each other for ever.
    #[must_use]
    pub fn respect_pending(self) -> Self {
        self.with(|extras| extras.respect_pending = true)
    }

    /// Every operation with a semantic lock, and respecting those of others. For steps that can be undone.
    #[must_use]
    pub fn guarded(mut self) -> Self {
        for extras in &mut self.extras {
            (extras.pend, extras.respect_pending) = (true, true);
        }
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Extras)) -> Self {
        if let Some(last) = self.extras.last_mut() {
            change(last);
        }
        self
    }

    pub(crate) fn keep_outcome(&mut self, key: &Bytes, outcome: &str, tx: &TxId) {
        *self = std::mem::take(self).put(key.clone(), format!("{outcome} {tx}"));
    }

    /// Steps whose results it refers to, in the order it names them.
    pub(crate) fn referred_steps(&self) -> Vec<&str> {
        self.extras.iter().flat_map(Extras::references).map(|reference| reference.step.as_str()).collect()
    }

    #[must_use]
    pub fn get(self, key: impl Into<Bytes>) -> Self {
        self.operation(Operation::Get { key: key.into() })
    }

    #[must_use]
    pub fn put(self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.operation(Operation::Put { key: key.into(), value: value.into() })
    }

    #[must_use]
    pub fn delete(self, key: impl Into<Bytes>) -> Self {
        self.operation(Operation::Delete { key: key.into() })
    }

    /// `.add("alice", -10)`, or with bounds `.add("alice", Add::of(-10).floor(0))`.
    #[must_use]
    pub fn add(self, key: impl Into<Bytes>, add: impl Into<Add>) -> Self {
        self.operation(Operation::Add { key: key.into(), add: add.into() })
    }

    #[must_use]
    pub fn compare_and_set(self, key: impl Into<Bytes>, expected: Option<Bytes>, value: Option<Bytes>) -> Self {
        self.operation(Operation::CompareAndSet { key: key.into(), expected, value })
    }

    /// The operations of `other` after those of this one.
    #[must_use]
    pub fn then(mut self, other: KvWork) -> Self {
        self.operations.extend(other.operations);
        self.extras.extend(other.extras);
        self
    }

    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// As many as there are operations.
    pub fn extras(&self) -> &[Extras] {
        &self.extras
    }

    /// The bytes a branch carries.
    pub fn encode(&self) -> Result<Bytes, InvalidKv> {
        self.encode_with(&[])
    }

    /// The bytes a step carries whose inputs are the results of these steps.
    pub(crate) fn encode_with(&self, inputs: &[&str]) -> Result<Bytes, InvalidKv> {
        let count = self.operations.len();
        if count == 0 {
            return Err(InvalidKv::NoOperations);
        }
        if count > MAX_OPERATIONS_PER_BRANCH {
            return Err(InvalidKv::TooManyOperations { count });
        }
        self.operations.iter().try_for_each(Operation::check)?;
        let pairs = self.operations.iter().zip(&self.extras);
        let operations =
            pairs.map(|(operation, extras)| extras.to_wire(operation, inputs)).collect::<Result<_, _>>()?;
        Ok(wire::Work { operations }.encode_to_vec().into())
    }
}

/// Reads what a key-value branch handed back: one entry for each operation, in order. A value is what was read, or the sum
/// made; `None` where there is none, and where the operation brought along what it left. A saga's step tells that too.
pub fn decode_results(result: &[u8]) -> Result<Vec<Option<Bytes>>, NoKvResults> {
    let results = wire::Results::decode(result).map_err(|error| NoKvResults { cause: error.to_string() })?;
    Ok(results.results.into_iter().map(|result| result.value).collect())
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKv {
    #[error("it has no operations; give at least one")]
    NoOperations,
    #[error("it has {count} operations, more than the {MAX_OPERATIONS_PER_BRANCH} allowed; split the transaction")]
    TooManyOperations { count: usize },
    #[error("it refers to step {step}, which is no earlier step of a saga that it is part of; correct the name")]
    NoSuchInput { step: String },
    #[error("a key is empty; keys have 1 to {MAX_KEY_BYTES} bytes")]
    EmptyKey,
    #[error("a key has {length} bytes, more than the {MAX_KEY_BYTES} allowed; shorten it")]
    KeyTooLong { length: usize },
    #[error("a value has {length} bytes, more than the {MAX_VALUE_BYTES} allowed; shorten it")]
    ValueTooLong { length: usize },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are no results of a key-value participant ({cause}); ask what kind of resource it guards")]
pub struct NoKvResults {
    cause: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn operations_keep_their_order_and_bounds_on_the_wire() {
        let work = KvWork::new().get("a").put("b", "1").delete("c").add("d", Add::of(-3).floor(0).ceiling(9));
        let work = work.compare_and_set("e", None, Some("x".into()));
        let wire = wire::Work::decode(work.encode().unwrap()).unwrap();
        let keys: Vec<_> = wire.operations.iter().map(|operation| operation.key.clone()).collect();
        assert_eq!(keys, ["a", "b", "c", "d", "e"]);
        let add = wire::Add { delta: -3, floor: Some(0), ceiling: Some(9) };
        assert_eq!(wire.operations[3].kind, Some(wire::operation::Kind::Add(add)));
        let cas = wire::CompareAndSet { value: Some("x".into()), ..wire::CompareAndSet::default() };
        assert_eq!(wire.operations[4].kind, Some(wire::operation::Kind::CompareAndSet(cas)));
    }

    #[test]
    fn work_over_a_limit_is_refused_with_the_limit_named() {
        let error = |work: KvWork| work.encode().unwrap_err().to_string();
        assert!(error(KvWork::new()).contains("no operations"));
        assert!(error(KvWork::new().get("")).contains("1 to 1024"));
        assert!(error(KvWork::new().get(vec![0; 1_025])).contains("1024"));
        assert!(error(KvWork::new().put("k", vec![0; 65_537])).contains("65536"));
        assert!(error(KvWork::new().compare_and_set("k", Some(vec![0; 65_537].into()), None)).contains("65536"));
        let many = (0..1_025).fold(KvWork::new(), |work, _| work.get("k"));
        assert!(error(many).contains("1024"));
    }

    #[test]
    fn results_tell_an_empty_value_from_none() {
        let results = [Some(Bytes::new()), None, Some("7".into())];
        let wire = wire::Results { results: results.iter().map(|v| wire::Result { value: v.clone() }).collect() };
        assert_eq!(decode_results(&wire.encode_to_vec()).unwrap(), results);
    }

    proptest! {
        #[test]
        fn reading_results_from_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode_results(&bytes);
        }
    }
}
