//! Typed values: the arguments of calls, and what their results hold.

use crate::results::Value;
use crate::text;
use crate::wire::{Fields, Malformed, Writer, once};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A value with its type. A participant converts it to the type that it declares for it: text may stand for all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Datum {
    /// There is no value.
    #[default]
    Null,
    Bool(bool),
    Integer(i64),
    Double(f64),
    /// A number in decimal digits, as exact as it is written.
    Decimal(String),
    Text(String),
    Bytes(Bytes),
    /// Microseconds since 1970-01-01T00:00:00Z.
    TimestampUs(i64),
    Json(String),
    Uuid([u8; 16]),
}

/// The reason why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoDatum {
    #[error("{0}")]
    Malformed(Malformed),
    #[error("a value has a field {0}, which is not known here")]
    Unknown(u64),
    #[error("a text is no UTF-8")]
    NoText,
    #[error("a UUID has {0} bytes, not 16")]
    NoUuid(usize),
}

impl From<Malformed> for NoDatum {
    fn from(malformed: Malformed) -> Self {
        NoDatum::Malformed(malformed)
    }
}

impl Datum {
    /// Returns it as text that a participant reads back as the same value, if it declares its type; `None` of null.
    pub fn to_text(&self) -> Option<String> {
        Some(match self {
            Datum::Null => return None,
            Datum::Bool(value) => value.to_string(),
            Datum::Integer(value) => value.to_string(),
            Datum::Double(value) => value.to_string(),
            Datum::Decimal(value) | Datum::Json(value) => value.clone(),
            Datum::Text(value) => text::to_string(value.as_bytes()),
            Datum::Bytes(value) => text::hex(value),
            Datum::TimestampUs(value) => {
                Timestamp::from_microsecond(*value).map_or_else(|_beyond| value.to_string(), |time| time.to_string())
            }
            Datum::Uuid(value) => uuid(value),
        })
    }

    /// Returns the bytes that stand for it where a key-value store puts it; `None` of null.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Datum::Bytes(value) => Some(value),
            Datum::Text(value) => Some(value.into()),
            other @ (Datum::Null
            | Datum::Bool(_)
            | Datum::Integer(_)
            | Datum::Double(_)
            | Datum::Decimal(_)
            | Datum::TimestampUs(_)
            | Datum::Json(_)
            | Datum::Uuid(_)) => other.to_text().map(Bytes::from),
        }
    }

    /// Returns the bytes that it takes, without its type.
    pub fn len_bytes(&self) -> usize {
        match self {
            Datum::Null => 0,
            Datum::Bool(_) => 1,
            Datum::Integer(_) | Datum::Double(_) | Datum::TimestampUs(_) => 8,
            Datum::Decimal(value) | Datum::Text(value) | Datum::Json(value) => value.len(),
            Datum::Bytes(value) => value.len(),
            Datum::Uuid(value) => value.len(),
        }
    }

    pub(crate) fn read(mut fields: Fields<'_>, whole: &Bytes) -> Result<Datum, NoDatum> {
        let mut value = None;
        while let Some(field) = fields.next()? {
            let text = || String::from_utf8(field.bytes(whole)?.into()).map_err(|_| NoDatum::NoText);
            let read = match field.number {
                1 => match field.message()?.next()? {
                    None => Datum::Null,
                    Some(inner) => return Err(NoDatum::Unknown(inner.number)),
                },
                2 => Datum::Bool(field.bool()?),
                3 => Datum::Integer(field.sint64()?),
                4 => Datum::Double(field.double()?),
                5 => Datum::Decimal(text()?),
                6 => Datum::Text(text()?),
                7 => Datum::Bytes(field.bytes(whole)?),
                8 => Datum::TimestampUs(field.sint64()?),
                9 => Datum::Json(text()?),
                10 => {
                    let bytes = field.bytes(whole)?;
                    Datum::Uuid(bytes[..].try_into().map_err(|_| NoDatum::NoUuid(bytes.len()))?)
                }
                unknown => return Err(NoDatum::Unknown(unknown)),
            };
            once(&mut value, read)?;
        }
        Ok(value.unwrap_or_default())
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        match self {
            Datum::Null => out.message(1, |_| ()),
            Datum::Bool(value) => out.uint32(2, u32::from(*value)),
            Datum::Integer(value) => out.sint64(3, *value),
            Datum::Double(value) => out.double(4, *value),
            Datum::Decimal(value) => out.bytes(5, value.as_bytes()),
            Datum::Text(value) => out.bytes(6, value.as_bytes()),
            Datum::Bytes(value) => out.bytes(7, value),
            Datum::TimestampUs(value) => out.sint64(8, *value),
            Datum::Json(value) => out.bytes(9, value.as_bytes()),
            Datum::Uuid(value) => out.bytes(10, value),
        }
    }
}

fn uuid(bytes: &[u8; 16]) -> String {
    let digits = text::hex(bytes);
    // Behind the 0x that it begins with.
    let part = |from: usize, to: usize| &digits[2 + from..2 + to];
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// Numbers that a reader of JSON might round are strings.
impl Serialize for Datum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Datum::Bool(value) => serializer.serialize_bool(*value),
            Datum::Double(value) if value.is_finite() => serializer.serialize_f64(*value),
            Datum::Null
            | Datum::Double(_)
            | Datum::Integer(_)
            | Datum::Decimal(_)
            | Datum::Text(_)
            | Datum::Bytes(_)
            | Datum::TimestampUs(_)
            | Datum::Json(_)
            | Datum::Uuid(_) => self.to_text().serialize(serializer),
        }
    }
}

/// A key-value store's value as an argument: text where it is UTF-8.
impl From<Value> for Datum {
    fn from(value: Value) -> Self {
        match value {
            Value::Absent => Datum::Null,
            Value::Integer(number) => Datum::Integer(number),
            Value::Bytes(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => Datum::Text(text.to_owned()),
                Err(_) => Datum::Bytes(bytes),
            },
        }
    }
}

/// A value of a call's result as a key-value store takes it.
impl From<Datum> for Value {
    fn from(datum: Datum) -> Self {
        match datum {
            Datum::Integer(number) => Value::Integer(number),
            other @ (Datum::Null
            | Datum::Bool(_)
            | Datum::Double(_)
            | Datum::Decimal(_)
            | Datum::Text(_)
            | Datum::Bytes(_)
            | Datum::TimestampUs(_)
            | Datum::Json(_)
            | Datum::Uuid(_)) => other.into_bytes().into(),
        }
    }
}

impl From<bool> for Datum {
    fn from(value: bool) -> Self {
        Datum::Bool(value)
    }
}

impl From<i64> for Datum {
    fn from(value: i64) -> Self {
        Datum::Integer(value)
    }
}

impl From<i32> for Datum {
    fn from(value: i32) -> Self {
        Datum::Integer(value.into())
    }
}

impl From<f64> for Datum {
    fn from(value: f64) -> Self {
        Datum::Double(value)
    }
}

impl From<&str> for Datum {
    fn from(value: &str) -> Self {
        Datum::Text(value.to_owned())
    }
}

impl From<String> for Datum {
    fn from(value: String) -> Self {
        Datum::Text(value)
    }
}

impl From<Bytes> for Datum {
    fn from(value: Bytes) -> Self {
        Datum::Bytes(value)
    }
}

impl<T: Into<Datum>> From<Option<T>> for Datum {
    fn from(value: Option<T>) -> Self {
        value.map_or(Datum::Null, Into::into)
    }
}
