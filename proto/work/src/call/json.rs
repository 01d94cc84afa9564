//! Calls as JSON objects: `{"call": "withdraw", "account": "alice", "amount": 30}`.

use super::{Argument, Call, CallWork, Given, is_argument_name};
use crate::http::datum;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The forms of calls as objects; part of the help.
pub const OBJECTS: &str = r#"  {"call": "withdraw", "account": "alice", "amount": 30, "note-from": "STEP.N.COLUMN"}
  {"call": {"procedure": P, "arguments": {NAME: VALUE}, "pend": true, "respect-pending": true, "undo": true}}

Arguments are strings, numbers, true, false and null; lists and objects are JSON values."#;

/// The member that makes an object a call.
pub(crate) const MEMBER: &str = "call";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Structured {
    procedure: String,
    #[serde(default)]
    arguments: Map<String, Value>,
    #[serde(default)]
    pend: bool,
    #[serde(default)]
    respect_pending: bool,
    #[serde(default)]
    undo: bool,
}

/// Reads an object that has the member `call`.
pub(crate) fn work(mut object: Map<String, Value>) -> Result<CallWork, String> {
    let structured = match object.remove(MEMBER) {
        Some(Value::String(procedure)) => {
            Structured { procedure, arguments: object, pend: false, respect_pending: false, undo: false }
        }
        Some(structured @ Value::Object(_)) if object.is_empty() => {
            Structured::deserialize(structured).map_err(|error| format!("a call: {error}; write it as\n{OBJECTS}"))?
        }
        Some(_) | None => return Err(format!("a call is one of\n{OBJECTS}")),
    };
    let Structured { procedure, arguments, pend, respect_pending, undo } = structured;
    let arguments = arguments.into_iter().map(argument).collect::<Result<Vec<_>, String>>()?;
    Ok(Call { procedure, arguments, pend, respect_pending, undo }.into())
}

fn argument((name, value): (String, Value)) -> Result<Argument, String> {
    let (name, given) = match (name.strip_suffix("-from"), value) {
        (Some(plain), Value::String(from)) => (plain.to_owned(), Given::From(from.parse()?)),
        (Some(_), _) => return Err(format!("{name} names a result as text, like \"STEP.N.COLUMN\"; correct it")),
        (None, value) => (name, Given::Value(datum(value))),
    };
    match is_argument_name(&name) {
        true => Ok(Argument { name, given }),
        false => Err(format!("{name:?} is no name of an argument: those have a-z A-Z 0-9 _, and no digit first")),
    }
}
