//! Values that a step takes from the results of earlier ones.

use super::work::{Place, invalid};
use bytes::{Bytes, BytesMut};
use prost::Message;
use std::collections::BTreeMap;
use undoubt_kv_evaluation::MAX_KEY_BYTES;
use undoubt_proto::kv::{Reference, Result as Value, Results};
use undoubt_vocabulary::{Refusal, RefusalCode};

/// What references can be to. An input is read when the first one is to it: others may be of other kinds of resources.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    /// `None`: this is no step, so there are no earlier ones.
    encoded: Option<&'a [Bytes]>,
    read: BTreeMap<u32, Vec<Value>>,
}

impl<'a> Inputs<'a> {
    pub(super) fn of(place: Place<'a>) -> Self {
        let encoded = match place {
            Place::Branch => None,
            Place::Action { inputs } | Place::Compensation { inputs } => Some(inputs),
        };
        Inputs { encoded, read: BTreeMap::new() }
    }

    pub(super) fn key(&mut self, key: Bytes, suffix: Option<Reference>) -> Result<Bytes, Refusal> {
        let Some(reference) = suffix else { return Ok(key) };
        let suffix = self.present(&reference)?;
        let length = key.len() + suffix.len();
        if length > MAX_KEY_BYTES {
            let detail =
                format!("a key with its suffix has {length} bytes, more than the {MAX_KEY_BYTES} allowed; shorten it");
            return Err(Refusal::new(RefusalCode::TooLarge, detail));
        }
        let mut whole = BytesMut::from(&key[..]);
        whole.extend_from_slice(&suffix);
        Ok(whole.freeze())
    }

    pub(super) fn value(&mut self, value: Bytes, from: Option<Reference>) -> Result<Option<Bytes>, Refusal> {
        match from {
            None => Ok(Some(value)),
            Some(_) if !value.is_empty() => Err(both()),
            Some(reference) => self.look_up(&reference),
        }
    }

    pub(super) fn optional(&mut self, value: Option<Bytes>, from: Option<Reference>) -> Result<Option<Bytes>, Refusal> {
        match from {
            None => Ok(value),
            Some(_) if value.is_some() => Err(both()),
            Some(reference) => self.look_up(&reference),
        }
    }

    fn present(&mut self, reference: &Reference) -> Result<Bytes, Refusal> {
        let Reference { input, operation } = *reference;
        self.look_up(reference)?.ok_or_else(|| {
            invalid(format!("result {operation} of input {input} has no value; refer to a result that has one"))
        })
    }

    fn look_up(&mut self, reference: &Reference) -> Result<Option<Bytes>, Refusal> {
        let Reference { input, operation } = *reference;
        let Some(encoded) = self.encoded else {
            return Err(invalid(
                "only a saga's step can refer to results of earlier ones; give the value itself".into(),
            ));
        };
        let results = match self.read.entry(input) {
            std::collections::btree_map::Entry::Occupied(read) => read.into_mut(),
            std::collections::btree_map::Entry::Vacant(unread) => {
                let Some(results) = encoded.get(input as usize) else {
                    let count = encoded.len();
                    return Err(invalid(format!(
                        "input {input} is referred to, but there are {count}, counted from 0; let the step use another"
                    )));
                };
                let results = Results::decode(results.clone()).map_err(|error| {
                    invalid(format!(
                        "input {input} is no undoubt.kv.v1.Results ({error}); refer to steps of key-value participants"
                    ))
                })?;
                unread.insert(results.results)
            }
        };
        let Some(Value { value }) = results.get(operation as usize) else {
            let count = results.len();
            return Err(invalid(format!(
                "result {operation} of input {input} is referred to, but it has {count}, counted from 0; correct it"
            )));
        };
        Ok(value.clone())
    }
}

fn both() -> Refusal {
    invalid("a value and a reference stand for the same thing; give one of the two".into())
}
