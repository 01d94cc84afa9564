//! The schemas of forms that other crates have, which know nothing of schemas.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use undoubt_vocabulary::{CoordinatorPhase, EventKind, PartState, TransactionPhase};

/// The state of a transaction, and why it aborted if it did.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is a schema")]
pub struct OutcomeForm {
    state: State,
    /// The reason why it aborted; `null` unless it did.
    abort: Option<Abort>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "it is a schema")]
enum State {
    Pending,
    /// A nested saga was closed and its steps are completed; it ends with its parent.
    Closed,
    Committed,
    Aborted,
}

/// The reason of an abort.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is a schema")]
struct Abort {
    /// A word that stays the same.
    reason: String,
    /// The participant that caused it, if one did.
    participant: Option<String>,
    /// The reason in words, for people.
    message: String,
    /// The same work may succeed under a new id.
    worth_retrying: bool,
}

/// Defines the schema of a text that is one of some labels.
macro_rules! labels {
    ($($name:ident $of:ident $means:literal;)*) => {
        $(
            #[doc = $means]
            pub struct $name;

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    let labels: Vec<&str> = $of::ALL.iter().map(|value| value.as_str()).collect();
                    json_schema!({ "type": "string", "enum": labels, "description": $means })
                }
            }
        )*
    };
}

labels! {
    Phase TransactionPhase "How far a transaction is. There may be more in later versions.";
    BranchState PartState "How a branch or a step stands. There may be more in later versions.";
    Kind EventKind "What happened. There may be more in later versions.";
    Stage CoordinatorPhase "How far a coordinator is. There may be more in later versions.";
}

/// The results that a participant handed back.
pub struct Results;

impl JsonSchema for Results {
    fn schema_name() -> Cow<'static, str> {
        "Results".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One value for each piece of work, one result for each call of a procedure, the answer of an HTTP service, or bytes of a format of the \
                            participant's own.",
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "properties": {
                "values": { "type": "array", "items": { "type": ["string", "null"] } },
                "calls": { "type": "array" },
                "http": { "type": "object" },
                "raw": { "type": "string" },
            },
        })
    }
}

/// The work that a participant is to do.
pub struct Work;

impl JsonSchema for Work {
    fn schema_name() -> Cow<'static, str> {
        "Work".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A list of pieces of work, each as text like `add alice -10 floor=0` or as an object like `{\"add\": {\"key\": \"alice\", \"delta\": -10}}`; \
                            or work in a format of the participant's own.",
            "oneOf": [
                { "type": "array", "items": { "oneOf": [{ "type": "string" }, { "type": "object" }] } },
                {
                    "type": "object",
                    "properties": { "raw": { "type": "string", "description": "`0x` and hexadecimal digits, or base64." } },
                    "required": ["raw"],
                    "additionalProperties": false,
                },
            ],
            "examples": [["add alice -10 floor=0", "get alice"]],
        })
    }
}
