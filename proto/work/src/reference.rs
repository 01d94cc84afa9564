//! A result of a step that a later one uses, whatever the kinds of the two.

use crate::invalid_work::InvalidWork;
use crate::results::{Value, referred};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use undoubt_vocabulary::{Refusal, RefusalCode};

/// A value that an earlier step of the saga read or made: the value in its results at this place. A compensation may
/// also refer to the results of its own step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    step: String,
    operation: u32,
}

impl Reference {
    /// Returns a reference to what an operation of a step left. `operation` counts from 0.
    pub fn to(step: &str, operation: u32) -> Self {
        Reference { step: step.to_owned(), operation }
    }

    /// Returns the step's name.
    pub fn step(&self) -> &str {
        &self.step
    }

    /// Returns the operation's place in the step, from 0.
    pub fn operation(&self) -> u32 {
        self.operation
    }

    pub(crate) fn resolve(&self, inputs: &[&str]) -> Result<Input, InvalidWork> {
        let input = inputs.iter().position(|input| *input == self.step).and_then(|at| u32::try_from(at).ok());
        let input = input.ok_or_else(|| InvalidWork::NoSuchInput { step: self.step.clone() })?;
        Ok(Input { input, operation: self.operation })
    }
}

/// A reference as the participant reads it: its step is one of those whose results it is handed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The place of the input, from 0.
    pub input: u32,
    /// The place of the operation, from 0.
    pub operation: u32,
}

/// The results of earlier steps. One is read when the first reference is to it: others may be raw.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// `None`: this is no step, so there are no earlier ones.
    encoded: Option<&'a [Bytes]>,
    read: BTreeMap<u32, Vec<Value>>,
}

impl<'a> Inputs<'a> {
    /// Returns those of a branch, which has none.
    pub fn of_branch() -> Self {
        Inputs { encoded: None, read: BTreeMap::new() }
    }

    /// Returns those that a step is handed.
    pub fn of_step(inputs: &'a [Bytes]) -> Self {
        Inputs { encoded: Some(inputs), read: BTreeMap::new() }
    }

    /// Returns the value that this refers to.
    ///
    /// # Errors
    /// With [`RefusalCode::InvalidWork`] if there is no such result.
    pub fn value(&mut self, from: Input) -> Result<&Value, Refusal> {
        let Input { input, operation } = from;
        let Some(encoded) = self.encoded else {
            return Err(invalid(
                "only a saga's step can refer to results of earlier ones; give the value itself".into(),
            ));
        };
        let results = match self.read.entry(input) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => {
                let Some(results) = encoded.get(input as usize) else {
                    let count = encoded.len();
                    return Err(invalid(format!(
                        "input {input} is referred to, but there are {count}, counted from 0; let the step use another"
                    )));
                };
                let results = referred(results).map_err(|why| {
                    invalid(format!(
                        "input {input} is no undoubt.work.v1.Results ({why}); refer to steps whose results are no raw bytes"
                    ))
                })?;
                unread.insert(results)
            }
        };
        let count = results.len();
        results.get(operation as usize).ok_or_else(|| {
            invalid(format!(
                "result {operation} of input {input} is referred to, but it has {count}, counted from 0; correct it"
            ))
        })
    }

    /// Returns the bytes that stand for the value that this refers to.
    ///
    /// # Errors
    /// Also if there is no value.
    pub fn present(&mut self, from: Input) -> Result<Bytes, Refusal> {
        let Input { input, operation } = from;
        self.value(from)?.clone().into_bytes().ok_or_else(|| {
            invalid(format!("result {operation} of input {input} has no value; refer to a result that has one"))
        })
    }
}

fn invalid(detail: String) -> Refusal {
    Refusal::new(RefusalCode::InvalidWork, detail)
}
