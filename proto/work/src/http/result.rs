//! The answers of services.

use crate::datum::Datum;
use crate::reference::Cell;
use crate::results::NoResults;
use crate::text;
use crate::wire::{Fields, Writer};
use bytes::Bytes;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// The answer of a service to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResult {
    pub status: u16,
    pub body: Bytes,
    /// True if the service said that the body is JSON.
    pub is_json: bool,
}

impl HttpResult {
    /// Returns what a reference takes from it: the body as a whole, or a member of a JSON object; of a member that is a list the
    /// element at the row.
    ///
    /// # Errors
    /// With the reason if there is no such value.
    pub(crate) fn value(&self, cell: Option<&Cell>) -> Result<Datum, String> {
        let Some(Cell { column, row }) = cell else { return Ok(self.whole()) };
        let unreadable = |error| format!("the answer is no JSON that has members ({error})");
        let mut body: Value = serde_json::from_slice(&self.body).map_err(unreadable)?;
        let member = body.get_mut(column).map(Value::take);
        let member = member.ok_or_else(|| format!("the answer has no member {column}"))?;
        match (member, *row) {
            (Value::Array(mut all), row) => match all.get_mut(row as usize).map(Value::take) {
                Some(element) => Ok(datum(element)),
                None => Err(format!("{column} has {} elements, counted from 0, and no {row}", all.len())),
            },
            (one, 0) => Ok(datum(one)),
            (_, row) => Err(format!("{column} is no list, so there is no element {row}")),
        }
    }

    fn whole(&self) -> Datum {
        match std::str::from_utf8(&self.body) {
            Ok(json) if self.is_json => Datum::Json(json.to_owned()),
            Ok(text) => Datum::Text(text.to_owned()),
            Err(_) => Datum::Bytes(self.body.clone()),
        }
    }

    /// Returns it as a line for people.
    pub(crate) fn shown(&self) -> String {
        let is_line = |body: &&str| !body.chars().any(char::is_control);
        match std::str::from_utf8(&self.body).ok().filter(is_line) {
            Some("") => self.status.to_string(),
            Some(body) => format!("{} {body}", self.status),
            None => format!("{} {}", self.status, text::hex(&self.body)),
        }
    }

    pub(crate) fn read(mut fields: Fields<'_>, whole: &Bytes) -> Result<HttpResult, NoResults> {
        let mut result = HttpResult::default();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => result.status = u16::try_from(field.uint32()?).map_err(|_| NoResults::Status)?,
                2 => result.body = field.bytes(whole)?,
                3 => result.is_json = field.bool()?,
                number => return Err(NoResults::Unknown { what: "an answer's field", number }),
            }
        }
        Ok(result)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.uint32(1, self.status.into());
        if !self.body.is_empty() {
            out.bytes(2, &self.body);
        }
        if self.is_json {
            out.uint32(3, 1);
        }
    }
}

/// Returns a value of JSON with its type. Numbers that are no 64-bit integers are as exact as they are read.
pub(crate) fn datum(value: Value) -> Datum {
    match value {
        Value::Null => Datum::Null,
        Value::Bool(value) => Datum::Bool(value),
        Value::String(text) => Datum::Text(text),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Datum::Integer(integer),
            (None, Some(double)) if !number.is_u64() => Datum::Double(double),
            (None, _) => Datum::Decimal(number.to_string()),
        },
        json @ (Value::Array(_) | Value::Object(_)) => Datum::Json(json.to_string()),
    }
}

impl Serialize for HttpResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", &self.status)?;
        let json = if self.is_json { serde_json::from_slice::<Value>(&self.body).ok() } else { None };
        match json {
            Some(json) => map.serialize_entry("json", &json)?,
            None if self.body.is_empty() => {}
            None => map.serialize_entry("body", &text::to_string(&self.body))?,
        }
        map.end()
    }
}
