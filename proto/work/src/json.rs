//! JSON forms: work as it is given, results as they are shown.
//!
//! Work is a list, whose entries are text as in [`GRAMMAR`](crate::GRAMMAR) or objects; or one object that is a request, or
//! `{"raw": WORK}`. Results are `{"values": [...]}`, one for each operation, `{"calls": [{"affected": 1, "columns": [...], "rows": [[...]]}]}`, one for each
//! call, `{"http": {"status": 200, "json": …}}` of a request, or `{"raw": "0x…"}`. Values are strings, integers too: many readers
//! of JSON would lose the last digits of a number. Absent is `null`.

use crate::call;
use crate::event;
use crate::http;
use crate::kv::json::Structured;
use crate::results::{Results, Value};
use crate::text::{from_string, hex};
use crate::work::Work;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Reads work in a participant's own format from 0x and hexadecimal digits, or base64.
pub fn raw_from_text(text: &str) -> Result<Bytes, String> {
    if text.starts_with("0x") {
        return from_string(text);
    }
    let decoded = BASE64_STANDARD.decode(text);
    decoded.map(Bytes::from).map_err(|error| {
        format!("raw work is 0x and hexadecimal digits, or base64, and {text:?} is neither ({error}); encode it so")
    })
}

impl Serialize for Results {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match (self.values(), self.calls(), self.answer(), self.raw()) {
            (_, _, Some(answer), _) => map.serialize_entry("http", answer)?,
            (Some(values), _, _, _) => {
                map.serialize_entry("values", &values.iter().map(Value::to_text).collect::<Vec<_>>())?;
            }
            (None, Some(calls), _, _) => map.serialize_entry("calls", calls)?,
            (None, None, None, raw) => map.serialize_entry("raw", &hex(raw.map_or(&[], |raw| raw)))?,
        }
        map.end()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWork {
    raw: String,
}

/// One piece of work, given as text or as an object.
struct Given(Work);

impl<'de> Deserialize<'de> for Work {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListOrRaw;
        impl<'de> Visitor<'de> for ListOrRaw {
            type Value = Work;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of operations, {\"http\": REQUEST} or {\"raw\": WORK}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Work, A::Error> {
                let given: Vec<Given> = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                let mut given = given.into_iter().map(|Given(work)| work);
                let Some(first) = given.next() else { return Ok(Work::nothing()) };
                given.try_fold(first, Work::then).map_err(A::Error::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Work, A::Error> {
                let object: serde_json::Map<_, _> = Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                if http::json::MEMBERS.iter().any(|member| object.contains_key(*member)) {
                    return http::json::work(object).map(Work::from).map_err(A::Error::custom);
                }
                let work = RawWork::deserialize(serde_json::Value::Object(object)).map_err(A::Error::custom)?;
                raw_from_text(&work.raw).map(Work::raw).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(ListOrRaw)
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrObject;
        impl<'de> Visitor<'de> for TextOrObject {
            type Value = Given;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an operation or an event, as text like \"get alice\" or as an object")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Given, E> {
                text.parse().map(Given).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Given, A::Error> {
                let object: serde_json::Map<_, _> = Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                if object.contains_key(call::json::MEMBER) {
                    return call::json::work(object).map(|work| Given(work.into())).map_err(A::Error::custom);
                }
                if event::json::MEMBERS.iter().any(|member| object.contains_key(*member)) {
                    return event::json::event(object).map(|event| Given(event.into())).map_err(A::Error::custom);
                }
                if http::json::MEMBERS.iter().any(|member| object.contains_key(*member)) {
                    return http::json::work(object).map(|work| Given(work.into())).map_err(A::Error::custom);
                }
                if object.len() != 1 {
                    let names: Vec<&str> = object.keys().map(String::as_str).collect();
                    let why = "an object is one operation, like {\"get\": {\"key\": \"alice\"}}, and this one has";
                    return Err(A::Error::custom(format!("{why} {} of them: {}", names.len(), names.join(", "))));
                }
                let structured = Structured::deserialize(serde_json::Value::Object(object));
                let work = structured.map_err(A::Error::custom)?.work().map_err(A::Error::custom)?;
                Ok(Given(work.into()))
            }
        }
        deserializer.deserialize_any(TextOrObject)
    }
}
