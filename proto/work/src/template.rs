//! Values that stand in a text by their names: the parameters of requests, and of events.

use crate::call::is_argument_name;
use crate::datum::Datum;
use crate::invalid_work::InvalidWork;
use crate::reference::Reference;
use crate::wire::{Field, Fields, Writer, once};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Parameters of one request, or of one event.
pub const MAX_PARAMETERS: usize = 64;

/// A value that is left elsewhere, by the name under which a text uses it. `R`: how it is referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<R = Reference> {
    pub name: String,
    pub from: R,
}

/// The values of parameters, by their names; `None` of one that is not known.
pub type Parameters = BTreeMap<String, Option<Datum>>;

impl<R> Parameter<R> {
    /// Returns it with another way to refer.
    pub(crate) fn map<S>(&self, from: impl FnOnce(&R) -> Result<S, InvalidWork>) -> Result<Parameter<S>, InvalidWork> {
        Ok(Parameter { name: self.name.clone(), from: from(&self.from)? })
    }

    pub(crate) fn read(
        field: Field<'_>,
        from: impl Fn(Fields<'_>) -> Result<R, InvalidWork>,
    ) -> Result<Parameter<R>, InvalidWork> {
        let (mut fields, mut name, mut found) = (field.message()?, None, None);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => once(&mut name, field.text()?.to_owned())?,
                2 => once(&mut found, from(field.message()?)?)?,
                number => return Err(InvalidWork::UnknownField { place: "a parameter".to_owned(), number }),
            }
        }
        let name = name.unwrap_or_default();
        match found {
            Some(from) => Ok(Parameter { name, from }),
            None => Err(InvalidWork::Parameter { name, why: "it comes from nowhere; give it a reference" }),
        }
    }

    /// Writes it as the field of this number. `from` writes field 2.
    pub(crate) fn write(&self, out: &mut Writer, number: u32, from: impl FnOnce(&R, &mut Writer)) {
        out.message(number, |out| {
            out.bytes(1, self.name.as_bytes());
            from(&self.from, out);
        });
    }
}

/// Holds parameters to the limits, and returns their names.
pub(crate) fn check<R>(parameters: &[Parameter<R>]) -> Result<BTreeSet<&str>, InvalidWork> {
    if parameters.len() > MAX_PARAMETERS {
        return Err(InvalidWork::TooManyParameters { count: parameters.len() });
    }
    let mut names = BTreeSet::new();
    for Parameter { name, .. } in parameters {
        if !is_argument_name(name) {
            return Err(InvalidWork::ArgumentName { name: crate::text::shown(name.as_bytes()) });
        }
        if !names.insert(name.as_str()) {
            return Err(InvalidWork::Parameter { name: name.clone(), why: "it is given twice; leave one out" });
        }
    }
    Ok(names)
}

/// The reason why parameters cannot be filled in.
#[derive(Debug, thiserror::Error)]
pub enum Unfilled {
    #[error("it is no JSON ({0}); correct it")]
    NoJson(serde_json::Error),
    #[error("the values that stand in it have more than the {max_bytes} bytes allowed together; let fewer stand there")]
    TooLong { max_bytes: usize },
}

/// Returns this JSON with the values in place of the strings `"{NAME}"`, each with its type; null where there is none. Other strings
/// stay as they are. `max_bytes`: of all values together, each as often as it stands there.
pub fn filled_in(json: &str, parameters: &Parameters, max_bytes: usize) -> Result<String, Unfilled> {
    let json = serde_json::from_str(json).map_err(Unfilled::NoJson)?;
    let mut left_bytes = max_bytes;
    let filled = replaced(json, parameters, &mut left_bytes).ok_or(Unfilled::TooLong { max_bytes })?;
    Ok(filled.to_string())
}

/// Returns `None` if the values have more than the bytes that are left.
fn replaced(json: Value, parameters: &Parameters, left_bytes: &mut usize) -> Option<Value> {
    Some(match json {
        Value::String(text) => match placeholder(&text).and_then(|name| parameters.get(name)) {
            Some(value) => {
                let bytes = value.as_ref().map_or(0, Datum::len_bytes);
                *left_bytes = left_bytes.checked_sub(bytes)?;
                value.clone().map_or(Value::Null, to_json)
            }
            None => Value::String(text),
        },
        Value::Array(all) => {
            Value::Array(all.into_iter().map(|one| replaced(one, parameters, left_bytes)).collect::<Option<_>>()?)
        }
        Value::Object(all) => {
            let replaced = |(name, one)| Some((name, replaced(one, parameters, left_bytes)?));
            Value::Object(all.into_iter().map(replaced).collect::<Option<_>>()?)
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    })
}

fn placeholder(text: &str) -> Option<&str> {
    text.strip_prefix('{')?.strip_suffix('}')
}

fn to_json(datum: Datum) -> Value {
    match datum {
        Datum::Null => Value::Null,
        Datum::Bool(value) => value.into(),
        Datum::Integer(value) => value.into(),
        Datum::Double(value) => value.into(),
        Datum::Text(value) => value.into(),
        Datum::Json(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        other @ (Datum::Decimal(_) | Datum::Bytes(_) | Datum::TimestampUs(_) | Datum::Uuid(_)) => {
            other.to_text().map_or(Value::Null, Value::String)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_there_with_their_types_and_as_often_as_they_fit() {
        let text = |text: &str| Some(Datum::Text(text.to_owned()));
        let parameters = Parameters::from([
            ("a".to_owned(), text("12345678")),
            ("b".to_owned(), Some(7.into())),
            ("c".into(), None),
        ]);
        let json = r#"{"x":["{a}","{b}"],"y":"{c}","z":"{d} {a}"}"#;
        let filled = filled_in(json, &parameters, 16).unwrap();
        assert_eq!(filled, r#"{"x":["12345678",7],"y":null,"z":"{d} {a}"}"#);
        assert!(matches!(filled_in(json, &parameters, 15), Err(Unfilled::TooLong { max_bytes: 15 })));
        assert!(matches!(filled_in("{", &parameters, 15), Err(Unfilled::NoJson(_))));
    }
}
