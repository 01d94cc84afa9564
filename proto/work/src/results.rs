//! The results that a participant hands back.

use crate::call::CallResult;
use crate::datum::NoDatum;
use crate::http::HttpResult;
use crate::text;
use crate::wire::{Fields, Malformed, Writer, once, sint64_bytes, varint_bytes};
use crate::work::Work;
use bytes::Bytes;

/// Says of bytes that they are results of `work.proto`: "und1".
const FORM: u32 = u32::from_le_bytes(*b"und1");
const FORM_FIELD: u32 = 15;

/// The bytes with which results say what they are.
pub const FORM_BYTES: usize = 5;

/// A value, with its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Value {
    /// There is none.
    #[default]
    Absent,
    /// Any bytes.
    Bytes(Bytes),
    /// A number.
    Integer(i64),
}

impl Value {
    /// Returns the bytes that stand for it where it is put: of an integer its decimal text.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Value::Absent => None,
            Value::Bytes(bytes) => Some(bytes),
            Value::Integer(number) => Some(number.to_string().into()),
        }
    }

    /// Returns it as text that `text::from_string` reads back.
    pub fn to_text(&self) -> Option<String> {
        match self {
            Value::Absent => None,
            Value::Bytes(bytes) => Some(text::to_string(bytes)),
            Value::Integer(number) => Some(number.to_string()),
        }
    }

    /// Returns the bytes that it adds to encoded results.
    pub fn encoded_bytes(&self) -> usize {
        let own = self.own_bytes();
        1 + varint_bytes(own as u64) + own
    }

    fn own_bytes(&self) -> usize {
        match self {
            Value::Absent => 0,
            Value::Bytes(bytes) => 1 + varint_bytes(bytes.len() as u64) + bytes.len(),
            Value::Integer(number) => 1 + sint64_bytes(*number),
        }
    }

    fn read(mut fields: Fields<'_>, whole: &Bytes) -> Result<Value, NoResults> {
        let mut value = None;
        while let Some(field) = fields.next()? {
            match field.number {
                1 => once(&mut value, Value::Bytes(field.bytes(whole)?))?,
                2 => once(&mut value, Value::Integer(field.sint64()?))?,
                unknown => return Err(NoResults::Unknown { what: "a value's field", number: unknown }),
            }
        }
        Ok(value.unwrap_or_default())
    }
}

impl From<Option<Bytes>> for Value {
    fn from(value: Option<Bytes>) -> Self {
        value.map_or(Value::Absent, Value::Bytes)
    }
}

/// The results that a participant handed back. Whoever carries or shows it need not know its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Results(Form);

#[derive(Clone, Debug, PartialEq)]
enum Form {
    /// A participant's own bytes.
    Raw(Bytes),
    Known(Known),
}

/// Results of a kind that is known here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Known {
    /// The results of operations.
    Values(Vec<Value>),
    Calls(Vec<CallResult>),
    /// The answer to a request.
    Answer(HttpResult),
}

impl Results {
    /// Returns what these bytes say they are. Those that do not say it, or say it of what is not known here, are raw.
    pub fn read(encoded: &Bytes) -> Results {
        let form = match decode(encoded) {
            Ok((known, true)) => Form::Known(known),
            Ok((_, false)) | Err(_) => Form::Raw(encoded.clone()),
        };
        Results(form)
    }

    /// Returns the bytes of results that are one value for each piece of work, in order.
    pub fn encode(values: &[Value]) -> Bytes {
        let bytes = FORM_BYTES + values.iter().map(Value::encoded_bytes).sum::<usize>();
        let mut out = Writer::with_capacity(bytes);
        for value in values {
            out.begin(1, value.own_bytes());
            match value {
                Value::Absent => {}
                Value::Bytes(bytes) => out.bytes(1, bytes),
                Value::Integer(number) => out.sint64(2, *number),
            }
        }
        out.fixed32(FORM_FIELD, FORM);
        out.finish()
    }

    /// Returns the bytes of results of calls, in order.
    pub fn encode_calls(results: &[CallResult]) -> Bytes {
        let mut out = Writer::default();
        results.iter().for_each(|result| out.message(2, |out| result.write(out)));
        out.fixed32(FORM_FIELD, FORM);
        out.finish()
    }

    /// Returns the bytes of the answer to a request.
    pub fn encode_answer(answer: &HttpResult) -> Bytes {
        let mut out = Writer::default();
        out.message(6, |out| answer.write(out));
        out.fixed32(FORM_FIELD, FORM);
        out.finish()
    }

    /// Returns the answer to a request; `None` of other results.
    pub fn answer(&self) -> Option<&HttpResult> {
        match &self.0 {
            Form::Known(Known::Answer(answer)) => Some(answer),
            Form::Known(Known::Values(_) | Known::Calls(_)) | Form::Raw(_) => None,
        }
    }

    /// Returns one value for each operation, in order; `None` of other results.
    pub fn values(&self) -> Option<&[Value]> {
        match &self.0 {
            Form::Known(Known::Values(values)) => Some(values),
            Form::Known(Known::Calls(_) | Known::Answer(_)) | Form::Raw(_) => None,
        }
    }

    /// Returns one result for each call, in order; `None` of other results.
    pub fn calls(&self) -> Option<&[CallResult]> {
        match &self.0 {
            Form::Known(Known::Calls(calls)) => Some(calls),
            Form::Known(Known::Values(_) | Known::Answer(_)) | Form::Raw(_) => None,
        }
    }

    /// Returns the values of operations as bytes; `None` of other results.
    pub fn into_bytes(self) -> Option<Vec<Option<Bytes>>> {
        match self.0 {
            Form::Known(Known::Values(values)) => Some(values.into_iter().map(Value::into_bytes).collect()),
            Form::Known(Known::Calls(_) | Known::Answer(_)) | Form::Raw(_) => None,
        }
    }

    /// Returns a participant's own bytes; `None` of results that say what they are.
    pub fn raw(&self) -> Option<&Bytes> {
        match &self.0 {
            Form::Raw(bytes) => Some(bytes),
            Form::Known(_) => None,
        }
    }

    /// Returns lines for people: what was done, and what came of it. `work`: what was asked for, if that is known.
    pub fn shown(&self, work: Option<&Work>) -> Vec<[String; 2]> {
        match &self.0 {
            Form::Raw(bytes) => vec![[String::new(), text::hex(bytes)]],
            Form::Known(Known::Answer(answer)) => {
                let asked = work.and_then(|work| work.texts().into_iter().next());
                vec![[asked.unwrap_or_else(|| "1".to_owned()), answer.shown()]]
            }
            Form::Known(Known::Calls(calls)) => {
                let asked = work.map(Work::texts).unwrap_or_default();
                let lines = |(at, call): (usize, &CallResult)| {
                    let asked = asked.get(at).cloned().unwrap_or_else(|| (at + 1).to_string());
                    let rows = call.shown().into_iter().enumerate();
                    let line = move |(row, text)| [if row == 0 { asked.clone() } else { String::new() }, text];
                    rows.map(line).collect::<Vec<_>>()
                };
                calls.iter().enumerate().flat_map(lines).collect()
            }
            Form::Known(Known::Values(values)) => {
                let asked = work.map(Work::texts).unwrap_or_default();
                let line = |(at, value): (usize, &Value)| {
                    let asked = asked.get(at).cloned().unwrap_or_else(|| (at + 1).to_string());
                    let left = || match work {
                        Some(work) => work.brought(at).unwrap_or_else(|| text::ABSENT.to_owned()),
                        // There was none, or the work brought it along.
                        None => "-".to_owned(),
                    };
                    [asked, value.to_text().unwrap_or_else(left)]
                };
                values.iter().enumerate().map(line).collect()
            }
        }
    }
}

/// The reason why bytes cannot be read as results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoResults {
    #[error("{0}")]
    Malformed(Malformed),
    #[error("{what} {number} is not known here")]
    Unknown { what: &'static str, number: u64 },
    #[error("a column's name is no UTF-8")]
    Column,
    #[error("a row has not as many values as there are columns")]
    Row,
    #[error("{0}")]
    Datum(NoDatum),
    #[error("a status is no status")]
    Status,
    #[error("it has results of several kinds")]
    BothKinds,
}

impl From<Malformed> for NoResults {
    fn from(malformed: Malformed) -> Self {
        NoResults::Malformed(malformed)
    }
}

/// Reads results that are said to be such: by themselves, or by whoever refers to them.
pub(crate) fn referred(encoded: &Bytes) -> Result<Known, NoResults> {
    decode(encoded).map(|(known, _)| known)
}

/// Returns the results, and whether the bytes say that they are some. Without any they are those of operations.
fn decode(encoded: &Bytes) -> Result<(Known, bool), NoResults> {
    let (mut values, mut calls, mut answer, mut form) = (Vec::new(), Vec::new(), None, None);
    let mut fields = Fields::of(encoded);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => values.push(Value::read(field.message()?, encoded)?),
            2 => calls.push(CallResult::read(field.message()?, encoded)?),
            6 => once(&mut answer, HttpResult::read(field.message()?, encoded)?)?,
            number if number == u64::from(FORM_FIELD) => once(&mut form, field.fixed32()?)?,
            number => return Err(NoResults::Unknown { what: "kind", number }),
        }
    }
    let known = match (values.is_empty(), calls.is_empty(), answer) {
        (true, true, Some(answer)) => Known::Answer(answer),
        (_, true, None) => Known::Values(values),
        (true, false, None) => Known::Calls(calls),
        (false, false, _) | (_, _, Some(_)) => return Err(NoResults::BothKinds),
    };
    match form {
        None => Ok((known, false)),
        Some(FORM) => Ok((known, true)),
        Some(other) => Err(NoResults::Unknown { what: "form", number: other.into() }),
    }
}

#[cfg(test)]
mod tests;
