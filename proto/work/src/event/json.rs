//! Events as JSON objects: `{"emit": {"topic": "orders", "type": "order.placed", "key": "17", "json": {"total": 30}}}`.

use super::text::{APPEND, EMIT, check, correlation};
use super::{Data, Emit, Parameter};
use crate::text::from_string;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The forms of events as objects; part of the help.
pub const OBJECTS: &str = r#"  {"emit": {"topic": T, "type": Y, "key": K, "json": ANY, "from": {NAME: SOURCE}, "schema": S}}
  {"append": {"topic": T, "type": Y, "key": ENTITY, "expect": VERSION, "data": TEXT}}

An event has the members that stand before = in its text: "data" or "data-from" in place of "json"; "key-from", "content-type" and
"correlation" too. "from" has the parameters. TEXT may be bytes in hexadecimal, and SOURCE is "STEP.N", or ".N" of this work itself."#;

/// The members that make an object an event.
pub(crate) const MEMBERS: [&str; 2] = [EMIT, APPEND];

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Structured {
    topic: String,
    r#type: String,
    key: Option<String>,
    key_from: Option<String>,
    data: Option<String>,
    // Null is data, too.
    #[serde(default, deserialize_with = "given")]
    json: Option<Value>,
    data_from: Option<String>,
    #[serde(default)]
    from: BTreeMap<String, String>,
    #[serde(default)]
    schema: String,
    #[serde(default)]
    content_type: String,
    correlation: Option<String>,
    expect: Option<u64>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reads an object that has one of the [members](MEMBERS).
pub(crate) fn event(mut object: Map<String, Value>) -> Result<Emit, String> {
    let (verb, value) = match (object.remove(EMIT), object.remove(APPEND)) {
        (Some(value), None) if object.is_empty() => (EMIT, value),
        (None, Some(value)) if object.is_empty() => (APPEND, value),
        (Some(_) | None, Some(_) | None) => {
            return Err(format!("an event stands alone in its object; write it as\n{OBJECTS}"));
        }
    };
    let structured =
        Structured::deserialize(value).map_err(|error| format!("{verb}: {error}; write it as\n{OBJECTS}"))?;
    let event = structured.event().map_err(|why| format!("{verb}: {why}"))?;
    check(verb, &event).map_err(|why| format!("{verb}: {why}"))?;
    Ok(event)
}

impl Structured {
    fn event(self) -> Result<Emit, String> {
        let source = |from: String| from.parse();
        let data = match (self.data, self.json, self.data_from) {
            (None, None, None) => Data::Bytes("".into()),
            (Some(text), None, None) => Data::Bytes(from_string(&text)?),
            (None, Some(value), None) => Data::Json(value.to_string()),
            (None, None, Some(from)) => Data::From(source(from)?),
            (Some(_) | None, Some(_) | None, Some(_) | None) => {
                return Err("data, json and data-from stand for the same thing; leave one".to_owned());
            }
        };
        let parameter = |(name, from)| Ok(Parameter { name, from: source(from)? });
        Ok(Emit {
            topic: self.topic.into(),
            kind: self.r#type.into(),
            key: from_string(&self.key.unwrap_or_default())?,
            key_suffix_from: self.key_from.map(source).transpose()?,
            data,
            parameters: self.from.into_iter().map(parameter).collect::<Result<_, String>>()?,
            schema: self.schema.into(),
            content_type: self.content_type.into(),
            expect: self.expect,
            correlation: self.correlation.map(|text| correlation(&from_string(&text)?)).transpose()?,
        })
    }
}
