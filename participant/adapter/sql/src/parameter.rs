//! Types of parameters, and how arguments are brought to them.

use std::fmt;
use std::str::FromStr;
use undoubt_work::Datum;

/// The type that a procedure declares for a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    Numeric,
    Text,
    Bytes,
    Timestamp,
    Json,
    Uuid,
}

/// The names in declarations; the first of a type is the one that is told.
const NAMES: &[(&str, ParameterType)] = &[
    ("boolean", ParameterType::Boolean),
    ("bool", ParameterType::Boolean),
    ("smallint", ParameterType::SmallInt),
    ("integer", ParameterType::Integer),
    ("int", ParameterType::Integer),
    ("bigint", ParameterType::BigInt),
    ("real", ParameterType::Real),
    ("double", ParameterType::Double),
    ("numeric", ParameterType::Numeric),
    ("decimal", ParameterType::Numeric),
    ("text", ParameterType::Text),
    ("varchar", ParameterType::Text),
    ("bytes", ParameterType::Bytes),
    ("timestamp", ParameterType::Timestamp),
    ("json", ParameterType::Json),
    ("uuid", ParameterType::Uuid),
];

impl fmt::Display for ParameterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, kind)| kind == self).map_or("?", |(name, _)| name);
        f.pad(name)
    }
}

impl FromStr for ParameterType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("{text:?} is no type of a parameter; use one of {}", names.join(", "))
        })
    }
}

/// The reason why a value is not of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given} is no {expected}")]
pub struct Mismatch {
    given: String,
    expected: ParameterType,
}

/// Values are shown up to this length.
const MAX_SHOWN_CHARACTERS: usize = 60;

impl ParameterType {
    /// Returns the value in the form that this type has: a boolean as `Bool`, whole numbers as `Integer`, and so on. Text may stand
    /// for all types, as may bytes that are UTF-8, and null is of every type.
    pub fn convert(self, datum: &Datum) -> Result<Datum, Mismatch> {
        if *datum == Datum::Null {
            return Ok(Datum::Null);
        }
        self.converted(datum).ok_or_else(|| Mismatch { given: shown(datum), expected: self })
    }

    fn converted(self, datum: &Datum) -> Option<Datum> {
        match self {
            ParameterType::Boolean => match datum {
                Datum::Bool(value) => Some(Datum::Bool(*value)),
                Datum::Null
                | Datum::Integer(_)
                | Datum::Double(_)
                | Datum::Decimal(_)
                | Datum::Text(_)
                | Datum::Bytes(_)
                | Datum::TimestampUs(_)
                | Datum::Json(_)
                | Datum::Uuid(_) => match text_of(datum)?.as_str() {
                    "true" => Some(Datum::Bool(true)),
                    "false" => Some(Datum::Bool(false)),
                    _ => None,
                },
            },
            ParameterType::SmallInt => whole::<i16>(datum),
            ParameterType::Integer => whole::<i32>(datum),
            ParameterType::BigInt => whole::<i64>(datum),
            ParameterType::Real | ParameterType::Double => match datum {
                Datum::Double(value) => Some(Datum::Double(*value)),
                Datum::Null
                | Datum::Bool(_)
                | Datum::Integer(_)
                | Datum::Decimal(_)
                | Datum::Text(_)
                | Datum::Bytes(_)
                | Datum::TimestampUs(_)
                | Datum::Json(_)
                | Datum::Uuid(_) => Some(Datum::Double(text_of(datum)?.trim().parse().ok()?)),
            },
            ParameterType::Numeric => text_of(datum).filter(|text| is_decimal(text)).map(Datum::Decimal),
            ParameterType::Text => text_of(datum).map(Datum::Text),
            ParameterType::Bytes => match datum {
                Datum::Bytes(value) => Some(Datum::Bytes(value.clone())),
                Datum::Text(value) => Some(Datum::Bytes(value.clone().into())),
                Datum::Uuid(value) => Some(Datum::Bytes(value.to_vec().into())),
                Datum::Null
                | Datum::Bool(_)
                | Datum::Integer(_)
                | Datum::Double(_)
                | Datum::Decimal(_)
                | Datum::TimestampUs(_)
                | Datum::Json(_) => None,
            },
            ParameterType::Timestamp => match datum {
                Datum::TimestampUs(value) => Some(Datum::TimestampUs(*value)),
                Datum::Null
                | Datum::Bool(_)
                | Datum::Integer(_)
                | Datum::Double(_)
                | Datum::Decimal(_)
                | Datum::Text(_)
                | Datum::Bytes(_)
                | Datum::Json(_)
                | Datum::Uuid(_) => {
                    let time: jiff::Timestamp = text_of(datum)?.parse().ok()?;
                    Some(Datum::TimestampUs(time.as_microsecond()))
                }
            },
            ParameterType::Json => {
                let text = text_of(datum)?;
                serde_json::from_str::<serde::de::IgnoredAny>(&text).ok()?;
                Some(Datum::Json(text))
            }
            ParameterType::Uuid => match datum {
                Datum::Uuid(value) => Some(Datum::Uuid(*value)),
                Datum::Null
                | Datum::Bool(_)
                | Datum::Integer(_)
                | Datum::Double(_)
                | Datum::Decimal(_)
                | Datum::Text(_)
                | Datum::Bytes(_)
                | Datum::TimestampUs(_)
                | Datum::Json(_) => Some(Datum::Uuid(*uuid::Uuid::try_parse(text_of(datum)?.trim()).ok()?.as_bytes())),
            },
        }
    }
}

fn whole<T: TryFrom<i64>>(datum: &Datum) -> Option<Datum> {
    let number = match datum {
        Datum::Integer(number) => *number,
        Datum::Decimal(_) | Datum::Text(_) | Datum::Bytes(_) => text_of(datum)?.trim().parse().ok()?,
        Datum::Null | Datum::Bool(_) | Datum::Double(_) | Datum::TimestampUs(_) | Datum::Json(_) | Datum::Uuid(_) => {
            return None;
        }
    };
    T::try_from(number).ok().map(|_| Datum::Integer(number))
}

/// Returns true if it is a number in decimal digits, with or without an exponent.
fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_exponent = |exponent: &str| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        (1..=4).contains(&exponent.len()) && digits(exponent)
    };
    digits(whole) && digits(fraction) && whole.len() + fraction.len() > 0 && exponent.is_none_or(is_exponent)
}

/// Returns a value as text that a database reads as that value; `None` of null, and of bytes that are no UTF-8.
pub fn text_of(datum: &Datum) -> Option<String> {
    match datum {
        Datum::Null => None,
        Datum::Bool(value) => Some(value.to_string()),
        Datum::Integer(value) => Some(value.to_string()),
        Datum::Double(value) => Some(value.to_string()),
        Datum::Decimal(value) | Datum::Text(value) | Datum::Json(value) => Some(value.clone()),
        Datum::Bytes(value) => std::str::from_utf8(value).ok().map(str::to_owned),
        Datum::TimestampUs(value) => {
            Some(jiff::Timestamp::from_microsecond(*value).map_or_else(|_| value.to_string(), |time| time.to_string()))
        }
        Datum::Uuid(value) => Some(uuid::Uuid::from_bytes(*value).to_string()),
    }
}

/// Returns a value for people.
pub(crate) fn shown(datum: &Datum) -> String {
    let text = match (text_of(datum), datum) {
        (Some(text), _) => text,
        (None, Datum::Bytes(bytes)) => format!("{} bytes", bytes.len()),
        (None, _) => "null".to_owned(),
    };
    match text.char_indices().nth(MAX_SHOWN_CHARACTERS) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_may_stand_for_every_type() {
        let text = |text: &str| Datum::Text(text.to_owned());
        for (kind, given, expected) in [
            (ParameterType::Boolean, "true", Datum::Bool(true)),
            (ParameterType::SmallInt, "-7", Datum::Integer(-7)),
            (ParameterType::BigInt, " 30 ", Datum::Integer(30)),
            (ParameterType::Double, "0.5", Datum::Double(0.5)),
            (ParameterType::Numeric, "-1.50e3", Datum::Decimal("-1.50e3".to_owned())),
            (ParameterType::Timestamp, "1970-01-01T00:00:01Z", Datum::TimestampUs(1_000_000)),
            (ParameterType::Json, "{\"a\": [1]}", Datum::Json("{\"a\": [1]}".to_owned())),
            (ParameterType::Uuid, "00000000-0000-0000-0000-000000000001", Datum::Uuid(1_u128.to_be_bytes())),
        ] {
            assert_eq!(kind.convert(&text(given)), Ok(expected), "{kind}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_type() {
        for (kind, given, says) in [
            (ParameterType::SmallInt, Datum::Integer(40_000), "40000 is no smallint"),
            (ParameterType::Integer, Datum::Integer(1 << 40), "1099511627776 is no integer"),
            (ParameterType::BigInt, Datum::Text("3.5".to_owned()), "3.5 is no bigint"),
            (ParameterType::BigInt, Datum::Double(3.0), "3 is no bigint"),
            (ParameterType::Boolean, Datum::Integer(1), "1 is no boolean"),
            (ParameterType::Numeric, Datum::Text("1; DROP".to_owned()), "1; DROP is no numeric"),
            (ParameterType::Numeric, Datum::Text(".".to_owned()), ". is no numeric"),
            (ParameterType::Json, Datum::Text("{".to_owned()), "{ is no json"),
            (ParameterType::Text, Datum::Bytes(vec![0xff].into()), "1 bytes is no text"),
        ] {
            assert_eq!(kind.convert(&given).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn null_is_of_every_type() {
        for (_, kind) in NAMES {
            assert_eq!(kind.convert(&Datum::Null), Ok(Datum::Null));
        }
    }

    #[test]
    fn every_type_is_read_back_by_its_name() {
        for (_, kind) in NAMES {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
        }
        assert!("money".parse::<ParameterType>().unwrap_err().contains("numeric"));
    }
}
