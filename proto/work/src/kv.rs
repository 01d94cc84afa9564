//! Work of a key-value store: operations on keys. `work.proto` is the contract.

mod binary;
pub(crate) mod json;
pub(crate) mod text;

use crate::event::{Emit, Events};
use crate::invalid_work::InvalidWork;
use crate::reference::{Input, Place, Reference};
use crate::text::shown;
use crate::wire::Writer;
use crate::work::{PlaceInSaga, Work};
use bytes::Bytes;

pub use binary::{read, read_with_events};

/// A key: at least one byte, at most this many.
pub const MAX_KEY_BYTES: usize = 1_024;

/// A value.
pub const MAX_VALUE_BYTES: usize = 65_536;

/// Operations of one branch or step.
pub const MAX_OPERATIONS: usize = 1_024;

/// One operation on one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Reads the value.
    Get {
        /// Whose value.
        key: Bytes,
    },
    /// Sets the value.
    Put {
        /// Whose value.
        key: Bytes,
        /// The value from then on.
        value: Bytes,
    },
    /// Removes the value. Removing what is absent is fine.
    Delete {
        /// Whose value.
        key: Bytes,
    },
    /// Adds to a number in decimal text, absent counting as 0; refused where the sum would cross a bound.
    Add {
        /// Whose value.
        key: Bytes,
        /// What is added, and the bounds of the sum.
        add: Add,
    },
    /// Sets the value if the present one is the one expected. `expected: None` expects no value; `value: None` removes it.
    CompareAndSet {
        /// Whose value.
        key: Bytes,
        /// The value until then.
        expected: Option<Bytes>,
        /// The value from then on.
        value: Option<Bytes>,
    },
}

impl Operation {
    /// Returns the key that it is about.
    pub fn key(&self) -> &Bytes {
        match self {
            Operation::Get { key }
            | Operation::Put { key, .. }
            | Operation::Delete { key }
            | Operation::Add { key, .. }
            | Operation::CompareAndSet { key, .. } => key,
        }
    }

    fn key_mut(&mut self) -> &mut Bytes {
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

    /// Checks it against the limits.
    pub fn check(&self) -> Result<(), InvalidWork> {
        if self.key().is_empty() { Err(InvalidWork::EmptyKey) } else { self.check_lengths(0) }
    }

    /// Checks the lengths without the end of the key, which is not known yet. `other_value_bytes`: of another value
    /// that it may bring.
    fn check_lengths(&self, other_value_bytes: usize) -> Result<(), InvalidWork> {
        let key = self.key();
        if key.len() > MAX_KEY_BYTES {
            return Err(InvalidWork::KeyTooLong { key: shown(key), length: key.len() });
        }
        let length = self.longest_value().max(other_value_bytes);
        if length > MAX_VALUE_BYTES { Err(InvalidWork::ValueTooLong { key: shown(key), length }) } else { Ok(()) }
    }

    /// Returns the length of the longest value that it brings along.
    fn longest_value(&self) -> usize {
        let length = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        match self {
            Operation::Get { .. } | Operation::Delete { .. } | Operation::Add { .. } => 0,
            Operation::Put { value, .. } => value.len(),
            Operation::CompareAndSet { expected, value, .. } => length(expected).max(length(value)),
        }
    }
}

/// The extras of an operation. `R`: how it refers to the results of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extras<R = Reference> {
    pub key_suffix_from: Option<R>,
    pub value_from: Option<R>,
    pub expected_from: Option<R>,
    pub pend: bool,
    pub respect_pending: bool,
    /// The value of a put where it is part of a branch, which commits or leaves nothing.
    pub value_in_branch: Option<Bytes>,
}

impl Extras {
    fn check(&self, operation: &Operation) -> Result<(), InvalidWork> {
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
                Some(_) if !takes => return Err(InvalidWork::NothingToGive { what }),
                Some(_) if gives => return Err(InvalidWork::GivenTwice { what }),
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    fn references(&self) -> impl Iterator<Item = &Reference> {
        [&self.key_suffix_from, &self.value_from, &self.expected_from].into_iter().flatten()
    }

    /// Returns the same with its references as the numbers of these inputs.
    fn resolve(&self, inputs: &[&str]) -> Result<Extras<Input>, InvalidWork> {
        let Extras { key_suffix_from, value_from, expected_from, pend, respect_pending, value_in_branch } = self;
        let resolve = |from: &Option<Reference>| from.as_ref().map(|from| from.resolve(inputs)).transpose();
        Ok(Extras {
            key_suffix_from: resolve(key_suffix_from)?,
            value_from: resolve(value_from)?,
            expected_from: resolve(expected_from)?,
            pend: *pend,
            respect_pending: *respect_pending,
            value_in_branch: value_in_branch.clone(),
        })
    }
}

impl<R> Default for Extras<R> {
    fn default() -> Self {
        Extras {
            key_suffix_from: None,
            value_from: None,
            expected_from: None,
            pend: false,
            respect_pending: false,
            value_in_branch: None,
        }
    }
}

/// The number to add to another, and the bounds the sum has to keep. A plain `i64` is one without bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Add {
    /// What is added.
    pub delta: i64,
    /// The least that the sum may be.
    pub floor: Option<i64>,
    /// The most that the sum may be.
    pub ceiling: Option<i64>,
}

impl Add {
    /// Returns an addition without bounds.
    pub fn of(delta: i64) -> Self {
        Add { delta, floor: None, ceiling: None }
    }

    /// Has it refused if the sum is below.
    #[must_use]
    pub fn floor(self, floor: i64) -> Self {
        Add { floor: Some(floor), ..self }
    }

    /// Has it refused if the sum is above.
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

/// A branch's operations, in order, and the events that it publishes once they have taken effect. Each operation sees what those
/// before it did; all of it takes effect or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvWork {
    operations: Vec<Operation>,
    /// The extras, one for each operation.
    extras: Vec<Extras>,
    events: Events,
}

impl KvWork {
    /// Returns work without operations. Give it at least one, or an event.
    pub fn new() -> Self {
        KvWork::default()
    }

    /// Adds an operation.
    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self.extras.push(Extras::default());
        self
    }

    /// Publishes an event once the operations have taken effect. It may refer to what any of them leaves, later ones too
    /// ([`Source::own`](crate::event::Source::own)).
    #[must_use]
    pub fn emit(mut self, event: Emit) -> Self {
        self.events.push(event);
        self
    }

    /// Appends to the key of the last operation what an earlier step left. Only in a saga.
    #[must_use]
    pub fn key_suffix_from(self, from: Reference) -> Self {
        self.with(|extras| extras.key_suffix_from = Some(from))
    }

    /// Has the last operation, a put or a compare-and-set, take its value from an earlier step. Only in a saga.
    #[must_use]
    pub fn value_from(self, from: Reference) -> Self {
        self.with(|extras| extras.value_from = Some(from))
    }

    /// Has the last operation, a compare-and-set, expect what an earlier step saw (reread value). Only in a saga.
    #[must_use]
    pub fn expected_from(self, from: Reference) -> Self {
        self.with(|extras| extras.expected_from = Some(from))
    }

    /// Sets a semantic lock: the last operation marks its key as pending until the saga ends, or undoes this step, and
    /// is refused while another saga's mark is there. In a saga only for actions before the pivot. In two-phase commit,
    /// whose locks keep others off until it has ended, it sets no mark.
    #[must_use]
    pub fn pend(self) -> Self {
        self.with(|extras| extras.pend = true)
    }

    /// Has the last operation refused while an unfinished saga has marked its key as pending. Not for steps after a
    /// pivot nor for compensations: two sagas could wait for each other for ever.
    #[must_use]
    pub fn respect_pending(self) -> Self {
        self.with(|extras| extras.respect_pending = true)
    }

    /// Has the last operation, a put, bring this value where two-phase commit carries it out: with auto it may go
    /// either way.
    #[must_use]
    pub fn value_in_branch(self, value: impl Into<Bytes>) -> Self {
        self.with(|extras| extras.value_in_branch = Some(value.into()))
    }

    /// Returns the work with a semantic lock on every operation, and respecting those of others. For steps that can be
    /// undone.
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

    pub(crate) fn keep(&mut self, key: &Bytes, value: String, in_branch: Option<String>) {
        let kept = std::mem::take(self).put(key.clone(), value);
        *self = match in_branch {
            Some(value) => kept.value_in_branch(value),
            None => kept,
        };
    }

    /// Returns the work without the values of branches, for what is a step whatever happens.
    pub(crate) fn without_branch_values(mut self) -> Self {
        self.extras.iter_mut().for_each(|extras| extras.value_in_branch = None);
        self
    }

    /// Checks the work as the action or the compensation of a saga's step, and returns the first fault with the place
    /// of its operation. `action_of` returns the work of the action of a step, if it is known here.
    pub(crate) fn check_in_saga<'a>(
        &self,
        place: PlaceInSaga,
        action_of: impl Fn(&str) -> Option<&'a Work>,
    ) -> Result<(), (usize, InvalidWork)> {
        for (at, extras) in self.extras.iter().enumerate() {
            let fault = place.fault_of(extras.pend, extras.respect_pending);
            let unknown = || extras.references().find_map(|from| from.fault(action_of(from.step())?));
            if let Some(fault) = fault.or_else(unknown) {
                return Err((at, fault));
            }
        }
        self.events.check_in_saga(action_of).map_err(|(at, fault)| (self.operations.len() + at, fault))
    }

    pub(crate) fn is_no_value(&self, from: &Place) -> Option<&'static str> {
        let operation = from.operation as usize;
        match self.operations.get(operation) {
            Some(_) if from.cell.is_some() => Some("an operation leaves one value, which has no columns"),
            None => Some("there is no operation with that number, counted from 0"),
            Some(found) if !found.may_leave_a_value(&self.extras[operation]) => Some("it never leaves a value"),
            Some(_) => None,
        }
    }

    /// Returns steps whose results it refers to, in the order it names them.
    pub(crate) fn referred_steps(&self) -> Vec<&str> {
        let of_operations = self.extras.iter().flat_map(Extras::references).map(Reference::step);
        of_operations.chain(self.events.referred_steps()).collect()
    }

    /// Reads the value of a key.
    #[must_use]
    pub fn get(self, key: impl Into<Bytes>) -> Self {
        self.operation(Operation::Get { key: key.into() })
    }

    /// Sets the value of a key.
    #[must_use]
    pub fn put(self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.operation(Operation::Put { key: key.into(), value: value.into() })
    }

    /// Removes the value of a key. Removing what is absent is fine.
    #[must_use]
    pub fn delete(self, key: impl Into<Bytes>) -> Self {
        self.operation(Operation::Delete { key: key.into() })
    }

    /// Adds to the number under a key: `.add("alice", -10)`, or with bounds `.add("alice", Add::of(-10).floor(0))`.
    #[must_use]
    pub fn add(self, key: impl Into<Bytes>, add: impl Into<Add>) -> Self {
        self.operation(Operation::Add { key: key.into(), add: add.into() })
    }

    /// Sets the value of a key if the present one is the one expected. No value is expected, or set, by `None`.
    #[must_use]
    pub fn compare_and_set(self, key: impl Into<Bytes>, expected: Option<Bytes>, value: Option<Bytes>) -> Self {
        self.operation(Operation::CompareAndSet { key: key.into(), expected, value })
    }

    /// Adds the operations and the events of `other` after those of this one.
    #[must_use]
    pub fn then(mut self, other: KvWork) -> Self {
        // Events alone are about what they are put to.
        let before = if other.operations.is_empty() { 0 } else { self.operations.len() };
        self.events = self.events.then(other.events, before);
        self.operations.extend(other.operations);
        self.extras.extend(other.extras);
        self
    }

    /// Returns the operations, in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Returns the events, in order.
    pub fn events(&self) -> &[Emit] {
        self.events.as_slice()
    }

    /// Returns what the operations have besides themselves: as many as there are operations.
    pub fn extras(&self) -> &[Extras] {
        &self.extras
    }

    /// Returns the bytes that a branch carries.
    pub fn encode(&self) -> Result<Bytes, InvalidWork> {
        self.encode_with(&[])
    }

    /// Returns the bytes that a step carries whose inputs are the results of these steps.
    pub(crate) fn encode_with(&self, inputs: &[&str]) -> Result<Bytes, InvalidWork> {
        let count = self.operations.len();
        if count == 0 && self.events.is_empty() {
            return Err(InvalidWork::NoOperations);
        }
        if count > MAX_OPERATIONS {
            return Err(InvalidWork::TooManyOperations { count });
        }
        let mut out = Writer::default();
        for (operation, extras) in self.operations.iter().zip(&self.extras) {
            extras.check(operation)?;
            // A suffix that is appended to the key is not known yet.
            if extras.key_suffix_from.is_none() {
                operation.check()?;
            }
            operation.check_lengths(extras.value_in_branch.as_ref().map_or(0, Bytes::len))?;
            binary::write(&mut out, operation, &extras.resolve(inputs)?);
        }
        self.events.write(&mut out, inputs, |place| self.is_no_value(place))?;
        Ok(out.finish())
    }
}

impl From<Events> for KvWork {
    fn from(events: Events) -> Self {
        KvWork { events, ..KvWork::default() }
    }
}

#[cfg(test)]
mod tests;
