//! Stands in for `undoubt_work::call` until that is there.
#![allow(missing_docs)]

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use undoubt_vocabulary::{Refusal, RefusalCode};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Datum {
    #[default]
    Null,
    Bool(bool),
    Integer(i64),
    Double(f64),
    Decimal(String),
    Text(String),
    Bytes(Vec<u8>),
    TimestampUs(i64),
    Json(String),
    Uuid([u8; 16]),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub procedure: String,
    pub arguments: Vec<Argument>,
    pub pend: bool,
    pub respect_pending: bool,
    pub undo: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Argument {
    pub name: String,
    pub given: Given,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Given {
    Value(Datum),
    From(Input),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    pub input: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeKey {
    pub key: Bytes2,
    pub value: Bytes2,
    pub value_in_branch: Option<Bytes2>,
}

pub type Bytes2 = Vec<u8>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    pub calls: Vec<Call>,
    pub outcome: Option<OutcomeKey>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallResult {
    pub affected: u64,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Datum>>,
}

pub fn read(work: &Bytes) -> Result<Calls, Refusal> {
    serde_json::from_slice(work).map_err(|error| Refusal::new(RefusalCode::InvalidWork, error.to_string()))
}

pub fn write(calls: &Calls) -> Bytes {
    serde_json::to_vec(calls).expect("it is plain").into()
}

pub fn encode_calls(results: &[CallResult]) -> Bytes {
    serde_json::to_vec(results).expect("it is plain").into()
}

pub fn read_results(results: &Bytes) -> Vec<CallResult> {
    serde_json::from_slice(results).unwrap_or_default()
}
#[derive(Debug)]
pub struct Inputs;
impl Inputs {
    pub fn of_branch() -> Inputs {
        Inputs
    }
    pub fn of_step(_: &[Bytes]) -> Inputs {
        Inputs
    }
    pub fn datum(&mut self, _: &Input) -> Result<Datum, Refusal> {
        Ok(Datum::Null)
    }
}
