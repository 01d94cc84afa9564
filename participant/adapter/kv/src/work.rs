//! Work as it is done here: its operations, with all references resolved.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_kv_evaluation as evaluation;
use undoubt_lock::Mode;
use undoubt_vocabulary::{Refusal, RefusalCode};
use undoubt_work::event::{Emit, Source};
use undoubt_work::kv::{Extras, MAX_KEY_BYTES, Operation, read_with_events};
use undoubt_work::{Input, Inputs};

/// The place that work belongs to, which decides what it may ask for.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    Branch,
    Action { inputs: &'a [Bytes] },
    Compensation { inputs: &'a [Bytes] },
}

impl<'a> Place<'a> {
    /// Returns what its references refer to.
    pub fn inputs(self) -> Inputs<'a> {
        match self {
            Place::Branch => Inputs::of_branch(),
            Place::Action { inputs } | Place::Compensation { inputs } => Inputs::of_step(inputs),
        }
    }
}

/// Work within its limits, with all references resolved.
#[derive(Debug)]
pub struct Work {
    pub operations: Vec<Operation>,
    /// Keys to be marked as pending.
    pub pend: BTreeSet<Bytes>,
    /// Keys that no other saga may have marked.
    pub respect: BTreeSet<Bytes>,
    /// What it publishes, each with its key, if that is known before the work is done.
    pub emits: Vec<(Emit<Input>, Option<Bytes>)>,
}

impl Work {
    /// Returns all locks that it needs. Who sets a mark has its key alone, so that nobody else sets one.
    pub fn locks(&self) -> BTreeMap<Bytes, Mode> {
        let mut locks = evaluation::locks(&self.operations);
        locks.extend(self.pend.iter().map(|key| (key.clone(), Mode::Exclusive)));
        locks
    }
}

/// Reads work and holds it to its limits.
pub fn decode(bytes: &Bytes, place: Place<'_>) -> Result<Work, Refusal> {
    let (encoded, emits) = read_with_events(bytes)?;
    let mut inputs = place.inputs();
    let operations = Vec::with_capacity(encoded.len());
    let mut work = Work { operations, pend: BTreeSet::new(), respect: BTreeSet::new(), emits: Vec::new() };
    for emit in emits {
        let key = match &emit.key_suffix_from {
            None => Some(emit.key.clone()),
            Some(Source::Step(from)) => Some([&emit.key[..], &inputs.present(from)?].concat().into()),
            Some(Source::Own(_)) => None,
        };
        work.emits.push((emit, key));
    }
    for operation in encoded {
        let (operation, extras) = operation?;
        let (pend, respect) = (extras.pend, extras.respect_pending);
        let operation = resolve(operation, extras, place, &mut inputs)?;
        operation.check()?;
        if pend {
            match place {
                Place::Action { .. } => drop(work.pend.insert(Bytes::copy_from_slice(operation.key()))),
                // Its locks keep others off until it has ended, so it needs no mark; but those of others count.
                Place::Branch => {
                    work.pend.insert(operation.key().clone());
                    work.respect.insert(operation.key().clone());
                }
                Place::Compensation { .. } => {
                    return Err(invalid("only the action of a saga's step can mark a key as pending".into()));
                }
            }
        }
        if respect {
            work.respect.insert(operation.key().clone());
        }
        work.operations.push(operation);
    }
    Ok(work)
}

/// Gives an operation what it takes from elsewhere.
fn resolve(
    operation: Operation,
    extras: Extras<Input>,
    place: Place<'_>,
    inputs: &mut Inputs<'_>,
) -> Result<Operation, Refusal> {
    let Extras { key_suffix_from, value_from, expected_from, value_in_branch, pend: _, respect_pending: _ } = extras;
    let mut whole = |key: Bytes| match &key_suffix_from {
        None => Ok(key),
        Some(suffix) => with_suffix(&key, &inputs.present(suffix)?),
    };
    Ok(match operation {
        Operation::Get { key } => Operation::Get { key: whole(key)? },
        Operation::Put { key, value } => {
            let key = whole(key)?;
            let value = match (place, value_in_branch) {
                (Place::Branch, Some(value)) => value,
                (Place::Branch, None) | (Place::Action { .. } | Place::Compensation { .. }, _) => value,
            };
            let given = if value.is_empty() && value_from.is_some() { None } else { Some(value) };
            match or_from(given, value_from, inputs)? {
                Some(value) => Operation::Put { key, value },
                None => Operation::Delete { key },
            }
        }
        Operation::Delete { key } => Operation::Delete { key: whole(key)? },
        Operation::Add { key, add } => Operation::Add { key: whole(key)?, add },
        Operation::CompareAndSet { key, expected, value } => Operation::CompareAndSet {
            key: whole(key)?,
            expected: or_from(expected, expected_from, inputs)?,
            value: or_from(value, value_from, inputs)?,
        },
    })
}

fn or_from(given: Option<Bytes>, from: Option<Input>, inputs: &mut Inputs<'_>) -> Result<Option<Bytes>, Refusal> {
    match from {
        None => Ok(given),
        Some(_) if given.is_some() => {
            Err(invalid("a value and a reference stand for the same thing; give one of the two".into()))
        }
        Some(from) => Ok(inputs.value(&from)?.into_bytes()),
    }
}

fn with_suffix(key: &[u8], suffix: &[u8]) -> Result<Bytes, Refusal> {
    let length = key.len() + suffix.len();
    if length > MAX_KEY_BYTES {
        let detail =
            format!("a key with its suffix has {length} bytes, more than the {MAX_KEY_BYTES} allowed; shorten it");
        return Err(Refusal::new(RefusalCode::TooLarge, detail));
    }
    Ok([key, suffix].concat().into())
}

fn invalid(detail: String) -> Refusal {
    Refusal::new(RefusalCode::InvalidWork, detail)
}
