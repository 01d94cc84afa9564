//! Calls of procedures that a participant declares. `work.proto` is the contract.

mod binary;
pub(crate) mod json;
mod result;
pub(crate) mod text;

use crate::datum::Datum;
use crate::event::{Emit, Events};
use crate::invalid_work::InvalidWork;
use crate::reference::{Input, Place, Reference};
use crate::wire::Writer;
use crate::work::{PlaceInSaga, Work};
use bytes::Bytes;
use std::collections::BTreeSet;

pub use binary::{read, read_with_events};
pub use result::{CallResult, Cells};

/// Calls of one branch or step.
pub const MAX_CALLS: usize = 64;

/// Arguments of one call.
pub const MAX_ARGUMENTS: usize = 256;

/// The name of a procedure or an argument.
pub const MAX_CALL_NAME_BYTES: usize = 64;

/// A value of an argument.
pub const MAX_ARGUMENT_BYTES: usize = 65_536;

/// One call of a procedure. `R`: how it refers to the results of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Call<R = Reference> {
    /// The name under which the participant declares it.
    pub procedure: String,
    /// The arguments, each name once.
    pub arguments: Vec<Argument<R>>,
    /// True if it marks the keys that the procedure declares as pending until the saga ends.
    pub pend: bool,
    /// True if it is refused while another saga has marked one of them.
    pub respect_pending: bool,
    /// True if it is the procedure's undo that runs.
    pub undo: bool,
}

/// An argument by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument<R = Reference> {
    pub name: String,
    pub given: Given<R>,
}

/// The source of an argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Given<R = Reference> {
    Value(Datum),
    /// Left by an earlier step.
    From(R),
}

/// A value that the participant keeps under a key of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeKey {
    pub key: Bytes,
    pub value: Bytes,
    /// Instead of the value where the work is part of a branch.
    pub value_in_branch: Option<Bytes>,
}

/// The calls that a resource reads from work, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls {
    pub calls: Vec<Call<Input>>,
    pub outcome: Option<OutcomeKey>,
}

impl Call {
    /// Returns a call without arguments.
    pub fn new(procedure: &str) -> Call {
        Call {
            procedure: procedure.to_owned(),
            arguments: Vec::new(),
            pend: false,
            respect_pending: false,
            undo: false,
        }
    }

    /// Gives an argument.
    #[must_use]
    pub fn arg(self, name: &str, value: impl Into<Datum>) -> Call {
        self.given(name, Given::Value(value.into()))
    }

    /// Gives an argument that an earlier step leaves. Only in a saga.
    #[must_use]
    pub fn arg_from(self, name: &str, from: Reference) -> Call {
        self.given(name, Given::From(from))
    }

    fn given(mut self, name: &str, given: Given) -> Call {
        self.arguments.push(Argument { name: name.to_owned(), given });
        self
    }

    /// Sets a semantic lock on the keys that the procedure declares, until the saga ends or undoes this step. In a saga only for
    /// actions before the pivot. In two-phase commit, whose locks keep others off until it has ended, it sets no mark.
    #[must_use]
    pub fn pend(self) -> Call {
        Call { pend: true, ..self }
    }

    /// Has it refused while an unfinished saga has marked one of those keys. Not for steps after a pivot nor for
    /// compensations: two sagas could wait for each other for ever.
    #[must_use]
    pub fn respect_pending(self) -> Call {
        Call { respect_pending: true, ..self }
    }

    /// Returns the call of what the procedure declares as its undo, with the same arguments. For compensations.
    #[must_use]
    pub fn undo(self) -> Call {
        Call { undo: true, pend: false, respect_pending: false, ..self }
    }

    fn references(&self) -> impl Iterator<Item = &Reference> {
        self.arguments.iter().filter_map(|argument| match &argument.given {
            Given::From(from) => Some(from),
            Given::Value(_) => None,
        })
    }

    /// Checks it against the limits.
    fn check(&self) -> Result<(), InvalidWork> {
        check_procedure(&self.procedure)?;
        check_count(&self.procedure, self.arguments.len())?;
        let mut names = BTreeSet::new();
        for argument in &self.arguments {
            check_argument(&self.procedure, &argument.name, argument.value_bytes())?;
            if !names.insert(&argument.name) {
                let (procedure, name) = (self.procedure.clone(), argument.name.clone());
                return Err(InvalidWork::ArgumentTwice { procedure, name });
            }
        }
        Ok(())
    }
}

impl<R> Argument<R> {
    fn value_bytes(&self) -> usize {
        match &self.given {
            Given::Value(value) => value.len_bytes(),
            Given::From(_) => 0,
        }
    }
}

fn check_procedure(name: &str) -> Result<(), InvalidWork> {
    let fits = (1..=MAX_CALL_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if fits { Ok(()) } else { Err(InvalidWork::ProcedureName { name: crate::text::shown(name.as_bytes()) }) }
}

/// Returns true if an argument may have this name.
pub fn is_argument_name(name: &str) -> bool {
    (1..=MAX_CALL_NAME_BYTES).contains(&name.len())
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn check_count(procedure: &str, count: usize) -> Result<(), InvalidWork> {
    if count <= MAX_ARGUMENTS {
        return Ok(());
    }
    Err(InvalidWork::TooManyArguments { procedure: procedure.to_owned(), count })
}

fn check_argument(procedure: &str, name: &str, length: usize) -> Result<(), InvalidWork> {
    if !is_argument_name(name) {
        return Err(InvalidWork::ArgumentName { name: crate::text::shown(name.as_bytes()) });
    }
    if length > MAX_ARGUMENT_BYTES {
        return Err(InvalidWork::ArgumentTooLong { procedure: procedure.to_owned(), name: name.to_owned(), length });
    }
    Ok(())
}

/// A branch's calls, in order, and the events that it publishes once they have taken effect; all of it takes effect or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallWork {
    calls: Vec<Call>,
    outcome: Option<OutcomeKey>,
    events: Events,
}

impl CallWork {
    /// Returns work without calls. Give it at least one, or an event.
    pub fn new() -> Self {
        CallWork::default()
    }

    /// Adds a call.
    #[must_use]
    pub fn call(mut self, call: Call) -> Self {
        self.calls.push(call);
        self
    }

    /// Publishes an event once the calls have taken effect. It may refer to what any of them returns, later ones too
    /// ([`Source::own_column`](crate::event::Source::own_column)).
    #[must_use]
    pub fn emit(mut self, event: Emit) -> Self {
        self.events.push(event);
        self
    }

    /// Returns the events, in order.
    pub fn events(&self) -> &[Emit] {
        self.events.as_slice()
    }

    /// Returns the calls, in order.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Returns what undoes them: the undo that each procedure declares, the last first, with the same arguments. Events are not undone:
    /// have it publish others.
    #[must_use]
    pub fn undo(&self) -> CallWork {
        let calls = self.calls.iter().rev().cloned().map(Call::undo).collect();
        CallWork { calls, ..CallWork::default() }
    }

    /// Returns the bytes that a branch carries.
    pub fn encode(&self) -> Result<Bytes, InvalidWork> {
        self.encode_with(&[])
    }

    /// Returns the bytes that a step carries whose inputs are the results of these steps.
    pub(crate) fn encode_with(&self, inputs: &[&str]) -> Result<Bytes, InvalidWork> {
        match self.calls.len() {
            0 if self.events.is_empty() => return Err(InvalidWork::NoCalls),
            0..=MAX_CALLS => {}
            count => return Err(InvalidWork::TooManyCalls { count }),
        }
        let resolved = self.calls.iter().map(|call| {
            call.check()?;
            resolve(call, inputs)
        });
        let calls = resolved.collect::<Result<Vec<_>, InvalidWork>>()?;
        if let Some(outcome) = &self.outcome {
            outcome.check()?;
        }
        let mut out = Writer::default();
        binary::write(&mut out, &calls, self.outcome.as_ref());
        self.events.write(&mut out, inputs, |place| self.is_no_value(place))?;
        Ok(out.finish())
    }

    pub(crate) fn then(mut self, other: CallWork) -> CallWork {
        // Events alone are about what they are put to.
        let before = if other.calls.is_empty() { 0 } else { self.calls.len() };
        self.events = self.events.then(other.events, before);
        self.calls.extend(other.calls);
        CallWork { outcome: other.outcome.or(self.outcome), ..self }
    }

    pub(crate) fn keep(&mut self, key: &Bytes, value: String, in_branch: Option<String>) {
        let (key, value) = (key.clone(), value.into());
        self.outcome = Some(OutcomeKey { key, value, value_in_branch: in_branch.map(Bytes::from) });
    }

    pub(crate) fn without_branch_values(mut self) -> Self {
        if let Some(outcome) = &mut self.outcome {
            outcome.value_in_branch = None;
        }
        self
    }

    pub(crate) fn referred_steps(&self) -> Vec<&str> {
        let of_calls = self.calls.iter().flat_map(Call::references).map(Reference::step);
        of_calls.chain(self.events.referred_steps()).collect()
    }

    /// Checks the work as the action or the compensation of a saga's step, and returns the first fault with the place
    /// of its call.
    pub(crate) fn check_in_saga<'a>(
        &self,
        place: PlaceInSaga,
        action_of: impl Fn(&str) -> Option<&'a Work>,
    ) -> Result<(), (usize, InvalidWork)> {
        for (at, call) in self.calls.iter().enumerate() {
            let fault = place.fault_of(call.pend, call.respect_pending);
            let undo = || (call.undo && place != PlaceInSaga::Compensation).then_some(InvalidWork::UndoTooEarly);
            let unknown = || call.references().find_map(|from| from.fault(action_of(from.step())?));
            if let Some(fault) = fault.or_else(undo).or_else(unknown) {
                return Err((at, fault));
            }
        }
        self.events.check_in_saga(action_of).map_err(|(at, fault)| (self.calls.len() + at, fault))
    }

    /// Returns why this never leaves a value, as far as that is known beforehand: which columns there are, only the participant
    /// knows.
    pub(crate) fn is_no_value(&self, from: &Place) -> Option<&'static str> {
        if from.operation as usize >= self.calls.len() {
            return Some("there is no call with that number, counted from 0");
        }
        from.cell.is_none().then_some("a call leaves rows; name the column too, as in STEP.N.COLUMN")
    }
}

impl From<Call> for CallWork {
    fn from(call: Call) -> Self {
        CallWork::new().call(call)
    }
}

impl From<Events> for CallWork {
    fn from(events: Events) -> Self {
        CallWork { events, ..CallWork::default() }
    }
}

impl OutcomeKey {
    fn check(&self) -> Result<(), InvalidWork> {
        use crate::kv::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
        let key = crate::text::shown(&self.key);
        let length = self.value.len().max(self.value_in_branch.as_ref().map_or(0, Bytes::len));
        match self.key.len() {
            0 => Err(InvalidWork::EmptyKey),
            1..=MAX_KEY_BYTES if length > MAX_VALUE_BYTES => Err(InvalidWork::ValueTooLong { key, length }),
            1..=MAX_KEY_BYTES => Ok(()),
            length => Err(InvalidWork::KeyTooLong { key, length }),
        }
    }
}

fn resolve(call: &Call, inputs: &[&str]) -> Result<Call<Input>, InvalidWork> {
    let Call { procedure, arguments, pend, respect_pending, undo } = call;
    let resolve = |argument: &Argument| {
        let given = match &argument.given {
            Given::Value(value) => Given::Value(value.clone()),
            Given::From(from) => Given::From(from.resolve(inputs)?),
        };
        Ok(Argument { name: argument.name.clone(), given })
    };
    Ok(Call {
        procedure: procedure.clone(),
        arguments: arguments.iter().map(resolve).collect::<Result<_, InvalidWork>>()?,
        pend: *pend,
        respect_pending: *respect_pending,
        undo: *undo,
    })
}

#[cfg(test)]
mod tests;
