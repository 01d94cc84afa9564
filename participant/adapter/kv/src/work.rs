//! Work and results between their protobuf form (`kv.proto`) and the typed operations.

use super::reference::Inputs;
use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_kv_evaluation::{self as evaluation, Operation};
use undoubt_lock::Mode;
use undoubt_proto::codec::{TooManyEntries, check};
use undoubt_proto::kv as wire;
use undoubt_vocabulary::{Refusal, RefusalCode};

/// Where the work belongs, which decides what it may ask for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Branch,
    Action { inputs: &'a [Bytes] },
    Compensation { inputs: &'a [Bytes] },
}

/// Work within its limits, with all references resolved.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) operations: Vec<Operation>,
    /// Keys to be marked as pending.
    pub(super) pend: BTreeSet<Bytes>,
    /// Keys that no other saga may have marked.
    pub(super) respect: BTreeSet<Bytes>,
}

impl Work {
    /// All locks it needs. Who sets a mark has its key alone, so that nobody else sets one.
    pub(super) fn locks(&self) -> BTreeMap<Bytes, Mode> {
        let mut locks = evaluation::locks(&self.operations);
        locks.extend(self.pend.iter().map(|key| (key.clone(), Mode::Exclusive)));
        locks
    }
}

/// Reads work and holds it to its limits.
pub(super) fn decode(bytes: Bytes, place: Place<'_>) -> Result<Work, Refusal> {
    check::<wire::Work>(&bytes)
        .map_err(|too_many: TooManyEntries| Refusal::new(RefusalCode::TooLarge, too_many.to_string()))?;
    let encoded = wire::Work::decode(bytes)
        .map_err(|error| invalid(format!("the work is no undoubt.kv.v1.Work ({error}); encode it as kv.proto says")))?;
    let mut inputs = Inputs::of(place);
    let mut work = Work { operations: Vec::new(), pend: BTreeSet::new(), respect: BTreeSet::new() };
    for operation in encoded.operations {
        let (pend, respect) = (operation.pend, operation.respect_pending);
        let operation = read(operation, place, &mut inputs)?;
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
    evaluation::check(&work.operations)?;
    Ok(work)
}

pub(super) fn encode(results: Vec<Option<Bytes>>) -> Bytes {
    let results = results.into_iter().map(|value| wire::Result { value }).collect();
    wire::Results { results }.encode_to_vec().into()
}

fn read(operation: wire::Operation, place: Place<'_>, inputs: &mut Inputs<'_>) -> Result<Operation, Refusal> {
    use wire::operation::Kind;
    let wire::Operation { key, kind, key_suffix_from, pend: _, respect_pending: _ } = operation;
    let key = inputs.key(key, key_suffix_from)?;
    let missing = || invalid("an operation has no kind that is known here; set one, or update this participant".into());
    Ok(match kind.ok_or_else(missing)? {
        Kind::Get(wire::Get {}) => Operation::Get { key },
        Kind::Put(wire::Put { value, value_from, value_in_branch }) => {
            let value = match (place, value_in_branch) {
                (Place::Branch, Some(value)) => value,
                (Place::Branch, None) | (Place::Action { .. } | Place::Compensation { .. }, _) => value,
            };
            match inputs.value(value, value_from)? {
                Some(value) => Operation::Put { key, value },
                None => Operation::Delete { key },
            }
        }
        Kind::Delete(wire::Delete {}) => Operation::Delete { key },
        Kind::Add(wire::Add { delta, floor, ceiling }) => Operation::Add { key, delta, floor, ceiling },
        Kind::CompareAndSet(wire::CompareAndSet { expected, value, expected_from, value_from }) => {
            Operation::CompareAndSet {
                key,
                expected: inputs.optional(expected, expected_from)?,
                value: inputs.optional(value, value_from)?,
            }
        }
    })
}

pub(super) fn invalid(detail: String) -> Refusal {
    Refusal::new(RefusalCode::InvalidWork, detail)
}
