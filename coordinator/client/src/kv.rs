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

    /// Returns true if its result, in a saga's step, may hold a value: the one that is there after the operation.
    fn may_leave_a_value(&self, extras: &Extras) -> bool {
        match self {
            Operation::Get { .. } | Operation::Put { .. } | Operation::Add { .. } => true,
            Operation::CompareAndSet { value, .. } => value.is_some() || extras.value_from.is_some(),
            Operation::Delete { .. } => false,
        }
    }

    fn check(&self, extras: &Extras) -> Result<(), InvalidKv> {
        extras.check(self)?;
        match self.key().len() {
            // A suffix that is appended to it is not known yet.
            0 if extras.key_suffix_from.is_some() => {}
            0 => return Err(InvalidKv::EmptyKey),
            1..=MAX_KEY_BYTES => {}
            length => return Err(InvalidKv::KeyTooLong { length }),
        }
        let longest = match self {
            Operation::Put { value, .. } => value.len().max(extras.value_in_branch.as_ref().map_or(0, Bytes::len)),
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
    /// The value of a put where it is part of a branch, which commits or leaves nothing.
    pub value_in_branch: Option<Bytes>,
}

impl Extras {
    fn check(&self, operation: &Operation) -> Result<(), InvalidKv> {
        let (takes_value, gives_value, takes_expected, gives_expected) = match operation {
            Operation::Put { value, .. } => (true, !value.is_empty(), false, false),
            Operation::CompareAndSet { expected, value, .. } => (true, value.is_some(), true, expected.is_some()),
            Operation::Get { .. } | Operation::Delete { .. } | Operation::Add { .. } => (false, false, false, false),
        };
        for (given, what, takes, gives) in [
            (&self.value_from, "value-from", takes_value, gives_value),
            (&self.expected_from, "expected-from", takes_expected, gives_expected),
        ] {
            match given {
                Some(_) if !takes => return Err(InvalidKv::NothingToGive { what }),
                Some(_) if gives => return Err(InvalidKv::GivenTwice { what }),
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    fn references(&self) -> impl Iterator<Item = &Reference> {
        [&self.key_suffix_from, &self.value_from, &self.expected_from].into_iter().flatten()
    }

    fn to_wire(&self, operation: &Operation, inputs: &[&str]) -> Result<wire::Operation, InvalidKv> {
        use wire::operation::Kind;
        let resolve = |from: &Option<Reference>| from.as_ref().map(|from| from.resolve(inputs)).transpose();
        let (value_from, expected_from) = (resolve(&self.value_from)?, resolve(&self.expected_from)?);
        let kind = match operation.clone() {
            Operation::Get { .. } => Kind::Get(wire::Get {}),
            Operation::Put { value, .. } => {
                Kind::Put(wire::Put { value, value_from, value_in_branch: self.value_in_branch.clone() })
            }
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

/// The place of work in a saga, which decides what it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SagaHalf {
    ActionThatCanBeUndone,
    Pivot,
    AfterPivot,
    Compensation,
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

    /// A semantic lock: the last operation marks its key as pending until the saga ends, or undoes this step, and is refused
    /// while another saga's mark is there. In a saga only for actions before the pivot. In two-phase commit, whose locks
    /// keep others off until it has ended, it sets no mark.
    #[must_use]
    pub fn pend(self) -> Self {
        self.with(|extras| extras.pend = true)
    }

    /// The last operation is refused while an unfinished saga has marked its key as pending. Not for steps after a pivot nor
    /// for compensations: two sagas could wait for each other for ever.
    #[must_use]
    pub fn respect_pending(self) -> Self {
        self.with(|extras| extras.respect_pending = true)
    }

    /// The last operation, a put, brings this value where two-phase commit carries it out: with auto it may go either way.
    #[must_use]
    pub fn value_in_branch(self, value: impl Into<Bytes>) -> Self {
        self.with(|extras| extras.value_in_branch = Some(value.into()))
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

    /// Adds a put that keeps under `key` that an action that can be undone has acted or, if two-phase commit carries it
    /// out, that it has committed.
    pub(crate) fn keep_acted(&mut self, key: &Bytes, tx: &TxId) {
        self.keep_outcome(key, "acted", tx);
        *self = std::mem::take(self).value_in_branch(format!("committed {tx}"));
    }

    /// For what is a step whatever happens.
    pub(crate) fn without_branch_values(mut self) -> Self {
        self.extras.iter_mut().for_each(|extras| extras.value_in_branch = None);
        self
    }

    /// Checks the work as one half of a saga's step, and returns the first fault with the place of its operation.
    /// `action_of` returns the work of the action of a step, if it is known here.
    pub(crate) fn check_in_saga<'a>(
        &self,
        half: SagaHalf,
        action_of: impl Fn(&str) -> Option<&'a KvWork>,
    ) -> Result<(), (usize, InvalidKv)> {
        for (at, extras) in self.extras.iter().enumerate() {
            let fault = match half {
                _ if extras.pend && half != SagaHalf::ActionThatCanBeUndone => Some(InvalidKv::PendTooLate),
                SagaHalf::ActionThatCanBeUndone | SagaHalf::Pivot => None,
                SagaHalf::Compensation | SagaHalf::AfterPivot => {
                    extras.respect_pending.then_some(InvalidKv::RespectTooLate)
                }
            };
            let unknown = || {
                let known = |from: &&Reference| action_of(&from.step).map(|work| (work, from.operation as usize));
                extras.references().find_map(|from| {
                    let (work, operation) = known(&from)?;
                    work.is_no_value(operation).map(|why| InvalidKv::NoSuchValue { from: from.clone(), why })
                })
            };
            if let Some(fault) = fault.or_else(unknown) {
                return Err((at, fault));
            }
        }
        Ok(())
    }

    /// Why the result at this place has no value.
    fn is_no_value(&self, operation: usize) -> Option<&'static str> {
        match self.operations.get(operation) {
            None => Some("that step has no operation with that number, counted from 0"),
            Some(found) if !found.may_leave_a_value(&self.extras[operation]) => Some("it never leaves a value"),
            Some(_) => None,
        }
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
        let pairs = || self.operations.iter().zip(&self.extras);
        pairs().try_for_each(|(operation, extras)| operation.check(extras))?;
        let operations =
            pairs().map(|(operation, extras)| extras.to_wire(operation, inputs)).collect::<Result<_, _>>()?;
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
    #[error("{}.{} cannot be referred to: {why}; refer to one that leaves a value", from.step, from.operation)]
    NoSuchValue { from: Reference, why: &'static str },
    #[error(
        "pend marks what may yet be undone, so it is for actions before the pivot, and not for what undoes them; leave it out"
    )]
    PendTooLate,
    #[error(
        "respect-pending may be refused for as long as another saga takes, and from the pivot on, or while going back, \
         there is no other way: leave it out, or let a step before the pivot respect what is pending"
    )]
    RespectTooLate,
    #[error("{what} is for {}; leave it out", if *what == "value-from" { "put and cas" } else { "cas" })]
    NothingToGive { what: &'static str },
    #[error("{what} stands beside the value that it would give; leave one of the two out")]
    GivenTwice { what: &'static str },
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
    fn what_an_operation_has_besides_itself_has_to_fit_it() {
        let (from, inputs) = (|| Reference::to("a", 0), ["a"]);
        let error = |work: KvWork| work.encode_with(&inputs).unwrap_err().to_string();
        assert!(error(KvWork::new().get("k").value_from(from())).contains("put and cas"));
        assert!(error(KvWork::new().put("k", "").expected_from(from())).contains("for cas"));
        assert!(error(KvWork::new().put("k", "v").value_from(from())).contains("leave one of the two out"));
        let cas = |expected: Option<Bytes>| KvWork::new().compare_and_set("k", expected, None).expected_from(from());
        assert!(error(cas(Some("1".into()))).contains("expected-from"));
        assert!(cas(None).value_from(from()).encode_with(&inputs).is_ok());
        assert!(KvWork::new().put("", "v").key_suffix_from(from()).encode_with(&inputs).is_ok());
        assert!(error(KvWork::new().put("", "v")).contains("1 to 1024"));
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
