//! Operations as JSON objects: `{"add": {"key": "alice", "delta": -10}}`.

use super::{Add, KvWork, Operation};
use crate::text::from_string;
use serde::{Deserialize, Deserializer};

/// The forms of pieces of work as objects; part of the help.
pub const OBJECTS: &str = r#"  {"get": {"key": K}}  {"put": {"key": K, "value": V}}  {"delete": {"key": K}}
  {"add": {"key": K, "delta": N, "floor": N, "ceiling": N}}           floor and ceiling may be left out
  {"cas": {"key": K, "expected": V or null, "value": V or null}}      null stands for no value

In these objects K and V are exact: text, where 0x at the start stands for bytes in hexadecimal. TOML has no null: write the
operation as text there."#;

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Structured {
    Get {
        key: String,
    },
    Put {
        key: String,
        value: String,
    },
    Delete {
        key: String,
    },
    Add {
        key: String,
        delta: i64,
        floor: Option<i64>,
        ceiling: Option<i64>,
    },
    // Not `Option`, which would take what is left out for null.
    Cas {
        key: String,
        #[serde(deserialize_with = "nullable")]
        expected: Option<String>,
        #[serde(deserialize_with = "nullable")]
        value: Option<String>,
    },
}

fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

impl Structured {
    pub(crate) fn work(self) -> Result<KvWork, String> {
        let optional = |text: Option<String>| text.as_deref().map(from_string).transpose();
        Ok(KvWork::new().operation(match self {
            Structured::Get { key } => Operation::Get { key: from_string(&key)? },
            Structured::Put { key, value } => Operation::Put { key: from_string(&key)?, value: from_string(&value)? },
            Structured::Delete { key } => Operation::Delete { key: from_string(&key)? },
            Structured::Add { key, delta, floor, ceiling } => {
                Operation::Add { key: from_string(&key)?, add: Add { delta, floor, ceiling } }
            }
            Structured::Cas { key, expected, value } => Operation::CompareAndSet {
                key: from_string(&key)?,
                expected: optional(expected)?,
                value: optional(value)?,
            },
        }))
    }
}
