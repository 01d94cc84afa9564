//! What templates are filled in from: an event, and the results of the work that it led to.

use bytes::Bytes;
use serde_json::Value;
use smol_str::SmolStr;
use undoubt_vocabulary::event::JSON;
use undoubt_vocabulary::{CorrelationId, Event, EventType, NewEvent, Refusal, RefusalCode, TopicName};
use undoubt_work::text;
use undoubt_work::{Datum, Input, Inputs, Reference};

/// Why a template cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error(
        "{{{place}}} is asked for, but the data of {kind} are {content_type:?}, in which nothing can be looked up; publish {JSON}"
    )]
    NoJson { place: String, kind: EventType, content_type: SmolStr },
    #[error("{{{place}}} is asked for, but the data of {kind} cannot be read as JSON ({cause}); publish what is")]
    BadJson { place: String, kind: EventType, cause: String },
    #[error(
        "{{{place}}} is asked for, but the data of {kind} have none; publish it with the event, or correct the name"
    )]
    NoMember { place: String, kind: EventType },
    #[error("{{{place}}} is asked for as text, but there is no value (null); publish one")]
    Null { place: String },
    #[error("{{{place}}} is asked for, and {why}")]
    NoResult { place: String, why: String },
    #[error("what is filled in is no work: {why}")]
    NoWork { why: String },
    #[error("what is filled in is no event: {why}")]
    NoEvent { why: String },
}

impl From<&Unfit> for Refusal {
    fn from(unfit: &Unfit) -> Self {
        Refusal::new(RefusalCode::InvalidWork, unfit.to_string())
    }
}

/// The facts that templates refer to.
#[derive(Clone, Debug)]
pub struct Facts {
    pub topic: TopicName,
    pub kind: EventType,
    pub key: Bytes,
    pub correlation: CorrelationId,
    data: Data,
    /// The encoded results of the work, once it is done.
    results: Option<Bytes>,
}

#[derive(Clone, Debug)]
enum Data {
    Json(Value),
    Bad { cause: String },
    Other { content_type: SmolStr },
}

impl Data {
    fn read(content_type: &SmolStr, data: &Bytes) -> Data {
        // Parameters, like a character set, may follow a media type.
        let media = content_type.split(';').next().unwrap_or_default().trim_end();
        if media != JSON {
            return Data::Other { content_type: content_type.clone() };
        }
        serde_json::from_slice(data).map_or_else(|error| Data::Bad { cause: error.to_string() }, Data::Json)
    }
}

impl From<&Event> for Facts {
    fn from(event: &Event) -> Self {
        Facts {
            topic: event.topic.clone(),
            kind: event.kind.clone(),
            key: event.key.clone(),
            correlation: event.correlation.clone(),
            data: Data::read(&event.content_type, &event.data),
            results: None,
        }
    }
}

impl Facts {
    /// Returns the facts of an event that is being published. `correlation`: that of the transaction, which it has unless it says otherwise.
    pub fn of_new(event: &NewEvent, correlation: &CorrelationId) -> Facts {
        Facts {
            topic: event.topic.clone(),
            kind: event.kind.clone(),
            key: event.key.clone(),
            correlation: event.correlation.as_ref().unwrap_or(correlation).clone(),
            data: Data::read(&event.content_type, &event.data),
            results: None,
        }
    }

    /// Returns the same with the encoded results of the work.
    #[must_use]
    pub fn with_results(self, results: Bytes) -> Facts {
        Facts { results: Some(results), ..self }
    }

    /// Returns a value of the data: a member of objects, an element of lists by its number from 0.
    pub(crate) fn data(&self, path: &[String]) -> Result<&Value, Unfit> {
        let place = || std::iter::once("data").chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(".");
        let kind = || self.kind.clone();
        let whole = match &self.data {
            Data::Json(value) => value,
            Data::Bad { cause } => return Err(Unfit::BadJson { place: place(), kind: kind(), cause: cause.clone() }),
            Data::Other { content_type } => {
                return Err(Unfit::NoJson { place: place(), kind: kind(), content_type: content_type.clone() });
            }
        };
        path.iter()
            .try_fold(whole, |value, name| match value {
                Value::Object(members) => members.get(name),
                Value::Array(elements) => elements.get(name.parse::<usize>().ok()?),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            })
            .ok_or_else(|| Unfit::NoMember { place: place(), kind: kind() })
    }

    /// Returns a result of the work.
    pub(crate) fn result(&self, from: &Reference) -> Result<Datum, Unfit> {
        let unfit = |why| Unfit::NoResult { place: from.to_string(), why };
        let results = self.results.as_ref().ok_or_else(|| unfit("the work is not done yet".to_owned()))?;
        let input = Input { input: 0, operation: from.operation(), cell: from.cell().cloned().map(Box::new) };
        Inputs::of_step(std::slice::from_ref(results)).datum(&input).map_err(|refusal| unfit(refusal.detail))
    }
}

/// Returns a value as the text that stands for it in a word of work or in a key.
pub(crate) fn to_bytes(value: &Value) -> Option<Bytes> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(value.to_string().into()),
    }
}

/// Returns bytes as a value: text where they are UTF-8, else `0x` and hexadecimal digits.
pub(crate) fn to_value(bytes: &[u8]) -> Value {
    Value::String(text::to_string(bytes))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// Returns the facts of an `order.placed` in the saga `saga-1`.
    pub(crate) fn facts(key: &str, data: &Value) -> Facts {
        Facts {
            topic: "orders".parse().unwrap(),
            kind: "order.placed".parse().unwrap(),
            key: Bytes::copy_from_slice(key.as_bytes()),
            correlation: "saga-1".parse().unwrap(),
            data: Data::Json(data.clone()),
            results: None,
        }
    }

    fn path(path: &str) -> Vec<String> {
        path.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn data_are_looked_up_by_members_and_numbers() {
        let facts = facts("k", &json!({"a": [{"b": 1}], "0": 2}));
        assert_eq!(facts.data(&path("a.0.b")).unwrap(), &json!(1));
        assert_eq!(facts.data(&path("0")).unwrap(), &json!(2));
        assert_eq!(facts.data(&[]).unwrap(), &json!({"a": [{"b": 1}], "0": 2}));
        for missing in ["a.1", "a.b", "b", "a.0.b.c"] {
            assert!(matches!(facts.data(&path(missing)), Err(Unfit::NoMember { .. })), "{missing}");
        }
    }

    #[test]
    fn only_json_can_be_looked_into() {
        let read = |content_type: &str, data: &'static str| Data::read(&content_type.into(), &data.into());
        assert!(matches!(read("application/json; charset=utf-8", "{}"), Data::Json(_)));
        assert!(matches!(read("application/json", "{"), Data::Bad { .. }));
        assert!(matches!(read("text/plain", "{}"), Data::Other { .. }));
    }
}
